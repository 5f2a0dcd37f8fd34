/* Inside remote. In reading order: remote.c starts the dispatcher and its workers; remote_job.c is one attempt (a SEND), from next hop to result; remote_smtp.c one
 * connection, with remote_reply.c (what the server says), remote_hello.c (up to the first transaction) and remote_trans.c (a transaction), which share
 * remote_smtp_priv.h; remote_body.c the message, remote_auth.c login, remote_tls.c policy; remote_dns.c asks the dns process. */
#ifndef DELIVER_REMOTE_PRIV_H
#define DELIVER_REMOTE_PRIV_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "base/arena.h"
#include "base/attr.h"
#include "base/buf.h"
#include "base/list.h"
#include "base/str.h"
#include "deliver/resolve/own.h"
#include "deliver/remote/remote.h"
#include "deliver/sts/sts.h"
#include "io/conn.h"
#include "io/loop.h"
#include "io/tls.h"
#include "ipc/ipc.h"
#include "smtp/data.h"

enum {
	REMOTE_WORKERS_MAX = 512,	/* processes; queued's limit of attempts at once is not above it */
	REMOTE_WORKER_IDLE_MS = 5000,
	REMOTE_JOBS_MAX = 1024,		/* attempts of one worker at once; queued's own limits are below it */
	REMOTE_MX_MAX = 20,		/* hosts of one next hop that are looked up */
	REMOTE_TARGETS_MAX = 50,	/* addresses of all of them */
	REMOTE_ADDRS_MAX = 10,		/* addresses of one host */
	REMOTE_TEXT_MAX = 500,		/* reply text that is kept */
	REMOTE_WINDOW = 50,		/* RCPT commands without answer */
	REMOTE_HEAD_MAX = 1 << 20,	/* header section that edits are applied to */
	REMOTE_CHUNK = 32768,
	REMOTE_TLSA_MAX = 20,
};

/* --- names (remote_dns.c), through the dns process --- */
enum { NAMES_MX_MAX = 100 };
struct names;
enum names_status { NAMES_FOUND, NAMES_NO_DATA, NAMES_NO_NAME, NAMES_TEMPORARY };
struct mx {
	char host[256];
	uint16_t pref;
};
struct address {
	struct sockaddr_storage sa;
	socklen_t len;
	char text[64];
};
/* secure: the resolver vouches for the answer (AD). */
typedef void mx_fn(void *ctx, enum names_status st, struct mx *v, size_t n, bool secure, const char *why);
typedef void address_fn(void *ctx, enum names_status st, struct address *v, size_t n, bool secure, const char *why);
typedef void tlsa_fn(void *ctx, enum names_status st, struct tls_tlsa *v, size_t n, bool secure);
struct names *names_new(const struct conf *conf, struct loop *l, int dns_fd);	/* takes dns_fd */
/* Sorted by preference, equals in random order. Callbacks may come before the return. */
void names_mx(struct names *d, const char *domain, mx_fn *fn, void *ctx);
/* In the order of smtp_address_preference. */
void names_addresses(struct names *d, const char *host, uint16_t port, address_fn *fn, void *ctx);
void names_tlsa(struct names *d, const char *host, uint16_t port, tlsa_fn *fn, void *ctx);
/* A numeric address; -1 when it is none. */
int names_numeric(const char *host, uint16_t port, struct address *out) MUST_CHECK;

/* --- one attempt (remote_job.c) --- */
enum rcpt_status { RCPT_OPEN, RCPT_SENT, RCPT_DEFERRED, RCPT_BOUNCED };
struct rcpt {
	struct str addr, notify, orcpt;
	enum rcpt_status status;
	bool accepted;			/* RCPT answered 2xx */
	char enhanced[16];
	const char *text;		/* on the job's arena */
};

/* What TLS has to be like with one server (remote_tls.c). */
enum tls_level {
	TLS_NONE,
	TLS_MAY,
	TLS_ENCRYPT,
	TLS_FINGERPRINT,
	TLS_VERIFY,
	TLS_SECURE,
	TLS_DANE,
	TLS_DANE_ONLY,
	TLS_STS,		/* of no configuration: what an enforced MTA-STS policy makes of a level */
};
struct tls_policy {
	enum tls_level level;
	struct str match[8];		/* names, or fingerprints */
	size_t n_match;
};

struct target {
	struct address addr;
	char host[256];
	uint16_t pref;
	bool secure;			/* name and address are vouched for */
};

