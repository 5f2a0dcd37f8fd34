/* Inside lib/front: front.c (start), parent.c (accepting), limit.c (counting), reg.c (telling the daemons), again.c (fronts that serve again), template.c
 * (serving), inetd.c. */
#ifndef FRONT_FRONT_PRIV_H
#define FRONT_FRONT_PRIV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/err.h"
#include "conf/conf.h"
#include "conf/daemon.h"
#include "front/front.h"
#include "io/loop.h"
#include "io/tls.h"
#include "ipc/ipc.h"

/* What the command line said, and what follows from it: the same for all files here, set once by front.c. */
struct front_run {
	const struct front_service *service;
	struct conf *conf;		/* replaced whole on reload */
	struct daemon_options options;	/* conf_file: absolute */
	char user[64];			/* whom fronts run as */
	char empty_dir[4096];		/* their root */
};

/* Daemons that are told of every connection. Bits of a set. */
enum front_peer { PEER_AUTH = 1, PEER_KEY = 2, PEER_QUEUE = 4, PEER_COUNT = 3 };
unsigned front_peers_needed(const struct front_run *run);

/* --- listeners: listen.c --- */
enum { LISTENERS_MAX = 64 };
struct front_listener {
	int fd;
	char profile[32], name[32];	/* name: of its "listener.NAME" line; else empty */
	bool local;			/* UNIX socket */
};
int front_listeners_open(const struct front_run *run, struct front_listener *out, size_t *n_out, struct err *e) MUST_CHECK;
bool front_profile_tls(const char *profile);	/* TLS from the first byte */

/* --- facts of one accepted connection --- */
int front_conn_facts(int fd, bool local, const char *profile, struct front_conn *out, uint64_t *uid_out, uint8_t addr_out[16]) MUST_CHECK;

/* --- limits: limit.c --- */
struct limits;
struct limits *limits_new(void);
/* Count a connection of addr (IPv6: its /64), served by owner; false, and not counted, when it is one too many. */
bool limits_take(struct limits *l, const void *owner, uint64_t conn, const uint8_t addr[16], uint64_t per_address_max, uint64_t total_max);
/* Count something of owner in all, whatever the limits, and of no address. */
void limits_linger(struct limits *l, const void *owner, uint64_t conn);
void limits_give(struct limits *l, uint64_t conn);	/* unknown names are ignored */
void limits_give_all(struct limits *l, const void *owner);	/* nobody can tell any more when they end */
/* New connections of addr (IPv6: its /64) in the running window, this one included. */
uint64_t limits_rate(struct limits *l, const uint8_t addr[16], uint64_t now_ms, uint64_t window_ms);
uint64_t limits_of(const struct limits *l, const uint8_t addr[16]);	/* connections of addr now */
size_t limits_total(const struct limits *l);

/* --- registration: reg.c --- */
struct reg;
/* What a parent is told; NULL: it does not want to know. */
struct reg_calls {
	void (*key_back)(void);	/* the key worker is a new one, which answers, or has forgotten a key */
	void (*changed)(void);	/* what reg_coming() says may be another thing now */
};
/* Connects, and again whenever a daemon has gone. */
struct reg *reg_new(struct loop *l, const struct front_run *run, struct reg_calls calls);
/* A needed daemon has gone a moment ago (REG_COMING_MS) and may be back in the next: connections may wait for it in the listener. */
bool reg_coming(const struct reg *r);
/* A daemon does not keep up with what it is told. With much more of it its channel would close, for all. */
bool reg_behind(const struct reg *r);
void reg_refresh(struct reg *r);			/* the configuration has changed: another set of daemons may be needed */
/* What a front that serves its client again keeps of its channels, and the daemons' ends of those that wait here for their first use. Begins zeroed. */
struct unused;
struct reg_kept {
	struct unused *waiting[PEER_COUNT];	/* NULL: none */
	uint64_t queued;			/* which start of queued its channel leads to; 0: to none */
};
/* Make the connection's channels and tell the daemons: fc->*_fd are set (owned by the caller). ERR_CLOSED: a needed daemon is missing.
 * kept: of the front that will have them, valid until reg_kept_forget(); NULL: it serves no other connection. */
int reg_announce(struct reg *r, struct front_conn *fc, uint64_t uid, struct reg_kept *kept, struct err *e) MUST_CHECK;
/* May that front, whose connection is over, serve fc? Not when it has used a channel over which passwords go, whatever it says itself. */
bool reg_may_again(const struct reg *r, const struct reg_kept *kept, const struct front_conn *fc) MUST_CHECK;
/* Instead of reg_announce() then: those channels that it needs anew are set in fc. When the front has the connection, reg_tell_again() says that its channel to queued is
 * fc's now, and no more was's: the client need not wait for that. */
