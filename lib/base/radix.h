/* Stable sorting of many numbers in linear time: one pass per byte in which they differ.
 *
 *	struct radix_item v[n] = { { .key = seconds, .value = index } … };
 *	radix_sort(v, n);
 */
#ifndef BASE_RADIX_H
#define BASE_RADIX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct radix_item {
	uint64_t key, value;
};

/* Ascending by key; those of one key keep their order. */
void radix_sort(struct radix_item *v, size_t n);

/* The same in pieces, for who has memory for n items more:
 *
 *	radix_begin(&r, v, room, n);
 *	while (!radix_step(&r, &work)) { … others' turn …; work = 10000; }
 *	r.v[0..n) are sorted: in v or in room, of which the other holds nothing now
 */
enum { RADIX_BYTES = 8, RADIX_VALUES = 256 };
struct radix {
	struct radix_item *v;
	/* inside */
	struct radix_item *to;
	size_t n, at;
	unsigned byte;		/* by which the items are being sorted */
	bool counted;
	size_t count[RADIX_BYTES][RADIX_VALUES];	/* of items; then where the next one goes */
};
void radix_begin(struct radix *r, struct radix_item *v, struct radix_item *room, size_t n);
/* Looks at *work items, or moves them, and takes their number from it. True: sorted. */
bool radix_step(struct radix *r, size_t *work);

#endif
