/* After all rule files are read: which rules are needed, their patterns compiled, metas parsed and ordered, prefilters built. Mistakes are told with the
 * rule's file and line, and the rule is left out. */
#include <stdio.h>
#include <stdlib.h>

#include "spam/dnslists.h"
#include "spam/eval.h"
#include "spam/expr.h"
#include "spam/gate.h"
#include "spam/prefilter.h"
#include "spam/regex.h"

enum { META_DEPTH_MAX = 50, HEAD_RULES_MIN = 6 };

static const struct { const char *name; eval_fn *fn; unsigned pattern; } functions[] = {
#define EVAL(name, fn, arg) { name, fn, arg },
#include "spam/evals.def"
#undef EVAL
};

static const char *const eval_heads[] = {
#define HEAD(spec) spec,
#include "spam/eval_heads.def"
#undef HEAD
};

static void drop(struct set *s, struct rule *r, const struct err *e)
{
	set_say(s, r->file, r->line, "%.*s: %s", STR_ARG(r->name), e->text);
	r->type = RULE_NONE;
}

/* --- metas --- */

struct meta_ctx { struct set *s; struct rule *meta; };

static int meta_name(void *ctx, struct str name, struct expr *out, struct err *e)
{
	struct meta_ctx *c = ctx;
	(void)e;
	out->op = EXPR_CONST;
	if (str_eq(name, STR("local_tests_only"))) {
		out->value = !c->s->opt->network;
		return 0;
	}
	struct rule *r = set_find(c->s, name);
	if (r == NULL || r->type == RULE_NONE)
		return 0;	/* unknown names count as 0 */
	out->op = EXPR_NAME;
	out->name = r;
	return 0;
}

/* rules_matching(GLOB): the sum of all rules of that name. */
static int meta_call(void *ctx, struct str call, struct str glob, struct expr *out, struct err *e)
{
	struct meta_ctx *c = ctx;
	if (!str_eq(call, STR("rules_matching")))
		return err_set(e, ERR_CONF, 0, "unknown function %.*s", STR_ARG(call));
	struct expr **tail = &out->kids;
	out->op = EXPR_ADD;
	out->kids = NULL;
	for (size_t i = 0; i < c->s->n; i++) {
		struct rule *r = c->s->rules[i];
		if (r == c->meta || r->type == RULE_NONE || !glob_match(glob, r->name))
			continue;
		*tail = ARENA_NEW(c->s->a, struct expr);
		**tail = (struct expr){ .op = EXPR_NAME, .name = r };
		tail = &(*tail)->next;
	}
	/* EXPR_ADD has two operands: fold the list to a chain. */
	while (out->kids != NULL && out->kids->next != NULL && out->kids->next->next != NULL) {
		struct expr *sum = ARENA_NEW(c->s->a, struct expr);
		*sum = (struct expr){ .op = EXPR_ADD, .kids = out->kids, .next = out->kids->next->next };
		out->kids->next->next = NULL;
		out->kids = sum;
	}
	if (out->kids == NULL)
		*out = (struct expr){ .op = EXPR_CONST };
	return 0;
}

static void counted(void *name)
{
	((struct rule *)name)->counted = true;
}

static void metas_parse(struct set *s)
{
	for (size_t i = 0; i < s->n; i++) {
		struct rule *r = s->rules[i];
		struct err e = { 0 };
		if (r->type != RULE_META)
			continue;
		struct meta_ctx c = { s, r };
		const struct expr_env env = { meta_name, meta_call, &c };
		struct expr *x;
		if (expr_parse(s->a, r->text, &env, &x, &e) < 0)
			drop(s, r, &e);
		else
			r->meta = x;
	}
	/* Whether a meta's own number counts is known only when all have been read. */
	for (size_t i = 0; i < s->n; i++)
		if (s->rules[i]->type == RULE_META)
			expr_mark(s->rules[i]->meta, true, counted);
	for (size_t i = 0; i < s->n; i++)
		if (s->rules[i]->type == RULE_META && s->rules[i]->counted)
			expr_mark(s->rules[i]->meta, false, counted);
}

static unsigned rule_cost(void *name)
{
	struct rule *r = name;
	static unsigned depth;
	static const unsigned costs[] = { [RULE_EXISTS] = 1, [RULE_HEADER] = 3, [RULE_MIMEHEADER] = 6, [RULE_BODY] = 8, [RULE_URI] = 8, [RULE_RAWBODY] = 12,
					  [RULE_FULL] = 30, [RULE_URI_DETAIL] = 20, [RULE_EVAL] = 15, [RULE_META] = 0 };
	if (r->cost > 0 || depth >= META_DEPTH_MAX)
		return r->cost > 0 ? r->cost : 1000;
	r->cost = 1 + costs[r->type < ARRAY_LEN(costs) ? r->type : 0];
	if (r->type == RULE_META && r->meta != NULL) {
		depth++;
		r->cost = 1;
		unsigned c = expr_order(r->meta, rule_cost);
		r->cost = c > 1000000 ? 1000000 : c + 1;
		depth--;
	}
	return r->cost;
}

