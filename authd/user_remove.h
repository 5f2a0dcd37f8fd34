/* The home of a user who is no more. */
#ifndef AUTHD_USER_REMOVE_H
#define AUTHD_USER_REMOVE_H

#include "base/attr.h"
#include "base/err.h"
#include "map/accounts.h"

/* Remove it whole, by a process that has become the user: no link in it reaches anything else. */
int user_home_remove(const struct account *a, struct err *e) MUST_CHECK;

#endif
