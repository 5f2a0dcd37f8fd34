/* postern-run: starts the suite's daemons one after the other, restarts any that dies, ends them in reverse order. For machines without
 * systemd, for the demo and for tests. It reads signals, exit statuses and readiness datagrams of its own children, nothing else.
 *
 * Each daemon reports readiness the sd_notify way, to $run/notify; the next is started then, or when the wait is over. What daemons leave
 * behind (connections that may outlive a restart of their daemon) becomes our child, and is ended with the suite. */
#include <dirent.h>
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/num.h"
#include "conf/conf.h"
#include "log/log.h"
#include "os/os.h"

enum {
	READY_WAIT_MS = 10000,		/* for one daemon, before the next is started all the same */
	END_WAIT_MS = 6000,		/* between TERM and KILL, each daemon */
	REST_WAIT_MS = 3000,		/* the same for what they left */
	FAST_DEATH_MS = 5000,
	BACKOFF_FIRST_MS = 50, BACKOFF_MAX_MS = 5000,
	STOP_WAIT_MS = 60000,		/* postern-run --stop */
	POLL_MS = 10,
	EXIT_USAGE = 64, EXIT_CONF = 78, EXIT_EXEC = 127,
};

struct service {
	const char *name;
	bool wanted;
	pid_t pid;			/* 0: not running */
	bool ready;
	uint64_t started_ms, start_at_ms, backoff_ms;
};

/* In the order of starting: who is needed by others comes first. */
static struct service services[] = {
	{ .name = "log" }, { .name = "authd" }, { .name = "filterd" }, { .name = "queued" }, { .name = "smtpd" }, { .name = "imapd" }, { .name = "pop3d" },
};

static struct {
	const char *conf_file;
	struct conf *conf;
	bool foreground, verbose, no_sandbox;
	char dir[4096];			/* where the programs are */
	char notify_path[4096];
	int notify_fd;
	sigset_t watched;
	bool stopping;
} run = { .notify_fd = -1 };

static struct service *by_pid(pid_t pid)
{
	for (size_t i = 0; i < ARRAY_LEN(services); i++)
		if (services[i].pid == pid)
			return &services[i];
	return NULL;
}

/* --- starting --- */

static void exec_service(const struct service *s)
{
	char path[4200], notify[4200], flags[8], name[64];
	(void)snprintf(path, sizeof(path), "%s/%s", run.dir, s->name);
	(void)snprintf(notify, sizeof(notify), "NOTIFY_SOCKET=%s", run.notify_path);
	(void)snprintf(flags, sizeof(flags), "-f%s%s", run.verbose ? "v" : "", run.no_sandbox ? "n" : "");
	(void)snprintf(name, sizeof(name), "%s", s->name);
	char dash_c[] = "-c", conf[4200], env_path[] = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
	(void)snprintf(conf, sizeof(conf), "%s", run.conf_file);
	char *const argv[] = { name, flags, dash_c, conf, NULL };
	char *const env[] = { env_path, notify, NULL };
	(void)sigprocmask(SIG_UNBLOCK, &run.watched, NULL);
	(void)prctl(PR_SET_PDEATHSIG, SIGTERM);
	(void)execve(path, argv, env);
	log_error("%s: cannot be started, errno %d (%s)", path, errno, strerror(errno));
	_exit(EXIT_EXEC);
}

static void start(struct service *s)
{
	s->started_ms = clock_mono_ms();
	s->start_at_ms = 0;
	s->ready = false;
	const pid_t pid = fork();
	if (pid == 0)
		exec_service(s);
	if (pid < 0) {
		log_error("%s: fork failed, errno %d", s->name, errno);
		s->start_at_ms = s->started_ms + BACKOFF_MAX_MS;
		return;
	}
	s->pid = pid;
}

static void died(struct service *s, int status)
{
	const uint64_t now = clock_mono_ms();
	s->pid = 0;
	if (run.stopping)
		return;
	if (now - s->started_ms >= FAST_DEATH_MS)
		s->backoff_ms = 0;
	if (WIFSIGNALED(status))
		log_error("%s died of signal %d, restarting", s->name, WTERMSIG(status));
	else
		log_error("%s exited with status %d, restarting", s->name, WEXITSTATUS(status));
	s->start_at_ms = now + s->backoff_ms;
	s->backoff_ms = s->backoff_ms == 0 ? BACKOFF_FIRST_MS : s->backoff_ms * 2 < BACKOFF_MAX_MS ? s->backoff_ms * 2 : BACKOFF_MAX_MS;
}

static void reap(void)
{
	int status;
	pid_t pid;
	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		struct service *s = by_pid(pid);
		if (s)
			died(s, status);
	}
}

/* --- readiness --- */

static int open_notify(struct err *e)
{
	const int on = 1;
	(void)snprintf(run.notify_path, sizeof(run.notify_path), "%s/notify", run.conf->run_directory);
	(void)unlink(run.notify_path);	/* ours: the pid file is locked */
	run.notify_fd = sock_unix_listen(run.notify_path, SOCK_DGRAM, 0600, 0, 0, e);
	if (run.notify_fd >= 0 && setsockopt(run.notify_fd, SOL_SOCKET, SO_PASSCRED, &on, sizeof(on)) < 0)
		return err_set(e, ERR_TEMP, errno, "%s", run.notify_path);
	return run.notify_fd < 0 ? -1 : 0;
}