/* --- what is needed --- */

static void need(struct set *s, struct rule *r);

static void need_expr(struct set *s, const struct expr *x)
{
	if (x->op == EXPR_NAME)
		need(s, x->name);
	for (const struct expr *k = x->kids; k != NULL; k = k->next)
		need_expr(s, k);
}

static void need(struct set *s, struct rule *r)
{
	if (r->needed)
		return;
	r->needed = true;
	if (r->type == RULE_META && r->meta != NULL)
		need_expr(s, r->meta);
}

static bool has_score(const struct rule *r)
{
	return r->scores[0] != 0 || r->scores[1] != 0 || r->scores[2] != 0 || r->scores[3] != 0;
}

static void scores_and_needs(struct set *s)
{
	for (size_t i = 0; i < s->n; i++) {
		struct rule *r = s->rules[i];
		double v = str_starts(r->name, STR("T_")) ? 0.01 : 1.0;
		for (unsigned k = 0; k < 4 && !r->scored; k++)
			r->scores[k] = r->tflags & TFLAG_BIT(NICE) ? -v : v;
	}
	for (size_t i = 0; i < s->n; i++)
		if (s->rules[i]->type != RULE_NONE && has_score(s->rules[i]) && (s->opt->all || !rule_is_sub(s->rules[i])))
			need(s, s->rules[i]);
}

/* --- patterns --- */

/* "%{NAME}" */
static struct str capture_used(struct str text)
{
	for (size_t i = 0; i + 3 < text.n; i++) {
		if (text.p[i] != '%' || text.p[i + 1] != '{' || !ch_upper(text.p[i + 2]) || (i > 0 && text.p[i - 1] == '\\'))
			continue;
		ptrdiff_t end = str_chr(str_from(text, i + 2), '}');
		return end < 0 ? (struct str){ 0 } : str_sub(text, i + 2, (size_t)end);
	}
	return (struct str){ 0 };
}

static void capture_made(struct set *s, struct rule *r)
{
	ptrdiff_t at = str_find(r->pattern.text, STR("(?<"));
	if (at < 0 || !ch_upper((size_t)at + 3 < r->pattern.text.n ? r->pattern.text.p[at + 3] : '\0'))
		return;
	struct str name = str_from(r->pattern.text, (size_t)at + 3);
	ptrdiff_t end = str_chr(name, '>');
	if (end <= 0)
		return;
	r->captures = str_sub(name, 0, (size_t)end);
	map_set(s->captures, r->captures, r);
}

static int compile_rule(struct set *s, struct rule *r, struct err *e)
{
	struct str written = r->pattern.text;
	if (r->replace && written.p != NULL)
		r->pattern.text = tags_expand(s, written);
	r->needs = capture_used(r->pattern.text);
	capture_made(s, r);
	if (r->pattern.text.p != NULL && r->needs.p == NULL && pattern_compile(s, &r->pattern, e) < 0) {
		struct pattern small = r->pattern;
		small.text = r->replace ? tags_define(s, written) : (struct str){ 0 };
		if (small.text.p == NULL || pattern_compile(s, &small, e) < 0)
			return -1;
		r->pattern.code = small.code;
	}
	for (struct detail_test *d = r->detail; d != NULL; d = d->next)
		if (pattern_compile(s, &d->p, e) < 0)
			return -1;
	return 0;
}

static int bind_eval(struct set *s, struct rule *r, struct err *e)
{
	for (size_t i = 0; i < ARRAY_LEN(functions); i++) {
		if (!str_eq(r->text, str_c(functions[i].name)))
			continue;
		r->eval = functions[i].fn;
		unsigned k = functions[i].pattern;
		if (k == 0 || r->n_args < k)
			return 0;
		r->arg_pattern = (struct pattern){ .text = r->args[k - 1] };
		return pattern_compile(s, &r->arg_pattern, e);
	}
	return err_set(e, ERR_CONF, 0, "the function %.*s is not known", STR_ARG(r->text));
}

static void compile_all(struct set *s)
{
	for (size_t i = 0; i < s->n; i++) {
		struct rule *r = s->rules[i];
		struct err e = { 0 };
		if (!r->needed)
			continue;
		if ((r->type == RULE_EVAL ? bind_eval(s, r, &e) : compile_rule(s, r, &e)) < 0)
			drop(s, r, &e);
		if (r->type == RULE_HEADER && r->pattern.code != NULL)
			r->on_empty = (pcre_match(r->pattern.code, r->if_unset.p == NULL ? STR("") : r->if_unset, NULL, 0, &e) == 1) != r->negated;
	}
}

