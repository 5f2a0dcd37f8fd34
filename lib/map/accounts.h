/* accounts.cdb: every mail user's uid, gid, home, maildir; root-owned, installed by the authd monitor, read by the monitor, resolve and
 * deliver. Key: account name, lower case; value: a versioned text record. Key "\0postern-accounts" marks a genuine file.
 */
#ifndef MAP_ACCOUNTS_H
#define MAP_ACCOUNTS_H

#include <sys/types.h>

#include "base/attr.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"
#include "map/cdbfile.h"

enum { ACCOUNT_NAME_MAX = 255, ACCOUNT_PATH_MAX = 1024 };
enum { ACCOUNT_F_VIRTUAL = 1, ACCOUNT_F_DISABLED = 2, ACCOUNT_F_SERVICE = 4 };	/* service: of a name service, not in /etc/passwd */

struct account {
	char name[ACCOUNT_NAME_MAX + 1];	/* "joe" (system) or "alice@example.com" (virtual) */
	uid_t uid;
	gid_t gid;
	unsigned flags;
	char home[ACCOUNT_PATH_MAX];
	char maildir[ACCOUNT_PATH_MAX];		/* absolute INBOX root */
	unsigned long long quota_bytes, quota_count;	/* 0: none */
	unsigned long long since;	/* system: there was no account of that name and uid before (Unix seconds); 0: not known */
};

/* Opens and checks the marker; when trusted, the file and its parents must be root's (setuid callers). */
int accounts_open(const char *path, bool trusted, struct cdbfile **out, struct err *e) MUST_CHECK;
/* 0; ERR_NOENT; ERR_TEMP. Validates: uid not 0, at least min_uid, absolute paths without ".." . Name is folded to lower case. */
int accounts_get(struct cdbfile *c, struct str name, uid_t min_uid, struct account *out, struct err *e) MUST_CHECK;
/* Both in one, for whoever needs one account: from state_directory/accounts.cdb. */
int account_load(const char *state_directory, struct str name, uid_t min_uid, struct account *out, struct err *e) MUST_CHECK;
int accounts_put_marker(struct cdbwrite *w, struct err *e) MUST_CHECK;	/* a writer's first record */
bool account_name_valid(struct str name);	/* 1..255 bytes of letters, digits, . _ - + @ and UTF-8 letters; no leading - or . ; at most one @ */
/* "BYTES" or "BYTES,COUNT", as records and the users file have it. */
int account_quota_parse(struct str s, unsigned long long *bytes_out, unsigned long long *count_out) MUST_CHECK;
void account_quota_format(struct buf *out, unsigned long long bytes, unsigned long long count);
void account_format(const struct account *a, struct buf *value_out);
int account_parse(struct str name, struct str value, struct account *out, struct err *e) MUST_CHECK;

#endif
