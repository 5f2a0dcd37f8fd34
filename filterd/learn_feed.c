/* The feeder of postern-learn (learn.h). Each directory is read by a process that has become its owner before it opens anything below it, so a link or a name that
 * a user planted leads nowhere the user could not go. Directories of root's are read as root, and hold what root put there. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/openat2.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "ipc/learn.h"
#include "learn.h"
#include "os/os.h"

enum { LOOK_MS = 1000 };	/* whether a child was stopped */

struct reading {
	const struct learn_options *o;
	const struct learn_dir *d;
	int chan;
	size_t sent, passed;
	uint64_t bytes;
};

int learn_become(uid_t uid, gid_t gid, struct err *e)
{
	if (geteuid() != 0 || uid == 0)
		return 0;
	if (setgroups(0, NULL) < 0 || setresgid(gid, gid, gid) < 0 || setresuid(uid, uid, uid) < 0)
		return err_set(e, ERR_TEMP, errno, "cannot become the owner");
	return setuid(0) == 0 || seteuid(0) == 0 ? err_set(e, ERR_BUG, 0, "root could be had again") : 0;
}

void learn_time(unsigned seconds)
{
	const struct itimerval t = { .it_value = { .tv_sec = (time_t)seconds } };
	(void)setitimer(ITIMER_REAL, &t, NULL);
}

/* Whose process it is by now may stop it, or have it wait for a file system of his own, where not even SIGKILL ends it. In its unit root may send it nothing
 * (CAP_KILL): it is left behind, and ends with the unit. What it may still send the learner has room for. */
int learn_child_wait(pid_t pid, unsigned seconds)
{
	const uint64_t end = clock_mono_ms() + (uint64_t)seconds * 1000;
	CLEANUP_FD int fd = (int)syscall(SYS_pidfd_open, pid, 0);
	int status = 0;
	for (struct pollfd w = { .fd = fd, .events = POLLIN }; fd >= 0 && clock_mono_ms() < end; (void)poll(&w, 1, LOOK_MS)) {
		const pid_t told = waitpid(pid, &status, WNOHANG | WUNTRACED);
		if (told == pid && !WIFSTOPPED(status))
			return status == 0 ? 0 : -1;
		if (told != 0)
			break;
	}
	(void)kill(pid, SIGKILL);
	return -1;
}

/* A copy in memory: whoever can mount a file system of his own can make a read of a file there last for ever, and that must be his own process, not the learner, who
 * works for all. */
static int copy_of(int fd, uint64_t *bytes)
{
	static char part[65536];
	struct err e = { 0 };
	size_t all = 0;
	ssize_t n = -1;
	int out = memfd_create("mail", MFD_CLOEXEC);
	while (out >= 0 && (n = read(fd, part, sizeof(part))) > 0) {
		all += (size_t)n;
		if (all > LEARN_MESSAGE_MAX || write_all(out, part, (size_t)n, &e) < 0)
			break;
	}
	if (out >= 0 && n != 0)
		close_fd(&out);
	*bytes += all;
	return out;
}

/* The learner may be loading its rules, or at a long message: it is waited for as long as it is there. */
static int send_copy(int chan, enum bayes_class as, int copy, struct err *e)
{
	const struct ipc_learn_MAIL m = { .class = as };
	const struct itimerval stand = { 0 };
	struct itimerval left;
	struct pollfd w = { .fd = chan, .events = POLLOUT };
	(void)setitimer(ITIMER_REAL, &stand, &left);
	while (poll(&w, 1, -1) < 0 && errno == EINTR)
		continue;
	const int k = ipc_send_fd(chan, &ipc_learn, IPC_learn_MAIL, &m, 1, copy, e);
	(void)setitimer(ITIMER_REAL, &left, NULL);
	return k;
}

int learn_send(int chan, int dir, const char *name, enum bayes_class as, uint64_t *bytes, struct err *e)
{
	struct stat st;
	CLEANUP_FD int fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_size == 0 || st.st_size > LEARN_MESSAGE_MAX)
		return 1;
	CLEANUP_FD int copy = copy_of(fd, bytes);
	return copy < 0 ? 1 : send_copy(chan, as, copy, e);
}

