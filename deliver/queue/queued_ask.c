/* Questions to other processes: resolve (what is this recipient?) and policy (what do services and milters say?). A question is answered once, or never
 * after ask_forget(); a channel that closes answers all its questions with "no answer", which callers turn into a temporary failure. filterd's are in
 * queued_filter.c. */
#include <stdlib.h>
#include <string.h>

#include "base/num.h"
#include "deliver/queue/queued_ask.h"
#include "log/log.h"
#include "os/os.h"

struct asks {
	struct ipc_chan *chan;
	struct list pending;
};

void ask_free(struct ask *a)
{
	list_del(&a->node);
	timer_del(&a->deadline);
	arena_free(&a->arena);
	known_drop(&a->known);
	free(a->address);
	free(a);
}

void ask_forget(struct ask **ap)
{
	if (*ap)
		ask_free(*ap);
	*ap = NULL;
}

void ask_answer_none(struct ask *a)
{
	resolved_fn *resolved = a->resolved;
	rewritten_fn *rewritten = a->rewritten;
	routed_fn *routed = a->routed;
	looked_fn *looked = a->looked;
	matched_fn *matched = a->matched;
	parts_fn *parts = a->parts;
	acted_fn *acted = a->acted;
	milted_fn *milted = a->milted;
	scanned_fn *scanned = a->scanned;
	counted_fn *counted = a->counted;
	void *ctx = a->ctx;

	ask_free(a);
	if (resolved)
		resolved(ctx, NULL);
	if (rewritten)
		rewritten(ctx, NULL);
	if (routed)
		routed(ctx, NULL);
	if (looked)
		looked(ctx, NULL);
	if (matched)
		matched(ctx, NULL);
	if (parts)
		parts(ctx, NULL);
	if (acted)
		acted(ctx, NULL);
	if (milted)
		milted(ctx, NULL);
	if (scanned)
		scanned(ctx, NULL);
	if (counted)
		counted(ctx, 0);
}

void ask_fail_all(struct list *l)
{
	while (!list_empty(l))
		ask_answer_none(list_of(l->next, struct ask, node));
}

static void on_deadline(void *ctx)
{
	struct ask *a = ctx;

	log_warning("%s does not answer", a->kind == ASK_FILTER || a->kind == ASK_LISTS ? "filterd" : a->kind == ASK_POLICY || a->kind == ASK_MILTER ? "policy" : "resolve");
	ask_answer_none(a);
}

struct ask *ask_new(struct queued *q, enum ask_kind kind, uint64_t ms, void *ctx)
{
	struct ask *a = xzalloc(sizeof(*a));

	a->q = q;
	a->kind = kind;
	a->ctx = ctx;
	list_init(&a->node);
	a->deadline = loop_timer(q->loop, ms, on_deadline, a);
	return a;
}

struct ask *ask_find(struct list *l, uint32_t id)
{
	list_each(n, l) {
		struct ask *a = list_of(n, struct ask, node);
		if (a->id == id)
			return a;
	}
	return NULL;
}

/* --- resolve --- */

struct str resolved_owner(const struct ipc_resolve_RESULT *r, size_t i)
{
	return i < r->owners.n ? r->owners.v[i] : STR("");
}

bool program_allowed(const struct conf *c, struct str kind, const char *where)
{
	const struct conf_list l = str_eq(kind, STR("command")) ? c->allow_mail_to_commands : c->allow_mail_to_files;

	for (size_t i = 0; i < l.n; i++)
		if (strcmp(l.v[i], where) == 0)
			return true;
	return false;
}

/* Parallel lists of unequal length are no answer. */
static bool result_sane(const struct ipc_resolve_RESULT *r)
{
	const size_t n = r->kinds.n;
	const bool sane = r->addresses.n == n && r->users.n == n && r->extensions.n == n;

	if (!sane)
		log_error("resolve: lists of unequal length");
	return sane;
}

