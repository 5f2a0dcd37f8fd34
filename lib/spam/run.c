/* Rules over a message: each is evaluated when something asks for it, once. Scored rules are asked for by the result, the others by metas, which look first at
 * what costs nothing: a body rule whose required text is nowhere is known to be false. */
#include <stdlib.h>

#include "spam/dnslists.h"
#include "spam/eval.h"
#include "spam/expr.h"
#include "spam/gate.h"
#include "spam/prefilter.h"
#include "spam/regex.h"

/* --- patterns over texts --- */

static void remember(struct msg *m, const struct rule *r, struct str text)
{
	if (m->matched != NULL && m->matched[r->index].p == NULL)
		m->matched[r->index] = text;
}

/* Matches that begin at one of these bytes, at most max. *at: where the search goes on. */
static unsigned matches_in(struct msg *m, const struct rule *r, const struct pcre *code, struct str text, size_t *at, size_t to, unsigned max)
{
	unsigned n = 0;
	size_t start, end;
	struct err e = { 0 };
	while (n < max && *at <= to) {
		int found = pcre_find(code, text, *at, to, &start, &end, &e);
		m->limited += found < 0;
		if (found <= 0)
			break;
		if (n++ == 0)
			remember(m, r, str_sub(text, start, end - start));
		*at = end > start ? end : end + 1;
	}
	return n;
}

static unsigned matches(struct msg *m, const struct rule *r, const struct pcre *code, struct str text, unsigned max)
{
	size_t at = 0;
	return matches_in(m, r, code, text, &at, text.n, max);
}

static unsigned most(const struct rule *r)
{
	if (!(r->tflags & TFLAG_BIT(MULTIPLE)))
		return 1;
	return r->maxhits == 0 || r->maxhits > MSG_MULTIPLE_MAX ? MSG_MULTIPLE_MAX : r->maxhits;
}

/* --- patterns that use what another rule captured --- */

static void quote(struct buf *out, struct str v)
{
	for (size_t i = 0; i < v.n; i++) {
		if (!ch_alnum(v.p[i]) && (unsigned char)v.p[i] < 0x80)
			buf_ch(out, '\\');
		buf_ch(out, v.p[i]);
	}
}

/* What the first match of the rule that captures it found. */
static bool captured(struct msg *m, struct str name, struct str *out)
{
	const struct rule *def = map_get(m->s->captures, name);
	struct str g[2];
	struct err e = { 0 };
	if (def == NULL || def->head == NULL || def->pattern.code == NULL || !msg_head(m, def->head)->defined)
		return false;
	if (pcre_match(def->pattern.code, msg_head(m, def->head)->joined, g, 2, &e) != 1)
		return false;
	*out = g[1];
	return g[1].n > 0;
}

/* The pattern with its capture filled in; NULL: there is none, the rule does not run. */
static struct pcre *filled(struct msg *m, const struct rule *r)
{
	struct str v;
	struct pcre *code = NULL;
	struct err e = { 0 };
	if (!captured(m, r->needs, &v))
		return NULL;
	struct str t = r->pattern.text;
	size_t at = (size_t)(r->needs.p - t.p) - 2, after = at + r->needs.n + 3;
	struct buf b;
	buf_init(&b, SPAM_PATTERN_MAX);
	buf_str(&b, str_sub(t, 0, at));
	buf_c(&b, "(?:");
	quote(&b, v);
	buf_c(&b, ")");
	buf_str(&b, str_from(t, after));
	if (buf_failed(&b) || pcre_compile(buf_view(&b), r->pattern.flags, false, &code, &e) < 0)
		code = NULL;
	buf_fini(&b);
	return code;
}

/* --- texts in pieces --- */

/* spare: n_spare places that are nobody's yet. */
struct scan { struct msg *m; struct area *area; unsigned line; struct line_hits *spare; unsigned n_spare; };

/* Places nearer to each other than this are one: a search costs as much as looking at so many bytes. A place is never as far before the last one of its line. */
enum { PLACES_APART = 64, PLACES_TOGETHER = 64, GATED_TOGETHER = 64 };

static struct line_hits *place_new(struct scan *s)
{
	if (s->n_spare == 0) {
		s->spare = ARENA_ARRAY(s->m->a, struct line_hits, PLACES_TOGETHER);
		s->n_spare = PLACES_TOGETHER;
	}
	s->n_spare--;
	return s->spare++;
}

