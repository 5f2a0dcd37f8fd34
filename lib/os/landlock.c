/* Landlock by its system calls: which names of the file system a process may use. The kernel says which version it has; rights that it does
 * not know are left out of the request. Numbers and layouts are written down here because the headers of Debian 12 end at version 2. */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "os/confine_priv.h"
#include "os/os.h"

enum {
	RULE_PATH_BENEATH = 1,
	CREATE_VERSION = 1,	/* flag of landlock_create_ruleset: answer the version */
	ABI_NEWEST = 7,
	ABI_REFER = 2, ABI_TRUNCATE = 3, ABI_NET = 4, ABI_IOCTL = 5, ABI_SCOPE = 6,
};

/* Rights on files (linux/landlock.h). */
enum {
	A_EXECUTE = 1 << 0, A_WRITE_FILE = 1 << 1, A_READ_FILE = 1 << 2, A_READ_DIR = 1 << 3, A_REMOVE_DIR = 1 << 4, A_REMOVE_FILE = 1 << 5,
	A_MAKE_CHAR = 1 << 6, A_MAKE_DIR = 1 << 7, A_MAKE_REG = 1 << 8, A_MAKE_SOCK = 1 << 9, A_MAKE_FIFO = 1 << 10, A_MAKE_BLOCK = 1 << 11,
	A_MAKE_SYM = 1 << 12, A_REFER = 1 << 13, A_TRUNCATE = 1 << 14, A_IOCTL_DEV = 1 << 15,
	A_ALL_V1 = (1 << 13) - 1,
	A_FILE = A_EXECUTE | A_WRITE_FILE | A_READ_FILE | A_TRUNCATE | A_IOCTL_DEV,	/* those that a single file can have */
	A_READ = A_READ_FILE | A_READ_DIR,
	A_WRITE = A_WRITE_FILE | A_REMOVE_DIR | A_REMOVE_FILE | A_MAKE_DIR | A_MAKE_REG | A_MAKE_SYM | A_REFER | A_TRUNCATE,
	NET_BIND_TCP = 1 << 0, NET_CONNECT_TCP = 1 << 1,
	SCOPE_ABSTRACT_UNIX = 1 << 0, SCOPE_SIGNAL = 1 << 1,
};

struct ruleset_attr {
	uint64_t fs, net, scoped;
};
struct path_attr {
	uint64_t access;
	int32_t fd;
} __attribute__((packed));

int confine_landlock_abi(void)
{
	const long v = syscall(__NR_landlock_create_ruleset, NULL, 0, CREATE_VERSION);
	return v < 0 ? 0 : v > ABI_NEWEST ? ABI_NEWEST : (int)v;
}

static uint64_t known_access(int abi)
{
	return A_ALL_V1 | (abi >= ABI_REFER ? A_REFER : 0) | (abi >= ABI_TRUNCATE ? A_TRUNCATE : 0) | (abi >= ABI_IOCTL ? A_IOCTL_DEV : 0);
}

static int add_rule(int set, const char *path, int fd, uint64_t access, struct err *e)
{
	const struct path_attr attr = { .access = access, .fd = fd };
	if (syscall(__NR_landlock_add_rule, set, RULE_PATH_BENEATH, &attr, 0) < 0)
		return err_set(e, ERR_BUG, errno, "confinement to %s", path);
	return 0;
}

/* Renaming between directories is refused by every rule set that does not allow it, asked or not: a set that restricts execution alone must
 * allow it everywhere, or whoever inherits it could not rename from tmp to new. */
static int allow_refer(int set, struct err *e)
{
	CLEANUP_FD int fd = open("/", O_PATH | O_CLOEXEC);
	return fd < 0 ? err_set(e, ERR_CONF, errno, "/") : add_rule(set, "/", fd, A_REFER, e);
}

static int add_path(int set, const struct confine_path *path, uint64_t handled, struct err *e)
{
	struct stat st;
	CLEANUP_FD int fd = open(path->path, O_PATH | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0)
		return err_set(e, ERR_CONF, errno, "confinement to %s", path->path);
	uint64_t access = (uint64_t)A_READ | (path->write ? (uint64_t)A_WRITE : 0) | (path->exec ? (uint64_t)A_EXECUTE : 0);
	if (!S_ISDIR(st.st_mode))
		access &= A_FILE;
	return access & handled ? add_rule(set, path->path, fd, access & handled, e) : 0;
}

static uint64_t handled_access(enum landlock_scope scope, int abi)
{
	if (scope == LANDLOCK_EXEC_ONLY)
		return (uint64_t)A_EXECUTE | (abi >= ABI_REFER ? A_REFER : 0);
	return known_access(abi);
}

int landlock_prepare(enum landlock_scope scope, uint32_t groups, const struct confine_path *paths, size_t n, int *fd_out, struct err *e)
{
	*fd_out = -1;
	if (scope == LANDLOCK_NONE)
		return 0;
	const int abi = confine_landlock_abi();
	if (abi < 1)
		return err_set(e, ERR_CONF, 0, "this kernel has no Landlock (or it is off); -n starts without a sandbox");
	struct ruleset_attr attr = { .fs = handled_access(scope, abi) };
	if (abi >= ABI_NET && scope == LANDLOCK_ALL)
		attr.net = (groups & NET_SOURCE ? 0 : NET_BIND_TCP) | (groups & NET_OUT ? 0 : NET_CONNECT_TCP);
	if (abi >= ABI_SCOPE && scope == LANDLOCK_ALL)
		attr.scoped = SCOPE_ABSTRACT_UNIX | SCOPE_SIGNAL;
	const size_t size = abi >= ABI_SCOPE ? sizeof(attr) : abi >= ABI_NET ? 16 : 8;
	int set = (int)syscall(__NR_landlock_create_ruleset, &attr, size, 0);
	if (set < 0)
		return err_set(e, ERR_BUG, errno, "Landlock rule set");
	int r = scope == LANDLOCK_EXEC_ONLY && abi >= ABI_REFER ? allow_refer(set, e) : 0;
	for (size_t i = 0; r == 0 && i < n; i++)
		r = add_path(set, &paths[i], attr.fs, e);
	if (r < 0) {
		close_fd(&set);
		return -1;
	}
	*fd_out = set;
	return 0;
}

int landlock_enter(int *fd, struct err *e)
{
	if (*fd < 0)
		return 0;
	const long r = syscall(__NR_landlock_restrict_self, *fd, 0);
	const int sys = errno;
	close_fd(fd);
	return r < 0 ? err_set(e, ERR_BUG, sys, "Landlock") : 0;
}
