/* What the filter wants done with a message, and the case that this is not the same for all recipients. Those for whom it is the same are a batch: they share the
 * header fields of their copies, and what goes to the queue for them is one message there. The first batch that is to get the message is the main one, which has
 * the transaction's id; the others, and what is kept in quarantine, have ids of their own.
 *	A copy that goes to another than it is addressed to (redirect) is nobody's business but the site's: it carries the envelope in its header, its return path is
 * the owner of the list that it goes to, or bounce_notice_recipient, and so the sender hears neither of its fate nor of its address.
 *	Who refuses a message that others take cannot be told so to an SMTP client any more: a sender of ours gets a bounce, a client of LMTP an answer for
 * each recipient; for strangers, who get no bounce from us, it is kept or dropped as filter_rejected_recipients says. So it is with members of an alias, for which LMTP
 * has one answer, when others of them take the message. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "deliver/queue/queued_trans.h"
#include "log/log.h"
#include "mail/edit.h"

enum { ENVELOPE_TO_MAX = 4000 };	/* bytes of X-Envelope-To; who is not in it is in the log */

struct batch *batch_at(struct trans *t, size_t i)
{
	return i == 0 ? &t->main : i <= t->n_batches ? t->batches[i - 1] : NULL;
}

/* --- edits --- */

static int append(struct trans *t, struct str **v, size_t *n, const struct str *more, size_t n_more, struct err *e)
{
	struct str *all = ARENA_ARRAY(t->arena, struct str, *n + n_more + 1);

	if (all == NULL || *n + n_more > SPOOL_EDITS_MAX)
		return err_set(e, ERR_LIMIT, 0, "too many header edits");
	if (*n > 0)
		memcpy(all, *v, *n * sizeof(*all));
	for (size_t i = 0; i < n_more; i++) {
		if (mail_edit_check(more[i], e) < 0)
			return -1;
		all[*n + i] = arena_str(t->arena, more[i]);
	}
	*v = all;
	*n += n_more;
	return 0;
}

int trans_edits(struct trans *t, const struct str *edits, size_t n, struct err *e)
{
	return append(t, &t->edits, &t->n_edits, edits, n, e);
}

int batch_edits(struct trans *t, struct batch *b, const struct ipc_strs *more, struct err *e)
{
	return append(t, &b->edits, &b->n_edits, more->v, more->n, e);
}

int batches_complete(struct trans *t, struct err *e)
{
	struct batch *b;

	for (size_t i = 0; (b = batch_at(t, i)) != NULL; i++) {
		b->edits = t->edits;
		b->n_edits = t->n_edits;
		if (b->n_own > 0 && append(t, &b->edits, &b->n_edits, b->own, b->n_own, e) < 0)
			return -1;
	}
	return 0;
}

/* --- sorting --- */

static void note(const struct trans *t, const char *what, struct str why, struct str to, const char *as)
{
	log_as(log_ident("cleanup"), LOG_LV_INFO, "%s: %s: END-OF-MESSAGE from %s[%s]: %.*s; from=<%.*s> to=<%.*s>%s%s", t->qid, what, t->conn->name, t->conn->client,
	       STR_ARG(why), STR_ARG(t->sender), STR_ARG(to), as[0] ? " as " : "", as);
}

enum fate { FATE_PASS, FATE_KEEP, FATE_REDIRECT, FATE_DROP, FATE_FAIL };

struct sorting {
	struct trans *t;
	const struct filter_outcomes *o;
	/* An outcome is one part, and for LMTP a refusal may be two: aliases (above) first. */
	struct part { const struct ipc_filter_VERDICT *v; enum fate fate; bool split, alias; } parts[2 * FILTER_OUTCOMES_MAX];
	size_t n_parts;
	bool *others;		/* of an RCPT of LMTP: some who come from it do not refuse */
	size_t common;		/* with so many edits all copies begin: they are the message's, and shown to milters */
	bool has_main, passes;	/* passes: somebody gets it as it is addressed */
	struct { struct str to, instead_of; struct batch *batch; size_t rcpt; struct str *stands_for; } redirect[FILTER_OUTCOMES_MAX];
	size_t n_redirect, next;
};

/* alias: others who come from the same RCPT have another fate. */
static enum fate fate_of(const struct trans *t, const struct ipc_filter_VERDICT *v, bool alias)
{
	if (str_eq(v->action, STR("accept")))
		return FATE_PASS;
	if (str_eq(v->action, STR("quarantine")))
		return FATE_KEEP;
	if (str_eq(v->action, STR("redirect")))
		return FATE_REDIRECT;
	if (str_eq(v->action, STR("discard")))
		return FATE_DROP;
	if ((t->tells && !alias) || (t->ours && t->sender.n > 0))
		return FATE_FAIL;
	return strcmp(t->conf->filter_rejected_recipients, "discard") == 0 ? FATE_DROP : FATE_KEEP;
}

