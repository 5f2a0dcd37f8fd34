/* From text to the typed field, with the range check; and the words that name what is allowed. */
#include "conf/conf_priv.h"

#include "base/num.h"

struct suffix {
	char letter;
	uint64_t factor;
};
static const struct suffix size_suffixes[] = {
	{ 'k', 1024 }, { 'm', 1024 * 1024 }, { 'g', 1024 * 1024 * 1024 }, { 0, 1 }
};
static const struct suffix time_suffixes[] = { { 's', 1 },     { 'm', 60 },	{ 'h', 3600 },
					       { 'd', 86400 }, { 'w', 604800 }, { 0, 1 } };

/* A bare number has the unit of the row's default, as in Postfix: days for maximal_queue_lifetime. */
static const struct suffix *default_unit(const struct param *p)
{
	const struct suffix *u = time_suffixes;
	const size_t n = strlen(p->def);

	while (u->letter && (n == 0 || u->letter != p->def[n - 1]))
		u++;
	return u;
}

static int number(struct str text, const struct suffix *suffixes, uint64_t bare, uint64_t *out)
{
	uint64_t v, factor = bare;

	if (suffixes && text.n > 1 && !ch_digit(text.p[text.n - 1])) {
		const char letter = ch_lower(text.p[text.n - 1]);

		while (suffixes->letter && suffixes->letter != letter)
			suffixes++;
		if (!suffixes->letter)
			return -1;
		factor = suffixes->factor;
		text = str_sub(text, 0, text.n - 1);
	}
	if (num_parse(text, 0, UINT64_MAX, &v) < 0 || num_mul(v, factor, &v))
		return -1;
	*out = v;
	return 0;
}

/* In the largest unit that needs no fraction. */
static void put_time(uint64_t s, struct buf *out)
{
	static const struct suffix *const large_first[] = { &time_suffixes[3], &time_suffixes[2], &time_suffixes[1], &time_suffixes[0] };
	size_t i = 0;

	while (i + 1 < ARRAY_LEN(large_first) && (s == 0 || s % large_first[i]->factor != 0))
		i++;
	buf_printf(out, "%llu%c", (unsigned long long)(s / large_first[i]->factor), large_first[i]->letter);
}

static void times_allowed(const struct param *p, struct buf *out)
{
	const char unit = default_unit(p)->letter;

	put_time(p->min, out);
	buf_c(out, " to ");
	put_time(p->max, out);
	buf_printf(out, "; suffixes s m h d w; a bare number is %s", unit == 'd' ? "days" : unit == 'h' ? "hours" : "seconds");
}

void param_allowed(const struct param *p, struct buf *out)
{
	switch (p->type) {
	case PARAM_T_BOOL:
		buf_c(out, "yes, no");
		break;
	case PARAM_T_NUM:
	case PARAM_T_SIZE:
		buf_printf(out, "%llu to %llu%s", (unsigned long long)p->min, (unsigned long long)p->max, p->type == PARAM_T_SIZE ? " bytes; suffixes k m g" : "");
		break;
	case PARAM_T_SECS:
		times_allowed(p, out);
		break;
	case PARAM_T_ENUM:
		for (struct str rest = str_c(p->values), word; str_token(&rest, " ", &word);) {
			buf_c(out, out->n ? ", " : "");
			buf_str(out, word);
		}
		if (p->values[0] == ' ')
			buf_c(out, ", or empty");
		break;
	default:
		buf_c(out, "text");
	}
}

static int refuse(const struct param *p, struct str text, struct err *e)
{
	struct buf b;

	buf_init(&b, 512);
	param_allowed(p, &b);
	err_set(e, ERR_CONF, 0, "\"%.*s\" (allowed: %s)", STR_ARG(str_sub(text, 0, 60)), b.p);
	buf_fini(&b);
	return -1;
}

/* The next word of a list; what stands in braces is not split: inline:{a=b, c=d}. */
static bool list_token(struct str *rest, struct str *word)
{
	static const char seps[] = ", \t\r\n";
	unsigned depth = 0;
	size_t from = 0, n = 0;

	while (from < rest->n && memchr(seps, rest->p[from], sizeof(seps) - 1))
		from++;
	const struct str s = str_from(*rest, from);

	for (; n < s.n && (depth || !memchr(seps, s.p[n], sizeof(seps) - 1)); n++) {
		if (s.p[n] == '{')
			depth++;
		else if (s.p[n] == '}' && depth)
			depth--;
	}
	*word = str_sub(s, 0, n);
	*rest = str_from(s, n);
	return n > 0;
}

static int store_list(struct conf *c, struct str text, struct conf_list *out, struct err *e)
{
	struct arena *a = c->priv->arena;
	struct str rest = text, word;
	size_t n = 0;

	while (list_token(&rest, &word))
		n++;
	const char **v = ARENA_ARRAY(a, const char *, n ? n : 1);

	rest = text;
	for (size_t i = 0; i < n && list_token(&rest, &word); i++)
		v[i] = arena_cstr(a, word);
	*out = (struct conf_list){ v, n };
	return 0;
}

static int store_number(void *field, const struct param *p, struct str text, struct err *e)
{
	const struct suffix *suffixes = p->type == PARAM_T_SIZE	  ? size_suffixes
					: p->type == PARAM_T_SECS ? time_suffixes
								  : NULL;
	const uint64_t bare = p->type == PARAM_T_SECS ? default_unit(p)->factor : 1;
	uint64_t v;

	if (number(text, suffixes, bare, &v) < 0 || v < p->min || v > p->max)
		return refuse(p, text, e);
	*(uint64_t *)field = v;
	return 0;
}

static int store_enum(struct conf *c, void *field, const struct param *p, struct str text,
		      struct err *e)
{
	struct str rest = str_c(p->values), word;
	bool known = text.n == 0 && p->values[0] == ' ';

	while (!known && str_token(&rest, " ", &word))
		known = str_case_eq(word, text);
	if (!known)
		return refuse(p, text, e);
	char *copy = arena_cstr(c->priv->arena, text);

	for (char *s = copy; *s; s++)
		*s = ch_lower(*s);
	*(const char **)field = copy;
	return 0;
}

int conf_store(struct conf *c, const struct param *p, struct str text, struct err *e)
{
	void *field = (char *)c + p->offset;

	switch (p->type) {
	case PARAM_T_TEXT:
		*(const char **)field = arena_cstr(c->priv->arena, text);
		return 0;
	case PARAM_T_BOOL:
		if (!str_case_eq(text, STR("yes")) && !str_case_eq(text, STR("no")))
			return refuse(p, text, e);
		*(bool *)field = str_case_eq(text, STR("yes"));
		return 0;
	case PARAM_T_NUM:
	case PARAM_T_SIZE:
	case PARAM_T_SECS:
		return store_number(field, p, text, e);
	case PARAM_T_LIST:
		return store_list(c, text, field, e);
	case PARAM_T_ENUM:
		return store_enum(c, field, p, text, e);
	default:
		return err_set(e, ERR_BUG, 0, "%s is no parameter", p->name);
	}
}
