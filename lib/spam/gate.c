/* The gate (gate.h): the subsets of a pattern's automaton (machine.c) that texts reach, each a row of successors by class of bytes. A match may begin at every
 * byte, so the parts that begin one are in every subset: they are left out of all, and what they go to is kept by class. Where it begins at a line's start, they
 * are added behind each line end, and what follows the empty subset is skipped up to there. */
#include "spam/gate.h"

#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "spam/regex.h"

enum {
	PARTS_MAX = 60000, PARTS_WANTED = 24000,	/* states of the pattern's automaton; a more exact one is not larger than this */
	SUBSETS_MIN = 256, PARTS_A_SUBSET = 8, MEMBERS_MAX = 400000, BUCKETS = 1024,	/* how many subsets are kept goes by the parts */
	CREDIT_MAX = 3000, BYTES_A_CREDIT = 16,	/* new subsets that bytes of text pay for */
	UNKNOWN = 0, MATCH = 1, FIRST = 2, LINE_START = 3,
	LANES = 4, BLOCK = 8,
};

static const double begins_min = 0.05;

struct parts { const int *v; int n; };
struct subset { struct parts parts; unsigned hash, next; };	/* in no order; next: in the bucket, 0 the last */
/* What the beginning goes to with a class of bytes. */
struct first { struct parts parts; bool made, ends; };

struct gate {
	struct arena *a;		/* of what stays */
	struct rx_machine m;
	int start;
	bool lines;			/* a match begins at a line's start */
	struct parts begin;		/* what a match may begin with: parts of their own, which nothing leads to, so that where no other is nothing is begun */
	struct first *firsts;		/* by class */
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
	int *list, n_list;		/* of one step */
	unsigned *seen, mark;
	bool ends;
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
	g->m.v = ARENA_ARRAY(g->a, struct rx_state, 2 * (size_t)g->m.n);	/* what begins a match comes after them */
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
	static const struct rx_set line_end = { { 1u << '\n' } };
	struct rx_set *kinds = ARENA_ARRAY(scratch, struct rx_set, (size_t)g->m.n + 2);
	unsigned n = 0;
	g->kind = ARENA_ARRAY(g->a, unsigned, (size_t)g->m.n + 1);
	for (int i = 0; i < g->m.n; i++) {
		if (g->m.v[i].set == NULL)
			continue;
		g->kind[i] = kind_of(kinds, &n, g->m.v[i].set);
		g->m.v[i].set = &kinds[g->kind[i]];	/* only whether there is one counts from now on */
	}
	if (g->lines)
		(void)kind_of(kinds, &n, &line_end);
	classes(g, kinds, n);
	for (int i = 0; i < g->m.n; i++)
		if (g->m.v[i].set != NULL)
			g->m.v[i].set = &g->by_class[g->kind[i]];
}

/* Adds what is reached from s without a byte. */
static void follow(struct gate *g, int s)
{
	while (s >= 0 && g->seen[s] != g->mark) {
		const struct rx_state *p = &g->m.v[s];
		g->seen[s] = g->mark;
		if (p->set != NULL || p->next < 0) {
			g->ends |= p->set == NULL;
			g->list[g->n_list++] = s;
			return;
		}
		if (p->next2 >= 0)
			follow(g, p->next2);
		s = p->next;
	}
}

static void follow_all(struct gate *g, struct parts from, unsigned class)
{
	for (int i = 0; i < from.n; i++)
		if (rx_set_has(g->m.v[from.v[i]].set, (unsigned char)class))
			follow(g, g->m.v[from.v[i]].next);
}

static void list_new(struct gate *g)
{
	g->mark++;
	g->n_list = 0;
	g->ends = false;
}

static struct parts kept(struct arena *a, const int *v, int n)
{
	int *to = ARENA_ARRAY(a, int, (size_t)n + 1);
	memcpy(to, v, (size_t)n * sizeof(int));
	return (struct parts){ to, n };
}

/* False: an empty text matches. */
static bool begin(struct gate *g)
{
	list_new(g);
	follow(g, g->start);
	if (g->ends)
		return false;
	for (int i = 0; i < g->n_list; i++) {
		g->m.v[g->m.n] = g->m.v[g->list[i]];
		g->list[i] = g->m.n++;
	}
	g->begin = kept(g->a, g->list, g->n_list);
	return true;
}

