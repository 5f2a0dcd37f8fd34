/* The output side of a connection: one growing buffer, and before it, when files are sent, a queue of segments. Owns
 * the high-water mark and its limits; conn.c decides when output is pushed.
 */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/arena.h"
#include "io/conn_priv.h"

enum {
	GROW_MIN = 1024,	/* smallest buffer */
	DIRECT_MIN = 16384,	/* output of this size is not copied when it can leave at once */
	FILE_CHUNK = 16384,	/* one TLS record */
	SENDFILE_MAX = 1 << 20, /* per round, so that one file does not hold the loop */
};

size_t conn_out_pending(const struct conn *c)
{
	uint64_t n = c->segs_file + c->segs_mem + c->out.n;

	return n > SIZE_MAX ? SIZE_MAX : (size_t)n;
}

bool conn_above_mark(const struct conn *c)
{
	return conn_out_pending(c) > c->lim.out_high;
}

size_t conn_out_room(const struct conn *c)
{
	size_t n = conn_out_pending(c);

	return n < c->lim.out_high ? c->lim.out_high - n : 0;
}

/* --- segments --- */

static void seg_drop(struct conn *c)
{
	struct seg *s = c->segs;

	c->segs = s->next;
	if (!c->segs)
		c->segs_end = &c->segs;
	c->segs_mem -= s->n;
	c->segs_file -= s->file_n;
	if (s->close_fd)
		close(s->fd);
	free(s->p);
	free(s);
}

static struct seg *seg_add(struct conn *c, struct seg value)
{
	struct seg *s = xmalloc(sizeof(*s));

	*s = value;
	*c->segs_end = s;
	c->segs_end = &s->next;
	c->segs_mem += s->n;
	c->segs_file += s->file_n;
	return s;
}

/* What is in the buffer goes before what comes now. */
void conn_seal_output(struct conn *c)
{
	if (c->out.n)
		seg_add(c,
			(struct seg){ .p = c->out.p, .off = c->out.off, .n = c->out.n, .fd = -1 });
	else
		free(c->out.p);
	c->out.p = NULL;
	c->out.off = c->out.n = c->out.cap = 0;
}

void conn_drop_output(struct conn *c)
{
	while (c->segs)
		seg_drop(c);
	free(c->out.p);
	c->out.p = NULL;
	c->out.off = c->out.n = c->out.cap = 0;
}

/* --- adding --- */

/* What a filter said: 0, or 1 when it took nothing. */
static int took(struct conn *c, ssize_t r, const struct err *e)
{
	if (r == FILTER_ERROR)
		conn_fail(c, e->text);
	else if (r == FILTER_AGAIN)
		c->blocked = true;
	return r < 0;
}

static void added(struct conn *c)
{
	c->wrote = true;
	if (conn_above_mark(c))
		c->over_mark = true;
	conn_post(c);
}

/* Room for n more bytes, or NULL when the connection is in error or gets so. */
static char *out_room(struct conn *c, size_t n)
{
	size_t used = c->out.off + c->out.n;

	if (c->failed || c->dead)
		return NULL;
	if (n > c->lim.out_max || c->out.n + c->segs_mem > c->lim.out_max - n) {
		conn_fail(c, "the peer does not read its answers");
		return NULL;
	}
	if (c->out.cap - used >= n && c->out.p)
		return c->out.p + used;
	if (c->out.off) {
		memmove(c->out.p, c->out.p + c->out.off, c->out.n);
		c->out.off = 0;
	}
	if (c->out.cap - c->out.n < n) {
		size_t cap = 2 * c->out.cap > c->out.n + n ? 2 * c->out.cap : c->out.n + n;

		c->out.cap = cap < GROW_MIN ? GROW_MIN : cap;
		c->out.p = xrealloc(c->out.p, c->out.cap);
	}
	return c->out.p + c->out.n;
}

/* Large output that can leave at once is not copied first. Returns the bytes that left. */
static size_t write_direct(struct conn *c, struct str s)
{
	struct err e = { 0 };

	if (c->blocked || c->setup || c->next || c->failed || c->dead || c->shut)
		return 0;
	if (c->segs || c->out.n)
		(void)conn_push_out(c);
	if (c->segs || c->out.n || c->failed)
		return 0;
	size_t sent = 0;
	while (sent < s.n) {
		ssize_t r = c->top->ops->write(c->top, s.p + sent, s.n - sent, false, &e);

		if (took(c, r, &e))
			break;
		sent += (size_t)r;
	}
	return sent;
}

void conn_write(struct conn *c, struct str s)
{
	if (s.n >= DIRECT_MIN)
		s = str_from(s, write_direct(c, s));
	if (s.n) {
		char *p = out_room(c, s.n);

		if (!p)
			return;
		memcpy(p, s.p, s.n);
		c->out.n += s.n;
	}
	added(c);
}

void conn_printf(struct conn *c, const char *fmt, ...)
{
	va_list ap, again;
	char small[256];

	va_start(ap, fmt);
	va_copy(again, ap);
	int n = vsnprintf(small, sizeof(small), fmt, ap);
	va_end(ap);
	if (n >= 0 && (size_t)n < sizeof(small)) {
		conn_write(c, str_n(small, (size_t)n));
	} else if (n >= 0) {
		char *p = out_room(c, (size_t)n + 1);

		if (p) {
			vsnprintf(p, (size_t)n + 1, fmt, again);
			c->out.n += (size_t)n;
			added(c);
		}
	}
	va_end(again);
}

