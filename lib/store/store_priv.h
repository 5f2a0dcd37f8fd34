/* What the files of lib/store share. Who owns what:
 *   names.c     folder names <-> directory names          folders.c  the tree: list, subscribe     tree.c  create, delete, rename
 *   root.c      the root's own files: UIDVALIDITY counter, subscriptions, special uses     purge.c  files of deleted folders
 *   journal.c   the file of batches: append, scan     journal_write.c  written anew     ops.c   the operations inside a batch: encode
 *   state.c     the folder in memory: records, names, keyword sets     state_apply.c  applies operations     letters.c  flags in file names
 *   index.c index_write.c  the state as a file, mapped     guard.c    mapped files that shrink under us
 *   listing.c listing_order.c  a directory's files, in order
 *   sync.c sync_mark.c sync_cur.c  new/ and cur/ against the state     sync_first.c  the first one     sync_look.c  listed in pieces     takeover.c Dovecot's and Courier's files
 *   mbox.c      a folder opened by this process            view.c     a connection's numbering
 *   marks.c     marked positions
 *   mbox_load.c mbox_commit.c mbox_tidy.c  its journal: read, appended to, written anew     ident.c    UIDVALIDITY and mailbox id
 *   reader.c    readers of a shared folder
 *   message.c   one message's file                         flags.c    flags, expunge, names of files
 *   append.c copy.c cache.c                                what they say
 *   together.c  messages that are numbered before their files are in cur
 *   courier.c   Courier's keywords
 *   handback.c  Dovecot's files, written
 *   search.c search_records.c search_ask.c signer.c trigram.c  the search index
 *   arrive.c    what is computed of new messages           ahead.c    what a walk needs next, by several threads
 *   keys.c keys_file.c keys_write.c  what SORT and THREAD need, in columns
 *   summary.c   what is cached of a header                 grow.c     files that grow, mapped
 *   quota.c     maildirsize
 *   train.c trainqueue.c  what moves say of messages, until it is learned
 *   verify.c    for the admin's tool: look, repair, rebuild
 */
#ifndef STORE_STORE_PRIV_H
#define STORE_STORE_PRIV_H

#include <sys/stat.h>
#include <time.h>

#include "base/list.h"
#include "base/map.h"
#include "store/guard.h"
#include "store/maildir.h"
#include "store/marks.h"
#include "store/state.h"
#include "store/store.h"
#include "store/takeover.h"

enum {
	UID_MAX = 0xfffffffe,
	FILE_NAME_MAX = 255,
	LOCK_WAIT_MS = 10000,		/* for a lock that another process holds */
	BATCH_MAX = 64 << 20,		/* bytes of one journal batch */
	UID_RESERVE = 1000,		/* UIDs that one synced reservation covers */
	KWSETS_MAX = 1 << 24,		/* distinct keyword combinations in a folder */
	KWSETS_SWEEP = 4096,		/* so many may be no record's any more, and as many as are some record's */
	UIDL_MAX = 70,			/* RFC 1939 */
	NEW_BATCH_MAX = 10000,		/* files of new/ that are taken up at once */
	STRUCTURE_KEPT_MAX = 1 << 20,	/* bytes of a body structure that is made before it is asked for */
	CHANGES_MAX = 1 << 15,		/* in a folder's list; then all views read them */
	GONE_MAX = 1 << 15,		/* ranges in the log of expunges; then its older half is forgotten */
};

#define JOURNAL_NAME "postern.journal"
#define INDEX_NAME "postern.index"
#define CACHE_NAME "postern.cache"
#define CACHEMAP_NAME "postern.cachemap"
#define SEARCH_NAME "postern.search"
#define SEARCHLOG_NAME "postern.searchlog"
#define SYNC_NAME "postern.sync"
#define LOCK_NAME "postern.lock"
#define POPLOCK_NAME "postern.poplock"
#define IDENT_NAME "postern.uidvalidity"	/* in a folder: the second copy of what the journal's header says; in the root also the counter */

