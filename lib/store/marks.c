/* Marked positions (marks.h). */
#include "store/marks.h"

#include <stdlib.h>
#include <string.h>

#include "base/arena.h"

static uint64_t bit(uint32_t pos)
{
	return UINT64_C(1) << (pos % 64);
}

void marks_put(struct marks *s, uint32_t pos)
{
	const size_t w = pos / 64;

	if (w >= s->words) {
		const size_t words = w + w / 4 + 16;
		s->v = xrealloc(s->v, words * sizeof(*s->v));
		memset(s->v + s->words, 0, (words - s->words) * sizeof(*s->v));
		s->words = words;
	}
	s->n += !(s->v[w] & bit(pos));
	s->v[w] |= bit(pos);
}

void marks_take(struct marks *s, uint32_t pos)
{
	s->v[pos / 64] &= ~bit(pos);
	if (--s->n == 0)
		marks_fini(s);
}

bool marks_next(const struct marks *s, uint32_t from, uint32_t *pos_out)
{
	size_t w = from / 64;
	uint64_t bits = s->n > 0 && w < s->words ? s->v[w] & ~(bit(from) - 1) : 0;

	if (s->n == 0)
		return false;
	while (bits == 0 && ++w < s->words)
		bits = s->v[w];
	if (bits == 0)
		return false;
	*pos_out = (uint32_t)(w * 64) + (uint32_t)__builtin_ctzll(bits);
	return true;
}

bool marks_last(const struct marks *s, uint32_t below, uint32_t *pos_out)
{
	size_t w = below / 64;
	uint64_t bits = w < s->words ? s->v[w] & (bit(below) - 1) : 0;

	if (s->n == 0)
		return false;
	if (w > s->words)
		w = s->words;
	while (bits == 0 && w-- > 0)
		bits = s->v[w];
	if (bits == 0)
		return false;
	*pos_out = (uint32_t)(w * 64) + 63 - (uint32_t)__builtin_clzll(bits);
	return true;
}

void marks_cut(struct marks *s, uint32_t from)
{
	for (uint32_t pos; marks_next(s, from, &pos);)
		marks_take(s, pos);
}

void marks_fini(struct marks *s)
{
	free(s->v);
	*s = (struct marks){ 0 };
}
