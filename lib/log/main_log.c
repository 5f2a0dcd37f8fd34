/* log: the suite's log writer. The root parent keeps the datagram socket and opens the log file (or the way to syslog); the worker gets
 * both as descriptors and runs as user_log without any file access. SIGHUP replaces the worker, which is how a rotated file is
 * re-opened; nothing is lost meanwhile, since the socket stays. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/num.h"
#include "conf/conf.h"
#include "conf/daemon.h"
#include "io/loop.h"
#include "log/count.h"
#include "log/frame.h"
#include "log/log.h"
#include "log/log_priv.h"
#include "log/main_metrics.h"
#include "os/confine.h"
#include "os/os.h"

enum {
	EXIT_CONFIG = 78,
	QUEUE_LENGTH = 4096, /* datagrams the kernel keeps for us */
	ENOUGH_LENGTH = 1000, /* for what comes while we let lines gather */
	RECEIVE_BYTES = 8 << 20,
	ROUND_DATAGRAMS = 512, /* between two writes */
	OUT_BYTES = 4 << 20,
	SYSLOG_MAIL = 2 << 3, /* facility */
	SYSLOG_RETRY_S = 5,
	RATE_MS = 100, BUSY_LINES = 50,	/* so many in that time are many */
	GATHER_MS = 8, /* well below FULL_WAIT_MS of log.c: who finds no room has some before it gives up */
};

static struct {
	struct conf *conf;
	struct daemon_options options;
	int sock, out; /* out: the file, or a socket to syslog; -1 none */
	bool syslog;
	struct frame_user users[16];
	size_t n_users;
	char host[256];
	struct counters *counters; /* NULL: nothing is counted */
	struct gauges *gauges;	   /* NULL: as much as that */
	struct metrics_listener listeners[METRICS_LISTENERS_MAX];
	size_t n_listeners;
	bool long_queue; /* the kernel keeps what comes in GATHER_MS */
} g = { .sock = -1, .out = -1 };

/* --- the worker --- */

struct worker {
	struct loop *loop;
	struct frame *frame;
	struct buf out;
	unsigned long lost;
	uint64_t syslog_down_s; /* since when; 0: it works */
	bool torn;		/* the last write ended inside a line */
	uint64_t rate_since_ms, rate_lines;
	bool busy;		/* many lines come */
};

static const int syslog_severity[] = { 3, 4, 6, 7 };

/* One line to syslog(3)'s socket: it adds no frame of its own to a complete one. */
static void to_syslog(struct worker *w, struct str line, int level)
{
	char text[LOG_DATAGRAM_MAX + 256];
	/* Its own form has no host name. */
	const ptrdiff_t host = line.n > 16 ? str_chr(str_from(line, 16), ' ') : -1;

	if (host < 0)
		return;
	const int n = snprintf(text, sizeof(text), "<%d>%.16s%.*s",
			       SYSLOG_MAIL | syslog_severity[level & 3], line.p,
			       (int)(line.n - 17 - (size_t)host), line.p + 17 + host);

	if (n > 0 && g.out >= 0 &&
	    send(g.out, text, (size_t)n < sizeof(text) ? (size_t)n : sizeof(text) - 1,
		 MSG_NOSIGNAL) >= 0) {
		w->syslog_down_s = 0;
		return;
	}
	w->lost++;
	if (!w->syslog_down_s)
		w->syslog_down_s = clock_mono_ms() / 1000 + 1;
}

static void to_file(struct worker *w)
{
	const char *p = w->out.p;
	size_t n = w->out.n;

	if (w->torn && n && write(g.out, "\n", 1) == 1)
		w->torn = false;
	while (n && !w->torn) {
		const ssize_t k = write(g.out, p, n);

		if (k < 0 && errno == EINTR)
			continue;
		if (k <= 0)
			break;
		p += k;
		n -= (size_t)k;
	}
	for (size_t i = 0; i < n; i++)
		w->lost += p[i] == '\n';
	if (n && p > w->out.p && p[-1] != '\n')
		w->torn = true;
}

static void flush(struct worker *w, int level)
{
	if (w->out.n == 0)
		return;
	if (g.syslog) {
		struct str rest = buf_view(&w->out);

		while (rest.n)
			to_syslog(w, str_split(&rest, '\n'), level);
	} else if (g.out >= 0) {
		to_file(w);
	}
	if (g.options.verbose)
		(void)!write(2, w->out.p, w->out.n);
	buf_reset(&w->out);
}

static void put_lost(struct worker *w)
{
	char text[64];
	const unsigned long lost = w->lost;

	if (lost == 0 || w->out.n)
		return;
	(void)snprintf(text, sizeof(text), "warning: %lu lines could not be written", lost);
	w->lost = 0;
	frame_own(w->frame, log_ident("log"), text, clock_wall(), &w->out);
	flush(w, LOG_LV_WARNING);
	if (w->lost)
		w->lost = lost; /* still no room: that line does not count */
}

