/* The gate (gate.h): the subsets of a pattern's automaton (machine.c) that texts reach, each a row of successors by class of bytes. A match may begin at every
 * byte, so the parts that begin one are in every subset: they are left out of all, and what they go to is kept by class. Where it begins at a line's start, they
 * are added behind each line end, and what follows the empty subset is skipped up to there. What texts change lies together for all gates, and nothing else is
 * written: processes that were forked after the gates were made share the rest. */
#include "spam/gate.h"

#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "spam/regex.h"

enum {
	PARTS_MAX = 60000, PARTS_WANTED = 24000,	/* states of the pattern's automaton; a more exact one is not larger than this */
	CELLS_MAX = 4 << 20, CELLS_KEPT = CELLS_MAX / 4 * 3, BUCKETS = 8192,	/* of the subsets of all gates: room for them, and how much they may take when a text begins */
	CREDIT_MAX = 3000, BYTES_A_CREDIT = 16,	/* new subsets that bytes of text pay for */
	UNKNOWN = 0, MATCH = 1, CELLS_FIRST = MATCH + 257,	/* zeros up to there: these two lead nowhere */
	LANES = 4, BLOCK = 8,
};

static const double begins_min = 0.05;

struct parts { const int *v; int n; };
/* By class where the next one's row begins, or UNKNOWN, MATCH; then its parts, in no order. It goes by where its own row begins. next: in the bucket, 0 the last. */
struct subset { unsigned gate, hash, next; int n; unsigned row[]; };
/* What the beginning goes to with a class of bytes. */
struct first { struct parts parts; bool made, ends; };

/* What texts change of one gate. first: the empty subset. */
struct live { unsigned times, first, line_start, credit, bytes; };

struct gates {
	struct arena *a, *lives;	/* of what stays, of what changes */
	unsigned n;
	unsigned *cells, n_cells, times;	/* all subsets; how often all were forgotten */
	unsigned buckets[BUCKETS];
	int *list, n_list, room;	/* of one step of any gate */
	unsigned *seen, mark;
	bool ends;
};