static int send_file(struct reading *r, int dir, const char *name, struct err *e)
{
	const int k = r->sent >= r->o->limit ? 1 : learn_send(r->chan, dir, name, r->d->as, &r->bytes, e);
	if (k >= 0)
		++*(k == 0 ? &r->sent : &r->passed);
	return k < 0 ? -1 : 0;
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

/* Root follows no link on the way there: somebody may own a directory above, and lead it to another's mail. */
static int dir_open(const struct learn_dir *d, struct err *e)
{
	const struct open_how how = { .flags = O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, .resolve = geteuid() == 0 ? RESOLVE_NO_SYMLINKS : 0 };
	const int fd = (int)syscall(SYS_openat2, AT_FDCWD, d->path, &how, sizeof(how));
	if (fd < 0 && errno == ELOOP)
		return err_set(e, ERR_CONF, 0, "a part of the path is a link, which is not followed: give the path without links");
	return fd < 0 ? err_set(e, ERR_TEMP, errno, "cannot be opened") : fd;
}

static void say_dir(const struct reading *r, struct str trouble)
{
	struct err e = { 0 };
	const struct ipc_learn_DIR m = { .name = str_sub(str_c(r->d->path), 0, 1000), .sent = r->sent, .passed = r->passed, .trouble = trouble };
	if (ipc_send_fd(r->chan, &ipc_learn, IPC_learn_DIR, &m, 1, -1, &e) < 0)
		_exit(1);
}

static void feed_one(const struct learn_options *o, const struct learn_dir *d, int chan)
{
	struct reading r = { .o = o, .d = d, .chan = chan };
	struct err e = { 0 };
	struct stat st;
	int fd = -1, k = -1, in = -1;
	learn_time(LEARN_DIR_SECONDS);
	if (learn_become(d->uid, d->gid, &e) < 0 || (fd = dir_open(d, &e)) < 0)
		;
	else if (fstat(fd, &st) < 0)
		err_set(&e, ERR_TEMP, errno, "cannot be opened");
	else if (learn_become(st.st_uid, st.st_gid, &e) == 0 && (in = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0)
		err_set(&e, ERR_TEMP, errno, "cannot be opened");
	if (in >= 0)
		k = read_tree(&r, in, &e);
	close_fd(&fd);
	say_dir(&r, k < 0 ? str_c(e.text) : (struct str){ 0 });
	_exit(0);
}

/* One that is cut short costs the others nothing. */
static void feed_dir(const struct learn_options *o, const struct learn_dir *d, int chan)
{
	const struct reading none = { .d = d, .chan = chan };
	const pid_t pid = fork();
	if (pid == 0)
		feed_one(o, d, chan);
	if (pid < 0 || learn_child_wait(pid, LEARN_DIR_PATIENCE) < 0)
		say_dir(&none, STR("its reader was ended, stopped, or took too long: not all of it was learned"));
}

static int say_fed(int chan, struct err *e)
{
	const struct ipc_learn_FED m = { 0 };
	return ipc_send_fd(chan, &ipc_learn, IPC_learn_FED, &m, 1, -1, e);
}

/* The learner has all of it in its file, or will never have. */
static int wait_learned(int chan, struct err *e)
{
	struct arena *a = arena_new(0);
	uint16_t type = 0;
	uint32_t id;
	void *msg;
	int fd = -1;
	int k = say_fed(chan, e);
	if (k == 0 && (k = ipc_recv_fd(chan, &ipc_learn, -1, a, &type, &id, &msg, &fd, e)) == 0 && type != IPC_learn_LEARNED)
		k = err_set(e, ERR_BUG, 0, "the learner talks nonsense");
	close_fd(&fd);
	arena_free(&a);
	return k;
}

void learn_feed(const struct learn_options *o, const struct conf *conf, int chan)
{
	struct learn_queue *q = NULL;
	struct err e = { 0 };
	size_t n = 0;
	int k = 0;
	(void)prctl(PR_SET_PDEATHSIG, SIGTERM);
	for (size_t i = 0; i < o->n_dirs; i++)
		feed_dir(o, &o->dirs[i], chan);
	if (o->queued)
		k = learn_queue_feed(conf, chan, &q, &n, &e);
	if (k == 0 && o->n_dirs == 0 && n == 0)
		_exit(0);	/* without a word: there is nothing to learn */
	if (k == 0)
		k = wait_learned(chan, &e);
	if (k == 0 && q != NULL)
		k = learn_queue_done(&q, &e);
	if (k == 0)
		k = say_fed(chan, &e);
	if (k < 0)
		fprintf(stderr, "postern-learn: %s\n", e.text);
	_exit(k < 0);
}