int reg_again(struct reg *r, struct front_conn *fc, uint64_t uid, struct reg_kept *kept, struct err *e) MUST_CHECK;
void reg_tell_again(struct reg *r, uint64_t was, const struct front_conn *fc);
void reg_kept_forget(struct reg_kept *kept);
/* The caller ends, its connections go on: what the daemons were to hear at first use they hear now. */
void reg_tell_all(struct reg *r);
/* A channel to the key worker for a self test; -1 when it is not there. */
int reg_key_channel(struct reg *r);
int reg_settle(struct reg *r, struct err *e) MUST_CHECK;	/* inetd: the daemons have been told, or not */
void reg_free(struct reg **r);

/* --- handing a connection over: handover.c --- */
/* CLIENT, with the socket and the channels that fc has, which stay the caller's. One message: each wakes a process. */
int handover_send(struct ipc_chan *ch, const struct front_conn *fc, struct err *e) MUST_CHECK;
struct ipc_handover_CLIENT;
/* The other side: all descriptors are taken. false: they are not what the message says; *fc has those that there are, to be closed. */
bool handover_take(const struct ipc_handover_CLIENT *m, int fd, struct ipc_fds more, struct front_conn *fc) MUST_CHECK;

/* --- fronts that serve their client again, as the parent sees them: again.c --- */
struct again;
struct again_front;
struct again_calls {
	void (*ended)(uint64_t conn);	/* the connection is over; said once of each that such a front serves */
	/* No more come to the process that owner started for the connection first. It ends, but until it has it may hold a client all the same. */
	void (*lingers)(const void *owner, uint64_t first);
};
/* For the life of the process. fd_max: the highest descriptor that such a front may take here; the others are for clients. */
struct again *again_new(struct loop *l, const struct front_run *run, int fd_max, struct again_calls calls);
/* fc is about to be served by a new process of owner: may that serve others of its client later? Then fc->again_fd is set (owned by the caller). NULL: no. */
struct again_front *again_new_front(struct again *a, const void *owner, struct front_conn *fc);
struct reg_kept *again_kept(struct again_front *f);	/* NULL for NULL */
void again_give_up(struct again_front **f);		/* it may serve nobody any more; accepts NULL */
void again_not_begun(struct again_front **f);		/* it was never handed over; accepts NULL */
/* What fronts have said since: to be called before connections are counted, and before one is looked for. */
void again_hear(struct again *a);
/* One that waits for fc's client; NULL: none. */
struct again_front *again_find(struct again *a, const struct front_conn *fc);
uint64_t again_conn(const struct again_front *f);	/* what it has served last */
int again_serve(struct again_front *f, const struct front_conn *fc, struct err *e) MUST_CHECK;	/* fc stays the caller's */
/* The process that began with this connection has ended. To be said before it is given back (limits_give). */
void again_process_ended(struct again *a, uint64_t first);
void again_let_go_of(struct again *a, const void *owner, bool owner_is_gone);	/* no more come to fronts of this owner */

/* --- fronts that are processes, as the template sees them: isolated.c --- */
struct isolated;
struct isolated_calls {
	void (*started)(void);			/* a connection is being served */
	void (*ended)(uint64_t conn, int status);	/* its process has ended; status as wait(2) gives it */
	void (*none_left)(void);
	void (*child)(struct front_conn *fc);	/* in the new process: serve fc. Never returns */
};
struct isolated *isolated_new(struct loop *l, const struct front_run *run, const struct isolated_calls *calls);	/* for the life of the process */
void isolated_serve(struct isolated *iso, struct front_conn *fc);	/* fc stays the caller's */
size_t isolated_count(const struct isolated *iso);	/* processes */

/* --- certificates: certs.c --- */
struct front_certs {
	int key_fd;	/* to the key worker, for its keys and the self test; -1: it is not asked */
	bool whole;	/* every certificate by name, or an error; else what is broken is said and left out */
};
/* *out stays NULL where there is no TLS. ERR_CONF and others: what is wrong, with its parameter. */
int front_certs_load(const struct front_run *run, const struct front_certs *how, struct tls_ctx **out, struct err *e) MUST_CHECK;

/* --- serving: template.c --- */
/* In a child of the parent: never returns. chan: the handover channel. The parent is told that
 * connections have started when there are started_max of them at the latest. */
void template_main(const struct front_run *run, int chan, const struct front_certs *how, uint64_t started_max) __attribute__((noreturn));
/* Build what all fronts of a process share; to be called before confinement. */
int template_prepare(const struct front_run *run, const struct front_certs *how, struct front_env *env, struct err *e) MUST_CHECK;
/* Serve one connection until it is over, then exit. */
void front_serve_one(struct front_env *env, struct front_conn *fc) __attribute__((noreturn));
void front_busy(const struct front_run *run, int fd, const char *profile, const char *line);	/* say the busy line; the caller closes */

int parent_main(struct front_run *run);
int inetd_take_client(void);			/* first of all, so that no message reaches the client; returns its socket or -1 */
int inetd_main(struct front_run *run, int client_fd);
int front_conf_load(const char *file, struct conf **out);	/* problems go to the log */

#endif
