/* Forbidden attachments: the rule file and its sections. Semantics are amavisd-new's banned_filename_re: of the keys of a part and of all parts around it,
 * the first rule that matches any key decides. */
#include "banned.h"

#include <stdlib.h>

#include "addrlist.h"
#include "base/arena.h"
#include "base/buf.h"
#include "map/pcre.h"
#include "os/os.h"

enum { RULES_MAX = BANNED_NONE, FILE_MAX = 1 << 20 };

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
	struct rule rules[RULES_MAX];
	size_t n;
	struct scope scopes[BANNED_SCOPES_MAX];
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
	if (b->n == RULES_MAX)
		return err_set(e, ERR_CONF, 0, "more than %d rules", RULES_MAX);
	if (pcre_parse(rest, false, &r.pattern, &rest, e) < 0)
		return -1;
	b->rules[b->n++] = r;
	if (str_trim(rest).n > 0)
		return err_set(e, ERR_CONF, 0, "text after the pattern");
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
	struct banned *b = xzalloc(sizeof(*b));
	b->n_scopes = 1;
	struct str rest = buf_view(&text);
	int r = 0;
	for (unsigned number = 1; rest.p != NULL && r == 0; number++) {
		struct str line = str_trim(str_split(&rest, '\n'));
		if (line.n == 0 || line.p[0] == '#')
			continue;
		r = line.p[0] == '[' && line.n > 1 ? scope_parse(line, b, e) : rule_parse(line, number, b, e);
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
	free(*b);
	*b = NULL;
}

void banned_scopes_of(const struct banned *b, const struct banned_who *who, struct banned_scopes *out)
{
	for (unsigned i = 0; i < b->n_scopes; i++) {
		const struct scope *s = &b->scopes[i];
		size_t in = 0;
		for (size_t k = 0; s->kind == SCOPE_TO && k < who->n_recipients; k++)
			in += addrlist_has(s->addresses, who->recipients[k], who->delimiter);
		const bool fits = s->kind == SCOPE_ALL || (s->kind == SCOPE_OWN && who->own) || (s->kind == SCOPE_OUTSIDE && !who->own) ||
				  (s->kind == SCOPE_FROM && addrlist_has(s->addresses, who->sender, who->delimiter));
		out->any[i] = fits || in > 0;
		out->all[i] = fits || (in > 0 && in == who->n_recipients);
	}
}

int banned_first(const struct banned *b, const struct banned_scopes *s, const struct banned_keys *keys, unsigned before, unsigned *rule_out, size_t *key_out,
		 struct err *e)
{
	*rule_out = BANNED_NONE;
	for (unsigned i = 0; i < b->n && i < before; i++) {
		const struct rule *rule = &b->rules[i];
		if (!(rule->reject ? s->any : s->all)[rule->scope])
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

bool banned_rejects(const struct banned *b, unsigned rule, unsigned *line_out)
{
	if (rule >= b->n || !b->rules[rule].reject)
		return false;
	*line_out = b->rules[rule].line;
	return true;
}
