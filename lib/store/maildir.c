/* The one maildir writer. It owns file names, the way from tmp to new or cur, and what a power cut may leave; flags, UIDs and indexes
 * are the folder's (store.h). All paths are relative to the folder's descriptor; the process is the mail user.
 *
 * Which order is durable with the fewest syncs (the promise: what was acknowledged survives a power cut, also when spool and mail are on
 * two file systems):
 *   (1) write tmp, sync file, rename, sync directory: safe, two journal commits (1,400 msg/s on the reference machine).
 *   (2) write tmp, sync file, rename: one commit (12,600 msg/s from ten processes), but after a cut the message may still be in tmp: "lost"
 *       for every reader of new (375 of 435 cut states; and what Postfix does with two file systems: 126 of 240).
 *   (3) rename first, then sync the file: one commit on ext4, xfs, btrfs, but readers see mail that may vanish, and two phases
 *       (ready, then visible) are impossible.
 * Taken: (2) with recovery. The file's name in tmp is already the final one with its size (,S=) and CRLF size (,W=) and the suffix ",T", so that
 * it proves itself complete. Syncing a new file makes its name in tmp durable with it on ext4, xfs and btrfs (the create is in the same
 * journal commit); a rename is atomic in the journal: after a cut the message is either in tmp, complete, or in new. maildir_recover(), called
 * by whoever opens a user's mail, moves the former into new. So: one sync a message, nothing is lost, readers never see what is not durable. A
 * copy whose transaction was not acknowledged may so appear after a cut: at worst one duplicate. Measured with t/deliver/test_powercut.py
 * (shutdown ioctl without log flush): in 12 cuts of ext4 39 acknowledged copies stood complete in tmp, in 4 of xfs 6; none was lost. Where
 * dir_name_durable() does not know the file system, or sync_directories = yes, the directories are synced as in (1).
 *
 * Several messages that one APPEND brings must not be recovered so, for some may be complete and others not: their names in tmp end with ",A", and together.c says the rest.
 *
 * APPEND has a journal to make durable as well (maildir_copy_written). Where the file system commits in order it writes tmp and the journal, waits until the bytes of both are on
 * the disk (sync_file_range: no commit), renames, and then changes and syncs the journal (journal_batch_sync): the commit that holds this change holds all that was done
 * before. A cut leaves no name in cur without its bytes, but perhaps a record whose file stands in tmp and is not whole; so its name there ends with ",A", too, and who
 * opens the folder looks at it. One wait for the disk and one commit a message (t/imapd/test_powercut.py cuts it).
 *
 * A message of at most COPY_BUFFER bytes is kept in memory until the sync, so that its file gets its full name at once:
 * open, write, fsync, rename, close. Larger ones are renamed inside tmp before the sync.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/clock.h"
#include "os/os.h"
#include "store/maildir_priv.h"

enum {
	COPY_BUFFER = 64 * 1024,
	BASE_MAX = 200,		/* base name with id and host, before the sizes */
};

struct maildir_copy {
	int dirfd;
	int fd;				/* -1 while in memory */
	char base[BASE_MAX + 1];	/* without sizes */
	char name[MAILDIR_NAME_MAX + 1];	/* with them, after sync */
	char tmp[MAILDIR_NAME_MAX + 8];	/* "tmp/…" while it exists */
	char *buf;
	size_t n, cap;
	uint64_t size, lines;
	bool synced, broken;
	bool in_order;		/* fs_commits_in_order() is known to hold */
	bool named;		/* its file in tmp has its full name, */
	bool filled;		/* and all of the message in it */
	const char *ends;	/* what ends that name */
};

static bool sync_always;

void maildir_sync_directories(bool always)
{
	sync_always = always;
}

bool maildir_syncs_directories(void)
{
	return sync_always;
}

/* --- folders --- */