/* --- the journal --- */
struct journal {
	int fd;			/* -1: none */
	uint64_t generation, prev_generation, base_end;
	uint64_t pos;		/* applied up to here */
	ino_t ino;
	size_t batch;		/* bytes behind pos of a batch that is written, and not taken or undone yet; 0: none */
	bool broken;		/* a sync failed: replace it before the next append */
	bool holes;		/* bytes before pos that do not verify */
};
struct journal_head {
	uint64_t generation, prev_generation, base_end, modseq;
	uint8_t id[16];
	uint32_t uidvalidity, uidnext;
};
/* Opens and reads the header (either copy). ERR_NOENT: no file. ERR_INPUT: neither copy of the header verifies (fd stays -1). */
int journal_open(struct journal *j, int dirfd, struct journal_head *head, struct err *e) MUST_CHECK;
/* The same open file from its beginning: j borrows the descriptor (never close it). */
int journal_again(const struct journal *from, struct journal *j, struct journal_head *head, struct err *e) MUST_CHECK;
void journal_close(struct journal *j);
typedef int batch_fn(void *ctx, struct str ops, uint64_t modseq, uint32_t uidnext, uint32_t reserved, struct err *e);
/* Hand every whole batch from j->pos on to fn; j->pos advances. *tail_out: bytes at the end that are no batch (a write cut short, or rot); a hole in the
 * middle is skipped and sets j->holes. */
int journal_scan(struct journal *j, batch_fn *fn, void *ctx, uint64_t *tail_out, struct err *e) MUST_CHECK;
/* What an appended batch is on return. */
enum durable {
	DURABLE_LATER,		/* in the file: for what can be found out again, or is promised by a batch behind it */
	DURABLE_WRITTEN,	/* on the disk: where the file system commits in order, the next sync of any file of it makes the batch durable */
	DURABLE_NOW,
};
/* The same, until so many bytes are behind j->pos: 1 more is left. */
int journal_scan_some(struct journal *j, uint64_t max, batch_fn *fn, void *ctx, uint64_t *tail_out, struct err *e) MUST_CHECK;
/* Append one batch at j->pos. The file is as before on failure. */
int journal_append(struct journal *j, struct str ops, uint64_t modseq, uint32_t uidnext, uint32_t reserved, enum durable how, struct err *e) MUST_CHECK;
int journal_sync(struct journal *j, struct err *e) MUST_CHECK;	/* all batches are durable */
/* The same in steps, for who has other things to do while the disk writes. write: it is on its way; written: it is on the disk. sync: where fs_commits_in_order() holds, all that
 * was done before is durable, whatever was so when it was written. take: it counts; undo: it never was. Between write and one of these two nothing else is done with it. */
int journal_batch_write(struct journal *j, struct str ops, uint64_t modseq, uint32_t uidnext, uint32_t reserved, struct err *e) MUST_CHECK;
int journal_batch_written(struct journal *j, struct err *e) MUST_CHECK;
int journal_batch_sync(struct journal *j, struct err *e) MUST_CHECK;
void journal_batch_take(struct journal *j);
void journal_batch_undo(struct journal *j);
/* Write a new journal that holds the state, and put it in the old one's place. keep_bad: the old file stays as postern.journal.bad. */
int journal_replace(struct journal *j, int dirfd, const struct state *st, bool keep_bad, struct err *e) MUST_CHECK;
/* The same in pieces; begin and take under the lock. step: 1 more is left, 0 all is written. The state must be as it was at begin. take: the new journal is in place,
 * *w freed, on failure too. abort: locked says whether its file may be removed now; else the next writer does. */
