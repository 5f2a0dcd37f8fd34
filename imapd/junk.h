/* What a client says of spam by what it does; see junk.c. */
#ifndef IMAPD_JUNK_H
#define IMAPD_JUNK_H

#include "session.h"
#include "store/trainqueue.h"

enum { JUNK_SAID_MAX = TRAIN_QUEUE_MAX };	/* of one piece of a command: more is never queued */

struct junk_said {
	uint32_t seqs[JUNK_SAID_MAX];
	size_t n;
	bool spam;
};

/* Messages of the selected mailbox are in dst, called to, now; uids: there. */
void junk_moved(struct client *c, struct mbox *dst, struct str to, const uint32_t *uids, size_t n);
/* Before keywords of these messages change: what that says. */
void junk_marks(struct client *c, enum mbox_flag_op op, const struct imap_flags *f, const uint32_t *seqs, size_t n, struct junk_said *out);
/* They have changed. */
void junk_marked(struct client *c, const struct junk_said *said);

#endif
