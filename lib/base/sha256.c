/* SHA-256 as FIPS 180-4 section 6.2 writes it; HMAC as RFC 2104 section 2 does. */
#include "base/sha256.h"

#include <string.h>

#include "base/enc.h"

static const uint32_t k[64] = {
	0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
	0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
	0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
	0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
	0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
	0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
	0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
	0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

static uint32_t rotr(uint32_t x, unsigned n)
{
	return x >> n | x << (32 - n);
}

/* Round i of eight: a is the variable that was h in the round before. */
static inline void round_of(uint32_t v[8], unsigned i, uint32_t kw)
{
	const uint32_t a = v[-i & 7], b = v[(1 - i) & 7], c = v[(2 - i) & 7], e = v[(4 - i) & 7], f = v[(5 - i) & 7], g = v[(6 - i) & 7];
	const uint32_t one = v[(7 - i) & 7] + (rotr(e, 6) ^ rotr(e, 11) ^ rotr(e, 25)) + ((e & f) ^ (~e & g)) + kw;

	v[(3 - i) & 7] += one;
	v[(7 - i) & 7] = one + (rotr(a, 2) ^ rotr(a, 13) ^ rotr(a, 22)) + ((a & b) ^ (a & c) ^ (b & c));
}

static void block(struct sha256 *s, const unsigned char *p)
{
	uint32_t w[64], v[8];

	for (int t = 0; t < 16; t++)
		w[t] = (uint32_t)p[4 * t] << 24 | (uint32_t)p[4 * t + 1] << 16 | (uint32_t)p[4 * t + 2] << 8 | p[4 * t + 3];
	for (int t = 16; t < 64; t++)
		w[t] = (rotr(w[t - 2], 17) ^ rotr(w[t - 2], 19) ^ w[t - 2] >> 10) + w[t - 7] + (rotr(w[t - 15], 7) ^ rotr(w[t - 15], 18) ^ w[t - 15] >> 3) +
		       w[t - 16];
	memcpy(v, s->h, sizeof(v));
	/* Eight rounds move each variable once around: written out, none is moved at all. */
	for (unsigned t = 0; t < 64; t += 8) {
#pragma GCC unroll 8
		for (unsigned i = 0; i < 8; i++)
			round_of(v, i, k[t + i] + w[t + i]);
	}
	for (int i = 0; i < 8; i++)
		s->h[i] += v[i];
	mem_wipe(w, sizeof(w));	/* the data, which may be a password */
}

void sha256_init(struct sha256 *s)
{
	static const uint32_t first[8] = { 0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19 };

	memcpy(s->h, first, sizeof(first));
	s->bytes = 0;
}

void sha256_add(struct sha256 *s, struct str data)
{
	while (data.n) {
		const size_t at = s->bytes % 64, n = data.n < 64 - at ? data.n : 64 - at;

		memcpy(s->block + at, data.p, n);
		s->bytes += n;
		if (at + n == 64)
			block(s, s->block);
		data = str_from(data, n);
	}
}

void sha256_end(struct sha256 *s, unsigned char out[32])
{
	const uint64_t bits = s->bytes * 8;
	unsigned char end[72] = { 0x80 };
	const size_t n = 64 - (s->bytes + 8) % 64;

	for (int i = 0; i < 8; i++)
		end[n + (size_t)i] = (unsigned char)(bits >> (56 - 8 * i));
	sha256_add(s, str_n(end, n + 8));
	for (int i = 0; i < 32; i++)
		out[i] = (unsigned char)(s->h[i / 4] >> (24 - 8 * (i % 4)));
}

static void start_pad(struct hmac_sha256 *h, unsigned char with)
{
	for (size_t i = 0; i < sizeof(h->pad); i++)
		h->pad[i] ^= with;
	sha256_init(&h->hash);
	sha256_add(&h->hash, str_n(h->pad, sizeof(h->pad)));
}

void hmac_sha256_init(struct hmac_sha256 *h, struct str key)
{
	memset(h->pad, 0, sizeof(h->pad));
	if (key.n > sizeof(h->pad)) {
		sha256_init(&h->hash);
		sha256_add(&h->hash, key);
		sha256_end(&h->hash, h->pad);
	} else {
		memcpy(h->pad, key.p, key.n);
	}
	start_pad(h, 0x36);
}

void hmac_sha256_add(struct hmac_sha256 *h, struct str data)
{
	sha256_add(&h->hash, data);
}

void hmac_sha256_end(struct hmac_sha256 *h, unsigned char out[32])
{
	unsigned char inner[32];

	sha256_end(&h->hash, inner);
	start_pad(h, 0x36 ^ 0x5c);
	sha256_add(&h->hash, str_n(inner, sizeof(inner)));
	sha256_end(&h->hash, out);
	mem_wipe(h, sizeof(*h));
	mem_wipe(inner, sizeof(inner));
}
