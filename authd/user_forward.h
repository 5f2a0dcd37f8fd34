/* Where the mail of a user goes who is no more: an alias, made by postern-alias, which knows the files and has the lock. */
#ifndef AUTHD_USER_FORWARD_H
#define AUTHD_USER_FORWARD_H

#include "base/attr.h"
#include "base/err.h"
#include "conf/conf.h"

/* Before the user is removed: so no mail for that name is refused in between, and a mistake removes nobody. */
int user_forward_add(const struct conf *c, const char *name, const char *to, struct err *e) MUST_CHECK;
/* The user was not removed after all. */
void user_forward_undo(const struct conf *c, const char *name, const char *to);

#endif
