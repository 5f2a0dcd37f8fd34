/* The gate (gate.h): the subsets of a pattern's automaton (machine.c) that texts reach, each a row of successors by class of bytes. */
#include "spam/gate.h"

#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "spam/regex.h"

enum {
	PARTS_MAX = 60000, PARTS_WANTED = 24000,	/* states of the pattern's automaton; a more exact one is not larger than this */
	SUBSETS_MIN = 256, PARTS_A_SUBSET = 8, MEMBERS_MAX = 400000, BUCKETS = 1024,	/* how many subsets are kept goes by the parts */
	CREDIT_MAX = 3000, BYTES_A_CREDIT = 16,	/* new subsets that bytes of text pay for */
	UNKNOWN = 0, MATCH = 1, FIRST = 2,
};

static const double begins_min = 0.2;

struct subset { const int *v; int n; unsigned next; };	/* next: in the bucket, 0 the last */

struct gate {
	struct arena *a;		/* of what stays */
	struct rx_machine m;
	int start;
	unsigned *kind;			/* of each part: its set, without repetitions */
	struct rx_set *by_class;	/* of each such set: the classes that it holds */
	unsigned char class_of[256];
	unsigned n_classes;
	/* What texts have made so far. */
	struct arena *made;
	struct subset *subsets;
	unsigned *rows;			/* [subset][class]: where the next one's row begins, or UNKNOWN, MATCH */
	unsigned n, max, cap, buckets[BUCKETS], members;
	unsigned credit, bytes;
	int *list;			/* of one step */
	unsigned *seen, mark;
};

/* --- the pattern --- */

/* As exact as its size allows. */
static bool build(struct gate *g, struct arena *scratch, const struct rx *x)
{
	static const unsigned copies[] = { 12, 6, 3, 2, 1 };
	struct rx_state *v = ARENA_ARRAY(scratch, struct rx_state, PARTS_MAX);
	for (size_t i = 0; i < ARRAY_LEN(copies); i++) {
		g->m = (struct rx_machine){ v, 0, i + 1 < ARRAY_LEN(copies) ? PARTS_WANTED : PARTS_MAX, copies[i] };
		const int end = rx_state_new(&g->m, NULL, -1, -1);
		g->start = rx_build(&g->m, x, end);
		if (g->start >= 0)
			break;
	}
	if (g->start < 0)
		return false;
	g->m.v = ARENA_ARRAY(g->a, struct rx_state, (size_t)g->m.n);
	memcpy(g->m.v, v, (size_t)g->m.n * sizeof(*v));
	return true;
}

static unsigned kind_of(struct rx_set *kinds, unsigned *n, const struct rx_set *set)
{
	unsigned i = 0;
	while (i < *n && memcmp(&kinds[i], set, sizeof(*set)) != 0)
		i++;
	if (i == *n)
		kinds[(*n)++] = *set;
	return i;
}

/* Bytes that no set tells apart are of one class. */
static void classes(struct gate *g, const struct rx_set *kinds, unsigned n)
{
	g->n_classes = 1;
	for (unsigned k = 0; k < n; k++) {
		short to[256];
		memset(to, -1, sizeof(to));
		for (unsigned c = 0; c < 256; c++) {
			if (!rx_set_has(&kinds[k], (unsigned char)c))
				continue;
			const unsigned was = g->class_of[c];
			bool whole = true;
			for (unsigned d = 0; d < 256 && whole && to[was] < 0; d++)
				whole = g->class_of[d] != was || rx_set_has(&kinds[k], (unsigned char)d);
			if (to[was] < 0)
				to[was] = (short)(whole ? was : g->n_classes++);
			g->class_of[c] = (unsigned char)to[was];
		}
	}
	g->by_class = ARENA_ARRAY(g->a, struct rx_set, n + 1);
	for (unsigned k = 0; k < n; k++)
		for (unsigned c = 0; c < 256; c++)
			if (rx_set_has(&kinds[k], (unsigned char)c))
				g->by_class[k].bits[g->class_of[c] >> 6] |= 1ull << (g->class_of[c] & 63);
}

static void kinds_and_classes(struct gate *g, struct arena *scratch)
{
	struct rx_set *kinds = ARENA_ARRAY(scratch, struct rx_set, (size_t)g->m.n + 1);
	unsigned n = 0;
	g->kind = ARENA_ARRAY(g->a, unsigned, (size_t)g->m.n + 1);
	for (int i = 0; i < g->m.n; i++) {
		if (g->m.v[i].set == NULL)
			continue;
		g->kind[i] = kind_of(kinds, &n, g->m.v[i].set);
		g->m.v[i].set = &kinds[g->kind[i]];	/* only whether there is one counts from now on */
	}
	classes(g, kinds, n);
	for (int i = 0; i < g->m.n; i++)
		if (g->m.v[i].set != NULL)
			g->m.v[i].set = &g->by_class[g->kind[i]];
}

/* How often text has a byte that a match may begin with. PCRE2 skips to such a byte quickly where they are rare, and to line starts. */
static double begins(struct gate *g)
{
	int n = 0;
	struct rx_set first = { { 0 } };
	double share = 0;
	rx_follow(&g->m, g->start, g->seen, ++g->mark, g->list, &n);
	for (int i = 0; i < n; i++)
		for (unsigned k = 0; k < 4 && g->m.v[g->list[i]].set != NULL; k++)
			first.bits[k] |= g->m.v[g->list[i]].set->bits[k];
	for (unsigned c = 0; c < 256; c++)
		share += rx_set_has(&first, (unsigned char)c) ? rx_rarity((unsigned char)c) : 0;
	return share;
}