struct gate {
	struct gates *all;
	struct live *live;
	const unsigned *rows;		/* all->cells */
	unsigned number;
	struct rx_machine m;
	int start;
	bool lines;			/* a match begins at a line's start */
	struct parts begin;		/* what a match may begin with: parts of their own, which nothing leads to, so that where no other is nothing is begun */
	struct first *firsts;		/* by class */
	unsigned *kind;			/* of each part: its set, without repetitions */
	struct rx_set *by_class;	/* of each such set: the classes that it holds */
	unsigned char class_of[256];
	unsigned n_classes;
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
	g->m.v = ARENA_ARRAY(g->all->a, struct rx_state, 2 * (size_t)g->m.n);	/* what begins a match comes after them */
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
	g->by_class = ARENA_ARRAY(g->all->a, struct rx_set, n + 1);
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
	g->kind = ARENA_ARRAY(g->all->a, unsigned, (size_t)g->m.n + 1);
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
static void follow(const struct gate *g, int s)
{
	struct gates *all = g->all;
	while (s >= 0 && all->seen[s] != all->mark) {
		const struct rx_state *p = &g->m.v[s];
		all->seen[s] = all->mark;
		if (p->set != NULL || p->next < 0) {
			all->ends |= p->set == NULL;
			all->list[all->n_list++] = s;
			return;
		}
		if (p->next2 >= 0)
			follow(g, p->next2);
		s = p->next;
	}
}

static void follow_all(const struct gate *g, struct parts from, unsigned class)
{
	for (int i = 0; i < from.n; i++)
		if (rx_set_has(g->m.v[from.v[i]].set, (unsigned char)class))
			follow(g, g->m.v[from.v[i]].next);
}

static void list_new(struct gates *all)
{
	if (++all->mark == 0) {
		memset(all->seen, 0, (size_t)all->room * sizeof(*all->seen));
		all->mark = 1;
	}
	all->n_list = 0;
	all->ends = false;
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
	struct gates *all = g->all;
	list_new(all);
	follow(g, g->start);
	if (all->ends)
		return false;
	for (int i = 0; i < all->n_list; i++) {
		g->m.v[g->m.n] = g->m.v[all->list[i]];
		all->list[i] = g->m.n++;
	}
	g->begin = kept(all->a, all->list, all->n_list);
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

static struct subset *subset_at(const struct gates *all, unsigned row)
{
	return (struct subset *)(void *)(all->cells + row - offsetof(struct subset, row) / sizeof(unsigned));
}

static struct parts parts_of(const struct gate *g, unsigned row)
{
	const struct subset *s = subset_at(g->all, row);
	return (struct parts){ (const int *)(const void *)(s->row + g->n_classes), s->n };
}

static void forget(struct gates *all)
{
	memset(all->buckets, 0, sizeof(all->buckets));
	all->n_cells = CELLS_FIRST;
	all->times++;
}

/* Whether these are the parts in the list, of which there are as many. */
static bool listed(const struct gates *all, struct parts p)
{
	for (int i = 0; i < p.n; i++)
		if (all->seen[p.v[i]] != all->mark)
			return false;
	return true;
}

static unsigned subset_new(const struct gate *g, unsigned hash, unsigned *bucket)
{
	struct gates *all = g->all;
	const size_t head = offsetof(struct subset, row) / sizeof(unsigned), cells = head + g->n_classes + (size_t)all->n_list;
	if (cells > CELLS_MAX - all->n_cells)
		return UNKNOWN;
	const unsigned row = all->n_cells + (unsigned)head;
	struct subset *s = subset_at(all, row);
	*s = (struct subset){ .gate = g->number, .hash = hash, .next = *bucket, .n = all->n_list };
	memset(s->row, 0, g->n_classes * sizeof(*s->row));
	memcpy(s->row + g->n_classes, all->list, (size_t)all->n_list * sizeof(int));
	all->n_cells += (unsigned)cells;
	return *bucket = row;
}

/* The row of the subset in the list; UNKNOWN: there is no room for it. */
static unsigned subset(const struct gate *g)
{
	struct gates *all = g->all;
	unsigned h = g->number;
	for (int i = 0; i < all->n_list; i++) {
		const unsigned x = ((unsigned)all->list[i] + 1) * 2654435761u;
		h += x ^ x >> 15;
	}
	unsigned *bucket = &all->buckets[(h ^ h >> 16) % BUCKETS];
	for (unsigned row = *bucket; row != 0; row = subset_at(all, row)->next) {
		const struct subset *s = subset_at(all, row);
		if (s->hash == h && s->gate == g->number && s->n == all->n_list && listed(all, parts_of(g, row)))
			return row;
	}
	return subset_new(g, h, bucket);
}

static void add_parts(struct gates *all, struct parts p)
{
	for (int i = 0; i < p.n; i++) {
		if (all->seen[p.v[i]] == all->mark)
			continue;
		all->seen[p.v[i]] = all->mark;
		all->list[all->n_list++] = p.v[i];
	}
}

static void begin_anew(const struct gate *g)
{
	struct gates *all = g->all;
	list_new(all);
	g->live->first = subset(g);
	if (g->lines) {
		add_parts(all, g->begin);
		g->live->line_start = subset(g);
	}
	g->live->times = all->times;
}

/* Before a text: what it begins with is there, and some room. No gate is anywhere in a text. */
static void ready(const struct gate *g)
{
	if (g->all->n_cells > CELLS_KEPT)
		forget(g->all);
	if (g->live->times != g->all->times)
		begin_anew(g);
}

static const struct first *first(struct gate *g, unsigned class)
{
	struct first *f = &g->firsts[class];
	if (f->made)
		return f;
	list_new(g->all);
	follow_all(g, g->begin, class);
	*f = (struct first){ kept(g->all->a, g->all->list, g->all->n_list), true, g->all->ends };
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
	struct gates *all = g->all;
	const struct first *f = g->lines ? NULL : first(g, class);
	list_new(all);
	follow_all(g, parts_of(g, from), class);
	if (f != NULL)
		add_parts(all, f->parts);
	else if (class == g->class_of['\n'])
		add_parts(all, g->begin);
	return all->cells[from + class] = (f != NULL && f->ends) || all->ends ? MATCH : subset(g);
}

/* --- */

struct gates *gates_new(void)
{
	struct gates *all = xzalloc(sizeof(*all));
	all->a = arena_new(0);
	all->lives = arena_new(0);
	all->cells = xzalloc(CELLS_MAX * sizeof(*all->cells));	/* what is never used takes no memory */
	forget(all);
	return all;
}

void gates_free(struct gates **all)
{
	if (*all == NULL)
		return;
	arena_free(&(*all)->a);
	arena_free(&(*all)->lives);
	free((*all)->cells);
	free((*all)->list);
	free((*all)->seen);
	free(*all);
	*all = NULL;
}

static void list_room(struct gates *all, int parts)
{
	if (parts <= all->room)
		return;
	all->list = xrealloc(all->list, (size_t)parts * sizeof(*all->list));
	all->seen = xrealloc(all->seen, (size_t)parts * sizeof(*all->seen));
	memset(all->seen + all->room, 0, (size_t)(parts - all->room) * sizeof(*all->seen));
	all->room = parts;
}

struct gate *gate_new(struct gates *all, struct str pattern, const char *flags)
{
	const struct arena_mark mark = arena_mark(all->a);
	struct gate *g = ARENA_NEW(all->a, struct gate);
	struct arena *scratch = arena_new(0);
	const struct rx *x = rx_parse(scratch, pattern, flags);
	g->all = all;
	g->rows = all->cells;
	g->lines = x != NULL && rx_begins(pattern, flags, x) == RX_LINES;
	bool ok = x != NULL && (g->lines || !str_starts(pattern, STR("^"))) && build(g, scratch, x);
	if (ok) {
		list_room(all, 2 * g->m.n);
		ok = begin(g) && beginnings(g) >= begins_min;
	}
	if (ok) {
		kinds_and_classes(g, scratch);
		g->firsts = ARENA_ARRAY(all->a, struct first, g->n_classes);
		ok = !ends_at_once(g);
	}
	arena_free(&scratch);
	if (!ok) {
		arena_release(all->a, mark);
		return NULL;
	}
	g->live = ARENA_NEW(all->lives, struct live);
	*g->live = (struct live){ .credit = CREDIT_MAX };
	g->number = all->n++;
	return g;
}

static void pay_in(const struct gate *g, size_t bytes)
{
	struct live *l = g->live;
	const size_t all = l->bytes + bytes, credit = l->credit + all / BYTES_A_CREDIT;
	l->bytes = (unsigned)(all % BYTES_A_CREDIT);
	l->credit = credit > CREDIT_MAX ? CREDIT_MAX : (unsigned)credit;
}

/* A text on its way: what is left of it, and the row where it is. */
struct lane { const unsigned char *p, *end; unsigned row; bool *may; };

static struct lane lane_new(const struct gate *g, struct str text, bool *may)
{
	*may = false;
	const unsigned char *p = (const unsigned char *)text.p;
	return (struct lane){ p, p + text.n, g->live->first, may };
}

/* One byte, whatever it leads to. False: the lane has ended. */
static bool lane_step(struct gate *g, struct lane *l)
{
	if (l->p == l->end)
		return false;
	const unsigned c = g->class_of[*l->p++];
	unsigned to = g->rows[l->row + c];
	if (to == UNKNOWN && g->live->credit > 0) {
		g->live->credit--;
		to = step(g, l->row, c);
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

/* The row after eight more bytes; UNKNOWN or MATCH: one of the steps led there. */
static inline unsigned after_block(const unsigned *rows, const unsigned char *class, const unsigned char *p, unsigned row)
{
#define STEP(k) row = rows[row + class[p[k]]]
	STEP(0), STEP(1), STEP(2), STEP(3), STEP(4), STEP(5), STEP(6), STEP(7);
#undef STEP
	return row;
}

/* The same for the last ones of many. */
static void lane_run(const struct gate *g, struct lane *l)
{
	const unsigned *rows = g->rows;
	const unsigned char *class = g->class_of, *p = l->p, *const end = l->end;
	unsigned row = l->row;
	for (; end - p >= BLOCK; p += BLOCK) {
		const unsigned to = after_block(rows, class, p, row);
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
	ready(g);
	pay_in(g, text.n);
	struct lane l = lane_new(g, text, &may);
	for (l.row = g->live->line_start; l.p < l.end;) {
		if (l.row == g->live->first) {
			l.p = memchr(l.p, '\n', (size_t)(l.end - l.p));
			if (l.p == NULL)
				return false;
			l.p++;
			l.row = g->live->line_start;
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
		if (active == 0)
			ready(g);	/* no lane is at a row that it forgets */
		for (; active < LANES && next < n && g->all->n_cells <= CELLS_KEPT; next++) {
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

/* Up to `to`, eight bytes at a time, while all that they lead to is known; returns since where something may have begun: begun, or the last of these steps where
 * nothing was. */
static const unsigned char *lane_blocks(const struct gate *g, struct lane *l, const unsigned char *to, const unsigned char *begun)
{
	const unsigned *rows = g->rows;
	const unsigned char *class = g->class_of, *p = l->p;
	const unsigned nothing = g->live->first;
	unsigned row = l->row;
	for (; to - p >= BLOCK; p += BLOCK) {
		const unsigned next = after_block(rows, class, p, row);
		if (next <= MATCH)
			break;
		row = next;
		begun = row == nothing ? p + BLOCK : begun;
	}
	l->p = p;
	l->row = row;
	return begun;
}

/* Goes on until the lane ends or nothing that began up to `enough` is begun any more; returns since where something may have begun. */
static const unsigned char *lane_until(struct gate *g, struct lane *l, const unsigned char *enough)
{
	const unsigned nothing = g->live->first, line_start = g->live->line_start;
	const unsigned char *begun = g->lines ? l->p : lane_blocks(g, l, enough, l->p);
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
	ready(g);
	struct lane l = lane_new(g, str_from(text, *from), &may);
	if (g->lines && (*from == 0 || l.p[-1] == '\n'))
		l.row = g->live->line_start;
	const unsigned char *begun = lane_until(g, &l, start_of + (last < text.n ? last : text.n));
	pay_in(g, (size_t)(l.p - start_of) - *from);
	if (!may)
		return false;
	*from = (size_t)(begun - start_of);
	*to_out = l.row == UNKNOWN ? text.n : (size_t)(l.p - start_of) - 1;
	return true;
}
