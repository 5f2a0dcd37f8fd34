/* One policy service: a few connections that are kept, each with one question at a time; questions that find none free wait in a line. A service that closes a kept
 * connection, or fails, is asked again (smtpd_policy_service_try_limit). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/list.h"
#include "deliver/policy/policy.h"
#include "deliver/policy/policy_settings.h"
#include "io/conn.h"
#include "log/log.h"

struct service {
	struct loop *loop;
	struct dns_client *dns;
	struct policy_settings set;
	char *text, *fallback;
	struct list waiting, idle;
	size_t n_waiting, n_conns;
};

struct link {
	struct list node;		/* of the idle ones */
	struct service *s;
	struct dial *dial;
	struct conn *conn;
	struct policy_ask *ask;
	uint64_t opened_ms, asked;
	bool used;			/* an answer has come over it: it may have been closed since */
};

struct policy_ask {
	struct list node;		/* of the waiting */
	struct service *s;
	struct timer *later;
	char *request;
	unsigned tries;
	policy_fn *fn;
	void *ctx;
};

int service_open(struct loop *l, struct dns_client *dns, const struct conf *c, struct str text, struct service **out, struct err *e)
{
	struct policy_settings set;

	if (policy_settings_parse(c, text, &set, e) < 0)
		return -1;
	struct service *s = xzalloc(sizeof(*s));
	*s = (struct service){ .loop = l, .dns = dns, .set = set, .text = xstrndup(text.p, text.n) };
	s->fallback = set.fallback.p ? xstrndup(set.fallback.p, set.fallback.n) : NULL;
	s->set.fallback = s->set.context = (struct str){ 0 };	/* they borrow text */
	list_init(&s->waiting);
	list_init(&s->idle);
	*out = s;
	return 0;
}

const char *service_fallback(const struct service *s)
{
	return s->fallback;
}

/* --- questions --- */

static void pump(struct service *s);

static void ask_end(struct policy_ask *a, struct str action, const char *trouble)
{
	policy_fn *fn = a->fn;
	void *ctx = a->ctx;

	list_del(&a->node);
	a->s->n_waiting--;
	timer_del(&a->later);
	free(a->request);
	free(a);
	fn(ctx, action, trouble);
}

static void link_free(struct link *k)
{
	struct service *s = k->s;

	list_del(&k->node);
	dial_cancel(&k->dial);
	conn_free(&k->conn);
	s->n_conns--;
	free(k);
}

static void on_later(void *ctx)
{
	struct policy_ask *a = ctx;

	timer_del(&a->later);
	list_append(&a->s->waiting, &a->node);
	pump(a->s);
}

/* This connection did not answer. */
static void failed(struct link *k, const char *why)
{
	struct service *s = k->s;
	struct policy_ask *a = k->ask;
	const bool stale = k->used;
	char text[300];

	snprintf(text, sizeof(text), "%s", why);
	k->ask = NULL;
	link_free(k);
	if (a == NULL)
		return;
	if (stale) {		/* closed while it was idle: that is no failure */
		list_push(&s->waiting, &a->node);
		pump(s);
	} else if (++a->tries < s->set.tries_max) {
		log_warning("policy service %s: %s: trying again", s->text, text);
		a->later = loop_timer(s->loop, s->set.retry_ms, on_later, a);
	} else {
		log_warning("policy service %s: %s", s->text, text);
		ask_end(a, (struct str){ 0 }, text);
	}
}

static void send_ask(struct link *k, struct policy_ask *a)
{
	list_del(&k->node);
	k->ask = a;
	conn_write(k->conn, str_c(a->request));
	conn_write(k->conn, STR("\n"));
	conn_deadline(k->conn, k->s->set.timeout_ms);
}

/* An answer has come; the connection is free again. */
static void answered(struct link *k, struct str action)
{
	struct service *s = k->s;
	struct policy_ask *a = k->ask;
	char *copy = xstrndup(action.p, action.n);

	k->ask = NULL;
	k->used = true;
	k->asked++;
	if (clock_mono_ms() - k->opened_ms >= s->set.max_ttl_ms || (s->set.requests_max > 0 && k->asked >= s->set.requests_max)) {
		link_free(k);
	} else {
		list_push(&s->idle, &k->node);
		conn_deadline(k->conn, s->set.max_idle_ms);
	}
	ask_end(a, str_c(copy), NULL);
	free(copy);
	pump(s);
}

static void on_input(struct link *k)
{
	const struct str in = conn_input(k->conn);
	struct str action;
	struct err e = { 0 };
	size_t used;

	if (k->ask == NULL) {
		failed(k, "speaks without being asked");
		return;
	}
	const int r = policy_answer_parse(in, &action, &used, &e);
	if (r < 0) {
		k->used = false;
		failed(k, e.text);
	} else if (r == 0 && used != in.n) {
		k->used = false;
		failed(k, "more than one answer");
	} else if (r == 0) {
		char *copy = xstrndup(action.p, action.n);
		conn_consume(k->conn, used);
		answered(k, str_c(copy));
		free(copy);
	}
}

static void on_event(void *ctx, struct conn *c, enum conn_event ev)
{
	struct link *k = ctx;

	switch (ev) {
	case CONN_EV_DATA: on_input(k); break;
	case CONN_EV_TIMEOUT:
		k->used = k->used && k->ask == NULL;
		failed(k, "timed out");
		break;
	case CONN_EV_CLOSED: failed(k, "closes without an answer"); break;
	case CONN_EV_ERROR: failed(k, conn_error(c)); break;
	default: break;
	}
}

static void on_dialled(void *ctx, int fd, const char *why)
{
	static const struct conn_limits limits = { .in_max = POLICY_ANSWER_MAX + 1, .out_high = 65536, .out_max = 1 << 20 };
	struct link *k = ctx;

	k->dial = NULL;
	if (fd < 0) {
		failed(k, why);
		return;
	}
	k->conn = conn_new(k->s->loop, fd, &limits, on_event, k);
	send_ask(k, k->ask);
}

static void link_new(struct service *s, struct policy_ask *a)
{
	struct link *k = xzalloc(sizeof(*k));

	k->s = s;
	k->ask = a;
	k->opened_ms = clock_mono_ms();
	list_init(&k->node);
	s->n_conns++;
	k->dial = dial(s->loop, s->dns, &s->set.target, s->set.timeout_ms, on_dialled, k);
}

static void pump(struct service *s)
{
	while (!list_empty(&s->waiting) && (!list_empty(&s->idle) || s->n_conns < POLICY_CONNS_MAX)) {
		struct policy_ask *a = list_of(s->waiting.next, struct policy_ask, node);
		list_del(&a->node);
		if (!list_empty(&s->idle))
			send_ask(list_of(s->idle.next, struct link, node), a);
		else
			link_new(s, a);
	}
}

static void on_refused(void *ctx)
{
	ask_end(ctx, (struct str){ 0 }, "too many questions wait");
}

static void on_start(void *ctx)
{
	struct policy_ask *a = ctx;

	timer_del(&a->later);
	list_append(&a->s->waiting, &a->node);
	pump(a->s);
}

void service_ask(struct service *s, struct str request, policy_fn *fn, void *ctx)
{
	struct policy_ask *a = xzalloc(sizeof(*a));

	a->s = s;
	a->request = xstrndup(request.p, request.n);
	a->fn = fn;
	a->ctx = ctx;
	list_init(&a->node);
	a->later = loop_timer(s->loop, 0, ++s->n_waiting > POLICY_WAITING_MAX ? on_refused : on_start, a);
}
