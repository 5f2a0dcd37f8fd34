/* What a client is told without asking (RFC 5465): shared by ext_notify.c, notify_new.c and notify_names.c. */
#ifndef IMAPD_NOTIFY_PRIV_H
#define IMAPD_NOTIFY_PRIV_H

#include "imap/notify.h"
#include "session.h"

enum { NOTIFY_LATER_MAX = 1 << 20 };	/* bytes that wait to be told to one client */

struct watched {
	struct folder *f;
	unsigned events;
	struct mbox_status told;
};
struct notify {
	struct arena *arena;
	struct imap_notify what;
	const struct imap_event_group *selected;	/* NULL: nothing about the selected mailbox */
	uint32_t new_from, new_to;	/* UIDs: what the client wants to know of these is still to be told; 0: none */
	struct watched *v;
	size_t n;
	bool over;			/* too much was asked for */
	bool stale;			/* the tree has changed, or what a guest may read: match it again */
	bool grown;			/* the tree has */
	struct list abroad;		/* folders of others */
	bool selected_due;		/* the selected one is another user's, whose process has not answered yet */
	struct buf later;		/* what there was to tell while something else was being said */
};
bool notify_busy(const struct client *c);	/* nothing can be told now */
void notify_look(struct client *c);		/* what has changed, and which mailboxes there are, unless nothing can be told now */
void notify_new_now(struct client *c);		/* what is to be told of new messages, in a command */

#endif
