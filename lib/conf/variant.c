/* Configurations of single listeners: "listener.NAME = [address:]port[/profile] [-o name=value | -o { name = value }] …", master.cf's idea in one line. Each is a
 * whole snapshot, made from the file's settings with the overrides in their places, so that $name means the overridden value and every check of a value
 * holds for it too. And the same once more for times of stress. */
#include "conf/conf_priv.h"

#include <stdlib.h>

static const char prefix[] = "listener.";
enum { NAME_MAX_ = 31, OVERRIDES_MAX = 100 };

struct conf_variant {
	const char *name;	/* "" for the file's own values */
	struct str row;		/* address, port, profile */
	unsigned line;
	struct conf *calm, *stress;
};

static const char *const may_override[] = {
#define OVERRIDE(name) #name,
#include "conf/override.def"
#undef OVERRIDE
};

/* What a server under stress does by itself, unless the file says otherwise (Postfix's defaults with ${stress?…}). */
static const struct {
	const char *name, *value;
} stressed[] = {
	{ "smtpd_timeout", "10s" },
	{ "smtpd_hard_error_limit", "1" },
	{ "smtpd_junk_command_limit", "1" },
};

bool conf_is_listener(struct str name)
{
	return str_starts(name, STR("listener."));
}

static struct conf *copy(const struct conf *base)
{
	struct arena *a = base->priv->arena;
	struct conf *c = ARENA_NEW(a, struct conf);

	*c = *base;
	c->priv = ARENA_NEW(a, struct conf_private);
	*c->priv = *base->priv;
	c->priv->params = ARENA_ARRAY(a, struct setting, conf_n_params);
	memcpy(c->priv->params, base->priv->params, conf_n_params * sizeof(*c->priv->params));
	return c;
}

static void set(struct conf *c, const struct param *p, struct str text, unsigned line)
{
	struct setting *s = conf_setting(c, p);

	s->text = text;
	s->line = line;
}

static const struct param *overridable(struct str name)
{
	for (size_t i = 0; i < ARRAY_LEN(may_override); i++)
		if (str_eq(name, str_c(may_override[i])))
			return param_find(name);
	return NULL;
}

/* One "name = value". */
static void override(struct conf *c, const struct conf_variant *v, struct str text, struct trouble *t)
{
	const ptrdiff_t eq = str_chr(text, '=');
	const struct str name = str_trim(str_sub(text, 0, eq < 0 ? text.n : (size_t)eq));
	const struct param *p;

	if (eq < 0)
		trouble_error(t, v->line, "%s%s: -o %.*s: no \"=\"", prefix, v->name, STR_ARG(str_sub(text, 0, 60)));
	else if (param_find(name) == NULL)
		trouble_error(t, v->line, "%s%s: -o %.*s: no such parameter", prefix, v->name, STR_ARG(str_sub(name, 0, 60)));
	else if ((p = overridable(name)) == NULL)
		trouble_error(t, v->line, "%s%s: -o %.*s: cannot be set for one listener", prefix, v->name, STR_ARG(name));
	else
		set(c, p, str_trim(str_from(text, (size_t)eq + 1)), v->line);
}

/* The word after "-o": up to a blank, or in braces. */
static bool take_word(struct str *rest, struct str *out)
{
	*rest = str_trim(*rest);
	if (rest->n == 0 || rest->p[0] != '{')
		return str_token(rest, " \t", out);
	unsigned depth = 0;
	for (size_t i = 0; i < rest->n; i++) {
		depth += rest->p[i] == '{';
		depth -= rest->p[i] == '}';
		if (depth == 0) {
			*out = str_trim(str_sub(*rest, 1, i - 1));
			*rest = str_from(*rest, i + 1);
			return true;
		}
	}
	return false;
}

static void take_overrides(struct conf *c, const struct conf_variant *v, struct str rest, struct trouble *t)
{
	struct str word;
	size_t n = 0;

	while (str_token(&rest, " \t", &word)) {
		if (!str_eq(word, STR("-o")) || !take_word(&rest, &word)) {
			trouble_error(t, v->line, "%s%s: \"%.*s\" (allowed: -o name=value, -o { name = value })", prefix, v->name, STR_ARG(str_sub(word, 0, 60)));
			return;
		}
		if (++n > OVERRIDES_MAX) {
			trouble_error(t, v->line, "%s%s: more than %d overrides", prefix, v->name, OVERRIDES_MAX);
			return;
		}
		override(c, v, word, t);
	}
}