struct smtp;
struct remote;
struct job {
	struct list node;
	struct remote *r;
	struct arena *a;
	uint32_t id;
	int fd;
	uint64_t start_us, begun_us;
	struct str qid, nexthop, sender, body, login, policy_text, envid, ret;
	bool lmtp;
	int given;			/* unix:…: its connection; -1: none */
	struct rcpt *rcpts;
	size_t n_rcpts;
	struct str *edits;
	size_t n_edits;
	uint64_t size;
	bool utf8;
	bool probe;			/* end after RCPT */
	/* where to */
	struct str hop;			/* nexthop, or a fallback relay */
	size_t fallback;		/* which; 0: nexthop */
	char domain[256];		/* host part of hop */
	uint16_t port;
	bool by_mx;
	struct mx *mx;
	size_t n_mx, at_mx;
	bool mx_secure;
	struct target *targets;
	size_t n_targets, at_target;
	unsigned tries;
	struct tls_policy tls;
	enum sts_mode sts;		/* of the next hop, where it counts */
	struct str *sts_mx;
	size_t n_sts_mx;
	bool sts_miss;			/* testing: this exchanger is not in it */
	const struct tls_tlsa *tlsa;	/* of the target being tried */
	size_t n_tlsa;
	enum tls_level effective;	/* of that target */
	bool no_tls;			/* a handshake with this address failed: once more in the clear */
	bool fresh;			/* no kept connection for this one any more */
	bool reached, dsn;
	uint64_t uses;
	char best_mx[256];
	char relay[300];		/* "host[ip]:25" of the last conversation */
	char last_enhanced[16];
	char last_text[600];		/* of the last failure */
	char tls_note[480];
};
struct remote {
	struct loop *loop;
	const struct conf *conf;
	struct ipc_chan *queue;
	struct names *names;
	struct tls_ctx *tls;
	struct lookups *discard;	/* smtp_discard_ehlo_keyword_address_maps */
	struct own_addresses own;
	int given;			/* a connection for the next SEND; -1: none */
	int key_fd;			/* to the key worker, which signs for smtp_tls_cert_file; -1: no certificate is shown */
	struct list jobs, idle;		/* idle: connections that wait for a message */
	size_t n_jobs;
};

/* Before confinement: TLS, addresses. Then: serve queued's channel, with one to dns (both taken), on this loop. */
int remote_init(struct remote *r, const struct conf *conf, struct err *e) MUST_CHECK;
void remote_serve(struct remote *r, struct loop *l, int queue_fd, int dns_fd);

/* All recipients that are still open end like this (text is copied). */
void job_close_open(struct job *j, enum rcpt_status st, const char *enhanced, const char *text);
void rcpt_close(struct job *j, struct rcpt *r, enum rcpt_status st, const char *enhanced, const char *text);
/* The conversation is over. job_done: all recipients have a result. job_next: this address did not work; text says why. */
void job_done(struct job *j);
void job_next(struct job *j, const char *enhanced, const char *text);
/* For the counters of RFC 8460: a session's result with this exchanger. own: our address, or "". The first failure of an attempt stays: what came after it was
 * another server's. */
void job_tls_note(struct job *j, const char *result, const struct target *t, const char *own);
/* Begin again, with a new connection. */
void job_restart(struct job *j);

/* --- TLS (remote_tls.c) --- */
/* The policy of a next hop: its entry, else the configuration's level. ERR_CONF: nonsense in the entry. */
int tls_policy_parse(const struct conf *c, struct str entry, struct arena *a, struct tls_policy *out, struct err *e) MUST_CHECK;
/* Level for one server, from the policy and its TLSA records (st: what the lookup said; RFC 7672). -1: it must not be spoken to now. */
int tls_level_for(const struct tls_policy *p, bool secure_names, enum names_status st, bool secure, const struct tls_tlsa *v, size_t n, enum tls_level *out) MUST_CHECK;
/* Does the next hop's MTA-STS policy count for this attempt? Not where the administrator has an entry, for a fallback relay, or for a host that was named. */
bool tls_obeys_sts(const struct job *j);
bool tls_sts_names(const struct job *j, const char *host);	/* the exchanger is in the policy */
/* The result type of RFC 8460 4.3.1 for a handshake that failed so. */
const char *tls_failure_word(const char *why);
/* Names for conn_starttls_client_peer; at most 8. */
size_t tls_names(const struct job *j, const char *host, struct str out[8]);
/* Does the server's certificate or key have one of the fingerprints? */
bool tls_fingerprint_ok(const struct tls_policy *p, const struct conn *c);

/* --- login (remote_auth.c, pure) --- */
enum auth_mech { AUTH_NONE, AUTH_CRAM_MD5, AUTH_PLAIN, AUTH_LOGIN };
/* The first of ours that the server offers (bits 1 << mech) and options and filter allow. */
enum auth_mech auth_choose(const struct conf *c, unsigned offered, bool secure);
unsigned auth_offered(struct str words);	/* of the AUTH line of EHLO */
/* The line to send: first (challenge p NULL) or in answer to a 334. -1: the server asks nonsense. */
int auth_line(enum auth_mech m, struct str login, unsigned step, struct str challenge, struct buf *out) MUST_CHECK;

/* --- one connection (remote_smtp.c) --- */
void smtp_open(struct job *j, const struct target *t);
/* The job's next hop is a UNIX socket: speak over the connection that came with it, once. */
void smtp_adopt(struct job *j);
/* A kept connection to the job's next hop takes the job; false: there is none. */
bool smtp_reuse(struct job *j);

/* --- the message (remote_body.c) --- */
struct body {
	int fd;			/* borrowed */
	uint64_t off, size;
	struct buf ready;	/* header with edits and what was read with it, or the whole message when it was converted; LF form */
	size_t ready_off;
	struct smtp_dot dot;
	bool whole;		/* all of it is in ready */
};
/* seven: the server takes 7 bits only. ERR_INPUT: cannot be sent. */
int body_open(struct body *b, const struct job *j, bool seven, struct err *e) MUST_CHECK;
void body_close(struct body *b);
/* The next piece in wire form; *end_out: with the final dot. */
int body_read(struct body *b, struct buf *wire, bool *end_out, struct err *e) MUST_CHECK;

#endif
