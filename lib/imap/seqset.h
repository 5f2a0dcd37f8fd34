/* Sequence sets (RFC 3501 section 9: sequence-set) as ranges: "1:*" over a million messages is one range, and no set is ever expanded.
 * 0 stands for "*" until imap_seqset_resolve() puts the largest number in its place, orders the ranges and joins them. */
#ifndef IMAP_SEQSET_H
#define IMAP_SEQSET_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "imap/lex.h"

enum { IMAP_RANGES_MAX = 1 << 20 };

struct imap_range {
	uint32_t lo, hi;	/* both included; before resolving in any order, 0 is "*" */
};
struct imap_seqset {
	struct imap_range *v;
	size_t n, cap;
	bool saved;		/* "$": the saved result of a search (RFC 5182); the program puts it in place */
};

int imap_get_seqset(struct imap_lex *l, struct imap_seqset *out, struct err *e) MUST_CHECK;
/* Only its numbers: digits, ":", "," and "*". */
int imap_seqset_parse(struct arena *a, struct str text, struct imap_seqset *out, struct err *e) MUST_CHECK;
/* "*" becomes max (with max 0, empty folder: ranges with a "*" vanish). Afterwards lo <= hi, ascending, disjoint, not adjacent. */
void imap_seqset_resolve(struct imap_seqset *s, uint32_t max);
uint32_t imap_seqset_max(const struct imap_seqset *s);		/* of a resolved set; 0: empty */
uint64_t imap_seqset_count(const struct imap_seqset *s);	/* numbers in a resolved set */
bool imap_seqset_has(const struct imap_seqset *s, uint32_t n);	/* of a resolved set; binary search */
/* Add n, which is not below any number in the set (building results). -1: too many ranges or no memory. */
int imap_seqset_add(struct arena *a, struct imap_seqset *s, uint32_t n) MUST_CHECK;
/* "1:3,5"; an empty set gives nothing. Order is kept: COPYUID needs it (RFC 4315 section 3). */
void imap_seqset_format(const struct imap_seqset *s, struct buf *out);
/* The same from numbers in any order: ascending runs become ranges. */
void imap_numbers_format(const uint32_t *v, size_t n, struct buf *out);

#endif
