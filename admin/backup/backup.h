/* postern-backup and postern-restore: snapshots of mail and of the server's files in a directory of root's.
 *
 *	DIR/postern-backup			"1": the form of what is here; its lock
 *	DIR/users/NAME/objects/ab/cdef…		one file per content, named by its SHA-256: the same in every snapshot
 *	DIR/users/NAME/20261128T204512Z.list	a snapshot: folders and messages, and which object each is
 *	DIR/server/…				the same of the server's files
 *
 * A list is written last, after everything it names was synced: a snapshot is whole or not there. Nobody but root can name objects of another user: each has
 * a store of their own. */
#ifndef ADMIN_BACKUP_H
#define ADMIN_BACKUP_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/arena.h"
#include "base/attr.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/sha256.h"
#include "base/str.h"
#include "conf/conf.h"
#include "map/accounts.h"

enum {
	SUM_HEX = 64,
	SNAPSHOT_NAME = 16,		/* 20261128T204512Z */
	BACKUP_LIST_MAX = 1 << 30,	/* bytes of one list */
	BACKUP_KEYWORDS_MAX = 1000,
	BACKUP_FILE_MAX = 1 << 30,	/* bytes of one file of the server */
	BACKUP_MESSAGE_MAX = 1 << 30,	/* bytes of one message, or message_size_limit where that is more */
	BACKUP_FOLDERS_MAX = 20000,	/* of one user; the store makes fewer */
	BACKUP_ROWS_MAX = 10000000,	/* messages and folders of one user */
	BACKUP_WARNINGS_MAX = 100,	/* of one owner; the others are counted */
};

/* --- backup_store.c: objects and snapshots of one owner --- */
struct backup_store;
/* owner: "users/NAME" or "server". create: make it. Returns owned. ERR_NOENT: nothing was saved. */
int backup_store_open(const char *dir, const char *owner, bool create, struct backup_store **out, struct err *e) MUST_CHECK;
void backup_store_close(struct backup_store **s);
/* Whose mail was saved, sorted; none when there is no such directory. */
int backup_users(const char *dir, struct arena *a, struct str **out, size_t *n_out, struct err *e) MUST_CHECK;
int backup_by_name(const void *a, const void *b);	/* for qsort of struct str */
/* A new object in pieces; its sum is known at the end. An object that is there already is kept. *new_out: it was not. */
int backup_object_begin(struct backup_store *s, struct err *e) MUST_CHECK;
int backup_object_data(struct backup_store *s, struct str data, struct err *e) MUST_CHECK;
int backup_object_end(struct backup_store *s, char sum_out[SUM_HEX + 1], bool *new_out, struct err *e) MUST_CHECK;
bool backup_object_there(struct backup_store *s, const char *sum, uint64_t size);
int backup_object_open(struct backup_store *s, const char *sum, int *fd_out, struct err *e) MUST_CHECK;
/* Does what it holds have that sum? ERR_INPUT: no. */
int backup_object_verify(struct backup_store *s, const char *sum, struct err *e) MUST_CHECK;
/* Everything so far is synced, then the list appears under a name of now. */
int backup_snapshot_write(struct backup_store *s, struct str list, char name_out[SNAPSHOT_NAME + 1], struct err *e) MUST_CHECK;
/* Names of snapshots, oldest first. */
int backup_snapshots(struct backup_store *s, struct arena *a, struct str **out, size_t *n_out, struct err *e) MUST_CHECK;
/* name NULL: the newest. out: the list, checked to be whole. ERR_NOENT: there is none. */
int backup_snapshot_read(struct backup_store *s, const char *name, struct buf *out, struct err *e) MUST_CHECK;
/* Keep the newest so many snapshots, and the objects that they name. */
int backup_prune(struct backup_store *s, unsigned keep, unsigned *snapshots_out, unsigned *objects_out, struct err *e) MUST_CHECK;

/* --- backup_list.c: the words of a list. Pure --- */
struct backup_folder {
	struct str name, special;
	uint32_t uidvalidity, uidnext;
	bool subscribed;
};
struct backup_message {
	uint32_t uid, flags;
	int64_t date;
	uint64_t size;
	char sum[SUM_HEX + 1];
	struct str keywords;		/* by blanks */
};
struct backup_file {
	struct str path;
	uint32_t mode, uid, gid;
	uint64_t size;
	char sum[SUM_HEX + 1];
};
enum backup_row { ROW_END, ROW_FOLDER, ROW_MESSAGE, ROW_FILE };
void backup_list_begin(struct buf *b);
void backup_put_folder(struct buf *b, const struct backup_folder *f);
void backup_put_message(struct buf *b, const struct backup_message *m);
void backup_put_file(struct buf *b, const struct backup_file *f);
void backup_list_end(struct buf *b, uint64_t rows);
/* The next row of *rest, which advances; strings borrow. ERR_INPUT: no list of ours, or cut short. */
struct backup_reader {
	struct str rest;
	uint64_t rows;
	struct backup_folder folder;
	struct backup_message message;
	struct backup_file file;
};
int backup_list_open(struct str list, struct backup_reader *r, struct err *e) MUST_CHECK;
int backup_list_next(struct backup_reader *r, enum backup_row *row_out, struct err *e) MUST_CHECK;

/* --- backup_mail.c: the child that reads a mailbox as its user (backup_serve), and the parent that asks it --- */
struct backup_result {
	uint64_t folders, messages, added, bytes, added_bytes, vanished, failed;
	char snapshot[SNAPSHOT_NAME + 1];
};
int backup_mail(const struct conf *conf, const char *dir, const struct account *acct, const char *folder, bool unconfined, bool tty, struct backup_result *out,
		struct err *e) MUST_CHECK;
void backup_serve(int chan, const char *maildir);	/* backup_serve.c; NULL: there is no mailbox */
/* --- backup_files.c: configuration, keys, accounts, maps --- */
int backup_files(const struct conf *conf, const char *dir, struct backup_result *out, struct err *e) MUST_CHECK;

#endif
