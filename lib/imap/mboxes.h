/* Which mailboxes a command means (RFC 5465 section 6, RFC 7377 section 2.2): filters from a command's text. What they stand for is the program's matter. */
#ifndef IMAP_MBOXES_H
#define IMAP_MBOXES_H

#include "imap/lex.h"

enum imap_mboxes_kind {
	IMAP_MBOXES_SELECTED,
	IMAP_MBOXES_SELECTED_DELAYED,
	IMAP_MBOXES_INBOXES,
	IMAP_MBOXES_PERSONAL,
	IMAP_MBOXES_SUBSCRIBED,
	IMAP_MBOXES_SUBTREE,		/* names, and all below them */
	IMAP_MBOXES_SUBTREE_ONE,	/* names, and those right below them (RFC 7377) */
	IMAP_MBOXES_MAILBOXES,		/* names */
};
struct imap_mboxes {
	enum imap_mboxes_kind kind;
	struct str *names;		/* as spelled */
	size_t n;
};
int imap_get_mboxes(struct imap_lex *l, struct imap_mboxes *out, struct err *e) MUST_CHECK;

#endif
