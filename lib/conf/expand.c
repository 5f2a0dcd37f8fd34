/* Expansion of $name in values. Bounded in depth and length, so that neither a circle nor a tower of references can hold the
 * start up. */
#include "conf/conf_priv.h"

struct work {
	const struct conf *c;
	struct buf out;
	unsigned
		steps; /* expansions done: bounds the work of a->b,b b->c,c … whose text stays short */
};
enum { STEPS_MAX = 10000 };

struct reference {
	struct str name;
	char test;	 /* '?' when set and not empty, ':' when empty, 0 plain */
	struct str text; /* what stands for it with a test */
	struct str other; /* ${name?{text}:{other}}: what stands for it without */
};

static bool name_char(char ch)
{
	return ch_alnum(ch) || ch == '_';
}

/* "{text}" at the start of *s, which advances; the braces are dropped. */
static bool braces(struct str *s, struct str *out)
{
	unsigned depth = 0;

	*s = str_trim(*s);
	for (size_t n = 0; n < s->n; n++) {
		depth += s->p[n] == '{';
		depth -= s->p[n] == '}';
		if (depth == 0 && n == 0)
			return false;
		if (depth == 0) {
			*out = str_sub(*s, 1, n - 1);
			*s = str_from(*s, n + 1);
			return true;
		}
	}
	return false;
}

/* The forms with braces: ${name?{text}}, ${name?{text}:{other}}, ${name:{text}}. */
static void unbrace(struct reference *r)
{
	struct str rest = r->text, text = { 0 }, other = { 0 };

	if (!braces(&rest, &text))
		return;
	rest = str_trim(rest);
	if (rest.n > 0 && rest.p[0] == ':' && r->test == '?') {
		rest = str_from(rest, 1);
		if (!braces(&rest, &other))
			return;
	}
	if (str_trim(rest).n > 0)
		return;
	r->text = text;
	r->other = other;
}

/* The reference after a '$' in *s, which advances past it. 0, or -1 when the bracket is not closed or the name is missing. */
static int reference_parse(struct str *s, struct reference *r)
{
	struct str in = *s, inner;
	size_t n = 0;
	char close = 0;

	*r = (struct reference){ 0 };
	if (in.n && (in.p[0] == '{' || in.p[0] == '('))
		close = in.p[0] == '{' ? '}' : ')';
	if (!close) {
		while (n < in.n && name_char(in.p[n]))
			n++;
		r->name = str_sub(in, 0, n);
		*s = str_from(in, n);
		return n ? 0 : -1;
	}
	for (unsigned depth = 0; n < in.n; n++) {
		depth += in.p[n] == in.p[0];
		depth -= in.p[n] == close;
		if (depth == 0)
			break;
	}
	if (n >= in.n)
		return -1;
	inner = str_sub(in, 1, n - 1);
	*s = str_from(in, n + 1);
	for (n = 0;
	     n < inner.n && (name_char(inner.p[n]) || inner.p[n] == '-' || inner.p[n] == '.');)
		n++;
	r->name = str_sub(inner, 0, n);
	if (n < inner.n) {
		r->test = inner.p[n];
		r->text = str_from(inner, n + 1);
		unbrace(r);
	}
	return r->name.n && (!r->test || r->test == '?' || r->test == ':') ? 0 : -1;
}

static const struct setting *setting_find(const struct conf *c, struct str name)
{
	const struct param *p = param_find(name);

	return p ? conf_setting(c, p) : map_get(c->priv->own, name);
}

static int expand(struct work *w, struct str text, unsigned depth, struct err *e);

static int expand_reference(struct work *w, const struct reference *r, unsigned depth,
			    struct err *e)
{
	const struct setting *s = setting_find(w->c, r->name);
	const struct str value = s ? s->text : (struct str){ 0 };

