/* Writing constant databases: libcdb makes the content, this file makes it safe. Written to NAME.tmp under a lock, synced,
 * renamed over NAME, and the directory synced; readers see the old file or the new one. */
#include <cdb.h>

#include "map/cdbfile.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/arena.h"
#include "os/os.h"

enum { LOCK_TRIES = 10 };

struct cdbwrite {
	char *path, *tmp;
	int fd;
	struct cdb_make make;
	bool making;
};

static void cdbwrite_free(struct cdbwrite **wp)
{
	struct cdbwrite *w = *wp;

	*wp = NULL;
	if (w->fd >= 0)
		close(w->fd);
	free(w->path);
	free(w->tmp);
	free(w);
}

/* Open and lock the temporary file. Whoever held the lock before may have renamed it into place meanwhile: then
 * ours is the live map, and another temporary file must be made. */
static int open_locked(struct cdbwrite *w, struct err *e)
{
	for (int i = 0; i < LOCK_TRIES; i++) {
		struct stat ours, named;
		const int fd =
			open(w->tmp, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC | O_NOCTTY, 0600);

		if (fd < 0)
			return err_set(e, ERR_TEMP, errno, "%s", w->tmp);
		if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
			err_set(e, ERR_TEMP, errno == EWOULDBLOCK ? 0 : errno,
				"%s: another process is writing it", w->tmp);
			close(fd);
			return -1;
		}
		if (fstat(fd, &ours) == 0 && S_ISREG(ours.st_mode) && stat(w->tmp, &named) == 0 &&
		    ours.st_ino == named.st_ino && ours.st_dev == named.st_dev) {
			w->fd = fd;
			return 0;
		}
		close(fd);
	}
	return err_set(e, ERR_TEMP, 0, "%s: cannot be locked", w->tmp);
}

int cdbwrite_begin(const char *path, struct cdbwrite **out, struct err *e)
{
	struct cdbwrite *w = xzalloc(sizeof(*w));

	w->fd = -1;
	w->path = xstrdup(path);
	if (asprintf(&w->tmp, "%s.tmp", path) < 0)
		abort();
	if (open_locked(w, e) < 0)
		goto fail;
	if (ftruncate(w->fd, 0) < 0 || lseek(w->fd, 0, SEEK_SET) < 0 ||
	    cdb_make_start(&w->make, w->fd) < 0) {
		err_set(e, ERR_TEMP, errno, "%s", w->tmp);
		goto fail;
	}
	w->making = true;
	*out = w;
	return 0;
fail:
	cdbwrite_free(&w);
	return -1;
}

int cdbwrite_add(struct cdbwrite *w, struct str key, struct str value, struct err *e)
{
	if (key.n > UINT32_MAX / 2 || value.n > UINT32_MAX / 2)
		return err_set(e, ERR_LIMIT, 0, "record too large for a cdb");
	const int r = cdb_make_put(&w->make, key.p ? key.p : "", (unsigned)key.n,
				   value.p ? value.p : "", (unsigned)value.n, CDB_PUT_INSERT);

	if (r < 0)
		return err_set(e, ERR_TEMP, errno, "%s", w->tmp);
	return r > 0 ? 1 : 0;
}

static int finish(struct cdbwrite *w, mode_t mode, uid_t uid, gid_t gid, struct err *e)
{
	w->making = false;
	if (cdb_make_finish(&w->make) < 0)
		return err_set(e, ERR_TEMP, errno, "%s", w->tmp);
	if ((uid != (uid_t)-1 || gid != (gid_t)-1) && fchown(w->fd, uid, gid) < 0)
		return err_set(e, ERR_TEMP, errno, "%s: owner", w->tmp);
	if (fchmod(w->fd, mode) < 0)
		return err_set(e, ERR_TEMP, errno, "%s: mode", w->tmp);
	if (fsync_fd(w->fd, w->tmp, e) < 0)
		return -1;
	if (rename(w->tmp, w->path) < 0)
		return err_set(e, ERR_TEMP, errno, "%s", w->path);
	return 0;
}

static int sync_directory(const char *path, struct err *e)
{
	const ptrdiff_t slash = str_rchr(str_c(path), '/');
	char *dir = slash < 0	 ? xstrdup(".")
		    : slash == 0 ? xstrdup("/")
				 : xstrndup(path, (size_t)slash);
	const int r = fsync_dir(dir, e);

	free(dir);
	return r;
}

int cdbwrite_commit(struct cdbwrite **wp, mode_t mode, uid_t uid, gid_t gid, struct err *e)
{
	struct cdbwrite *w = *wp;

	if (finish(w, mode, uid, gid, e) < 0) {
		cdbwrite_abort(wp);
		return -1;
	}
	const int r = sync_directory(w->path, e);

	cdbwrite_free(wp);
	return r;
}

void cdbwrite_abort(struct cdbwrite **wp)
{
	struct cdbwrite *w = *wp;

	if (!w)
		return;
	/* libcdb has no other way to free its memory; what it writes is removed. */
	if (w->making)
		(void)!cdb_make_finish(&w->make);
	(void)unlink(w->tmp);
	cdbwrite_free(wp);
}
