/* Where recipients elsewhere go: the message as other servers get it, then a route for each of them (asked of resolve where the configuration has maps for that), which
 * is a transport with its next hop, or an answer at once. Deliveries: queued_remote.c.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "deliver/queue/queued.h"
#include "deliver/queue/queued_outgoing.h"
#include "os/os.h"
#include "smtp/addr.h"
#include "smtp/reply.h"

/* --- routes --- */

bool routes_need_maps(const struct conf *c)
{
	return c->transport_maps.n > 0 || c->sender_dependent_relayhost_maps.n > 0 || c->sender_dependent_default_transport_maps.n > 0 || c->smtp_tls_policy_maps.n > 0 ||
	       (c->smtp_sasl_auth_enable && c->smtp_sasl_password_maps.n > 0) || strcmp(c->default_transport, "smtp") != 0 ||
	       (strcmp(c->relay_transport, "relay") != 0 && strcmp(c->relay_transport, "smtp") != 0);
}

static void answer_here(struct arcpt *x, enum spool_state st, const char *program, const char *class, struct str hop)
{
	struct str text;
	const struct str enhanced = smtp_enhanced_split(hop, class, &text);

	x->program = program;
	x->start_us = clock_mono_us();
	active_result(x, st, enhanced, text, STR("none"));
}

static const char *remote_transport(struct str t)
{
	return str_case_eq(t, STR("smtp")) || str_case_eq(t, STR("relay")) ? "smtp" : str_case_eq(t, STR("lmtp")) ? "lmtp" : NULL;
}

static void route(struct active *a, size_t at, struct str transport, struct str nexthop, struct str login, struct str policy, struct list *jobs)
{
	struct arcpt *x = &a->rcpts[at];
	const char *by = remote_transport(transport);

	if (by)
		remote_job_add(a, at, by, nexthop, login, policy, jobs);
	else if (str_case_eq(transport, STR("error")))
		answer_here(x, SPOOL_BOUNCED, "error", "5.0.0", nexthop);
	else if (str_case_eq(transport, STR("discard")))
		answer_here(x, SPOOL_SENT, "discard", "2.0.0", nexthop);
	else
		answer_here(x, SPOOL_PENDING, "retry", "4.0.0", str_case_eq(transport, STR("retry")) ? nexthop : STR("4.3.5 unknown mail transport"));
}

/* Without maps: relayhost or the domain. */
static void route_plain(struct active *a, size_t at, struct list *jobs)
{
	const struct str address = a->msg->rcpts[at].address;
	const struct str domain = smtp_domain_of(address);
	const char *relay = a->q->conf->relayhost;

	route(a, at, STR("smtp"), relay[0] ? str_c(relay) : domain.n == 0 ? STR("localhost") : domain, STR(""), STR(""), jobs);
}

/* A transport that resolve has fixed for it: "transport:nexthop". */
static void route_fixed(struct active *a, size_t at, struct list *jobs)
{
	struct str hop = a->msg->rcpts[at].user;
	const struct str transport = str_split(&hop, ':');

	route(a, at, transport, hop.p ? hop : STR(""), STR(""), STR(""), jobs);
}

struct question {
	struct active *a;
	size_t n, at[ROUTES_MAX];
};

static void on_routes(void *ctx, const struct ipc_resolve_ROUTES *r)
{
	struct question *x = ctx;
	struct active *a = x->a;
	struct list jobs;

	list_init(&jobs);
	for (size_t i = 0; i < x->n; i++) {
		if (r)
			route(a, x->at[i], r->transports.v[i], r->nexthops.v[i], r->logins.v[i], r->policies.v[i], &jobs);
		else
			route(a, x->at[i], STR("retry"), STR("4.3.0 Temporary lookup failure"), STR(""), STR(""), &jobs);
	}
	free(x);
	remote_jobs_go(a, &jobs);
	active_one_done(a);
}

