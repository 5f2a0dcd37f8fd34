/* What the files of the maildir writer share: maildir.c (a copy), maildir_name.c, maildir_recover.c. */
#ifndef STORE_MAILDIR_PRIV_H
#define STORE_MAILDIR_PRIV_H

#include "store/maildir.h"

enum { COPY_CHUNK = 256 * 1024 };	/* bytes read at once */

/* A subdirectory, no link. */
int maildir_dir(int at, const char *name, int *fd_out, struct err *e) MUST_CHECK;
/* Rename that never replaces. */
int maildir_move(int dirfd, const char *from, const char *to, struct err *e) MUST_CHECK;
int maildir_dir_sync(int dirfd, const char *name, struct err *e) MUST_CHECK;
uint64_t maildir_count_lf(const char *p, size_t n);

#endif