static bool has_copies(enum fate f)
{
	return f != FATE_DROP && f != FATE_FAIL;
}

static bool is_alias(const struct sorting *g, const struct final *f)
{
	return f->rcpt >= g->t->n_accepted || g->others[f->rcpt];
}

static void part_add(struct sorting *g, const struct ipc_filter_VERDICT *v, bool split, bool alias)
{
	const enum fate fate = fate_of(g->t, v, alias);

	g->parts[g->n_parts++] = (struct part){ v, fate, split, alias };
	g->passes |= fate == FATE_PASS;
}

/* Of those who refuse: are there some who do so with all of their RCPT, and others? */
static void parts_of_refusal(struct sorting *g, const struct ipc_filter_VERDICT *v)
{
	bool alone = false, alias = false;

	for (size_t i = 0; i < g->t->n_finals; i++)
		if (filter_outcome_has(v, g->t->finals[i].row))
			*(is_alias(g, &g->t->finals[i]) ? &alias : &alone) = true;
	if (alias)
		part_add(g, v, alone, true);
	if (alone)
		part_add(g, v, alias, false);
}

static int make_parts(struct sorting *g, struct err *e)
{
	struct trans *t = g->t;

	if (t->tells) {
		g->others = ARENA_ARRAY(t->arena, bool, t->n_accepted + 1);
		if (g->others == NULL)
			return err_set(e, ERR_LIMIT, 0, "transaction too large");
	}
	for (size_t k = 0; t->tells && k < g->o->n; k++)
		for (size_t i = 0; fate_of(t, g->o->v[k], false) != FATE_FAIL && i < t->n_finals; i++)
			if (t->finals[i].rcpt < t->n_accepted && filter_outcome_has(g->o->v[k], t->finals[i].row))
				g->others[t->finals[i].rcpt] = true;
	for (size_t k = 0; k < g->o->n; k++) {
		if (t->tells && fate_of(t, g->o->v[k], false) == FATE_FAIL)
			parts_of_refusal(g, g->o->v[k]);
		else
			part_add(g, g->o->v[k], false, false);
	}
	return 0;
}

static int take_common(struct sorting *g, struct err *e)
{
	const struct ipc_filter_VERDICT *first = NULL;

	for (size_t k = 0; k < g->n_parts; k++) {
		const struct ipc_filter_VERDICT *v = g->parts[k].v;
		size_t same = 0;
		if (!has_copies(g->parts[k].fate))
			continue;
		while (first && same < g->common && same < v->edits.n && str_eq(v->edits.v[same], first->edits.v[same]))
			same++;
		g->common = first ? same : v->edits.n;
		first = first ? first : v;
	}
	return first ? trans_edits(g->t, first->edits.v, g->common, e) : 0;
}

static struct batch *batch_new(struct trans *t)
{
	struct batch *b = ARENA_NEW(t->arena, struct batch);

	if (b == NULL)
		return NULL;
	spool_qid_new(b->qid);
	t->batches[t->n_batches++] = b;
	return b;
}

/* The main one: of who gets the message, or of all. */
static int batch_for(struct sorting *g, const struct ipc_filter_VERDICT *v, enum fate fate, struct batch **out, struct err *e)
{
	struct trans *t = g->t;
	const bool main = g->o->n == 1 || (fate == FATE_PASS && !g->has_main);
	struct batch *b = main ? &t->main : batch_new(t);

	if (b == NULL)
		return err_set(e, ERR_LIMIT, 0, "transaction too large");
	g->has_main |= main;
	if (fate == FATE_KEEP)
		b->quarantine = arena_str(t->arena, v->log.n > 0 ? v->log : STR("unnamed"));
	if (fate == FATE_KEEP && b->quarantine.p == NULL)
		return err_set(e, ERR_LIMIT, 0, "transaction too large");	/* and not: it is not kept */
	*out = b;
	return append(t, &b->own, &b->n_own, v->edits.v + g->common, v->edits.n - g->common, e);
}

/* Copies in mailboxes go into the folder; what a plus address asks for yields. */
static void settle(const struct sorting *g, struct final *f, const struct ipc_filter_VERDICT *v, enum fate fate, struct batch *b)
{
	struct trans *t = g->t;

	f->batch = b;
	if (fate == FATE_PASS && v->folder.n > 0)
		f->folder = arena_str(t->arena, v->folder);
	if (fate == FATE_KEEP && g->o->n > 1)
		note(t, "quarantine", b->quarantine, f->address, b->qid);
	if (fate == FATE_DROP && g->o->n > 1)
		note(t, "discard", v->log, f->address, "");
	if (fate == FATE_DROP)
		trans_left_out(t, f);
	if (fate != FATE_FAIL)
		return;
	f->state = FINAL_FAILED;
	f->told = t->tells;
	f->enhanced = arena_str(t->arena, v->enhanced.n > 0 && v->enhanced.p[0] == '5' ? v->enhanced : STR("5.7.1"));
	f->text = arena_str(t->arena, v->text.n > 0 ? v->text : STR("Message content rejected"));
}

