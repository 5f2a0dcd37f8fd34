/* Sets of trigrams, folded down to as many bits as their number asks for; rows of bits to columns. */
#include "store/trigram.h"

#include <string.h>

enum { BITS_PER_10 = 26 };	/* bits of a signature for ten trigrams: a third of them is set then, and a needle of eight letters leaves one text in a thousand */

static uint16_t hash(uint32_t trigram)
{
	return (uint16_t)(trigram * UINT32_C(0x9e3779b1) >> 16);
}

void trigrams_reset(struct trigrams *t)
{
	t->n = 0;
	if (++t->number > 0)
		return;
	memset(t->seen, 0, sizeof(t->seen));
	t->number = 1;
}

/* Most of what a search index costs: no branch that could be guessed wrong, and a byte for each hash, for bits would have to be shifted. */
void trigram_add(struct trigrams *t, struct str text)
{
	const unsigned char *const p = (const unsigned char *)text.p;
	const uint8_t number = t->number;
	uint32_t three = text.n >= 2 ? (uint32_t)p[0] << 8 | p[1] : 0;
	size_t n = t->n;

	for (size_t i = 2; i < text.n && n < TRIGRAM_SPACE; i++) {
		three = (three << 8 | p[i]) & 0xffffff;
		const uint16_t h = hash(three);
		t->list[n] = h;		/* stays when it is new */
		n += t->seen[h] != number;
		t->seen[h] = number;
	}
	t->n = n;
}

size_t trigram_bits(unsigned class)
{
	static const uint32_t sizes[TRIGRAM_CLASSES] = { 64, 128, 192, 256, 320, 384, 512, 640, 768, 960, 1216, 1536, 1920, 2432, 3008, 3776, 4736, 5952, 7424, 9280, 11584, 14464,
		18112, 22656, 28288, 35392, 44224, 55296, 65536 };

	return class < TRIGRAM_CLASSES ? sizes[class] : 0;
}

unsigned trigram_class(const struct trigrams *t)
{
	unsigned class = 0;

	while (trigram_bits(class) * 10 < t->n * BITS_PER_10 && trigram_bits(class + 1) != 0)
		class++;
	return class;
}

void trigram_sign(const struct trigrams *t, unsigned class, uint64_t *bits)
{
	const size_t n = trigram_bits(class);

	memset(bits, 0, n / 8);
	for (size_t i = 0; i < t->n; i++) {
		const size_t at = trigram_bit(t->list[i], n);
		bits[at / 64] |= UINT64_C(1) << (at % 64);
	}
}

size_t trigram_needle(struct str needle, uint16_t out[TRIGRAM_NEEDLE_MAX])
{
	const unsigned char *const p = (const unsigned char *)needle.p;
	size_t n = 0;

	for (size_t i = 0; i + 2 < needle.n && n < TRIGRAM_NEEDLE_MAX; i++) {
		const uint16_t h = hash((uint32_t)p[i] << 16 | (uint32_t)p[i + 1] << 8 | p[i + 2]);
		bool had = false;
		for (size_t k = 0; k < n && !had; k++)
			had = out[k] == h;
		if (!had)
			out[n++] = h;
	}
	return n;
}

/* 64 times 64 bits: bit j of word i becomes bit i of word j, by swapping ever smaller squares. */
static void square(uint64_t a[64])
{
	uint64_t mask = UINT64_C(0x00000000ffffffff);

	for (unsigned step = 32; step; step >>= 1, mask ^= mask << step) {
		for (unsigned i = 0; i < 64; i = ((i | step) + 1) & ~step) {
			const uint64_t t = (a[i] >> step ^ a[i | step]) & mask;
			a[i] ^= t << step;
			a[i | step] ^= t;
		}
	}
}

void trigram_columns(const uint64_t *const rows[TRIGRAM_ROWS], size_t bits, uint64_t *columns)
{
	uint64_t a[64];

	for (size_t r = 0; r < TRIGRAM_ROW_WORDS; r++) {
		for (size_t w = 0; w < bits / 64; w++) {
			for (size_t i = 0; i < 64; i++)
				a[i] = rows[r * 64 + i] ? rows[r * 64 + i][w] : 0;
			square(a);
			for (size_t j = 0; j < 64; j++)
				columns[(w * 64 + j) * TRIGRAM_ROW_WORDS + r] = a[j];
		}
	}
}
