/* The one maildir writer: deliver, APPEND, import. Two phases: the copy is written and synced in tmp, then renamed into new or cur. */
#ifndef STORE_MAILDIR_H
#define STORE_MAILDIR_H

#include "base/attr.h"
#include "base/err.h"
#include "base/str.h"

struct maildir_copy;

/* Make root (0700) with cur, new, tmp, synced (security.md D9), when missing. Refuses symlinks, foreign owners, group- or world-writable. Returns a directory
 * descriptor. */
int maildir_open(const char *root, bool create, int *dirfd_out, struct err *e) MUST_CHECK;
int maildir_open_at(int rootfd, const char *folder /* ".Work" or "" */, bool create, int *dirfd_out, struct err *e) MUST_CHECK;

/* A fresh file in tmp. dirfd is borrowed until commit. id: queue id kept in the name ("" none). */
int maildir_copy_begin(int dirfd, const char *id, struct maildir_copy **out, struct err *e) MUST_CHECK;
int maildir_copy_write(struct maildir_copy *c, struct str data, struct err *e) MUST_CHECK;	/* LF text */
/* Bytes off.. to the end of a regular file: copy_file_range / reflink where it works. Needs its CRLF size added: lines counted by the caller, or
 * UINT64_MAX to count here. */
int maildir_copy_file(struct maildir_copy *c, int fd, uint64_t off, uint64_t lines, struct err *e) MUST_CHECK;
/* fsync; the final name (with ,S= ,W=) is known. After this a power cut leaves the copy complete in tmp, or as sync_directories demands. */
int maildir_copy_sync(struct maildir_copy *c, struct err *e) MUST_CHECK;
/* Rename into new/ (info NULL) or cur/ (info = ":2,S"), durable on return. Frees c. */
int maildir_copy_commit(struct maildir_copy **c, const char *info, struct err *e) MUST_CHECK;
void maildir_copy_abort(struct maildir_copy **c);
const char *maildir_copy_name(const struct maildir_copy *c);	/* base name, valid after sync */

/* Pieces of a file name. */
struct maildir_name {
	struct str base;		/* before ":2," */
	struct str info;		/* after it (flags and the rest) */
	uint64_t size, size_crlf;	/* ,S= ,W=; UINT64_MAX: absent */
	int64_t secs; uint32_t usecs;	/* for ordering */
};
void maildir_name_parse(struct str name, struct maildir_name *out);
/* Is there a copy with this queue id (attempt > 1, security.md D17)? 1 yes, 0 no. */
int maildir_find_id(int dirfd, const char *id, bool *found_out, struct err *e) MUST_CHECK;

#endif
