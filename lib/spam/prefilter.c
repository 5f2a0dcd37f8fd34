/* The prefilter (prefilter.h). Its tables are built once and read by all workers. A scan looks at each two bytes of the text: a table says whether what is looked for of
 * some literal, or some window, begins with them; only then it looks on. */
#include "spam/prefilter.h"

#include <stdlib.h>
#include <string.h>

#include "base/map.h"
#include "base/num.h"
#include "base/vec.h"
#include "spam/regex.h"

enum { GRAM = 3, HASH_BITS = 16, BUCKETS = 1 << 13, COUNTED_MAX = 60, PARTS = 7, LITERAL = 1 << PARTS, PAIRS = 1 << 16, WORD = 8, TEXT_END = 256, BYTES };
static const double window_rarity_max = 0.02;	/* less telling windows cost more than they spare */

struct literal {
	struct str text;
	unsigned at;		/* of its rarest three bytes */
	unsigned *numbers;
	unsigned n_numbers;
};

/* A literal where it may be in a text: its first bytes at once, `at` before the place; those after them are not in mask. */
struct entry { uint64_t want, mask; unsigned at, literal; };

struct prefilter {
	struct arena *a;
	unsigned n, n_literals, cap_literals, n_windows;
	unsigned cap;
	unsigned char *always;
	struct range { struct rx_reach before; enum rx_begin begin; } *ranges;	/* how far before what is required of it, and where at all, a match may begin */
	unsigned char *counter;		/* 1 + index of those that must be seen more than once, 0 the others */
	unsigned char times[COUNTED_MAX];
	unsigned n_counted;
	struct literal *literals;
	struct map *by_text;	/* index + 1; while it is built */
	struct window { struct rx_window w; unsigned number; } *windows;
	unsigned cap_windows;
	uint64_t bitmap[1u << (HASH_BITS - 6)];
	unsigned *buckets;	/* [BUCKETS + 1]: where the entries of each begin */
	struct entry *entries;
	size_t words;		/* of all windows */
	uint64_t (*masks)[RX_WINDOW][BYTES];	/* [words]: the windows that have the byte there; the last is the text's end */
	unsigned char *first, *second;	/* of two bytes: which parts of the windows begin with them (LITERAL: or literals' rarest bytes do), which go on with them */
	struct prefilter_stats stats;
};

struct prefilter *prefilter_new(struct arena *a)
{
	struct prefilter *f = ARENA_NEW(a, struct prefilter);
	f->a = a;
	f->by_text = map_new();
	return f;
}

static void *grown(struct arena *a, void *old, unsigned n, unsigned *cap, size_t size)
{
	if (n < *cap)
		return old;
	unsigned to = *cap == 0 ? 64 : *cap * 2;
	void *v = arena_array(a, to, size);
	if (n > 0)
		memcpy(v, old, n * size);
	*cap = to;
	return v;
}

static unsigned rarest(struct str s)
{
	unsigned best = 0;
	double low = 2;
	for (unsigned i = 0; i + GRAM <= s.n; i++) {
		double r = rx_rarity((unsigned char)s.p[i]) * rx_rarity((unsigned char)s.p[i + 1]) * rx_rarity((unsigned char)s.p[i + 2]);
		if (r < low) {
			low = r;
			best = i;
		}
	}
	return best;
}

static void add_literal(struct prefilter *f, struct str text, unsigned number)
{
	size_t known = (size_t)(uintptr_t)map_get(f->by_text, text);
	struct literal *l = known == 0 ? NULL : &f->literals[known - 1];
	if (l == NULL) {
		f->literals = grown(f->a, f->literals, f->n_literals, &f->cap_literals, sizeof(*l));
		l = &f->literals[f->n_literals++];
		*l = (struct literal){ .text = arena_str(f->a, text), .at = rarest(text) };
		map_set(f->by_text, l->text, (void *)(uintptr_t)f->n_literals);
	}
	unsigned *numbers = ARENA_ARRAY(f->a, unsigned, l->n_numbers + 1);
	if (l->n_numbers > 0)
		memcpy(numbers, l->numbers, l->n_numbers * sizeof(*numbers));
	numbers[l->n_numbers++] = number;
	l->numbers = numbers;
}

