/* The files of the queue: what spool.h promises, by descriptors of its directories that are opened once. What a record
 * means is journal.c's; when to sync and who waits for it is the caller's.
 *
 * Durability: the journal is appended and the file renamed into queue/ before the one fsync, which so makes content, journal and new name durable
 * in one journal commit on ext4, xfs and btrfs; where dir_name_durable() does not know the file system the directory is synced too. A cut
 * between leaves a file without commit mark, or one in incoming/ or spare/: none was acknowledged.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <linux/magic.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/format.h"
#include "base/num.h"
#include "os/os.h"
#include "spool/spool_priv.h"

enum { INODES_MIN = 1000 };

static const char *const parts[] = { "incoming", "queue", "corrupt", "memory", SPOOL_SPARE, SPOOL_STATE };

/* Made before, or systemd's file system in memory: nothing to do, and no right to look inside is needed. */
static bool is_made(const char *path, uid_t uid, gid_t gid)
{
	struct stat st;
	struct statfs fs;

	if (lstat(path, &st) < 0 || !S_ISDIR(st.st_mode))
		return false;
	if (st.st_uid == uid && st.st_gid == gid && (st.st_mode & 07777) == 0700)
		return true;
	return statfs(path, &fs) == 0 && fs.f_type == TMPFS_MAGIC && (st.st_mode & 07777) == 01777 && st.st_uid == 0;
}

int spool_make(const char *dir, uid_t uid, gid_t gid, struct err *e)
{
	char path[1100];

	/* root's, so that its owner's parts can be reached by a root that has no rights over others' files. */
	if (dir_make(dir, 0750, geteuid(), gid, e) < 0)
		return -1;
	for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
		if (snprintf(path, sizeof(path), "%s/%s", dir, parts[i]) >= (int)sizeof(path))
			return err_set(e, ERR_CONF, 0, "queue directory name too long");
		if (!is_made(path, uid, gid) && (dir_make(path, 0700, uid, gid, e) < 0 || fsync_dir(path, e) < 0))
			return -1;
	}
	return fsync_dir(dir, e);
}

static int open_dir(int at, const char *name, int *fd_out, struct err *e)
{
	*fd_out = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return *fd_out < 0 ? err_set(e, ERR_TEMP, errno, "spool directory %s", name) : 0;
}

/* A spool that never had one is older than it, and fine. Where all of the spool is one file system in memory it is of no use, and the file system would not tell what was
 * received where (spool_commit). */