/* The mail tree is only trusted when it is the user's alone. */
static int check_dir(int fd, const char *what, dev_t *dev, struct err *e)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return err_set(e, ERR_TEMP, errno, "%s", what);
	if (!S_ISDIR(st.st_mode))
		return err_set(e, ERR_TEMP, 0, "%s is no directory", what);
	if (st.st_uid != geteuid())
		return err_set(e, ERR_TEMP, 0, "%s belongs to uid %u", what, (unsigned)st.st_uid);
	if (st.st_mode & 022)
		return err_set(e, ERR_TEMP, 0, "%s may be written by others (mode %04o)", what, (unsigned)st.st_mode & 07777);
	if (*dev != 0 && st.st_dev != *dev)
		return err_set(e, ERR_TEMP, 0, "%s is on another file system than its parent", what);
	*dev = st.st_dev;
	return 0;
}

int maildir_dir(int at, const char *name, int *fd_out, struct err *e)
{
	const int fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	if (fd < 0) {
		const int sys = errno;
		if (sys == ENOENT)
			return err_set(e, ERR_NOENT, sys, "%s", name);
		if (sys == ELOOP || sys == ENOTDIR)
			return err_set(e, ERR_TEMP, 0, "%s is a symbolic link or no directory", name);
		return err_set(e, ERR_TEMP, sys, "%s", name);
	}
	*fd_out = fd;
	return 0;
}

/* Open, making it when missing and wanted: made, synced, and the parent synced. */
static int open_or_make(int at, const char *name, bool create, int *fd_out, bool *made, struct err *e)
{
	if (maildir_dir(at, name, fd_out, e) == 0)
		return 0;
	if (e->code != ERR_NOENT || !create)
		return -1;
	err_clear(e);
	if (mkdirat(at, name, 0700) < 0 && errno != EEXIST) {
		const int sys = errno;
		return err_set(e, sys == EDQUOT || sys == ENOSPC ? ERR_QUOTA : ERR_TEMP, sys, "cannot make %s", name);
	}
	*made = true;
	return maildir_dir(at, name, fd_out, e);
}

static int open_subdirs(int dirfd, bool create, dev_t dev, bool *made, struct err *e)
{
	static const char *const names[] = { "tmp", "new", "cur" };

	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		CLEANUP_FD int fd = -1;
		bool made_this = false;
		if (open_or_make(dirfd, names[i], create, &fd, &made_this, e) < 0 || check_dir(fd, names[i], &dev, e) < 0)
			return e->code == ERR_NOENT && !create ? err_set(e, ERR_TEMP, 0, "%s is missing: no maildir", names[i]) : -1;
		if (made_this && fsync_fd(fd, names[i], e) < 0)
			return -1;
		*made |= made_this;
	}
	return 0;
}

