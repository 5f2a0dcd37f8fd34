/* The monitor's parts and what they share. Private to authd/. The monitor is root, reads no network byte, loads neither PAM nor
 * libsasl2 nor a name service; it believes check workers about passwords, parents about connections, and nobody else about anything.
 *
 *	main.c		options, listeners, supervision		monitor.c	start, reload, timers, the end
 *	conns.c		registered connections, phases		attempt.c	one login attempt: limits, cache, check, verdict
 *	login.c		the exchange that leads to one
 *	helpers.c	the helper programs			sessions.c	one session process per user and service
 *	accounts.c	gather, validate, install, look up	peers.c		queued is told who logged in
 *	mux.c		CREDS of authd-mux			control.c	administrators' words
 *	workers.c	sasl and check workers			dkim.c		signing keys for the key worker
 *	lastuse.c	uses of application passwords		uses.h		when and from where, pure
 *	guests.c	sessions that ask for others' folders	shares.h	who shares with whom, pure but for its file
 */
#ifndef AUTHD_MONITOR_H
#define AUTHD_MONITOR_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "authd/cache.h"
#include "authd/throttle.h"
#include "base/err.h"
#include "base/list.h"
#include "base/map.h"
#include "base/str.h"
#include "conf/conf.h"
#include "io/loop.h"
#include "ipc/helper.h"
#include "map/accounts.h"

enum listener { LISTEN_REGISTER, LISTEN_CONTROL, LISTEN_KEY, LISTEN_SIGN, LISTEN_MUX, LISTENERS };
enum helper_kind { HELPER_SASL, HELPER_CHECK, HELPER_KEY, HELPER_MUX, HELPER_GATHER, HELPERS };

enum {
	CONNS_MAX = 20000,
	REGISTRARS_MAX = 16,
	ATTEMPTS_PER_CONN = 30,
	CHECKS_WAITING_MAX = 1000,
	SASL_WORKERS_MAX = 2000,
	SCRAM_WORKERS_MAX = 256,
	SESSIONS_MAX = 20000,
	SHARERS_MAX = 200,		/* owners that one user is told of */
	GUEST_OPENS_MAX = 32,		/* connections to others that one session waits for */
	SHARERS_ASKS_MAX = 16,		/* its questions who shares with its user that wait for the others' word */
	FAIL_DELAY_MS = 2000,		/* of a refusal that is not counted */
};

struct networks {
	struct cidr *v;
	size_t n;
};

struct monitor {
	struct loop *loop;
	struct conf *conf;
	const char *conf_file;
	char active_conf[1100];		/* a copy of what was loaded last: what helpers and sessions read */
	bool unconfined, verbose;
	int listen[LISTENERS];
	uint8_t tag_key[32];
	struct throttle *throttle;
	struct cache *cache;
	struct networks exempt, webmail, proxies, xclients;
	struct rate *rates;		/* of AUTH commands to smtpd; NULL: not limited */
	struct helpers *helpers;
	struct accounts_state *accounts;
	struct conns *conns;
	struct checks *checks;
	struct workers *workers;
	struct sessions *sessions;
	struct shares *shares;
	struct timer *shares_timer;	/* runs: the table has changes that its file lacks */
	bool shares_dirty;
	struct uses *uses;
	struct timer *uses_timer;	/* likewise */
	bool uses_dirty;
	struct queue_peer *queue;
	struct control *control;
	struct timer *tick, *snapshot_timer;
	pid_t snapshot_pid;
	struct { uint64_t ok, failed, refused, cached; } count;
};

/* What is known of who wants to log in. Strings borrow from the owner of the attempt. */
struct facts {
	uint64_t conn;			/* 0: the saslauthd protocol */
	const char *service;		/* smtp imap pop3, or the saslauthd request's */
	const char *client, *server;	/* numeric, or "" */
	unsigned client_port;
	struct throttle_client from;
	bool webmail;			/* it comes from webmail_hosts; to smtpd, by what its proxy says */
};