/* Lines of one datagram. */
static int take(struct worker *w, struct str lines, const struct ucred *from, int *level)
{
	const int64_t now = clock_wall();
	const uint64_t second = clock_mono_ms() / 1000;
	int n = 0;

	for (; lines.n > 0; n++)
		frame_line(w->frame, str_split(&lines, '\n'), (struct frame_sender){ from->pid, from->uid }, now, second, &w->out, level);
	return n;
}

/* One datagram: how many lines it had; -1: none is there. */
static int receive(struct worker *w, int *level)
{
	static char packet[LOG_DATAGRAM_MAX + 64];
	union {
		char bytes[CMSG_SPACE(sizeof(struct ucred)) + CMSG_SPACE(sizeof(int) * 4)];
		struct cmsghdr align;
	} space;
	struct iovec iov = { packet, sizeof(packet) };
	struct msghdr mh = { .msg_iov = &iov,
			     .msg_iovlen = 1,
			     .msg_control = space.bytes,
			     .msg_controllen = sizeof(space.bytes) };
	struct ucred cred = { .pid = 0 };
	const ssize_t n = recvmsg(g.sock, &mh, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);

	if (n < 0)
		return errno == EINTR ? 0 : -1;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&mh); c; c = CMSG_NXTHDR(&mh, c)) {
		if (c->cmsg_level != SOL_SOCKET)
			continue;
		if (c->cmsg_type == SCM_CREDENTIALS && c->cmsg_len >= CMSG_LEN(sizeof(cred)))
			memcpy(&cred, CMSG_DATA(c), sizeof(cred));
		/* Nobody has a reason to send one. */
		for (size_t off = CMSG_LEN(0);
		     c->cmsg_type == SCM_RIGHTS && off + sizeof(int) <= c->cmsg_len;
		     off += sizeof(int)) {
			int fd;

			memcpy(&fd, (const char *)c + off, sizeof(int));
			close(fd);
		}
	}
	return cred.pid > 0 ? take(w, str_n(packet, (size_t)n), &cred, level) : 0;
}

/* How many lines there were, in at most max datagrams. */
static unsigned drain(struct worker *w, unsigned max)
{
	int level = LOG_LV_INFO, k;
	unsigned lines = 0;

	for (unsigned n = 0; n < max && (k = receive(w, &level)) >= 0; n++) {
		lines += (unsigned)k;
		if (g.syslog || w->out.n > OUT_BYTES / 2)
			flush(w, level);
	}
	flush(w, level);
	put_lost(w);
	return lines;
}

/* While many lines come, let some gather: waking us costs their senders more than the line does, and us more than to read it. Whoever says
 * little is written at once. */
static void gather(struct worker *w, unsigned lines)
{
	static const struct timespec pause = { .tv_nsec = GATHER_MS * 1000000L };
	const uint64_t now = clock_mono_ms(), passed = now - w->rate_since_ms;

	w->rate_lines += lines;
	if (passed >= RATE_MS) {
		w->busy = w->rate_lines * RATE_MS / passed >= BUSY_LINES;
		w->rate_since_ms = now;
		w->rate_lines = 0;
	}
	if (w->busy && g.long_queue)
		(void)nanosleep(&pause, NULL);
}

static void on_readable(void *ctx, unsigned events)
{
	gather(ctx, drain(ctx, ROUND_DATAGRAMS));
}

static struct timer *tick_timer;
static void on_tick(void *ctx)
{
	struct worker *w = ctx;
	const uint64_t now = clock_mono_ms() / 1000;

	frame_tick(w->frame, clock_wall(), now, &w->out);
	if (g.counters)
		counters_tick(g.counters, clock_wall());
	flush(w, LOG_LV_WARNING);
	put_lost(w);
	/* syslogd came back with a new socket: only the parent can connect to it. */
	if (w->syslog_down_s && now > w->syslog_down_s + SYSLOG_RETRY_S)
		loop_stop(w->loop);
	timer_again(tick_timer, 1000);
}

static void on_signal(void *ctx, int signo)
{
	loop_stop(((struct worker *)ctx)->loop);
}

static void child_confine(enum confine_role role)
{
	char root[PATH_MAX];
	struct confine c = { .role = role,
			     .user = g.conf->user_log,
			     .root = root,
			     .unconfined = g.options.unconfined };
	struct err e = { 0 };

	(void)snprintf(root, sizeof(root), "%s/empty", g.conf->run_directory);
	if (geteuid() != 0)
		return;
	if (confine_enter(&c, &e) < 0) {
		dprintf(2, "log: %s\n", e.text);
		_exit(EXIT_CONFIG);
	}
}

