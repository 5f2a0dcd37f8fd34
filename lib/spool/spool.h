/* The queue on disk. One file per message: the content (LF text) at its start, never changed; behind it an append-only journal of checksummed
 * records: the envelope, its recipients, a commit mark, then what happened to each recipient. The file's name in queue/ says where the
 * content ends: QID.SIZE (decimal). So a message costs one create, one rename and one fsync, and a status is one append.
 *
 *	incoming/QID		being received; nothing in it was ever acknowledged
 *	memory/QID		the same, small and of known size, where a file system in memory is mounted: mail that is delivered in its
 *				session then never touches the disk twice. What must be queued after all is copied
 *	queue/QID.SIZE		committed: journal holds a commit mark
 *	spare/N			empty files of messages that have left, to become those of new ones: a file system takes longer to make a
 *				file and to forget one than all the rest takes
 *	corrupt/…		what could not be read, moved aside, never deleted by us
 *
 * Everything is relative to the spool's descriptors; queued alone writes here. Others get read-only descriptors and the size.
 *
 *	spool_receive(sp, qid, &wfd, &rfd, &e); … the front writes wfd …; spool_sealed(rfd, &e);
 *	spool_commit(sp, &msg, rfd, &fd, &e); fsync(fd) (by a pool thread), then it is durable.
 */
#ifndef SPOOL_SPOOL_H
#define SPOOL_SPOOL_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/arena.h"
#include "base/attr.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"

enum {
	SPOOL_QID_MAX = 15,
	SPOOL_NAME_MAX = 64,	/* of a file, with its NUL */
	SPOOL_RCPT_MAX = 100000,	/* recipients of one message, those added later included */
	SPOOL_EDITS_MAX = 256,
	SPOOL_TEXT_MAX = 16384,		/* bytes of any one string in a record */
	SPOOL_RECORD_MAX = 1 << 20,	/* bytes of one record */
	SPOOL_JOURNAL_MAX = 256 << 20,	/* bytes of one journal */
	SPOOL_MEMORY_MESSAGE_MAX = 256 << 10,	/* declared bytes of a message that may be received in memory */
	SPOOL_SWEEP_AGE_S = 36 * 3600,	/* unfinished files are left alone for so long */
	SPOOL_SPARE_MAX = 256,		/* files kept for new messages */
};

enum spool_state {
	SPOOL_PENDING,		/* to be delivered */
	SPOOL_SENT,		/* done */
	SPOOL_BOUNCED,		/* failed for good; a bounce is due until SPOOL_TOLD */
	SPOOL_TOLD,		/* failed for good and the sender was told (or must not be) */
	SPOOL_REPLACED,		/* replaced by other recipients (.forward) */
	SPOOL_STATE_MAX_
};

struct spool_rcpt {
	struct str kind;		/* "mailbox" "remote" "file" "command" "include" */
	struct str address;		/* final address */
	struct str original;		/* as the client gave it */
	struct str user, extension;	/* mailbox: account and plus part */
	struct str folder;		/* forced folder, or empty */
	uint64_t notify;		/* NOTIFY=, bits of enum smtp_notify (smtp/dsn.h); 0: not given */
	struct str orcpt;		/* ORCPT=, decoded: "rfc822;joe@example.com"; empty: not given */
	struct str sender;		/* envelope sender for this one (owner of a list), or empty: the message's */
	enum spool_state state;
	uint64_t tries;
	int64_t when;			/* of the last try, wall seconds; 0: none */
	struct str enhanced, text, relay;	/* of the last try */
};

enum { SPOOL_F_SMTPUTF8 = 1, SPOOL_F_BOUNCE = 2 /* made by us */, SPOOL_F_OURS = 4 /* sender authenticated or local: may get bounces */,
       SPOOL_F_ANY_TLS = 8 /* leaves under any TLS, or none: a report about TLS */, SPOOL_F_FORWARDED = 16 /* by a .forward file */ };

struct spool_msg {
	struct str qid;
	uint64_t size;			/* content bytes */
	uint64_t arrived_us;		/* wall clock */
	uint64_t flags;			/* SPOOL_F_ */
	struct str sender;		/* "" null */
	struct str client, helo, user;	/* for listing and filters */
	struct str message_id;
	struct str body;		/* "" 7BIT 8BITMIME */
	struct str envid;		/* ENVID=, decoded; empty: not given */
	uint64_t ret;			/* RET=, enum smtp_ret */
	struct str *edits;
	size_t n_edits;
	struct spool_rcpt *rcpts;
	size_t n_rcpts, cap_rcpts;
	/* changing */
	uint64_t tries;
	int64_t next_try;		/* wall seconds; 0: now */
	int64_t warned;			/* when the sender was told of the delay; 0: not yet */
	bool held;
	struct str quarantine;		/* why the filter holds it, until it is released: "BANNED (setup.exe)"; empty: it does not */
	bool expired;			/* somebody wants it returned unless its next try succeeds */
};

/* The address that people know: a command, file or include list is delivered to as part of an alias. */
struct str spool_rcpt_shown(const struct spool_rcpt *r);