static void on_may(void *ctx, unsigned number, size_t at)
{
	struct scan *s = ctx;
	struct line_hits *last = s->area->last[number];
	if (last != NULL && last->line == s->line && at <= last->to + PLACES_APART) {
		last->from = at < last->from ? at : last->from;
		last->to = at > last->to ? at : last->to;
		return;
	}
	struct line_hits *h = place_new(s);
	*h = (struct line_hits){ s->line, at, at, NULL };
	*(last == NULL ? &s->area->may[number] : &last->next) = h;
	s->area->last[number] = h;
}

static void scan_area(struct msg *m, struct area *area, const struct prefilter *f)
{
	if (area->scanned)
		return;
	area->scanned = true;
	area->may = ARENA_ARRAY(m->a, struct line_hits *, prefilter_count(f) + 1);
	area->last = ARENA_ARRAY(m->a, struct line_hits *, prefilter_count(f) + 1);
	struct buf folded;
	struct scan s = { .m = m, .area = area };
	buf_init(&folded, m->whole.n * 8 + 131072);
	for (size_t i = 0; i < area->pieces.n; i++) {
		if (area_times(area, i) == 0)
			continue;
		s.line = (unsigned)i;
		buf_reset(&folded);
		prefilter_fold(area->pieces.v[i], &folded);
		prefilter_scan(f, area->pieces.v[i], buf_view(&folded), on_may, &s);
	}
	buf_fini(&folded);
}

static struct area *area_of(struct msg *m, const struct rule *r, const struct prefilter **f)
{
	switch (r->type) {
	case RULE_BODY:
		msg_body_lines(m);
		*f = m->s->body_filter;
		return &m->body_lines;
	case RULE_RAWBODY:
		msg_raw_pieces(m);
		*f = m->s->rawbody_filter;
		return &m->raw_pieces;
	default:
		msg_uri_list(m);
		*f = m->s->uri_filter;
		return &m->uri_list;
	}
}

void run_prefilters(struct msg *m)
{
	static const enum rule_type types[] = { RULE_BODY, RULE_RAWBODY, RULE_URI };
	for (size_t i = 0; i < ARRAY_LEN(types); i++) {
		const struct rule r = { .type = types[i] };
		const struct prefilter *f;
		struct area *area = area_of(m, &r, &f);
		scan_area(m, area, f);
	}
}

/* n, and what is found in a piece as often as the piece is there; at most max. */
static unsigned added(const struct area *area, size_t piece, unsigned found, unsigned n, unsigned max)
{
	const unsigned times = area_times(area, piece);
	return found == 0 ? n : found > (max - n) / times ? max : n + found * times;
}

/* Lines that a gate is asked about together. One for all rules of a message, which do not run inside each other. */
struct group { size_t n, line[GATED_TOGETHER]; struct str texts[GATED_TOGETHER]; bool may[GATED_TOGETHER]; };

static struct group *group_of(struct msg *m)
{
	if (m->group == NULL)
		m->group = ARENA_NEW(m->a, struct group);
	return m->group;
}

static void group_add(struct group *g, size_t line, struct str text)
{
	g->line[g->n] = line;
	g->texts[g->n++] = text;
}

/* One rule on its way through the lines of a text. */
struct run { struct msg *m; const struct rule *r; const struct pcre *code; const struct prefilter *f; struct area *area; unsigned n, max; };

/* At the places in one line, of which this is the first; NULL: at all. */
static void run_line(struct run *u, size_t line, const struct line_hits *h)
{
	const struct str text = u->area->pieces.v[line];
	unsigned n = h == NULL ? matches(u->m, u->r, u->code, text, u->max - u->n) : 0;
	size_t at = 0;
	for (; h != NULL && u->n + n < u->max; h = h->next) {
		at = h->from > at ? h->from : at;
		n += matches_in(u->m, u->r, u->code, text, &at, h->to, u->max - u->n - n);
	}
	u->n = added(u->area, line, n, u->n, u->max);
}

