/* Inside lib/io: the parts of a connection and the interface of its filters. A filter turns bytes of the layer below
 * into bytes for the layer above and back; the lowest is the descriptor. conn.c knows filters only through this table,
 * so that a program without TLS or compression links neither library.
 */
#ifndef IO_CONN_PRIV_H
#define IO_CONN_PRIV_H

#include <sys/types.h>

#include "io/conn.h"
#include "io/loop_priv.h"

enum { FILTER_EOF = 0, FILTER_AGAIN = -1, FILTER_ERROR = -2 };

struct filter;
struct filter_tls {
	const char *(*version)(const struct filter *f);
	const char *(*cipher)(const struct filter *f);
	int (*bits)(const struct filter *f);
	const char *(*trust)(const struct filter *f);
	const char *(*name)(const struct filter *f);
	int (*binding)(const struct filter *f, unsigned char out[32]);
	int (*fingerprints)(const struct filter *f, unsigned char cert[32], unsigned char key[32]);
	int (*cert)(const struct filter *f, const char *digest, struct tls_cert_facts *out);
};
struct filter_ops {
	/* Bytes (more than 0), FILTER_EOF (orderly), FILTER_AGAIN, or FILTER_ERROR with *e filled. */
	ssize_t (*read)(struct filter *f, void *p, size_t n, struct err *e);
	/* Bytes taken, FILTER_AGAIN or FILTER_ERROR. After FILTER_AGAIN the same bytes are offered again. more: further
	 * bytes follow at once. */
	ssize_t (*write)(struct filter *f, const void *p, size_t n, bool more, struct err *e);
	/* The rest may be NULL. 0, FILTER_AGAIN, FILTER_ERROR: */
	int (*setup)(struct filter *f,
		     struct err *e); /* before the first read or write: a handshake */
	int (*flush)(struct filter *f, struct err *e);	/* send on what it keeps */
	int (*finish)(struct filter *f, struct err *e); /* say goodbye in its protocol */
	bool (*pending)(const struct filter *f);	/* holds input: ask again */
	void (*free)(struct filter *f);
	const struct filter_tls *tls; /* its presence says that the layer is secure */
};

struct filter {
	const struct filter_ops *ops;
	struct filter *below;
	unsigned
		want; /* LOOP_* that it waits for after FILTER_AGAIN, when that is not the obvious one */
	unsigned setup_ms; /* most time for setup; 0: no limit of its own */
};

struct seg { /* output that goes before conn.out */
	struct seg *next;
	char *p; /* memory (owned), or NULL: file */
	size_t off, n;
	int fd;
	bool close_fd;
	uint64_t file_off, file_n;
};

struct conn {
	struct loop *l;
	struct watch *w;
	struct filter *top;
	struct filter fd_filter;
	struct filter *next; /* to be pushed when segs have left */
	int fd;
	bool sock;
	struct conn_limits lim;
	conn_fn *fn;
	void *ctx;
	struct loop_task task;

	struct {
		const char *p; /* what is buffered: in own or in the loop's scratch */
		size_t n;
		char *own;
		size_t cap;
	} in;
	struct {
		char *p;
		size_t off, n, cap;
	} out;
	struct seg *segs, **segs_end;
	size_t segs_mem; /* bytes of each kind in segs */
	uint64_t segs_file;
	size_t skipped; /* bytes of a too long line that were dropped */

	struct timer *timer;
	uint64_t timer_at, idle_ms, idle_at, deadline_at, setup_at;

	bool dead;
	bool failed, told; /* broken; the callback was told */
	bool eof;	   /* the peer's orderly end was read */
	bool setup;	   /* the top filter shakes hands */
	bool paused;	   /* by the caller */
	bool starved;	   /* conn_line held a line back: output is above its mark */
	bool redeliver;	   /* CONN_EV_DATA is due for what is buffered */
	bool more;	   /* a filter may hold input that the descriptor will not announce */
	bool skipping;	   /* the rest of a too long line */
	bool wipe;    /* conn_wipe_input: overwrite consumed input at the end of the callback */
	bool blocked; /* the last write did not take all */
	bool wrote,
		over_mark; /* CONN_EV_DRAINED is due when all is out, or half of the mark is reached */
	bool shut, shut_done; /* end our direction when all is out */
	bool finishing, linger;
	size_t discarded;
	char *error;
	bool own_fault; /* of a handshake */
};

/* conn.c */
void conn_post(struct conn *c);
void conn_fail(struct conn *c, const char *text);
/* Make f the top layer as soon as all output buffered before has left; f is taken. Input is not read meanwhile. */
void conn_push(struct conn *c, struct filter *f);
void conn_install(struct conn *c); /* conn.next becomes the top */
void conn_deliver(struct conn *c, enum conn_event ev);

/* conn_in.c */
bool conn_wants_input(const struct conn *c);
void conn_read(struct conn *c); /* read once and tell the callback */
void conn_settle(
	struct conn
		*c); /* after callbacks: keep what they left, in memory that is not much larger */
void conn_drop_input(struct conn *c);

/* conn_out.c */
bool conn_above_mark(const struct conn *c);
/* 0: all is out; 1: something is left; the descriptor is watched, or the connection is in error. */
int conn_push_out(struct conn *c);
/* As conn_push_out, then end our direction in each layer. */
int conn_push_end(struct conn *c);
void conn_seal_output(
	struct conn
		*c); /* what is buffered becomes a segment: it goes before all that comes later */
void conn_drop_output(struct conn *c);

#endif