static bool routes_sane(const struct ipc_resolve_ROUTES *r, size_t n)
{
	const bool sane = r->transports.n == n && r->nexthops.n == n && r->logins.n == n && r->policies.n == n;

	if (!sane)
		log_error("resolve: routes for another number of addresses");
	return sane;
}

/* Places of lines that were asked about, each once and in their order: who takes the answer changes a header by them. */
static bool matches_sane(const struct ipc_resolve_MATCHES *m, size_t n)
{
	uint64_t at = 0, least = 0;
	bool sane = m->actions.n == m->at.n;

	for (size_t i = 0; sane && i < m->at.n; i++, least = at + 1)
		sane = least < n && num_parse(m->at.v[i], least, n - 1, &at) == 0;
	if (!sane)
		log_error("resolve: matches of other lines than it was asked about");
	return sane;
}

static void on_value(struct ask *a, const struct ipc_resolve_VALUE *v)
{
	looked_fn *fn = a->looked;
	void *ctx = a->ctx;

	ask_free(a);
	fn(ctx, v);
}

static void on_matches(struct ask *a, const struct ipc_resolve_MATCHES *m)
{
	matched_fn *fn = a->matched;
	void *ctx = a->ctx;
	const bool sane = matches_sane(m, a->n_lines);

	ask_free(a);
	fn(ctx, sane ? m : NULL);
}

static void on_part_matches(struct ask *a, const struct ipc_resolve_PART_MATCHES *m)
{
	parts_fn *fn = a->parts;
	void *ctx = a->ctx;

	ask_free(a);
	fn(ctx, m);
}

/* Some questions have an answer of their own, and that is no other's. */
static bool answers(const struct ask *a, uint16_t type)
{
	return (type == IPC_resolve_VALUE) == (a->kind == ASK_LOOKUP) && (type == IPC_resolve_MATCHES) == (a->kind == ASK_CHECK) &&
	       (type == IPC_resolve_PART_MATCHES) == (a->kind == ASK_PARTS);
}

static void on_resolved(void *ctx, struct ipc_chan *ch, uint16_t type, uint32_t id, void *msg, int fd)
{
	struct queued *q = ctx;
	struct ask *a = ask_find(&q->resolve->pending, id);

	close_fd(&fd);
	if (a == NULL || !answers(a, type))
		return;		/* forgotten meanwhile */
	if (type == IPC_resolve_VALUE) {
		on_value(a, msg);
		return;
	}
	if (type == IPC_resolve_MATCHES) {
		on_matches(a, msg);
		return;
	}
	if (type == IPC_resolve_PART_MATCHES) {
		on_part_matches(a, msg);
		return;
	}
	resolved_fn *resolved = a->resolved;
	rewritten_fn *rewritten = a->rewritten;
	routed_fn *routed = a->routed;
	const bool sane = type == IPC_resolve_RESULT && result_sane(msg);
	if (a->address && sane)
		known_put(q, str_c(a->address), a->generation, msg);
	const size_t n_routes = a->n_routes;
	void *fn_ctx = a->ctx;
	ask_free(a);
	if (resolved)
		resolved(fn_ctx, sane ? msg : NULL);
	else if (rewritten)
		rewritten(fn_ctx, type == IPC_resolve_REWRITTEN ? msg : NULL);
	else if (routed)
		routed(fn_ctx, type == IPC_resolve_ROUTES && routes_sane(msg, n_routes) ? msg : NULL);
}

static void on_resolve_closed(void *ctx, struct ipc_chan *ch, const struct err *why)
{
	struct queued *q = ctx;

	log_warning("resolve: %s", why->text);
	ipc_chan_free(&q->resolve->chan);	/* it ends, and the supervisor starts the group again */
	ask_fail_all(&q->resolve->pending);
}

