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
	CONN_EV_DRAINED,	/* all output has left (or fell to half of the mark after being above it) */
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
/* Send what is buffered, then TLS close-notify, then end our direction and wait for the peer to end its own (so that what
 * was sent is not lost to a reset); the callback is not called any more; at most linger_ms. 0: one attempt, then close. */
void conn_finish(struct conn **c, uint64_t linger_ms);
/* fn(ctx) once when no connection of the loop is left in conn_finish: only then may the process exit, and then it is to exit, for what the last of them holds
 * is not freed any more: a front for each connection would spend a fiftieth of its time on that. One at a time. */
void conn_when_finished(struct loop *l, timer_fn *fn, void *ctx);
const char *conn_error(const struct conn *c);
/* CONN_EV_ERROR of a TLS handshake: it failed here, for want of the key worker's signature, whatever the peer did. */
bool conn_tls_own_fault(const struct conn *c);
int conn_fd(const struct conn *c);

/* --- input --- */
struct str conn_input(const struct conn *c);	/* borrows until the next conn_ call or the end of the callback */
void conn_consume(struct conn *c, size_t n);
void conn_wipe_input(struct conn *c);		/* overwrite what is consumed by the end of this callback: for passwords */
/* The one line reader. Strict: lines end in CRLF; a bare CR, bare LF or NUL is an error. max counts the CRLF. 0: *line (without
 * CRLF) borrows until the next conn_ call or the end of the callback, and is consumed; 1: need more, or output is above its
 * mark: CONN_EV_DATA will come; -1: ERR_INPUT ("bare CR", "bare LF", "NUL in a line"; the offending line is consumed to its LF)
 * or ERR_LIMIT (longer than max; the line is skipped to its end, which must come within CONN_SKIP_MAX bytes). */
enum { CONN_SKIP_MAX = 1 << 20 };
int conn_line(struct conn *c, size_t max, struct str *line, struct err *e) MUST_CHECK;
/* The same over bytes in memory: *used_out bytes of in were taken (after ERR_LIMIT all of them when the line's end is not in
 * sight: the caller drops what follows up to the next LF). Pure; conn_line and the fuzzer call it. */
int line_parse(struct str in, size_t max, struct str *line, size_t *used_out, struct err *e) MUST_CHECK;
void conn_pause(struct conn *c, bool on);	/* stop (resume) reading; resuming re-delivers buffered input as CONN_EV_DATA */

/* --- output --- */
void conn_write(struct conn *c, struct str s);		/* buffered; written once at the end of the dispatch round */
void conn_printf(struct conn *c, const char *fmt, ...) PRINTF_LIKE(2, 3);
size_t conn_out_pending(const struct conn *c);
size_t conn_out_room(const struct conn *c);		/* bytes until the high-water mark; 0 above it */
/* Send bytes off..off+n of fd (regular file) after what is buffered: sendfile for plain connections, copies for TLS.
 * Borrows fd until conn_out_pending() is 0 (at a CONN_EV_DRAINED); the second form takes fd and closes it when sent. A file that turns out shorter
 * breaks the connection. Bytes of files count for conn_out_pending and the high-water mark, not for out_max. */
void conn_send_file(struct conn *c, int fd, uint64_t off, uint64_t n);
void conn_send_file_own(struct conn *c, int fd, uint64_t off, uint64_t n);
void conn_flush(struct conn *c);			/* try now */

/* --- time --- */
void conn_idle(struct conn *c, uint64_t ms);		/* no input for ms -> CONN_EV_TIMEOUT; 0: none. Restarts with input */
void conn_deadline(struct conn *c, uint64_t ms);	/* absolute, from now; 0: none */

/* --- filters --- */
/* Start TLS; CONN_EV_SECURED or CONN_EV_ERROR follows, within 15 s. Server: what is buffered as input is dropped (RFC 3207
 * 4.2: nothing from before may run after), true is returned in *dropped_out (may be NULL) when there was something; the client form drops it too.
 * Output buffered before is sent in the clear first. An end without close-notify is CONN_EV_ERROR: what came last may be cut. */
void conn_starttls_server(struct conn *c, struct tls_ctx *t, bool *dropped_out);
/* The same, asking the client for a certificate. The handshake goes on without one, and with any. */
void conn_starttls_server_asking(struct conn *c, struct tls_ctx *t, bool *dropped_out);
struct tls_cert_facts;
/* What the peer has shown (tls.h). digest: of its fingerprints, "sha256". -1: nothing. */
int conn_tls_cert(const struct conn *c, const char *digest, struct tls_cert_facts *out) MUST_CHECK;
void conn_starttls_client(struct conn *c, struct tls_ctx *t, const char *sni);
struct tls_peer;
void conn_starttls_client_peer(struct conn *c, struct tls_ctx *t, const struct tls_peer *p);
bool conn_secure(const struct conn *c);
/* SHA-256 of the server's certificate and of its public key, after CONN_EV_SECURED. -1: there is none. */
int conn_tls_fingerprints(const struct conn *c, unsigned char cert[32], unsigned char key[32]) MUST_CHECK;
const char *conn_tls_version(const struct conn *c);	/* "TLSv1.3", or "" */
const char *conn_tls_cipher(const struct conn *c);
int conn_tls_bits(const struct conn *c);
/* Client: "Verified" (chain and name), "Trusted" (chain), "Untrusted"; server: "Trusted", "Untrusted", or "Anonymous": no certificate. */
const char *conn_tls_trust(const struct conn *c);
/* Server: the name that the client asked for, where it got a certificate of its own by it (tls_server_name); a host name's characters. Else "". */
const char *conn_tls_name(const struct conn *c);
/* RFC 9266 tls-exporter (TLS 1.3, and 1.2 with extended master secret). 0, or -1: not to be had. */
int conn_tls_binding(const struct conn *c, unsigned char out[32]) MUST_CHECK;
int conn_deflate(struct conn *c, struct err *e) MUST_CHECK;	/* RFC 4978, raw deflate both ways */

/* Give the descriptor up: returns it (caller owns), c is freed. Only for plain connections without pending output;
 * buffered input is appended to *leftover (a struct buf). */
struct buf;
int conn_detach(struct conn **c, struct buf *leftover);

/* Relay bytes between two connections until both ended (front <-> session after login), or nothing passed for idle_ms, or one ended
 * and nothing passed for 10 s. Both are taken. done(ctx) once; what is left may still be sent then: conn_when_finished(). */
void conn_relay(struct conn **a, struct conn **b, uint64_t idle_ms, timer_fn *done, void *ctx);

#endif
