/* Access control lists of folders (RFC 4314): who besides the owner may do what. They live in the folder, move and go with it. The owner always has every
 * right; a list is about others. Nothing here decides who asks: the caller knows that from authd.
 *
 * A user's rights are those of all entries that mean them ("anyone", "authenticated", their name), less those of the negative entries ("-name") that do.
 */
#ifndef STORE_ACL_H
#define STORE_ACL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/attr.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"

#define ACL_NAME "postern.acl"

struct store;
struct mbox;

enum {
#define ACL_RIGHT(name, letter, bit, what) ACL_##name = bit,
#include "store/acl.def"
#undef ACL_RIGHT
	ACL_ALL = 0
#define ACL_RIGHT(name, letter, bit, what) | bit
#include "store/acl.def"
#undef ACL_RIGHT
};
enum {
	ACL_ENTRIES_MAX = 200,	/* of one folder */
	ACL_ID_MAX = 255,	/* bytes of an identifier, without the "-" */
	ACL_FILE_MAX = 65536,
	ACL_GRANTEES_MAX = 250,	/* different identifiers in the lists of one tree */
};

struct acl_entry {
	struct str id;		/* lower case, without the "-" */
	bool negative;
	uint32_t rights;	/* never 0 */
	struct acl_entry *next;
};
enum acl_op { ACL_SET, ACL_ADD, ACL_REMOVE };

/* --- pure --- */
/* Letters; the obsolete c means k and x, d means e and t (RFC 4314 2.1.1). ERR_INPUT: no such right. */
int acl_rights_parse(struct str letters, uint32_t *rights_out, struct err *e) MUST_CHECK;
/* obsolete: with c and d where any right that they stand for is there, for clients of RFC 2086. */
void acl_rights_format(struct buf *out, uint32_t rights, bool obsolete);
/* An account's name, "anyone" or "authenticated", perhaps behind "-": as an entry without rights, its name on the arena. ERR_INPUT: nothing else is. */
int acl_id_parse(struct arena *a, struct str text, struct acl_entry *out, struct err *e) MUST_CHECK;
int acl_parse(struct arena *a, struct str file, struct acl_entry **list_out, struct err *e) MUST_CHECK;	/* ERR_TEMP: damaged */
void acl_format(struct buf *out, const struct acl_entry *list);
uint32_t acl_rights_of(const struct acl_entry *list, struct str user);

/* --- in a mail tree --- */
/* Of the folder whose directory is open. None: an empty list. */
int acl_read_at(int dirfd, struct arena *a, struct acl_entry **list_out, struct err *e) MUST_CHECK;
/* ERR_NOENT: no such folder. A damaged list is an error: nobody but the owner gets in, and it is never overwritten. */
int mbox_acl_get(struct mbox *m, struct arena *a, struct acl_entry **list_out, struct err *e) MUST_CHECK;
int store_acl_get(struct store *s, struct str folder, struct arena *a, struct acl_entry **list_out, struct err *e) MUST_CHECK;
/* Change the rights of who's identifier; what has none left is removed. Durable. */
int store_acl_change(struct store *s, struct str folder, struct arena *a, const struct acl_entry *who, enum acl_op op, uint32_t rights, struct err *e)
	MUST_CHECK;
/* The nearest parent of a folder, existing or not, that exists, and its list. *parent_out is "" where there is none. */
int store_acl_parent(struct store *s, struct str folder, struct arena *a, struct str *parent_out, struct acl_entry **list_out, struct err *e) MUST_CHECK;
/* store_create; what is new has the list of its nearest parent. */
int store_acl_create(struct store *s, struct str folder, struct str special_use, struct err *e) MUST_CHECK;
/* To whom anything in this tree is open: the identifiers of all lists, sorted, one per line. From the summary that every change of a list writes anew
 * (postern.shares), which is what authd is told. */
int store_acl_grantees(struct store *s, struct buf *out, struct err *e) MUST_CHECK;
int store_acl_summary(struct store *s, struct err *e) MUST_CHECK;	/* make the summary anew: after folders have gone */

#endif
