/* A walk over messages whose files must be read (SEARCH, SORT, FETCH of what is not cached): what it will ask for next is read and computed beside it, by the
 * store's crew (os/crew.h), two batches of messages ahead. Who walks asks for each message as ever (msgfile_read, mbox_summary_get, mbox_cache_get, mbox_search_learn,
 * mbox_msg_date): where the answer is there already it is taken, and put into the cache and the index there and then, by the thread of the loop alone. What the crew
 * cannot answer, a file that has gone, was renamed or is not as long as it was, is looked at as if there were no crew.
 * Where files are not in memory the disk is asked for those of a batch at once.
 *
 *	mbox_ahead_begin(view, MBOX_AHEAD_SUMMARY, next, ctx);
 *	… mbox_summary_get(view, seq, &s, &e) for ascending seq …
 *	mbox_ahead_end(view);
 */
#ifndef STORE_AHEAD_H
#define STORE_AHEAD_H

#include "store/store.h"

enum {
	MBOX_AHEAD_SUMMARY = 1,		/* of what is not cached */
	MBOX_AHEAD_STRUCTURE = 2,	/* the same */
	MBOX_AHEAD_HEAD = 4,		/* the header, and its signature where the index does not know it */
	MBOX_AHEAD_TEXT = 8,		/* all of the message, and both signatures */
	MBOX_AHEAD_DATE = 16,		/* of the file, where it is not known */
};

/* *seq becomes the first message from *seq on that the walk will look at, 0 at its end. Returns which of MBOX_AHEAD_* it will ask of it, as far as can be told
 * without a file. */
typedef unsigned mbox_ahead_fn(void *ctx, uint32_t *seq);

/* Costs nothing until something is asked for that is not there. what: all that next may return. One walk of a view at a time: an earlier one ends. Sequence numbers
 * must not move until the end; ctx stays the caller's. */
void mbox_ahead_begin(struct mbox_view *v, unsigned what, mbox_ahead_fn *next, void *ctx);
void mbox_ahead_end(struct mbox_view *v);

/* How many threads may work at once, the loop's included; 0: by the machine's processors. Before the first walk. */
void store_crew_size(struct store *s, unsigned size);

#endif
