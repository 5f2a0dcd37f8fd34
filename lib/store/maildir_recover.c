/* Looks through a folder's directories: copies by their id, what there is, and in tmp what a power cut or a kill has left (maildir.c says why). */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/num.h"
#include "os/os.h"
#include "store/maildir_priv.h"

int maildir_each_file(int dirfd, const char *dir, maildir_file_fn *fn, void *ctx, struct err *e)
{
	int fd = -1, r = 0;
	DIR *d;

	if (maildir_dir(dirfd, dir, &fd, e) < 0)
		return -1;
	d = fdopendir(fd);
	if (d == NULL) {
		close_fd(&fd);
		return err_set(e, ERR_TEMP, errno, "%s", dir);
	}
	for (struct dirent *de; r == 0 && (de = readdir(d)) != NULL;)
		if (de->d_name[0] != '.')
			r = fn(ctx, fd, de->d_name, e);
	closedir(d);
	return r;
}

struct find_ctx {
	struct str id;
	bool found;
};

static int find_one(void *ctx, int dirfd, const char *name, struct err *e)
{
	struct find_ctx *f = ctx;
	struct maildir_name n;

	maildir_name_parse(str_c(name), &n);
	f->found |= str_eq(n.id, f->id);
	return f->found;
}

/* A write lease is granted only when nobody else has the file open. */
bool maildir_in_use(int fd)
{
	if (fcntl(fd, F_SETLEASE, F_WRLCK) < 0)
		return true;
	(void)fcntl(fd, F_SETLEASE, F_UNLCK);
	return false;
}

static int find_writer(void *ctx, int tmpfd, const char *name, struct err *e)
{
	const struct find_ctx *f = ctx;
	struct maildir_name n;

	maildir_name_parse(str_c(name), &n);
	if (!str_eq(n.id, f->id))
		return 0;
	CLEANUP_FD int fd = openat(tmpfd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	return fd >= 0 && maildir_in_use(fd) ? err_set(e, ERR_TEMP, 0, "another process still writes a copy of it") : 0;
}

int maildir_find_id(int dirfd, const char *id, bool *found_out, struct err *e)
{
	struct find_ctx f = { .id = str_c(id) };

	/* tmp first: what its writer makes visible meanwhile is found behind. */
	if (maildir_each_file(dirfd, "tmp", find_writer, &f, e) < 0 || maildir_each_file(dirfd, "new", find_one, &f, e) < 0 ||
	    (!f.found && maildir_each_file(dirfd, "cur", find_one, &f, e) < 0))
		return -1;
	*found_out = f.found;
	return 0;
}

struct usage_ctx {
	uint64_t bytes, count;
	bool written;
};

static int usage_one(void *ctx, int dirfd, const char *name, struct err *e)
{
	struct usage_ctx *u = ctx;
	struct maildir_name n;
	struct stat st;

	maildir_name_parse(str_c(name), &n);
	if (n.size == UINT64_MAX) {
		if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISREG(st.st_mode))
			return 0;
		n.size = (uint64_t)st.st_size;
	}
	if (num_add(u->bytes, n.size, &u->bytes))
		u->bytes = UINT64_MAX;
	u->count++;
	return 0;
}

/* One of several files that are numbered while they stand in tmp, and then told to the quota: mail, but for whom writes it, who may have told that or not. */
static int usage_together(void *ctx, int tmpfd, const char *name, struct err *e)
{
	struct usage_ctx *const u = ctx;

	if (!str_ends(str_c(name), STR(MAILDIR_TOGETHER)))
		return 0;
	CLEANUP_FD int fd = openat(tmpfd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd >= 0 && !maildir_in_use(fd))
		return usage_one(u, tmpfd, name, e);
	u->written = true;
	return 0;
}

int maildir_usage(int dirfd, uint64_t *bytes_out, uint64_t *count_out, bool *written_out, struct err *e)
{
	struct usage_ctx u = { 0 };
	struct err no_tmp = { 0 };

	if (maildir_each_file(dirfd, "cur", usage_one, &u, e) < 0 || maildir_each_file(dirfd, "new", usage_one, &u, e) < 0)
		return -1;
	(void)!maildir_each_file(dirfd, "tmp", usage_together, &u, &no_tmp);
	*bytes_out = u.bytes;
	*count_out = u.count;
	*written_out = u.written;
	return 0;
}

/* --- after a power cut --- */

