/* Mailboxes of one user: Maildir++ below a root directory, primary state beside the mail. Used by the imap and pop3 sessions and
 * deliver, always under the user's own uid. Everything is relative to directory descriptors, O_NOFOLLOW.
 *
 * Per folder: postern.journal (checksummed append-only records: UIDVALIDITY, UID assignments with base names, flags, keywords, mod-sequences,
 * expunges), synced before the OK that promises it, compacted by rename; postern.index (disposable, mapped: fixed-size records in UID order,
 * counters in the header); postern.cache (disposable: envelope, body structure …). Foreign changes in new/ and cur/ are found by directory mtimes that
 * are not our own.
 *
 * A struct mbox is one process' view of one folder, shared by all its connections. struct mbox_view is one connection's numbering:
 * sequence numbers stay until mbox_view_sync() announces.
 */
#ifndef STORE_STORE_H
#define STORE_STORE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/attr.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"
#include "store/quota.h"

struct store;
struct mbox;
struct mbox_view;

enum {
	STORE_FOLDER_NAME_MAX = 1000,	/* bytes of a full name in UTF-8 */
	STORE_FOLDER_DEPTH_MAX = 30,
	STORE_FOLDERS_MAX = 10000,
	STORE_KEYWORDS_MAX = 1000,	/* distinct names per folder */
	STORE_KEYWORD_NAME_MAX = 250,
	STORE_READERS_MAX = 250,	/* users who ever had a \Seen of their own in a folder: they take places of keywords */
};

/* Flag bits. MBOX_F_KEYWORDS: keyword k of the folder's table is bit k of the message's keyword set. */
enum {
	MBOX_ANSWERED = 1, MBOX_FLAGGED = 2, MBOX_DELETED = 4, MBOX_SEEN = 8, MBOX_DRAFT = 16,
	MBOX_RECENT = 32,	/* per view, never stored */
	MBOX_FORWARDED = 64,	/* letter P; shown as $Forwarded */
};

/* --- the user's tree --- */
/* root: absolute maildir path; created with cur new tmp (0700) and the default folders (special uses) when missing and create is true. Returns owned. */
int store_open(const char *root, bool create, struct store **out, struct err *e) MUST_CHECK;
void store_close(struct store **s);
void store_defaults(struct store *s, const char *const *folders, size_t n);	/* names to create with a new tree; call before first use */

/* The user's limits (quota.h): APPEND and COPY that would exceed them fail with ERR_QUOTA, nothing is listed to know it. Call before first use. */
void store_quota_limits(struct store *s, const struct quota *limits);
const struct quota *store_quota(const struct store *s);	/* never NULL; quota_is_set() says whether there is one */
int store_quota_use(struct store *s, struct quota *use_out, struct err *e) MUST_CHECK;
int store_quota_check(struct store *s, uint64_t bytes, uint64_t count, struct err *e) MUST_CHECK;	/* before a literal is read */
int store_quota_instead(struct store *s, uint64_t bytes, uint64_t gone, struct err *e) MUST_CHECK;	/* of one message in the place of one of gone bytes: no larger, it fits */

/* Names are UTF-8 with '/' between levels; "INBOX" any case. On disk: Maildir++ ".Work.Clients", modified UTF-7 (or UTF-8 where the tree already has
 * it); a dot inside a level is stored as a named escape. Invalid names: ERR_INPUT. */
struct store_folder {
	struct str name;
	bool exists;		/* false: only a parent of others, or only subscribed (\NonExistent) */
	bool children;
	bool subscribed;
	struct str special_use;	/* "\\Sent" … or empty */
	struct store_folder *next;
};
int store_list(struct store *s, struct arena *a, struct store_folder **list_out, struct err *e) MUST_CHECK;	/* sorted by name, INBOX first */
int store_create(struct store *s, struct str name, struct str special_use, struct err *e) MUST_CHECK;	/* parents too; ERR_EXISTS */
int store_special_get(struct store *s, struct str name, struct arena *a, struct str *special_use_out, struct err *e) MUST_CHECK;	/* empty: none */
int store_special_set(struct store *s, struct str name, struct str special_use, struct err *e) MUST_CHECK;	/* no other folder keeps it; empty: none */
int store_delete(struct store *s, struct str name, struct err *e) MUST_CHECK;	/* ERR_NOENT; INBOX: ERR_DENIED; children stay */
/* Remove files of deleted folders, also of earlier processes', at most max. True: some may be left. due: there are some, and nobody has begun. */
bool store_purge(struct store *s, unsigned max);
bool store_purge_due(const struct store *s);
int store_rename(struct store *s, struct str from, struct str to, struct err *e) MUST_CHECK;	/* with children; INBOX: ERR_DENIED */
int store_subscribe(struct store *s, struct str name, bool on, struct err *e) MUST_CHECK;

