/* What each directive of a rule file does (directives.def). Handlers see the value trimmed; a mistake is their error text. */
#include <stdlib.h>

#include "spam/dnslists.h"

struct directive;
typedef int directive_fn(struct reader *r, const struct directive *d, struct str value, struct err *e);
struct directive {
	const char *word;
	directive_fn *run;	/* NULL: read, without a meaning */
	int arg;
};

static struct str word(struct str *rest)
{
	struct str w;
	return str_token(rest, " \t", &w) ? w : (struct str){ "", 0 };
}

static int d_rule(struct reader *r, const struct directive *d, struct str value, struct err *e)
{
	return rule_define(r, (enum rule_type)d->arg, value, e);
}

/* "urirhssub NAME zone type subtest" and its like. arg: 1 the addresses of name servers are listed, 2 with a subtest. */
static int d_uri_dns(struct reader *r, const struct directive *d, struct str value, struct err *e)
{
	struct str rest = value, name = word(&rest);
	if (rule_define(r, RULE_OFF, value, e) < 0)
		return -1;
	return uri_list_add(r->s, set_rule(r->s, name), rest, (d->arg & 1) != 0, (d->arg & 2) != 0, e);
}

/* arg 1: they are not skipped; without any, none is. */
static int d_dns_skip(struct reader *r, const struct directive *d, struct str value, struct err *e)
{
	(void)e;
	struct str rest = value;
	if (d->arg == 1 && value.n == 0) {
		map_free(&r->s->dns_skip);
		r->s->dns_skip = map_new();
	}
	for (struct str w = word(&rest); w.n > 0; w = word(&rest))
		map_set(r->s->dns_skip, str_lower_copy(r->s->a, w), d->arg == 1 ? NULL : (void *)1);
	return 0;
}

static int parse_double(struct str text, double *out)
{
	char copy[40], *end;
	if (text.n == 0 || text.n >= sizeof(copy))
		return -1;
	for (size_t i = 0; i < text.n; i++)
		if (!ch_digit(text.p[i]) && text.p[i] != '.' && !(i == 0 && (text.p[i] == '-' || text.p[i] == '+')))
			return -1;
	memcpy(copy, text.p, text.n);
	copy[text.n] = '\0';
	*out = strtod(copy, &end);
	return *end == '\0' ? 0 : -1;
}

/* "score NAME x", "score NAME a b c d", "(x)": added to what it was. */
static int d_score(struct reader *r, const struct directive *d, struct str value, struct err *e)
{
	(void)d;
	struct str rest = value, name = word(&rest);
	double v[4];
	size_t n = 0;
	bool relative = false;
	for (struct str w = word(&rest); w.n > 0; w = word(&rest)) {
		if (w.n > 2 && w.p[0] == '(' && w.p[w.n - 1] == ')') {
			relative = true;
			w = str_sub(w, 1, w.n - 2);
		}
		if (n == 4 || parse_double(w, &v[n]) < 0)
			return err_set(e, ERR_CONF, 0, "score %.*s: '%.*s' is no number, or the fifth", STR_ARG(name), STR_ARG(w));
		n++;
	}
	if (n != 1 && n != 4)
		return err_set(e, ERR_CONF, 0, "score %.*s: one or four numbers are needed", STR_ARG(name));
	struct rule *rule = set_rule(r->s, name);
	if (rule == NULL)
		return err_set(e, ERR_CONF, 0, "'%.*s' is no name of a rule", STR_ARG(name));
	if (relative && !rule->scored)
		return err_set(e, ERR_CONF, 0, "score %.*s: there is nothing to add to", STR_ARG(name));
	for (size_t i = 0; i < 4; i++)
		rule->scores[i] = v[n == 4 ? i : 0] + (relative ? rule->scores[i] : 0);
	rule->scored = true;
	return 0;
}

static int d_describe(struct reader *r, const struct directive *d, struct str value, struct err *e)
{
	(void)d;
	struct str rest = value, name = word(&rest);
	struct rule *rule = set_rule(r->s, name);
	if (rule == NULL)
		return err_set(e, ERR_CONF, 0, "'%.*s' is no name of a rule", STR_ARG(name));
	rule->describe = str_trim(rest);
	return 0;
}

static void tflag_word(struct rule *rule, struct str w)
{
	static const char *const words[] = {
#define TFLAG(name, word, doc) word,
#include "spam/tflags.def"
#undef TFLAG
	};
	for (size_t i = 0; i < ARRAY_LEN(words); i++)
		if (str_eq(w, str_c(words[i])))
			rule->tflags |= 1u << i;
	double n;
	if (str_starts(w, STR("maxhits=")) && parse_double(str_from(w, 8), &n) == 0 && n >= 0 && n < 1e6)
		rule->maxhits = (unsigned)n;
}

