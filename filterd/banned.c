/* Forbidden attachments: lists of rules and their sections. Semantics are amavisd-new's banned_filename_re: of the keys of a part and of all parts around it,
 * the first rule that matches any key decides. */
#include "banned.h"

#include <stdlib.h>

#include "addrlist.h"
#include "base/arena.h"
#include "base/buf.h"
#include "map/pcre.h"
#include "os/os.h"

enum { FILE_MAX = 1 << 20 };

struct rule {
	bool reject;
	enum banned_key kind;
	struct pcre *pattern;
	unsigned line, scope;
};

/* A section: "[to a b]", "[from a b]", "[own]", "[outside]". Number 0 is for all. */
struct scope {
	enum { SCOPE_ALL, SCOPE_TO, SCOPE_FROM, SCOPE_OWN, SCOPE_OUTSIDE } kind;
	struct addrlist *addresses;
};

struct banned {
	struct rule *rules;
	size_t n;
	struct scope *scopes;
	unsigned n_scopes;
};

static int scope_parse(struct str line, struct banned *b, struct err *e)
{
	static const char *const words[] = { [SCOPE_ALL] = "all", [SCOPE_TO] = "to", [SCOPE_FROM] = "from", [SCOPE_OWN] = "own", [SCOPE_OUTSIDE] = "outside" };
	struct str word, key, rest = str_sub(line, 1, line.n - 2);
	unsigned kind = 0;
	if (line.p[line.n - 1] != ']' || !str_token(&rest, " \t", &word))
		return err_set(e, ERR_CONF, 0, "a section is [to ADDRESS...], [from ADDRESS...], [own], [outside] or [all]");
	while (kind < ARRAY_LEN(words) && !str_eq(word, str_c(words[kind])))
		kind++;
	if (kind == ARRAY_LEN(words))
		return err_set(e, ERR_CONF, 0, "no section is called %.*s", STR_ARG(word));
	if (b->n_scopes == BANNED_SCOPES_MAX)
		return err_set(e, ERR_CONF, 0, "more than %d sections", BANNED_SCOPES_MAX);
	b->scopes = xrealloc(b->scopes, (b->n_scopes + 1) * sizeof(*b->scopes));
	struct scope *s = &b->scopes[b->n_scopes++];
	s->kind = kind;
	const bool named = kind == SCOPE_TO || kind == SCOPE_FROM;
	s->addresses = named ? addrlist_new() : NULL;
	size_t n = 0;
	for (; str_token(&rest, " \t,", &key); n++)
		if (!named || addrlist_add(s->addresses, key, 0, e) < 0)
			return named ? -1 : err_set(e, ERR_CONF, 0, "[%s] takes no addresses", words[kind]);
	if (named)
		addrlist_ready(s->addresses);
	return named && n == 0 ? err_set(e, ERR_CONF, 0, "[%s] without an address", words[kind]) : 0;
}

static int rule_parse(struct str line, unsigned number, struct banned *b, struct err *e)
{
	struct str word, rest = line;
	if (!str_token(&rest, " \t", &word))
		return err_set(e, ERR_CONF, 0, "empty rule");
	struct rule r = { .line = number, .scope = b->n_scopes - 1, .reject = str_eq(word, STR("reject")) };
	if (!r.reject && !str_eq(word, STR("allow")))
		return err_set(e, ERR_CONF, 0, "a rule begins with reject or allow");
	rest = str_trim(rest);
	if (str_starts(rest, STR("type:"))) {
		r.kind = BANNED_TYPE;
		rest = str_from(rest, 5);
	} else if (str_starts(rest, STR("class:"))) {
		r.kind = BANNED_CLASS;
		rest = str_from(rest, 6);
	}
	if (b->n == BANNED_RULES_MAX)
		return err_set(e, ERR_CONF, 0, "more than %d rules", BANNED_RULES_MAX);
	if (pcre_parse(rest, false, &r.pattern, &rest, e) < 0)
		return -1;
	b->rules = xrealloc(b->rules, (b->n + 1) * sizeof(*b->rules));
	b->rules[b->n++] = r;
	if (str_trim(rest).n > 0)
		return err_set(e, ERR_CONF, 0, "text after the pattern");
	return 0;
}

struct banned *banned_new(void)
{
	struct banned *b = xzalloc(sizeof(*b));
	b->scopes = xzalloc(sizeof(*b->scopes));
	b->n_scopes = 1;
	return b;
}

int banned_add(struct banned *b, struct str line, unsigned number, bool own, struct err *e)
{
	if (line.n <= 1 || line.p[0] != '[')
		return rule_parse(line, number, b, e);
	if (scope_parse(line, b, e) < 0)
		return -1;
	if (own && b->scopes[b->n_scopes - 1].kind == SCOPE_TO)
		return err_set(e, ERR_CONF, 0, "no [to] here: these rules are for the recipients of their section");
	return 0;
}

