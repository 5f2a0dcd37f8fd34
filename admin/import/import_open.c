/* The source of files: opens what the writer asks for below what the admin named, and reads nothing of it. It runs as the caller (root, when old homes
 * are to be read), the writer as the mail user; no link is followed and nothing above a root can be had. */
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "admin/import/import.h"
#include "ipc/import.h"
#include "os/os.h"

int import_root(const char *path, struct err *e)
{
	const int fd = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);

	if (fd < 0)
		err_set(e, errno == ENOENT ? ERR_NOENT : ERR_TEMP, errno, "%s", path);
	return fd;
}

static int open_below(int root, struct str path)
{
	char name[4097];
	const struct open_how how = {
		.flags = O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS,
	};

	if (path.n >= sizeof name || memchr(path.p ? path.p : "", 0, path.n)) {
		errno = EINVAL;
		return -1;
	}
	if (path.n == 0)
		return fcntl(root, F_DUPFD_CLOEXEC, 0);
	memcpy(name, path.p, path.n);
	name[path.n] = '\0';
	return (int)syscall(SYS_openat2, root, name, &how, sizeof how);
}

static int answer(int chan, uint32_t id, const struct ipc_import_OPEN *m, const int *roots, size_t n_roots)
{
	struct ipc_import_FAILED failed = { .code = ERR_TEMP };
	struct err e = { 0 };
	struct stat st;
	CLEANUP_FD int fd = m->root < n_roots ? open_below(roots[m->root], m->path) : -1;

	if (fd >= 0 && fstat(fd, &st) == 0 && (S_ISREG(st.st_mode) || S_ISDIR(st.st_mode))) {
		struct ipc_import_OPENED ok = { .directory = S_ISDIR(st.st_mode) };
		return ipc_send_fd(chan, &ipc_import, IPC_import_OPENED, &ok, id, fd, &e);
	}
	if (fd < 0 && errno == ENOENT)
		failed.code = ERR_NOENT;
	failed.text = fd < 0 ? str_c(errno == ENOENT ? "not there" : errno == ELOOP ? "a symbolic link" : errno == EACCES ? "no permission" : "cannot be opened") :
			       STR("neither a file nor a directory");
	return ipc_send_fd(chan, &ipc_import, IPC_import_FAILED, &failed, id, -1, &e);
}

void import_opener(int chan, const int *roots, size_t n_roots)
{
	struct arena *a = arena_new(0);
	struct err e = { 0 };
	uint16_t type;
	uint32_t id;
	void *msg;
	int fd;

	for (;;) {
		arena_reset(a);
		if (ipc_recv_fd(chan, &ipc_import, -1, a, &type, &id, &msg, &fd, &e) < 0)
			break;
		close_fd(&fd);
		if (type != IPC_import_OPEN || answer(chan, id, msg, roots, n_roots) < 0)
			break;
	}
	arena_free(&a);
}

/* The writer's side. */
int import_open(struct import *im, unsigned root, const char *path, int *fd_out, bool *dir_out, struct err *e)
{
	struct ipc_import_OPEN ask = { .root = root, .path = str_c(path) };
	struct arena *a = arena_new(0);
	uint16_t type;
	uint32_t id;
	void *msg;
	int fd = -1, r;

	r = ipc_send_fd(im->chan, &ipc_import, IPC_import_OPEN, &ask, 1, -1, e);
	if (r == 0)
		r = ipc_recv_fd(im->chan, &ipc_import, IMPORT_WAIT_MS, a, &type, &id, &msg, &fd, e);
	if (r == 0 && type == IPC_import_OPENED) {
		*dir_out = ((const struct ipc_import_OPENED *)msg)->directory != 0;
		*fd_out = fd;
		fd = -1;
	} else if (r == 0 && type == IPC_import_FAILED) {
		const struct ipc_import_FAILED *const f = msg;
		r = err_set(e, f->code == ERR_NOENT ? ERR_NOENT : ERR_TEMP, 0, "%s: %.*s", path, STR_ARG(f->text));
	} else if (r == 0) {
		r = err_set(e, ERR_BUG, 0, "the source talks nonsense");
	}
	close_fd(&fd);
	arena_free(&a);
	return r;
}