static int d_tflags(struct reader *r, const struct directive *d, struct str value, struct err *e)
{
	(void)d;
	struct str rest = value, name = word(&rest);
	struct rule *rule = set_rule(r->s, name);
	if (rule == NULL)
		return err_set(e, ERR_CONF, 0, "'%.*s' is no name of a rule", STR_ARG(name));
	rule->tflags = 0;
	rule->maxhits = 0;
	for (struct str w = word(&rest); w.n > 0; w = word(&rest))
		tflag_word(rule, w);
	return 0;
}

static int d_plugin(struct reader *r, const struct directive *d, struct str value, struct err *e)
{
	(void)d;
	struct str rest = value, full = word(&rest);
	ptrdiff_t colon = str_rchr(full, ':');
	struct str name = colon < 0 ? full : str_from(full, (size_t)colon + 1);
	if (name.n == 0)
		return err_set(e, ERR_CONF, 0, "no plugin is named");
	map_set(r->s->plugins, name, (void *)1);
	if (!plugin_has(r->s, full))
		return err_set(e, ERR_CONF, 0, "the plugin %.*s is not available: what asks for it is skipped", STR_ARG(full));
	return 0;
}

static int d_compat(struct reader *r, const struct directive *d, struct str value, struct err *e)
{
	(void)d;
	(void)e;
	map_set(r->s->plugins, str_c(arena_printf(r->s->a, "compat_%.*s", STR_ARG(value))), (void *)1);
	return 0;
}

/* --- templates (tags.c) --- */

static int d_replace_rules(struct reader *r, const struct directive *d, struct str value, struct err *e)
{
	(void)d;
	for (struct str rest = value, w = word(&rest); w.n > 0; w = word(&rest)) {
		struct rule *rule = set_rule(r->s, w);
		if (rule == NULL)
			return err_set(e, ERR_CONF, 0, "'%.*s' is no name of a rule", STR_ARG(w));
		rule->replace = true;
	}
	return 0;
}

static int d_replace(struct reader *r, const struct directive *d, struct str value, struct err *e)
{
	struct tags *t = &r->s->tags;
	struct map *maps[] = { t->tag, t->pre, t->inter, t->post };
	struct str rest = value, name = word(&rest);
	rest = str_trim(rest);
	if (rest.n == 0)
		return err_set(e, ERR_CONF, 0, "%s %.*s: the text is missing", d->word, STR_ARG(name));
	struct str *text = ARENA_NEW(r->s->a, struct str);
	*text = rest;
	map_set(maps[d->arg], name, text);
	return 0;
}

static int d_replace_mark(struct reader *r, const struct directive *d, struct str value, struct err *e)
{
	if (value.n == 0)
		return err_set(e, ERR_CONF, 0, "%s: the mark is missing", d->word);
	*(d->arg == 0 ? &r->s->tags.start : &r->s->tags.end) = value;
	return 0;
}

/* --- lists --- */

static int d_list(struct reader *r, const struct directive *d, struct str value, struct err *e)
{
	struct globs *g = set_list(r->s, str_c(d->word));
	if (value.n == 0)
		return err_set(e, ERR_CONF, 0, "%s: no address", d->word);
	for (struct str rest = value, w = word(&rest); w.n > 0; w = word(&rest))
		globs_add(r->s->a, g, w);
	return 0;
}

static int d_subject_list(struct reader *r, const struct directive *d, struct str value, struct err *e)
{
	if (value.n == 0)
		return err_set(e, ERR_CONF, 0, "%s: no text", d->word);
	globs_add(r->s->a, set_list(r->s, str_c(d->word)), str_c(arena_printf(r->s->a, "*%.*s*", STR_ARG(value))));
	return 0;
}

static int d_unlist(struct reader *r, const struct directive *d, struct str value, struct err *e)
{
	(void)e;
	struct globs *g = set_list(r->s, str_c(d->word + d->arg));
	for (struct str rest = value, w = word(&rest); w.n > 0; w = word(&rest))
		globs_remove(g, w);
	return 0;
}

