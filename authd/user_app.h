/* postern-user's application passwords: make, list, take away, and what the main password is for. They work on the tables of an open user_store; the
 * frame in user_main.c saves these and tells authd. */
#ifndef AUTHD_USER_APP_H
#define AUTHD_USER_APP_H

#include <stdbool.h>

#include "authd/apppass.h"
#include "authd/user_store.h"
#include "base/attr.h"
#include "base/err.h"

struct app_options {
	const char *name;		/* of the password; NULL: not given */
	const char *services;		/* "imap,smtp"; NULL: all */
	const char *expires;		/* "90d" or "2027-06-30"; NULL: never */
	bool all, json;
};

/* What is shown once, when all has been saved. */
struct app_made {
	char id[APP_ID + 1], shown[APP_SHOWN];
};

int user_app_add(struct user_store *s, const char *user, const struct app_options *o, struct app_made *made, struct err *e) MUST_CHECK;
void user_app_print_made(struct app_made *made, const char *user, const struct app_options *o);	/* wipes it */
int user_app_del(struct user_store *s, const char *user, const struct app_options *o, struct err *e) MUST_CHECK;
/* what: "any" or "webmail". */
int user_app_main(struct user_store *s, const char *user, const char *what, struct err *e) MUST_CHECK;
/* user "": everybody's. Prints. */
int user_app_list(struct user_store *s, const char *user, const struct app_options *o, struct err *e) MUST_CHECK;
bool user_app_any(const struct user_store *s, const char *user);	/* is anything written down for user? */
void user_app_forget(struct user_store *s, const char *user);	/* all of it: the user is removed */

#endif