static void add_windows(struct prefilter *f, struct arena *scratch, const struct rx *x, unsigned number)
{
	struct rx_window w[RX_WINDOWS_MAX];
	double rarity = 1;
	size_t n = x == NULL ? 0 : rx_windows(scratch, x, w, &rarity, &f->ranges[number].before);
	f->always[number] = n == 0 || rarity > window_rarity_max;
	for (size_t i = 0; i < n && !f->always[number]; i++) {
		f->windows = grown(f->a, f->windows, f->n_windows, &f->cap_windows, sizeof(*f->windows));
		f->windows[f->n_windows++] = (struct window){ w[i], number };
	}
	f->stats.window += !f->always[number];
	f->stats.always += f->always[number];
}

unsigned prefilter_add(struct prefilter *f, struct str pattern, const char *flags)
{
	unsigned number = f->n, times = 1, cap = f->cap, cap_ranges = f->cap;
	f->always = grown(f->a, f->always, f->n, &f->cap, 1);
	f->counter = grown(f->a, f->counter, f->n, &cap, 1);
	f->ranges = grown(f->a, f->ranges, f->n, &cap_ranges, sizeof(*f->ranges));
	f->n++;
	struct arena *scratch = arena_new(0);
	struct rx *x = rx_parse(scratch, pattern, flags);
	struct str *texts;
	size_t n = x == NULL ? 0 : rx_literals(scratch, x, &texts, &times, &f->ranges[number].before);
	f->ranges[number].begin = x == NULL ? RX_ANYWHERE : rx_begins(pattern, flags, x);
	for (size_t i = 0; i < n; i++)
		add_literal(f, texts[i], number);
	f->stats.literal += n > 0;
	if (n > 0 && times > 1 && times < 255 && f->n_counted < COUNTED_MAX) {
		f->times[f->n_counted++] = (unsigned char)times;
		f->counter[number] = (unsigned char)f->n_counted;
	}
	if (n == 0)
		add_windows(f, scratch, x, number);
	arena_free(&scratch);
	return number;
}

static unsigned hash(unsigned gram)
{
	return (gram * 2654435761u) >> (32 - HASH_BITS);
}

static unsigned gram_at(const unsigned char *p)
{
	return (unsigned)p[0] | (unsigned)p[1] << 8 | (unsigned)p[2] << 16;
}

static unsigned pair_at(const unsigned char *p)
{
	return (unsigned)p[0] | (unsigned)p[1] << 8;
}

/* Windows that begin alike stand together, so that what begins with two bytes is in few words. */
static int by_sets(const void *a, const void *b)
{
	const struct rx_window *x = &((const struct window *)a)->w, *y = &((const struct window *)b)->w;
	for (size_t k = 0; k < x->n && k < y->n; k++) {
		const int c = memcmp(&x->set[k], &y->set[k], sizeof(x->set[k]));
		if (c != 0)
			return c;
	}
	return (x->n > y->n) - (x->n < y->n);
}

static unsigned bucket(unsigned h)
{
	return h % BUCKETS;
}

static unsigned hash_of(const struct literal *l)
{
	return hash(gram_at((const unsigned char *)l->text.p + l->at));
}

static struct entry entry_of(const struct prefilter *f, unsigned i)
{
	const struct literal *l = &f->literals[i];
	struct entry e = { .at = l->at, .literal = i };
	unsigned char want[WORD] = { 0 }, mask[WORD] = { 0 };
	const size_t n = l->text.n < WORD ? l->text.n : WORD;
	memcpy(want, l->text.p, n);
	memset(mask, 0xff, n);
	e.want = get_le64(want);
	e.mask = get_le64(mask);
	return e;
}

/* Where folded bytes are these two. */
static void add_literal_pair(struct prefilter *f, const unsigned char *two)
{
	for (unsigned c = 0; c < 256; c++)
		for (unsigned d = 0; d < 256 && rx_fold((unsigned char)c) == two[0]; d++)
			if (rx_fold((unsigned char)d) == two[1])
				f->first[c | d << 8] |= LITERAL;
}

static void finish_literals(struct prefilter *f)
{
	f->buckets = ARENA_ARRAY(f->a, unsigned, BUCKETS + 1);
	f->entries = ARENA_ARRAY(f->a, struct entry, f->n_literals + 1);
	for (unsigned i = 0; i < f->n_literals; i++) {
		const unsigned h = hash_of(&f->literals[i]);
		f->bitmap[h >> 6] |= 1ull << (h & 63);
		f->buckets[bucket(h)]++;
		add_literal_pair(f, (const unsigned char *)f->literals[i].text.p + f->literals[i].at);
	}
	for (unsigned i = 1; i <= BUCKETS; i++)
		f->buckets[i] += f->buckets[i - 1];
	for (unsigned i = f->n_literals; i-- > 0;)
		f->entries[--f->buckets[bucket(hash_of(&f->literals[i]))]] = entry_of(f, i);
}

