/* Findings as texts (findings.h): "class STAGE NUMBER\tdetail\ttext", "banned WHOSE\tdetail\ttext" (the bits of recipients in
 * hexadecimal, none: of all), "hit RULE", "author ADDRESS", and the words of flags. */
#include "findings.h"

#include "base/enc.h"
#include "base/num.h"

enum { TEXT_MAX = 390 };

static struct str plain(struct scan *s, const char *text)
{
	struct buf b;
	buf_init(&b, TEXT_MAX + 8);
	text_neutral(&b, str_c(text == NULL ? "" : text), TEXT_MAX, true);
	const struct str out = arena_str(s->a, buf_view(&b));
	buf_fini(&b);
	return out;
}

/* Groups for whom the same was found are one finding. */
static size_t put_banned(struct scan *s, struct str *v)
{
	const size_t bytes = s->facts == NULL ? 0 : (s->facts->recipients.n + 7) / 8;
	const struct group *last = s->groups + s->n_groups;
	size_t n = 0;
	for (const struct group *g = s->groups; g < last; g++) {
		const struct group *same = s->groups;
		while (same < g && same->banned.text != g->banned.text)
			same++;
		if (g->banned.detail == NULL || same < g)
			continue;
		struct buf whose, hex;
		buf_init(&whose, bytes + 1);
		buf_init(&hex, 2 * bytes + 1);
		for (size_t i = 0; i < bytes && g->whose != NULL; i++) {
			unsigned char bits = 0;
			for (same = g; same < last; same++)
				bits |= same->banned.text == g->banned.text ? same->whose[i] : 0;
			buf_ch(&whose, (char)bits);
		}
		hex_encode(&hex, buf_view(&whose));
		v[n++] = str_c(arena_printf(s->a, "banned %.*s\t%.*s\t%.*s", STR_ARG(buf_view(&hex)), STR_ARG(plain(s, g->banned.detail)), STR_ARG(plain(s, g->banned.text))));
		buf_fini(&whose);
		buf_fini(&hex);
	}
	return n;
}

struct ipc_strs findings_put(struct scan *s)
{
	struct str *v = ARENA_ARRAY(s->a, struct str, FINDINGS_MAX);
	size_t n = 0;
	for (size_t i = 0; i < STAGES * CLASSES; i++) {
		const struct finding *f = &s->found[i / CLASSES][i % CLASSES];
		if (f->detail != NULL)
			v[n++] = str_c(arena_printf(s->a, "class %zu %zu\t%.*s\t%.*s", i / CLASSES, i % CLASSES, STR_ARG(plain(s, f->detail)), STR_ARG(plain(s, f->text))));
	}
	n += put_banned(s, v + n);
	for (size_t i = 0; i < s->n_hits; i++)
		v[n++] = str_c(arena_printf(s->a, "hit %.*s", STR_ARG(s->hits[i])));
	if (s->scanned)
		v[n++] = STR("scanned");
	if (s->whitelisted)
		v[n++] = STR("whitelisted");
	if (s->blacklisted)
		v[n++] = STR("blacklisted");
	if (s->author != NULL)
		v[n++] = str_c(arena_printf(s->a, "author %.*s", STR_ARG(plain(s, s->author))));
	return (struct ipc_strs){ v, n };
}

static void take_class(struct scan *s, struct str rest)
{
	uint64_t stage, class;
	const struct str by = str_split(&rest, ' '), number = str_split(&rest, '\t'), detail = str_split(&rest, '\t');
	if (num_parse(by, 0, STAGES - 1, &stage) < 0 || num_parse(number, 0, CLASSES - 1, &class) < 0 || rest.p == NULL)
		return;
	s->found[stage][class] = (struct finding){ arena_cstr(s->a, detail), arena_cstr(s->a, rest) };
}

/* By recipients, not by groups: a worker of a newer generation may have others. */
static void take_banned(struct scan *s, struct str rest)
{
	const struct str hex = str_split(&rest, '\t'), detail = str_split(&rest, '\t');
	struct buf whose;
	buf_init(&whose, hex.n / 2 + 1);
	const bool all = hex.n == 0 || hex_decode(&whose, hex) < 0;
	for (size_t i = 0; rest.p != NULL && i < s->n_groups; i++) {
		struct group *g = &s->groups[i];
		bool has = all || g->whose == NULL;
		for (size_t k = 0; k < whose.n && k < (s->facts->recipients.n + 7) / 8 && !has; k++)
			has = (unsigned char)whose.p[k] & g->whose[k];
		if (has)
			g->banned = (struct finding){ arena_cstr(s->a, detail), arena_cstr(s->a, rest) };
	}
	buf_fini(&whose);
}

void findings_take(struct scan *s)
{
	if (s->facts == NULL)
		return;
	for (size_t i = 0; i < s->facts->found.n; i++) {
		const struct str one = s->facts->found.v[i];
		if (str_starts(one, STR("class ")))
			take_class(s, str_from(one, 6));
		else if (str_starts(one, STR("banned ")))
			take_banned(s, str_from(one, 7));
		else if (str_starts(one, STR("hit ")) && s->n_hits < FACTS_MAX)
			s->hits[s->n_hits++] = str_from(one, 4);
		s->scanned |= str_eq(one, STR("scanned"));
		s->whitelisted |= str_eq(one, STR("whitelisted"));
		s->blacklisted |= str_eq(one, STR("blacklisted"));
	}
}

void findings_hit(struct scan *s, const char *rule)
{
	if (rule != NULL && s->n_hits < FACTS_MAX)
		s->hits[s->n_hits++] = str_c(rule);
}