/* --- a folder --- */
/* Opens (takes over Dovecot's uidlist when there is no journal yet). One struct mbox per folder and process: counted. */
int mbox_open(struct store *s, struct str name, struct mbox **out, struct err *e) MUST_CHECK;
/* The same in pieces of some milliseconds, for who serves others meanwhile: to number all files of a large folder takes long. 1: *out is the caller's, and is being opened:
 * nothing can be done with it but these three and mbox_close, until one of the steps, the caller's or that of others who wait for the same folder, has returned 0. Its lock is
 * held: deliveries of other processes wait in new/. On failure step has undone what there was, and tries again when it is called again. mbox_open by others does the rest of it
 * at once. What has come since is not looked for: mbox_refresh. */
int mbox_open_begin(struct store *s, struct str name, struct mbox **out, struct err *e) MUST_CHECK;
int mbox_open_step(struct mbox *m, struct err *e) MUST_CHECK;	/* 1: more is left */
void mbox_open_progress(const struct mbox *m, uint64_t *done_out, uint64_t *goal_out);	/* messages; goal 0: not known */
/* The same for who only puts messages into it: what is new there is not looked for. The change itself is made upon what is there then. */
int mbox_open_target(struct store *s, struct str name, struct mbox **out, struct err *e) MUST_CHECK;
void mbox_close(struct mbox **m);
/* What the last mbox_close would do, in pieces of at most max files: true more is left. False, too, when others have it open. */
bool mbox_leaving(struct mbox *m, size_t max);
/* The same for a folder that will be deleted or renamed: what takes long and the next opening can do as well is left (files of expunged messages, names, the index). */
void mbox_leave(struct mbox **m);
/* Look for foreign changes and other processes' records: cheap when nothing changed (two fstatat and one fstat). New files in new/ get UIDs and move to cur/. */
int mbox_refresh(struct mbox *m, struct err *e) MUST_CHECK;
/* The same in pieces, where another program has changed a large folder: 1 more is left. mbox_refresh does what is left at once. */
int mbox_refresh_step(struct mbox *m, struct err *e) MUST_CHECK;
/* Another program changed a large folder all the time while it was looked through: not all is known yet, a refresh soon looks again. */
bool mbox_unsure(const struct mbox *m);
int mbox_watch_fd(struct mbox *m);	/* readable (inotify) when the folder may have changed: then mbox_watch_clear + mbox_refresh. -1: none */
void mbox_watch_clear(struct mbox *m);

struct mbox_status {
	uint32_t uidvalidity, uidnext, messages, unseen, recent, deleted;
	uint64_t size;		/* sum of RFC822.SIZE */
	uint64_t highestmodseq;
};
int mbox_status(struct mbox *m, struct mbox_status *out, struct err *e) MUST_CHECK;
uint32_t mbox_uidvalidity(const struct mbox *m);	/* without a look at the messages */
/* The same without opening views: for STATUS and LIST-STATUS. */
int store_status(struct store *s, struct str name, struct mbox_status *out, struct err *e) MUST_CHECK;
/* Flags reach file names later: do it now for at most max messages; *more_out: some are left. For idle moments; closing does some, too. */
int mbox_flush(struct mbox *m, size_t max, bool *more_out, struct err *e) MUST_CHECK;
bool mbox_untidy(const struct mbox *m);	/* files of expunged messages or a new index wait: mbox_flush soon */
void mbox_id(const struct mbox *m, uint8_t out[16]);	/* the folder's own id (OBJECTID's MAILBOXID); survives renames */
/* UIDs that were expunged after that mod-sequence, in no order (RFC 7162). 0; 1: the log, which is bounded, does not reach back so far: then whatever has
 * no message now may have been expunged. */
struct mbox_range {
	uint32_t first, last;
};
int mbox_vanished(struct mbox *m, uint64_t since, struct arena *a, struct mbox_range **out, size_t *n_out) MUST_CHECK;
const char *const *mbox_keywords(struct mbox *m, size_t *n_out);	/* names; valid until the next refresh or store */
bool mbox_keyword_hidden(const char *name);	/* a reader's \Seen: not for clients, and in no mbox_msg */