/* How often text has a byte that a match may begin with. PCRE2 skips to such a byte quickly where they are rare, and to the text's start. */
static double beginnings(const struct gate *g)
{
	struct rx_set first = { { 0 } };
	double share = 0;
	for (int i = 0; i < g->begin.n; i++)
		for (unsigned k = 0; k < 4; k++)
			first.bits[k] |= g->m.v[g->begin.v[i]].set->bits[k];
	for (unsigned c = 0; c < 256; c++)
		share += rx_set_has(&first, (unsigned char)c) ? rx_rarity((unsigned char)c) : 0;
	return share;
}

/* --- subsets --- */

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
	const bool new = g->cap == 0;
	g->cap = new ? 32 : g->cap * 2;
	g->subsets = xrealloc(g->subsets, g->cap * sizeof(*g->subsets));
	g->rows = xrealloc(g->rows, (size_t)g->cap * g->n_classes * sizeof(*g->rows));
	if (new)
		memset(g->rows, UNKNOWN, FIRST * g->n_classes * sizeof(*g->rows));
}

/* Whether these are the parts in g->list, of which there are as many. */
static bool listed(const struct gate *g, struct parts p)
{
	for (int i = 0; i < p.n; i++)
		if (g->seen[p.v[i]] != g->mark)
			return false;
	return true;
}

/* The number of the subset in g->list. */
static unsigned subset(struct gate *g)
{
	unsigned h = 0;
	for (int i = 0; i < g->n_list; i++) {
		const unsigned x = ((unsigned)g->list[i] + 1) * 2654435761u;
		h += x ^ x >> 15;
	}
	const unsigned b = (h ^ h >> 16) % BUCKETS;
	for (unsigned i = g->buckets[b]; i != 0; i = g->subsets[i].next)
		if (g->subsets[i].hash == h && g->subsets[i].parts.n == g->n_list && listed(g, g->subsets[i].parts))
			return i;
	room(g);
	g->subsets[g->n] = (struct subset){ kept(g->made, g->list, g->n_list), h, g->buckets[b] };
	memset(g->rows + (size_t)g->n * g->n_classes, 0, g->n_classes * sizeof(*g->rows));
	g->members += (unsigned)g->n_list;
	return g->buckets[b] = g->n++;
}

static void add_parts(struct gate *g, struct parts p)
{
	for (int i = 0; i < p.n; i++) {
		if (g->seen[p.v[i]] == g->mark)
			continue;
		g->seen[p.v[i]] = g->mark;
		g->list[g->n_list++] = p.v[i];
	}
}

/* The first subset is empty, the second a line's start. */
static void start(struct gate *g)
{
	forget(g);
	list_new(g);
	(void)subset(g);
	if (g->lines) {
		add_parts(g, g->begin);
		(void)subset(g);
	}
}

static const struct first *first(struct gate *g, unsigned class)
{
	struct first *f = &g->firsts[class];
	if (f->made)
		return f;
	list_new(g);
	follow_all(g, g->begin, class);
	*f = (struct first){ kept(g->a, g->list, g->n_list), true, g->ends };
	return f;
}

/* Most texts would be let through after their first bytes. */
static bool ends_at_once(struct gate *g)
{
	double share = 0;
	for (unsigned c = 0; c < 256; c++)
		share += first(g, g->class_of[c])->ends ? rx_rarity((unsigned char)c) : 0;
	return share >= begins_min;
}