static void send_file(struct conn *c, int fd, uint64_t off, uint64_t n, bool own)
{
	if (n == 0 || c->failed || c->dead) {
		if (own)
			close(fd);
		return;
	}
	conn_seal_output(c);
	seg_add(c, (struct seg){ .fd = fd, .close_fd = own, .file_off = off, .file_n = n });
	added(c);
}

void conn_send_file(struct conn *c, int fd, uint64_t off, uint64_t n)
{
	send_file(c, fd, off, n, false);
}

void conn_send_file_own(struct conn *c, int fd, uint64_t off, uint64_t n)
{
	send_file(c, fd, off, n, true);
}

/* --- pushing: each step returns 0 (done) or 1 (blocked or failed) --- */

static int push_mem(struct conn *c, char *p, size_t *off, size_t *n, size_t *total, bool more)
{
	struct err e = { 0 };

	while (*n) {
		ssize_t r = c->top->ops->write(c->top, p + *off, *n, more, &e);

		if (took(c, r, &e))
			return 1;
		*off += (size_t)r;
		*n -= (size_t)r;
		if (total)
			*total -= (size_t)r;
	}
	return 0;
}

static ssize_t file_some(struct conn *c, struct seg *s, struct err *e)
{
	size_t n = s->file_n < SENDFILE_MAX ? (size_t)s->file_n : SENDFILE_MAX;
	char chunk[FILE_CHUNK];
	ssize_t r;

	if (c->top == &c->fd_filter) {
		off_t off = (off_t)s->file_off;

		r = sendfile(c->fd, s->fd, &off, n);
		if (r < 0 && (errno == EAGAIN || errno == EINTR))
			return FILTER_AGAIN;
	} else {
		r = pread(s->fd, chunk, n < FILE_CHUNK ? n : FILE_CHUNK, (off_t)s->file_off);
		if (r > 0)
			return c->top->ops->write(c->top, chunk, (size_t)r, s->file_n > (size_t)r,
						  e);
	}
	if (r > 0)
		return r;
	err_set(e, ERR_TEMP, r < 0 ? errno : 0,
		r < 0 ? "sending a file" : "a file became shorter while it was sent");
	return FILTER_ERROR;
}

static int push_file(struct conn *c, struct seg *s)
{
	struct err e = { 0 };

	for (size_t sent = 0; s->file_n;) {
		ssize_t r = file_some(c, s, &e);

		if (took(c, r, &e))
			return 1;
		s->file_off += (uint64_t)r;
		s->file_n -= (uint64_t)r;
		c->segs_file -= (uint64_t)r;
		if ((sent += (size_t)r) >= SENDFILE_MAX && s->file_n) {
			c->blocked =
				true; /* the others' turn; the kernel will say that there is room */
			return 1;
		}
	}
	return 0;
}

static int push_segs(struct conn *c)
{
	while (c->segs) {
		struct seg *s = c->segs;
		bool more = s->next || c->out.n;

		if (s->p ? push_mem(c, s->p, &s->off, &s->n, &c->segs_mem, more) : push_file(c, s))
			return 1;
		seg_drop(c);
	}
	return 0;
}

/* more: what ends the stream follows at once. */
static int push_all(struct conn *c, bool more)
{
	struct err e = { 0 };

	if (c->failed || c->dead || c->setup)
		return 1;
	c->blocked = false;
	if (push_segs(c))
		return 1;
	if (c->next) { /* a new layer begins where the output of before it ends */
		if (c->top->ops->flush && took(c, c->top->ops->flush(c->top, &e), &e))
			return 1;
		conn_install(c);
		if (c->setup)
			return 1;
	}
	if (push_mem(c, c->out.p, &c->out.off, &c->out.n, NULL, more))
		return 1;
	if (c->out.p) {
		free(c->out.p);
		c->out.p = NULL;
		c->out.off = c->out.cap = 0;
	}
	return c->top->ops->flush ? took(c, c->top->ops->flush(c->top, &e), &e) : 0;
}

int conn_push_out(struct conn *c)
{
	return push_all(c, false);
}

/* The last answer, what the layers say at their end and the end itself leave in one packet. shutdown() sends what is held back. */
static void hold_for_end(struct conn *c)
{
	static const int on = 1;

	if (c->sock && !c->setup && !c->next && c->top != &c->fd_filter)
		(void)setsockopt(c->fd, IPPROTO_TCP, TCP_CORK, &on, sizeof(on));	/* refused: no TCP, no packets */
}

int conn_push_end(struct conn *c)
{
	struct err e = { 0 };

	if (!c->shut_done)
		hold_for_end(c);
	/* Nobody waits for the rest of a handshake. */
	if (c->setup && c->finishing)
		c->shut_done = true;
	else if (push_all(c, c->sock && c->top == &c->fd_filter && !c->next))	/* without layers a flag does the same */
		return 1;
	if (c->shut_done)
		return 0;
	for (struct filter *f = c->top; f; f = f->below) {
		if (f->ops->finish && took(c, f->ops->finish(f, &e), &e))
			return 1;
	}
	c->shut_done = true;
	if (c->sock)
		(void)shutdown(c->fd, SHUT_WR);
	return 0;
}

void conn_flush(struct conn *c)
{
	if (!c->dead)
		(void)conn_push_out(c);
	conn_post(c);
}
