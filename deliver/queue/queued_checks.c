/* header_checks and their like: the administrator's patterns over a complete message. resolve has the tables and gets the lines of header and body, many at a time, and
 * the message itself when it has parts; what a match wants is done here. The file is never changed: a header that goes or is replaced becomes an edit of the envelope. What
 * would change a line of the body is refused as a mistake of the table; what would change a part's header is left as it is, with a warning, because mime_header_checks
 * and nested_header_checks are the rules for the message's own header unless they are set. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/enc.h"
#include "base/num.h"
#include "deliver/restrict/access.h"
#include "deliver/queue/queued_trans.h"
#include "deliver/resolve/resolve.h"
#include "log/log.h"
#include "mail/head.h"
#include "os/os.h"

enum { FIELDS_MAX = 4000, BATCH_LINES = 2000, BATCH_BYTES = 110000, BODY_PIECE_BYTES = 2048, BODY_LIMIT_MAX = 1 << 20 };

struct line {
	struct str text;
	struct str name;	/* of a header field of the message; empty: it cannot be changed */
	enum check_which which;
	unsigned number;	/* the K-th of that name */
	size_t place;		/* among all fields, from 1 */
};

struct checking {
	struct trans *t;
	trans_passed_fn *fn;
	enum { STAGE_HEADER, STAGE_PARTS, STAGE_BODY } stage;
	struct line *v;
	size_t n, sent, asked;	/* lines asked about: asked..sent */
	bool passed;		/* PASS: nothing more is looked at */
};

static void next_batch(struct checking *g);

/* --- what a match does --- */

/* As log parsers know it: "ID: warning: header …" is what became of a message, and no trouble of ours. */
static void tell(struct checking *g, const struct line *l, const char *what, struct str text)
{
	const struct trans *t = g->t;
	struct buf b;

	buf_init(&b, 2048);
	text_neutral(&b, l->text, 200, false);
	log_as(log_ident("cleanup"), LOG_LV_INFO, "%s: %s: %s %s from %s[%s]; from=<%.*s> proto=%s helo=<%.*s>%s%.*s", t->qid, what,
	       l->which == CHECK_BODY ? "body" : "header", b.p ? b.p : "", t->conn->name[0] ? t->conn->name : "unknown", t->conn->client,
	       STR_ARG(t->sender), t->esmtp ? "ESMTP" : "SMTP", STR_ARG(t->helo), text.n ? ": " : "", STR_ARG(text));
	buf_fini(&b);
}

/* false: the transaction has ended. */
static bool broken(struct checking *g, const struct line *l, const char *why)
{
	tell(g, l, "reject", str_c(why));
	log_as(log_ident("cleanup"), LOG_LV_WARNING, "%s: a pattern's action cannot be done: %s", g->t->qid, why);
	trans_refuse(g->t, REFUSER_PATTERN, 451, "4.3.5", STR("Server configuration error"));
	return false;
}

static bool edit(struct checking *g, const struct line *l, const char *text)
{
	const struct str s = str_c(text);
	struct err e = { 0 };

	return trans_edits(g->t, &s, 1, &e) == 0 || broken(g, l, e.text);
}

static bool replace(struct checking *g, const struct line *l, struct str text)
{
	const ptrdiff_t colon = str_chr(text, ':');
	struct arena *a = g->t->arena;

	if (colon <= 0)
		return broken(g, l, "REPLACE needs a header field");
	const struct str name = str_trim(str_sub(text, 0, (size_t)colon)), value = str_trim(str_from(text, (size_t)colon + 1));
	if (str_case_eq(name, l->name))
		return edit(g, l, arena_printf(a, "=%.*s#%u: %.*s", STR_ARG(l->name), l->number, STR_ARG(value)));
	return edit(g, l, arena_printf(a, "-%.*s#%u", STR_ARG(l->name), l->number)) && edit(g, l, arena_printf(a, "<%zu %.*s: %.*s", l->place, STR_ARG(name), STR_ARG(value)));
}