/* READY=1 of a daemon's main process. Everything else is ignored. */
static void read_notify(void)
{
	char text[512];
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(struct ucred))];
	} control;
	for (;;) {
		struct iovec iov = { text, sizeof(text) - 1 };
		struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control) };
		const ssize_t n = recvmsg(run.notify_fd, &m, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
		if (n < 0)
			return;
		text[n] = 0;
		const struct cmsghdr *c = CMSG_FIRSTHDR(&m);
		if (!c || c->cmsg_type != SCM_CREDENTIALS || !strstr(text, "READY=1"))
			continue;
		struct ucred cred;
		memcpy(&cred, CMSG_DATA(c), sizeof(cred));
		struct service *s = by_pid(cred.pid);
		if (s)
			s->ready = true;
	}
}

/* --- signals, one at a time; waits at most ms --- */

static void signal_all(int signo)
{
	for (size_t i = 0; i < ARRAY_LEN(services); i++)
		if (services[i].pid > 0)
			(void)kill(services[i].pid, signo);
}

static void wait_event(uint64_t ms)
{
	const struct timespec wait = { .tv_sec = (time_t)(ms / 1000), .tv_nsec = (long)(ms % 1000) * 1000000 };
	const int signo = sigtimedwait(&run.watched, NULL, &wait);
	if (signo == SIGTERM || signo == SIGINT)
		run.stopping = true;
	if (signo == SIGHUP)
		signal_all(SIGHUP);
	reap();
	read_notify();
}

static void start_in_order(void)
{
	for (size_t i = 0; i < ARRAY_LEN(services) && !run.stopping; i++) {
		struct service *s = &services[i];
		if (!s->wanted)
			continue;
		start(s);
		const uint64_t end = clock_mono_ms() + READY_WAIT_MS;
		while (!run.stopping && s->pid && !s->ready && clock_mono_ms() < end)
			wait_event(POLL_MS);
		if (!run.stopping && !s->ready)
			log_error("%s does not get ready", s->name);
		if (i == 0) {
			char path[4200];
			struct err e = { 0 };
			(void)snprintf(path, sizeof(path), "%s/log/sock", run.conf->run_directory);
			if (log_open(run.conf->syslog_name, "run", path, &e) < 0)
				log_warning("no log process: %s", e.text);
		}
	}
}

static void keep_running(void)
{
	while (!run.stopping) {
		const uint64_t now = clock_mono_ms();
		uint64_t wait = FAST_DEATH_MS;
		for (size_t i = 0; i < ARRAY_LEN(services); i++) {
			struct service *s = &services[i];
			if (!s->wanted || s->pid)
				continue;
			if (now >= s->start_at_ms)
				start(s);
			else if (s->start_at_ms - now < wait)
				wait = s->start_at_ms - now;
		}
		wait_event(wait);
	}
}

/* --- ending --- */

static void end_service(struct service *s)
{
	const uint64_t end = clock_mono_ms() + END_WAIT_MS;
	if (!s->pid)
		return;
	(void)kill(s->pid, SIGTERM);
	while (s->pid && clock_mono_ms() < end)
		wait_event(POLL_MS);
	if (!s->pid)
		return;
	log_warning("%s does not end: killed", s->name);
	(void)kill(s->pid, SIGKILL);
	while (s->pid)
		wait_event(POLL_MS);
}

/* Signal our remaining children: what daemons have left, now that none of them runs. Returns how many. */
static size_t signal_rest(int signo)
{
	char path[64];
	struct buf b;
	struct err e = { 0 };
	size_t n = 0;
	(void)snprintf(path, sizeof(path), "/proc/self/task/%d/children", (int)getpid());
	buf_init(&b, 1 << 20);
	struct str pid_text;
	if (file_read(path, 1 << 20, &b, &e) < 0)
		log_warning("%s", e.text);
	struct str rest = buf_view(&b);
	while (str_token(&rest, " \n", &pid_text)) {
		uint64_t pid;
		if (num_parse(pid_text, 2, INT32_MAX, &pid) == 0 && kill((pid_t)pid, signo) == 0)
			n++;
	}
	buf_fini(&b);
	return n;
}

static void end_rest(void)
{
	const uint64_t soft = clock_mono_ms() + REST_WAIT_MS, hard = soft + REST_WAIT_MS;
	size_t n = signal_rest(SIGTERM);
	while (n > 0 && clock_mono_ms() < hard) {
		wait_event(POLL_MS);
		n = signal_rest(clock_mono_ms() < soft ? 0 : SIGKILL);
	}
}

static void end_all(void)
{
	run.stopping = true;
	(void)sd_notify_send("STOPPING=1");
	for (size_t i = ARRAY_LEN(services); i-- > 0;)
		end_service(&services[i]);
	end_rest();
	(void)unlink(run.notify_path);
}