static int open_memory(struct spool *sp, struct err *e)
{
	struct statfs fs;
	struct stat st, disk;

	sp->memory = openat(sp->root, parts[3], O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (sp->memory < 0)
		return errno == ENOENT ? 0 : err_set(e, ERR_TEMP, errno, "spool directory %s", parts[3]);
	if (fstatfs(sp->memory, &fs) < 0 || fs.f_type != TMPFS_MAGIC || fstat(sp->memory, &st) < 0 || fstat(sp->incoming, &disk) < 0 || disk.st_dev == st.st_dev)
		close_fd(&sp->memory);
	else
		sp->memory_dev = st.st_dev;
	return 0;
}

int spool_open(const char *dir, struct spool **out, struct err *e)
{
	struct spool *sp = xzalloc(sizeof(*sp));

	sp->root = sp->incoming = sp->queue = sp->corrupt = sp->memory = sp->spare = -1;
	if (open_dir(AT_FDCWD, dir, &sp->root, e) < 0 || open_dir(sp->root, parts[0], &sp->incoming, e) < 0 ||
	    open_dir(sp->root, parts[1], &sp->queue, e) < 0 || open_dir(sp->root, parts[2], &sp->corrupt, e) < 0) {
		spool_close(&sp);
		return -1;
	}
	sp->sync_dirs = !dir_name_durable(sp->queue);
	if (open_memory(sp, e) < 0) {
		spool_close(&sp);
		return -1;
	}
	*out = sp;
	return 0;
}

void spool_sync_directories(struct spool *sp)
{
	sp->sync_dirs = true;
}

void spool_disk_only(struct spool *sp)
{
	close_fd(&sp->memory);
}

void spool_close(struct spool **spp)
{
	struct spool *sp = *spp;

	if (sp == NULL)
		return;
	close_fd(&sp->root);
	close_fd(&sp->incoming);
	close_fd(&sp->queue);
	close_fd(&sp->corrupt);
	close_fd(&sp->memory);
	close_fd(&sp->spare);
	free(sp);
	*spp = NULL;
}

int spool_disk_error(int sys, const char *what, struct err *e)
{
	return err_set(e, sys == ENOSPC || sys == EDQUOT ? ERR_LIMIT : ERR_TEMP, sys, "spool: %s", what);
}

int spool_room(struct spool *sp, uint64_t need, uint64_t reserve, struct err *e)
{
	struct statvfs v;
	uint64_t want;

	if (fstatvfs(sp->queue, &v) < 0)
		return spool_disk_error(errno, "statvfs", e);
	if (num_add(need, reserve, &want) || (uint64_t)v.f_bavail * v.f_frsize < want)
		return err_set(e, ERR_LIMIT, 0, "Insufficient system storage");
	if (v.f_files > 0 && v.f_favail < INODES_MIN)
		return err_set(e, ERR_LIMIT, 0, "Insufficient system storage");
	return 0;
}

void spool_name_of(char out[SPOOL_NAME_MAX], struct str qid, uint64_t size)
{
	(void)text_format(out, SPOOL_NAME_MAX, "%.*s.%llu", STR_ARG(qid), (unsigned long long)size);
}

static void name_incoming(char out[SPOOL_NAME_MAX], struct str qid)
{
	(void)text_format(out, SPOOL_NAME_MAX, "%.*s", STR_ARG(qid));
}

/* Small, and not more than half of it is in use: what clients understate must not fail for those that wait. */
static bool memory_has_room(const struct spool *sp, uint64_t declared)
{
	struct statvfs v;

	return sp->memory >= 0 && declared > 0 && declared <= SPOOL_MEMORY_MESSAGE_MAX && fstatvfs(sp->memory, &v) == 0 && v.f_bfree > v.f_blocks / 2 &&
	       v.f_ffree > v.f_files / 2;
}

int spool_receive(struct spool *sp, struct str qid, uint64_t declared, int *write_fd_out, int *read_fd_out, struct err *e)
{
	const int dir = memory_has_room(sp, declared) ? sp->memory : sp->incoming;
	char name[SPOOL_NAME_MAX];
	int rfd;

	name_incoming(name, qid);
	const int wfd = openat(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (wfd < 0)
		return spool_disk_error(errno, "create", e);
	rfd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	if (rfd < 0) {
		const int sys = errno;
		close(wfd);
		(void)unlinkat(dir, name, 0);
		return spool_disk_error(sys, "reopen", e);
	}
	*write_fd_out = wfd;
	*read_fd_out = rfd;
	return 0;
}

int spool_sealed(int read_fd, uint64_t *size_out, struct err *e)
{
	struct stat st;

	if (fcntl(read_fd, F_SETLEASE, F_RDLCK) < 0)
		return err_set(e, ERR_TEMP, errno, "spool: the message may still be written");
	(void)fcntl(read_fd, F_SETLEASE, F_UNLCK);
	if (fstat(read_fd, &st) < 0)
		return err_set(e, ERR_TEMP, errno, "spool: stat");
	*size_out = (uint64_t)st.st_size;
	return 0;
}

void spool_discard(struct spool *sp, struct str qid)
{
	char name[SPOOL_NAME_MAX];

	name_incoming(name, qid);
	if (sp->memory < 0 || unlinkat(sp->memory, name, 0) < 0)
		(void)unlinkat(sp->incoming, name, 0);
}

/* --- new files of the queue --- */

/* A file that is written, or shall be, and has no name in queue/ yet. */
static int fresh_create(struct spool *sp, struct str qid, struct spool_fresh *f, struct err *e)
{
	name_incoming(f->name, qid);
	f->dir = sp->incoming;
	f->fd = openat(f->dir, f->name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	return f->fd < 0 ? spool_disk_error(errno, "create", e) : 0;
}

/* An empty file, for writing: a spare one, or a new one in incoming/. A spare one keeps its name, which the next may get: it must be in queue/ before this returns to
 * the loop. */
static int fresh_open(struct spool *sp, struct str qid, struct spool_fresh *f, struct err *e)
{
	while (sp->n_spare > 0) {
		snprintf(f->name, sizeof(f->name), "%zu", --sp->n_spare);
		f->dir = sp->spare;
		f->fd = openat(f->dir, f->name, O_WRONLY | O_NOFOLLOW | O_CLOEXEC);
		if (f->fd >= 0)
			return 0;
	}
	return fresh_create(sp, qid, f, e);
}

static void fresh_discard(struct spool_fresh *f)
{
	close_fd(&f->fd);
	(void)unlinkat(f->dir, f->name, 0);
}

/* Append m's journal to f (at the end of its content) and give it its name in queue/. Its descriptor stays the caller's. */
static int enqueue(struct spool *sp, const struct spool_msg *m, const struct spool_fresh *f, struct err *e)
{
	char to[SPOOL_NAME_MAX];
	struct buf b;
	struct err we = { 0 };
	int r;

	buf_init(&b, SPOOL_JOURNAL_MAX);
	spool_journal_message(m, &b);
	if (buf_failed(&b)) {
		buf_fini(&b);
		return err_set(e, ERR_LIMIT, 0, "queue record too long");
	}
	r = write_all(f->fd, b.p, b.n, &we);
	buf_fini(&b);
	if (r < 0)
		return spool_disk_error(we.sys, "write", e);
	spool_name_of(to, m->qid, m->size);
	if (renameat(f->dir, f->name, sp->queue, to) < 0)
		return spool_disk_error(errno, "rename", e);
	if (sp->sync_dirs && (fsync_fd(f->fd, "queue file", e) < 0 || fsync_fd(sp->queue, "queue directory", e) < 0)) {
		(void)unlinkat(sp->queue, to, 0);
		return -1;
	}
	return 0;
}

int spool_copy_content(int to, int from, uint64_t size)
{
	off_t at = 0;

	for (uint64_t left = size; left > 0;) {
		const ssize_t n = sendfile(to, from, &at, (size_t)left);
		if (n <= 0)
			return n < 0 ? errno : EIO;
		left -= (uint64_t)n;
	}
	return 0;
}

static int copy_content(int to, int from, uint64_t size, struct err *e)
{
	const int error = spool_copy_content(to, from, size);

	return error ? spool_disk_error(error, "copy", e) : 0;
}

static int has_size(int fd, uint64_t size, struct stat *st, struct err *e)
{
	return fstat(fd, st) < 0 || (uint64_t)st->st_size != size ? err_set(e, ERR_BUG, 0, "spool: content is not of the size said") : 0;
}

/* A message that was received in memory, to be queued: write it to the disk. */
static int leave_memory(struct spool *sp, int from, const struct spool_msg *m, struct spool_fresh *f, struct err *e)
{
	char name[SPOOL_NAME_MAX];

	if (fresh_open(sp, m->qid, f, e) < 0)
		return -1;
	if (copy_content(f->fd, from, m->size, e) < 0 || enqueue(sp, m, f, e) < 0) {
		fresh_discard(f);
		return -1;
	}
	name_incoming(name, m->qid);
	(void)unlinkat(sp->memory, name, 0);
	return 0;
}

int spool_commit(struct spool *sp, const struct spool_msg *m, int read_fd, int *fd_out, struct err *e)
{
	struct spool_fresh f = { .fd = -1, .dir = sp->incoming };
	struct stat st;

	if (has_size(read_fd, m->size, &st, e) < 0)
		return -1;
	if (sp->memory >= 0 && st.st_dev == sp->memory_dev) {
		if (leave_memory(sp, read_fd, m, &f, e) < 0)
			return -1;
		*fd_out = f.fd;
		return 0;
	}
	name_incoming(f.name, m->qid);
	CLEANUP_FD int fd = f.fd = openat(f.dir, f.name, O_WRONLY | O_APPEND | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return spool_disk_error(errno, "open", e);
	if (enqueue(sp, m, &f, e) < 0)
		return -1;
	*fd_out = fd;
	fd = -1;
	return 0;
}

int spool_write(struct spool *sp, const struct spool_msg *m, struct str content, int *fd_out, struct err *e)
{
	struct spool_fresh f;
	struct err we = { 0 };

	if (fresh_open(sp, m->qid, &f, e) < 0)
		return -1;
	if (write_all(f.fd, content.p, content.n, &we) < 0) {
		fresh_discard(&f);
		return spool_disk_error(we.sys, "write", e);
	}
	if (enqueue(sp, m, &f, e) < 0) {
		fresh_discard(&f);
		return -1;
	}
	*fd_out = f.fd;
	return 0;
}

int spool_copy_begin(struct spool *sp, struct str qid, struct spool_fresh *f, struct err *e)
{
	return fresh_create(sp, qid, f, e);	/* others come and go before it ends */
}

int spool_copy_end(struct spool *sp, const struct spool_msg *m, struct spool_fresh *f, int *fd_out, struct err *e)
{
	struct stat st;

	if (has_size(f->fd, m->size, &st, e) < 0 || enqueue(sp, m, f, e) < 0) {
		fresh_discard(f);
		return -1;
	}
	*fd_out = f->fd;
	f->fd = -1;
	return 0;
}

void spool_copy_undo(struct spool_fresh *f)
{
	fresh_discard(f);
}

/* Whoever was given a descriptor of the old message and kept it would read the next one: a write lease is granted only when there is no other descriptor
 * of the file. Emptied, it has blocks of its own when it serves again, so that a cut leaves nothing of the old message in the new one's place. */
static bool keep_spare(struct spool *sp, const char *name)
{
	char to[SPOOL_NAME_MAX];

	if (sp->spare < 0 || sp->n_spare >= SPOOL_SPARE_MAX)
		return false;
	CLEANUP_FD int fd = openat(sp->queue, name, O_WRONLY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 || fcntl(fd, F_SETLEASE, F_WRLCK) < 0)
		return false;
	snprintf(to, sizeof(to), "%zu", sp->n_spare);
	if (renameat(sp->queue, name, sp->spare, to) < 0)
		return false;
	if (ftruncate(fd, 0) < 0) {
		(void)unlinkat(sp->spare, to, 0);
		return true;
	}
	sp->n_spare++;
	return true;
}

void spool_remove(struct spool *sp, struct str qid, uint64_t size)
{
	char name[SPOOL_NAME_MAX];

	spool_name_of(name, qid, size);
	if (!keep_spare(sp, name))
		(void)unlinkat(sp->queue, name, 0);
}

int spool_append(struct spool *sp, struct str qid, uint64_t size, struct str records, bool sync, struct err *e)
{
	char name[SPOOL_NAME_MAX];
	struct err we = { 0 };

	spool_name_of(name, qid, size);
	CLEANUP_FD int fd = openat(sp->queue, name, O_WRONLY | O_APPEND | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return spool_disk_error(errno, "open", e);
	const off_t end = lseek(fd, 0, SEEK_END);
	if (write_all(fd, records.p, records.n, &we) < 0) {
		/* Half a record would hide all later ones: take our own bytes back. */
		if (end >= 0 && ftruncate(fd, end) < 0)
			return spool_disk_error(errno, "append and truncate", e);
		return spool_disk_error(we.sys, "append", e);
	}
	if (sync && fdatasync(fd) < 0)
		return spool_disk_error(errno, "sync", e);
	return 0;
}

int spool_read_fd(struct spool *sp, struct str qid, uint64_t size, int *fd_out, struct err *e)
{
	char name[SPOOL_NAME_MAX];

	spool_name_of(name, qid, size);
	const int fd = openat(sp->queue, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return err_set(e, errno == ENOENT ? ERR_NOENT : ERR_TEMP, errno, "queue file %s", name);
	*fd_out = fd;
	return 0;
}