/* Annotations (RFC 5464) of a folder, or with server of the account (m is INBOX then). Names compare without case. */
enum {
	STORE_META_ENTRIES_MAX = 1000,
	STORE_META_NAME_MAX = 1000,
	STORE_META_VALUE_MAX = 65536,
	STORE_META_FILE_MAX = 1 << 22,
};
struct mbox_meta {
	struct str name, value;		/* value p NULL: to be removed */
	struct mbox_meta *next;
};
int mbox_meta_get(struct mbox *m, bool server, struct arena *a, struct mbox_meta **list_out, struct err *e) MUST_CHECK;
int mbox_meta_set(struct mbox *m, bool server, struct arena *a, const struct mbox_meta *changes, struct err *e) MUST_CHECK;	/* all or none; durable */

/* --- a connection's view --- */
struct mbox_view *mbox_view_new(struct mbox *m);	/* returns owned; numbering as of now */
struct mbox_view *mbox_view_examine(struct mbox *m);	/* what is recent in it stays recent for the next one */
struct mbox_view *mbox_view_peek(struct mbox *m);	/* the same, but new messages stay recent for the next one */
void mbox_view_free(struct mbox_view **v);
/* Readers of a shared folder. From now on \Seen is that reader's own, in what the view shows and what is changed through it; NULL: the owner's. */
void mbox_view_reader(struct mbox_view *v, const char *reader);
void mbox_view_readers(struct mbox_view *v);	/* hidden keywords are shown: for backups */
uint32_t mbox_unseen(struct mbox *m, const char *reader);	/* messages without that reader's \Seen; NULL: the owner's */
struct acl_entry;
int mbox_readers_prune(struct mbox *m, const struct acl_entry *list, struct err *e) MUST_CHECK;	/* who may not read there any more is forgotten */
uint32_t mbox_view_count(const struct mbox_view *v);
uint32_t mbox_view_recent(const struct mbox_view *v);	/* messages that this view is the first to see */
uint32_t mbox_view_uid(const struct mbox_view *v, uint32_t seq);	/* 1..count; 0 out of range */
uint32_t mbox_view_seq(const struct mbox_view *v, uint32_t uid);	/* 0: not in this view */
uint32_t mbox_view_seq_from(const struct mbox_view *v, uint32_t uid);	/* first seq whose uid >= uid; count+1 if none */
uint32_t mbox_view_next(const struct mbox_view *v, uint32_t seq, uint32_t flags);	/* first from seq on that is there and has one of them; 0: none */
/* Of the folder and this view together: where two views have the same one, they number the same messages in the same state. 0: there are changes that this
 * view has not been told of. */
uint64_t mbox_view_stamp(const struct mbox_view *v);
/* The same but for flags: which messages there are, how large they are, and that this view numbers them all. Among views of this process. */
uint64_t mbox_view_members(const struct mbox_view *v);
/* A message's place in the folder: it rises with the UIDs, is the same in all views, and holds as long as the folder is open. */
uint32_t mbox_view_places(const struct mbox_view *v);		/* those below have been there since this view began or was last told */
uint32_t mbox_view_place(const struct mbox_view *v, uint32_t seq);	/* UINT32_MAX: out of range */
uint32_t mbox_view_seq_at(const struct mbox_view *v, uint32_t place);	/* 0: not numbered here */
/* Many at once: the places of n messages from seq on; the numbers at all places below, 0 where there is none. */
void mbox_view_places_get(const struct mbox_view *v, uint32_t seq, uint32_t n, uint32_t *out);
void mbox_view_seqs_get(const struct mbox_view *v, uint32_t places, uint32_t *out);
uint32_t mbox_view_seq_before(const struct mbox_view *v, uint32_t place);	/* the last one below that place; 0: none */
bool mbox_view_is_expunged(const struct mbox_view *v, uint32_t seq);	/* gone from the folder, still numbered here */
bool mbox_view_is_live(const struct mbox_view *v);		/* none is that, for sure */
/* What changed since the last sync, in the order IMAP wants it: expunges (each by its then-current sequence number, highest first), then new count, then flag
 * changes. allow_expunge false (FETCH, STORE, SEARCH by number): they wait. fn is called per change. Flag changes that this view itself made
 * (mbox_store_flags) are not reported to it: the caller knows them; expunges are, always. */
enum mbox_change { MBOX_CH_EXPUNGE, MBOX_CH_EXISTS, MBOX_CH_FLAGS };
int mbox_view_sync(struct mbox_view *v, bool allow_expunge, void (*fn)(void *ctx, enum mbox_change what, uint32_t seq, uint32_t uid), void *ctx,
		   struct err *e) MUST_CHECK;
