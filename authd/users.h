/* The users file (state_directory/users, root only): the suite's own users, and what is noted about system accounts. Text:
 *
 *	postern-users 1 next 200002
 *	alice@example.com:200000:active:0		name : uid : active or disabled : quota in bytes[,messages]; 0 the default
 *	joe:-:disabled:0				"-": a system account; its uid is passwd(5)'s
 *
 * "next" is the high-water mark: a uid is given once, also when its user is deleted. Parsing is pure (fuzzed).
 */
#ifndef AUTHD_USERS_H
#define AUTHD_USERS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/attr.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"

#define USERS_NO_QUOTA (UINT64_MAX / 2)

enum { USERS_FILE_MAX = 64 << 20, USERS_MAX = 1000000 };

struct user_row {
	struct str name;	/* borrows the text */
	bool system;
	bool disabled;
	uint32_t uid;		/* 0 for system accounts */
	unsigned long long quota_bytes, quota_count;	/* 0: the default; USERS_NO_QUOTA: none */
};

struct users {
	struct user_row *v;
	size_t n;
	uint32_t next_uid;
};

/* An empty text is an empty table with next_uid = uid_base. Rows are in a and borrow text. ERR_INPUT names the line: bad name, uid outside
 * uid_base..uid_base+uid_count-1 or not below next, doubled name or uid. */
int users_parse(struct str text, uint32_t uid_base, uint32_t uid_count, struct arena *a, struct users *out, struct err *e) MUST_CHECK;
void users_format(const struct users *u, struct buf *out);
struct user_row *users_find(const struct users *u, struct str name);	/* NULL: none */
/* Room for one more row, zeroed, at the end. */
struct user_row *users_append(struct users *u, struct arena *a);
void users_remove(struct users *u, struct user_row *row);

#endif