/* IGNORE, STRIP, REPLACE, PREPEND: in the field's own place. */
static bool change(struct checking *g, const struct line *l, struct str word, struct str text)
{
	struct arena *a = g->t->arena;

	if (l->which == CHECK_BODY)
		return broken(g, l, "the body is never changed: IGNORE, STRIP, REPLACE and PREPEND are not possible in body_checks");
	if (l->name.n == 0) {
		tell(g, l, "warning", STR("the header of a part is never changed"));
		return true;
	}
	if (str_case_eq(word, STR("IGNORE")))
		return edit(g, l, arena_printf(a, "-%.*s#%u", STR_ARG(l->name), l->number));
	if (str_case_eq(word, STR("STRIP"))) {
		tell(g, l, "strip", text);
		return edit(g, l, arena_printf(a, "-%.*s#%u", STR_ARG(l->name), l->number));
	}
	if (str_case_eq(word, STR("REPLACE"))) {
		tell(g, l, "replace", text);
		return replace(g, l, text);
	}
	tell(g, l, "prepend", text);
	return edit(g, l, arena_printf(a, "<%zu %.*s", l->place, STR_ARG(text)));
}

static bool refuse(struct checking *g, const struct line *l, const struct access_action *act)
{
	struct trans *t = g->t;
	const struct str text = act->text.n > 0 ? act->text : STR("message content rejected");
	const char *enhanced = act->enhanced[0] ? arena_strdup(t->arena, act->enhanced) : act->code < 500 ? "4.7.1" : "5.7.1";

	tell(g, l, "reject", text);
	trans_refuse(t, REFUSER_PATTERN, (uint64_t)act->code, enhanced, str_sub(arena_str(t->arena, text), 0, RESTRICT_TEXT_MAX));
	return false;
}

/* Kept for effects_apply, which comes after. */
static bool effect(struct checking *g, const struct line *l, const struct access_action *act)
{
	struct restrict_effects *x = &g->t->effects;
	const struct str text = arena_str(g->t->arena, act->text.n > 0 ? act->text : STR("triggered by a pattern"));

	switch (act->kind) {
	case ACCESS_HOLD:
		x->hold = text;
		tell(g, l, "hold", text);
		return true;
	case ACCESS_DISCARD:
		x->discard = text;
		return true;
	case ACCESS_REDIRECT:
		x->redirect = text;
		tell(g, l, "redirect", text);
		return true;
	case ACCESS_FILTER:
		x->filter = text;
		tell(g, l, "filter", text);
		return true;
	case ACCESS_BCC:
		if (x->n_bcc < RESTRICT_EFFECTS_MAX)
			x->bcc[x->n_bcc++] = text;
		tell(g, l, "bcc", text);
		return true;
	case ACCESS_WARN: case ACCESS_INFO:
		tell(g, l, act->kind == ACCESS_WARN ? "warning" : "info", act->text);
		return true;
	case ACCESS_OK: case ACCESS_DUNNO:
		return true;
	default:
		return broken(g, l, "this action is not possible here");
	}
}

static bool apply(struct checking *g, const struct line *l, struct str action)
{
	struct str rest = action;
	const struct str word = str_split(&rest, ' '), text = rest.p ? str_trim(rest) : STR("");
	struct access_action act;
	struct err e = { 0 };

	if (str_case_eq(word, STR("IGNORE")) || str_case_eq(word, STR("STRIP")) || str_case_eq(word, STR("REPLACE")) || str_case_eq(word, STR("PREPEND")))
		return change(g, l, word, text);
	if (str_case_eq(word, STR("PASS"))) {
		tell(g, l, "pass", text);
		g->passed = true;
		return true;
	}
	if (access_parse(action, 450, 550, &act, &e) < 0)
		return broken(g, l, e.text);
	if (act.kind == ACCESS_REFUSE && str_case_eq(word, STR("REJECT")) && act.given_class == '4') {
		act.code = 451;		/* here, unlike in access(5), the text's code decides */
		act.enhanced[0] = '4';
	}
	return act.kind == ACCESS_REFUSE ? refuse(g, l, &act) : effect(g, l, &act);
}

/* --- asking --- */

