/* Orders of a folder by what never changes of a message (dates, subject, addresses): made by the first SORT of all messages, kept in memory with the folder.
 * A later SORT, of all or of some, picks its messages from it; new messages are put where they belong. */
#ifndef IMAPD_ORDERS_H
#define IMAPD_ORDERS_H

#include "imap/sort.h"
#include "session.h"

/* Places (store.h) in order. Shared: not changed while somebody else uses it. */
struct order_kept {
	unsigned refs;
	struct imap_sort_criterion by[IMAP_SORT_KEYS_MAX];
	size_t n_by;
	uint32_t places;	/* messages from this place on are not in it */
	size_t n;
	uint32_t *v;
};

/* By what does not change as long as the message is there. */
bool order_can_keep(const struct imap_sort_criterion *by, size_t n_by);
/* A reference, or NULL. */
struct order_kept *order_get(struct client *c, const struct imap_sort_criterion *by, size_t n_by);
void order_put(struct order_kept **k);
/* Keep a new one in the place of what there is of these criteria. Takes v (malloc). */
void order_keep(struct client *c, const struct imap_sort_criterion *by, size_t n_by, uint32_t *v, size_t n, uint32_t places);
/* New messages come into *k, which the caller has a reference to, so that what is kept is of all messages there are. */
struct order_more {
	const uint32_t *live;		/* those of *k that are still there: all of it, or a copy */
	size_t n_live;
	const uint32_t *rows;		/* the new ones' places, in order, */
	const uint32_t *before;		/* and for each how many of live come before it */
	size_t n;
	uint32_t places;
};
void order_add(struct client *c, struct order_kept **k, const struct order_more *m);
void orders_free(struct folder *f);

#endif
