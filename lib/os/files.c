/* Files that matter: reading whole ones, replacing them so that a power cut leaves the old or the new content, durable directories,
 * and whether a path can be trusted. Nothing here knows what the files mean.
 *
 * Sync rules: a new file is written, synced, renamed into place, and its directory synced, through descriptors opened before the
 * write. After a failed sync the file is given up, never synced again: the kernel has marked its pages clean (PostgreSQL's 2018 finding). */
#include "os/os.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/clock.h"

enum { READ_STEP = 65536, PATH_LENGTH_MAX = 4095, TEMP_TRIES = 8 };

void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

static enum err_code code_of(int sys)
{
	switch (sys) {
	case ENOENT:
	case ENOTDIR:
		return ERR_NOENT;
	case EEXIST:
		return ERR_EXISTS;
	case EDQUOT:
		return ERR_QUOTA;
	case EACCES:
	case EPERM:
	case ELOOP:
		return ERR_DENIED;
	case EMFILE:
	case ENFILE:
	case ENOSPC:
		return ERR_LIMIT;
	default:
		return ERR_TEMP;
	}
}

int write_all(int fd, const void *p, size_t n, struct err *e)
{
	const char *at = p;
	while (n) {
		const ssize_t k = write(fd, at, n);
		if (k < 0 && errno == EINTR)
			continue;
		if (k < 0)
			return err_set(e, code_of(errno), errno, "write");
		if (k == 0)
			return err_set(e, ERR_TEMP, 0, "write: no progress");
		at += k;
		n -= (size_t)k;
	}
	return 0;
}

int pread_all(int fd, void *p, size_t n, uint64_t off, struct err *e)
{
	char *at = p;
	if (off > (uint64_t)INT64_MAX - n)
		return err_set(e, ERR_INPUT, 0, "read: offset out of range");
	while (n) {
		const ssize_t k = pread(fd, at, n, (off_t)off);
		if (k < 0 && errno == EINTR)
			continue;
		if (k < 0)
			return err_set(e, ERR_TEMP, errno, "read");
		if (k == 0)
			return err_set(e, ERR_INPUT, 0, "read: the file ends too early");
		at += k;
		n -= (size_t)k;
		off += (uint64_t)k;
	}
	return 0;
}

static ssize_t read_some(int fd, void *p, size_t n)
{
	ssize_t k;
	do
		k = read(fd, p, n);
	while (k < 0 && errno == EINTR);
	return k;
}

/* The rest of fd; at most max bytes, and at most what the buffer may hold. */
static int read_rest(int fd, size_t max, struct buf *out, struct err *e)
{
	max = max < out->max ? max : out->max;
	for (;;) {
		const size_t left = max - out->n, spare = out->cap > out->n + 1 ? out->cap - out->n - 1 : READ_STEP;
		const size_t want = left < spare ? left : spare;
		char one, *room = want ? buf_room(out, want) : &one;
		if (!room)
			return err_set(e, ERR_BUG, 0, "a buffer is smaller than its maximum");
		const ssize_t k = read_some(fd, room, want ? want : 1);
		if (k < 0)
			return err_set(e, ERR_TEMP, errno, "read");
		if (k > 0 && !want)
			return err_set(e, ERR_TOOBIG, 0, "longer than %zu bytes", max);
		if (want)
			buf_added(out, (size_t)k);
		if (k == 0)
			return 0;
	}
}

static int read_fd(int fd, size_t max, struct buf *out, struct err *e)
{
	struct stat st;
	buf_reset(out);
	if (fstat(fd, &st) < 0)
		return err_set(e, ERR_TEMP, errno, "stat");
	if (!S_ISREG(st.st_mode))
		return err_set(e, ERR_DENIED, 0, "not a regular file");
	if (st.st_size > 0 && (uint64_t)st.st_size > max)
		return err_set(e, ERR_TOOBIG, 0, "%lld bytes, more than %zu", (long long)st.st_size, max);
	/* Room for all of it and one more, which says that it has ended: it is not moved, and who wipes the buffer has wiped every byte that was read. */
	if (st.st_size > 0 && (uint64_t)st.st_size < max && (uint64_t)st.st_size < out->max && !buf_room(out, (size_t)st.st_size + 1))
		return err_set(e, ERR_BUG, 0, "a buffer is smaller than its maximum");
	return read_rest(fd, max, out, e);
}