static bool is_part_of(const struct sorting *g, const struct part *p, const struct final *f)
{
	return filter_outcome_has(p->v, f->row) && (!p->split || p->alias == is_alias(g, f));
}

/* For whom reads the redirected copies: from whom to whom it was. What the sender wrote there goes. */
static int envelope_edits(struct sorting *g, const struct part *p, struct batch *b, struct err *e)
{
	struct trans *t = g->t;
	struct str edits[4] = { STR("-X-Envelope-From#0"), STR("-X-Envelope-To#0") };
	struct buf to;

	buf_init(&to, ENVELOPE_TO_MAX * 2);
	buf_c(&to, "+X-Envelope-To:");
	for (size_t i = 0, n = 0; i < t->n_finals && to.n < ENVELOPE_TO_MAX; i++)
		if (is_part_of(g, p, &t->finals[i]))
			buf_printf(&to, "%s <%.*s>", n++ ? ",\n" : "", STR_ARG(t->finals[i].original));
	int rc = buf_check(&to, "X-Envelope-To", e);
	edits[2] = buf_view(&to);
	edits[3] = str_c(arena_printf(t->arena, "+X-Envelope-From: <%.*s>", STR_ARG(t->sender)));
	if (rc == 0)
		rc = append(t, &b->own, &b->n_own, edits, ARRAY_LEN(edits), e);
	buf_fini(&to);
	return rc;
}

/* One copy, for all of the part: each of their RCPTs has its answer. */
static int redirect_add(struct sorting *g, const struct part *p, struct batch *b, struct err *e)
{
	struct trans *t = g->t;
	const struct str to = p->v->target.n > 0 ? p->v->target : str_c(t->conf->redirect_recipient);
	struct str *stands_for = t->tells ? ARENA_ARRAY(t->arena, struct str, t->n_accepted + 1) : NULL;
	size_t rcpt = SIZE_MAX;

	if (t->tells && stands_for == NULL)
		return err_set(e, ERR_LIMIT, 0, "transaction too large");
	for (size_t i = 0; i < t->n_finals; i++) {
		const struct final *f = &t->finals[i];
		if (!is_part_of(g, p, f))
			continue;
		if (rcpt == SIZE_MAX)
			g->redirect[g->n_redirect].instead_of = f->original;
		rcpt = rcpt == SIZE_MAX ? f->rcpt : rcpt;
		if (stands_for && f->rcpt < t->n_accepted)
			stands_for[f->rcpt] = f->original;
	}
	g->redirect[g->n_redirect].to = arena_str(t->arena, to);
	g->redirect[g->n_redirect].rcpt = rcpt;
	g->redirect[g->n_redirect].stands_for = stands_for;
	g->redirect[g->n_redirect++].batch = b;
	return envelope_edits(g, p, b, e);
}

/* Who hears of a redirected copy that fails. */
static struct str answers_for_it(struct trans *t, struct str owner)
{
	const char *const who = t->conf->bounce_notice_recipient;

	return owner.n > 0 ? owner : str_c(strchr(who, '@') ? who : arena_printf(t->arena, "%s@%s", who, t->conf->myorigin));
}

/* Those of one part; who is not to have it leaves the list. */
static int sort_part(struct sorting *g, const struct part *p, struct err *e)
{
	struct trans *t = g->t;
	const struct ipc_filter_VERDICT *v = p->v;
	const enum fate fate = p->fate;
	struct batch *b = NULL;
	size_t n = 0;

	if (has_copies(fate) && batch_for(g, v, fate, &b, e) < 0)
		return -1;
	if (fate == FATE_REDIRECT && redirect_add(g, p, b, e) < 0)
		return -1;
	if (!p->split || p->alias)
		notice_send(t, v, fate == FATE_KEEP ? str_c(b->qid) : STR(""));
	for (size_t i = 0; i < t->n_finals; i++) {
		struct final *f = &t->finals[i];
		const bool its = is_part_of(g, p, f);
		if (its)
			settle(g, f, v, fate, b);
		if (its && (fate == FATE_DROP || fate == FATE_REDIRECT))
			continue;
		t->finals[n++] = *f;
	}
	t->n_finals = n;
	map_free(&t->seen);
	return 0;
}

/* --- where it goes instead --- */

static void redirect_next(struct sorting *g);

static void sorted(const struct sorting *g)
{
	struct trans *t = g->t;

	if (t->n_finals == 0)
		trans_answer(t, 250, "2.7.0", trans_discarded(t));
	else if (g->passes)
		commit_scanned(t);
	else
		commit_kept(t);
}