/* From `from` to last, where its gate opens. Returns how often it matches; *at: where the search goes on. */
static unsigned run_between(struct run *u, struct str text, size_t *at, size_t last, unsigned max)
{
	unsigned n = 0;
	for (size_t from = *at, to; n < max && gate_next(u->r->gate, text, &from, last, &to); from = to < *at ? *at : to + 1) {
		*at = from > *at ? from : *at;
		n += matches_in(u->m, u->r, u->code, text, at, to < last ? to : last, max - n);
	}
	return n;
}

/* Each place by itself: what lies between them the gate need not read. */
static void run_gated(struct run *u, size_t line, const struct line_hits *h)
{
	const struct str text = u->area->pieces.v[line];
	unsigned n = 0;
	size_t at = 0;
	if (h == NULL)
		n = run_between(u, text, &at, text.n, u->max - u->n);
	for (; h != NULL && u->n + n < u->max; h = h->next) {
		at = h->from > at ? h->from : at;
		n += run_between(u, text, &at, h->to, u->max - u->n - n);
	}
	u->n = added(u->area, line, n, u->n, u->max);
}

static void run_group(struct run *u, struct group *g)
{
	if (g->n > 0)
		gate_each(u->r->gate, g->texts, g->n, g->may);
	for (size_t k = 0; k < g->n && u->n < u->max; k++)
		if (g->may[k])
			run_gated(u, g->line[k], NULL);
	g->n = 0;
}

static void run_all(struct run *u, size_t first)
{
	struct group *g = u->r->gate == NULL ? NULL : group_of(u->m);
	for (size_t i = first; i < u->area->pieces.n && u->n < u->max; i++) {
		if (area_times(u->area, i) == 0)
			continue;
		if (g == NULL)
			run_line(u, i, NULL);
		else
			group_add(g, i, u->area->pieces.v[i]);
		if (g != NULL && g->n == GATED_TOGETHER)
			run_group(u, g);
	}
	if (g != NULL)
		run_group(u, g);
}

/* To find where a match would begin may take as many steps as a line or a field is long: after so many that begin nowhere, all of the rest is asked. */
enum { FAILED_MAX = 8 };

/* The places in the line of h, of which it is the first, where matches may begin: the first of those; NULL: there are none. *rest: what is in other lines. */
static struct line_hits *places(const struct prefilter *f, unsigned number, struct str text, struct line_hits *h, struct line_hits **rest)
{
	const unsigned line = h->line;
	struct line_hits *first = NULL, **tail = &first;
	size_t floor = 0;
	unsigned failed = 0;
	for (; h != NULL && h->line == line; h = h->next) {
		if (failed == FAILED_MAX) {
			h->from = floor;
		} else if (!prefilter_place(f, number, text, floor, &h->from, &h->to)) {
			failed++;
			continue;
		}
		floor = h->to;
		*tail = h;
		tail = &h->next;
	}
	*rest = h;
	*tail = NULL;
	return first;
}

static void run_places(struct run *u, size_t from)
{
	const unsigned number = u->r->slot - 1;
	for (struct line_hits *h = u->area->may[number]; h != NULL && u->n < u->max;) {
		const size_t line = h->line;
		const struct line_hits *first = places(u->f, number, u->area->pieces.v[line], h, &h);
		if (first != NULL && line >= from)
			(u->r->gate != NULL ? run_gated : run_line)(u, line, first);
	}
}

static unsigned run_lines(struct msg *m, const struct rule *r, const struct pcre *code, const struct prefilter *f, struct area *area)
{
	struct run u = { m, r, code, f, area, 0, most(r) };
	const size_t first = r->type == RULE_BODY && (r->tflags & TFLAG_BIT(NOSUBJECT)) ? 1 : 0;
	if (prefilter_always(f, r->slot - 1))
		run_all(&u, first);
	else
		run_places(&u, first);
	return u.n;
}

static double run_area(struct msg *m, const struct rule *r)
{
	const struct prefilter *f;
	struct area *area = area_of(m, r, &f);
	if (r->slot == 0)
		return 0;
	scan_area(m, area, f);
	if (!prefilter_always(f, r->slot - 1) && area->may[r->slot - 1] == NULL)
		return 0;
	if (r->needs.p == NULL)
		return run_lines(m, r, r->pattern.code, f, area);
	struct pcre *code = filled(m, r);
	unsigned n = code == NULL ? 0 : run_lines(m, r, code, f, area);
	pcre_free(&code);
	return n;
}

