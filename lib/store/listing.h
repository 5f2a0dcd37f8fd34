/* The files of a directory of a maildir, as its listing tells them, in the order of their arrival: what sync.c compares with the state.
 *
 *	struct listing l = { 0 };
 *	if (listing_read(&l, dirfd, SIZE_MAX, crew, e) == 0) { listing_sort(&l); … l.v[i]->n.base … }
 *	listing_fini(&l);
 */
#ifndef STORE_LISTING_H
#define STORE_LISTING_H

#include <stdbool.h>

#include "base/arena.h"
#include "base/err.h"
#include "os/crew.h"
#include "store/maildir.h"

struct entry {
	char *name;
	struct maildir_name n;	/* its pieces, which point into it */
	uint64_t size;		/* of the file */
	int64_t mtime;		/* DATE_UNKNOWN: nobody has looked */
	uint32_t uid;		/* known from another server; 0: none */
};
struct listing_piece;
struct listing {
	struct arena *a;	/* for whoever adds to it */
	struct entry **v;	/* as long as the listing */
	size_t n, cap;
	bool more;		/* stopped at the limit */
	struct listing_piece *pieces;
};

/* Plain files whose names do not begin with a dot, at most max. crew: helps with a large directory, without a limit; NULL: nobody does. */
int listing_read(struct listing *l, int dirfd, size_t max, struct crew *crew, struct err *e) MUST_CHECK;
/* Known UIDs first, ascending; then by arrival: seconds, microseconds, name. */
void listing_sort(struct listing *l);
void listing_fini(struct listing *l);
/* What the directory does not say of the file, asked of the file. False: it is none that we take. */
bool entry_look(struct entry *en, int dirfd);
/* The same where the name tells the size: it is believed, and the time waits until somebody asks (message_date). */
bool entry_believe(struct entry *en, int dirfd);

#endif
