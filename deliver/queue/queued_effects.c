/* The restriction lists of one transaction: the facts that they are told, their refusals, and what they want done with the message (access(5)'s PREPEND, HOLD, DISCARD,
 * REDIRECT, BCC, FILTER). */
#include <stdlib.h>
#include <string.h>

#include "base/format.h"
#include "deliver/queue/queued_trans.h"
#include "log/log.h"
#include "smtp/dsn.h"

static const char *const stage_words[] = {
	[RESTRICT_MAIL] = "MAIL", [RESTRICT_RCPT] = "RCPT", [RESTRICT_DATA] = "DATA", [RESTRICT_END] = "END-OF-MESSAGE", [RESTRICT_ETRN] = "ETRN", [RESTRICT_NAMES] = "CONNECT",
};

/* --- facts --- */

static void fill_facts(const struct trans *t, enum restrict_stage stage, struct restrict_facts *f)
{
	const struct conn_entry *c = t->conn;

	conn_facts(c, f);
	f->secure = t->tls.n > 0;
	f->esmtp = t->esmtp;
	f->helo = t->helo;
	f->sender = t->sender;
	f->method = t->auth_method;
	f->qid = f->instance = trans_qid(t);
	f->tls = t->tls;
	f->size = t->size ? t->size : t->declared;
	f->recipients = t->n_accepted;
	f->recipient = stage == RESTRICT_RCPT ? t->asked : stage == RESTRICT_MAIL ? STR("") : t->first_rcpt;
	f->class = stage == RESTRICT_RCPT ? t->resolved->class : STR("");
}

/* --- what is wanted --- */

static struct str longer(struct trans *t, struct str have, struct str wanted)
{
	return wanted.p ? arena_str(t->arena, wanted) : have;
}

static bool has(const struct str *v, size_t n, struct str s)
{
	for (size_t i = 0; i < n; i++)
		if (str_eq(v[i], s))
			return true;
	return false;
}

static void add_all(struct trans *t, struct str *to, size_t *n_to, const struct str *from, size_t n)
{
	for (size_t i = 0; i < n && *n_to < RESTRICT_EFFECTS_MAX; i++)
		if (!has(to, *n_to, from[i]))
			to[(*n_to)++] = arena_str(t->arena, from[i]);
}

/* Each RCPT has its own evaluation; what several of them want is done once. */
static void merge(struct trans *t, const struct restrict_effects *x)
{
	struct restrict_effects *to = &t->effects;

	to->hold = longer(t, to->hold, x->hold);
	to->redirect = longer(t, to->redirect, x->redirect);
	to->discard = longer(t, to->discard, x->discard);
	to->filter = longer(t, to->filter, x->filter);
	add_all(t, to->bcc, &to->n_bcc, x->bcc, x->n_bcc);
	add_all(t, to->prepend, &to->n_prepend, x->prepend, x->n_prepend);
}

/* --- judging --- */

struct judging {
	struct trans *t;
	enum restrict_stage stage;
	trans_passed_fn *fn;
};

static void log_notes(const struct trans *t, enum restrict_stage stage, const struct restrict_effects *x)
{
	const struct conn_entry *c = t->conn;
	const char *id = t->n_accepted > 0 ? t->qid : "NOQUEUE";

	for (size_t i = 0; i < x->n_log; i++) {
		if (x->warn[i])
			log_as(log_ident("smtpd"), LOG_LV_WARNING, "%.*s", STR_ARG(x->log[i]));
		else
			log_as(log_ident("smtpd"), LOG_LV_INFO, "%s: %.*s: %s from %s[%s]; from=<%.*s> to=<%.*s> proto=%s helo=<%.*s>", id, STR_ARG(x->log[i]), stage_words[stage],
			       c->name, c->client, STR_ARG(t->sender), STR_ARG(t->asked), t->esmtp ? "ESMTP" : "SMTP", STR_ARG(t->helo));
	}
}

static void refused(struct trans *t, enum restrict_stage stage, const struct restrict_answer *a)
{
	if (stage == RESTRICT_END || stage == RESTRICT_MAIL) {
		trans_answer(t, (uint64_t)a->code, a->enhanced, a->text);
		return;
	}
	conn_phase(t->conn, PHASE_OPEN);
	trans_reply(t, (uint64_t)a->code, a->enhanced, a->text);
}

static void on_judged(void *ctx, const struct restrict_answer *a)
{
	const struct judging *g = ctx;
	struct trans *t = g->t;
	trans_passed_fn *fn = g->fn;
	const enum restrict_stage stage = g->stage;

	if (!t->conn->named) {
		(void)text_format(t->conn->name, sizeof(t->conn->name), "%s", a->client_name);
		(void)text_format(t->conn->reverse, sizeof(t->conn->reverse), "%s", a->reverse_name);
	}
	t->conn->named = !a->name_trouble;
	log_notes(t, stage, &a->effects);
	if (a->result == RESTRICT_REFUSED) {
		refused(t, stage, a);
		return;
	}
	merge(t, &a->effects);
	fn(t);
}

