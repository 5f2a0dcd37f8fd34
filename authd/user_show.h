/* What postern-user tells of users: all, or one; as text, or JSON. */
#ifndef AUTHD_USER_SHOW_H
#define AUTHD_USER_SHOW_H

#include "authd/user_store.h"

/* The suite's own users, and those of the system that are accounts. */
int user_list(struct user_store *s, const struct conf *conf, bool json, struct err *e) MUST_CHECK;
/* name: folded. ERR_NOENT: there is none. */
int user_show(struct user_store *s, const struct conf *conf, const char *name, bool json, struct err *e) MUST_CHECK;

#endif