struct recover_ctx {
	int dirfd;
	int64_t now;
	bool moved;
	bool together;		/* some are of several that belong together */
};

int maildir_completeness(int fd, struct str name)
{
	struct maildir_name n;
	char *chunk;
	uint64_t size = 0, lines = 0;
	ssize_t k;

	maildir_name_parse(name, &n);
	if (n.size == UINT64_MAX || n.size_crlf == UINT64_MAX)
		return -1;
	chunk = xmalloc(COPY_CHUNK);
	while ((k = read(fd, chunk, COPY_CHUNK)) > 0) {
		size += (uint64_t)k;
		lines += maildir_count_lf(chunk, (size_t)k);
	}
	free(chunk);
	return k < 0 ? -1 : size == n.size && size + lines == n.size_crlf;
}

bool maildir_is_complete(int fd, struct str name)
{
	return maildir_completeness(fd, name) == 1;
}

static int recover_one(void *ctx, int tmpfd, const char *name, struct err *e)
{
	struct recover_ctx *r = ctx;
	const struct str whole = str_c(name);
	char from[MAILDIR_NAME_MAX + 8], to[MAILDIR_NAME_MAX + 8];
	struct maildir_name n;
	struct stat st;

	CLEANUP_FD int fd = openat(tmpfd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_uid != geteuid())
		return 0;
	if (str_ends(whole, STR(MAILDIR_TOGETHER))) {	/* never swept either: a journal may know it */
		r->together = true;
		return 0;
	}
	maildir_name_parse(whole, &n);
	if (str_ends(whole, STR(",T")) && n.size != UINT64_MAX && n.size_crlf != UINT64_MAX && (uint64_t)st.st_size == n.size) {
		if (maildir_in_use(fd))		/* its writer is not gone */
			return 0;
		if (maildir_is_complete(fd, whole)) {
			snprintf(from, sizeof(from), "tmp/%s", name);
			snprintf(to, sizeof(to), "new/%.*s", (int)(whole.n - 2), name);
			if (maildir_move(r->dirfd, from, to, e) < 0) {
				if (errno != ENOENT)
					return -1;
				err_clear(e);	/* its writer came first after all */
				return 0;
			}
			r->moved = true;
			return 0;
		}
	}
	if (st.st_mtime < r->now - MAILDIR_TMP_AGE_S && st.st_ctime < r->now - MAILDIR_TMP_AGE_S)
		(void)unlinkat(tmpfd, name, 0);
	return 0;
}

int maildir_recover(int dirfd, struct err *e)
{
	struct recover_ctx r = { .dirfd = dirfd, .now = clock_wall() };
	const int rc = maildir_each_file(dirfd, "tmp", recover_one, &r, e);

	if (r.moved && maildir_dir_sync(dirfd, "new", e) < 0)
		return -1;
	return rc == 0 && r.together ? 1 : rc;
}

/* --- after a kill --- */

enum { SETTLE_TRIES = 250, SETTLE_TRY_MS = 20 };

struct settle_ctx {
	int dirfd;
	size_t id_len;
	bool busy;
};

static int settle_one(void *ctx, int tmpfd, const char *name, struct err *e)
{
	struct settle_ctx *const s = ctx;
	struct maildir_name n;
	struct stat st;

	maildir_name_parse(str_c(name), &n);
	if (n.id.n != s->id_len || str_ends(str_c(name), STR(MAILDIR_TOGETHER)))
		return 0;
	CLEANUP_FD int fd = openat(tmpfd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		return 0;
	if (maildir_in_use(fd)) {
		s->busy = true;
		return 0;
	}
	(void)unlinkat(tmpfd, name, 0);		/* what was complete has been moved before */
	(void)e;
	return 0;
}

int maildir_settle(int dirfd, size_t id_len, struct err *e)
{
	const struct timespec pause = { .tv_nsec = SETTLE_TRY_MS * 1000000L };
	struct settle_ctx s = { .dirfd = dirfd, .id_len = id_len };

	for (int i = 0; i < SETTLE_TRIES; i++) {
		s.busy = false;
		if (maildir_recover(dirfd, e) < 0)
			return -1;
		/* What became free between the two looks is removed, too: nobody was promised it, and the caller brings it again. */
		if (maildir_each_file(dirfd, "tmp", settle_one, &s, e) < 0)
			return -1;
		if (!s.busy)
			return 0;
		nanosleep(&pause, NULL);
	}
	return err_set(e, ERR_TEMP, 0, "another process still writes into tmp");
}
