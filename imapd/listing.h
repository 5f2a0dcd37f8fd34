/* LIST over folders of others: asks authd who shares with the client, and each of those users' processes what there is. */
#ifndef IMAPD_LISTING_H
#define IMAPD_LISTING_H

#include "session.h"

struct listing;
typedef void listing_fn(struct client *c, struct listing *l);	/* l is gone when it returns */

/* May the pattern (as the client spells it, with its reference) match a folder of others? */
bool listing_wanted(struct client *c, struct str pattern);
/* False: there is nobody to ask, go on without. Else fn is called when all is known. status: items, 0 none. */
bool listing_start(struct client *c, uint32_t status, bool myrights, listing_fn *fn);
/* Put others' folders behind those of the list, sorted, with the client's own subscriptions. Returns the first of them; NULL: none. Valid until the end of
 * the command. */
const struct store_folder *listing_merge(struct client *c, struct listing *l, struct store_folder **list);
/* The STATUS and MYRIGHTS responses that came with a folder of that kind. */
struct str listing_said(const struct store_folder *f);
void listing_end(struct client *c);
/* authd's answer; owners NULL: there will be none. */
struct ipc_strs;
void listing_sharers(struct user *u, uint32_t id, const struct ipc_strs *owners);

#endif
