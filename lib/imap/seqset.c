/* Sequence sets as ranges: parse, normalise, ask, print. */
#include "imap/seqset.h"

#include <stdlib.h>

#include "base/num.h"

static int push(struct arena *a, struct imap_seqset *s, struct imap_range r)
{
	if (s->n == s->cap) {
		const size_t want = s->cap ? s->cap * 2 : 8;
		struct imap_range *grown = s->n >= IMAP_RANGES_MAX ? NULL : ARENA_ARRAY(a, struct imap_range, want);

		if (!grown)
			return -1;
		if (s->n)
			memcpy(grown, s->v, s->n * sizeof(*grown));
		s->v = grown;
		s->cap = want;
	}
	s->v[s->n++] = r;
	return 0;
}

int imap_seqset_add(struct arena *a, struct imap_seqset *s, uint32_t n)
{
	if (s->n && s->v[s->n - 1].hi == n)
		return 0;
	if (s->n && s->v[s->n - 1].hi + 1 == n) {
		s->v[s->n - 1].hi = n;
		return 0;
	}
	return push(a, s, (struct imap_range){ n, n });
}

/* nz-number or "*". */
static int get_one(struct imap_lex *l, uint32_t *out, struct err *e)
{
	uint64_t n;

	if (imap_try(l, '*')) {
		*out = 0;
		return 0;
	}
	if (imap_get_number(l, 1, UINT32_MAX, &n, e) < 0)
		return err_set(e, ERR_INPUT, 0, "invalid sequence set");
	*out = (uint32_t)n;
	return 0;
}

/* Most long sets ascend: then neighbours are joined at once and memory follows the result. */
static int add_range(struct arena *a, struct imap_seqset *s, struct imap_range r)
{
	struct imap_range *last = s->n ? &s->v[s->n - 1] : NULL;

	if (last && last->lo && last->hi >= last->lo && r.lo && r.hi >= r.lo && r.lo >= last->lo &&
	    r.lo <= (uint64_t)last->hi + 1) {
		if (r.hi > last->hi)
			last->hi = r.hi;
		return 0;
	}
	return push(a, s, r);
}

int imap_get_seqset(struct imap_lex *l, struct imap_seqset *out, struct err *e)
{
	struct imap_seqset s = { 0 };

	if (imap_try(l, '$')) {
		s.saved = true;
		*out = s;
		return 0;
	}
	do {
		struct imap_range r;

		if (get_one(l, &r.lo, e) < 0)
			return -1;
		r.hi = r.lo;
		if (imap_try(l, ':') && get_one(l, &r.hi, e) < 0)
			return -1;
		if (add_range(l->arena, &s, r) < 0)
			return err_set(e, ERR_LIMIT, 0, "sequence set too long");
	} while (imap_try(l, ','));
	*out = s;
	return 0;
}

int imap_seqset_parse(struct arena *a, struct str text, struct imap_seqset *out, struct err *e)
{
	struct imap_lex l = { .p = text.p, .end = text.p + text.n, .arena = a };

	if (imap_get_seqset(&l, out, e) < 0)
		return -1;
	if (!imap_at_end(&l))
		return err_set(e, ERR_INPUT, 0, "invalid sequence set");
	return 0;
}

static int by_lo(const void *pa, const void *pb)
{
	const struct imap_range *a = pa, *b = pb;

	return a->lo < b->lo ? -1 : a->lo > b->lo;
}

static size_t resolve_stars(struct imap_seqset *s, uint32_t max, bool *sorted)
{
	size_t n = 0;

	*sorted = true;
	for (size_t i = 0; i < s->n; i++) {
		struct imap_range r = s->v[i];

		if ((r.lo == 0 || r.hi == 0) && max == 0)
			continue;
		r.lo = r.lo ? r.lo : max;
		r.hi = r.hi ? r.hi : max;
		if (r.lo > r.hi)
			r = (struct imap_range){ r.hi, r.lo };
		if (n && s->v[n - 1].lo > r.lo)
			*sorted = false;
		s->v[n++] = r;
	}
	return n;
}

void imap_seqset_resolve(struct imap_seqset *s, uint32_t max)
{
	bool sorted;
	size_t n = resolve_stars(s, max, &sorted), kept = 0;

	if (!sorted)
		qsort(s->v, n, sizeof(*s->v), by_lo);
	for (size_t i = 0; i < n; i++) {
		struct imap_range *last = kept ? &s->v[kept - 1] : NULL;

		if (last && s->v[i].lo <= (uint64_t)last->hi + 1) {
			if (s->v[i].hi > last->hi)
				last->hi = s->v[i].hi;
		} else {
			s->v[kept++] = s->v[i];
		}
	}
	s->n = kept;
}

uint32_t imap_seqset_max(const struct imap_seqset *s)
{
	return s->n ? s->v[s->n - 1].hi : 0;
}

uint64_t imap_seqset_count(const struct imap_seqset *s)
{
	uint64_t n = 0;

	for (size_t i = 0; i < s->n; i++)
		n += (uint64_t)s->v[i].hi - s->v[i].lo + 1;
	return n;
}

bool imap_seqset_has(const struct imap_seqset *s, uint32_t n)
{
	size_t lo = 0, hi = s->n;

	while (lo < hi) {
		const size_t mid = lo + (hi - lo) / 2;

		if (n < s->v[mid].lo)
			hi = mid;
		else if (n > s->v[mid].hi)
			lo = mid + 1;
		else
			return true;
	}
	return false;
}

static void format_range(struct buf *out, uint32_t lo, uint32_t hi, bool first)
{
	if (!first)
		buf_ch(out, ',');
	if (lo == 0)
		buf_ch(out, '*');
	else
		buf_u64(out, lo);
	if (hi == lo)
		return;
	buf_ch(out, ':');
	if (hi == 0)
		buf_ch(out, '*');
	else
		buf_u64(out, hi);
}

void imap_seqset_format(const struct imap_seqset *s, struct buf *out)
{
	if (s->saved)
		buf_ch(out, '$');
	for (size_t i = 0; i < s->n; i++)
		format_range(out, s->v[i].lo, s->v[i].hi, i == 0);
}

void imap_numbers_format(const uint32_t *v, size_t n, struct buf *out)
{
	for (size_t i = 0; i < n;) {
		size_t j = i + 1;

		while (j < n && v[j] == v[j - 1] + 1)
			j++;
		format_range(out, v[i], v[j - 1], i == 0);
		i = j;
	}
}