static int read_opened(int fd, const char *name, size_t max, struct buf *out, struct err *e)
{
	if (fd < 0)
		return err_set(e, code_of(errno), errno, "%s", name);
	const int r = read_fd(fd, max, out, e);
	close(fd);
	if (r < 0) {
		buf_reset(out);
		return err_wrap(e, "%s", name);
	}
	return 0;
}

/* O_NONBLOCK: a FIFO in the file's place must not hang us; it has no effect on regular files. */
int file_read(const char *path, size_t max, struct buf *out, struct err *e)
{
	return read_opened(open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK), path, max, out, e);
}

int file_read_at(int dirfd, const char *name, size_t max, struct buf *out, struct err *e)
{
	return read_opened(openat(dirfd, name, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK | O_NOFOLLOW), name, max, out, e);
}

static int group_depth;
static bool group_ordered;
static dev_t group_dev;

void sync_group_begin(int fd)
{
	struct stat st;

	if (group_depth++ > 0)
		return;
	group_ordered = fs_commits_in_order(fd) && fstat(fd, &st) == 0;
	group_dev = group_ordered ? st.st_dev : 0;
}

void sync_group_leave(void)
{
	if (--group_depth == 0)
		group_ordered = false;
}

int sync_group_end(int fd, const char *what, int r, struct err *e)
{
	struct err mine = { 0 };

	if (--group_depth > 0)
		return r;
	group_ordered = false;
	if (fsync_fd(fd, what, &mine) == 0 || r < 0)
		return r;
	*e = mine;
	return -1;
}

/* True: fd needs no sync of its own. */
static bool group_takes(int fd)
{
	struct stat st;

	if (!group_ordered || fstat(fd, &st) < 0 || st.st_dev != group_dev)
		return false;
	return S_ISDIR(st.st_mode) || sync_file_range(fd, 0, 0, SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER) == 0;
}

int fsync_fd(int fd, const char *what, struct err *e)
{
	if (group_takes(fd))
		return 0;
	while (fsync(fd) < 0)
		if (errno != EINTR)
			return err_set(e, code_of(errno), errno, "%s: sync", what);
	return 0;
}

int fsync_dir(const char *path, struct err *e)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return err_set(e, code_of(errno), errno, "%s", path);
	const int r = fsync_fd(fd, path, e);
	close_fd(&fd);
	return r;
}

static int fill_temp(int fd, struct str content, mode_t mode, uid_t uid, gid_t gid, struct err *e)
{
	if (write_all(fd, content.p, content.n, e) < 0)
		return -1;
	if ((uid != (uid_t)-1 || gid != (gid_t)-1) && fchown(fd, uid, gid) < 0)
		return err_set(e, code_of(errno), errno, "chown");
	if (fchmod(fd, mode) < 0)
		return err_set(e, code_of(errno), errno, "chmod");
	return fsync_fd(fd, "new file", e);
}

