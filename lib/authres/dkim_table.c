/* See dkim_table.h. */
#include "authres/dkim_table.h"

#include <unistd.h>

#include "authres/auth.h"
#include "base/num.h"

static const struct {
	const char *name;
	bool signs;
} states[] = {
#define DKIM_STATE(name, signs, doc) { #name, signs },
#include "authres/dkim_states.def"
#undef DKIM_STATE
};

static const char *const kinds[] = { [SIG_RSA_SHA256] = "rsa", [SIG_ED25519_SHA256] = "ed25519" };

const char *sig_kind_name(enum sig_kind k)
{
	return kinds[k];
}

const char *dkim_state_name(enum dkim_state s)
{
	static const char *const lower[] = { "new", "active", "retired" };
	_Static_assert(ARRAY_LEN(lower) == ARRAY_LEN(states), "a state without a word");
	return lower[s];
}

static int find_word(struct str word, const char *(*name)(unsigned), unsigned n, unsigned *out)
{
	for (unsigned i = 0; i < n; i++)
		if (str_case_eq(word, str_c(name(i)))) {
			*out = i;
			return 0;
		}
	return -1;
}

static const char *state_word(unsigned i)
{
	return dkim_state_name((enum dkim_state)i);
}

static const char *kind_word(unsigned i)
{
	return sig_kind_name((enum sig_kind)i);
}

/* A name of letters, digits, "-", "_" and dots, in lower case: also part of a file's name. */
static int take_name(struct arena *a, struct str s, struct str *out)
{
	char *p = arena_cstr(a, s);
	if (!auth_name_valid(s))
		return -1;
	for (size_t i = 0; i < s.n; i++) {
		if (!ch_alnum(p[i]) && p[i] != '-' && p[i] != '_' && p[i] != '.')
			return -1;
		p[i] = ch_lower(p[i]);
	}
	*out = str_n(p, s.n);
	return 0;
}

static const char *row_parse(struct arena *a, struct str line, struct dkim_row *out)
{
	struct str v[5], more;
	unsigned kind, state;
	uint64_t since;
	for (size_t i = 0; i < ARRAY_LEN(v); i++)
		if (!str_token(&line, " \t", &v[i]))
			return "five words are needed: domain selector kind state since";
	if (str_token(&line, " \t", &more))
		return "more than five words";
	if (take_name(a, v[0], &out->domain) < 0 || take_name(a, v[1], &out->selector) < 0)
		return "domain or selector is no name";
	if (find_word(v[2], kind_word, ARRAY_LEN(kinds), &kind) < 0)
		return "unknown kind: rsa ed25519";
	if (find_word(v[3], state_word, ARRAY_LEN(states), &state) < 0)
		return "unknown state: new active retired";
	if (num_parse(v[4], 0, INT64_MAX, &since) < 0)
		return "the time is no number";
	out->kind = (enum sig_kind)kind;
	out->state = (enum dkim_state)state;
	out->since = (int64_t)since;
	return NULL;
}

int dkim_table_parse(struct arena *a, struct str text, struct dkim_table *out, struct err *e)
{
	struct dkim_table t = { .n = 0 };
	size_t cap = 0;
	for (unsigned number = 1; text.p != NULL; number++) {
		struct str all = str_split(&text, '\n'), line = str_trim(str_split(&all, '#'));
		struct dkim_row row;
		if (line.n == 0)
			continue;
		const char *why = t.n == DKIM_TABLE_ROWS_MAX ? "too many keys" : row_parse(a, line, &row);
		if (why)
			return err_set(e, ERR_CONF, 0, "line %u: %s", number, why);
		if (t.n == cap) {
			struct dkim_row *v = ARENA_ARRAY(a, struct dkim_row, cap * 2 + 16);
			if (t.n > 0)
				memcpy(v, t.v, t.n * sizeof(*v));
			t.v = v;
			cap = cap * 2 + 16;
		}
		t.v[t.n++] = row;
	}
	*out = t;
	return 0;
}

void dkim_table_format(const struct dkim_table *t, struct buf *out)
{
	buf_c(out, "# Signing keys: domain selector kind state since. Written by \"postern dkim\".\n");
	for (size_t i = 0; i < t->n; i++)
		buf_printf(out, "%.*s %.*s %s %s %lld\n", STR_ARG(t->v[i].domain), STR_ARG(t->v[i].selector), sig_kind_name(t->v[i].kind), dkim_state_name(t->v[i].state),
			   (long long)t->v[i].since);
}

size_t dkim_table_signers(const struct dkim_table *t, struct str domain, const struct dkim_row *out[DKIM_KEYS_PER_DOMAIN_MAX])
{
	while (domain.n > 0) {
		size_t n = 0;
		for (size_t i = 0; i < t->n && n < DKIM_KEYS_PER_DOMAIN_MAX; i++)
			if (states[t->v[i].state].signs && str_case_eq(t->v[i].domain, domain))
				out[n++] = &t->v[i];
		if (n > 0)
			return n;
		(void)str_split(&domain, '.');
	}
	return 0;
}

const char *dkim_key_path(struct arena *a, const char *state_directory, const char *credentials, struct str domain, struct str selector)
{
	const char *name = arena_printf(a, "%.*s._domainkey.%.*s.pem", STR_ARG(selector), STR_ARG(domain));
	const char *credential = arena_printf(a, "%s/" DKIM_CREDENTIAL "%s", credentials, name);

	return *credentials && access(credential, F_OK) == 0 ? credential : arena_printf(a, "%s/" DKIM_PRIVATE_DIR "/%s", state_directory, name);
}
