/* Signatures: which three-byte substrings a text may hold, as a small set of bits with one-sided error, so that a text whose signature lacks one trigram of a
 * needle does not hold the needle. Pure.
 *
 *	trigrams_reset(t); trigram_add(t, piece) for each piece;	class = trigram_class(t);	trigram_sign(t, class, bits);
 *	trigram_needle(needle, hashes);		trigram_bit(hash, class): the bit that must be set
 */
#ifndef STORE_TRIGRAM_H
#define STORE_TRIGRAM_H

#include <stdbool.h>
#include <stdint.h>

#include "base/str.h"

enum {
	TRIGRAM_SPACE = 1 << 16,	/* hashes of trigrams */
	TRIGRAM_WORDS = TRIGRAM_SPACE / 64,	/* of the largest signature */
	TRIGRAM_CLASSES = 32,		/* sizes of signatures, each a quarter larger than the one before */
	TRIGRAM_NEEDLE_MAX = 64,	/* trigrams of a needle that are asked for */
	TRIGRAM_ROWS = 1024,		/* signatures of a block */
	TRIGRAM_ROW_WORDS = TRIGRAM_ROWS / 64,
};

/* The hashes that a text has, each once. */
struct trigrams {
	uint8_t seen[TRIGRAM_SPACE];	/* those of this text have its number */
	uint8_t number;
	uint16_t list[TRIGRAM_SPACE];
	size_t n;
};
void trigrams_reset(struct trigrams *t);	/* for a new text; t, zeros at first, keeps what it needs to be quick */
void trigram_add(struct trigrams *t, struct str text);
unsigned trigram_class(const struct trigrams *t);	/* the size that fits: about a third of its bits will be set */
size_t trigram_bits(unsigned class);			/* a multiple of 64; 0: no such class */
void trigram_sign(const struct trigrams *t, unsigned class, uint64_t *bits);
size_t trigram_needle(struct str needle, uint16_t out[TRIGRAM_NEEDLE_MAX]);	/* how many; 0: too short to be asked for */
static inline size_t trigram_bit(uint16_t hash, size_t bits) { return (size_t)hash * bits / TRIGRAM_SPACE; }

/* TRIGRAM_ROWS signatures of one class to columns: column j, TRIGRAM_ROW_WORDS words, says which rows have bit j. rows[i] NULL: none. */
void trigram_columns(const uint64_t *const rows[TRIGRAM_ROWS], size_t bits, uint64_t *columns);

#endif