/* --- the other kinds --- */

/* failed: of each pattern, how often it was found where no match can begin. */
struct head_scan { struct head_value *v; const struct prefilter *f; unsigned char *failed; };

static void on_head_may(void *ctx, unsigned number, size_t at)
{
	const struct head_scan *s = ctx;
	size_t from = at, to = at;
	if (s->v->may[number])
		return;
	s->v->may[number] = s->failed[number] == FAILED_MAX || prefilter_place(s->f, number, s->v->joined, 0, &from, &to);
	s->failed[number] += !s->v->may[number];
}

static void scan_head(struct msg *m, struct head_value *v, const struct prefilter *f)
{
	struct buf folded;
	v->may = ARENA_ARRAY(m->a, bool, prefilter_count(f) + 1);
	buf_init(&folded, v->joined.n + 1);
	prefilter_fold(v->joined, &folded);
	struct head_scan s = { v, f, ARENA_ARRAY(m->a, unsigned char, prefilter_count(f) + 1) };
	prefilter_scan(f, v->joined, buf_view(&folded), on_head_may, &s);
	buf_fini(&folded);
}

/* False: what the rule's pattern requires is not in this field. */
static bool head_may(struct msg *m, const struct rule *r)
{
	const struct prefilter *f = m->s->head_filters[r->head->index];
	struct head_value *v = &m->heads[r->head->index];
	if (r->slot == 0 || prefilter_always(f, r->slot - 1))
		return true;
	if (v->may == NULL)
		scan_head(m, v, f);
	return v->may[r->slot - 1];
}

static double run_header(struct msg *m, const struct rule *r)
{
	const struct head_value *v = msg_head(m, r->head);
	if (r->type == RULE_EXISTS)
		return v->defined;
	if (r->pattern.code == NULL)
		return 0;
	if (!v->defined)
		return r->on_empty;
	unsigned n = head_may(m, r) ? matches(m, r, r->pattern.code, v->joined, r->negated ? 1 : most(r)) : 0;
	return r->negated ? n == 0 : n;
}

static struct str part_value(struct msg *m, struct part *p, const struct rule *r)
{
	struct buf b;
	if (str_eq(r->head->field, STR("ALL"))) {
		buf_init(&b, MSG_HEAD_MAX * 2);
		for (size_t i = 0; i < p->fields.n; i++)
			buf_printf(&b, "%.*s: %.*s\n", STR_ARG(p->fields.v[i].name), STR_ARG(field_value(m->a, &p->fields.v[i])));
		struct str s = arena_str(m->a, buf_view(&b));
		buf_fini(&b);
		return s;
	}
	const struct field *f = field_last(m->a, &p->fields, arena_cstr(m->a, str_lower_copy(m->a, r->head->field)));
	if (f == NULL)
		return r->if_unset.p == NULL ? STR("") : r->if_unset;
	return r->head->raw ? f->raw : str_cat(m->a, f->value, STR("\n"));
}

static double run_mimeheader(struct msg *m, const struct rule *r)
{
	msg_parts(m);
	struct str all = STR("");
	bool concat = (r->tflags & TFLAG_BIT(CONCAT)) != 0;
	for (size_t i = 0; i < m->n_parts && r->pattern.code != NULL; i++) {
		struct str v = part_value(m, &m->parts[i], r);
		if (concat) {
			all = str_cat(m->a, all, str_ends(v, STR("\n")) ? v : str_cat(m->a, v, STR("\n")));
			continue;
		}
		unsigned n = matches(m, r, r->pattern.code, v, most(r));
		if (n > 0)
			return r->negated ? 0 : n;
	}
	unsigned n = concat && r->pattern.code != NULL ? matches(m, r, r->pattern.code, all, most(r)) : 0;
	return r->negated ? n == 0 : n;
}

static bool detail_text(struct msg *m, const struct rule *r, const struct detail_test *d, struct str text)
{
	unsigned n = d->p.code == NULL ? 0 : matches(m, r, d->p.code, text, 1);
	return (n > 0) != d->negated;
}

