/* Orders of a folder by what never changes of a message (dates, subject, addresses): made by the first SORT of all messages, kept in memory with the folder.
 * A later SORT, of all or of some, picks its messages from it; new messages are put where they belong. */
#ifndef IMAPD_ORDERS_H
#define IMAPD_ORDERS_H

#include "imap/sort.h"
#include "session.h"

/* Places (store.h) in order. Shared: never changed once it is kept. */
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
void orders_free(struct folder *f);

#endif
