/* The two halves of deliver: deliver.c as root until it is the user, deliver_user.c and deliver_quota.c after that. */
#ifndef DELIVER_PRIV_H
#define DELIVER_PRIV_H

#include <stdbool.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/err.h"
#include "base/str.h"
#include "map/accounts.h"
#include "store/quota.h"

enum { DELIVER_CHANNEL = 0 };

/* As the user, confined: serve copies until the channel is closed or idle. Returns the exit status. */
int deliver_serve(const struct account *acct);

static inline struct quota account_quota(const struct account *a) { return (struct quota){ a->quota_bytes, a->quota_count }; }
/* A message came in: tell the user once when it passes one of the percentages. Best effort. */
void quota_warn(int rootfd, const struct account *acct, struct str percentages, struct str hostname);

#endif