int banned_load(const char *file, struct banned **out, struct err *e)
{
	struct buf text;
	buf_init(&text, FILE_MAX);
	if (file_read(file, FILE_MAX, &text, e) < 0) {
		buf_fini(&text);
		return err_wrap(e, "filter_banned_names");
	}
	struct banned *b = banned_new();
	struct str rest = buf_view(&text);
	int r = 0;
	for (unsigned number = 1; rest.p != NULL && r == 0; number++) {
		struct str line = str_trim(str_split(&rest, '\n'));
		if (line.n == 0 || line.p[0] == '#')
			continue;
		r = banned_add(b, line, number, false, e);
		if (r < 0)
			err_wrap(e, "%s:%u", file, number);
	}
	buf_fini(&text);
	if (r < 0)
		banned_free(&b);
	else
		*out = b;
	return r;
}

void banned_free(struct banned **b)
{
	if (*b == NULL)
		return;
	for (size_t i = 0; i < (*b)->n; i++)
		pcre_free(&(*b)->rules[i].pattern);
	for (unsigned i = 0; i < (*b)->n_scopes; i++)
		addrlist_free(&(*b)->scopes[i].addresses);
	free((*b)->rules);
	free((*b)->scopes);
	free(*b);
	*b = NULL;
}

static void scopes_of(const struct banned *b, const struct banned_who *who, bool any[BANNED_SCOPES_MAX], bool all[BANNED_SCOPES_MAX])
{
	for (unsigned i = 0; i < b->n_scopes; i++) {
		const struct scope *s = &b->scopes[i];
		size_t in = 0;
		for (size_t k = 0; s->kind == SCOPE_TO && k < who->n_recipients; k++)
			in += addrlist_has(s->addresses, who->recipients[k], who->delimiters);
		const bool fits = s->kind == SCOPE_ALL || (s->kind == SCOPE_OWN && who->own) || (s->kind == SCOPE_OUTSIDE && !who->own) ||
				  (s->kind == SCOPE_FROM && addrlist_has(s->addresses, who->sender, who->delimiters));
		any[i] = fits || in > 0;
		all[i] = fits || (in > 0 && in == who->n_recipients);
	}
}

void banned_lists_for(const struct banned *own, const struct banned *site, const struct banned_who *who, struct banned_lists *out)
{
	out->own = own;
	out->site = site;
	scopes_of(site, who, out->site_scopes.any, out->site_scopes.all);
	if (own != NULL)
		scopes_of(own, who, out->own_scopes.any, out->own_scopes.all);
}

/* The first of these rules, of which n are asked; n: none. */
static int first_of(const struct banned *b, size_t n, const bool any[BANNED_SCOPES_MAX], const bool all[BANNED_SCOPES_MAX], const struct banned_keys *keys,
		    size_t *rule_out, size_t *key_out, struct err *e)
{
	*rule_out = n;
	for (size_t i = 0; i < n; i++) {
		const struct rule *rule = &b->rules[i];
		if (!(rule->reject ? any : all)[rule->scope])
			continue;
		for (size_t k = 0; k < keys->n; k++) {
			if (keys->v[k].kind != rule->kind)
				continue;
			int r = pcre_match(rule->pattern, keys->v[k].text, NULL, 0, e);
			if (r < 0)
				return err_wrap(e, "rule of line %u", rule->line);
			if (r == 0)
				continue;
			*rule_out = i;
			*key_out = k;
			return 0;
		}
	}
	return 0;
}

int banned_first(const struct banned_lists *l, const struct banned_keys *keys, unsigned before, unsigned *rule_out, size_t *key_out, struct err *e)
{
	const size_t own = l->own == NULL ? 0 : l->own->n, n_own = before < own ? before : own;
	size_t rule;
	*rule_out = BANNED_NONE;
	if (n_own > 0 && first_of(l->own, n_own, l->own_scopes.any, l->own_scopes.all, keys, &rule, key_out, e) < 0)
		return -1;
	if (n_own > 0 && rule < n_own) {
		*rule_out = (unsigned)rule;
		return 0;
	}
	const size_t left = before - n_own, n = left < l->site->n ? left : l->site->n;
	if (first_of(l->site, n, l->site_scopes.any, l->site_scopes.all, keys, &rule, key_out, e) < 0)
		return -1;
	if (rule < n)
		*rule_out = (unsigned)(own + rule);
	return 0;
}

bool banned_rejects(const struct banned_lists *l, unsigned rule, unsigned *line_out, bool *own_out)
{
	const size_t own = l->own == NULL ? 0 : l->own->n;
	const struct banned *b = rule < own ? l->own : l->site;
	const size_t i = rule < own ? rule : rule - own;
	if (i >= b->n || !b->rules[i].reject)
		return false;
	*line_out = b->rules[i].line;
	*own_out = rule < own;
	return true;
}