static void on_target(void *ctx, const struct ipc_resolve_RESULT *r)
{
	struct sorting *g = ctx;
	struct trans *t = g->t;
	size_t n = 0;

	t->ask = NULL;
	for (size_t i = 0; r && i < r->kinds.n; i++) {
		const struct final f = {
			.batch = g->redirect[g->next].batch, .rcpt = g->redirect[g->next].rcpt, .stands_for = g->redirect[g->next].stands_for,
			.kind = r->kinds.v[i], .address = r->addresses.v[i], .user = r->users.v[i],
			.extension = r->extensions.v[i], .original = t->asked, .instead_of = g->redirect[g->next].instead_of,
			.sender = answers_for_it(t, resolved_owner(r, i)),
		};
		if (trans_final(t, &f) < 0)
			break;
		n++;
	}
	if (n == 0) {
		log_error("%s: <%.*s>, where filterd sends this message, does not exist", t->qid, STR_ARG(t->asked));
		trans_answer(t, 451, "4.3.0", STR("Error: the address for such mail is not available"));
		return;
	}
	g->next++;
	redirect_next(g);
}

static void redirect_next(struct sorting *g)
{
	struct trans *t = g->t;

	if (g->next == g->n_redirect) {
		sorted(g);
		return;
	}
	t->asked = g->redirect[g->next].to;
	t->ask = resolve_ask(t->q, t->asked, on_target, g);
}

/* --- verdicts --- */

static void refuse(struct trans *t, const struct ipc_filter_VERDICT *v, uint64_t class, uint64_t code, const char *enhanced_else, struct str text)
{
	char enhanced[13];

	snprintf(enhanced, sizeof(enhanced), "%.*s", STR_ARG(v->enhanced));
	trans_refuse(t, REFUSER_CONTENT, v->code / 100 == class ? v->code : code, enhanced[0] == (char)('0' + class) ? enhanced : enhanced_else,
		     v->text.n > 0 ? v->text : text);
}

static bool is_known(struct str action)
{
	static const char *const known[] = { "accept", "reject", "redirect", "quarantine", "discard" };

	for (size_t i = 0; i < ARRAY_LEN(known); i++)
		if (str_eq(action, str_c(known[i])))
			return true;
	return false;
}

/* One that is a refusal for all, for now or for good. NULL: none is. */
static const struct ipc_filter_VERDICT *refusal(const struct filter_outcomes *o, bool *for_now_out)
{
	size_t rejects = 0;

	*for_now_out = true;
	for (size_t k = 0; k < o->n; k++) {
		if (!is_known(o->v[k]->action))		/* tempfail, and whatever we do not know */
			return o->v[k];
		rejects += str_eq(o->v[k]->action, STR("reject"));
	}
	*for_now_out = false;
	return rejects == o->n ? o->v[0] : NULL;
}

static bool is_same_refusal(const struct filter_outcomes *o)
{
	for (size_t k = 1; k < o->n; k++)
		if (o->v[k]->code != o->v[0]->code || !str_eq(o->v[k]->text, o->v[0]->text))
			return false;
	return true;
}

static int sort_all(struct sorting *g, struct err *e)
{
	if (make_parts(g, e) < 0 || take_common(g, e) < 0)
		return -1;
	for (size_t k = 0; k < g->n_parts; k++)
		if (sort_part(g, &g->parts[k], e) < 0)
			return -1;
	g->o = NULL;	/* valid during the call only */
	return 0;
}

void batches_sort(struct trans *t, const struct filter_outcomes *o)
{
	struct err e = { 0 };
	bool for_now;

	const struct ipc_filter_VERDICT *no = refusal(o, &for_now);
	if (no && (for_now || !t->tells || is_same_refusal(o))) {
		for (size_t k = 0; k < o->n; k++)
			notice_send(t, o->v[k], STR(""));
		if (for_now)
			refuse(t, no, 4, 451, "4.7.1", STR("Message could not be checked, try again later"));
		else
			refuse(t, no, 5, 554, "5.7.1", STR("Message content rejected"));
		return;
	}
	struct sorting *g = ARENA_NEW(t->arena, struct sorting);
	t->batches = ARENA_ARRAY(t->arena, struct batch *, o->n);
	if (g == NULL || t->batches == NULL) {
		trans_answer(t, 452, "4.3.1", STR("Error: transaction too large"));
		return;
	}
	*g = (struct sorting){ .t = t, .o = o };
	t->sorted = o->n > 1;
	if (sort_all(g, &e) < 0) {
		log_error("%s: %s", t->qid, e.text);
		trans_answer(t, 451, "4.3.0", STR("Error: queue file write error"));
		return;
	}
	redirect_next(g);
}
