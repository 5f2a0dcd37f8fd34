/* A connection to another user's session process, as link.c (opening, asking, the end) and link_read.c (what it says) see it. */
#ifndef IMAPD_LINK_PRIV_H
#define IMAPD_LINK_PRIV_H

#include "link.h"

struct ask {
	char tag[IMAP_TAG_MAX + 1];
	const struct link_user *user;
	void *ctx;
};

struct link {
	struct list node;	/* of client.links */
	struct client *c;
	char *owner, *prefix;	/* of the owner's folders */
	uint32_t request;	/* of GUEST_OPEN; 0: answered */
	struct conn *conn;	/* NULL: not open yet */
	struct buf before;	/* what waits for it */
	struct timer *timer;
	struct ask asks[LINK_ASKS_MAX];
	unsigned n_asks;
	unsigned enabled;	/* EN_*, as far as it was told */
	unsigned serial;	/* of our own tags */
	bool over, paused;
	bool held;			/* others have to finish first: links_wake() */
	bool resting;			/* nothing is asked */
	bool watches;			/* link_watch() */
	struct ask always;		/* who hears it then */
	/* the response that is being read */
	bool mid, drop;		/* behind a literal; not for anybody */
	bool passing;		/* to the client as it is */
	bool to_data;		/* the literal goes to data() */
	uint64_t left;		/* of the literal */
	struct buf text;	/* when it is taken apart here */
};

/* Everybody who waits hears it; a selected mailbox is gone with it. */
void link_lose(struct link *l, enum err_code code, const char *why);
void link_waiting(struct link *l);	/* set the time that its process has now */
void link_on_conn(void *ctx, struct conn *conn, enum conn_event ev);

#endif