static void on_matches(void *ctx, const struct ipc_resolve_MATCHES *m)
{
	struct checking *g = ctx;
	struct trans *t = g->t;
	uint64_t at;

	t->ask = NULL;
	if (m == NULL || m->trouble || m->at.n != m->actions.n) {
		trans_answer(t, 451, "4.3.0", STR("Error: content checks not available, try again later"));
		return;
	}
	for (size_t i = 0; i < m->at.n && !g->passed; i++)
		if (num_parse(m->at.v[i], 0, g->sent - g->asked - 1, &at) < 0 || !apply(g, &g->v[g->asked + at], arena_str(t->arena, m->actions.v[i])))
			return;
	if (g->passed)
		g->fn(t);
	else
		next_batch(g);
}

static void next_stage(struct checking *g);

/* Lines of one kind together, in their order. */
static void next_batch(struct checking *g)
{
	const size_t left = g->n - g->sent < BATCH_LINES ? g->n - g->sent : BATCH_LINES;
	struct ipc_resolve_CHECK m = { .which = left > 0 ? g->v[g->sent].which : CHECK_HEADER };
	size_t bytes = 0;

	g->asked = g->sent;
	if (left == 0) {
		next_stage(g);
		return;
	}
	struct str *lines = ARENA_ARRAY(g->t->arena, struct str, left);
	if (lines == NULL) {
		trans_answer(g->t, 452, "4.3.1", STR("Error: transaction too large"));	/* never past the checks */
		return;
	}
	m.lines.v = lines;
	while (m.lines.n < left && g->v[g->sent].which == m.which && (bytes == 0 || bytes + 4 + g->v[g->sent].text.n <= BATCH_BYTES)) {
		lines[m.lines.n++] = g->v[g->sent].text;
		bytes += 4 + g->v[g->sent++].text.n;
	}
	g->t->ask = check_ask(g->t->q, &m, on_matches, g);
}

/* --- parts --- */

static void on_parts(void *ctx, const struct ipc_resolve_PART_MATCHES *m)
{
	struct checking *g = ctx;
	struct trans *t = g->t;

	t->ask = NULL;
	if (m == NULL || m->trouble == 1 || m->lines.n != m->actions.n) {
		trans_answer(t, 451, "4.3.0", STR("Error: content checks not available, try again later"));
		return;
	}
	if (m->trouble) {
		trans_answer(t, 554, "5.6.0", STR("Error: too many parts, or fields in them, to be checked"));
		return;
	}
	for (size_t i = 0; i < m->lines.n && !g->passed; i++) {
		const struct line l = { .text = arena_str(t->arena, m->lines.v[i]), .which = CHECK_MIME };
		if (!apply(g, &l, arena_str(t->arena, m->actions.v[i])))
			return;
	}
	if (g->passed)
		g->fn(t);
	else
		next_stage(g);
}

/* Types that have no parts, whatever else is said; of anything else the parser judges. */
bool head_may_have_parts(struct str head)
{
	static const char *const leaves[] = { "text/", "image/", "audio/", "video/", "application/" };
	struct mail_field f;

	if (!mail_field_find(head, "Content-Type", &f))
		return false;
	const struct str value = str_trim(f.value);
	for (size_t i = 0; i < ARRAY_LEN(leaves); i++)
		if (str_case_starts(value, str_c(leaves[i])))
			return false;
	return true;
}

static bool wants_parts(const struct trans *t)
{
	return (t->conf->mime_header_checks.n > 0 || t->conf->nested_header_checks.n > 0) && head_may_have_parts(t->head_text);
}

/* --- the lines --- */

