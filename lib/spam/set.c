/* The set of rules while it is read: names, header specifications, lists (set.h). */
#include "spam/gate.h"
#include "spam/set.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

static const struct { const char *directive; double value; } numbers[] = {
#define NUM(name, directive, value, doc) { directive, value },
#include "spam/numbers.def"
#undef NUM
};

struct set *set_new(const struct spam_options *opt, spam_say_fn *say, void *ctx)
{
	struct arena *a = arena_new(0);
	struct set *s = ARENA_NEW(a, struct set);
	s->a = a;
	s->opt = opt;
	s->say = say;
	s->say_ctx = ctx;
	s->by_name = map_new();
	s->head_by_key = map_new();
	s->lists = map_new();
	s->uri_lists = map_new();
	s->plugins = map_new();
	s->freemail = map_new();
	s->freemail_welcome = map_new();
	s->tlds = map_new();
	s->tlds2 = map_new();
	s->tlds3 = map_new();
	s->captures = map_new();
	s->dns_skip = map_new();
	s->tags = (struct tags){ map_new(), map_new(), map_new(), map_new(), STR("<"), STR(">") };
	s->redirectors_tail = &s->redirectors;
	s->ok_locales = STR("all");
	for (size_t i = 0; i < SPAM_NUM_MAX_; i++)
		s->num[i] = numbers[i].value;
	return s;
}

static void free_lists(struct map *lists)
{
	size_t at = 0;
	struct str key;
	void *value;
	while (map_next(lists, &at, &key, &value)) {
		struct globs *g = value;
		map_free(&g->exact);
		free(g->wild);
	}
}

static void free_patterns(struct rule *r)
{
	pcre_free(&r->pattern.code);
	pcre_free(&r->arg_pattern.code);
	for (struct detail_test *d = r->detail; d != NULL; d = d->next)
		pcre_free(&d->p.code);
}

void set_free(struct set **sp)
{
	struct set *s = *sp;
	if (s == NULL)
		return;
	for (size_t i = 0; i < s->n; i++)
		free_patterns(s->rules[i]);
	gates_free(&s->gates);
	for (struct redirector *d = s->redirectors; d != NULL; d = d->next)
		pcre_free(&d->p.code);
	free_lists(s->lists);
	free(s->freemail_wild.wild);
	map_free(&s->freemail_wild.exact);
	size_t at = 0;
	struct str key;
	void *value;
	while (map_next(s->uri_lists, &at, &key, &value)) {
		struct map *m = value;
		map_free(&m);
	}
	struct map **maps[] = { &s->by_name, &s->head_by_key, &s->lists, &s->uri_lists, &s->plugins, &s->freemail, &s->freemail_welcome, &s->tlds,
				&s->tlds2, &s->tlds3, &s->captures, &s->dns_skip, &s->tags.tag, &s->tags.pre, &s->tags.inter, &s->tags.post };
	for (size_t i = 0; i < ARRAY_LEN(maps); i++)
		map_free(maps[i]);
	free(s->rules);
	free(s->heads);
	free(s->trusted.v);
	free(s->internal.v);
	free(s->msa.v);
	struct arena *a = s->a;
	arena_free(&a);
	*sp = NULL;
}

bool set_name_ok(struct str name)
{
	if (name.n == 0 || name.n > SPAM_NAME_MAX || ch_digit(name.p[0]))
		return false;
	for (size_t i = 0; i < name.n; i++)
		if (!ch_alnum(name.p[i]) && name.p[i] != '_')
			return false;
	return true;
}

struct rule *set_find(const struct set *s, struct str name)
{
	return map_get(s->by_name, name);
}

struct rule *set_rule(struct set *s, struct str name)
{
	struct rule *r = set_find(s, name);
	if (r != NULL || !set_name_ok(name) || s->n >= SPAM_RULES_MAX)
		return r;
	if (s->n == s->cap) {
		s->cap = s->cap == 0 ? 1024 : s->cap * 2;
		s->rules = xrealloc(s->rules, s->cap * sizeof(*s->rules));
	}
	r = ARENA_NEW(s->a, struct rule);
	r->name = arena_str(s->a, name);
	r->index = (unsigned)s->n;
	s->rules[s->n++] = r;
	map_set(s->by_name, r->name, r);
	return r;
}

struct str str_lower_copy(struct arena *a, struct str s)
{
	char *p = arena_alloc(a, s.n + 1);
	for (size_t i = 0; i < s.n; i++)
		p[i] = ch_lower(s.p[i]);
	return str_n(p, s.n);
}

static int head_modifier(struct head_spec *h, struct str word, struct err *e)
{
	const struct { const char *word; bool *to; } known[] = {
		{ "raw", &h->raw }, { "addr", &h->addr }, { "name", &h->name }, { "host", &h->host }, { "domain", &h->domain },
		{ "ip", &h->ip }, { "revip", &h->revip }, { "first", &h->first }, { "last", &h->last },
	};
	if (word.n == 0)
		return 0;
	for (size_t i = 0; i < ARRAY_LEN(known); i++) {
		if (str_case_eq(word, str_c(known[i].word))) {
			*known[i].to = true;
			return 0;
		}
	}
	return err_set(e, ERR_CONF, 0, "unknown header modifier :%.*s", STR_ARG(word));
}

/* ALL… and MESSAGEID are other things in lower case. */
int head_spec_parse(struct arena *a, struct str text, struct head_spec *out, struct err *e)
{
	struct str rest = text, field = str_split(&rest, ':');
	bool as_is = str_eq(field, STR("MESSAGEID")) || str_starts(field, STR("ALL"));
	*out = (struct head_spec){ .key = as_is ? arena_str(a, text) : str_lower_copy(a, text), .field = arena_str(a, field) };
	while (rest.p != NULL)
		if (head_modifier(out, str_split(&rest, ':'), e) < 0)
			return -1;
	return 0;
}

const struct head_spec *set_head(struct set *s, struct str text, struct err *e)
{
	struct head_spec new;
	if (head_spec_parse(s->a, text, &new, e) < 0)
		return NULL;
	struct head_spec *h = map_get(s->head_by_key, new.key);
	if (h != NULL)
		return h;
	h = ARENA_NEW(s->a, struct head_spec);
	*h = new;
	if (s->n_heads == s->cap_heads) {
		s->cap_heads = s->cap_heads == 0 ? 64 : s->cap_heads * 2;
		s->heads = xrealloc(s->heads, s->cap_heads * sizeof(*s->heads));
	}
	h->index = (unsigned)s->n_heads;
	s->heads[s->n_heads++] = h;
	map_set(s->head_by_key, h->key, h);
	return h;
}

struct globs *set_list(struct set *s, struct str name)
{
	struct globs *g = map_get(s->lists, name);
	if (g == NULL) {
		g = ARENA_NEW(s->a, struct globs);
		g->exact = map_new();
		map_set(s->lists, name, g);
	}
	return g;
}

const struct globs *set_list_find(const struct set *s, struct str name)
{
	return map_get(s->lists, name);
}

void set_say(struct set *s, const char *file, unsigned line, const char *fmt, ...)
{
	char text[600];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	s->n_said++;
	if (s->say != NULL)
		s->say(s->say_ctx, file, line, text);
}

bool set_learns(const struct set *s)
{
	return s->num[SPAM_NUM_BAYES_AUTO_LEARN] > 0 && s->num[SPAM_NUM_USE_BAYES] > 0;
}