void trans_judge(struct trans *t, enum restrict_stage stage, trans_passed_fn *fn)
{
	struct judging *g = ARENA_NEW(t->arena, struct judging);
	struct restrict_facts f;

	if (g == NULL) {
		trans_answer(t, 452, "4.3.1", STR("Error: transaction too large"));
		return;
	}
	*g = (struct judging){ t, stage, fn };
	if (t->judge == NULL)
		t->judge = judge_new(t->q, t->conn->rules->restrictions);
	fill_facts(t, stage, &f);
	judge_ask(t->judge, stage, &f, on_judged, g);
}

/* --- doing it --- */

struct adding {
	struct trans *t;
	trans_passed_fn *fn;
	size_t at;		/* of bcc; SIZE_MAX: redirect */
};

static void add_next(struct adding *g);

static void on_added(void *ctx, const struct ipc_resolve_RESULT *r)
{
	struct adding *g = ctx;
	struct trans *t = g->t;
	const bool redirect = g->at == SIZE_MAX;
	size_t n = 0;

	t->ask = NULL;
	if (r == NULL || str_eq(r->class, STR("error"))) {
		trans_answer(t, 451, "4.3.0", STR("Error: queue file write error"));
		return;
	}
	if (redirect) {
		t->n_finals = 0;
		map_free(&t->seen);
	}
	for (; n < r->kinds.n; n++) {
		const struct final f = {
			.kind = r->kinds.v[n], .address = r->addresses.v[n], .user = r->users.v[n], .extension = r->extensions.v[n], .original = t->asked, .rcpt = SIZE_MAX,
			.notify = redirect ? 0 : SMTP_NOTIFY_NEVER,
		};
		if (trans_final(t, &f) < 0)
			break;
	}
	if (n == 0 && redirect) {
		log_error("%s: <%.*s>, where a REDIRECT sends this message, does not exist", t->qid, STR_ARG(t->asked));
		trans_answer(t, 451, "4.3.0", STR("Error: queue file write error"));
		return;
	}
	if (n == 0)
		log_warning("%s: <%.*s>, which a BCC names, does not exist", t->qid, STR_ARG(t->asked));
	g->at++;	/* from SIZE_MAX to the first one */
	add_next(g);
}

static void add_next(struct adding *g)
{
	struct trans *t = g->t;
	const struct restrict_effects *x = &t->effects;

	if (g->at != SIZE_MAX && g->at >= x->n_bcc) {
		g->fn(t);
		return;
	}
	t->asked = g->at == SIZE_MAX ? x->redirect : x->bcc[g->at];
	t->ask = resolve_ask(t->q, t->asked, on_added, g);
}

void effects_apply(struct trans *t, trans_passed_fn *fn)
{
	const struct restrict_effects *x = &t->effects;
	struct adding *g = ARENA_NEW(t->arena, struct adding);
	struct err e = { 0 };

	if (g == NULL || trans_edits(t, x->prepend, x->n_prepend, &e) < 0) {
		log_error("%s: %s", t->qid, e.text);
		trans_answer(t, 451, "4.3.0", STR("Error: queue file write error"));
	} else if (x->discard.p) {
		log_as(log_ident("cleanup"), LOG_LV_INFO, "%s: discard: END-OF-MESSAGE from %s[%s]: %.*s; from=<%.*s>", t->qid, t->conn->name, t->conn->client,
		       STR_ARG(x->discard), STR_ARG(t->sender));
		trans_answer(t, 250, "2.0.0", str_c(arena_printf(t->arena, "Ok: queued as %s", t->qid)));
	} else {
		*g = (struct adding){ t, fn, x->redirect.p ? SIZE_MAX : 0 };
		add_next(g);
	}
}

/* The whole message goes to the content filter, for those that were named and not for what they lead to: aliases count when it comes back. Of several recipients that
 * are one final each name stays one. But where recipients want different things done with it, a name may lead to some who get it in one message, in another, or not
 * at all: there it goes for the addresses that it leads to. */
void effects_filter(struct trans *t)
{
	size_t n = 0;

	if (!t->effects.filter.p || t->main.quarantine.p)
		return;
	for (size_t i = 0; i < t->n_finals; i++) {
		const struct final *f = &t->finals[i];
		const bool as_named = !(t->sorted && !f->named && final_has_address(f));
		const struct str to = as_named ? f->original : f->address;
		bool there = false;
		if (batch_of(t, f)->quarantine.p || f->state == FINAL_FAILED) {
			t->finals[n++] = *f;
			continue;
		}
		for (size_t k = 0; k < n && !there; k++)
			there = str_eq(t->finals[k].address, to) && t->finals[k].rcpt == f->rcpt && t->finals[k].batch == f->batch;
		if (there)
			continue;
		t->finals[n++] = (struct final){
			.t = t, .batch = f->batch,
			.kind = STR("remote"), .address = to, .original = f->original, .user = t->effects.filter, .rcpt = f->rcpt, .stands_for = f->stands_for,
			.notify = as_named ? f->asked_notify : f->notify, .orcpt = as_named ? f->asked_orcpt : f->orcpt, .instead_of = f->instead_of,
			.sender = f->instead_of.n > 0 ? f->sender : STR(""),
		};
	}
	t->n_finals = n;
	map_free(&t->seen);
	log_as(log_ident("cleanup"), LOG_LV_INFO, "%s: filter: END-OF-MESSAGE from %s[%s]: goes to %.*s; from=<%.*s>", t->qid, t->conn->name, t->conn->client,
	       STR_ARG(t->effects.filter), STR_ARG(t->sender));
}