static void start_header(struct checking *g)
{
	struct trans *t = g->t;
	struct str rest = t->head_text;
	const struct mail_fields all = mail_fields_of(t->arena, rest);

	g->v = ARENA_ARRAY(t->arena, struct line, all.n + 1);
	if (g->v == NULL || all.cut) {
		trans_answer(t, 452, "4.3.1", STR("Error: transaction too large"));
		return;
	}
	if (all.n > FIELDS_MAX) {
		trans_answer(t, 554, "5.6.0", STR("Error: too many header fields"));
		return;
	}
	for (size_t i = 0; i < all.n; i++) {
		const struct mail_field *f = &all.v[i];
		unsigned number = 1;
		if (f->name.n == 0)
			continue;
		for (size_t k = 0; k < i; k++)
			number += str_case_eq(all.v[k].name, f->name);
		const enum check_which which = resolver_mime_field(f->name) ? CHECK_MIME : CHECK_HEADER;
		if ((which == CHECK_MIME ? t->conf->mime_header_checks.n : t->conf->header_checks.n) == 0)
			continue;
		if (f->whole.n > RESOLVER_FIELD_BYTES_MAX) {
			trans_answer(t, 554, "5.6.0", STR("Error: a header field is too long to be checked"));
			return;
		}
		g->v[g->n++] = (struct line){ str_trim(f->whole), f->name, which, number, i + 1 };
	}
	next_batch(g);
}

static int read_body(struct checking *g, struct str *out, struct err *e)
{
	struct trans *t = g->t;
	const uint64_t limit = t->conf->body_checks_size_limit < BODY_LIMIT_MAX ? t->conf->body_checks_size_limit : BODY_LIMIT_MAX, from = t->head_text.n;
	const size_t n = (size_t)(t->size - from < limit ? t->size - from : limit);
	char *p = arena_alloc(t->arena, n + 1);

	if (p == NULL)
		return err_set(e, ERR_LIMIT, 0, "body too long");
	*out = str_n(p, n);
	return n > 0 ? pread_all(t->fd, p, n, from, e) : 0;
}

static void start_body(struct checking *g)
{
	struct trans *t = g->t;
	struct str rest;
	struct err e = { 0 };
	size_t cap = 1;

	if (read_body(g, &rest, &e) < 0) {
		log_error("%s: %s", t->qid, e.text);
		trans_answer(t, 451, "4.3.0", STR("Error: queue file write error"));
		return;
	}
	for (size_t i = 0; i < rest.n; i++)
		cap += rest.p[i] == '\n';
	cap += rest.n / BODY_PIECE_BYTES;
	g->n = g->sent = g->asked = 0;
	g->v = ARENA_ARRAY(t->arena, struct line, cap + 1);
	if (g->v == NULL) {
		trans_answer(t, 452, "4.3.1", STR("Error: transaction too large"));
		return;
	}
	while (rest.p && rest.n > 0) {
		const struct str line = str_split(&rest, '\n');
		for (size_t at = 0; at < line.n; at += BODY_PIECE_BYTES)	/* a long one in pieces, as body_checks see it elsewhere */
			g->v[g->n++] = (struct line){ .text = str_sub(line, at, BODY_PIECE_BYTES), .which = CHECK_BODY };
	}
	next_batch(g);
}

static void next_stage(struct checking *g)
{
	struct trans *t = g->t;
	const struct ipc_resolve_PARTS m = { .size = t->size };

	if (g->stage == STAGE_HEADER) {
		g->stage = STAGE_PARTS;
		if (wants_parts(t)) {
			if (t->size > RESOLVER_PARTS_BYTES_MAX)
				log_as(log_ident("cleanup"), LOG_LV_WARNING, "%s: of %llu bytes, mime_header_checks and nested_header_checks see the first %d", t->qid,
				       (unsigned long long)t->size, RESOLVER_PARTS_BYTES_MAX);
			t->ask = parts_ask(t->q, &m, t->fd, on_parts, g);
			return;
		}
	}
	if (g->stage == STAGE_PARTS && t->conf->body_checks.n > 0) {
		g->stage = STAGE_BODY;
		start_body(g);
		return;
	}
	g->fn(t);
}

void checks_run(struct trans *t, trans_passed_fn *fn)
{
	struct checking *g = ARENA_NEW(t->arena, struct checking);

	if (g == NULL) {
		trans_answer(t, 452, "4.3.1", STR("Error: transaction too large"));
		return;
	}
	g->t = t;
	g->fn = fn;
	if (t->conf->header_checks.n > 0 || t->conf->mime_header_checks.n > 0)
		start_header(g);
	else
		next_stage(g);
}
