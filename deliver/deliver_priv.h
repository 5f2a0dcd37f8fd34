/* The two halves of deliver: deliver.c as root until it is the user, deliver_user.c and quota.c after that. */
#ifndef DELIVER_PRIV_H
#define DELIVER_PRIV_H

#include <stdbool.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/err.h"
#include "map/accounts.h"

enum { DELIVER_CHANNEL = 0 };

/* As the user, confined: serve copies until the channel is closed or idle. Returns the exit status. */
int deliver_serve(const struct account *acct);

/* Would size more bytes exceed the account's quota? ERR_QUOTA when so. rootfd: the INBOX maildir; folders are below it. */
int quota_check(int rootfd, uint64_t quota_bytes, uint64_t size, struct err *e) MUST_CHECK;
void quota_add(int rootfd, uint64_t size);	/* a message came in; best effort */

#endif