/* --- helpers.c --- */
void helpers_init(struct monitor *m);
void helpers_reload(struct monitor *m);			/* new keys; new zygotes, the old finish what they do */
void helpers_end(struct monitor *m);			/* nobody listens any more when it returns: the next authd may start */
bool helpers_reaped(struct monitor *m, pid_t pid, int status);
void helpers_keys_load(struct monitor *m);
/* Both files of a pair to the key worker, with what else *keys says. *e names the file that cannot be read. */
int helpers_keys_put(struct monitor *m, struct ipc_helper_KEYS *keys, const char *key_file, const char *chain_file, uint32_t id, struct err *e) MUST_CHECK;
void helpers_sni_failed(struct monitor *m, const char *why);	/* told, and looked at again soon */
/* sni.c: the same for all pairs of tls_server_sni_maps. */
void sni_load(struct monitor *m);
void sni_result(struct monitor *m, uint32_t id, const struct ipc_helper_KEYS_RESULT *r);
/* dkim.c: read the table of signing keys and their files, hand them to the key worker. fn (may be NULL) is told what came of it. */
typedef void dkim_loaded_fn(void *ctx, bool ok, const char *text);
void dkim_load(struct monitor *m, dkim_loaded_fn *fn, void *ctx);
void dkim_result(struct monitor *m, uint32_t id, const struct ipc_helper_KEYS_RESULT *r);
struct ipc_chan *helpers_chan(struct monitor *m, enum helper_kind kind);	/* NULL: it is being restarted */
/* A channel to a fresh worker of a zygote; it lives at most life_ms. */
int helpers_worker(struct monitor *m, enum helper_kind zygote, uint64_t life_ms, int *fd_out, struct err *e) MUST_CHECK;
/* Start a one-shot helper; its channel is the caller's. */
int helpers_spawn(struct monitor *m, enum helper_kind kind, pid_t *pid_out, int *fd_out, struct err *e) MUST_CHECK;

/* --- accounts.c --- */
void accounts_init(struct monitor *m);
/* Gather again and install; done(ctx, ok) when that has happened (NULL: nobody waits). */
typedef void accounts_done_fn(void *ctx, bool ok);
void accounts_refresh(struct monitor *m, accounts_done_fn *done, void *ctx);
void accounts_reloaded(struct monitor *m);		/* the configuration is another one, and may count other names among ours */
bool accounts_reaped(struct monitor *m, pid_t pid);
void accounts_tick(struct monitor *m);			/* has passwd or the users file changed, or did the last gathering fail? */
/* 0 found; 1 no such account; -1 ERR_TEMP: the table cannot be read. given: as the client typed it. */
int accounts_find(struct monitor *m, struct str given, struct account *out, struct err *e) MUST_CHECK;
size_t accounts_count(const struct monitor *m);
/* An unknown name: is a password for it as much work as one for a system account? Else as for one of the suite's own users. */
bool accounts_system_like(const struct monitor *m, struct str given);

/* --- attempt.c --- */
struct attempt;
struct attempt_result {
	enum err_code code;		/* ERR_NONE: logged in; AUTH, TEMP, DENIED, INPUT, LIMIT */
	uint64_t delay_ms;
	const char *text;
	struct account account;		/* when logged in */
	struct str data;		/* SCRAM: the last message for the client */
};
struct attempt_ops {
	void (*done)(void *ctx, const struct attempt_result *r);	/* once; the attempt is gone when it returns */
	void (*challenge)(void *ctx, struct str data);			/* SCRAM */
};
void attempts_init(struct monitor *m);
/* facts and their strings must live as long as the attempt. tag: 32 bytes. password_fd: in which the password lies (helper.h); taken, passed on unread. done is
 * never called before these return. */
struct attempt *attempt_password(struct monitor *m, const struct facts *f, const char *mech, struct str given, struct str tag, int password_fd,
				 const struct attempt_ops *ops, void *ctx);
/* given is what the tag was made over; name is the account that is meant. */
struct attempt *attempt_password_as(struct monitor *m, const struct facts *f, const char *mech, struct str given, struct str name,
				    struct str tag, int password_fd, const struct attempt_ops *ops, void *ctx);
struct attempt *attempt_scram(struct monitor *m, const struct facts *f, struct str initial, const struct attempt_ops *ops, void *ctx);
void attempt_step(struct attempt *a, struct str data);
void attempt_cancel(struct attempt **a);		/* done is not called, but a check under way is still counted; accepts NULL */
const char *attempt_account(const struct attempt *a);	/* as far as it is known: "" while SCRAM's client has not named it */
void attempt_log_refused(const struct facts *f, const char *mech, const char *reason, struct str given);

