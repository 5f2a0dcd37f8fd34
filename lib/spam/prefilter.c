/* The prefilter (prefilter.h). Its tables are built once and read by all workers; a scan touches about 8 KiB of bitmap for literals and, for each byte, what
 * says which windows begin with it and the next. */
#include "spam/prefilter.h"

#include <stdlib.h>
#include <string.h>

#include "base/map.h"
#include "base/num.h"
#include "spam/regex.h"

enum { GRAM = 3, HASH_BITS = 16, BUCKET_BITS = 13, COUNTED_MAX = 60, PARTS = 8 };
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
	struct range { struct rx_reach before; enum rx_begin begin; } *ranges;	/* how far before what is required of it, and where at all, a match may begin */
	unsigned char *counter;		/* 1 + index of those that must be seen more than once, 0 the others */
	unsigned char times[COUNTED_MAX];
	unsigned n_counted;
	struct literal *literals;
	struct map *by_text;	/* index + 1; while it is built */
	struct window { struct rx_window w; unsigned number; } *windows;
	unsigned cap_windows;
	uint64_t bitmap[1u << (HASH_BITS - 6)];
	int buckets[1u << BUCKET_BITS];
	size_t words;		/* of a row */
	uint64_t *masks;	/* [RX_WINDOW][257][words]: the windows that have the byte there; 256 is the text's end */
	unsigned char *pairs;	/* of many windows: bit n % PARTS: one of those in word n begins with these two bytes; NULL: there is only one word */
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

static uint64_t *row(const struct prefilter *f, unsigned offset, unsigned byte)
{
	return f->masks + (offset * 257u + byte) * f->words;
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

static void add_pairs(unsigned char *pairs, const struct rx_window *w, unsigned bit)
{
	for (unsigned c = 0; c < 256; c++)
		for (unsigned d = 0; d < 256 && rx_set_has(&w->set[0], (unsigned char)c); d++)
			if (w->n < 2 || rx_set_has(&w->set[1], (unsigned char)d))
				pairs[c << 8 | d] |= (unsigned char)(1u << bit);
}

static void finish_windows(struct prefilter *f)
{
	f->words = (f->n_windows + 63) / 64;
	f->masks = ARENA_ARRAY(f->a, uint64_t, RX_WINDOW * 257u * f->words + 1);
	f->pairs = f->words <= 1 ? NULL : ARENA_ARRAY(f->a, unsigned char, 1u << 16);
	if (f->pairs != NULL)
		qsort(f->windows, f->n_windows, sizeof(*f->windows), by_sets);
	for (unsigned i = 0; i < f->n_windows; i++) {
		const struct rx_window *w = &f->windows[i].w;
		if (f->pairs != NULL)
			add_pairs(f->pairs, w, i / 64 % PARTS);
		for (unsigned k = 0; k < RX_WINDOW; k++)
			for (unsigned c = 0; c < 257; c++)
				if (k >= w->n || (c < 256 && rx_set_has(&w->set[k], (unsigned char)c)))
					row(f, k, c)[i / 64] |= 1ull << i % 64;
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
	f->stats.windows = f->n_windows;
	map_free(&f->by_text);
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

static void try_gram(struct pass *pass, unsigned gram, struct str text, size_t at)
{
	const unsigned h = hash(gram);
	if (pass->f->bitmap[h >> 6] >> (h & 63) & 1)
		try_bucket(pass, h, text, at);
}

static void scan_literals(struct pass *pass, struct str text)
{
	const unsigned char *p = (const unsigned char *)text.p;
	size_t i = 0;
	for (; i + GRAM < text.n; i++)
		try_gram(pass, get_le32(p + i) & 0xffffff, text, i);	/* one load, and a byte too many */
	if (i + GRAM == text.n)
		try_gram(pass, gram_at(p + i), text, i);
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
			bits &= row(p->f, k, at + k < text.n ? (unsigned char)text.p[at + k] : 256)[w];
		report(p, w, bits, at);
	}
}

/* Returns where it stopped. */
static size_t scan_few(const struct pass *pass, struct str text)
{
	const uint64_t *m = pass->f->masks;
	const unsigned char *p = (const unsigned char *)text.p;
	size_t i = 0;
	for (; i + RX_WINDOW <= text.n; i++) {
		uint64_t bits = m[p[i]] & m[257 + p[i + 1]] & m[2 * 257 + p[i + 2]] & m[3 * 257 + p[i + 3]];
		if (bits != 0 && (bits &= m[4 * 257 + p[i + 4]] & m[5 * 257 + p[i + 5]]) != 0)
			report(pass, 0, bits, i);
	}
	return i;
}

/* parts: which words. */
static void try_words(const struct pass *pass, unsigned parts, const unsigned char *p, size_t at)
{
	const struct prefilter *f = pass->f;
	const uint64_t *const r0 = row(f, 0, p[0]), *const r1 = row(f, 1, p[1]), *const r2 = row(f, 2, p[2]), *const r3 = row(f, 3, p[3]);
	for (; parts != 0; parts &= parts - 1) {
		for (size_t w = (size_t)__builtin_ctz(parts); w < f->words; w += PARTS) {
			uint64_t bits = r0[w] & r1[w] & r2[w] & r3[w];
			if (bits != 0 && (bits &= row(f, 4, p[4])[w] & row(f, 5, p[5])[w]) != 0)
				report(pass, w, bits, at);
		}
	}
}

static size_t scan_many(const struct pass *pass, struct str text)
{
	const unsigned char *p = (const unsigned char *)text.p, *pairs = pass->f->pairs;
	size_t i = 0;
	for (; i + RX_WINDOW <= text.n; i++) {
		const unsigned parts = pairs[(unsigned)p[i] << 8 | p[i + 1]];
		if (parts != 0)
			try_words(pass, parts, p + i, i);
	}
	return i;
}

static void scan_windows(const struct pass *pass, struct str text)
{
	for (size_t i = pass->f->pairs == NULL ? scan_few(pass, text) : scan_many(pass, text); i <= text.n; i++)
		try_windows(pass, text, i);
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
		const many space = (many)(v - 9 < 5);
		v += ((many)(v - 'A' < 26) | ((many)(v - 0xc0 < 31) & (many)(v != 0xd7))) & 32;
		v = (v & ~space) | (space & ' ');
		memcpy(p + i, &v, sizeof(v));
	}
	for (; p != NULL && i < text.n; i++)
		p[i] = (char)rx_fold((unsigned char)text.p[i]);
	buf_added(out, p == NULL ? 0 : text.n);
}