static int open_folder(int at, const char *name, bool create, int *dirfd_out, struct err *e)
{
	CLEANUP_FD int fd = -1;
	bool made = false, made_sub = false;
	dev_t dev = 0;

	if (open_or_make(at, name, create, &fd, &made, e) < 0 || check_dir(fd, name, &dev, e) < 0 ||
	    open_subdirs(fd, create, dev, &made_sub, e) < 0)
		return -1;
	if ((made || made_sub) && fsync_fd(fd, name, e) < 0)
		return -1;
	if (made) {
		CLEANUP_FD int parent = openat(at == AT_FDCWD ? fd : at, at == AT_FDCWD ? ".." : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		/* A home that may be entered but not read cannot be opened to be synced: then everything is. */
		if (parent < 0)
			sync();
		else if (fsync_fd(parent, name, e) < 0)
			return -1;
	}
	*dirfd_out = fd;
	fd = -1;
	return 0;
}

int maildir_open(const char *root, bool create, int *dirfd_out, struct err *e)
{
	char path[1100];
	size_t n = strlen(root);

	while (n > 1 && root[n - 1] == '/')	/* "Maildir/" would follow a link of that name */
		n--;
	if (n == 0 || n >= sizeof(path))
		return err_set(e, ERR_CONF, 0, "maildir path of %zu bytes", n);
	memcpy(path, root, n);
	path[n] = '\0';
	return open_folder(AT_FDCWD, path, create, dirfd_out, e);
}

int maildir_open_at(int rootfd, const char *folder, bool create, int *dirfd_out, struct err *e)
{
	if (strchr(folder, '/') != NULL || strcmp(folder, ".") == 0 || strcmp(folder, "..") == 0)
		return err_set(e, ERR_INPUT, 0, "folder name %s", folder);
	return open_folder(rootfd, *folder ? folder : ".", create, dirfd_out, e);
}

/* --- a copy --- */

/* ENOSPC and EDQUOT are the mailbox's trouble, the rest is ours; all are temporary. */
static int write_error(struct maildir_copy *c, int sys, const char *what, struct err *e)
{
	c->broken = true;
	return err_set(e, sys == EDQUOT || sys == ENOSPC || sys == EFBIG ? ERR_QUOTA : ERR_TEMP, sys, "%s", what);
}

int maildir_copy_begin(int dirfd, const char *id, struct maildir_copy **out, struct err *e)
{
	struct maildir_copy *c;

	if (!maildir_id_valid(id))
		return err_set(e, ERR_BUG, 0, "maildir id");
	c = xzalloc(sizeof(*c));
	c->dirfd = dirfd;
	c->fd = -1;
	c->ends = ",T";
	if (maildir_base_make(c->base, sizeof(c->base), id) < 0) {
		free(c);
		return err_set(e, ERR_BUG, 0, "maildir name too long");
	}
	*out = c;
	return 0;
}

size_t maildir_copy_memory(const struct maildir_copy *c)
{
	return c->cap;
}

void maildir_copy_ordered(struct maildir_copy *c)
{
	c->in_order = true;
}

void maildir_copy_together(struct maildir_copy *c)
{
	c->ends = MAILDIR_TOGETHER;
}

char *maildir_copy_text(struct maildir_copy *c, size_t *n_out)
{
	char *const text = c->size == c->n ? c->buf : NULL;

	if (text == NULL || c->fd < 0)
		return NULL;
	*n_out = c->n;
	c->buf = NULL;
	c->n = c->cap = 0;
	return text;
}

static int create_file(struct maildir_copy *c, const char *name, const char *ends, struct err *e)
{
	if (maildir_path_make(c->tmp, sizeof(c->tmp), "tmp", name, ends) < 0) {
		c->tmp[0] = '\0';
		return err_set(e, ERR_BUG, 0, "maildir name too long");
	}
	c->fd = openat(c->dirfd, c->tmp, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (c->fd < 0) {
		const int sys = errno;
		c->tmp[0] = '\0';
		return write_error(c, sys, "cannot make a file in tmp", e);
	}
	return 0;
}

static int write_out(struct maildir_copy *c, const char *p, size_t n, struct err *e)
{
	while (n > 0) {
		const ssize_t k = write(c->fd, p, n);
		if (k < 0 && errno == EINTR)
			continue;
		if (k < 0)
			return write_error(c, errno, "write", e);
		p += k;
		n -= (size_t)k;
	}
	return 0;
}

uint64_t maildir_count_lf(const char *p, size_t n)
{
	uint64_t lines = 0;

	for (const char *end = p + n; p < end && (p = memchr(p, '\n', (size_t)(end - p))) != NULL; p++)
		lines++;
	return lines;
}

int maildir_copy_spill(struct maildir_copy *c, struct err *e)
{
	if (c->fd >= 0)
		return 0;
	if (create_file(c, c->base, ",T", e) < 0 || write_out(c, c->buf, c->n, e) < 0)
		return -1;
	free(c->buf);
	c->buf = NULL;
	c->n = c->cap = 0;
	return 0;
}

/* Room for n more bytes in memory, or spill to a file. 1: in memory (c->buf + c->n); 0: in the file. */
static int reserve(struct maildir_copy *c, uint64_t n, struct err *e)
{
	if (c->fd >= 0)
		return 0;
	if (n <= COPY_BUFFER - c->n) {
		const size_t want = c->n + (size_t)n;
		if (want > c->cap) {
			c->cap = want <= 8192 ? 8192 : COPY_BUFFER;
			c->buf = xrealloc(c->buf, c->cap);
		}
		return 1;
	}
	return maildir_copy_spill(c, e);
}

static int usable(const struct maildir_copy *c, struct err *e)
{
	return c->broken || c->synced ? err_set(e, ERR_BUG, 0, "maildir copy used after its end") : 0;
}

int maildir_copy_write(struct maildir_copy *c, struct str data, struct err *e)
{
	int r;

	if (usable(c, e) < 0)
		return -1;
	if (data.n == 0)
		return 0;
	if ((r = reserve(c, data.n, e)) < 0)
		return -1;
	if (r == 1) {
		memcpy(c->buf + c->n, data.p, data.n);
		c->n += data.n;
	} else if (write_out(c, data.p, data.n, e) < 0) {
		return -1;
	}
	c->size += data.n;
	c->lines += maildir_count_lf(data.p, data.n);
	return 0;
}

static int read_some(struct maildir_copy *c, int fd, char *p, size_t n, uint64_t off, size_t *n_out, struct err *e)
{
	ssize_t k;

	do
		k = pread(fd, p, n, (off_t)off);
	while (k < 0 && errno == EINTR);
	if (k < 0)
		return write_error(c, errno, "read of the message", e);
	*n_out = (size_t)k;
	return 0;
}

/* Small enough: straight into the buffer. */
static int range_to_memory(struct maildir_copy *c, int fd, uint64_t off, uint64_t len, struct err *e)
{
	while (len > 0) {
		size_t k;
		if (read_some(c, fd, c->buf + c->n, (size_t)len, off, &k, e) < 0)
			return -1;
		if (k == 0)
			break;
		c->lines += maildir_count_lf(c->buf + c->n, k);
		c->n += k;
		c->size += k;
		off += k;
		len -= k;
	}
	return len == 0 ? 0 : err_set(e, ERR_INPUT, 0, "message is shorter than said");
}

static int range_to_file(struct maildir_copy *c, int fd, uint64_t off, uint64_t len, bool to_end, struct err *e)
{
	char *chunk = xmalloc(COPY_CHUNK);
	int r = 0;

	while (len > 0) {
		size_t k = 0;
		r = read_some(c, fd, chunk, len < COPY_CHUNK ? (size_t)len : COPY_CHUNK, off, &k, e);
		if (r < 0 || k == 0)
			break;
		if ((r = write_out(c, chunk, k, e)) < 0)
			break;
		c->lines += maildir_count_lf(chunk, k);
		c->size += k;
		off += k;
		len -= k;
	}
	free(chunk);
	if (r == 0 && len > 0 && !to_end)
		return err_set(e, ERR_INPUT, 0, "message is shorter than said");
	return r;
}

int maildir_copy_range(struct maildir_copy *c, int fd, uint64_t off, uint64_t len, uint64_t lines, struct err *e)
{
	const uint64_t lines_before = c->lines;
	int r;

	if (usable(c, e) < 0 || (r = reserve(c, len, e)) < 0)
		return -1;
	r = r == 1 ? range_to_memory(c, fd, off, len, e) : range_to_file(c, fd, off, len, false, e);
	if (r == 0 && lines != UINT64_MAX)
		c->lines = lines_before + lines;
	return r;
}

int maildir_copy_file(struct maildir_copy *c, int fd, uint64_t off, uint64_t lines, struct err *e)
{
	struct stat st;

	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || (uint64_t)st.st_size < off)
		return err_set(e, ERR_INPUT, 0, "message is no regular file, or too short");
	return maildir_copy_range(c, fd, off, (uint64_t)st.st_size - off, lines, e);
}

/* Give the file its full name in tmp: created so when it was kept in memory, else renamed. */
static int name_file(struct maildir_copy *c, struct err *e)
{
	char to[sizeof(c->tmp)];

	if (maildir_name_make(c->name, MAILDIR_NAME_MAX - 32, c->base, c->size, c->size + c->lines) < 0)
		return err_set(e, ERR_BUG, 0, "maildir name too long");
	if (c->fd < 0)
		return create_file(c, c->name, c->ends, e);
	c->filled = true;
	if (maildir_path_make(to, sizeof(to), "tmp", c->name, c->ends) < 0)
		return err_set(e, ERR_BUG, 0, "maildir name too long");
	if (renameat(c->dirfd, c->tmp, c->dirfd, to) < 0)
		return write_error(c, errno, "rename in tmp", e);
	memcpy(c->tmp, to, sizeof(to));
	return 0;
}

int maildir_copy_create(struct maildir_copy *c, struct err *e)
{
	if (usable(c, e) < 0 || (!c->named && name_file(c, e) < 0))
		return -1;
	c->named = true;
	return 0;
}

/* All of it stands in tmp under its full name. */
static int fill(struct maildir_copy *c, struct err *e)
{
	if (maildir_copy_create(c, e) < 0 || (!c->filled && write_out(c, c->buf, c->n, e) < 0))
		return -1;
	c->filled = true;
	return 0;
}

int maildir_copy_start(struct maildir_copy *c, struct err *e)
{
	if (fill(c, e) < 0)
		return -1;
	(void)sync_file_range(c->fd, 0, 0, SYNC_FILE_RANGE_WRITE);	/* only a hint: fsync promises */
	return 0;
}

int maildir_copy_sync(struct maildir_copy *c, struct err *e)
{
	if (fill(c, e) < 0)
		return -1;
	/* D5: a failed sync is never repeated on the same file; the copy is broken. */
	if (fsync(c->fd) < 0)
		return write_error(c, errno, "fsync", e);
	c->synced = true;
	return 0;
}

int maildir_copy_written(struct maildir_copy *c, struct err *e)
{
	if (fill(c, e) < 0)
		return -1;
	c->in_order = c->in_order || fs_commits_in_order(c->fd);
	if (sync_always || !c->in_order)
		return maildir_copy_sync(c, e);
	if (sync_file_range(c->fd, 0, 0, SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER) < 0)
		return write_error(c, errno, "sync_file_range", e);
	c->synced = true;
	return 0;
}

static void copy_free(struct maildir_copy **cp)
{
	struct maildir_copy *c = *cp;

	close_fd(&c->fd);
	free(c->buf);
	free(c);
	*cp = NULL;
}

void maildir_copy_abort(struct maildir_copy **cp)
{
	if (*cp == NULL)
		return;
	if ((*cp)->tmp[0] != '\0')
		(void)unlinkat((*cp)->dirfd, (*cp)->tmp, 0);
	copy_free(cp);
}

void maildir_copy_keep(struct maildir_copy **cp)
{
	if (*cp)
		copy_free(cp);
}

/* Rename that never replaces; link and unlink where the file system has no such rename. */
int maildir_move(int dirfd, const char *from, const char *to, struct err *e)
{
	if (renameat2(dirfd, from, dirfd, to, RENAME_NOREPLACE) == 0)
		return 0;
	if (errno != EINVAL && errno != ENOSYS)
		return err_set(e, errno == EDQUOT || errno == ENOSPC ? ERR_QUOTA : ERR_TEMP, errno, "rename");
	if (linkat(dirfd, from, dirfd, to, 0) < 0)
		return err_set(e, errno == EDQUOT || errno == ENOSPC ? ERR_QUOTA : ERR_TEMP, errno, "link");
	(void)unlinkat(dirfd, from, 0);
	return 0;
}

int maildir_dir_sync(int dirfd, const char *name, struct err *e)
{
	CLEANUP_FD int fd = -1;

	return maildir_dir(dirfd, name, &fd, e) < 0 ? -1 : fsync_fd(fd, name, e);
}

int maildir_copy_commit(struct maildir_copy **cp, const char *info, struct err *e)
{
	struct maildir_copy *c = *cp;
	char to[MAILDIR_NAME_MAX + 8];
	const char *const dir = info ? "cur" : "new";

	if (!c->synced || (strcmp(c->ends, MAILDIR_TOGETHER) == 0 && !c->in_order) || maildir_path_make(to, sizeof(to), dir, c->name, info ? info : "") < 0) {
		maildir_copy_abort(cp);
		return err_set(e, ERR_BUG, 0, "maildir commit before sync");
	}
	if (maildir_move(c->dirfd, c->tmp, to, e) < 0) {
		maildir_copy_abort(cp);
		return -1;
	}
	memcpy(c->tmp, to, sizeof(to));
	if ((sync_always || !(c->in_order || dir_name_durable(c->fd))) && maildir_dir_sync(c->dirfd, dir, e) < 0) {
		maildir_copy_abort(cp);	/* D3: a failed directory sync is a failed delivery */
		return -1;
	}
	copy_free(cp);
	return 0;
}

const char *maildir_copy_name(const struct maildir_copy *c)
{
	return c->name;
}

uint64_t maildir_copy_size(const struct maildir_copy *c)
{
	return c->size;
}
