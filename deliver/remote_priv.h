/* Inside remote: jobs (one SEND each), SMTP sessions, DNS. */
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
#include "deliver/remote.h"
#include "io/conn.h"
#include "io/loop.h"
#include "io/tls.h"
#include "ipc/ipc.h"

enum {
	REMOTE_JOBS_MAX = 512,		/* attempts at once; queued's own limits are below it */
	REMOTE_MX_MAX = 20,		/* hosts of one next hop that are tried */
	REMOTE_ADDRS_MAX = 10,		/* addresses of one host */
	REMOTE_TRIES_MAX = 5,		/* connections of one attempt */
	REMOTE_RECORDS_MAX = 100,	/* of one DNS answer */
	REMOTE_TEXT_MAX = 500,		/* reply text that is kept */
	REMOTE_REUSE_MAX = 100,		/* messages of one connection */
	REMOTE_IDLE_MS = 2000,		/* a connection waits for the next message */
	REMOTE_WINDOW = 50,		/* RCPT commands without answer */
	REMOTE_HEAD_MAX = 1 << 20,	/* header section that edits are applied to */
	REMOTE_CHUNK = 32768,
};

/* --- DNS (remote_dns.c) --- */
struct dns;
enum dns_status { DNS_FOUND, DNS_NO_DATA, DNS_NO_NAME, DNS_TEMPORARY };
struct dns_mx {
	char host[256];
	uint16_t pref;
};
struct dns_addr {
	struct sockaddr_storage sa;
	socklen_t len;
	char text[64];
};
typedef void dns_mx_fn(void *ctx, enum dns_status st, struct dns_mx *v, size_t n, const char *why);
typedef void dns_addr_fn(void *ctx, enum dns_status st, struct dns_addr *v, size_t n, const char *why);
/* Reads the system's configuration: before confinement. */
struct dns *dns_new(const struct conf *conf, struct err *e);
void dns_attach(struct dns *d, struct loop *l);
/* Sorted by preference, equals in random order. The callback may come before the return. */
void dns_mx(struct dns *d, const char *domain, dns_mx_fn *fn, void *ctx);
void dns_addrs(struct dns *d, const char *host, uint16_t port, dns_addr_fn *fn, void *ctx);
/* A numeric address; -1 when it is none. */
int dns_numeric(const char *host, uint16_t port, struct dns_addr *out) MUST_CHECK;

/* --- one attempt (remote.c) --- */
enum rcpt_status { RCPT_OPEN, RCPT_SENT, RCPT_DEFERRED, RCPT_BOUNCED };
struct rcpt {
	struct str addr;
	enum rcpt_status status;
	bool accepted;			/* RCPT answered 2xx */
	char enhanced[16];
	const char *text;		/* on the job's arena */
};
struct smtp;
struct remote;
struct job {
	struct list node;
	struct remote *r;
	struct arena *a;
	uint32_t id;
	int fd;
	struct str qid, nexthop, sender, body;
	struct rcpt *rcpts;
	size_t n_rcpts;
	struct str *edits;
	size_t n_edits;
	uint64_t size;
	bool utf8;
	/* where to */
	char host[256];			/* being tried */
	uint16_t port;
	struct dns_mx *mx;
	size_t n_mx, next_mx;
	struct dns_addr addrs[REMOTE_ADDRS_MAX];
	size_t n_addrs, next_addr;
	unsigned tries;
	bool no_tls;			/* a handshake with this address failed: once more in the clear */
	bool fresh;			/* no kept connection for this one any more */
	char relay[300];		/* "host[ip]:25" of the last conversation */
	char last_enhanced[16];
	char last_text[600];		/* of the last failure */
};
struct remote {
	struct loop *loop;
	const struct conf *conf;
	struct ipc_chan *queue;
	struct dns *dns;
	struct tls_ctx *tls;
	struct list jobs, idle;		/* idle: connections that wait for a message */
	size_t n_jobs;
};

/* Before confinement: resolver, TLS. Then: serve queued's channel (taken) on this loop. */
int remote_init(struct remote *r, const struct conf *conf, struct err *e) MUST_CHECK;
void remote_serve(struct remote *r, struct loop *l, int queue_fd);

/* All recipients that are still open end like this (text is copied). */
void job_close_open(struct job *j, enum rcpt_status st, const char *enhanced, const char *text);
void rcpt_close(struct job *j, struct rcpt *r, enum rcpt_status st, const char *enhanced, const char *text);
/* The conversation is over. job_done: all recipients have a result. job_next: this address did not work; text says why. */
void job_done(struct job *j);
void job_next(struct job *j, const char *enhanced, const char *text);

/* Begin again, with a new connection. */
void job_restart(struct job *j);

/* --- one connection (remote_smtp.c) --- */
void smtp_open(struct job *j, const struct dns_addr *addr);
/* A kept connection to the job's next hop takes the job; false: there is none. */
bool smtp_reuse(struct job *j);

#endif