static void worker_run(void *ctx)
{
	struct worker w = { 0 };
	char text[128];

	proc_title("log", "log: worker");
	tzset();
	w.loop = loop_new();
	w.frame = frame_new(g.host, g.users, g.n_users);
	frame_count(w.frame, g.counters);
	buf_init(&w.out, OUT_BYTES);
	loop_signal(w.loop, SIGTERM, on_signal, &w);
	loop_signal(w.loop, SIGHUP, on_signal, &w);
	child_confine(CONFINE_LOG);
	loop_watch(w.loop, g.sock, LOOP_READ, on_readable, &w);
	tick_timer = loop_timer(w.loop, 1000, on_tick, &w);
	(void)snprintf(text, sizeof(text), "writing to %s",
		       g.syslog ? "syslog" : g.conf->maillog_file);
	frame_own(w.frame, log_ident("log"), text, clock_wall(), &w.out);
	loop_run(w.loop);
	(void)drain(&w, QUEUE_LENGTH);
	_exit(0);
}

/* --- the metrics process --- */

static void metrics_run(void *ctx)
{
	proc_title("log", "log: metrics");
	close_fd(&g.sock);
	child_confine(CONFINE_METRICS);
	metrics_serve(g.counters, g.gauges, g.listeners, g.n_listeners);
	_exit(0);
}

/* --- the parent --- */

static int open_file(const char *path, struct err *e)
{
	struct stat st;

	if (strcmp(path, "/dev/stdout") == 0)
		return fcntl(1, F_DUPFD_CLOEXEC, 3);
	const int fd =
		open(path, O_WRONLY | O_APPEND | O_CREAT | O_NOFOLLOW | O_NOCTTY | O_CLOEXEC, 0640);

	if (fd < 0)
		return err_set(e, ERR_CONF, errno, "%s", path);
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
		close(fd);
		return err_set(e, ERR_CONF, 0, "%s: not a regular file", path);
	}
	return fd;
}

static int open_syslog(struct err *e)
{
	const struct sockaddr_un to = { .sun_family = AF_UNIX, .sun_path = "/dev/log" };
	const int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return err_set(e, ERR_TEMP, errno, "socket");
	if (connect(fd, (const struct sockaddr *)&to, sizeof(to)) < 0) {
		err_set(e, ERR_TEMP, errno, "%s", to.sun_path);
		close(fd);
		return -1;
	}
	return fd;
}

static int open_output(struct err *e)
{
	close_fd(&g.out);
	g.syslog = g.conf->maillog_file[0] == 0;
	g.out = g.syslog ? open_syslog(e) : open_file(g.conf->maillog_file, e);
	return g.out < 0 ? -1 : 0;
}

/* Before each start of the worker. Without a way out the worker runs all the same: it counts what is lost, and says so later. */
static void before_start(void *ctx)
{
	struct err e = { 0 };

	if (open_output(&e) < 0)
		dprintf(2, "log: %s: lines are lost until it works (SIGHUP tries again)\n", e.text);
}

static void after_start(void *ctx)
{
	close_fd(&g.out);
}

static void add_user(const char *name, bool bulk)
{
	struct err e = { 0 };
	uid_t uid;
	gid_t gid;

	if (g.n_users == ARRAY_LEN(g.users))
		return;
	if (confine_user(name, &uid, &gid, &e) < 0) {
		dprintf(2, "log: warning: %s\n", e.text);
		return;
	}
	g.users[g.n_users++] = (struct frame_user){ uid, bulk };
}

static void add_users(void)
{
	const struct conf *c = g.conf;
	const bool shared = str_eq(str_c(c->front_mode), STR("shared"));

	g.users[g.n_users++] = (struct frame_user){ 0, true };
	if (geteuid() != 0) {
		g.users[g.n_users++] = (struct frame_user){ geteuid(), true };
		return;
	}
	add_user(c->user_queue, true);
	add_user(c->user_remote, true);
	add_user(c->user_filter, true);
	add_user(c->user_smtp, shared);
	add_user(c->user_imap, shared);
	add_user(c->user_pop3, shared);
	add_user(c->user_sasl, false);
	add_user(c->user_pam, false);
	add_user(c->user_key, false);
	add_user(c->user_map, false);
	add_user(c->user_mda, false);
	add_user(c->user_dns, false);
	add_user(c->user_policy, false);
	add_user(c->user_milter, false);
	add_user(c->user_spamd, false);
	add_user(c->user_sts, false);
	add_user(c->user_log, false);
}