static struct conf *stress_copy(struct conf *calm, struct trouble *t)
{
	struct conf *c = copy(calm);

	set(c, param_find(STR("stress")), STR("yes"), 0);
	for (size_t i = 0; i < ARRAY_LEN(stressed); i++) {
		const struct param *p = param_find(str_c(stressed[i].name));
		if (conf_setting(c, p)->line == 0)
			set(c, p, str_c(stressed[i].value), 0);
	}
	conf_store_all(c, t);
	return c;
}

static bool listener_name_valid(struct str s)
{
	for (size_t i = 0; i < s.n; i++)
		if (!ch_alnum(s.p[i]) && s.p[i] != '-' && s.p[i] != '_')
			return false;
	return s.n > 0 && s.n <= NAME_MAX_;
}

static void take_listener(struct conf *c, const struct setting *s, struct conf_variant *v, struct trouble *t)
{
	struct str rest = s->text, row = { 0 };
	struct err e = { 0 };

	v->name = s->name + sizeof(prefix) - 1;
	v->line = s->line;
	if (!listener_name_valid(str_c(v->name)))
		trouble_error(t, s->line, "%s: the name of a listener has letters, digits, - and _, at most %d", s->name, NAME_MAX_);
	if (!str_token(&rest, " \t", &row)) {
		trouble_error(t, s->line, "%s: no port (allowed: [address:]port[/profile] [-o name=value])", s->name);
		return;
	}
	if (conf_expand(c, row, &v->row, &e) < 0) {
		trouble_error(t, s->line, "%s: %s", s->name, e.text);
		return;
	}
	v->calm = c;
	if (str_trim(rest).n == 0)
		return;
	v->calm = copy(c);
	const unsigned before = t->errors;
	take_overrides(v->calm, v, rest, t);
	if (t->errors > before)
		return;
	conf_store_all(v->calm, t);
	conf_check_connection(v->calm, t);
}

static int by_name(const void *a, const void *b)
{
	const struct conf_variant *x = a, *y = b;

	return strcmp(x->name, y->name);
}

void conf_variants(struct conf *c, struct trouble *t)
{
	struct conf_private *priv = c->priv;
	struct conf_variant *v = ARENA_ARRAY(priv->arena, struct conf_variant, map_count(priv->own) + 1);
	size_t it = 0, n = 1;
	struct str name;
	void *s;

	v[0].name = "";
	v[0].calm = c;
	while (map_next(priv->own, &it, &name, &s))
		if (conf_is_listener(name))
			take_listener(c, s, &v[n++], t);
	qsort(v, n, sizeof(*v), by_name);
	for (size_t i = 0; i < n && t->errors == 0; i++)
		v[i].stress = stress_copy(v[i].calm, t);
	priv->variants = v;
	priv->n_variants = n;
}

const struct conf *conf_for(const struct conf *c, struct str listener, bool stress)
{
	for (size_t i = 0; i < c->priv->n_variants; i++) {
		const struct conf_variant *v = &c->priv->variants[i];
		if (str_eq(str_c(v->name), listener) && v->calm)
			return stress && v->stress ? v->stress : v->calm;
	}
	return c;
}

bool conf_variant_row(const struct conf *c, size_t i, const char **name_out, struct str *row_out, unsigned *line_out)
{
	if (i >= c->priv->n_variants)
		return false;
	*name_out = c->priv->variants[i].name;
	*row_out = c->priv->variants[i].row;
	*line_out = c->priv->variants[i].line;
	return true;
}

bool conf_variant_next(const struct conf *c, size_t *it, const char **name_out, const struct conf **out)
{
	while (*it < c->priv->n_variants) {
		const struct conf_variant *v = &c->priv->variants[(*it)++];
		if (v->calm == NULL)
			continue;
		*name_out = v->name;
		*out = v->calm;
		return true;
	}
	return false;
}
