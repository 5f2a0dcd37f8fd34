/* Small text helpers of the scoring engine (msg.h). */
#include "spam/msg.h"
#include "spam/spans.h"

void strs_add(struct arena *a, struct strs *s, struct str v)
{
	if (s->n == s->cap) {
		size_t cap = s->cap == 0 ? 8 : s->cap * 2;
		struct str *grown = ARENA_ARRAY(a, struct str, cap);
		if (s->n > 0)
			memcpy(grown, s->v, s->n * sizeof(*grown));
		s->v = grown;
		s->cap = cap;
	}
	s->v[s->n++] = v;
}

bool strs_has(const struct strs *s, struct str v)
{
	for (size_t i = 0; i < s->n; i++)
		if (str_eq(s->v[i], v))
			return true;
	return false;
}

struct str sp_trim(struct str s)
{
	while (s.n > 0 && sp_char(s.p[0]))
		s = str_from(s, 1);
	while (s.n > 0 && sp_char(s.p[s.n - 1]))
		s.n--;
	return s;
}

struct str str_squeeze(struct arena *a, struct str s)
{
	char *p = arena_alloc(a, s.n + 1);
	return str_n(p, span_blanks(s, p));
}

bool fold_ends(struct str s, const char *end)
{
	return str_case_ends(s, str_c(end));
}

struct str str_cat(struct arena *a, struct str x, struct str y)
{
	char *p = arena_alloc(a, x.n + y.n + 1);
	if (x.n > 0)
		memcpy(p, x.p, x.n);
	if (y.n > 0)
		memcpy(p + x.n, y.p, y.n);
	return str_n(p, x.n + y.n);
}
