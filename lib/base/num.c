/* Strict number parsing and CRC-32C. Pure. */
#include "base/num.h"

#include <string.h>

#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
/* The digits that the eight bytes at p begin with, all at once: how many (0 to 8), and their value. */
static unsigned digits8(const char *p, uint64_t *out)
{
	const uint64_t low = 0x0101010101010101;
	uint64_t x;

	memcpy(&x, p, sizeof(x));
	x ^= low * '0';
	const uint64_t others = ((x + low * (0x80 - 10)) | x) & low * 0x80;	/* the first one, at least, is right */
	const unsigned n = others ? (unsigned)__builtin_ctzll(others) / 8 : 8;
	if (n == 0)
		return 0;
	x <<= 64 - 8 * n;	/* zeros before them */
	x = (x * 10 + (x >> 8)) & 0x00ff00ff00ff00ff;	/* pairs, */
	x = (x * 100 + (x >> 16)) & 0x0000ffff0000ffff;	/* fours */
	*out = (uint32_t)(x * 10000 + (x >> 32));
	return n;
}
#else
static unsigned digits8(const char *p, uint64_t *out)
{
	(void)p;
	(void)out;
	return 0;
}
#endif

int num_take(struct str *s, uint64_t max, uint64_t *out)
{
	uint64_t v = 0;
	size_t i = s->n >= 8 ? digits8(s->p, &v) : 0;
	for (; i < s->n && i < 19 && ch_digit(s->p[i]); i++)	/* so many always fit */
		v = v * 10 + (uint64_t)(s->p[i] - '0');
	for (; i < s->n && ch_digit(s->p[i]); i++) {
		uint64_t digit = (uint64_t)(s->p[i] - '0');
		if (num_mul(v, (uint64_t)10, &v) || num_add(v, digit, &v))
			return -1;
	}
	if (i == 0 || v > max)
		return -1;
	*s = str_from(*s, i);
	*out = v;
	return 0;
}

int num_parse(struct str s, uint64_t min, uint64_t max, uint64_t *out)
{
	uint64_t v;
	if (s.n == 0 || s.n > 20 || num_take(&s, max, &v) < 0 || s.n != 0 || v < min)
		return -1;
	*out = v;
	return 0;
}

int num_parse_hex(struct str s, uint64_t max, uint64_t *out)
{
	uint64_t v = 0;
	if (s.n == 0 || s.n > 16)
		return -1;
	for (size_t i = 0; i < s.n; i++) {
		int d = ch_xdigit(s.p[i]);
		if (d < 0)
			return -1;
		v = v << 4 | (uint64_t)d;
	}
	if (v > max)
		return -1;
	*out = v;
	return 0;
}

static uint32_t crc_soft(uint32_t crc, const unsigned char *p, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		crc ^= p[i];
		for (int k = 0; k < 8; k++)
			crc = crc >> 1 ^ (0x82f63b78u & (0u - (crc & 1)));
	}
	return crc;
}

#if defined(__x86_64__)
__attribute__((target("sse4.2"))) static uint32_t crc_hard(uint32_t crc, const unsigned char *p, size_t n)
{
	uint64_t c = crc;
	for (; n >= 8; p += 8, n -= 8) {
		uint64_t word;
		memcpy(&word, p, 8);
		c = __builtin_ia32_crc32di(c, word);
	}
	for (; n > 0; p++, n--)
		c = __builtin_ia32_crc32qi((uint32_t)c, *p);
	return (uint32_t)c;
}
#endif

uint32_t crc32c(uint32_t crc, const void *p, size_t n)
{
	crc = ~crc;
#if defined(__x86_64__)
	if (__builtin_cpu_supports("sse4.2"))
		return ~crc_hard(crc, p, n);
#endif
	return ~crc_soft(crc, p, n);
}
