/* What the files of the maildir writer share: maildir.c (a copy), maildir_name.c, maildir_recover.c. */
#ifndef STORE_MAILDIR_PRIV_H
#define STORE_MAILDIR_PRIV_H

#include "store/maildir.h"

enum { COPY_CHUNK = 256 * 1024 };	/* bytes read at once */

/* May this be the id in a name? Letters, digits and "-", at most MAILDIR_ID_MAX. */
bool maildir_id_valid(const char *id);
/* Into max bytes of out; -1: it is longer. A new name without the sizes; one with them; where it stands in a folder, its name followed by what ends it. */
int maildir_base_make(char *out, size_t max, const char *id) MUST_CHECK;
int maildir_name_make(char *out, size_t max, const char *base, uint64_t size, uint64_t size_crlf) MUST_CHECK;
int maildir_path_make(char *out, size_t max, const char *dir, const char *name, const char *ends) MUST_CHECK;
/* A subdirectory, no link. */
int maildir_dir(int at, const char *name, int *fd_out, struct err *e) MUST_CHECK;
/* Rename that never replaces. */
int maildir_move(int dirfd, const char *from, const char *to, struct err *e) MUST_CHECK;
int maildir_dir_sync(int dirfd, const char *name, struct err *e) MUST_CHECK;
/* Each file of a subdirectory but hidden ones; fn returns 1: stop. */
typedef int maildir_file_fn(void *ctx, int dirfd, const char *name, struct err *e);
int maildir_each_file(int dirfd, const char *dir, maildir_file_fn *fn, void *ctx, struct err *e) MUST_CHECK;
bool maildir_in_use(int fd);	/* somebody else has the file open */
/* Is the file, read from its start, what its name says, byte and line counts? (A cut before the sync may leave the size without the data.) */
bool maildir_is_complete(int fd, struct str name);
int maildir_completeness(int fd, struct str name) MUST_CHECK;	/* 1: it is, 0: it is not, -1: it cannot be read, or its name does not say */
bool maildir_syncs_directories(void);	/* sync_directories = yes */
uint64_t maildir_count_lf(const char *p, size_t n);

#endif