/* --- subsets --- */

static int by_number(const void *a, const void *b)
{
	return *(const int *)a - *(const int *)b;
}

static unsigned bucket(const int *v, int n)
{
	unsigned h = 2166136261u;
	for (int i = 0; i < n; i++)
		h = (h ^ (unsigned)v[i]) * 16777619u;
	return (h ^ h >> 15) % BUCKETS;
}

static void forget(struct gate *g)
{
	arena_reset(g->made);
	memset(g->buckets, 0, sizeof(g->buckets));
	g->n = FIRST;
	g->members = 0;
}

static void room(struct gate *g)
{
	if (g->n < g->cap)
		return;
	g->cap = g->cap == 0 ? 32 : g->cap * 2;
	g->subsets = xrealloc(g->subsets, g->cap * sizeof(*g->subsets));
	g->rows = xrealloc(g->rows, (size_t)g->cap * g->n_classes * sizeof(*g->rows));
}

/* The number of the subset in g->list. */
static unsigned subset(struct gate *g, int n)
{
	qsort(g->list, (size_t)n, sizeof(*g->list), by_number);
	const unsigned b = bucket(g->list, n);
	for (unsigned i = g->buckets[b]; i != 0; i = g->subsets[i].next)
		if (g->subsets[i].n == n && memcmp(g->subsets[i].v, g->list, (size_t)n * sizeof(int)) == 0)
			return i;
	room(g);
	int *v = ARENA_ARRAY(g->made, int, (size_t)n + 1);
	memcpy(v, g->list, (size_t)n * sizeof(int));
	g->subsets[g->n] = (struct subset){ v, n, g->buckets[b] };
	memset(g->rows + (size_t)g->n * g->n_classes, 0, g->n_classes * sizeof(*g->rows));
	g->members += (unsigned)n;
	return g->buckets[b] = g->n++;
}

/* Parts are in number order, so the end, which is 0, comes first. */
static bool ends(const struct gate *g, unsigned i)
{
	return g->subsets[i].n > 0 && g->subsets[i].v[0] == 0;
}

static unsigned start(struct gate *g)
{
	int n = 0;
	g->mark++;
	rx_follow(&g->m, g->start, g->seen, g->mark, g->list, &n);
	return subset(g, n);
}

/* A match may begin at every byte, so the start is in all of them. */
static unsigned step(struct gate *g, unsigned from, unsigned class)
{
	const struct subset *s = &g->subsets[from];
	int n = 0;
	g->mark++;
	for (int i = 0; i < s->n; i++)
		if (rx_set_has(g->m.v[s->v[i]].set, (unsigned char)class))
			rx_follow(&g->m, g->m.v[s->v[i]].next, g->seen, g->mark, g->list, &n);
	rx_follow(&g->m, g->start, g->seen, g->mark, g->list, &n);
	const unsigned to = subset(g, n), r = ends(g, to) ? MATCH : to * g->n_classes;
	return g->rows[(size_t)from * g->n_classes + class] = r;
}

/* --- */

struct gate *gate_new(struct str pattern, const char *flags)
{
	struct gate *g = xzalloc(sizeof(*g));
	struct arena *scratch = arena_new(0);
	const struct rx *x = rx_parse(scratch, pattern, flags);
	g->a = arena_new(0);
	g->made = arena_new(0);
	bool ok = x != NULL && !str_starts(pattern, STR("^")) && build(g, scratch, x);
	if (ok) {
		g->list = ARENA_ARRAY(g->a, int, (size_t)g->m.n + 1);
		g->seen = ARENA_ARRAY(g->a, unsigned, (size_t)g->m.n + 1);
		ok = begins(g) >= begins_min;
	}
	if (ok) {
		kinds_and_classes(g, scratch);
		g->credit = CREDIT_MAX;
		g->max = SUBSETS_MIN + (unsigned)g->m.n / PARTS_A_SUBSET;
		forget(g);
		ok = !ends(g, start(g));
	}
	arena_free(&scratch);
	if (!ok)
		gate_free(&g);
	return g;
}

void gate_free(struct gate **g)
{
	if (*g == NULL)
		return;
	arena_free(&(*g)->a);
	arena_free(&(*g)->made);
	free((*g)->subsets);
	free((*g)->rows);
	free(*g);
	*g = NULL;
}

static void pay_in(struct gate *g, size_t bytes)
{
	const size_t all = g->bytes + bytes, credit = g->credit + all / BYTES_A_CREDIT;
	g->bytes = (unsigned)(all % BYTES_A_CREDIT);
	g->credit = credit > CREDIT_MAX ? CREDIT_MAX : (unsigned)credit;
}

bool gate_may(struct gate *g, struct str text)
{
	if (g->n >= g->max || g->members >= MEMBERS_MAX) {
		forget(g);
		(void)start(g);
	}
	pay_in(g, text.n);
	unsigned row = FIRST * g->n_classes;
	for (size_t i = 0; i < text.n; i++) {
		const unsigned c = g->class_of[(unsigned char)text.p[i]];
		unsigned to = g->rows[row + c];
		if (to == UNKNOWN) {
			if (g->credit == 0)
				return true;
			g->credit--;
			to = step(g, row / g->n_classes, c);
		}
		if (to == MATCH)
			return true;
		row = to;
	}
	return false;
}
