/* SORT (RFC 5256, RFC 5957, RFC 6203): its criteria from a command's text, the base subject, and sorting in pieces. Pure: what a message's values are is
 * the program's matter.
 *
 *	struct imap_sort s = { .by = by, .n_by = n_by, .values = values, .n = n };
 *	imap_sort_begin(&s, arena);
 *	while (!imap_sort_step(&s, 10000)) … others' turn …;	then s.order[0..n) are indices in sorted order
 */
#ifndef IMAP_SORT_H
#define IMAP_SORT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/radix.h"
#include "imap/lex.h"

enum imap_sort_by {
#define SORT_KEY(id, name, text, source) IMAP_SORT_##id,
#include "imap/sort.def"
#undef SORT_KEY
	IMAP_SORT_MAX_
};
enum { IMAP_SORT_KEYS_MAX = 20, IMAP_SUBJECT_MAX = 4000 };

struct imap_sort_criterion {
	enum imap_sort_by by;
	bool reverse;
};
/* "(" [REVERSE SP] key *(SP …) ")". At most IMAP_SORT_KEYS_MAX: further ones never decide anything and are an error. */
int imap_get_sort(struct imap_lex *l, struct imap_sort_criterion out[IMAP_SORT_KEYS_MAX], size_t *n_out, struct err *e) MUST_CHECK;
bool imap_sort_is_text(enum imap_sort_by by);

/* RFC 5256 section 2.1: the subject (UTF-8, unfolded, encoded words decoded; at most IMAP_SUBJECT_MAX bytes are looked at) without "Re:", "[list]",
 * "(fwd)" … Appended to out. True: the message is a reply or a forward by its subject. */
bool imap_base_subject(struct str subject, struct buf *out);

union imap_sort_value {
	int64_t number;
	struct str text;	/* in the collation's form (fold.h) */
};
struct imap_sort {
	const struct imap_sort_criterion *by;
	size_t n_by;
	const union imap_sort_value *values;	/* n rows of n_by */
	size_t n;
	uint32_t *order;		/* rows; equal ones stay in the order of their index */
	/* inside */
	uint32_t *other;
	struct radix_item *first;	/* what stands for the rows' first values, in the end sorted */
	struct radix *radix;
	unsigned phase;
	size_t run, run_n, run_end;	/* rows that are alike in it */
	uint32_t *from, *to;		/* of the run, in order and other */
	size_t width, at, left, right, mid, end;
	bool merging;
};
/* Looks at no value yet. */
int imap_sort_begin(struct imap_sort *s, struct arena *a, struct err *e) MUST_CHECK;
/* So many rows are looked at, moved or compared. True: sorted. */
bool imap_sort_step(struct imap_sort *s, size_t work);
/* Two rows of values: negative, 0 or positive. */
int imap_sort_cmp(const struct imap_sort_criterion *by, size_t n_by, const union imap_sort_value *a, const union imap_sort_value *b);

#endif
