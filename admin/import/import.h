/* postern-import: mail from elsewhere into a user's mailbox. Two processes. The source (import_open.c as the caller: opens files below what the admin named;
 * or import_net.c and import_imap.c, import_pop3.c: speaks to another server, holds its password, and has no files) and the writer (the rest: as the
 * mail user, confined to the mail tree, parses what it gets). lib/ipc/import.def is what they say to each other.
 *
 * Every imported message has an id that says where it came from; the id is in its file's name and in postern.imported, so that a repeated or interrupted
 * import takes nothing twice, and does not bring back what the user has deleted since. */
#ifndef ADMIN_IMPORT_H
#define ADMIN_IMPORT_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/arena.h"
#include "base/attr.h"
#include "base/err.h"
#include "base/map.h"
#include "base/str.h"
#include "conf/conf.h"
#include "map/accounts.h"
#include "store/store.h"

enum {
	IMPORT_ROOTS_MAX = 1000,	/* files or directories named */
	IMPORT_DEPTH_MAX = 20,		/* of a source's directories */
	IMPORT_FILES_MAX = 100000,	/* mbox files of one source */
	IMPORT_BATCH_MAX = 64,		/* messages that become visible together */
	IMPORT_BATCH_BYTES = 16 << 20,
	IMPORT_ID_LEN = 32,
	IMPORT_WAIT_MS = 300000,	/* for the source's next answer */
};
enum { EXIT_USAGE = 64, EXIT_NOUSER = 67, EXIT_TEMP = 75, EXIT_CONF = 78 };

struct import_options {
	const char *word, *conf_file;
	const char *user, *folder, *quote, *spool, *layout;
	const char *host, *port, *login, *password_file, *tls, *ca_file;
	bool dry_run, json, quiet, no_verify, unconfined;
	bool delete, keep;	/* pop3 */
	char **args;
	int n_args;
};

/* One line of the report. */
struct import_row {
	char folder[STORE_FOLDER_NAME_MAX + 1];
	char source[256];
	uint64_t found, imported, known, skipped, failed, bytes;
	uint64_t verified;	/* read again from disk and compared */
	char note[200];
	struct import_row *next;
};

struct import {
	const struct import_options *o;
	const struct conf *conf;
	const struct account *acct;
	int chan;			/* to the source */
	struct store *s;		/* NULL: a dry run of a user without mail */
	int rootfd;			/* of the maildir; -1 */
	struct arena *a;
	struct map *done;		/* ids of postern.imported */
	struct import_row *rows, **tail;
	uint64_t started_ms, shown_ms, total, at;	/* progress in bytes or messages */
	bool tty;
	struct map *subscribed;		/* by the source's list: names as ours; NULL: it has none, and all folders are */
	bool in_place;			/* the source is the user's own maildir */
	unsigned maildirs;		/* directories of folders that were come upon */
	bool restore;			/* the word backup: what is there stays, what is not comes back */
};

/* --- import_target.c: a folder that is written to --- */
struct import_message {
	char id[IMPORT_ID_LEN + 1];
	uint32_t flags, uid, pop3_order;
	struct str pop3_uidl;
	int64_t date;
	struct str *keywords;
	size_t n_keywords;
};
struct import_target;
int import_start(struct import *im, struct err *e) MUST_CHECK;	/* opens the user's mail; under the user's uid */
void import_end(struct import *im);
/* special: "\\Sent" …: the user's own folder of that use, if there is one, is taken; name "INBOX" too. */
int import_target_open(struct import *im, struct str name, struct str special, const char *source, struct import_target **out, struct err *e) MUST_CHECK;
int import_target_close(struct import_target **t, struct err *e) MUST_CHECK;	/* what is begun is committed */
struct import_row *import_row(struct import_target *t);
/* Is this message there: that UID, under that UIDVALIDITY, that large? (A restored one; what was deleted since comes back.) */
bool import_target_has(struct import_target *t, uint32_t uidvalidity, uint32_t uid, uint64_t size);
/* After the UIDs of the source were kept: new ones come behind next. */
int import_target_reserve(struct import_target *t, uint32_t next, struct err *e) MUST_CHECK;
/* Keep the UIDs of the source; only where the folder has given out none. */
int import_target_adopt(struct import_target *t, uint32_t uidvalidity, struct err *e) MUST_CHECK;
bool import_target_is_at(const struct import_target *t, int dirfd);	/* that open directory is the folder itself */
bool import_target_known(const struct import_target *t, const char *id);
int import_message_begin(struct import_target *t, const struct import_message *m, struct err *e) MUST_CHECK;
int import_message_data(struct import_target *t, struct str data, struct err *e) MUST_CHECK;
int import_message_end(struct import_target *t, struct err *e) MUST_CHECK;	/* commits when the batch is full */
int import_commit(struct import_target *t, struct err *e) MUST_CHECK;
enum { SUM_LEN = 32 };
/* First 16 bytes of SHA-256 over the parts, each ended by a NUL, as hex. */
void import_id(const struct str *parts, size_t n, char out[IMPORT_ID_LEN + 1]);
void import_id_nth(char id[IMPORT_ID_LEN + 1], unsigned nth);	/* of the same content: another id */

/* Said of what is found in that form. */
#define IMPORT_DBOX "Dovecot's sdbox or mdbox, which Dovecot alone reads: bring it with the word imap, or let doveadm copy it into a maildir first"

/* --- import_report.c --- */
void import_progress(struct import *im, uint64_t at, uint64_t total, const char *what);
int import_report(struct import *im);	/* exit status */
void import_skipped(struct import *im, const char *path, const char *why);	/* a line about what is left alone */

/* --- words: import_mbox.c, import_tree.c, import_maildir.c, import_server.c --- */
typedef int import_word_fn(struct import *im, struct err *e);
int import_word_mbox(struct import *im, struct err *e) MUST_CHECK;
int import_word_tree(struct import *im, struct err *e) MUST_CHECK;
int import_word_maildir(struct import *im, struct err *e) MUST_CHECK;
int import_word_server(struct import *im, struct err *e) MUST_CHECK;	/* also the word backup */
int import_mbox_file(struct import *im, int fd, struct str folder, struct str special, const char *source, struct err *e) MUST_CHECK;
int import_maildir_tree(struct import *im, unsigned root, const char *path, struct str prefix, struct err *e) MUST_CHECK;
/* Ask the opener. *dir_out: it is a directory. ERR_NOENT: it is not there. */
int import_open(struct import *im, unsigned root, const char *path, int *fd_out, bool *dir_out, struct err *e) MUST_CHECK;

/* --- sources --- */
/* Serve OPEN until the writer has gone. roots: opened by import_roots. */
void import_opener(int chan, const int *roots, size_t n_roots);
int import_root(const char *path, struct err *e) MUST_CHECK;	/* a descriptor, or -1 */
/* Serve the snapshot (NULL: the newest) of user's mail below dir until the writer has gone. Returns the exit status. */
int import_backup(const char *dir, const char *user, const char *snapshot, int chan);
/* Speak to the server until the writer has gone; password is wiped. Returns the exit status. */
int import_fetcher(const struct import_options *o, const struct conf *conf, struct buf *password, int chan);

#endif
