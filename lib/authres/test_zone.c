/* See test_zone.h. A name and a value may hold \xHH. */
#include "test_zone.h"

#include "base/buf.h"

enum { RECORDS_MAX = 40 };

struct str zone_unescape(struct arena *a, struct str s)
{
	char *out = arena_alloc(a, s.n + 1);
	size_t n = 0;
	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] == '\\' && i + 3 < s.n && s.p[i + 1] == 'x') {
			out[n++] = (char)(ch_xdigit(s.p[i + 2]) * 16 + ch_xdigit(s.p[i + 3]));
			i += 3;
		} else {
			out[n++] = s.p[i];
		}
	}
	return str_n(out, n);
}

struct auth_answer zone_ask(void *ctx, struct arena *a, struct str name, unsigned type)
{
	struct zone *z = ctx;
	struct str rest = z->text, *v = ARENA_ARRAY(a, struct str, RECORDS_MAX);
	struct auth_answer r = { .known = AUTH_NO_SUCH, .v = v };
	bool timeout = false;
	z->asked++;
	while (rest.p != NULL) {
		struct str line = str_split(&rest, '\n');
		const struct str owner = zone_unescape(a, str_split(&line, ' ')), kind = str_split(&line, ' ');
		if (owner.n == 0 || !str_case_eq(owner, name))
			continue;
		if (r.known == AUTH_NO_SUCH)
			r.known = AUTH_HAS_NONE;
		timeout = timeout || str_eq(kind, STR("TIMEOUT"));
		if (str_eq(kind, str_c(dns_type_name(type))) && r.n < RECORDS_MAX)
			v[r.n++] = zone_unescape(a, line);
	}
	if (r.n > 0)
		r.known = AUTH_HAS;
	else if (timeout)
		r.known = AUTH_TROUBLE;
	return r;
}