struct journal_writer;
struct crew;
int journal_begin(const struct journal *j, int dirfd, const struct state *st, struct journal_writer **out, struct err *e) MUST_CHECK;
int journal_step(struct journal_writer *w, uint32_t work, struct err *e) MUST_CHECK;
/* Of a first journal: what makes the state, as it is made, instead of what is in it (journal_step); rest: what else is in the state. The crew, if any, writes beside it. */
void journal_helped(struct journal_writer *w, struct crew *crew);
int journal_put(struct journal_writer *w, struct str ops, struct err *e) MUST_CHECK;
int journal_put_assign(struct journal_writer *w, const struct assign *a, struct err *e) MUST_CHECK;
int journal_rest(struct journal_writer *w, struct err *e) MUST_CHECK;
bool journal_stale(const struct journal_writer *w, const struct journal *j);	/* the state has moved on since begin: abort */
int journal_take(struct journal_writer **w, struct journal *j, bool keep_bad, struct err *e) MUST_CHECK;
void journal_abort(struct journal_writer **w, bool locked);
/* One batch at in[0..]: 1 a whole one (*used_out, *ops_out …), 0 none. Pure. */
int batch_parse(struct str in, uint64_t generation, uint64_t off, size_t *used_out, struct str *ops_out, uint64_t *modseq_out, uint32_t *uidnext_out,
		uint32_t *reserved_out);

/* --- the index --- */
/* A file's bytes: a large one mapped, privately and under the guard (guard.h), a small one read. NULL: it cannot be. Freed with guard_del and munmap. */
void *file_map(int fd, size_t n);
/* 0: st holds the index, as of *pos_out in the journal of that generation. 1: none, or it is of no use; 2: it knows
 * a longer journal. *generation 0: any, and set. */
int index_load(int dirfd, uint64_t *generation, uint64_t journal_size, struct state *st, uint64_t *pos_out) MUST_CHECK;
int index_save(int dirfd, const struct state *st, uint64_t generation, uint64_t pos, struct err *e) MUST_CHECK;
/* The same in pieces (index_write.c). begin: 0; 1: none is written on this machine. step: work records or names; 1 more is left, 0 it is in place and *w
 * freed, -1 freed. The state must be as it was at begin. */
struct index_writer;
int index_begin(int dirfd, const struct state *st, uint64_t generation, uint64_t pos, struct index_writer **out, struct err *e) MUST_CHECK;
int index_step(struct index_writer **w, uint32_t work, struct err *e) MUST_CHECK;
void index_abort(struct index_writer **w);

/* --- names (names.c) --- */
/* Folder name (UTF-8, '/' between levels) -> directory name (".A.B", "" for INBOX). ERR_INPUT. */
int name_to_dir(struct str name, bool utf8_tree, struct buf *out, struct err *e) MUST_CHECK;
/* The other way; -1: not a name that we could have made. */
#define DOT_ESCAPE "&AC4-"	/* a dot within a level of a directory's name */
int name_from_dir(struct str dir, bool utf8_tree, struct buf *out) MUST_CHECK;
/* Canonical form: INBOX upper case, no leading, trailing or double '/'. */
int name_normal(struct str name, struct buf *out, struct err *e) MUST_CHECK;
/* A level in modified UTF-7, its dots as they are; -1: not UTF-8, or no room. */
int level_utf7(struct str utf8, struct buf *out) MUST_CHECK;