/* What a prefilter may assume of a pattern with a capture in it. */
static struct str filter_text(struct set *s, const struct rule *r)
{
	if (r->needs.p == NULL)
		return r->pattern.text;
	struct str t = r->pattern.text;
	size_t at = (size_t)(r->needs.p - t.p) - 2, after = at + r->needs.n + 3;
	return str_c(arena_printf(s->a, "%.*s.*%.*s", (int)at, t.p, (int)(t.n - after), t.p + after));
}

static struct prefilter *build_filter(struct set *s, enum rule_type type)
{
	struct prefilter *f = prefilter_new(s->a);
	for (size_t i = 0; i < s->n; i++) {
		struct rule *r = s->rules[i];
		if (r->needed && r->type == type && (r->pattern.code != NULL || r->needs.p != NULL))
			r->slot = 1 + prefilter_add(f, filter_text(s, r), r->pattern.flags);
		if (r->slot > 0 && r->type == type && r->needs.p == NULL)
			r->gate = gate_new(s->gates, r->pattern.text, r->pattern.flags);
	}
	prefilter_finish(f);
	return f;
}

static bool filters_head(const struct rule *r)
{
	return r->needed && r->type == RULE_HEADER && r->pattern.code != NULL;
}

/* Where many rules look at one field. */
static void build_head_filters(struct set *s)
{
	unsigned *rules = ARENA_ARRAY(s->a, unsigned, s->n_heads + 1);
	s->head_filters = ARENA_ARRAY(s->a, struct prefilter *, s->n_heads + 1);
	for (size_t i = 0; i < s->n; i++)
		rules[filters_head(s->rules[i]) ? s->rules[i]->head->index : s->n_heads]++;
	for (size_t i = 0; i < s->n; i++) {
		struct rule *r = s->rules[i];
		if (!filters_head(r) || rules[r->head->index] < HEAD_RULES_MIN)
			continue;
		struct prefilter **f = &s->head_filters[r->head->index];
		*f = *f == NULL ? prefilter_new(s->a) : *f;
		r->slot = 1 + prefilter_add(*f, r->pattern.text, r->pattern.flags);
	}
	for (size_t i = 0; i < s->n_heads; i++)
		if (s->head_filters[i] != NULL)
			prefilter_finish(s->head_filters[i]);
}

/* What texts teach a gate, workers share when it is learned before they are forked: here from the rules' own descriptions, which are about the same things. */
static void gates_learn(const struct set *s)
{
	for (size_t i = 0; i < s->n; i++)
		for (size_t k = 0; s->rules[i]->gate != NULL && k < s->n; k++)
			(void)gate_may(s->rules[i]->gate, s->rules[k]->describe);
}

static void find_runs(struct set *s)
{
	for (size_t i = 0; i < s->n; i++) {
		struct rule *r = s->rules[i];
		struct rx_run run;
		if (!r->needed || r->type != RULE_FULL || r->pattern.code == NULL)
			continue;
		struct arena *scratch = arena_new(0);
		const struct rx *x = rx_parse(scratch, r->pattern.text, r->pattern.flags);
		if (x != NULL && rx_run(x, &run)) {
			struct rx_run *kept = ARENA_NEW(s->a, struct rx_run);
			*kept = run;
			r->run = kept;
		}
		arena_free(&scratch);
	}
}

static void mark_active(struct set *s)
{
	for (size_t i = 0; i < s->n; i++)
		for (unsigned k = 0; k < 4; k++)
			if (s->rules[i]->needed && s->rules[i]->scores[k] != 0)
				s->rules[i]->active = (unsigned char)(s->rules[i]->active | 1u << k);
}

static void list_results(struct set *s)
{
	s->results = ARENA_ARRAY(s->a, struct rule *, s->n + 1);
	for (size_t i = 0; i < s->n; i++)
		if (s->rules[i]->needed && !rule_is_sub(s->rules[i]) && s->rules[i]->type != RULE_NONE)
			s->results[s->n_results++] = s->rules[i];
}

int set_finish(struct set *s, struct err *e)
{
	for (size_t i = 0; i < ARRAY_LEN(eval_heads); i++)
		if (set_head(s, str_c(eval_heads[i]), e) == NULL)
			return -1;
	metas_parse(s);
	scores_and_needs(s);
	for (size_t i = 0; i < s->n; i++)
		if (s->rules[i]->type == RULE_META)
			rule_cost(s->rules[i]);
	compile_all(s);
	dns_lists_bind(s);
	mark_active(s);
	list_results(s);
	s->gates = gates_new();
	s->body_filter = build_filter(s, RULE_BODY);
	s->rawbody_filter = build_filter(s, RULE_RAWBODY);
	s->uri_filter = build_filter(s, RULE_URI);
	build_head_filters(s);
	find_runs(s);
	if (s->opt->jit)
		gates_learn(s);
	return 0;
}