/* --- workers.c --- */
struct worker;
enum worker_kind {
	WORKER_SASL,	/* one exchange at a time, and further ones of the same user from the same address */
	WORKER_FILE,	/* compares with the suite's password file, or with nobody's: serves further attempts */
	WORKER_PAM,
	WORKER_SCRAM,
};
/* Whom alone a sasl worker serves again. user: as the client wrote it. */
struct worker_owner {
	uint8_t addr[16];
	char user[513];
};
struct worker_ops {
	void (*said)(void *ctx, uint16_t type, void *msg, int fd);	/* fd: with CREDS only; taken */
	void (*gone)(void *ctx, const char *why);		/* nothing more comes; release it, unsound */
};
void workers_init(struct monitor *m);
void workers_renew(struct monitor *m);		/* the zygote is another one from now on: keep none of the old */
/* A worker for an attempt of at most life_ms; NULL with *e. owner: of a sasl worker that may serve again; NULL: of none. */
struct worker *worker_take(struct monitor *m, enum worker_kind kind, const struct worker_owner *owner, uint64_t life_ms, const struct worker_ops *ops, void *ctx,
			   struct err *e);
int worker_send(struct worker *c, uint16_t type, const void *msg, int fd, struct err *e) MUST_CHECK;
void worker_release(struct worker **c, bool sound);	/* sound: it may serve again: a check worker with its verdict, a sasl worker after its owner logged in; accepts NULL */

/* --- conns.c --- */
void conns_init(struct monitor *m);
size_t conns_count(const struct monitor *m);
/* The password or the rights of user have changed: a login of theirs that has begun, or not got its session yet, gets none by what was right before. What smtpd
 * and queued know stays. */
void conns_revoke(struct monitor *m, struct str user);

/* --- mux.c --- */
void mux_message(struct monitor *m, struct ipc_chan *ch, uint16_t type, uint32_t id, void *msg, int password_fd);	/* taken */
void mux_closed(struct monitor *m);

/* --- sessions.c --- */
struct attach;
struct attach_ask {
	uint64_t conn;
	const char *service, *client, *server;
	const struct account *account;
	const char *guest;		/* NULL: the connection is the account's own; else whose it is */
	int fd;				/* taken */
	struct str tag, input;		/* copied */
	uint64_t relayed;
};
typedef void attach_done_fn(void *ctx, enum err_code code, const char *text, pid_t pid);
void sessions_init(struct monitor *m);
struct attach *session_attach(struct monitor *m, const struct attach_ask *ask, attach_done_fn *done, void *ctx);
void attach_cancel(struct attach **a);
bool sessions_reaped(struct monitor *m, pid_t pid, int status);
size_t sessions_end_user(struct monitor *m, struct str user, const char *reason);	/* how many */
void sessions_check_accounts(struct monitor *m);	/* end those whose account went, changed or was disabled */
struct session_row { const char *user, *service; pid_t pid; unsigned conns; };
void sessions_each(struct monitor *m, void (*fn)(void *ctx, const struct session_row *r), void *ctx);
size_t sessions_count(const struct monitor *m);

/* --- guests.c: a session asks for another user's shared folders; who asks is what this process knows of the session, not what it says --- */
struct guests;
typedef void guest_answer_fn(void *ctx, uint32_t id, struct str owner, enum err_code code, int fd);	/* fd borrowed; -1 with a code */
typedef void sharers_answer_fn(void *ctx, uint32_t id);	/* it may be answered now */
struct guests *guests_new(struct monitor *m, const char *asker, guest_answer_fn *fn, sharers_answer_fn *sharers, void *ctx);	/* of one session */
void guests_free(struct guests **g);	/* nobody hears the answers any more */
void guests_open(struct guests *g, uint32_t id, struct str owner);
void guests_sharers(struct guests *g, uint32_t id);
void shares_load(struct monitor *m);
void shares_save(struct monitor *m);	/* if it has changed since */
void shares_told(struct monitor *m, const char *owner, struct str grantees);
size_t shares_with(const struct monitor *m, const char *user, struct str *v, size_t max);	/* owners, sorted; valid until the next change */

/* --- lastuse.c --- */
void uses_load(struct monitor *m);
int uses_save(struct monitor *m, struct err *e) MUST_CHECK;	/* if anything was used since */
void uses_seen(struct monitor *m, struct str id, const char *client);	/* this application password was right */

/* --- peers.c --- */
void queue_peer_init(struct monitor *m);
struct queue_tell;
typedef void queue_told_fn(void *ctx, bool ok);
struct queue_tell *queue_tell_user(struct monitor *m, uint64_t conn, const char *user, queue_told_fn *fn, void *ctx);
void queue_tell_cancel(struct queue_tell **t);

/* --- control.c --- */
void control_init(struct monitor *m);

/* --- monitor.c --- */
/* Copy the configuration that was just loaded to run_directory/authd.conf: an administrator may be half way through an edit of the file
 * itself when the next session starts. */
int monitor_conf_keep(struct monitor *m, struct err *e) MUST_CHECK;
int monitor_run(struct monitor *m) MUST_CHECK;

#endif