static int temp_open(int dirfd, const char *name, char *temp, size_t temp_size)
{
	for (int i = 0; i < TEMP_TRIES; i++) {
		const int n = snprintf(temp, temp_size, ".%.180s.%016llx", name, (unsigned long long)random_u64());
		if (n < 0 || (size_t)n >= temp_size) {
			errno = ENAMETOOLONG;
			return -1;
		}
		const int fd = openat(dirfd, temp, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
		if (fd >= 0 || errno != EEXIST)
			return fd;
	}
	return -1;
}

static int replace_at(int dirfd, const char *name, struct str content, mode_t mode, uid_t uid, gid_t gid, struct err *e)
{
	char temp[NAME_MAX + 1];
	int fd = temp_open(dirfd, name, temp, sizeof(temp));
	if (fd < 0)
		return err_set(e, code_of(errno), errno, "%s: temporary file", name);
	int r = fill_temp(fd, content, mode, uid, gid, e);
	if (close(fd) < 0 && r == 0)	/* NFS and quotas may tell only now */
		r = err_set(e, code_of(errno), errno, "close");
	if (r == 0 && renameat(dirfd, temp, dirfd, name) < 0)
		r = err_set(e, code_of(errno), errno, "rename");
	if (r < 0) {
		(void)unlinkat(dirfd, temp, 0);
		return err_wrap(e, "%s", name);
	}
	return fsync_fd(dirfd, "directory", e) < 0 ? err_wrap(e, "%s", name) : 0;
}

/* Open the directory part of path; *base_out points at the last component. */
static int open_parent(const char *path, const char **base_out, struct err *e)
{
	char dir[PATH_LENGTH_MAX + 1];
	const char *slash = strrchr(path, '/');
	const char *base = slash ? slash + 1 : path;
	const size_t n = slash ? (size_t)(slash - path) : 0;
	if (!*base || n > PATH_LENGTH_MAX)
		return err_set(e, ERR_INPUT, 0, "%.100s: not a file name", path);
	memcpy(dir, path, n);
	dir[n] = 0;
	const int fd = open(!slash ? "." : n ? dir : "/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return err_set(e, code_of(errno), errno, "%s: directory", path);
	*base_out = base;
	return fd;
}

int file_replace_at(int dirfd, const char *name, struct str content, mode_t mode, struct err *e)
{
	return replace_at(dirfd, name, content, mode, (uid_t)-1, (gid_t)-1, e);
}

int file_replace_own_at(int dirfd, const char *name, struct str content, mode_t mode, uid_t uid, gid_t gid, struct err *e)
{
	return replace_at(dirfd, name, content, mode, uid, gid, e);
}

int file_replace(const char *path, struct str content, mode_t mode, uid_t uid, gid_t gid, struct err *e)
{
	const char *base;
	CLEANUP_FD int dirfd = open_parent(path, &base, e);
	if (dirfd < 0)
		return -1;
	return replace_at(dirfd, base, content, mode, uid, gid, e);
}

/* --- directories --- */

static int make_parents(char *path, struct err *e)
{
	for (char *p = path + 1; *p; p++) {
		if (*p != '/')
			continue;
		*p = 0;
		const int made = mkdir(path, 0755);
		if (made == 0 && chmod(path, 0755) < 0)
			return err_set(e, code_of(errno), errno, "%s: chmod", path);
		if (made < 0 && errno != EEXIST && access(path, F_OK) < 0)
			return err_set(e, code_of(errno), errno, "%s", path);
		*p = '/';
	}
	return 0;
}

/* Give the directory its owner and mode where they differ. */
static int settle_dir(const char *path, bool made, mode_t mode, uid_t uid, gid_t gid, struct err *e)
{
	struct stat st;
	if (lstat(path, &st) < 0)
		return err_set(e, code_of(errno), errno, "%s", path);
	if (!S_ISDIR(st.st_mode))
		return err_set(e, ERR_INPUT, ENOTDIR, "%s: not a directory of ours", path);
	if (!made && uid == (uid_t)-1)
		return 0;
	const bool own = (uid != (uid_t)-1 && st.st_uid != uid) || (gid != (gid_t)-1 && st.st_gid != gid);
	/* One that is right is not opened: a daemon without rights over others' files may be root and all the same not allowed to. */
	if (!own && (st.st_mode & 07777) == mode)
		return 0;
	CLEANUP_FD int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return err_set(e, code_of(errno), errno, "%s", path);
	if (own && fchown(fd, uid, gid) < 0)
		return err_set(e, code_of(errno), errno, "%s: chown", path);
	if ((st.st_mode & 07777) != mode && fchmod(fd, mode) < 0)
		return err_set(e, code_of(errno), errno, "%s: chmod", path);
	return 0;
}

int dir_make(const char *path, mode_t mode, uid_t uid, gid_t gid, struct err *e)
{
	char copy[PATH_LENGTH_MAX + 1];
	size_t n = strlen(path);
	while (n > 1 && path[n - 1] == '/')
		n--;
	if (n == 0 || n > PATH_LENGTH_MAX)
		return err_set(e, ERR_INPUT, 0, "directory name is empty or too long");
	memcpy(copy, path, n);
	copy[n] = 0;
	if (make_parents(copy, e) < 0)
		return -1;
	const int made = mkdir(copy, mode & 0700);	/* narrow until the owner is set */
	if (made < 0 && errno != EEXIST)
		return err_set(e, code_of(errno), errno, "%s", copy);
	return settle_dir(copy, made == 0, mode, uid, gid, e);
}

/* --- trust --- */

static int component_trusted(const char *path, uid_t owner_ok, bool last, struct err *e)
{
	struct stat st;
	if (lstat(path, &st) < 0)
		return err_set(e, code_of(errno), errno, "%s", path);
	if (st.st_uid != 0 && st.st_uid != owner_ok)
		return err_set(e, ERR_DENIED, 0, "%s belongs to uid %u", path, (unsigned)st.st_uid);
	if (S_ISLNK(st.st_mode))	/* a link's mode means nothing; what it leads to is looked at by itself */
		return 0;
	/* In a sticky directory others may add names, but not change this one. */
	const bool sticky = !last && S_ISDIR(st.st_mode) && (st.st_mode & S_ISVTX);
	if ((st.st_mode & 022) && !sticky)
		return err_set(e, ERR_DENIED, 0, "%s may be written by others (mode %04o)", path, (unsigned)st.st_mode & 07777);
	return 0;
}

static int components_trusted(char *path, uid_t owner_ok, struct err *e)
{
	if (component_trusted("/", owner_ok, false, e) < 0)
		return -1;
	for (char *p = path + 1; *p; p++) {
		if (*p != '/' || p[-1] == '/')
			continue;
		*p = 0;
		const int r = component_trusted(path, owner_ok, false, e);
		*p = '/';
		if (r < 0)
			return -1;
	}
	return component_trusted(path, owner_ok, true, e);
}

int path_trusted(const char *path, uid_t owner_ok, struct err *e)
{
	char named[PATH_LENGTH_MAX + 1], real[PATH_MAX];
	const size_t n = strlen(path);
	if (path[0] != '/' || n > PATH_LENGTH_MAX)
		return err_set(e, ERR_INPUT, 0, "%.100s: not an absolute path", path);
	if (!realpath(path, real))
		return err_set(e, code_of(errno), errno, "%s", path);
	memcpy(named, path, n + 1);
	if (components_trusted(named, owner_ok, e) < 0)
		return -1;
	return strcmp(named, real) == 0 ? 0 : components_trusted(real, owner_ok, e);
}

/* One name further down: never through a link. */
static int step_into(int *fd, const char *name, bool make, struct err *e)
{
	if (strcmp(name, "..") == 0)
		return err_set(e, ERR_INPUT, 0, "a path that leads back up");
	if (make && mkdirat(*fd, name, 0755) == 0 && fchmodat(*fd, name, 0755, 0) < 0)
		return err_set(e, code_of(errno), errno, "%s: chmod", name);
	const int next = openat(*fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	if (next < 0 && (errno == ENOTDIR || errno == ELOOP))
		return err_set(e, ERR_DENIED, 0, "%s is a symbolic link or no directory, where others than root may write: it is not followed", name);
	if (next < 0)
		return err_set(e, code_of(errno), errno, "%s", name);
	close_fd(fd);
	*fd = next;
	return 0;
}

/* Open the longest leading part of dir that only root can change; *rest: what is left of it, NULL when that is all of it. */
static int open_trusted_part(char *dir, char **rest, struct err *e)
{
	char *end = dir + strlen(dir);

	for (;;) {
		struct err none = { 0 };
		const char was = *end;
		*end = 0;
		if (end == dir || path_trusted(dir, geteuid(), &none) == 0) {
			const int fd = open(end == dir ? "/" : dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
			*rest = was ? end + 1 : NULL;
			return fd < 0 ? err_set(e, code_of(errno), errno, "%s", dir) : fd;
		}
		*end = was;
		do
			end--;
		while (*end != '/');
	}
}

int dir_open_trusted(const char *path, bool make, bool *trusted_out, struct err *e)
{
	char dir[PATH_LENGTH_MAX + 1];
	const char *slash = strrchr(path, '/');
	char *rest = NULL;

	if (path[0] != '/' || !slash[1] || (size_t)(slash - path) > PATH_LENGTH_MAX)
		return err_set(e, ERR_INPUT, 0, "%.100s: not the absolute path of a file", path);
	(void)snprintf(dir, sizeof(dir), "%.*s", (int)(slash - path), path);
	int fd = open_trusted_part(dir, &rest, e);

	*trusted_out = rest == NULL;
	for (char *name = rest; fd >= 0 && name; name = rest) {
		rest = strchr(name, '/');
		if (rest)
			*rest++ = 0;
		if (*name && step_into(&fd, name, make, e) < 0)
			close_fd(&fd);
	}
	return fd < 0 ? err_wrap(e, "%s", path) : fd;
}

static bool fs_is_one_of(int fd, const unsigned long *types, size_t n)
{
	struct statfs st;

	if (fstatfs(fd, &st) < 0)
		return false;
	for (size_t i = 0; i < n; i++)
		if ((unsigned long)st.f_type == types[i])
			return true;
	return false;
}

enum { FS_EXT4 = 0xEF53, FS_XFS = 0x58465342, FS_TMPFS = 0x01021994 };
#define FS_BTRFS 0x9123683EUL

/* On these an fsync of a file commits the journal (or log tree) that also holds the file's last link or rename in the same file system,
 * so a sync of the directory adds nothing; memory file systems promise nothing anyway. All others: sync the directory. */
bool dir_name_durable(int fd)
{
	static const unsigned long types[] = { FS_EXT4, FS_XFS, FS_BTRFS, FS_TMPFS };

	return fs_is_one_of(fd, types, ARRAY_LEN(types));
}

/* One journal for all metadata, committed in order and whole up to the synced change. btrfs logs single files: not here. */
bool fs_commits_in_order(int fd)
{
	static const unsigned long types[] = { FS_EXT4, FS_XFS, FS_TMPFS };

	return fs_is_one_of(fd, types, ARRAY_LEN(types));
}

/* A position is the upper 31 bits of the hash, then the lower half. */
uint64_t dir_positions(int fd)
{
	static const unsigned long types[] = { FS_EXT4 };

	return fs_is_one_of(fd, types, ARRAY_LEN(types)) ? UINT64_C(1) << 63 : 0;
}

/* --- descriptors --- */

void close_all_but(const int *keep, size_t n)
{
	unsigned from = 0;
	for (;;) {
		unsigned next = UINT_MAX;	/* the lowest kept one that is not below from */
		for (size_t i = 0; i < n; i++)
			if (keep[i] >= 0 && (unsigned)keep[i] >= from && (unsigned)keep[i] < next)
				next = (unsigned)keep[i];
		if (next > from)
			(void)syscall(SYS_close_range, from, next == UINT_MAX ? UINT_MAX : next - 1, 0);
		if (next == UINT_MAX)
			return;
		from = next + 1;
	}
}