/* --- the tree --- */
struct store {
	int rootfd, lockfd;
	int lock_depth;
	char *root;
	bool create, ready;	/* ready: default folders were seen to */
	bool utf8_tree;
	char **defaults;
	size_t n_defaults;
	struct list mboxes;
	struct quota limits;
	int guard_ino;		/* inotify on cur/ directories around our own changes; -1 none */
	bool gone_left;		/* files of deleted folders were seen that no walk has begun to remove */
	struct purge *purge;	/* the walk; NULL: none */
	struct crew *crew;	/* threads for walks; NULL: there was none yet */
	unsigned crew_size;	/* 0: by the processors */
};
#define GONE_PREFIX "..postern.gone."	/* names of deleted folders (purge.c) */
void purge_end(struct store *s);
struct crew *store_crew(struct store *s);	/* its threads, which are made when there is work (ahead.c) */
int store_ready(struct store *s, struct err *e) MUST_CHECK;
int store_dir_of(struct store *s, struct str name, struct buf *dir_out, struct err *e) MUST_CHECK;
/* The mail was changed by us, by that much; by others. */
void store_quota_add(struct store *s, int64_t bytes, int64_t count);
void store_quota_forget(struct store *s);
/* Kernel locks, 10 s at most. */
int lock_take(int fd, const char *what, struct err *e) MUST_CHECK;
int lock_try(int fd) MUST_CHECK;	/* 0 taken, 1 held by another, -1 errno */
void lock_release(int fd);
bool root_has(struct store *s, const char *name);	/* that file or directory */
int root_lock(struct store *s, struct err *e) MUST_CHECK;
void root_unlock(struct store *s);
/* A UIDVALIDITY that no folder of this tree had; durable. */
int root_uidvalidity(struct store *s, uint32_t *out, struct err *e) MUST_CHECK;
int root_uidvalidity_seen(struct store *s, uint32_t used, struct err *e) MUST_CHECK;	/* none at or below it will be handed out */
struct sub_list {
	struct str *v;
	size_t n;
};
int root_subs_read(struct store *s, struct arena *a, struct sub_list *out, struct err *e) MUST_CHECK;
int root_subs_write(struct store *s, const struct sub_list *l, struct err *e) MUST_CHECK;
struct special {
	struct str use, name;
	struct special *next;
};
int root_special_read(struct store *s, struct arena *a, struct special **out, bool *exists_out, struct err *e) MUST_CHECK;
int root_special_write(struct store *s, const struct special *l, struct err *e) MUST_CHECK;
const char *special_of_name(struct str name);	/* "\\Sent" of "Sent"; NULL */
int root_each_dir(struct store *s, int (*fn)(void *ctx, const char *dir, struct err *e), void *ctx, struct err *e) MUST_CHECK;

/* --- files that grow, mapped (grow.c) --- */
struct grow {
	int fd;			/* -1: none */
	unsigned char *p;
	size_t n;
};
void grow_open(struct grow *g, int fd);	/* takes fd */
void grow_close(struct grow *g);
const unsigned char *grow_at(struct grow *g, uint64_t off, size_t n);	/* valid until the next call; NULL: the file does not reach so far */
bool grow_hit(const struct grow *g);	/* it was cut short: what was read may be zeros */

/* --- the cache of computed things (cache.c) --- */
struct cache_pending {
	uint32_t uid, kind, n;
	size_t at;		/* in out */
};
struct cache {
	struct grow data, map;
	bool off;		/* cannot be made: done without */
	unsigned asks;		/* so many questions more are not worth a look at the files */
	struct buf out;		/* blobs that are not written yet */
	struct cache_pending *pending;
	size_t n_pending, cap_pending;
	uint32_t pending_from, pending_to;	/* their UIDs */
	uint64_t *verified;	/* bit per UID: its summary's checksum was right */
	size_t n_verified;
	int64_t *sent;		/* dates of summaries by position, when they were asked for: SENT_UNKNOWN */
	size_t n_sent;
};
void cache_init(struct cache *c);
void cache_close(struct cache *c);
int cache_peek(struct mbox *m, uint32_t uid, uint32_t kind, struct str *out) MUST_CHECK;	/* 1: not there; *out valid until the next call about the cache */
void cache_put(struct mbox *m, uint32_t uid, uint32_t kind, struct str blob);
void summary_make(struct buf *out, struct arena *scratch, struct str head);	/* makes out and builds the summary there, which may fail in it (summary.c) */

