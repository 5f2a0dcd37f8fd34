/* What every process of the suite does first (sane descriptors, signals, environment), its title, readiness, pid file, and going to the
 * background. The only user of getenv: socket activation and readiness come by environment variables, and proc_init clears the rest. */
#include "os/os.h"

#include <errno.h>
#ifdef __SANITIZE_ADDRESS__
#include <dlfcn.h>
#endif
#include <fcntl.h>
#include <malloc.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/format.h"
#include "base/num.h"
#include "os/os_priv.h"

enum { PASSED_FDS_MAX = 64, NOFILE_WANTED = 65536 };

extern char **environ;

static struct {
	char *title;		/* where the kernel keeps our arguments and environment: room for the title */
	size_t title_size;
	struct proc_activation act;
	int daemon_fd, ready_fd;
	int notify_fd;		/* connected in time: later the process may have no names */
	int null_fd;		/* opened before confinement */
	int pid_fd;
	uint64_t watchdog_ms;
	bool ready;
} proc = { .daemon_fd = -1, .ready_fd = -1, .notify_fd = -1, .null_fd = -1, .pid_fd = -1 };

struct proc_activation *proc_activation(void)
{
	return &proc.act;
}

static void sane_fds(void)
{
	for (int fd = 0; fd < 3; fd++)
		if (fcntl(fd, F_GETFD) < 0 && errno == EBADF && open("/dev/null", O_RDWR | O_NOCTTY) != fd)
			_exit(71);
}

static void sane_signals(void)
{
	sigset_t none;
	for (int i = 1; i < NSIG; i++)
		if (i != SIGKILL && i != SIGSTOP)
			(void)signal(i, i == SIGPIPE || i == SIGXFSZ ? SIG_IGN : SIG_DFL);
	sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
}

/* Arguments and environment lie in one piece on the stack: that piece becomes the title's room, after all has been copied. */
static void claim_title(int argc, char **argv)
{
	char *end = argc > 0 ? argv[0] : NULL;
	for (int i = 0; i < argc; i++) {
		if (argv[i] == end)
			end += strlen(argv[i]) + 1;
	}
	for (char **v = environ; end && v && *v; v++)
		if (*v == end)
			end += strlen(*v) + 1;
	proc.title = argc > 0 ? argv[0] : NULL;
	proc.title_size = end ? (size_t)(end - argv[0]) : 0;
	for (int i = 0; i < argc; i++)
		argv[i] = xstrdup(argv[i]);
	if (argc > 0) {
		program_invocation_name = argv[0];
		const char *slash = strrchr(argv[0], '/');
		program_invocation_short_name = slash ? argv[0] + (slash - argv[0]) + 1 : argv[0];
	}
}

/* Connect to whoever wants to hear of our readiness (sd_notify(3)). */
static void notify_connect(const char *path)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	const size_t n = path ? strlen(path) : 0;
	if (n < 2 || (path[0] != '/' && path[0] != '@') || n >= sizeof(sa.sun_path))
		return;
	memcpy(sa.sun_path, path, n);
	if (path[0] == '@')
		sa.sun_path[0] = 0;
	proc.notify_fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	const socklen_t len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n);
	if (proc.notify_fd >= 0 && connect(proc.notify_fd, (const struct sockaddr *)&sa, len) < 0)
		close_fd(&proc.notify_fd);
}

static bool env_number(const char *name, uint64_t max, uint64_t *out)
{
	const char *v = getenv(name);
	return v && num_parse(str_c(v), 0, max, out) == 0;
}

