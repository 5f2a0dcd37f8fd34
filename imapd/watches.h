/* NOTIFY (RFC 5465) over folders of others: each owner's process watches those that the client names, as for a guest who gave the command there, and tells over
 * a link of its own (link_watch). What it tells is believed about its own folders only, and reaches the client in whole responses. */
#ifndef IMAPD_WATCHES_H
#define IMAPD_WATCHES_H

#include "imap/notify.h"
#include "session.h"

/* Takes the names of folders of others out of a filter, into all (of struct watch_abroad, on a). CMD_OK, or NO. */
enum cmd_result watches_take(struct client *c, struct arena *a, struct list *all, struct imap_event_group *g, struct err *e);
/* Ask them. CMD_OK: there are none; CMD_AWAY: the command is finished when they have answered; NO: it cannot be done. */
enum cmd_result watches_begin(struct client *c, struct list *all, bool status);
bool watches_wait(const struct list *all);
void watches_end(struct list *all);

#endif