/* --- the search index (search.c) --- */
struct signer;
enum { SEARCH_BLOCKS, SEARCH_LOG };	/* its files */
struct search_bits {
	uint64_t *v;
	size_t n;		/* words */
};
struct search_block {
	uint64_t uids, columns;	/* offsets */
	uint32_t n, live;	/* messages; of them there, when it was loaded */
	uint8_t kind, class;
};
struct search_row {
	uint64_t at;		/* of its bits in the log; pending: in search.pending */
	uint32_t uid;
	uint8_t kind, class;
	bool pending;
};
struct search {
	struct grow file[2];
	ino_t ino[2];
	uint64_t pos[2];	/* taken up to here */
	bool off;		/* cannot be made: done without */
	bool loaded;		/* all that was there when it was last asked */
	struct search_block *blocks;
	size_t n_blocks, cap_blocks;
	struct search_row *rows;
	size_t n_rows, cap_rows;
	uint32_t count[2][32];	/* rows by kind and class */
	struct search_bits covered[2];	/* positions that are known, by kind */
	uint64_t garbage;	/* bytes of the log that blocks know */
	uint64_t block_bytes, dead_bytes;	/* of blocks; of those among them that are no use */
	struct buf pending;	/* rows that are not written yet */
	struct signer *signer;	/* NULL: nothing was learned yet */
	uint64_t life;		/* how often it was closed */
	uint64_t sealed;	/* how often rows became a block */
	bool due;		/* there may be rows to be made a block, or a log to be written anew */
};
void search_init(struct search *s);
void search_close(struct search *s);
void search_drop(struct mbox *m);	/* and its files */
uint64_t search_check(int dirfd, const uint8_t id[16], const char *name);	/* bytes of that file that do not verify */

/* --- a folder --- */
struct change {
	uint32_t pos;
	uint32_t what;		/* enum applied */
	const struct mbox_view *by;	/* made through this view; NULL: another's */
};
struct sync_first;
struct sync_look;
/* Where a walk in pieces over the records has come to, and how many of what it looks for there were then: it begins anew when that is another number. */
struct tidy_walk {
	uint32_t pos, left;
	uint32_t passed;	/* records since something was done */
};
struct mbox {
	struct list node;
	struct store *s;
	unsigned refs;
	char *dir;		/* directory name; "" INBOX */
	int dirfd, curfd, newfd, lockfd, popfd;
	int syncfd;		/* postern.sync, once it was written */
	int lock_depth;
	bool gone;		/* deleted under us */
	struct sync_first *first;	/* its first state is being made: the rest of it is to come; NULL: it is there */
	bool loading;		/* its journal is being read: the rest of it is to come */
	bool index_longer;	/* the index knew a longer journal */
	struct journal j;
	struct state st;
	uint64_t index_pos;	/* journal offset that the index on disk reflects */
	uint64_t map_pos;	/* that the mapped one does */
	struct index_writer *writing;	/* the next one, in pieces; NULL: none */
	uint64_t writing_generation, writing_pos;
	struct journal_writer *rewriting;	/* the next journal, likewise */
	uint64_t quiet_pos;	/* length of the journal when one was last wanted */
	struct sync_look *look;	/* at cur, in pieces; NULL: none */
	uint64_t unsure_ms;	/* when a look was used during which cur changed, and none since that is exact; 0: there is no such */
	struct tidy_walk reaping, naming;	/* files of expunged messages, names to be brought up to date */
	struct timespec cur_seen, new_seen;	/* directory times that are accounted for; tv_sec 0: none */
	uint64_t told_generation, told_pos;	/* length of the journal as postern.sync has it */
	uint32_t recent_uid;	/* the first UID that no view has had as recent */
	uint32_t recent_told;	/* the same as postern.sync has it */
	struct list views;
	struct change *changes;
	size_t n_changes, cap_changes;
	uint32_t *left;		/* positions of messages that have gone, as they were when somebody last looked (view.c) */
	size_t n_left, cap_left;
	const struct mbox_view *actor;
	int ino_fd, wd_journal, wd_cur, wd_new;
	int guard_wd;
	size_t guard_events;	/* on our cur since sync_own_begin */
	bool exact_times;	/* cur was seen to keep nanoseconds */
	bool in_order;		/* fs_commits_in_order() */
	bool in_tmp;		/* files of messages may stand in tmp (together.c) */
	ino_t ino;		/* of the directory */
	dev_t dev;
	struct cache cache;
	struct search search;
	struct keys *keys;	/* keys_priv.h */
	char *pending_kw[STORE_KEYWORDS_MAX];	/* named by operations that are not committed yet */
	size_t n_pending_kw;
};
struct mbox_view {
	struct list node;
	struct mbox *m;
	uint32_t limit;		/* positions below it are numbered, */
	uint32_t *removed;	/* but for these (ascending) */
	size_t n_removed, cap_removed;
	struct marks pending;	/* expunged, not announced */
	struct marks flagged;	/* changed, not announced */
	size_t cursor;		/* into m->changes */
	struct range *recent;
	size_t n_recent;
	bool takes_recent;	/* what is recent here is not in the next view */
	bool sees_recent;
	char *reader;		/* keyword that is shown as \Seen; NULL: the flag is. Owned */
	int reader_id;		/* its number, -1 none; as of keywords_stamp reader_stamp */
	uint64_t reader_stamp;
	bool all_readers;
	struct ahead *ahead;	/* a walk's messages are looked at ahead (ahead.c); NULL: no walk */
};
/* --- readers (reader.c) --- */
#define KEYWORD_HIDDEN "(seen)"	/* begins such a keyword: "(" is in no keyword of IMAP */
bool keyword_hidden(struct str name);
char *reader_keyword(const char *reader);	/* returns owned */
int view_reader(struct mbox_view *v);		/* number of its reader's keyword, -1: nobody has it */
void view_shown(struct mbox_view *v, const struct rec *r, struct mbox_msg *out);	/* flags and keywords, as the view's reader sees them */
bool reader_room(const struct mbox *m, struct str keyword);	/* is there room for this one */

