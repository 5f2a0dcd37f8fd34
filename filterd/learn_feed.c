/* The feeder of postern-learn (learn.h). Each directory is read by a process that has become its owner before it opens anything below it, so a link or a name that
 * a user planted leads nowhere the user could not go. Directories of root's are read as root, and hold what root put there. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ipc/learn.h"
#include "learn.h"
#include "os/os.h"

struct reading {
	const struct learn_options *o;
	const struct learn_dir *d;
	int chan;
	size_t sent, passed;
};

static int become_owner(const struct stat *st, struct err *e)
{
	if (geteuid() != 0 || st->st_uid == 0)
		return 0;
	if (setgroups(0, NULL) < 0 || setresgid(st->st_gid, st->st_gid, st->st_gid) < 0 || setresuid(st->st_uid, st->st_uid, st->st_uid) < 0)
		return err_set(e, ERR_TEMP, errno, "cannot become the owner");
	return setuid(0) == 0 || seteuid(0) == 0 ? err_set(e, ERR_BUG, 0, "root could be had again") : 0;
}

static int send_file(struct reading *r, int dir, const char *name, struct err *e)
{
	struct stat st;
	CLEANUP_FD int fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_size == 0 || st.st_size > LEARN_MESSAGE_MAX || r->sent >= r->o->limit) {
		r->passed++;
		return 0;
	}
	const struct ipc_learn_MAIL m = { .class = r->d->as };
	r->sent++;
	return ipc_send_fd(r->chan, &ipc_learn, IPC_learn_MAIL, &m, 1, fd, e);
}

/* The messages right in it. fd is taken. */
static int read_flat(struct reading *r, int fd, struct err *e)
{
	DIR *d = fdopendir(fd);
	int k = 0;
	if (d == NULL) {
		close(fd);
		return err_set(e, ERR_TEMP, errno, "cannot be read");
	}
	for (struct dirent *f; k == 0 && (f = readdir(d)) != NULL;)
		if (f->d_name[0] != '.' && (f->d_type == DT_REG || f->d_type == DT_UNKNOWN))
			k = send_file(r, dirfd(d), f->d_name, e);
	closedir(d);
	return k;
}

/* A maildir: what is in cur and new; else the files of the directory. */
static int read_tree(struct reading *r, int fd, struct err *e)
{
	static const char *const halves[] = { "cur", "new" };
	bool maildir = false;
	for (size_t i = 0; i < ARRAY_LEN(halves); i++) {
		int sub = openat(fd, halves[i], O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (sub < 0)
			continue;
		maildir = true;
		if (read_flat(r, sub, e) < 0) {
			close(fd);
			return -1;
		}
	}
	if (!maildir)
		return read_flat(r, fd, e);
	close(fd);
	return 0;
}

static void feed_one(const struct learn_options *o, const struct learn_dir *d, int chan)
{
	struct reading r = { .o = o, .d = d, .chan = chan };
	struct err e = { 0 };
	struct stat st;
	int fd = open(d->path, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC), k = -1, in = -1;
	if (fd < 0 || fstat(fd, &st) < 0)
		err_set(&e, ERR_TEMP, errno, "cannot be opened");
	else if (become_owner(&st, &e) == 0 && (in = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0)
		err_set(&e, ERR_TEMP, errno, "cannot be opened");
	if (in >= 0)
		k = read_tree(&r, in, &e);
	close_fd(&fd);
	const struct ipc_learn_DIR m = { .name = str_sub(str_c(d->path), 0, 1000), .sent = r.sent, .passed = r.passed, .trouble = k < 0 ? str_c(e.text) : (struct str){ 0 } };
	_exit(ipc_send_fd(chan, &ipc_learn, IPC_learn_DIR, &m, 1, -1, &e) < 0);
}

void learn_feed(const struct learn_options *o, int chan)
{
	(void)prctl(PR_SET_PDEATHSIG, SIGTERM);
	for (size_t i = 0; i < o->n_dirs; i++) {
		int status;
		const pid_t pid = fork();
		if (pid == 0)
			feed_one(o, &o->dirs[i], chan);
		if (pid < 0 || waitpid(pid, &status, 0) < 0 || status != 0)
			_exit(1);
	}
	_exit(0);
}