void asks_start(struct queued *q, int fd)
{
	static const uint16_t types[] = { IPC_resolve_RESULT, IPC_resolve_REWRITTEN, IPC_resolve_ROUTES, IPC_resolve_VALUE, IPC_resolve_MATCHES,
					  IPC_resolve_PART_MATCHES };

	q->resolve = xzalloc(sizeof(*q->resolve));
	list_init(&q->resolve->pending);
	q->resolve->chan = ipc_chan_new(q->loop, fd, &ipc_resolve, on_resolved, on_resolve_closed, q);
	ipc_chan_waiting_max(q->resolve->chan, IPC_GROUP_WAITING_MAX);
	ipc_chan_allow(q->resolve->chan, (struct ipc_allow){ types, ARRAY_LEN(types) });
}

static void fail_later(void *ctx)
{
	ask_answer_none(ctx);
}

void ask_fail_later(struct ask *a)
{
	timer_del(&a->deadline);
	a->deadline = loop_timer(a->q->loop, 0, fail_later, a);
}

/* Send, or fail from the loop. */
static struct ask *send_ask_with(struct asks *to, struct ask *a, uint16_t type, const void *m, int fd)
{
	struct err e = { 0 };

	list_append(&to->pending, &a->node);
	if (to->chan) {
		a->id = ipc_next_id(to->chan);
		if (ipc_send(to->chan, type, m, a->id, fd, &e) == 0)
			return a;
		log_warning("%s: %s", a->kind == ASK_POLICY || a->kind == ASK_MILTER ? "policy" : "resolve", e.text);
	}
	ask_fail_later(a);
	return a;
}

static struct ask *send_ask(struct asks *to, struct ask *a, uint16_t type, const void *m)
{
	return send_ask_with(to, a, type, m, -1);
}

struct ask *check_ask(struct queued *q, const struct ipc_resolve_CHECK *m, matched_fn *fn, void *ctx)
{
	struct ask *a = ask_new(q, ASK_CHECK, QUEUED_ASK_MS, ctx);

	a->matched = fn;
	a->n_lines = m->lines.n;
	return send_ask(q->resolve, a, IPC_resolve_CHECK, m);
}

struct ask *parts_ask(struct queued *q, const struct ipc_resolve_PARTS *m, int fd, parts_fn *fn, void *ctx)
{
	struct ask *a = ask_new(q, ASK_PARTS, QUEUED_ASK_MS, ctx);

	a->parts = fn;
	return send_ask_with(q->resolve, a, IPC_resolve_PARTS, m, fd);
}

struct ask *lookup_ask(struct queued *q, const struct ipc_resolve_LOOKUP *m, looked_fn *fn, void *ctx)
{
	struct ask *a = ask_new(q, ASK_LOOKUP, QUEUED_ASK_MS, ctx);

	a->looked = fn;
	return send_ask(q->resolve, a, IPC_resolve_LOOKUP, m);
}

static void tell_known(void *ctx)
{
	struct ask *a = ctx;
	struct known *k = a->known;
	resolved_fn *fn = a->resolved;
	void *fn_ctx = a->ctx;

	a->known = NULL;
	ask_free(a);
	fn(fn_ctx, known_result(k));
	known_drop(&k);
}

struct ask *resolve_ask(struct queued *q, struct str address, resolved_fn *fn, void *ctx)
{
	struct ask *a = ask_new(q, ASK_RESOLVE, QUEUED_ASK_MS, ctx);
	const struct ipc_resolve_ADDRESS m = { .address = address };

	a->resolved = fn;
	a->known = known_get(q, address, &a->generation);
	if (a->known) {
		timer_del(&a->deadline);
		a->deadline = loop_timer(q->loop, 0, tell_known, a);
		return a;
	}
	a->address = xstrndup(address.p, address.n);
	return send_ask(q->resolve, a, IPC_resolve_ADDRESS, &m);
}

struct ask *rewrite_ask(struct queued *q, const struct ipc_resolve_REWRITE *m, rewritten_fn *fn, void *ctx)
{
	struct ask *a = ask_new(q, ASK_RESOLVE, QUEUED_ASK_MS, ctx);

	a->rewritten = fn;
	return send_ask(q->resolve, a, IPC_resolve_REWRITE, m);
}

