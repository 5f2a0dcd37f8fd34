/* Inside lib/front: front.c (start), parent.c (accepting), limit.c (counting), reg.c (telling the daemons), template.c (serving), inetd.c. */
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
	void (*key_back)(void);	/* the key worker is a new one, or has forgotten a key */
	void (*changed)(void);	/* what reg_coming() says may be another thing now */
};
/* Connects, and again whenever a daemon has gone. */
struct reg *reg_new(struct loop *l, const struct front_run *run, struct reg_calls calls);
/* A needed daemon has gone a moment ago (REG_COMING_MS) and may be back in the next: connections may wait for it in the listener. */
bool reg_coming(const struct reg *r);
void reg_refresh(struct reg *r);			/* the configuration has changed: another set of daemons may be needed */
/* Make the connection's channels and tell the daemons: fc->*_fd are set (owned by the caller). ERR_CLOSED: a needed daemon is missing. */
int reg_announce(struct reg *r, struct front_conn *fc, uint64_t uid, struct err *e) MUST_CHECK;
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

/* --- fronts that are processes, as the template sees them: isolated.c --- */
struct isolated;
struct isolated_calls {
	void (*started)(bool again);		/* a connection is being served; again: by a process that has served before */
	void (*ended)(uint64_t conn, int status);	/* it has ended; status as wait(2) gives it */
	void (*none_left)(void);
	/* In the new process: serve fc; again_fd (or -1): the channel on which further connections come. Never returns. */
	void (*child)(struct front_conn *fc, int again_fd);
};
struct isolated *isolated_new(struct loop *l, const struct front_run *run, const struct isolated_calls *calls);	/* for the life of the process */
void isolated_serve(struct isolated *iso, struct front_conn *fc);	/* fc stays the caller's */
void isolated_drain(struct isolated *iso);		/* no more come: those that wait end */
/* In the new process, which has a loop of its own already: the channels of other clients' fronts are none of its business. */
void isolated_forget(struct isolated *iso);
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
