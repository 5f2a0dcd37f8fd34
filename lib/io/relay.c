/* Two connections tied together: what one receives the other sends, each with its own filters. Used by the front after
 * login, between the client's TLS and the session's socket. Owns both until it ends.
 */
#include <stdlib.h>

#include "base/arena.h"
#include "base/clock.h"
#include "io/conn_priv.h"

enum {
	RELAY_BUFFER = 65536,
	HALF_MS = 10000, /* one side has ended and nothing passes */
	LINGER_MS = 2000,
};

struct relay {
	struct conn *side[2];
	struct loop *l;
	struct timer *timer;
	uint64_t idle_ms, active_at;
	timer_fn *done;
	void *ctx;
};

static struct conn *other(const struct relay *r, const struct conn *c)
{
	return r->side[r->side[0] == c];
}

static void end(struct relay *r)
{
	conn_finish(&r->side[0], LINGER_MS);
	conn_finish(&r->side[1], LINGER_MS);
	timer_del(&r->timer);
	loop_later(r->l, r->done, r->ctx);
	loop_free_later(r->l, r);
}

static void pass(struct relay *r, struct conn *c)
{
	struct conn *o = other(r, c);

	r->active_at = loop_now(r->l);
	conn_write(o, conn_input(c));
	conn_consume(c, conn_input(c).n);
	if (conn_above_mark(o))
		conn_pause(c, true);
}

static void closed(struct relay *r, struct conn *c)
{
	struct conn *o = other(r, c);

	if (o->eof) {
		end(r);
		return;
	}
	o->shut = true;
	conn_post(o);
	if (r->idle_ms == 0 || r->idle_ms > HALF_MS)
		r->idle_ms = HALF_MS;
	r->active_at = loop_now(r->l);
	timer_again(r->timer, r->idle_ms);
}

static void on_relay(void *ctx, struct conn *c, enum conn_event ev)
{
	struct relay *r = ctx;

	switch (ev) {
	case CONN_EV_DATA:
		pass(r, c);
		break;
	case CONN_EV_DRAINED:
		r->active_at = loop_now(r->l);
		if (other(r, c)->paused)
			conn_pause(other(r, c), false);
		break;
	case CONN_EV_CLOSED:
		closed(r, c);
		break;
	case CONN_EV_TIMEOUT:
	case CONN_EV_ERROR:
		end(r);
		break;
	case CONN_EV_SECURED:
		break;
	}
}

static void on_idle(void *ctx)
{
	struct relay *r = ctx;
	uint64_t quiet = loop_now(r->l) - r->active_at;

	if (r->idle_ms == 0)
		return;
	if (quiet >= r->idle_ms)
		end(r);
	else
		timer_again(r->timer, r->idle_ms - quiet);
}

static void take(struct relay *r, int i, struct conn **cp)
{
	struct conn *c = *cp;

	*cp = NULL;
	r->side[i] = c;
	c->fn = on_relay;
	c->ctx = r;
	c->lim = (struct conn_limits){ RELAY_BUFFER, RELAY_BUFFER, 4 * RELAY_BUFFER };
	conn_idle(c, 0);
	conn_deadline(c, 0);
	conn_pause(c, false);
	c->told = false;
}

void conn_relay(struct conn **a, struct conn **b, uint64_t idle_ms, timer_fn *done, void *ctx)
{
	struct relay *r = xzalloc(sizeof(*r));

	r->l = (*a)->l;
	r->idle_ms = idle_ms;
	r->active_at = clock_mono_ms();
	r->done = done;
	r->ctx = ctx;
	/* Always there, so that a half-closed relay has a limit. */
	r->timer = loop_timer(r->l, idle_ms ? idle_ms : HALF_MS, on_idle, r);
	take(r, 0, a);
	take(r, 1, b);
	for (int i = 0; i < 2; i++) {
		if (r->side[i]->in.n)
			pass(r, r->side[i]);
	}
	for (int i = 0; i < 2 && r->side[i]; i++) {
		if (r->side[i]->eof)
			closed(r, r->side[i]);
	}
}
