/* The tool's hold on the users file and passwd.cdb: one lock, one read, whole files replaced by rename. */
#ifndef AUTHD_USER_STORE_H
#define AUTHD_USER_STORE_H

#include "authd/users.h"
#include "base/arena.h"
#include "base/attr.h"
#include "base/err.h"
#include "conf/conf.h"
#include "map/accounts.h"

struct user_store {
	const struct conf *conf;
	struct arena *arena;
	struct users users;
	struct pass_pair { struct str name, value; } *passwords;	/* with the PASS_SECRET_KEY pair */
	size_t n_passwords;
	bool users_changed, passwords_changed;
	int lock;
};

/* Waits for the lock when write, then reads both files. */
int user_store_open(struct user_store *s, const struct conf *c, bool write, struct err *e) MUST_CHECK;
/* Write what changed: passwords before users, so that no user is ever without the password just set; removals the other way. */
int user_store_save(struct user_store *s, bool removing, struct err *e) MUST_CHECK;
void user_store_close(struct user_store *s);

/* Set (value copied) or, with value.p NULL, remove. */
void user_store_password(struct user_store *s, struct str name, struct str value);
struct str user_store_password_get(const struct user_store *s, struct str name);	/* p NULL: none; borrowed */
/* For a store that was opened to read. */
int user_store_passwords_read(struct user_store *s, struct err *e) MUST_CHECK;
bool user_store_has_password(const struct user_store *s, struct str name);
/* The next uid of the reserved range; ERR_LIMIT when all are used. */
int user_store_uid(struct user_store *s, uint32_t *uid_out, struct err *e) MUST_CHECK;
/* Name, uid, paths of the suite's own user. */
int user_store_account(const struct user_store *s, const struct user_row *r, struct account *out, struct err *e) MUST_CHECK;

#endif
