/* The prefilter (prefilter.h). Its tables are built once and read by all workers; a scan touches about 8 KiB of bitmap for literals and one row of masks
 * for each byte. */
#include "spam/prefilter.h"

#include <stdlib.h>
#include <string.h>

#include "base/map.h"
#include "spam/regex.h"

enum { GRAM = 3, HASH_BITS = 16, BUCKET_BITS = 13, COUNTED_MAX = 60 };
static const double window_rarity_max = 0.02;	/* less telling windows cost more than they spare */

struct literal {
	struct str text;
	unsigned at;		/* of its rarest three bytes */
	unsigned *numbers;
	unsigned n_numbers;
	int next;		/* in the bucket */
};

struct prefilter {
	struct arena *a;
	unsigned n, n_literals, cap_literals, n_windows;
	unsigned cap;
	unsigned char *always;
	unsigned *before;		/* how far a match may begin before what is required of it; RX_FAR: anywhere */
	unsigned char *counter;		/* 1 + index of those that must be seen more than once, 0 the others */
	unsigned char times[COUNTED_MAX];
	unsigned n_counted;
	struct literal *literals;
	struct map *by_text;	/* index + 1; while it is built */
	struct window { struct rx_window w; unsigned number; } *windows;
	unsigned cap_windows;
	uint64_t bitmap[1u << (HASH_BITS - 6)];
	int buckets[1u << BUCKET_BITS];
	size_t words;
	uint64_t *masks;	/* [RX_WINDOW][257][words] */
	uint64_t pairs[2][1u << 10];	/* two bytes that any window has in front, and behind these */
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
	size_t n = x == NULL ? 0 : rx_windows(scratch, x, w, &rarity, &f->before[number]);
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
	unsigned number = f->n, times = 1, cap = f->cap, cap_before = f->cap;
	f->always = grown(f->a, f->always, f->n, &f->cap, 1);
	f->counter = grown(f->a, f->counter, f->n, &cap, 1);
	f->before = grown(f->a, f->before, f->n, &cap_before, sizeof(*f->before));
	f->n++;
	struct arena *scratch = arena_new(0);
	struct rx *x = rx_parse(scratch, pattern, flags);
	struct str *texts;
	size_t n = x == NULL ? 0 : rx_literals(scratch, x, &texts, &times, &f->before[number]);
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
	return (unsigned)p[0] << 16 | (unsigned)p[1] << 8 | p[2];
}

static uint64_t *row(const struct prefilter *f, unsigned offset, unsigned byte)
{
	return f->masks + (offset * 257u + byte) * f->words;
}

static void add_pairs(struct prefilter *f, const struct rx_window *w)
{
	for (unsigned which = 0; which < 2; which++) {
		const unsigned at = which * 2;
		for (unsigned c = 0; c < 256; c++)
			for (unsigned k = 0; k < 4 && (at >= w->n || rx_set_has(&w->set[at], (unsigned char)c)); k++)
				f->pairs[which][c * 4 + k] |= at + 1 >= w->n ? UINT64_MAX : w->set[at + 1].bits[k];
	}
}

