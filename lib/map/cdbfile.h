/* Constant databases (cdb), read positionally, and a small one that is asked often from a copy: no mmap, so that a truncated file is an error and
 * never a SIGBUS; every offset is
 * checked against the size read at open. Writing goes through libcdb (tinycdb), then sync, rename, sync of the directory. Keys and values
 * carry no NUL (Postfix's and tinycdb's files are readable, and ours by them); the reader also tries key+NUL as Postfix does.
 */
#ifndef MAP_CDBFILE_H
#define MAP_CDBFILE_H

#include <sys/stat.h>

#include "base/attr.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"

struct cdbfile;

/* Returns owned. ERR_NOENT when there is no such file; ERR_CONF when it is not a sane cdb. */
int cdbfile_open(const char *path, struct cdbfile **out, struct err *e) MUST_CHECK;
int cdbfile_open_fd(int fd, struct cdbfile **out, struct err *e) MUST_CHECK;	/* takes fd */
void cdbfile_close(struct cdbfile **c);
/* First value of key, at most max bytes, appended to *out. 0; 1: no such key; -1: ERR_TEMP (I/O, corrupt). */
int cdbfile_get(struct cdbfile *c, struct str key, size_t max, struct buf *out, struct err *e) MUST_CHECK;
bool cdbfile_changed(const struct cdbfile *c, const char *path);	/* replaced or rewritten since open */
/* Every pair, in file order: fn returns non-zero to stop. */
int cdbfile_each(struct cdbfile *c, int (*fn)(void *ctx, struct str key, struct str value), void *ctx, struct err *e) MUST_CHECK;

struct cdbwrite;
int cdbwrite_begin(const char *path, struct cdbwrite **out, struct err *e) MUST_CHECK;	/* writes path.tmp, locked */
/* 0; 1: duplicate (kept the first). */
int cdbwrite_add(struct cdbwrite *w, struct str key, struct str value, struct err *e) MUST_CHECK;
int cdbwrite_commit(struct cdbwrite **w, mode_t mode, uid_t uid, gid_t gid, struct err *e) MUST_CHECK;
void cdbwrite_abort(struct cdbwrite **w);

#endif
