/* The matcher of LIST and LSUB patterns: simulates all states at once (security case 106: exponential matching). */
#include "imap/match.h"

static bool wild(char c)
{
	return c == '*' || c == '%';
}

struct imap_pattern imap_pattern_new(struct arena *a, struct str in, char sep)
{
	char *text = arena_alloc(a, in.n + 1);
	size_t n = 0;

	if (!text)
		return (struct imap_pattern){ .sep = sep };
	for (size_t i = 0; i < in.n; i++) {
		if (n && wild(in.p[i]) && wild(text[n - 1])) {
			if (in.p[i] == '*')
				text[n - 1] = '*';
			continue;
		}
		text[n++] = in.p[i];
	}
	if (n >= 5 && str_case_eq(str_n(text, 5), STR("INBOX")) && (n == 5 || text[5] == sep || wild(text[5])))
		memcpy(text, "INBOX", 5);
	return (struct imap_pattern){ .text = { text, n }, .sep = sep };
}

/* State i: the first i bytes of the pattern are used up. A wildcard may also be used up by nothing. */
static void skip_wild(const struct imap_pattern *p, bool *set)
{
	for (size_t i = 0; i < p->text.n; i++) {
		if (set[i] && wild(p->text.p[i]))
			set[i + 1] = true;
	}
}

bool imap_pattern_match(const struct imap_pattern *p, struct str name)
{
	bool now[IMAP_PATTERN_MAX + 1] = { 0 }, next[IMAP_PATTERN_MAX + 1];
	const size_t m = p->text.n;

	if (m > IMAP_PATTERN_MAX)
		return false;
	now[0] = true;
	skip_wild(p, now);
	for (size_t k = 0; k < name.n; k++) {
		bool any = false;

		memset(next, 0, m + 1);
		for (size_t i = 0; i < m; i++) {
			const char c = p->text.p[i];

			if (!now[i])
				continue;
			if (c == '*' || (c == '%' && name.p[k] != p->sep))
				next[i] = any = true;
			else if (c == name.p[k] && c != '%')
				next[i + 1] = any = true;
		}
		if (!any)
			return false;
		skip_wild(p, next);
		memcpy(now, next, m + 1);
	}
	return now[m];
}