/* --- --stop and --reload --- */

static int send_to_running(const char *pidfile, int signo)
{
	struct err e = { 0 };
	pid_t pid, again;
	if (pidfile_holder(pidfile, &pid, &e) < 0) {
		(void)fprintf(stderr, "postern-run: %s\n", e.text);
		return 1;
	}
	/* The descriptor names the process even if its number were used again. */
	CLEANUP_FD int fd = (int)syscall(SYS_pidfd_open, pid, 0);
	if (fd < 0 || pidfile_holder(pidfile, &again, &e) < 0 || again != pid || syscall(SYS_pidfd_send_signal, fd, signo, NULL, 0) < 0) {
		(void)fprintf(stderr, "postern-run: process %d: %s\n", (int)pid, strerror(errno));
		return 1;
	}
	const uint64_t end = clock_mono_ms() + STOP_WAIT_MS;
	while (signo == SIGTERM && pidfile_holder(pidfile, &again, &e) == 0 && again == pid) {
		if (clock_mono_ms() > end) {
			(void)fprintf(stderr, "postern-run: process %d does not end\n", (int)pid);
			return 1;
		}
		(void)usleep(POLL_MS * 1000);
	}
	return 0;
}

/* --- start --- */

static int find_programs(struct err *e)
{
	const ssize_t n = readlink("/proc/self/exe", run.dir, sizeof(run.dir) - 1);
	if (n <= 0)
		return err_set(e, ERR_TEMP, errno, "/proc/self/exe");
	run.dir[n] = 0;
	char *slash = strrchr(run.dir, '/');
	if (slash)
		*slash = 0;
	return 0;
}

static int set_up(const char *pidfile, struct err *e)
{
	if (geteuid() != 0)
		return err_set(e, ERR_DENIED, 0, "must be started as root");
	if (find_programs(e) < 0 || dir_make(run.conf->run_directory, 0755, 0, 0, e) < 0)
		return -1;
	if (!run.foreground && proc_daemonize(e) < 0)
		return -1;
	if (pidfile_write(pidfile, e) < 0 || open_notify(e) < 0)
		return -1;
	(void)prctl(PR_SET_CHILD_SUBREAPER, 1);
	sigemptyset(&run.watched);
	static const int signals[] = { SIGTERM, SIGINT, SIGHUP, SIGCHLD };
	for (size_t i = 0; i < ARRAY_LEN(signals); i++)
		sigaddset(&run.watched, signals[i]);
	(void)sigprocmask(SIG_BLOCK, &run.watched, NULL);
	for (size_t i = 0; i < ARRAY_LEN(services); i++)
		services[i].wanted = strcmp(services[i].name, "filterd") != 0 || run.conf->filter_enable;
	return 0;
}

static int usage(FILE *to, int status)
{
	(void)fprintf(to, "usage: postern-run [-fvn] [-c FILE]        start the suite and keep it running (-n, --no-sandbox: for development)\n"
			  "       postern-run --stop [-c FILE]        end it, and wait for that\n"
			  "       postern-run --reload [-c FILE]      let it read its configuration again\n");
	return status;
}

int main(int argc, char **argv)
{
	static const struct option longs[] = {
		{ "stop", no_argument, NULL, 's' }, { "reload", no_argument, NULL, 'r' },      { "help", no_argument, NULL, 'h' },
		{ "version", no_argument, NULL, 'V' }, { "no-sandbox", no_argument, NULL, 'n' }, { NULL, 0, NULL, 0 },
	};
	int send = 0;
	struct err e = { 0 };
	char pidfile[4200];
	proc_init(argc, argv);
	run.conf_file = conf_default_file();
	for (int o; (o = getopt_long(argc, argv, "c:fvn", longs, NULL)) != -1;) {
		switch (o) {
		case 'c':
			run.conf_file = optarg;
			break;
		case 'f':
			run.foreground = true;
			break;
		case 'v':
			run.verbose = true;
			break;
		case 'n':
			run.no_sandbox = true;
			break;
		case 's':
			send = SIGTERM;
			break;
		case 'r':
			send = SIGHUP;
			break;
		case 'V':
			(void)printf("postern-run (Postern) %s\n", POSTERN_VERSION);
			return 0;
		default:
			return usage(o == 'h' ? stdout : stderr, o == 'h' ? 0 : EXIT_USAGE);
		}
	}
	if (conf_load_told("postern-run", run.conf_file, false, &run.conf) < 0)
		return EXIT_CONF;
	run.conf_file = run.conf->conf_file;
	(void)snprintf(pidfile, sizeof(pidfile), "%s/postern.pid", run.conf->run_directory);
	if (send)
		return send_to_running(pidfile, send);
	if (set_up(pidfile, &e) < 0) {
		(void)fprintf(stderr, "postern-run: %s\n", e.text);
		return EXIT_CONF;
	}
	proc_title("postern-run", "postern-run: supervisor");
	start_in_order();
	proc_ready();
	keep_running();
	end_all();
	return 0;
}
