/* Address patterns with * and ? (set.h): whole addresses by hash, the others one by one. */
#include <stdlib.h>

#include "spam/set.h"

/* Backtracks only to the last star: linear times the number of stars at worst. stop: a byte that no star crosses, '\0' none. */
static bool match(struct str glob, struct str text, char stop)
{
	size_t g = 0, t = 0, star = SIZE_MAX, mark = 0;
	while (t < text.n) {
		if (g < glob.n && glob.p[g] == '*') {
			star = g++;
			mark = t;
		} else if (g < glob.n && (glob.p[g] == '?' || glob.p[g] == text.p[t])) {
			g++;
			t++;
		} else if (star != SIZE_MAX && (stop == '\0' || text.p[mark] != stop)) {
			g = star + 1;
			t = ++mark;
		} else {
			return false;
		}
	}
	while (g < glob.n && glob.p[g] == '*')
		g++;
	return g == glob.n;
}

bool glob_match(struct str glob, struct str text)
{
	return match(glob, text, '\0');
}

bool glob_match_domain(struct str glob, struct str text)
{
	return match(glob, text, '.');
}

void globs_add(struct arena *a, struct globs *g, struct str address)
{
	struct str lower = str_lower_copy(a, address);
	if (g->exact == NULL)
		g->exact = map_new();
	if (map_set(g->exact, lower, (void *)1) != NULL || (str_chr(lower, '*') < 0 && str_chr(lower, '?') < 0))
		return;
	if (g->n_wild == g->cap) {
		g->cap = g->cap == 0 ? 16 : g->cap * 2;
		g->wild = xrealloc(g->wild, g->cap * sizeof(*g->wild));
	}
	g->wild[g->n_wild++] = lower;
}

void globs_remove(struct globs *g, struct str address)
{
	struct arena *a = arena_new(0);
	struct str lower = str_lower_copy(a, address);
	if (g->exact != NULL)
		map_del(g->exact, lower);
	for (size_t i = 0; i < g->n_wild; i++)
		if (str_eq(g->wild[i], lower))
			g->wild[i--] = g->wild[--g->n_wild];
	for (struct rcvd_pair **p = &g->pairs; *p != NULL;) {
		if (str_eq((*p)->glob, lower))
			*p = (*p)->next;
		else
			p = &(*p)->next;
	}
	arena_free(&a);
}

bool globs_match(const struct globs *g, struct str lower)
{
	if (g == NULL)
		return false;
	if (g->exact != NULL && map_get(g->exact, lower) != NULL)
		return true;
	for (size_t i = 0; i < g->n_wild; i++)
		if (glob_match(g->wild[i], lower))
			return true;
	return false;
}
