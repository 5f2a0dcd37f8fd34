/* One policy service: a few connections that are kept, each with one question at a time; questions that find none free wait in a line. A service that closes a kept
 * connection, or fails, is asked again (smtpd_policy_service_try_limit). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/list.h"
#include "base/num.h"
#include "deliver/policy/policy.h"
#include "io/conn.h"
#include "log/log.h"

struct service {
	struct loop *loop;
	struct dns_client *dns;
	struct dial_target target;
	char *text, *fallback;
	uint64_t timeout_ms, max_idle_ms, max_ttl_ms, retry_ms, tries_max;
	struct list waiting, idle;
	size_t n_waiting, n_conns;
};

struct link {
	struct list node;		/* of the idle ones */
	struct service *s;
	struct dial *dial;
	struct conn *conn;
	struct policy_ask *ask;
	uint64_t opened_ms;
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

/* --- settings --- */

static int seconds(struct str v, uint64_t *ms_out, struct err *e)
{
	uint64_t n;

	if (v.n > 1 && v.p[v.n - 1] == 's')
		v.n--;
	if (num_parse(v, 1, 86400, &n) < 0)
		return err_set(e, ERR_CONF, 0, "\"%.*s\" (allowed: 1s to 86400s)", STR_ARG(v));
	*ms_out = n * 1000;
	return 0;
}

static int setting(struct service *s, const struct service_setting *x, struct err *e)
{
	if (str_eq(x->name, STR("default_action"))) {
		free(s->fallback);
		s->fallback = xstrndup(x->value.p, x->value.n);
		return 0;
	}
	if (str_eq(x->name, STR("timeout")))
		return seconds(x->value, &s->timeout_ms, e);
	if (str_eq(x->name, STR("max_idle")))
		return seconds(x->value, &s->max_idle_ms, e);
	if (str_eq(x->name, STR("max_ttl")))
		return seconds(x->value, &s->max_ttl_ms, e);
	if (str_eq(x->name, STR("retry_delay")))
		return seconds(x->value, &s->retry_ms, e);
	if (str_eq(x->name, STR("try_limit")))
		return num_parse(x->value, 1, 100, &s->tries_max) < 0 ? err_set(e, ERR_CONF, 0, "try_limit (allowed: 1 to 100)") : 0;
	return err_set(e, ERR_CONF, 0, "%.*s: no such setting of a policy service", STR_ARG(x->name));
}

int service_open(struct loop *l, struct dns_client *dns, const struct conf *c, struct str text, struct service **out, struct err *e)
{
	struct service_text t;
	struct service *s = xzalloc(sizeof(*s));
	int r = service_parse(text, &t, e);

	s->loop = l;
	s->dns = dns;
	s->text = xstrndup(text.p, text.n);
	s->timeout_ms = c->smtpd_policy_service_timeout * 1000;
	s->max_idle_ms = c->smtpd_policy_service_max_idle * 1000;
	s->max_ttl_ms = c->smtpd_policy_service_max_ttl * 1000;
	s->retry_ms = c->smtpd_policy_service_retry_delay * 1000;
	s->tries_max = c->smtpd_policy_service_try_limit;
	list_init(&s->waiting);
	list_init(&s->idle);
	if (r == 0)
		r = dial_parse(t.target, &s->target, e);
	for (size_t i = 0; r == 0 && i < t.n; i++)
		r = setting(s, &t.v[i], e);
	if (r == 0) {
		*out = s;
		return 0;
	}
	free(s->fallback);
	free(s->text);
	free(s);
	return -1;
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
	} else if (++a->tries < s->tries_max) {
		log_warning("policy service %s: %s: trying again", s->text, text);
		a->later = loop_timer(s->loop, s->retry_ms, on_later, a);
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
	conn_deadline(k->conn, k->s->timeout_ms);
}

/* An answer has come; the connection is free again. */
static void answered(struct link *k, struct str action)
{
	struct service *s = k->s;
	struct policy_ask *a = k->ask;
	char *copy = xstrndup(action.p, action.n);

	k->ask = NULL;
	k->used = true;
	if (clock_mono_ms() - k->opened_ms >= s->max_ttl_ms) {
		link_free(k);
	} else {
		list_push(&s->idle, &k->node);
		conn_deadline(k->conn, s->max_idle_ms);
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
	k->dial = dial(s->loop, s->dns, &s->target, s->timeout_ms, on_dialled, k);
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
