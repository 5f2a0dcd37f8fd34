/* Where the mail of a user goes who is no more: a line in the map of virtual aliases. */
#ifndef AUTHD_USER_FORWARD_H
#define AUTHD_USER_FORWARD_H

#include "base/attr.h"
#include "base/err.h"
#include "conf/conf.h"

/* May to be written there? Before anything is removed. */
int user_forward_check(const struct conf *c, const char *to, struct err *e) MUST_CHECK;
/* Add "name to" to the source of the first compiled map of virtual_alias_maps, and compile it. */
int user_forward_add(const struct conf *c, const char *name, const char *to, struct err *e) MUST_CHECK;

#endif