/* Which windows are in a part: those of some words or, of one word, some bits of it. */
static bool part_has(const struct prefilter *f, size_t word, uint64_t bits, unsigned part)
{
	static const uint64_t each = 0x8102040810204081ull;	/* every PARTS bits */
	return f->words > 1 ? word % PARTS == part && bits != 0 : (bits & each << part) != 0;
}

static void finish_pairs(struct prefilter *f, unsigned offset, unsigned char *pairs)
{
	for (unsigned i = 0; i < PAIRS; i++) {
		for (size_t w = 0; w < f->words; w++) {
			const uint64_t both = f->masks[w][offset][i & 255] & f->masks[w][offset + 1][i >> 8];
			for (unsigned part = 0; part < PARTS && both != 0; part++)
				if (part_has(f, w, both, part))
					pairs[i] |= (unsigned char)(1u << part);
		}
	}
}

static void finish_windows(struct prefilter *f)
{
	f->words = (f->n_windows + 63) / 64;
	f->masks = arena_array(f->a, f->words + 1, sizeof(*f->masks));
	if (f->n_windows > 1)
		qsort(f->windows, f->n_windows, sizeof(*f->windows), by_sets);
	for (unsigned i = 0; i < f->n_windows; i++) {
		const struct rx_window *w = &f->windows[i].w;
		for (unsigned k = 0; k < RX_WINDOW; k++)
			for (unsigned c = 0; c < BYTES; c++)
				if (k >= w->n || (c < TEXT_END && rx_set_has(&w->set[k], (unsigned char)c)))
					f->masks[i / 64][k][c] |= 1ull << i % 64;
	}
	finish_pairs(f, 0, f->first);
	finish_pairs(f, 2, f->second);
}

void prefilter_finish(struct prefilter *f)
{
	f->first = ARENA_ARRAY(f->a, unsigned char, PAIRS);
	f->second = ARENA_ARRAY(f->a, unsigned char, PAIRS);
	f->stats.literals = f->n_literals;
	f->stats.windows = f->n_windows;
	map_free(&f->by_text);
	finish_literals(f);
	finish_windows(f);
}

unsigned prefilter_count(const struct prefilter *f)
{
	return f->n;
}

bool prefilter_always(const struct prefilter *f, unsigned number)
{
	return f->always[number];
}

struct prefilter_stats prefilter_stats(const struct prefilter *f)
{
	return f->stats;
}

struct pass { const struct prefilter *f; prefilter_hit_fn *hit; void *ctx; unsigned char seen[COUNTED_MAX]; };

/* The first byte that what is at `at` can belong to. */
static size_t reached(const struct rx_reach *before, struct str text, size_t at, size_t floor)
{
	if (before->bytes >= RX_FAR || at < floor)
		return floor < at ? floor : at;
	if ((before->free.bits[0] | before->free.bits[1] | before->free.bits[2] | before->free.bits[3]) == 0)
		return at - floor > before->bytes ? at - before->bytes : floor;
	size_t left = before->bytes, i = at;
	for (; i > floor; i--) {
		if (rx_set_has(&before->free, (unsigned char)text.p[i - 1]))
			continue;
		if (left == 0)
			break;
		left--;
	}
	return i;
}

bool prefilter_place(const struct prefilter *f, unsigned number, struct str text, size_t floor, size_t *from, size_t *to)
{
	const struct range *r = &f->ranges[number];
	*from = reached(&r->before, text, *from, floor);
	if (r->begin == RX_TEXT) {
		*to = 0;
	} else if (r->begin == RX_LINES && *to > 0) {
		const char *lf = memrchr(text.p, '\n', *to);
		*to = lf == NULL ? 0 : (size_t)(lf - text.p) + 1;
	}
	return *from <= *to;
}

static void literal_hit(struct pass *p, unsigned number, size_t at)
{
	unsigned counter = p->f->counter[number];
	if (counter == 0) {
		p->hit(p->ctx, number, at);
		return;
	}
	if (p->seen[counter - 1] < 255 && ++p->seen[counter - 1] >= p->f->times[counter - 1])
		p->hit(p->ctx, number, at);
}