static int d_pair(struct reader *r, const struct directive *d, struct str value, struct err *e)
{
	struct str rest = value, glob = word(&rest), domain = word(&rest);
	if (glob.n == 0 || (d->arg == 2 && domain.n == 0))
		return err_set(e, ERR_CONF, 0, "%s: an address pattern and a domain are needed", d->word);
	struct globs *g = set_list(r->s, str_c(d->word));
	struct rcvd_pair *p = ARENA_NEW(r->s->a, struct rcvd_pair);
	*p = (struct rcvd_pair){ str_lower_copy(r->s->a, glob), str_lower_copy(r->s->a, domain), g->pairs };
	g->pairs = p;
	return 0;
}

/* "(NAME) …" */
static int list_name(struct str *rest, struct str *name, struct err *e)
{
	struct str w = word(rest);
	if (w.n < 3 || w.p[0] != '(' || w.p[w.n - 1] != ')')
		return err_set(e, ERR_CONF, 0, "a list is named in parentheses, as (NAME)");
	*name = str_sub(w, 1, w.n - 2);
	return 0;
}

static int d_enlist(struct reader *r, const struct directive *d, struct str value, struct err *e)
{
	(void)d;
	struct str rest = value, name;
	if (list_name(&rest, &name, e) < 0)
		return -1;
	struct globs *g = set_list(r->s, name);
	for (struct str w = word(&rest); w.n > 0; w = word(&rest))
		globs_add(r->s->a, g, w);
	return 0;
}

static void uri_host(struct set *s, struct str list, struct str w, bool add)
{
	struct map *m = map_get(s->uri_lists, list);
	if (m == NULL) {
		m = map_new();
		map_set(s->uri_lists, list, m);
	}
	void *mark = (void *)1;
	if (w.n > 0 && w.p[0] == '!') {
		mark = (void *)2;
		w = str_from(w, 1);
	}
	struct str host = str_lower_copy(s->a, w);
	if (add)
		map_set(m, host, mark);
	else
		map_del(m, host);
}

static int d_uri_list(struct reader *r, const struct directive *d, struct str value, struct err *e)
{
	struct str rest = value, name;
	if (list_name(&rest, &name, e) < 0)
		return -1;
	for (struct str w = word(&rest); w.n > 0; w = word(&rest))
		uri_host(r->s, name, w, d->arg == 0);
	return 0;
}

static int d_uri_named(struct reader *r, const struct directive *d, struct str value, struct err *e)
{
	(void)e;
	for (struct str rest = value, w = word(&rest); w.n > 0; w = word(&rest))
		uri_host(r->s, d->arg == 0 ? STR("WELCOME") : STR("BLOCK"), w, true);
	return 0;
}

/* --- networks, headers, domains --- */

static struct nets *nets_of(struct set *s, int which)
{
	return which == 0 ? &s->trusted : which == 1 ? &s->internal : &s->msa;
}

static int d_nets(struct reader *r, const struct directive *d, struct str value, struct err *e)
{
	struct nets *n = nets_of(r->s, d->arg);
	for (struct str rest = value, w = word(&rest); w.n > 0; w = word(&rest))
		if (nets_add(r->s->a, n, w, e) < 0)
			return -1;
	n->configured = true;
	return 0;
}

static int d_clear_nets(struct reader *r, const struct directive *d, struct str value, struct err *e)
{
	(void)value;
	(void)e;
	struct nets *n = nets_of(r->s, d->arg);
	n->n = 0;
	n->configured = false;
	return 0;
}

static void add_names(struct set *s, struct names **list, struct str value)
{
	while (*list != NULL)
		list = &(*list)->next;
	for (struct str rest = value, w = word(&rest); w.n > 0; w = word(&rest)) {
		*list = ARENA_NEW(s->a, struct names);
		(*list)->v = w;
		list = &(*list)->next;
	}
}

static int d_originating(struct reader *r, const struct directive *d, struct str value, struct err *e)
{
	(void)e;
	if (d->arg == 1)
		r->s->originating = NULL;
	else
		add_names(r->s, &r->s->originating, value);
	return 0;
}

static int d_bayes_ignore(struct reader *r, const struct directive *d, struct str value, struct err *e)
{
	(void)d;
	(void)e;
	add_names(r->s, &r->s->bayes_ignore, value);
	return 0;
}

static int d_envelope(struct reader *r, const struct directive *d, struct str value, struct err *e)
{
	(void)d;
	(void)e;
	r->s->envelope_header = value;
	return 0;
}

static int d_rewrite(struct reader *r, const struct directive *d, struct str value, struct err *e)
{
	(void)d;
	struct str rest = value, field = word(&rest);
	if (!str_case_eq(field, STR("subject")) && !str_case_eq(field, STR("from")) && !str_case_eq(field, STR("to")))
		return err_set(e, ERR_CONF, 0, "rewrite_header knows Subject, From and To");
	if (str_case_eq(field, STR("subject")))
		r->s->subject_tag = str_trim(rest);
	return 0;
}