static void keep_environment(void)
{
	static char *kept[3];
	uint64_t pid = 0, n = 0;
	uint64_t watchdog_us = 0, watchdog_pid = 0;
	const char *names = getenv("LISTEN_FDNAMES"), *notify = getenv("NOTIFY_SOCKET"), *tz = getenv("TZ");
	if (env_number("LISTEN_PID", INT32_MAX, &pid) && (pid_t)pid == getpid() && env_number("LISTEN_FDS", PASSED_FDS_MAX, &n))
		proc.act.n_fds = (size_t)n;
	proc.act.names = names ? xstrdup(names) : "";
	notify_connect(notify);
	if (env_number("WATCHDOG_USEC", UINT64_MAX, &watchdog_us) && (!env_number("WATCHDOG_PID", INT32_MAX, &watchdog_pid) || (pid_t)watchdog_pid == getpid()))
		proc.watchdog_ms = watchdog_us / 2000;
	size_t k = 0;
	kept[k++] = xstrdup("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
	if (tz && strlen(tz) < 64 && str_printable(str_c(tz)) && tz[0] != '/' && tz[0] != ':' && !strstr(tz, "..")) {
		kept[k] = xmalloc(strlen(tz) + 4);
		(void)snprintf(kept[k++], strlen(tz) + 4, "TZ=%s", tz);
	}
	kept[k] = NULL;
	environ = kept;
}

#ifdef __SANITIZE_ADDRESS__
/* Sanitizer builds: daemons have no stderr, so what the sanitizers say goes to a file of the whole-system tests, if there is one. They are told at
 * each report: they forget it when forked, and UBSan (gcc 12's has a library, and so a file, of its own) before its first. */
static void *report_fd;
static void (*ubsan_set_report_fd)(void *fd);
void __sanitizer_set_report_fd(void *fd);
void __asan_on_error(void);
void __ubsan_on_report(void);

void __asan_on_error(void)
{
	if (report_fd)
		__sanitizer_set_report_fd(report_fd);
}

void __ubsan_on_report(void)
{
	if (report_fd && ubsan_set_report_fd)
		ubsan_set_report_fd(report_fd);
}

static void sanitizer_report(void)
{
	void *lib = dlopen("libubsan.so.1", RTLD_LAZY | RTLD_NOLOAD), *set = lib ? dlsym(lib, "__sanitizer_set_report_fd") : NULL;
	const int fd = open("/mnt/sanitizer.log", O_WRONLY | O_APPEND | O_CLOEXEC | O_NOFOLLOW);
	memcpy(&ubsan_set_report_fd, &set, sizeof(set));
	report_fd = fd >= 0 ? (void *)(uintptr_t)fd : NULL;
}
#else
static void sanitizer_report(void)
{
}
#endif

void proc_init(int argc, char **argv)
{
	sane_fds();
	sanitizer_report();
	sane_signals();
	(void)umask(022);
	claim_title(argc, argv);
	keep_environment();
}

void proc_title(const char *comm, const char *fmt, ...)
{
	char text[256];
	va_list ap;
	va_start(ap, fmt);
	(void)text_vformat(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (comm)
		(void)prctl(PR_SET_NAME, comm);
	if (proc.title_size < 2)
		return;
	const size_t n = strnlen(text, proc.title_size - 1);
	memcpy(proc.title, text, n);
	memset(proc.title + n, 0, proc.title_size - n);
}

void proc_nofile_raise(void)
{
	struct rlimit r;
	if (getrlimit(RLIMIT_NOFILE, &r) < 0)
		return;
	r.rlim_cur = r.rlim_max < NOFILE_WANTED ? r.rlim_max : NOFILE_WANTED;
	(void)setrlimit(RLIMIT_NOFILE, &r);
}

void proc_keep_memory(size_t bytes)
{
	(void)mallopt(M_MMAP_THRESHOLD, (int)(bytes / 16));
	(void)mallopt(M_TRIM_THRESHOLD, (int)bytes);
}

void proc_give_memory(void)
{
	(void)malloc_trim(0);
}

/* --- readiness --- */

int sd_notify_send(const char *state)
{
	if (proc.notify_fd < 0)
		return 0;
	return send(proc.notify_fd, state, strlen(state), MSG_NOSIGNAL) < 0 ? -1 : 0;
}

uint64_t proc_watchdog_ms(void)
{
	return proc.notify_fd < 0 ? 0 : proc.watchdog_ms;
}

void proc_ready_fd(int fd)
{
	proc.ready_fd = fd;
	if (fd >= 0)
		(void)fcntl(fd, F_SETFD, FD_CLOEXEC);
}

static void tell_ready(int *fd)
{
	if (*fd >= 0 && write(*fd, "\n", 1) < 0)
		errno = 0;	/* nobody waits any more: no harm */
	close_fd(fd);
}

void proc_ready(void)
{
	if (proc.ready)
		return;
	proc.ready = true;
	(void)sd_notify_send("READY=1");
	tell_ready(&proc.ready_fd);
	if (proc.daemon_fd < 0)
		return;
	/* From here on nobody reads what we might print. */
	for (int fd = 0; proc.null_fd >= 0 && fd < 3; fd++)
		(void)dup2(proc.null_fd, fd);
	close_fd(&proc.null_fd);
	tell_ready(&proc.daemon_fd);
}

/* In the process that the user started: wait until the daemon is ready or gone, and pass on what it and its children have to say until then. */
static void wait_ready(int ready, int said, pid_t pid)
{
	struct pollfd p[] = { { .fd = ready, .events = POLLIN }, { .fd = said, .events = POLLIN } };
	char text[4096], c;
	int status = 0;

	for (;;) {
		if (poll(p, 2, -1) < 0 && errno != EINTR)
			break;
		ssize_t n = p[1].revents ? read(said, text, sizeof(text)) : 0;
		if (n > 0)
			(void)!write(2, text, (size_t)n);
		else if (p[1].revents)
			p[1].fd = -1;
		if (p[0].revents && n <= 0) {
			if (read(ready, &c, 1) == 1)
				_exit(0);
			break;
		}
	}
	(void)waitpid(pid, &status, 0);
	_exit(WIFEXITED(status) && WEXITSTATUS(status) ? WEXITSTATUS(status) : 1);
}

/* The caller's descriptors are nobody's but the caller's: a daemon, or a child of one, that kept its output would keep a pipe open for ever. */
static int detach(int said)
{
	const int null = open("/dev/null", O_RDWR | O_NOCTTY | O_CLOEXEC);

	if (null < 0 || dup2(null, 0) < 0 || dup2(null, 1) < 0 || dup2(said, 2) < 0)
		return -1;
	proc.null_fd = null;
	return 0;
}

int proc_daemonize(struct err *e)
{
	int p[2], said[2];
	if (pipe2(p, O_CLOEXEC) < 0 || pipe2(said, O_CLOEXEC) < 0)
		return err_set(e, ERR_TEMP, errno, "pipe");
	const pid_t pid = fork();
	if (pid < 0)
		return err_set(e, ERR_TEMP, errno, "fork");
	if (pid > 0) {
		close_fd(&p[1]);
		close_fd(&said[1]);
		wait_ready(p[0], said[0], pid);
	}
	close_fd(&p[0]);
	close_fd(&said[0]);
	proc.daemon_fd = p[1];
	if (detach(said[1]) < 0)
		return err_set(e, ERR_TEMP, errno, "/dev/null");
	close_fd(&said[1]);
	(void)setsid();
	if (chdir("/") < 0)
		return err_set(e, ERR_TEMP, errno, "/");
	return 0;
}

int pidfile_holder(const char *path, pid_t *pid_out, struct err *e)
{
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	CLEANUP_FD int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY | O_NONBLOCK);
	if (fd < 0)
		return err_set(e, ERR_NOENT, errno, "%s", path);
	if (fcntl(fd, F_GETLK, &lock) < 0)
		return err_set(e, ERR_TEMP, errno, "%s: lock", path);
	if (lock.l_type == F_UNLCK || lock.l_pid <= 0)
		return err_set(e, ERR_NOENT, 0, "%s is not locked: it does not run", path);
	*pid_out = lock.l_pid;
	return 0;
}

/* A record lock belongs to this process alone: children that inherit the descriptor neither hold nor release it. */
int pidfile_write(const char *path, struct err *e)
{
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	char text[16];
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY | O_NONBLOCK, 0644);
	if (fd < 0)
		return err_set(e, ERR_TEMP, errno, "%s", path);
	struct stat st;
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
		close_fd(&fd);
		return err_set(e, ERR_DENIED, 0, "%s: not a regular file", path);
	}
	if (fcntl(fd, F_SETLK, &lock) < 0) {
		const int sys = errno;
		close_fd(&fd);
		if (sys == EACCES || sys == EAGAIN)
			return err_set(e, ERR_EXISTS, 0, "%s is locked: it runs already", path);
		return err_set(e, ERR_TEMP, sys, "%s: lock", path);
	}
	const int n = snprintf(text, sizeof(text), "%d\n", (int)getpid());
	if (ftruncate(fd, 0) < 0 || write_all(fd, text, (size_t)n, e) < 0) {
		close_fd(&fd);
		return err_set(e, ERR_TEMP, errno, "%s", path);
	}
	close_fd(&proc.pid_fd);
	proc.pid_fd = fd;
	return 0;
}
