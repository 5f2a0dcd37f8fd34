/* Numbers from peers: checked arithmetic and strict parsing (digits only: no sign, no blank, no overflow); numbers in bytes, and among others. */
#ifndef BASE_NUM_H
#define BASE_NUM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/str.h"

/* 0 and *out, or -1 (not 1..20 decimal digits, or outside min..max). *out untouched on failure. */
int num_parse(struct str s, uint64_t min, uint64_t max, uint64_t *out) MUST_CHECK;
int num_parse_hex(struct str s, uint64_t max, uint64_t *out) MUST_CHECK;	/* 1..16 hex digits */
/* The digits at the start of *s; advances *s. -1 when there is none or it overflows max. */
int num_take(struct str *s, uint64_t max, uint64_t *out) MUST_CHECK;

/* true on overflow, as __builtin_add_overflow. */
#define num_add(a, b, out) __builtin_add_overflow((a), (b), (out))
#define num_mul(a, b, out) __builtin_mul_overflow((a), (b), (out))

/* Big-endian and little-endian stores and loads at any alignment. */
static inline void put_le32(void *p, uint32_t v)
{
	unsigned char *const b = p;

	/* Not a loop: so the compiler makes one store of them. */
	b[0] = (unsigned char)v;
	b[1] = (unsigned char)(v >> 8);
	b[2] = (unsigned char)(v >> 16);
	b[3] = (unsigned char)(v >> 24);
}
static inline void put_le64(void *p, uint64_t v)
{
	put_le32(p, (uint32_t)v);
	put_le32((unsigned char *)p + 4, (uint32_t)(v >> 32));
}
static inline uint32_t get_le32(const void *p) { const unsigned char *b = p; return (uint32_t)b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16 | (uint32_t)b[3] << 24; }
static inline uint64_t get_le64(const void *p) { return (uint64_t)get_le32(p) | (uint64_t)get_le32((const char *)p + 4) << 32; }
static inline uint16_t get_be16(const void *p) { const unsigned char *b = p; return (uint16_t)(b[0] << 8 | b[1]); }
static inline void put_be16(void *p, uint16_t v) { unsigned char *b = p; b[0] = (unsigned char)(v >> 8); b[1] = (unsigned char)v; }

/* How many of n ascending numbers are below x: where x is, or where it would go. */
static inline size_t u32_lower(const uint32_t *v, size_t n, uint32_t x)
{
	size_t lo = 0;

	while (lo < n) {
		const size_t mid = lo + (n - lo) / 2;

		if (v[mid] < x)
			lo = mid + 1;
		else
			n = mid;
	}
	return lo;
}

/* CRC-32C (Castagnoli) of n bytes, continuing from crc (0 to start); hardware instruction where there is one. */
uint32_t crc32c(uint32_t crc, const void *p, size_t n);

#endif
