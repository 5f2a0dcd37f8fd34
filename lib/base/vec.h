/* Sixteen bytes at once, for loops that stop at a byte of some kind: compilers do not see those by themselves. Vectors compare byte by byte, v == 'x' or
 * v - 'a' < 26 (bytes wrap around), and the result is 0xff where it is so, else 0:
 *
 *	for (; i + VEC <= s.n; i += VEC)
 *		if ((at = vec_first((vec)(vec_at(s.p + i) == '<'))) < VEC)
 *			return i + at;
 *
 * Without SSE2 the same in plain words. */
#ifndef BASE_VEC_H
#define BASE_VEC_H

#include <stdint.h>
#include <string.h>

#ifdef __SSE2__
#include <emmintrin.h>
#endif

enum { VEC = 16 };
typedef unsigned char vec __attribute__((vector_size(VEC)));

static inline vec vec_at(const void *p)
{
	vec v;
	memcpy(&v, p, sizeof(v));
	return v;
}

static inline void vec_put(void *p, vec v)
{
	memcpy(p, &v, sizeof(v));
}

/* Bit i: byte i of a comparison. */
static inline unsigned vec_bits(vec mask)
{
#ifdef __SSE2__
	return (unsigned)_mm_movemask_epi8((__m128i)mask);
#else
	unsigned bits = 0;
	for (unsigned i = 0; i < VEC; i++)
		bits |= (mask[i] & 1u) << i;
	return bits;
#endif
}

/* The first byte where it is so; VEC: nowhere. */
static inline unsigned vec_first(vec mask)
{
	return (unsigned)__builtin_ctz(vec_bits(mask) | 1u << VEC);
}

/* White space: \t \n \v \f \r and the blank. */
static inline vec vec_space(vec v)
{
	return (vec)(v == ' ') | (vec)(v - 9 < 5);
}

#endif