static unsigned step(struct gate *g, unsigned from, unsigned class)
{
	const struct first *f = g->lines ? NULL : first(g, class);
	list_new(g);
	follow_all(g, g->subsets[from].parts, class);
	if (f != NULL)
		add_parts(g, f->parts);
	else if (class == g->class_of['\n'])
		add_parts(g, g->begin);
	const unsigned r = (f != NULL && f->ends) || g->ends ? MATCH : subset(g) * g->n_classes;
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
	g->lines = x != NULL && rx_begins(pattern, flags, x) == RX_LINES;
	bool ok = x != NULL && (g->lines || !str_starts(pattern, STR("^"))) && build(g, scratch, x);
	if (ok) {
		g->list = ARENA_ARRAY(g->a, int, 2 * (size_t)g->m.n);
		g->seen = ARENA_ARRAY(g->a, unsigned, 2 * (size_t)g->m.n);
		ok = begin(g) && beginnings(g) >= begins_min;
	}
	if (ok) {
		kinds_and_classes(g, scratch);
		g->credit = CREDIT_MAX;
		g->max = SUBSETS_MIN + (unsigned)g->m.n / PARTS_A_SUBSET;
		g->firsts = ARENA_ARRAY(g->a, struct first, g->n_classes);
		ok = !ends_at_once(g);
	}
	if (ok)
		start(g);
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

static bool is_full(const struct gate *g)
{
	return g->n >= g->max || g->members >= MEMBERS_MAX;
}

/* A text on its way: what is left of it, and the row where it is. */
struct lane { const unsigned char *p, *end; unsigned row; bool *may; };

static struct lane lane_new(const struct gate *g, struct str text, bool *may)
{
	*may = false;
	const unsigned char *p = (const unsigned char *)text.p;
	return (struct lane){ p, p + text.n, FIRST * g->n_classes, may };
}

/* One byte, whatever it leads to. False: the lane has ended. */
static bool lane_step(struct gate *g, struct lane *l)
{
	if (l->p == l->end)
		return false;
	const unsigned c = g->class_of[*l->p++];
	unsigned to = g->rows[l->row + c];
	if (to == UNKNOWN && g->credit > 0) {
		g->credit--;
		to = step(g, l->row / g->n_classes, c);
	}
	*l->may = to == MATCH || to == UNKNOWN;
	l->row = to;
	return !*l->may;
}

/* Each byte waits for the row that the one before it led to: of several texts side by side none waits for the others. What is unknown leads to itself, so that eight
 * bytes are read without a look at where they lead; if that is nowhere, they are gone through again. */
static void lanes_run(const struct gate *g, struct lane l[LANES])
{
	const unsigned *rows = g->rows;
	const unsigned char *class = g->class_of, *p0 = l[0].p, *p1 = l[1].p, *p2 = l[2].p, *p3 = l[3].p;
	unsigned r0 = l[0].row, r1 = l[1].row, r2 = l[2].row, r3 = l[3].row;
	ptrdiff_t n = PTRDIFF_MAX, i = 0;
	for (unsigned k = 0; k < LANES; k++)
		n = l[k].end - l[k].p < n ? l[k].end - l[k].p : n;
	for (; n - i >= BLOCK; i += BLOCK) {
		unsigned t0 = r0, t1 = r1, t2 = r2, t3 = r3;
#define STEP(k) t0 = rows[t0 + class[p0[i + k]]], t1 = rows[t1 + class[p1[i + k]]], t2 = rows[t2 + class[p2[i + k]]], t3 = rows[t3 + class[p3[i + k]]]
		STEP(0), STEP(1), STEP(2), STEP(3), STEP(4), STEP(5), STEP(6), STEP(7);
#undef STEP
		if (t0 <= MATCH || t1 <= MATCH || t2 <= MATCH || t3 <= MATCH)
			break;
		r0 = t0;
		r1 = t1;
		r2 = t2;
		r3 = t3;
	}
	for (; i < n; i++) {
		const unsigned t0 = rows[r0 + class[p0[i]]], t1 = rows[r1 + class[p1[i]]], t2 = rows[r2 + class[p2[i]]], t3 = rows[r3 + class[p3[i]]];
		if (t0 <= MATCH || t1 <= MATCH || t2 <= MATCH || t3 <= MATCH)
			break;
		r0 = t0;
		r1 = t1;
		r2 = t2;
		r3 = t3;
	}
	for (unsigned k = 0; k < LANES; k++)
		l[k].p += i;
	l[0].row = r0;
	l[1].row = r1;
	l[2].row = r2;
	l[3].row = r3;
}

/* The same for the last ones of many. */
static void lane_run(const struct gate *g, struct lane *l)
{
	const unsigned *rows = g->rows;
	const unsigned char *class = g->class_of, *p = l->p, *const end = l->end;
	unsigned row = l->row;
	for (; end - p >= BLOCK; p += BLOCK) {
		unsigned to = row;
#define STEP(k) to = rows[to + class[p[k]]]
		STEP(0), STEP(1), STEP(2), STEP(3), STEP(4), STEP(5), STEP(6), STEP(7);
#undef STEP
		if (to <= MATCH)
			break;
		row = to;
	}
	for (unsigned to; p < end && (to = rows[row + class[*p]]) > MATCH; p++)
		row = to;
	l->p = p;
	l->row = row;
}

/* Most lines are left after a byte or two. */
static bool lines_may(struct gate *g, struct str text)
{
	bool may;
	if (is_full(g))
		start(g);
	pay_in(g, text.n);
	struct lane l = lane_new(g, text, &may);
	for (l.row = LINE_START * g->n_classes; l.p < l.end;) {
		if (l.row == FIRST * g->n_classes) {
			l.p = memchr(l.p, '\n', (size_t)(l.end - l.p));
			if (l.p == NULL)
				return false;
			l.p++;
			l.row = LINE_START * g->n_classes;
			continue;
		}
		const unsigned to = g->rows[l.row + g->class_of[*l.p]];
		if (to > MATCH) {
			l.p++;
			l.row = to;
		} else if (!lane_step(g, &l)) {
			return may;
		}
	}
	return false;
}

static void gate_lanes(struct gate *g, const struct str *texts, size_t n, bool *may_out)
{
	struct lane lanes[LANES];
	unsigned active = 0;
	for (size_t next = 0; next < n || active > 0;) {
		if (active == 0 && is_full(g))
			start(g);	/* no lane is at a row that it forgets */
		for (; active < LANES && next < n && !is_full(g); next++) {
			pay_in(g, texts[next].n);
			lanes[active++] = lane_new(g, texts[next], &may_out[next]);
		}
		if (active == LANES)
			lanes_run(g, lanes);
		else
			lane_run(g, &lanes[0]);
		const unsigned ran = active == LANES ? LANES : 1;
		for (unsigned k = ran; k-- > 0;)
			if (!lane_step(g, &lanes[k]))
				lanes[k] = lanes[--active];
	}
}

void gate_each(struct gate *g, const struct str *texts, size_t n, bool *may_out)
{
	if (!g->lines) {
		gate_lanes(g, texts, n, may_out);
		return;
	}
	for (size_t i = 0; i < n; i++)
		may_out[i] = lines_may(g, texts[i]);
}

bool gate_may(struct gate *g, struct str text)
{
	bool may;
	gate_each(g, &text, 1, &may);
	return may;
}

/* Goes on until the lane ends or nothing that began up to `enough` is begun any more; returns since where something may have begun. */
static const unsigned char *lane_until(struct gate *g, struct lane *l, const unsigned char *enough)
{
	const unsigned nothing = FIRST * g->n_classes, line_start = LINE_START * g->n_classes;
	const unsigned char *begun = l->p;
	for (;;) {
		if (l->row == nothing) {
			const unsigned char *lf = g->lines ? memchr(l->p, '\n', (size_t)(l->end - l->p)) : NULL;
			l->p = !g->lines ? l->p : lf == NULL ? l->end : lf + 1;
			l->row = g->lines && lf != NULL ? line_start : nothing;
			begun = l->p;
			if (begun > enough)
				return begun;
		}
		const unsigned to = l->p < l->end ? g->rows[l->row + g->class_of[*l->p]] : UNKNOWN;
		if (to > MATCH) {
			l->p++;
			l->row = to;
		} else if (!lane_step(g, l)) {
			return begun;
		}
	}
}

/* Where nothing is begun, nothing can have begun before. What begins at the bytes that are told, the caller has to try: then all is known up to there. */
bool gate_next(struct gate *g, struct str text, size_t *from, size_t last, size_t *to_out)
{
	const unsigned char *const start_of = (const unsigned char *)text.p;
	bool may;
	if (*from >= text.n || *from > last)
		return false;
	if (is_full(g))
		start(g);
	struct lane l = lane_new(g, str_from(text, *from), &may);
	if (g->lines && (*from == 0 || l.p[-1] == '\n'))
		l.row = LINE_START * g->n_classes;
	const unsigned char *begun = lane_until(g, &l, start_of + (last < text.n ? last : text.n));
	pay_in(g, (size_t)(l.p - start_of) - *from);
	if (!may)
		return false;
	*from = (size_t)(begun - start_of);
	*to_out = l.row == UNKNOWN ? text.n : (size_t)(l.p - start_of) - 1;
	return true;
}