static bool detail_fits(struct msg *m, const struct rule *r, const struct detail_test *d, const struct uri *u)
{
	const struct { const char *key; const struct strs *list; } lists[] = {
		{ "type", &u->types }, { "cleaned", &u->cleaned }, { "text", &u->texts }, { "domain", &u->domains }, { "host", &u->hosts },
	};
	if (str_eq(d->key, STR("raw")))
		return detail_text(m, r, d, u->raw);
	for (size_t i = 0; i < ARRAY_LEN(lists); i++) {
		if (!str_eq(d->key, str_c(lists[i].key)))
			continue;
		for (size_t k = 0; k < lists[i].list->n; k++)
			if (detail_text(m, r, d, lists[i].list->v[k]))
				return true;
	}
	return false;
}

static double run_detail(struct msg *m, const struct rule *r)
{
	msg_uris(m);
	for (size_t i = 0; i < m->n_uris; i++) {
		bool fits = true;
		for (const struct detail_test *d = r->detail; d != NULL && fits; d = d->next)
			fits = detail_fits(m, r, d, &m->uris[i]);
		if (fits)
			return 1;
	}
	return 0;
}

static double fact_value(struct msg *m, const struct rule *r)
{
	return eval_dns_list(m, r);
}

/* --- values --- */

static double value_of_name(void *ctx, void *name)
{
	return rule_value(ctx, name);
}

static void settle(struct msg *m, const struct rule *r, double v)
{
	m->values[r->index] = v;
	m->known[r->index] = 2;
}

/* Known already, or known for nothing. */
static bool peek(void *ctx, void *name, double *out)
{
	struct msg *m = ctx;
	const struct rule *r = name;
	if (m->known[r->index] == 2) {
		*out = m->values[r->index];
		return true;
	}
	const struct area *area = r->type == RULE_BODY ? &m->body_lines : r->type == RULE_RAWBODY ? &m->raw_pieces : r->type == RULE_URI ? &m->uri_list : NULL;
	const struct prefilter *f = r->type == RULE_BODY ? m->s->body_filter : r->type == RULE_RAWBODY ? m->s->rawbody_filter : m->s->uri_filter;
	bool absent = area != NULL && area->scanned && r->slot > 0 && !prefilter_always(f, r->slot - 1) && area->may[r->slot - 1] == NULL;
	if (rule_active(m, r) && !absent && r->type != RULE_EXISTS &&
	    !(r->type == RULE_HEADER && m->heads[r->head->index].made && !m->heads[r->head->index].defined))
		return false;
	*out = rule_value(m, r);
	return true;
}

static double run_meta(struct msg *m, const struct rule *r)
{
	const struct expr_values v = { value_of_name, peek, m };
	double n = r->meta == NULL ? 0 : expr_eval(r->meta, &v);
	return n != 0 && n <= 0 ? 1 : n;
}

static double run_full(struct msg *m, const struct rule *r)
{
	if (r->pattern.code == NULL || (r->run != NULL && !rx_run_in(r->run, m->whole)))
		return 0;
	return matches(m, r, r->pattern.code, m->whole, most(r));
}

static double run_eval(struct msg *m, const struct rule *r)
{
	return r->eval == NULL ? 0 : r->eval(m, r);
}

double rule_value(struct msg *m, const struct rule *r)
{
	static double (*const run[])(struct msg *, const struct rule *) = {
		[RULE_HEADER] = run_header, [RULE_EXISTS] = run_header, [RULE_BODY] = run_area, [RULE_RAWBODY] = run_area, [RULE_FULL] = run_full,
		[RULE_URI] = run_area,
		[RULE_MIMEHEADER] = run_mimeheader, [RULE_URI_DETAIL] = run_detail, [RULE_EVAL] = run_eval, [RULE_META] = run_meta, [RULE_OFF] = fact_value,
	};
	if (m->known[r->index] == 2)
		return m->values[r->index];
	if (m->known[r->index] == 1)
		return 0;	/* a meta that asks for itself */
	m->known[r->index] = 1;
	const struct cost_mark mark = m->costs == NULL ? (struct cost_mark){ 0 } : cost_begin(m);
	double v = 0;
	if (rule_active(m, r) && r->type < ARRAY_LEN(run) && run[r->type] != NULL)
		v = run[r->type](m, r);
	if (m->costs != NULL)
		cost_of_rule(m, r, mark);
	settle(m, r, v);
	return v;
}