static void literal_found(struct pass *p, const struct literal *l, size_t at)
{
	for (unsigned k = 0; k < l->n_numbers; k++)
		literal_hit(p, l->numbers[k], at);
}

static void try_bucket(struct pass *p, unsigned h, struct str text, size_t at)
{
	const struct prefilter *f = p->f;
	for (const struct entry *e = f->entries + f->buckets[bucket(h)], *const end = f->entries + f->buckets[bucket(h) + 1]; e < end; e++) {
		const size_t start = at - e->at;
		if (at < e->at)
			continue;
		const bool whole = text.n - start >= WORD;
		if (whole && (get_le64((const unsigned char *)text.p + start) & e->mask) != e->want)
			continue;
		const struct literal *l = &f->literals[e->literal];
		if (l->text.n > text.n - start || ((!whole || l->text.n > WORD) && memcmp(text.p + start, l->text.p, l->text.n) != 0))
			continue;
		literal_found(p, l, start);
	}
}

static void try_gram(struct pass *pass, unsigned gram, struct str text, size_t at)
{
	const unsigned h = hash(gram);
	if (pass->f->bitmap[h >> 6] >> (h & 63) & 1)
		try_bucket(pass, h, text, at);
}

static void report(const struct pass *p, size_t word, uint64_t bits, size_t at)
{
	for (; bits != 0; bits &= bits - 1)
		p->hit(p->ctx, p->f->windows[word * 64 + (size_t)__builtin_ctzll(bits)].number, at);
}

/* Near the end of the text. */
static void try_windows(const struct pass *p, struct str text, size_t at)
{
	for (size_t w = 0; w < p->f->words; w++) {
		uint64_t bits = UINT64_MAX;
		for (unsigned k = 0; k < RX_WINDOW; k++)
			bits &= p->f->masks[w][k][at + k < text.n ? (unsigned char)text.p[at + k] : TEXT_END];
		report(p, w, bits, at);
	}
}

static void try_word(const struct pass *pass, size_t w, const unsigned char *p, size_t at)
{
	const uint64_t (*const has)[BYTES] = pass->f->masks[w];
	uint64_t bits = has[0][p[0]] & has[1][p[1]] & has[2][p[2]] & has[3][p[3]];
	if (bits != 0 && (bits &= has[4][p[4]] & has[5][p[5]]) != 0)
		report(pass, w, bits, at);
}

/* parts: of which windows. */
static void try_parts(const struct pass *pass, unsigned parts, const unsigned char *p, size_t at)
{
	const size_t words = pass->f->words;
	if (words == 1)
		try_word(pass, 0, p, at);
	for (; words > 1 && parts != 0; parts &= parts - 1)
		for (size_t w = (size_t)__builtin_ctz(parts); w < words; w += PARTS)
			try_word(pass, w, p, at);
}

void prefilter_scan(const struct prefilter *f, struct str text, struct str folded, prefilter_hit_fn *hit, void *ctx)
{
	struct pass pass = { .f = f, .hit = hit, .ctx = ctx };
	const unsigned char *const p = (const unsigned char *)text.p, *const q = (const unsigned char *)folded.p, *const first = f->first, *const second = f->second;
	size_t i = 0;
	for (; i + RX_WINDOW <= text.n; i++) {
		const unsigned begun = first[pair_at(p + i)];
		if (begun == 0)
			continue;
		if (begun & LITERAL)
			try_gram(&pass, get_le32(q + i) & 0xffffff, folded, i);
		const unsigned parts = begun & second[pair_at(p + i + 2)];
		if (parts != 0)
			try_parts(&pass, parts, p + i, i);
	}
	for (; i <= text.n; i++) {
		if (i + GRAM <= text.n)
			try_gram(&pass, gram_at(q + i), folded, i);
		try_windows(&pass, text, i);
	}
}

void prefilter_fold(struct str text, struct buf *out)
{
	char *p = buf_room(out, text.n);
	size_t i = 0;
	for (; p != NULL && i + VEC <= text.n; i += VEC) {
		const vec v = vec_at(text.p + i), space = vec_space(v);
		const vec upper = (vec)(v - 'A' < 26) | ((vec)(v - 0xc0 < 31) & (vec)(v != 0xd7));
		vec_put(p + i, ((v + (upper & 32)) & ~space) | (space & ' '));
	}
	for (; p != NULL && i < text.n; i++)
		p[i] = (char)rx_fold((unsigned char)text.p[i]);
	buf_added(out, p == NULL ? 0 : text.n);
}
