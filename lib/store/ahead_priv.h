/* What a batch of messages that was looked at ahead holds (ahead.c), for the functions that hand it out. */
#ifndef STORE_AHEAD_PRIV_H
#define STORE_AHEAD_PRIV_H

#include "store/ahead.h"
#include "store/search.h"
#include "store/store_priv.h"

struct ahead_signature {
	struct buf bits;
	unsigned class;
};
struct ahead_item {
	/* what is to be done; a copy of all that it needs */
	uint32_t seq, uid;
	unsigned what;
	bool sign[MBOX_SEARCH_KINDS];
	bool date;		/* the file's time is wanted, too */
	int dirfd;
	uint64_t size;
	char name[FILE_NAME_MAX + 1];
	char *room;		/* for the file's bytes, */
	char *own;		/* which is this, where they are many; else NULL. Owned */
	struct ahead_hand *hands;
	/* what was found; nothing where done says so */
	unsigned done;
	bool taken;		/* the walk has come to it */
	bool head_only;
	size_t head_n;		/* as in struct msgfile */
	struct str text;
	struct buf summary, structure;
	struct ahead_signature signature[MBOX_SEARCH_KINDS];	/* where sign and done */
	int64_t mtime;
};

/* What was found of a message that the walk has come to, when all of what was; else NULL. Valid until it comes to a later one. */
const struct ahead_item *ahead_get(struct mbox_view *v, uint32_t seq, unsigned what);
/* The same of the message that was asked for last, without waiting for anything. */
const struct ahead_item *ahead_had(const struct mbox_view *v, uint32_t seq);

#endif
