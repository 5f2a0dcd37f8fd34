/* What a start finds: records are loaded and their torn ends cut off, files that were never acknowledged go, the queue is scanned. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/num.h"
#include "os/os.h"
#include "spool/spool_priv.h"

/* Copy what is behind the good records into corrupt/, then cut it off, so that appends are readable again. */
static int cut_tail(struct spool *sp, const char *name, uint64_t good_end, struct str tail, struct err *e)
{
	char aside[SPOOL_NAME_MAX + 32];

	snprintf(aside, sizeof(aside), "%s.tail.%llu", name, (unsigned long long)good_end);
	CLEANUP_FD int to = openat(sp->corrupt, aside, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (to < 0 || write_all(to, tail.p, tail.n, e) < 0 || fsync_fd(to, aside, e) < 0)
		return to < 0 ? spool_disk_error(errno, "corrupt/", e) : -1;
	CLEANUP_FD int fd = openat(sp->queue, name, O_WRONLY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 || ftruncate(fd, (off_t)good_end) < 0)
		return spool_disk_error(errno, "cut", e);
	return fsync_fd(fd, name, e);
}

static int read_journal(int fd, uint64_t size, struct arena *a, struct str *out, struct err *e)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return spool_disk_error(errno, "stat", e);
	if ((uint64_t)st.st_size < size)
		return err_set(e, ERR_NOENT, 0, "content is incomplete");
	const uint64_t n = (uint64_t)st.st_size - size;
	if (n > SPOOL_JOURNAL_MAX)
		return err_set(e, ERR_INPUT, 0, "journal of %llu bytes", (unsigned long long)n);
	char *p = arena_alloc(a, (size_t)n + 1);
	if (p == NULL)
		return err_set(e, ERR_LIMIT, 0, "no room for a queue record");
	*out = str_n(p, (size_t)n);
	return n == 0 ? 0 : pread_all(fd, p, (size_t)n, size, e);
}

static bool old_enough(int fd)
{
	struct stat st;
	const int64_t limit = clock_wall() - SPOOL_SWEEP_AGE_S;

	return fstat(fd, &st) == 0 && st.st_mtime < limit && st.st_ctime < limit;
}

int spool_load(struct spool *sp, struct str qid, uint64_t size, struct arena *a, struct spool_msg **out, int *fd_out, struct err *e)
{
	char name[SPOOL_NAME_MAX], aside[SPOOL_NAME_MAX + 32];
	struct str journal = { 0 };
	size_t good = 0;
	CLEANUP_FD int fd = -1;

	spool_name_of(name, qid, size);
	if (spool_read_fd(sp, qid, size, &fd, e) < 0)
		return -1;
	const struct str own = arena_str(a, qid);
	int r = read_journal(fd, size, a, &journal, e);
	if (r == 0)
		r = spool_journal_decode(own, size, journal, a, out, &good, e);
	if (r == 0 && good < journal.n)
		r = cut_tail(sp, name, size + good, str_from(journal, good), e);
	if (r == 0 && fd_out) {
		*fd_out = fd;
		fd = -1;
	}
	if (r == 0)
		return 0;
	if (r < 0 && e->code == ERR_NOENT && old_enough(fd)) {
		(void)unlinkat(sp->queue, name, 0);
		return err_set(e, ERR_NOENT, 0, "%s: never completed, removed", name);
	}
	if (r < 0 && e->code == ERR_INPUT) {
		snprintf(aside, sizeof(aside), "%s.%lld", name, (long long)clock_wall());
		(void)renameat(sp->queue, name, sp->corrupt, aside);
		return err_wrap(e, "%s moved to corrupt/%s", name, aside);
	}
	return r;
}

static bool name_parse(const char *name, struct str *qid, uint64_t *size)
{
	const struct str s = str_c(name);
	const ptrdiff_t dot = str_chr(s, '.');

	if (dot < 0)
		return false;
	*qid = str_sub(s, 0, (size_t)dot);
	return spool_qid_valid(*qid) && num_parse(str_from(s, (size_t)dot + 1), 0, INT64_MAX, size) == 0;
}

static DIR *dir_stream(int dirfd, struct err *e)
{
	const int fd = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);

	if (d == NULL) {
		(void)spool_disk_error(errno, "readdir", e);
		if (fd >= 0)
			close(fd);
	}
	return d;
}

/* What is in incoming/ was never acknowledged; young files may belong to a process that still ends. */
int spool_sweep(struct spool *sp, struct err *e)
{
	DIR *d = dir_stream(sp->incoming, e);

	if (d == NULL)
		return -1;
	for (struct dirent *de; (de = readdir(d)) != NULL;) {
		if (de->d_name[0] == '.')
			continue;
		CLEANUP_FD int fd = openat(sp->incoming, de->d_name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
		if (fd >= 0 && old_enough(fd))
			(void)unlinkat(sp->incoming, de->d_name, 0);
	}
	closedir(d);
	return 0;
}

static int sweep_all(int dirfd, struct err *e)
{
	DIR *d = dir_stream(dirfd, e);

	if (d == NULL)
		return -1;
	for (struct dirent *de; (de = readdir(d)) != NULL;)
		if (de->d_name[0] != '.')
			(void)unlinkat(dirfd, de->d_name, 0);
	closedir(d);
	return 0;
}

/* What was kept empty by the last process may have been caught while it was written again. */
static int sweep_spare(struct spool *sp, struct err *e)
{
	int fd = openat(sp->root, SPOOL_SPARE, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	if (fd < 0)
		return errno == ENOENT ? 0 : spool_disk_error(errno, SPOOL_SPARE, e);
	if (sweep_all(fd, e) < 0) {
		close(fd);
		return -1;
	}
	sp->spare = fd;
	return 0;
}

/* The file system in memory may be older than this process, and soon full of what one that was killed was receiving. */
static int sweep_memory(struct spool *sp, struct err *e)
{
	return sp->memory < 0 ? 0 : sweep_all(sp->memory, e);
}

int spool_scan(struct spool *sp, spool_fn *fn, void *ctx, struct err *e)
{
	DIR *d;
	struct str qid;
	uint64_t size;
	int r = 0;

	if (spool_sweep(sp, e) < 0 || sweep_spare(sp, e) < 0 || sweep_memory(sp, e) < 0 || (d = dir_stream(sp->queue, e)) == NULL)
		return -1;
	for (struct dirent *de; r == 0 && (de = readdir(d)) != NULL;)
		if (name_parse(de->d_name, &qid, &size))
			r = fn(ctx, qid, size);
	closedir(d);
	return 0;
}