/* The kernel's limit on waiting datagrams (10 on a plain system) is read when a socket is made. */
static void with_long_queue(bool on)
{
	static const char path[] = "/proc/sys/net/unix/max_dgram_qlen";
	static char before[16];
	char text[16] = "";
	uint64_t v;
	const int fd = open(path, O_RDWR | O_CLOEXEC);

	if (fd < 0)
		return;
	if (on && read(fd, before, sizeof(before) - 1) > 0 &&
	    num_parse(str_trim(str_c(before)), 0, UINT32_MAX, &v) == 0 && v < QUEUE_LENGTH)
		(void)snprintf(text, sizeof(text), "%d", QUEUE_LENGTH);
	else if (on)
		before[0] = 0;
	else
		(void)memcpy(text, before, sizeof(text));
	if (text[0])
		(void)!pwrite(fd, text, strlen(text), 0);
	if (on)
		g.long_queue = pread(fd, text, sizeof(text) - 1, 0) > 0 && num_parse(str_trim(str_c(text)), ENOUGH_LENGTH, UINT32_MAX, &v) == 0;
	close(fd);
}

static int open_socket(struct err *e)
{
	const int on = 1, bytes = RECEIVE_BYTES;
	char path[PATH_MAX];

	if (dir_make(g.conf->run_directory, 0755, (uid_t)-1, (gid_t)-1, e) < 0)
		return -1;
	(void)snprintf(path, sizeof(path), "%s/empty", g.conf->run_directory);
	if (dir_make(path, 0555, (uid_t)-1, (gid_t)-1, e) < 0)
		return -1;
	(void)snprintf(path, sizeof(path), "%s/log", g.conf->run_directory);
	if (dir_make(path, 0755, (uid_t)-1, (gid_t)-1, e) < 0)
		return -1;
	(void)snprintf(path, sizeof(path), "%s/log/sock", g.conf->run_directory);
	with_long_queue(true);
	g.sock = sock_unix_listen(path, SOCK_DGRAM, 0666, (uid_t)-1, (gid_t)-1, e);
	with_long_queue(false);
	if (g.sock < 0)
		return -1;
	if (setsockopt(g.sock, SOL_SOCKET, SO_PASSCRED, &on, sizeof(on)) < 0)
		return err_set(e, ERR_TEMP, errno, "SO_PASSCRED");
	if (setsockopt(g.sock, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof(bytes)) < 0)
		(void)setsockopt(g.sock, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes));
	return 0;
}

/* Counting is a help, not a duty: without it lines are written all the same. */
static void open_counters(void)
{
	struct err e = { 0 };

	if (counters_open(g.conf->run_directory, true, &g.counters, &e) < 0)
		dprintf(2, "log: warning: %s: events are not counted\n", e.text);
	err_clear(&e);
	if (gauges_open(g.conf->run_directory, true, &g.gauges, &e) < 0)
		dprintf(2, "log: warning: %s: the queue's size is not shown\n", e.text);
}

static int run(void)
{
	struct super_child children[] = {
		{ .name = "worker", .run = worker_run, .with_group = true },
		{ .name = "metrics", .run = metrics_run },
	};
	struct super s = {
		.children = children, .n = 1, .before_start = before_start, .after_start = after_start
	};
	struct err e = { 0 };
	char pidfile[PATH_MAX];

	if (gethostname(g.host, sizeof(g.host) - 1) < 0)
		g.host[0] = 0;
	if (log_open(g.conf->syslog_name, "log", NULL, &e) < 0 || open_socket(&e) < 0 ||
	    open_output(&e) < 0)
		goto fail;
	close_fd(&g.out);
	add_users();
	open_counters();
	if (g.counters && metrics_listen(g.conf, g.options.separate, g.listeners, &g.n_listeners, &e) < 0)
		goto fail;
	s.n += g.n_listeners > 0;
	(void)snprintf(pidfile, sizeof(pidfile), "%s/log.pid", g.conf->run_directory);
	if (!g.options.foreground && proc_daemonize(&e) < 0)
		goto fail;
	if (pidfile_write(pidfile, &e) < 0) /* after the fork: the lock belongs to one process */
		goto fail;
	proc_title("log", "log: parent");
	proc_ready();
	if (super_run(&s, &e) < 0)
		goto fail;
	return 0;
fail:
	dprintf(2, "log: %s\n", e.text);
	return EXIT_CONFIG;
}

int main(int argc, char **argv)
{
	static const struct daemon_usage usage = { .program = "log", .separate = "the service manager has bound metrics_listeners: bind none" };

	proc_init(argc, argv);
	const int done = daemon_options_get(argc, argv, &usage, &g.options);
	if (done >= 0)
		return done;
	if (conf_load_told("log", g.options.conf_file, true, &g.conf) < 0)
		return EXIT_CONFIG;
	if (g.options.test)
		return 0;
	return run();
}
