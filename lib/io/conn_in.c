/* The input side of a connection: one buffer, and the line reader on it. Owns the shared read buffer's rule (what a
 * callback leaves behind moves to memory of the connection) and the limits on what is kept and skipped.
 */
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/enc.h"
#include "io/conn_priv.h"

enum { KEEP_MIN = 512 }; /* smallest buffer for what a callback left */

void conn_settle(struct conn *c)
{
	if (c->in.n == 0) {
		if (c->wipe && c->in.own)
			mem_wipe(c->in.own, c->in.cap);
		free(c->in.own);
		c->in.own = NULL;
		c->in.cap = 0;
		c->in.p = NULL;
	} else if (!c->in.own) {
		c->in.cap = c->in.n < KEEP_MIN ? KEEP_MIN : c->in.n;
		c->in.own = xmalloc(c->in.cap);
		memcpy(c->in.own, c->in.p, c->in.n);
		c->in.p = c->in.own;
	} else if (c->in.p != c->in.own) {
		memmove(c->in.own, c->in.p, c->in.n);
		c->in.p = c->in.own;
		if (c->wipe)
			mem_wipe(c->in.own + c->in.n, c->in.cap - c->in.n);
	}
	c->wipe = false;
}

void conn_wipe_input(struct conn *c)
{
	c->wipe = true;
	conn_post(c);
}

/* Own memory with room for at least as much as is there, within the limit. */
static void grow(struct conn *c)
{
	if (c->in.cap > c->in.n && (c->in.cap - c->in.n >= c->in.n || c->in.cap >= c->lim.in_max))
		return;
	c->in.cap = 2 * c->in.n < KEEP_MIN ? KEEP_MIN : 2 * c->in.n;
	if (c->in.cap > c->lim.in_max)
		c->in.cap = c->lim.in_max;
	c->in.own = xrealloc(c->in.own, c->in.cap);
	c->in.p = c->in.own;
}

/* Read as far as input is there: the descriptor once, filters until they hold no more. Returns the bytes got. */
static size_t fill(struct conn *c, struct err *e)
{
	size_t got = 0;
	ssize_t r;

	conn_settle(c);
	const bool shared = c->in.n == 0;
	do {
		if (!shared)
			grow(c);
		char *base = shared ? loop_scratch(c->l) : c->in.own;
		size_t cap = shared ? LOOP_SCRATCH : c->in.cap;
		if (cap > c->lim.in_max)
			cap = c->lim.in_max;
		if ((c->more = c->in.n >= cap))
			break;
		c->in.p = base;
		r = c->top->ops->read(c->top, base + c->in.n, cap - c->in.n, e);
		if (r > 0) {
			c->in.n += (size_t)r;
			got += (size_t)r;
		} else if (r == FILTER_EOF) {
			c->eof = true;
		} else if (r == FILTER_ERROR) {
			conn_fail(c, e->text);
		}
	} while (r > 0 && c->top->ops->pending && c->top->ops->pending(c->top));
	return got;
}

bool conn_wants_input(const struct conn *c)
{
	return !c->failed && !c->eof && !c->paused && !c->setup && !c->next && !c->finishing &&
	       c->in.n < c->lim.in_max && !conn_above_mark(c);
}

void conn_read(struct conn *c)
{
	struct err e = { 0 };
	const bool shared = c->in.n == 0;
	const size_t got = fill(c, &e);

	if (got > 0) {
		if (c->idle_ms)
			c->idle_at = loop_now(c->l) + c->idle_ms;
		c->redeliver = false;
		conn_deliver(c, CONN_EV_DATA);
	}
	if (c->eof)
		conn_deliver(c, CONN_EV_CLOSED);
	const bool wipe = c->wipe;
	if (!c->dead)
		conn_settle(c);
	if (wipe && shared)
		mem_wipe(loop_scratch(c->l), got);
}

struct str conn_input(const struct conn *c)
{
	return str_n(c->in.p, c->in.n);
}

void conn_consume(struct conn *c, size_t n)
{
	if (n > c->in.n)
		n = c->in.n;
	/* Reading may have stopped for want of room. */
	if (c->in.n >= c->lim.in_max || n == c->in.n)
		conn_post(c);
	if (n > 0)	/* without input there may be no buffer */
		c->in.p += n;
	c->in.n -= n;
}

void conn_drop_input(struct conn *c)
{
	conn_consume(c, c->in.n);
	c->skipping = false;
	c->redeliver = false;
}

/* Drop the rest of a too long line. 0: it is gone; 1: more of it is to come. */
static int skip_line(struct conn *c)
{
	const char *lf = c->in.n ? memchr(c->in.p, '\n', c->in.n) : NULL;
	size_t n = lf ? (size_t)(lf - c->in.p) + 1 : c->in.n;

	c->skipped += n;
	conn_consume(c, n);
	if (c->skipped > CONN_SKIP_MAX)
		conn_fail(c, "a line without end");
	c->skipping = !lf;
	return !lf;
}

int conn_line(struct conn *c, size_t max, struct str *line, struct err *e)
{
	struct err own = { 0 };
	size_t used = 0;

	if (!e)
		e = &own;
	if (conn_above_mark(c)) {
		c->starved = true;
		return 1;
	}
	if (c->failed || (c->skipping && skip_line(c)))
		return 1;
	int r = line_parse(conn_input(c), max < c->lim.in_max ? max : c->lim.in_max, line, &used,
			   e);
	if (r == 1)
		return 1;
	if (r < 0 && e->code == ERR_LIMIT && c->in.p[used - 1] != '\n') {
		c->skipping = true;
		c->skipped = used;
	}
	conn_consume(c, used);
	return r;
}

void conn_pause(struct conn *c, bool on)
{
	if (c->paused && !on)
		c->redeliver = true;
	c->paused = on;
	conn_post(c);
}
