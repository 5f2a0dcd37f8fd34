/* Rows in the order of numbers that somebody else keeps: in linear time, in pieces, in 16 bytes a row. For what has numbers only (sort.h takes texts, too).
 *
 *	struct imap_order o = { .by = by, .n_by = n_by, .number = number, .ctx = ctx, .n = n };
 *	imap_order_begin(&o, arena);
 *	while (!imap_order_step(&o, 10000)) … others' turn …;	then imap_order_row(&o, i), for i from 0 to n
 *
 * What number says may change meanwhile (a mapped file): then the order means nothing, but each row is in it once. */
#ifndef IMAP_ORDER_H
#define IMAP_ORDER_H

#include "imap/sort.h"

typedef int64_t imap_number_fn(const void *ctx, uint32_t row, size_t k);	/* the row's number for by[k] */

enum { IMAP_ORDER_DIGITS = 4, IMAP_ORDER_VALUES = 256 };
struct imap_order {
	const struct imap_sort_criterion *by;	/* of each only whether it is reverse */
	size_t n_by;
	imap_number_fn *number;
	const void *ctx;
	size_t n;
	/* inside */
	uint64_t *v, *other;		/* half of a number, row */
	size_t cap;			/* rows that there is memory for */
	size_t at, k;			/* of the pass; criteria that are left, the last first */
	bool begun, gathered;
	bool high, both;		/* of the numbers' halves: the second one; and it differs */
	uint64_t first;			/* number of the pass */
	unsigned digit;
	uint32_t *count;		/* by digit and value */
};
/* Looks at no number yet. May be begun again, with the memory that it has where that is enough. */
int imap_order_begin(struct imap_order *o, struct arena *a, struct err *e) MUST_CHECK;
/* Before the first step, for each i below n, where rows have other numbers than i. */
static inline void imap_order_give(struct imap_order *o, size_t i, uint32_t row)
{
	o->v[i] = row;
	o->begun = true;
}
/* So many rows are looked at or moved. True: sorted. */
bool imap_order_step(struct imap_order *o, size_t work);
/* Rows that are alike in all stay in the order in which they were given. */
static inline uint32_t imap_order_row(const struct imap_order *o, size_t i) { return (uint32_t)o->v[i]; }

#endif
