/* Who shares folders with whom, as the owners' sessions say: a hint that keeps users from having sessions of others started, and from learning who exists.
 * It grants nothing: each owner's process has the lists and enforces them. Pure; the file is the monitor's matter (guests.c). */
#ifndef AUTHD_SHARES_H
#define AUTHD_SHARES_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/str.h"

struct shares;

enum { SHARES_OWNERS_MAX = 20000, SHARES_GRANTEES_MAX = 250, SHARES_FILE_MAX = 64 << 20 };

struct shares *shares_new(void);
void shares_free(struct shares **s);
/* grantees: names of accounts, "anyone", "authenticated", each on a line; what is no such name is left out. True: something has changed. */
bool shares_set(struct shares *s, struct str owner, struct str grantees);
bool shares_open(const struct shares *s, struct str owner, struct str user);
size_t shares_owners(const struct shares *s, struct str user, struct str *v, size_t max);	/* sorted; valid until the next change */
/* "1\n", then per owner "owner grantee grantee…\n". Lines that are wrong are left out. */
void shares_format(const struct shares *s, struct buf *out);
void shares_parse(struct shares *s, struct str file);

#endif