int mbox_lock(struct mbox *m, struct err *e) MUST_CHECK;	/* caught up with the journal on return */
/* All folders that are being opened in pieces are opened now, and their locks free: who waits for another lock holds none of these, or two processes might wait for each other. */
void mbox_openings_end(struct store *s);
int mbox_lock_try(struct mbox *m, struct err *e) MUST_CHECK;	/* the same, but 1 when another process has it */
void mbox_unlock_folder(struct mbox *m);
/* Append ops as one batch (under the lock), then apply it. */
int mbox_commit(struct mbox *m, struct buf *ops, enum durable how, struct err *e) MUST_CHECK;
/* The same in steps, where fs_commits_in_order() holds: begin: the batch is on its way to the disk; written: it is there; end: it and all that was done before are made durable,
 * and it is applied. A crash before that may leave the batch, or not. After begin one of end and undo; end undoes it when it fails. */
int mbox_commit_begin(struct mbox *m, struct buf *ops, uint64_t *modseq_out, struct err *e) MUST_CHECK;
int mbox_commit_written(struct mbox *m, struct err *e) MUST_CHECK;
int mbox_commit_end(struct mbox *m, struct buf *ops, uint64_t modseq, struct err *e) MUST_CHECK;
void mbox_commit_undo(struct mbox *m);
bool mbox_one_sync(const struct mbox *m);	/* they may be used: one sync is enough for all that is done in this folder */
/* Make sure that n more UIDs are covered by a reservation, which is durable with the next batch that is, at the latest. */
int mbox_reserve(struct mbox *m, size_t n, struct err *e) MUST_CHECK;
/* First, under the lock; 1: there is nothing to load (sync_first_begin); 2: a piece is done, and mbox_load_step does the next, until it returns another value. */
int mbox_load(struct mbox *m, struct err *e) MUST_CHECK;
int mbox_load_step(struct mbox *m, struct err *e) MUST_CHECK;
int mbox_catch_up(struct mbox *m, struct err *e) MUST_CHECK;	/* under the lock: everything that other processes wrote */
bool mbox_index_due(const struct mbox *m);	/* an opening has much of the journal to read */
bool mbox_journal_due(const struct mbox *m);	/* most of it is the past */
bool mbox_index_step(struct mbox *m);	/* write a piece of the next journal, then of the next index; true: more is left */
void mbox_tidy(struct mbox *m);		/* under the lock, before it is released */
void mbox_tidy_last(struct mbox *m);	/* before the folder is closed */
int mbox_replace_journal(struct mbox *m, bool keep_bad, struct err *e) MUST_CHECK;
/* Number of each keyword, new ones defined by operations appended to ops. ids: room for n. ERR_LIMIT: too many. */
int mbox_keyword_ids(struct mbox *m, const struct str *names, size_t n, uint16_t *ids, size_t *n_out, struct buf *ops, struct err *e) MUST_CHECK;
void mbox_pending_clear(struct mbox *m);
/* UIDs as ranges of consecutive positions, so that "1:*" is a few bytes. v: owned by who has the ranges. */
struct ranges {
	struct range *v;
	size_t n, cap;
	uint32_t last_pos;
};
void ranges_add(struct ranges *r, uint32_t pos, uint32_t uid);
uint32_t view_pos(const struct mbox_view *v, uint32_t seq);	/* UINT32_MAX: out of range */
uint32_t view_seq(const struct mbox_view *v, uint32_t pos);	/* 0: not numbered */
void views_read_changes(struct mbox *m);	/* all that the list holds: it is empty then */
/* Unlink files of expunged messages that no view reads any more, at most max; soon: now when they are few. */
void mbox_reap(struct mbox *m, uint32_t max);
bool mbox_reap_step(struct mbox *m, uint32_t max);	/* a piece of that; true: more can be done */
void mbox_reap_soon(struct mbox *m);

