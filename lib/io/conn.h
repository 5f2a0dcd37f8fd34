/* A buffered connection: a stack of filters over a descriptor (plain, TLS, deflate) that protocol code cannot tell
 * apart. One callback with an event. Input stops being read while the output is above its high-water mark or the
 * input buffer is full. Every wait has a deadline.
 *
 *	c = conn_new(loop, fd, &(struct conn_limits){ .in_max = 65536, .out_high = 65536, .out_max = 1 << 20 }, on_event, s);
 *	on CONN_EV_DATA: while ((r = conn_line(c, line_max, &line, &e)) == 0) handle(line);
 */
#ifndef IO_CONN_H
#define IO_CONN_H

#include <stdbool.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/err.h"
#include "base/str.h"
#include "io/loop.h"

struct conn;
struct tls_ctx;

enum conn_event {
	CONN_EV_DATA,		/* new input is buffered */
	CONN_EV_DRAINED,	/* all output has left (or fell below the mark after being above it) */
	CONN_EV_SECURED,	/* the TLS handshake is done */
	CONN_EV_TIMEOUT,	/* the deadline set by conn_deadline/conn_idle passed */
	CONN_EV_CLOSED,		/* orderly end of input; buffered input is still readable */
	CONN_EV_ERROR,		/* broken: conn_error() says why */
};
typedef void conn_fn(void *ctx, struct conn *c, enum conn_event ev);

struct conn_limits {
	size_t in_max;		/* most input buffered; must hold the longest line */
	size_t out_high;	/* above it input is not read */
	size_t out_max;		/* above it the connection is in error (the peer does not read) */
};

/* Takes fd (made non-blocking, TCP_NODELAY where it is TCP). Returns owned. */
struct conn *conn_new(struct loop *l, int fd, const struct conn_limits *lim, conn_fn *fn, void *ctx);
/* Close at once (buffered output is lost). Freed after the dispatch round. Accepts NULL. */
void conn_free(struct conn **c);
/* Send what is buffered, then TLS close-notify and close; the callback is not called any more; at most linger_ms. */
void conn_finish(struct conn **c, uint64_t linger_ms);
const char *conn_error(const struct conn *c);
int conn_fd(const struct conn *c);

/* --- input --- */
struct str conn_input(const struct conn *c);	/* borrows until the next conn_ call */
void conn_consume(struct conn *c, size_t n);
/* The one line reader. Strict: lines end in CRLF; a bare CR, bare LF or NUL is an error. 0: *line (without CRLF) borrows
 * until the next conn_ call and is consumed; 1: need more; -1: ERR_INPUT (bare CR/LF/NUL: text says which; the offending
 * line is consumed to its LF) or ERR_LIMIT (longer than max; the line is skipped to its end). */
int conn_line(struct conn *c, size_t max, struct str *line, struct err *e) MUST_CHECK;
/* The same over bytes in memory: *used_out bytes of in were taken. Pure; conn_line and the fuzzer call it. */
int line_parse(struct str in, size_t max, struct str *line, size_t *used_out, struct err *e) MUST_CHECK;
void conn_pause(struct conn *c, bool on);	/* stop (resume) reading; resuming re-delivers buffered input as CONN_EV_DATA */

/* --- output --- */
void conn_write(struct conn *c, struct str s);		/* buffered; written once at the end of the dispatch round */
void conn_printf(struct conn *c, const char *fmt, ...) PRINTF_LIKE(2, 3);
size_t conn_out_pending(const struct conn *c);
/* Send bytes off..off+n of fd (regular file) after what is buffered: sendfile for plain connections, copies for TLS.
 * Borrows fd until CONN_EV_DRAINED. */
void conn_send_file(struct conn *c, int fd, uint64_t off, uint64_t n);
void conn_flush(struct conn *c);			/* try now */

/* --- time --- */
void conn_idle(struct conn *c, uint64_t ms);		/* no input for ms -> CONN_EV_TIMEOUT; 0: none. Restarts with input */
void conn_deadline(struct conn *c, uint64_t ms);	/* absolute, from now; 0: none */

/* --- filters --- */
/* Start TLS. Server: what is buffered as input is dropped (RFC 3207 4.2: nothing from before may run after), true is
 * returned in *dropped_out when there was something. Output buffered before is sent in the clear first. */
void conn_starttls_server(struct conn *c, struct tls_ctx *t, bool *dropped_out);
void conn_starttls_client(struct conn *c, struct tls_ctx *t, const char *sni);
bool conn_secure(const struct conn *c);
const char *conn_tls_version(const struct conn *c);	/* "TLSv1.3", or "" */
const char *conn_tls_cipher(const struct conn *c);
int conn_tls_bits(const struct conn *c);
int conn_deflate(struct conn *c, struct err *e) MUST_CHECK;	/* RFC 4978, raw deflate both ways */

/* Give the descriptor up: returns it (caller owns), c is freed. Only for plain connections without pending output;
 * buffered input is appended to *leftover (a struct buf). */
struct buf;
int conn_detach(struct conn **c, struct buf *leftover);

/* Relay bytes between two connections until both ended (front <-> session after login). Both are taken. done(ctx) once. */
void conn_relay(struct conn **a, struct conn **b, uint64_t idle_ms, timer_fn *done, void *ctx);

#endif