static void ask_routes(struct active *a, const size_t *at, size_t n)
{
	struct question *x = xzalloc(sizeof(*x));
	struct str addresses[ROUTES_MAX];

	x->a = a;
	for (x->n = 0; x->n < n; x->n++) {
		x->at[x->n] = at[x->n];
		addresses[x->n] = a->msg->rcpts[at[x->n]].address;
	}
	a->outstanding++;
	(void)route_ask(a->q, a->msg->sender, (struct ipc_strs){ addresses, n }, on_routes, x);
}

static void route_all(struct active *a, const size_t *at, size_t n)
{
	size_t *ask = ARENA_ARRAY(a->arena, size_t, n + 1), n_ask = 0;
	struct list jobs;

	list_init(&jobs);
	for (size_t i = 0; i < n; i++) {
		if (a->msg->rcpts[at[i]].user.n > 0)
			route_fixed(a, at[i], &jobs);
		else if (routes_need_maps(a->q->conf))
			ask[n_ask++] = at[i];
		else
			route_plain(a, at[i], &jobs);
	}
	for (size_t i = 0; i < n_ask; i += ROUTES_MAX)
		ask_routes(a, ask + i, n_ask - i < ROUTES_MAX ? n_ask - i : ROUTES_MAX);
	remote_jobs_go(a, &jobs);
}

/* --- as others see it --- */

struct preparing {
	struct active *a;
	size_t at[OUTGOING_MAX];
	struct outgoing out;
};

static void on_outgoing(void *ctx)
{
	struct preparing *p = ctx;
	struct active *a = p->a;

	for (size_t i = 0; i < p->out.n && p->out.trouble; i++)
		answer_here(&a->rcpts[p->at[i]], SPOOL_PENDING, "smtp", "4.3.0", str_c(p->out.trouble));
	if (p->out.trouble == NULL)
		route_all(a, p->at, p->out.n);
	active_one_done(a);
}

static void prepare(struct active *a, const size_t *at, size_t n)
{
	struct preparing *p = ARENA_NEW(a->arena, struct preparing);

	if (p == NULL) {
		for (size_t i = 0; i < n; i++)
			answer_here(&a->rcpts[at[i]], SPOOL_PENDING, "smtp", "4.3.0", STR("no memory"));
		return;
	}
	p->a = a;
	p->out.n = n;
	for (size_t i = 0; i < n; i++) {
		p->at[i] = at[i];
		p->out.senders[i] = active_sender_of(a->msg, &a->msg->rcpts[at[i]]);
		p->out.recipients[i] = a->msg->rcpts[at[i]].address;
		a->rcpts[at[i]].out = &p->out;
		a->rcpts[at[i]].out_at = i;
	}
	a->outstanding++;
	outgoing_make(a, &p->out, on_outgoing, p);
}

static void prepare_all(struct active *a, const size_t *at, size_t n)
{
	if (!outgoing_wanted(a->q->conf)) {
		route_all(a, at, n);
		return;
	}
	a->outstanding++;
	for (size_t i = 0; i < n; i += OUTGOING_MAX)
		prepare(a, at + i, n - i < OUTGOING_MAX ? n - i : OUTGOING_MAX);
	active_one_done(a);
}

struct bodying {
	struct active *a;
	size_t *at, n;
};

static void on_outbody(void *ctx, const char *trouble)
{
	const struct bodying *b = ctx;
	struct active *a = b->a;
	const bool never = trouble && str_starts(str_c(trouble), STR("5."));

	for (size_t i = 0; i < b->n && trouble; i++)
		answer_here(&a->rcpts[b->at[i]], never ? SPOOL_BOUNCED : SPOOL_PENDING, "smtp", never ? "5.0.0" : "4.3.0", str_c(trouble));
	if (trouble == NULL)
		prepare_all(a, b->at, b->n);
	active_one_done(a);
}

void remote_send(struct active *a, const size_t *at, size_t n)
{
	if (n == 0 || !outbody_wanted(a->q->conf)) {
		prepare_all(a, at, n);
		return;
	}
	struct bodying *b = ARENA_NEW(a->arena, struct bodying);
	*b = (struct bodying){ a, ARENA_ARRAY(a->arena, size_t, n), n };
	memcpy(b->at, at, n * sizeof(*at));
	a->outstanding++;
	outbody_make(a, on_outbody, b);
}
