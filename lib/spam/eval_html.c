/* Eval functions over rendered HTML (SpamAssassin's HTMLEval): each looks at every HTML part and is content with one. */
#include <stdlib.h>

#include "spam/eval.h"
#include "spam/expr.h"

static const struct html *part(struct msg *m, size_t i)
{
	msg_body_lines(m);
	return i < m->n_htmls ? m->htmls[i] : NULL;
}

/* "> 0", "!= 1": the value against a number. */
static bool compare(struct str text, double value)
{
	struct arena *a = arena_new(0);
	struct expr *x;
	struct err e = { 0 };
	const struct expr_values none = { NULL, NULL, NULL };
	const struct expr_env env = { NULL, NULL, NULL };
	for (size_t i = 0; i < text.n; i++)
		if (strchr("<>=!-+ 0123456789.", text.p[i]) == NULL) {
			arena_free(&a);
			return false;
		}
	bool yes = expr_parse(a, str_c(arena_printf(a, "%.9f %.*s", value, STR_ARG(text))), &env, &x, &e) == 0 && expr_eval(x, &none) != 0;
	arena_free(&a);
	return yes;
}

int eval_html_balance(struct msg *m, const struct rule *r)
{
	const struct html *h;
	for (size_t i = 0; (h = part(m, i)) != NULL; i++) {
		int open = html_tag_open(h, arg(r, 0));
		if (open >= 0 && compare(arg(r, 1), open))
			return 1;
	}
	return 0;
}

int eval_html_image_only(struct msg *m, const struct rule *r)
{
	const struct html *h;
	for (size_t i = 0; (h = part(m, i)) != NULL; i++)
		if (html_tag_open(h, STR("img")) >= 0 && (double)h->length > arg_number(r, 0, 0) && (double)h->length <= arg_number(r, 1, 1e12))
			return 1;
	return 0;
}

int eval_html_image_ratio(struct msg *m, const struct rule *r)
{
	const struct html *h;
	for (size_t i = 0; (h = part(m, i)) != NULL; i++) {
		if (h->image_area <= 0)
			continue;
		double ratio = (double)h->non_space / h->image_area;
		if (ratio > arg_number(r, 0, 0) && ratio <= arg_number(r, 1, 1e12))
			return 1;
	}
	return 0;
}

int eval_html_faraway(struct msg *m, const struct rule *r)
{
	(void)r;
	const struct html *h;
	for (size_t i = 0; (h = part(m, i)) != NULL; i++) {
		unsigned good = 0, bad = 0;
		for (struct str rest = h->charsets, w; str_token(&rest, " \t\n", &w);)
			*(charset_ok(m->s, w) ? &good : &bad) += 1;
		if (bad > 0 && bad >= good)
			return 1;
	}
	return 0;
}

int eval_html_exists(struct msg *m, const struct rule *r)
{
	const struct html *h;
	for (size_t i = 0; (h = part(m, i)) != NULL; i++)
		if (html_tag_open(h, arg(r, 0)) >= 0)
			return 1;
	return 0;
}

int eval_html_test(struct msg *m, const struct rule *r)
{
	const struct html *h;
	double v;
	for (size_t i = 0; (h = part(m, i)) != NULL; i++)
		if (html_number(h, arg(r, 0), &v) && v != 0)
			return 1;
	return 0;
}

int eval_html_eval(struct msg *m, const struct rule *r)
{
	const struct html *h;
	double v;
	for (size_t i = 0; (h = part(m, i)) != NULL; i++)
		if (html_number(h, arg(r, 0), &v) && compare(arg(r, 1), v))
			return 1;
	return 0;
}

static int texts_match(struct msg *m, const struct rule *r, bool wanted)
{
	const struct html *h;
	for (size_t i = 0; (h = part(m, i)) != NULL; i++) {
		const struct strs *list = html_list(h, arg(r, 0));
		for (size_t k = 0; list != NULL && k < list->n; k++)
			if (pattern_hits(m, &r->arg_pattern, list->v[k]) == wanted)
				return 1;
	}
	return 0;
}

int eval_html_match(struct msg *m, const struct rule *r)
{
	return texts_match(m, r, true);
}

int eval_html_no_match(struct msg *m, const struct rule *r)
{
	return texts_match(m, r, false);
}

int eval_html_title(struct msg *m, const struct rule *r)
{
	const struct html *h;
	struct str subject = msg_get(m, "Subject");
	if (subject.n == 0)
		return 0;
	for (size_t i = 0; (h = part(m, i)) != NULL; i++)
		for (size_t k = 0; k < h->titles.n; k++)
			if ((double)h->titles.v[k].n / (double)subject.n > arg_number(r, 0, 1e9))
				return 1;
	return 0;
}

int eval_html_range(struct msg *m, const struct rule *r)
{
	const struct html *h;
	double v;
	for (size_t i = 0; (h = part(m, i)) != NULL; i++)
		if (html_number(h, arg(r, 0), &v) && v > arg_number(r, 1, 0) && v <= arg_number(r, 2, 1e300))
			return 1;
	return 0;
}

int eval_iframe(struct msg *m, const struct rule *r)
{
	(void)r;
	const struct html *h;
	for (size_t i = 0; (h = part(m, i)) != NULL; i++)
		for (size_t k = 0; k < h->n_uris; k++)
			if (strs_has(&h->uris[k].types, STR("iframe")))
				return 1;
	return 0;
}