/* --- journal, pure --- */
/* Envelope, recipients, states and the commit mark of a whole message, appended to *out. */
void spool_journal_message(const struct spool_msg *m, struct buf *out);
void spool_journal_status(struct str qid, size_t rcpt, const struct spool_rcpt *r, struct buf *out);
/* One more recipient, number k. */
void spool_journal_recipient(struct str qid, size_t k, const struct spool_rcpt *r, struct buf *out);
void spool_journal_try(const struct spool_msg *m, struct buf *out);	/* tries, next_try, warned, held, expired */
/* Replay. Strings borrow bytes; the struct and arrays live in a. *good_out: bytes of good records; what is behind them is a torn or foreign tail.
 * ERR_NOENT: no commit mark (never acknowledged, or cut). ERR_INPUT: damaged. */
int spool_journal_decode(struct str qid, uint64_t size, struct str bytes, struct arena *a, struct spool_msg **out, size_t *good_out, struct err *e) MUST_CHECK;
/* One more recipient on m, in arena a. NULL: SPOOL_RCPT_MAX reached. Zeroed. */
struct spool_rcpt *spool_msg_add(struct arena *a, struct spool_msg *m);
/* 10 to 15 of [A-Z0-9]. */
bool spool_qid_valid(struct str qid);
/* A fresh id: microseconds since 1970 in base 32, larger than the last one of this process. Starts with a digit. */
void spool_qid_new(char out[SPOOL_QID_MAX + 1]);

/* --- files --- */
struct spool;
int spool_open(const char *dir, struct spool **out, struct err *e) MUST_CHECK;	/* directories must exist: spool_make() */
void spool_close(struct spool **sp);
void spool_disk_only(struct spool *sp);		/* receive nothing in memory */
void spool_sync_directories(struct spool *sp);	/* sync directories too, whatever the file system */
#define SPOOL_STATE "state"	/* directory in it for what else queued keeps: counts, caches */
/* As root, before the spool's owner is confined to it: make dir (root's, 0750) and its parts (0700) for uid, gid. */
int spool_make(const char *dir, uid_t uid, gid_t gid, struct err *e) MUST_CHECK;
/* Room for need bytes above reserve, and 1000 inodes? ERR_LIMIT when not. */
int spool_room(struct spool *sp, uint64_t need, uint64_t reserve, struct err *e) MUST_CHECK;

/* declared: SIZE=, what the client says that it will send; 0: it does not say. */
int spool_receive(struct spool *sp, struct str qid, uint64_t declared, int *write_fd_out, int *read_fd_out, struct err *e) MUST_CHECK;
/* The proof that nobody can write any more: a read lease is granted only when no descriptor is open for writing. *size_out: bytes of the file. */
int spool_sealed(int read_fd, uint64_t *size_out, struct err *e) MUST_CHECK;
void spool_discard(struct spool *sp, struct str qid);	/* of incoming or memory */
/* Append the journal and rename into queue (from memory: copy it there). read_fd: what spool_receive() gave, borrowed; of m->size bytes, or ERR_BUG.
 * *fd_out (caller closes after fsync): when that fsync has returned, name and content are durable. */
int spool_commit(struct spool *sp, const struct spool_msg *m, int read_fd, int *fd_out, struct err *e) MUST_CHECK;
/* Undo a commit, or the end of a message. The file may serve again, emptied, if nobody else has it open. */
void spool_remove(struct spool *sp, struct str qid, uint64_t size);
/* A whole message from memory (bounces): content written, journal appended, in queue. As spool_commit. */
int spool_write(struct spool *sp, const struct spool_msg *m, struct str content, int *fd_out, struct err *e) MUST_CHECK;
/* The same with the content of another message, which may be large: begin makes a file for it, content copies the first size bytes of from, whose offset stays, and may do
 * so in another thread (0, or errno); end is as spool_write, and undoes it if it fails. */
struct spool_fresh {
	int fd;			/* for writing */
	int dir;		/* where its name is */
	char name[SPOOL_NAME_MAX];
};
int spool_copy_begin(struct spool *sp, struct str qid, struct spool_fresh *f, struct err *e) MUST_CHECK;
int spool_copy_content(int to, int from, uint64_t size) MUST_CHECK;
int spool_copy_end(struct spool *sp, const struct spool_msg *m, struct spool_fresh *f, int *fd_out, struct err *e) MUST_CHECK;
void spool_copy_undo(struct spool_fresh *f);
/* Append records. sync: fdatasync before return. */
int spool_append(struct spool *sp, struct str qid, uint64_t size, struct str records, bool sync, struct err *e) MUST_CHECK;
int spool_read_fd(struct spool *sp, struct str qid, uint64_t size, int *fd_out, struct err *e) MUST_CHECK;
/* Load and repair: a torn tail is copied to corrupt/ and cut off; an unreadable journal: the file is moved to corrupt/ (ERR_INPUT). Strings live in a.
 * fd_out: the same as spool_read_fd() gives; NULL: not wanted. */
int spool_load(struct spool *sp, struct str qid, uint64_t size, struct arena *a, struct spool_msg **out, int *fd_out, struct err *e) MUST_CHECK;
/* Remove old files of incoming/: what a process left that was killed. */
int spool_sweep(struct spool *sp, struct err *e) MUST_CHECK;
/* Every file of queue/; fn returns non-zero to stop. For the queue's own process, at its start: sweeps as above, and all of spare/ and memory/; only from then on
 * are files kept in spare/. */
typedef int spool_fn(void *ctx, struct str qid, uint64_t size);
int spool_scan(struct spool *sp, spool_fn *fn, void *ctx, struct err *e) MUST_CHECK;

#endif