/* The same in pieces of at most max changes (or MBOX_TOLD_MAX), for who serves others meanwhile: 1 more is left. Between two pieces the numbers are what was told until then,
 * and what changes is told with the rest, in the same order. */
enum { MBOX_TOLD_MAX = 1024 };
int mbox_view_sync_step(struct mbox_view *v, bool allow_expunge, uint32_t max, void (*fn)(void *ctx, enum mbox_change what, uint32_t seq, uint32_t uid), void *ctx,
			struct err *e) MUST_CHECK;

/* --- a message of a view --- */
struct mbox_msg {
	uint32_t uid, flags;		/* MBOX_* */
	uint64_t keywords[(STORE_KEYWORDS_MAX + 63) / 64];
	uint64_t modseq;
	int64_t savedate;
	uint64_t size;			/* of the file */
	uint64_t size_crlf;		/* RFC822.SIZE */
};
int mbox_msg_get(struct mbox_view *v, uint32_t seq, struct mbox_msg *out, struct err *e) MUST_CHECK;
int mbox_msg_size(struct mbox_view *v, uint32_t seq, uint64_t *size_crlf_out, struct err *e) MUST_CHECK;	/* RFC822.SIZE alone */
/* INTERNALDATE. A folder that was taken over is not asked for its files' times before somebody wants them. */
int64_t mbox_msg_date(struct mbox_view *v, uint32_t seq);
/* Open the file read-only (following foreign renames). ERR_NOENT when it is gone. Returns fd in *fd_out. */
int mbox_msg_open(struct mbox_view *v, uint32_t seq, int *fd_out, struct err *e) MUST_CHECK;
/* What reading the whole file showed, where mbox_msg_get said otherwise (names lie). size: bytes; size_crlf: with each line end as CRLF. */
int mbox_msg_size_fix(struct mbox_view *v, uint32_t seq, uint64_t size, uint64_t size_crlf, struct err *e) MUST_CHECK;
const char *mbox_msg_basename(struct mbox_view *v, uint32_t seq);	/* valid until the next store call */
/* Cached blob of a message (the caller's own encodings): 0 and *out (valid until arena's end), 1: not cached. */
int mbox_cache_get(struct mbox_view *v, uint32_t seq, uint32_t kind, struct arena *a, struct str *out) MUST_CHECK;
void mbox_cache_put(struct mbox_view *v, uint32_t seq, uint32_t kind, struct str blob);	/* best effort */
void mbox_cache_flush(struct mbox *m);	/* what was put is in the file: at the end of a command that has put much, and when all is quiet; closing does it, too */
enum { MBOX_CACHE_BODYSTRUCTURE = 2, MBOX_CACHE_PREVIEW = 4, MBOX_CACHE_EMAILID = 6, MBOX_CACHE_SUMMARY = 7 };

/* --- changes; durable on return --- */
enum mbox_flag_op { MBOX_SET, MBOX_ADD, MBOX_REMOVE };
/* flags and keyword names; seqs ascending. unchangedsince 0: unconditional; others: messages with a newer modseq are listed in *failed (array of n, count in
 * *n_failed_out) and left alone. One journal append for all. */
int mbox_store_flags(struct mbox_view *v, const uint32_t *seqs, size_t n, enum mbox_flag_op op, uint32_t flags, const struct str *keywords,
		     size_t n_keywords, uint64_t unchangedsince, uint32_t *failed, size_t *n_failed_out, struct err *e) MUST_CHECK;
int mbox_expunge(struct mbox_view *v, const uint32_t *seqs, size_t n, struct err *e) MUST_CHECK;	/* those, whatever their flags */
/* Copy (move): messages by seq into dst. uids_out: n new UIDs, in order. All or nothing. Hard links within a file system. */
int mbox_copy(struct mbox_view *v, const uint32_t *seqs, size_t n, struct mbox *dst, bool move, uint32_t *uids_out, struct err *e) MUST_CHECK;

/* Appending: messages arrive in pieces and are made visible together (MULTIAPPEND), with UIDs: all or none, also when a kill or a power cut comes in between. */
struct mbox_append;
int mbox_append_begin(struct mbox *m, struct mbox_append **out, struct err *e) MUST_CHECK;
void mbox_append_reader(struct mbox_append *ap, const char *reader);	/* \Seen of what follows is that reader's own; NULL: the owner's */
void mbox_append_instead(struct mbox_append *ap, uint64_t bytes);	/* a message of this size, of the same user, goes for it: it does not count against the quota */
int mbox_append_message(struct mbox_append *ap, uint32_t flags, const struct str *keywords, size_t n_keywords, int64_t internaldate /* 0: now */,
			struct err *e) MUST_CHECK;	/* starts the next message */