/* --- a message's file --- */
/* A link of it, from where the file should be or from where its flags would have it. 0, or -1 with errno. */
int message_link(struct mbox *m, const struct rec *r, int dirfd, const char *to) MUST_CHECK;
int message_open(struct mbox_view *v, uint32_t seq, int *fd_out, struct stat *st_out, struct err *e) MUST_CHECK;	/* a regular file */
/* Where it is known to be, and how long it is thought to be; what kind of file it is was not asked. -1: message_open tells. */
int message_open_bytes(struct mbox_view *v, uint32_t seq, int *fd_out, uint64_t *size_out) MUST_CHECK;
int64_t message_date(struct mbox *m, struct rec *r);	/* INTERNALDATE; keeps what it finds */
int message_sizes(struct mbox *m, uint32_t uid, struct err *e) MUST_CHECK;	/* count and write down */
int message_count(int fd, uint64_t *size_out, uint64_t *crlf_out, struct err *e) MUST_CHECK;
int message_open_name(int dirfd, const char *name) MUST_CHECK;	/* -1 with errno; what kind of file it is was not asked */
int message_open_pos(struct mbox *m, uint32_t pos, int *fd_out, struct stat *st_out) MUST_CHECK;	/* where it is known to be; errno */
struct msgfile;
/* A file that is thought to be size bytes long, read into room, of msgfile_room() bytes (SIZE_MAX: it is better mapped, else size + 1), in one go. False: it is not as long
 * as that. Pure but for fd. */
size_t msgfile_room(uint64_t size, bool head_only);
bool msgfile_bytes(int fd, uint64_t size, char *room, struct str *text_out) MUST_CHECK;
/* The same for its header alone (msgfile_room with head_only): no more is read than headers before it were long, which *usual_io says (0: there was none) and learns, and
 * once more where this one is longer. False also where it is longer than is read. part_out: there is more; head_n_out: bytes of the header with the empty line. */
bool msgfile_head_bytes(int fd, uint64_t size, size_t *usual_io, char *room, struct str *text_out, bool *part_out, size_t *head_n_out) MUST_CHECK;
int msgfile_from(struct msgfile *f, int fd, const struct stat *st, bool head_only, struct err *e) MUST_CHECK;	/* reads or maps an open file */
/* A new message whose text is in memory, and what is kept of it once that was computed. */
struct arrival {
	struct str text;	/* p NULL: it is only in the file. Borrowed */
	bool looked;
	struct buf summary, structure;	/* then; they may have failed */
};
void arrival_look(struct arrival *at);	/* computes both where there is a text; knows of no folder */
void arrival_fini(struct arrival *at);	/* of what was computed */
/* Messages from position pos on are new: compute what will be asked of them while their files are at hand (arrive.c). At most some: the others are
 * looked at when they are asked for. at_hand: the first messages. */
