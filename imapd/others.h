/* ESEARCH over folders of others (RFC 7377): those that the command names are searched by their owners' processes, before the client's own. */
#ifndef IMAPD_OTHERS_H
#define IMAPD_OTHERS_H

#include "imap/mboxes.h"
#include "session.h"

struct others;
typedef void others_fn(struct client *c);	/* all have answered; the struct is gone */

/* Take the names of folders of others out of a filter. Sources of one command are gathered in *o (NULL at first; in the command's arena):
 * others_search or others_drop ends it, also after an error. CMD_OK, or NO. */
enum cmd_result others_take(struct client *c, struct others **o, struct imap_mboxes *f, struct err *e);
/* They are not asked after all. NULL: none. */
void others_drop(struct others **o);
/* Ask them, one owner after the other: rest is the command's text behind its sources. Their responses are answered as the command's own. */
void others_search(struct client *c, struct others *o, struct str rest, others_fn *fn);
void others_end(struct client *c);

#endif