	if (!s && !r->test && !param_is_postfix(r->name))
		return err_set(e, ERR_CONF, 0, "$%.*s is not defined", STR_ARG(r->name));
	if (!r->test)
		return expand(w, value, depth + 1, e);
	if ((str_trim(value).n != 0) == (r->test == '?'))
		return expand(w, r->text, depth + 1, e);
	return expand(w, r->other, depth + 1, e);
}

static int expand(struct work *w, struct str text, unsigned depth, struct err *e)
{
	if (depth > CONF_DEPTH_MAX || ++w->steps > STEPS_MAX)
		return err_set(e, ERR_CONF, 0, "$ references go in a circle, or more than %d deep",
			       CONF_DEPTH_MAX);
	while (text.n) {
		const ptrdiff_t at = str_chr(text, '$');
		struct reference r;

		buf_str(&w->out, str_sub(text, 0, at < 0 ? text.n : (size_t)at));
		if (at < 0)
			break;
		text = str_from(text, (size_t)at + 1);
		if (text.n && text.p[0] == '$') {
			buf_ch(&w->out, '$');
			text = str_from(text, 1);
			continue;
		}
		if (reference_parse(&text, &r) < 0)
			return err_set(e, ERR_CONF, 0,
				       "bad $ reference (allowed: $name, ${name}, ${name?text}, "
				       "${name:text}, ${name?{text}:{other}}, $$)");
		if (expand_reference(w, &r, depth, e) < 0)
			return -1;
	}
	return buf_check(&w->out, "value", e);
}

int conf_expand(const struct conf *c, struct str text, struct str *out, struct err *e)
{
	struct work w = { .c = c };

	buf_init(&w.out, CONF_VALUE_MAX);
	const int r = expand(&w, text, 0, e);

	if (r == 0)
		*out = arena_str(c->priv->arena, str_trim(buf_view(&w.out)));
	buf_fini(&w.out);
	return r;
}

int conf_value(const struct conf *c, const struct param *p, struct str text, struct str *out,
	       struct err *e)
{
	if (p && (p->flags & PARAM_F_LATE)) {
		*out = str_trim(text);
		return 0;
	}
	return conf_expand(c, text, out, e);
}

static int late(struct str text, conf_late_fn *fn, void *ctx, unsigned depth, struct buf *out, struct err *e)
{
	struct reference r;

	for (ptrdiff_t at; (at = str_chr(text, '$')) >= 0;) {
		struct str value = { 0 };
		buf_str(out, str_sub(text, 0, (size_t)at));
		text = str_from(text, (size_t)at + 1);
		if (text.n && text.p[0] == '$') {
			buf_ch(out, '$');
			text = str_from(text, 1);
			continue;
		}
		if (depth > CONF_DEPTH_MAX || reference_parse(&text, &r) < 0)
			return err_set(e, ERR_CONF, 0, "bad $ reference");
		if (!fn(ctx, r.name, &value))
			return err_set(e, ERR_CONF, 0, "$%.*s is not known here", STR_ARG(r.name));
		if (!r.test)
			buf_str(out, value);
		else if (late((value.n != 0) == (r.test == '?') ? r.text : r.other, fn, ctx, depth + 1, out, e) < 0)
			return -1;
	}
	buf_str(out, text);
	return buf_check(out, "value", e);
}

int conf_late(struct str text, conf_late_fn *fn, void *ctx, struct buf *out, struct err *e)
{
	return late(text, fn, ctx, 0, out, e);
}

void conf_references(struct str text, void (*fn)(void *ctx, struct str name), void *ctx)
{
	for (ptrdiff_t at; (at = str_chr(text, '$')) >= 0;) {
		struct reference r;

		text = str_from(text, (size_t)at + 1);
		if (text.n && text.p[0] == '$')
			text = str_from(text, 1);
		else if (reference_parse(&text, &r) == 0) {
			fn(ctx, r.name);
			if (r.test)
				conf_references(r.text, fn, ctx);
			if (r.other.n)
				conf_references(r.other, fn, ctx);
		}
	}
}