enum { ARRIVED_MAX = 50 };
void messages_arrived(struct mbox *m, uint32_t pos, const struct arrival *at_hand, size_t n_at_hand);
unsigned message_unlink(struct mbox *m, const struct rec *r);	/* files unlinked: 0 or 1 */

/* --- messages that are numbered before their files are in cur (together.c) --- */
enum { TOGETHER_PATH_MAX = FILE_NAME_MAX + 8 };
int together_path(const struct state *st, const struct rec *r, char out[TOGETHER_PATH_MAX]) MUST_CHECK;	/* where its file is then, from the folder's directory on; -1 with errno */
int together_place(struct mbox *m, struct str base, const char *name) MUST_CHECK;	/* into cur, under the lock; -1 with errno */
int together_sync(struct mbox *m, const char *sub, struct err *e) MUST_CHECK;	/* names in that subdirectory, where the next sync of the journal does not make them durable */
/* Base names of all that are there, in a map that is the caller's; NULL with *e. */
struct map *together_names(struct mbox *m, struct arena *a, struct err *e) MUST_CHECK;
/* Tidying up, at most max files: those of messages into cur, the others away, or with salvage, where records may be lost, into new. True: some may be left. */
bool together_settle(struct mbox *m, size_t max, bool salvage);

/* --- new/ and cur/ --- */
int sync_folder(struct mbox *m, bool force, struct err *e) MUST_CHECK;
/* A piece of a look at cur that comes before sync_folder, where the folder is large and another program has changed it; without the lock. True: more is left. */
struct sync_look;
bool sync_look_step(struct mbox *m);
void sync_look_free(struct sync_look **l);
int sync_again(struct mbox *m, struct err *e) MUST_CHECK;
/* No journal yet: take over and number, in pieces (sync_first.c), under the lock from begin to the end. step: 1 more is left, 0 the folder has its state and journal. free: at
 * any time; m->st is not to be used where it was not at its end. */
struct sync_first;
int sync_first_begin(struct mbox *m, struct sync_first **out, struct err *e) MUST_CHECK;
int sync_first_step(struct sync_first *f, struct err *e) MUST_CHECK;
void sync_first_progress(const struct sync_first *f, uint64_t *done_out, uint64_t *goal_out);	/* messages; goal 0: not known yet */
void sync_first_free(struct sync_first **f);
/* Around our own changes in cur, under the lock: begin says whether cur is as accounted for; end gives the directory a time of our own, so that the
 * change is not taken for a foreign one; record tells other processes, after the journal holds what was changed. events: inotify events that our changes
 * caused. */
bool sync_own_begin(struct mbox *m);
void sync_own_step(struct mbox *m, size_t done);	/* after each change of a long run */
void sync_own_end(struct mbox *m, bool clean, size_t events);
void sync_record(struct mbox *m);
void sync_record_read(struct mbox *m);
void sync_forget(struct mbox *m);	/* list cur at the next refresh */
int sync_fresh_base(struct str old, uint64_t size, uint64_t size_crlf, char out[FILE_NAME_MAX + 1]);
int rename_new(int olddir, const char *from, int newdir, const char *to);	/* never replaces; errno */
int ident_write(struct mbox *m, struct err *e) MUST_CHECK;
/* uidvalidity, id and UID bound of the second copy; 1: there is none. */
int ident_read(int dirfd, uint32_t *uidvalidity, uint8_t id[16], uint32_t *bound) MUST_CHECK;

/* --- annotations --- */
int meta_parse(struct arena *a, struct str text, struct mbox_meta **list_out, struct err *e) MUST_CHECK;	/* pure */

/* --- takeover (takeover.h has the parsers) --- */
int takeover_read(struct mbox *m, struct arena *a, struct old_list *out, struct err *e) MUST_CHECK;	/* 1: nothing to take over */
/* Courier's keywords by base name; NULL: none. The caller frees the map; the words are in a. */
struct map *courier_keywords(int dirfd, struct arena *a);
/* Names of the keyword letters a..z of this folder ("" unused). */
void takeover_keywords(int dirfd, struct arena *a, struct str letters_out[26]);

#endif
