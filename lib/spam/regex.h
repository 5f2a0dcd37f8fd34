/* What can be known of a pattern without matching it: which texts must occur in whatever it matches. From that the prefilter (prefilter.h) is built. A parser
 * of PCRE2's syntax, conservative: what it does not understand has no requirement (NULL).
 */
#ifndef SPAM_REGEX_H
#define SPAM_REGEX_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/str.h"

enum { RX_DEPTH_MAX = 60, RX_LITERALS_MAX = 600, RX_LITERAL_LENGTH_MAX = 24, RX_WINDOW = 6, RX_WINDOWS_MAX = 24, RX_STATES_MAX = 20000,
       RX_FAR = 1 << 20 };

struct rx_set { uint64_t bits[4]; };
static inline bool rx_set_has(const struct rx_set *s, unsigned char c) { return s->bits[c >> 6] >> (c & 63) & 1; }

enum rx_op { RX_EMPTY, RX_SET, RX_CAT, RX_ALT, RX_REPEAT, RX_ZERO };
struct rx {
	enum rx_op op;
	struct rx_set set;	/* RX_SET: one byte of these */
	unsigned min, max;	/* RX_REPEAT; max UINT_MAX: no end */
	struct rx *kids, *next;
};

/* NULL: not understood. */
struct rx *rx_parse(struct arena *a, struct str pattern, const char *flags);
/* What may lie between the beginning of a match and what it requires: any number of the bytes in `free`, and at most so many others (RX_FAR: anything). */
struct rx_reach { unsigned bytes; struct rx_set free; };
/* Folded texts of which at least one is in every match (of a folded subject), *times_out times at different places, and within *before_out of its beginning.
 * 0: no such set of texts of three bytes or more. */
size_t rx_literals(struct arena *a, const struct rx *x, struct str **out, unsigned *times_out, struct rx_reach *before_out);
/* Windows: byte classes that lie one after the other. One of them is in every match, within *before_out of its beginning. Returns how many (0: none);
 * *rarity_out: how likely text passes, roughly. */
struct rx_window { struct rx_set set[RX_WINDOW]; size_t n; };
size_t rx_windows(struct arena *a, const struct rx *x, struct rx_window out[RX_WINDOWS_MAX], double *rarity_out, struct rx_reach *before_out);
/* A run of bytes of one class that is in every match, of RX_RUN_MIN or more. False: none is known. */
enum { RX_RUN_MIN = 32 };
struct rx_run { struct rx_set set; size_t n; };
bool rx_run(const struct rx *x, struct rx_run *out);
bool rx_run_in(const struct rx_run *r, struct str text);	/* whether the text has one; mostly looks at a byte in n */
/* Where all matches begin: RX_LINES, at a line's start ("^…" with the flag m, and no alternative to it); RX_TEXT, at the text's. */
enum rx_begin { RX_ANYWHERE, RX_LINES, RX_TEXT };
enum rx_begin rx_begins(struct str pattern, const char *flags, const struct rx *x);
/* The pattern as an automaton: see machine.c. Built from its end: rx_build gives the state that matches x and goes on at `after`; -1: more than max states. */
struct rx_state { const struct rx_set *set; int next, next2; };	/* set NULL: an empty move to next and next2, the end has none */
struct rx_machine { struct rx_state *v; int n, max; unsigned copies; };
int rx_state_new(struct rx_machine *m, const struct rx_set *set, int next, int next2);
int rx_build(struct rx_machine *m, const struct rx *x, int after);
int rx_build_list(struct rx_machine *m, const struct rx *k, int after);	/* k and all that follow it */
/* Adds to list what is reached from s without a byte: states with a set, and the end. Those in seen with this mark (not 0) are there already. */
void rx_follow(const struct rx_machine *m, int s, unsigned *seen, unsigned mark, int *list, int *n);
double rx_rarity(unsigned char c);	/* how often a byte stands in mail */
/* As patterns do without regard to case: ASCII and the letters of Latin-1. */
static inline unsigned char rx_lower(unsigned char c)
{
	return (c >= 'A' && c <= 'Z') || (c >= 0xc0 && c <= 0xde && c != 0xd7) ? (unsigned char)(c + 32) : c;
}
/* As texts are when literals are looked for: white space is a blank, so that words with \s between them are one literal. */
static inline unsigned char rx_fold(unsigned char c)
{
	return c >= 9 && c <= 13 ? ' ' : rx_lower(c);
}

#endif
