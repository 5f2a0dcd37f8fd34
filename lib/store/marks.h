/* Positions that are marked, a bit each: whatever order they come in, and however often, they are had in order, in pieces, from either end. Without any there is no memory. */
#ifndef STORE_MARKS_H
#define STORE_MARKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* All zero: none. */
struct marks {
	uint64_t *v;
	size_t words;
	uint32_t n;		/* that are marked */
};
void marks_put(struct marks *s, uint32_t pos);
void marks_take(struct marks *s, uint32_t pos);	/* one that is marked is not any more */
/* The first from that position on, the last below it. False: there is none, and *pos_out is left alone. */
bool marks_next(const struct marks *s, uint32_t from, uint32_t *pos_out);
bool marks_last(const struct marks *s, uint32_t below, uint32_t *pos_out);
void marks_cut(struct marks *s, uint32_t from);		/* none from there on */
void marks_fini(struct marks *s);

#endif