/* The same with what is known of a message that lived elsewhere. id: kept in its file's name (maildir.h); uid: taken where it is not below the next one. */
struct mbox_origin {
	const char *id;		/* "" none */
	uint32_t uid;		/* 0 none */
	uint32_t pop3_order;	/* 0 none */
	struct str pop3_uidl;	/* empty: none */
};
int mbox_append_import(struct mbox_append *ap, const struct mbox_origin *from, uint32_t flags, const struct str *keywords, size_t n_keywords,
		       int64_t internaldate, struct err *e) MUST_CHECK;
/* Take over the UIDVALIDITY that a folder had elsewhere: 0; 1: this one has already given UIDs out, nothing is changed. */
int mbox_adopt_uidvalidity(struct mbox *m, uint32_t uidvalidity, struct err *e) MUST_CHECK;
/* New messages get UIDs of at least next: those below may have been shown by a server that this one takes the place of. */
int mbox_reserve_uids(struct mbox *m, uint32_t next, struct err *e) MUST_CHECK;
/* Is this open directory the folder's own? */
bool mbox_is_at(const struct mbox *m, int dirfd);
/* Before an import: finish what a killed one left in tmp (maildir_settle), and number it. */
int mbox_settle(struct mbox *m, size_t id_len, struct err *e) MUST_CHECK;
int mbox_append_data(struct mbox_append *ap, struct str data, struct err *e) MUST_CHECK;	/* CRLF or LF; stored as LF */
/* A file of no name in the mailbox's tmp, for what is to be looked at before it is a message. Returns an owned descriptor, or -1. */
int mbox_append_scratch(struct mbox_append *ap, struct err *e) MUST_CHECK;
/* The messages of from, which is complete, behind those of ap, of the same folder: one commit makes all of them visible. from is freed on success. */
int mbox_append_join(struct mbox_append *ap, struct mbox_append **from, struct err *e) MUST_CHECK;
int mbox_append_commit(struct mbox_append **ap, uint32_t *uids_out, size_t *n_out, struct err *e) MUST_CHECK;	/* uids_out: room for all begun messages */
/* The same in pieces of up to max files, with others' turn in between: 1 more is left; 0 all messages are there, durably; -1: none is. uids_out is the same in all
 * calls. Then, and at any time before, mbox_append_abort. */
int mbox_append_step(struct mbox_append *ap, size_t max, uint32_t *uids_out, struct err *e) MUST_CHECK;
void mbox_append_abort(struct mbox_append **ap);

/* POP3: saved UIDLs (Dovecot's P field), exclusive lock. */
const char *mbox_msg_pop3_uidl(struct mbox_view *v, uint32_t seq);	/* NULL: none saved */
uint32_t mbox_msg_pop3_order(struct mbox_view *v, uint32_t seq);	/* Dovecot's O field: lower first; 0: none, after those with one */
bool mbox_pop3_any(const struct mbox *m);	/* is there a message with either? */
int mbox_lock_exclusive(struct mbox *m, struct err *e) MUST_CHECK;	/* ERR_LIMIT: in use by another POP3 session */
void mbox_unlock(struct mbox *m);

/* --- for the admin's tool --- */
/* Look at a folder without changing anything (its lock apart): journal, index, files against records, sizes against content. say: one line for each thing
 * that is wrong. *problems_out: how many. */
int mbox_verify(struct store *s, struct str name, void (*say)(void *ctx, const char *line), void *ctx, size_t *problems_out, struct err *e) MUST_CHECK;
/* List cur and new whatever their times say, count all sizes by reading, write the journal anew. */
int mbox_repair(struct mbox *m, struct err *e) MUST_CHECK;
/* Write what Dovecot needs to go on with this folder: keyword letters in file names, dovecot-keywords, dovecot-uidlist. *lost_out: messages with keywords that
 * have no letter there (26 at most). Nobody else may write into the folder afterwards but Dovecot. store_handback: the subscriptions. */
int mbox_handback(struct mbox *m, unsigned *lost_out, struct err *e) MUST_CHECK;
int store_handback(struct store *s, struct err *e) MUST_CHECK;
/* Throw away and make anew what is disposable: index, cache, sync record. */
int mbox_rebuild(struct mbox *m, struct err *e) MUST_CHECK;

#endif
