/* The one maildir writer: deliver, APPEND, import. Two phases: the copy is written and synced in tmp, then renamed into new or cur.
 * What is durable when, and why one sync suffices, is said at the top of maildir.c.
 *
 *	maildir_open(root, true, &dirfd, &e); maildir_recover(dirfd, &e);
 *	maildir_copy_begin(dirfd, "1ABC", &c, &e); maildir_copy_write(c, STR("…"), &e); maildir_copy_sync(c, &e);
 *	maildir_copy_commit(&c, NULL, &e);
 */
#ifndef STORE_MAILDIR_H
#define STORE_MAILDIR_H

#include <stdbool.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/err.h"
#include "base/str.h"

struct maildir_copy;

enum {
	MAILDIR_NAME_MAX = 255,		/* bytes of a file name */
	MAILDIR_ID_MAX = 64,		/* bytes of an id kept in the name */
	MAILDIR_TMP_AGE_S = 36 * 3600,	/* unfinished files in tmp are left alone for so long */
};
#define MAILDIR_TOGETHER ",A"	/* ends the name in tmp of a file of which the folder's journal says what it is: of an APPEND's (together.c) */

/* Make root (0700) with cur, new, tmp, synced, when missing. Refuses symlinks, foreign owners, group- or world-writable. Returns a directory
 * descriptor. ERR_NOENT: not there and !create. ERR_TEMP: there, but not to be trusted. */
int maildir_open(const char *root, bool create, int *dirfd_out, struct err *e) MUST_CHECK;
int maildir_open_at(int rootfd, const char *folder /* ".Work" or "" */, bool create, int *dirfd_out, struct err *e) MUST_CHECK;

/* After a power cut an acknowledged copy may still stand complete in tmp: move such files into new and sweep old unfinished ones. Call it when a
 * user's maildir is opened (session start, deliver's start), before new is read. Cheap when tmp is empty. Files that a live process writes are not touched.
 * 0; 1: there are files of several that belong together, which are the folder's to settle. */
int maildir_recover(int dirfd, struct err *e) MUST_CHECK;
/* sync_directories = yes: sync the directory after each rename as well, whatever the file system. Process-wide. */
void maildir_sync_directories(bool always);

/* After a writer was killed that the caller knows to be gone, and that gave its files ids of that length: what is complete is moved into new (as above),
 * the rest of them is removed. Waits while the kernel still takes the dead process apart. */
int maildir_settle(int dirfd, size_t id_len, struct err *e) MUST_CHECK;

/* A fresh file in tmp. dirfd is borrowed until commit. id: kept in the name ("" none; letters, digits, '-', at most MAILDIR_ID_MAX). */
int maildir_copy_begin(int dirfd, const char *id, struct maildir_copy **out, struct err *e) MUST_CHECK;
void maildir_copy_ordered(struct maildir_copy *c);	/* the caller knows that fs_commits_in_order() holds for dirfd */
/* Before start, written, sync: its name in tmp becomes MAILDIR_TOGETHER's. Commit is for it only where the folder's journal has it, and fs_commits_in_order() holds. */
void maildir_copy_together(struct maildir_copy *c);
void maildir_copy_keep(struct maildir_copy **c);	/* frees it; the file stays where it is */
int maildir_copy_write(struct maildir_copy *c, struct str data, struct err *e) MUST_CHECK;	/* LF text */
/* Bytes off.. to the end of a regular file (at most len of them: maildir_copy_range; ERR_INPUT when there are fewer). lines: ignored when UINT64_MAX, else the
 * caller's count of LF in that range, which saves looking at the bytes. */
int maildir_copy_file(struct maildir_copy *c, int fd, uint64_t off, uint64_t lines, struct err *e) MUST_CHECK;
int maildir_copy_range(struct maildir_copy *c, int fd, uint64_t off, uint64_t len, uint64_t lines, struct err *e) MUST_CHECK;
/* What is in memory goes into the file, which is open from then on and has no name yet that recovery takes for a complete one. */
int maildir_copy_spill(struct maildir_copy *c, struct err *e) MUST_CHECK;
size_t maildir_copy_memory(const struct maildir_copy *c);	/* bytes that it takes of memory */
/* Its file, under the name that it keeps in tmp; what is in memory is not in it yet. The rest of the work (start) may then be done on another thread. */
int maildir_copy_create(struct maildir_copy *c, struct err *e) MUST_CHECK;
/* Begin to write it out. Where several copies are to be synced, start all of them first: the first one's sync then writes them all. */
int maildir_copy_start(struct maildir_copy *c, struct err *e) MUST_CHECK;
/* fsync; the final name (with ,S= ,W=) is known. After this a power cut leaves the copy complete in tmp under a name that maildir_recover knows. */
int maildir_copy_sync(struct maildir_copy *c, struct err *e) MUST_CHECK;
/* For a caller that commits the copy and then syncs what was changed with or after that, on the same file system, before anything is promised: the
 * bytes are written out, and that one sync makes them and the copy's name durable together. Where fs_commits_in_order() does not hold:
 * the same as maildir_copy_sync. */
int maildir_copy_written(struct maildir_copy *c, struct err *e) MUST_CHECK;
/* Rename into new/ (info NULL) or cur/ (info = ":2,S"), durable on return in the sense above. Frees c, also on failure (then nothing is left behind). */
int maildir_copy_commit(struct maildir_copy **c, const char *info, struct err *e) MUST_CHECK;
void maildir_copy_abort(struct maildir_copy **c);
/* After sync or written: the message, where all of it was kept in memory; else NULL. Returns owned, once. */
char *maildir_copy_text(struct maildir_copy *c, size_t *n_out);
const char *maildir_copy_name(const struct maildir_copy *c);	/* base name, valid after sync */
uint64_t maildir_copy_size(const struct maildir_copy *c);	/* bytes so far */

/* Pieces of a file name. */
struct maildir_name {
	struct str base;		/* before ":2," */
	struct str info;		/* after it (flags and the rest); p NULL: there is no ":2," */
	struct str id;			/* id given to maildir_copy_begin; empty: none */
	uint64_t size, size_crlf;	/* ,S= ,W=; UINT64_MAX: absent */
	int64_t secs; uint32_t usecs;	/* for ordering */
};
void maildir_name_parse(struct str name, struct maildir_name *out);
/* Is there a copy with this id (attempt > 1)? ERR_TEMP: not yet, but a process that may still make one visible has it open in tmp. */
int maildir_find_id(int dirfd, const char *id, bool *found_out, struct err *e) MUST_CHECK;
/* Sum of the sizes of the messages in this folder (by ,S=, else by stat) and their number, for quotas; with those whose files a crash has left in tmp (MAILDIR_TOGETHER).
 * *written_out: others stand there for a moment, and are not among them. */
int maildir_usage(int dirfd, uint64_t *bytes_out, uint64_t *count_out, bool *written_out, struct err *e) MUST_CHECK;

#endif