struct ask *route_ask(struct queued *q, struct str sender, struct ipc_strs addresses, routed_fn *fn, void *ctx)
{
	struct ask *a = ask_new(q, ASK_RESOLVE, QUEUED_ASK_MS, ctx);
	const struct ipc_resolve_ROUTE m = { .sender = sender, .addresses = addresses };

	a->routed = fn;
	a->n_routes = addresses.n;
	return send_ask(q->resolve, a, IPC_resolve_ROUTE, &m);
}

void resolve_reload(struct queued *q)
{
	struct ipc_resolve_RELOAD m = { 0 };
	struct err e = { 0 };

	known_forget(q);
	if (q->resolve->chan && ipc_send(q->resolve->chan, IPC_resolve_RELOAD, &m, 0, -1, &e) < 0)
		log_warning("resolve: %s", e.text);
}

/* --- policy --- */

static void on_action(void *ctx, struct ipc_chan *ch, uint16_t type, uint32_t id, void *msg, int fd)
{
	struct queued *q = ctx;
	struct ask *a = ask_find(&q->policy->pending, id);

	if (a == NULL || (type != IPC_policy_ACTION) != (a->kind == ASK_MILTER)) {
		close_fd(&fd);
		return;
	}
	if (type == IPC_policy_BODY) {	/* the verdict follows */
		milter_body(a->ctx, fd, ((const struct ipc_policy_BODY *)msg)->size);
		return;
	}
	acted_fn *acted = a->acted;
	milted_fn *milted = a->milted;
	void *fn_ctx = a->ctx;
	ask_free(a);
	if (acted)
		acted(fn_ctx, msg);
	else
		milted(fn_ctx, msg);
}

static void on_policy_closed(void *ctx, struct ipc_chan *ch, const struct err *why)
{
	struct queued *q = ctx;

	log_warning("policy: %s", why->text);
	ipc_chan_free(&q->policy->chan);	/* the group starts again */
	ask_fail_all(&q->policy->pending);
}

void policy_start(struct queued *q, int fd)
{
	static const uint16_t types[] = { IPC_policy_ACTION, IPC_policy_VERDICT, IPC_policy_BODY };

	q->policy = xzalloc(sizeof(*q->policy));
	list_init(&q->policy->pending);
	q->policy->chan = ipc_chan_new(q->loop, fd, &ipc_policy, on_action, on_policy_closed, q);
	ipc_chan_waiting_max(q->policy->chan, IPC_GROUP_WAITING_MAX);
	ipc_chan_allow(q->policy->chan, (struct ipc_allow){ types, ARRAY_LEN(types) });
}

struct ask *policy_ask(struct queued *q, const struct ipc_policy_ASK *m, acted_fn *fn, void *ctx)
{
	/* The service has its own time for each try; this is for a process that hangs. */
	const uint64_t tries = q->conf->smtpd_policy_service_try_limit;
	struct ask *a = ask_new(q, ASK_POLICY, tries * 1000 * (q->conf->smtpd_policy_service_timeout + q->conf->smtpd_policy_service_retry_delay) + QUEUED_ASK_MS, ctx);

	a->acted = fn;
	return send_ask(q->policy, a, IPC_policy_ASK, m);
}

struct ask *milter_ask(struct queued *q, uint16_t type, const void *m, int fd, uint64_t ms, milted_fn *fn, void *ctx)
{
	struct ask *a = ask_new(q, ASK_MILTER, ms + QUEUED_ASK_MS, ctx);

	a->milted = fn;
	return send_ask_with(q->policy, a, type, m, fd);
}

void milter_tell_end(struct queued *q, uint64_t talk)
{
	const struct ipc_policy_END m = { .talk = talk };
	struct err e = { 0 };

	if (q->policy->chan && ipc_send(q->policy->chan, IPC_policy_END, &m, ipc_next_id(q->policy->chan), -1, &e) < 0)
		log_warning("policy: %s", e.text);
}