static int d_locales(struct reader *r, const struct directive *d, struct str value, struct err *e)
{
	(void)d;
	(void)e;
	r->s->ok_locales = value;
	return 0;
}

static int d_redirector(struct reader *r, const struct directive *d, struct str value, struct err *e)
{
	(void)d;
	struct redirector *n = ARENA_NEW(r->s->a, struct redirector);
	if (pattern_parse(value, &n->p, e) < 0 || pattern_compile(r->s, &n->p, e) < 0)
		return -1;
	*r->s->redirectors_tail = n;
	r->s->redirectors_tail = &n->next;
	return 0;
}

static int d_tld(struct reader *r, const struct directive *d, struct str value, struct err *e)
{
	(void)e;
	struct map *maps[] = { r->s->tlds, r->s->tlds2, r->s->tlds3 };
	for (struct str rest = value, w = word(&rest); w.n > 0; w = word(&rest))
		map_set(maps[d->arg], str_lower_copy(r->s->a, w), (void *)1);
	return 0;
}

static int d_clear_tld(struct reader *r, const struct directive *d, struct str value, struct err *e)
{
	(void)d;
	(void)value;
	(void)e;
	struct map **maps[] = { &r->s->tlds, &r->s->tlds2, &r->s->tlds3 };
	for (size_t i = 0; i < ARRAY_LEN(maps); i++) {
		map_free(maps[i]);
		*maps[i] = map_new();
	}
	return 0;
}

static int d_freemail(struct reader *r, const struct directive *d, struct str value, struct err *e)
{
	(void)e;
	struct set *s = r->s;
	for (struct str rest = value, w = word(&rest); w.n > 0; w = word(&rest)) {
		struct str lower = str_lower_copy(s->a, w);
		if (d->arg == 1)
			map_set(s->freemail_welcome, lower, (void *)1);
		else if (str_chr(lower, '*') >= 0 || str_chr(lower, '?') >= 0)
			globs_add(s->a, &s->freemail_wild, lower);
		else
			map_set(s->freemail, lower, (void *)1);
	}
	return 0;
}

/* --- the table --- */

static const struct directive directives[] = {
#define DIRECTIVE(word, fn, arg) { word, fn, arg },
#include "spam/directives.def"
#undef DIRECTIVE
};

static int number(struct set *s, struct str key, struct str value, bool *known, struct err *e)
{
	static const char *const names[] = {
#define NUM(name, directive, value, doc) directive,
#include "spam/numbers.def"
#undef NUM
	};
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		if (!str_eq(key, str_c(names[i])))
			continue;
		*known = true;
		double v;
		if (str_case_eq(value, STR("yes")))
			v = 1;
		else if (str_case_eq(value, STR("no")))
			v = 0;
		else if (parse_double(value, &v) < 0)
			return err_set(e, ERR_CONF, 0, "%s: '%.*s' is no number", names[i], STR_ARG(value));
		s->num[i] = v;
		return 0;
	}
	return 0;
}

/* Lower case, '_' for '-', the new words for the old ones. */
static struct str canonical(struct arena *a, struct str key)
{
	struct buf b;
	buf_init(&b, 4096);
	for (size_t i = 0; i < key.n && i < 100; i++) {
		if (str_case_starts(str_from(key, i), STR("whitelist")) || str_case_starts(str_from(key, i), STR("blacklist"))) {
			buf_c(&b, ch_lower(key.p[i]) == 'w' ? "welcomelist" : "blocklist");
			i += 8;
		} else {
			buf_ch(&b, key.p[i] == '-' ? '_' : ch_lower(key.p[i]));
		}
	}
	struct str out = arena_str(a, buf_view(&b));
	buf_fini(&b);
	return out;
}

int directive_run(struct reader *r, struct str word_, struct str value, struct err *e)
{
	struct str key = canonical(r->s->a, word_);
	for (size_t i = 0; i < ARRAY_LEN(directives); i++)
		if (str_eq(key, str_c(directives[i].word)))
			return directives[i].run == NULL ? 0 : directives[i].run(r, &directives[i], value, e);
	bool known = false;
	if (number(r->s, key, value, &known, e) < 0)
		return -1;
	if (known || str_starts(key, STR("bayes_stopword_")) || str_starts(key, STR("pdf_")))
		return 0;
	return err_set(e, ERR_CONF, 0, "unknown directive '%.*s'", STR_ARG(word_));
}
