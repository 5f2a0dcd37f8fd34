/* See auth.h. */
#include "authres/auth.h"

const char *auth_result_name(enum auth_result r)
{
	static const char *const names[] = { "none", "neutral", "pass", "fail", "softfail", "policy", "temperror", "permerror" };
	return (unsigned)r < ARRAY_LEN(names) ? names[r] : "none";
}

bool auth_name_valid(struct str name)
{
	if (name.n == 0 || name.n > DNS_NAME_MAX)
		return false;
	while (name.p != NULL) {
		const struct str label = str_split(&name, '.');
		if (label.n == 0 || label.n > 63)
			return false;
		for (size_t i = 0; i < label.n; i++)
			if (ch_ctl(label.p[i]) || label.p[i] == '\\')
				return false;
	}
	return true;
}

struct auth_answer auth_ask(const struct auth_dns *d, struct arena *a, struct str name, unsigned type)
{
	if (!auth_name_valid(name))
		return (struct auth_answer){ .known = AUTH_NO_SUCH };
	struct auth_answer r = d->ask(d->ctx, a, name, type);
	if (r.known == AUTH_HAS && r.n == 0)
		r.known = AUTH_HAS_NONE;
	return r;
}

static bool tag_name(struct str s)
{
	for (size_t i = 0; i < s.n; i++)
		if (!ch_alnum(s.p[i]) && s.p[i] != '_')
			return false;
	return s.n > 0 && ch_alpha(s.p[0]);
}

int auth_tags_parse(struct str in, struct auth_tags *out)
{
	out->n = 0;
	while (in.p != NULL) {
		struct str value = str_split(&in, ';');
		if (str_trim(value).n == 0) {
			if (in.p != NULL && str_trim(in).n > 0)
				return -1;	/* nothing between two semicolons */
			continue;
		}
		const struct str name = str_trim(str_split(&value, '='));
		if (value.p == NULL || !tag_name(name) || out->n == AUTH_TAGS_MAX)
			return -1;
		out->v[out->n].name = name;
		out->v[out->n].value = str_trim(value);
		for (size_t i = 0; i < out->n; i++)
			if (str_eq(out->v[i].name, name))
				return -1;
		out->n++;
	}
	return out->n > 0 ? 0 : -1;
}

bool auth_tag(const struct auth_tags *t, const char *name, struct str *value_out)
{
	for (size_t i = 0; i < t->n; i++) {
		if (str_eq(t->v[i].name, str_c(name))) {
			*value_out = t->v[i].value;
			return true;
		}
	}
	return false;
}