void prefilter_finish(struct prefilter *f)
{
	for (unsigned i = 0; i < 1u << BUCKET_BITS; i++)
		f->buckets[i] = -1;
	for (unsigned i = 0; i < f->n_literals; i++) {
		struct literal *l = &f->literals[i];
		unsigned h = hash(gram_at((const unsigned char *)l->text.p + l->at));
		f->bitmap[h >> 6] |= 1ull << (h & 63);
		l->next = f->buckets[h >> (HASH_BITS - BUCKET_BITS)];
		f->buckets[h >> (HASH_BITS - BUCKET_BITS)] = (int)i;
	}
	f->stats.literals = f->n_literals;
	map_free(&f->by_text);
	f->words = (f->n_windows + 63) / 64;
	f->masks = ARENA_ARRAY(f->a, uint64_t, RX_WINDOW * 257u * (f->words + 1));
	for (unsigned i = 0; i < f->n_windows; i++) {
		const struct rx_window *w = &f->windows[i].w;
		add_pairs(f, w);
		for (unsigned k = 0; k < RX_WINDOW; k++)
			for (unsigned c = 0; c < 257; c++)
				if (k >= w->n || (c < 256 && rx_set_has(&w->set[k], (unsigned char)c)))
					row(f, k, c)[i >> 6] |= 1ull << (i & 63);
	}
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

static void hit_at(const struct pass *p, unsigned number, size_t at)
{
	const size_t before = p->f->before[number];
	p->hit(p->ctx, number, before >= RX_FAR || before > at ? 0 : at - before, at);
}

static void literal_hit(struct pass *p, unsigned number, size_t at)
{
	unsigned counter = p->f->counter[number];
	if (counter == 0) {
		hit_at(p, number, at);
		return;
	}
	if (p->seen[counter - 1] < 255 && ++p->seen[counter - 1] >= p->f->times[counter - 1])
		hit_at(p, number, at);
}

static void try_bucket(struct pass *p, unsigned h, struct str text, size_t at)
{
	const struct prefilter *f = p->f;
	for (int i = f->buckets[h >> (HASH_BITS - BUCKET_BITS)]; i >= 0; i = f->literals[i].next) {
		const struct literal *l = &f->literals[i];
		if (at < l->at || at - l->at + l->text.n > text.n || text.p[at - l->at] != l->text.p[0] ||
		    text.p[at - l->at + l->text.n - 1] != l->text.p[l->text.n - 1] || memcmp(text.p + at - l->at, l->text.p, l->text.n) != 0)
			continue;
		for (unsigned k = 0; k < l->n_numbers; k++)
			literal_hit(p, l->numbers[k], at - l->at);
	}
}

static void scan_literals(struct pass *pass, struct str text)
{
	const struct prefilter *f = pass->f;
	const unsigned char *p = (const unsigned char *)text.p;
	for (size_t i = 0; i + GRAM <= text.n; i++) {
		unsigned h = hash(gram_at(p + i));
		if (f->bitmap[h >> 6] >> (h & 63) & 1)
			try_bucket(pass, h, text, i);
	}
}

static void report(const struct pass *p, size_t word, uint64_t bits, size_t at)
{
	for (; bits != 0; bits &= bits - 1)
		hit_at(p, p->f->windows[word * 64 + (size_t)__builtin_ctzll(bits)].number, at);
}

static bool pair_has(const struct prefilter *f, unsigned which, const unsigned char *p)
{
	const unsigned pair = (unsigned)p[0] << 8 | p[1];
	return f->pairs[which][pair >> 6] >> (pair & 63) & 1;
}

static void scan_windows(const struct pass *pass, struct str text)
{
	const struct prefilter *f = pass->f;
	const unsigned char *p = (const unsigned char *)text.p;
	for (size_t i = 0; i <= text.n; i++) {
		if (i + 4 <= text.n && (!pair_has(f, 0, p + i) || !pair_has(f, 1, p + i + 2)))
			continue;
		const uint64_t *r[RX_WINDOW];
		for (unsigned k = 0; k < RX_WINDOW; k++)
			r[k] = row(f, k, i + k < text.n ? p[i + k] : 256);
		for (size_t w = 0; w < f->words; w++) {
			uint64_t bits = r[0][w] & r[1][w] & r[2][w];
			if (bits != 0 && (bits &= r[3][w] & r[4][w] & r[5][w]) != 0)
				report(pass, w, bits, i);
		}
	}
}

void prefilter_scan(const struct prefilter *f, struct str text, struct str folded, prefilter_hit_fn *hit, void *ctx)
{
	struct pass p = { .f = f, .hit = hit, .ctx = ctx };
	if (f->n_literals > 0)
		scan_literals(&p, folded);
	if (f->n_windows > 0)
		scan_windows(&p, text);
}

void prefilter_fold(struct str text, struct buf *out)
{
	typedef unsigned char many __attribute__((vector_size(16)));	/* the compiler does not see it by itself */
	char *p = buf_room(out, text.n);
	size_t i = 0;
	for (many v; p != NULL && i + sizeof(v) <= text.n; i += sizeof(v)) {
		memcpy(&v, text.p + i, sizeof(v));
		v += ((many)(v - 'A' < 26) | ((many)(v - 0xc0 < 31) & (many)(v != 0xd7))) & 32;
		memcpy(p + i, &v, sizeof(v));
	}
	for (; p != NULL && i < text.n; i++)
		p[i] = (char)rx_fold((unsigned char)text.p[i]);
	buf_added(out, p == NULL ? 0 : text.n);
}
