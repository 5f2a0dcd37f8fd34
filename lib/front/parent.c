/* The root parent: accepts, counts, tells the daemons, hands over. It reads no byte of a client. It keeps one template that takes new
 * connections, makes the next one ready before it retires the old, and lets retired ones finish what they serve. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/format.h"
#include "base/list.h"
#include "front/front_priv.h"
#include "front/handover.h"
#include "log/log.h"
#include "os/confine.h"
#include "os/os.h"

enum {
	IN_FLIGHT_MAX = 32,		/* handed over, not yet started */
	STARTED_BATCHES = 4,		/* in how many messages a template tells that these have started */
	IN_FLIGHT_FDS = 8,		/* descriptors of one of these on their way; the kernel limits their sum by RLIMIT_NOFILE */
	FULL_PAUSE_MS = 100,		/* after descriptors ran out, or while a daemon does not keep up */
	RETRY_FIRST_MS = 100, RETRY_MAX_MS = 5000,	/* between templates that do not get ready */
	LOG_EVERY_MS = 1000,		/* refusals of the same kind are logged this often */
	FD_RESERVE = 16,		/* descriptors that a connection in the making, and what waits in channels, may need */
	STRESS_FROM = 8, STRESS_OF = 10,	/* of process_limit: from here on it is stress */
	EXIT_CONF = 78,
};

/* A process that serves: getting ready, in use, or retired. */
struct worker {
	struct list node;
	struct ipc_chan *chan;
	pid_t pid;
	bool ready, retired, isolated;
	uint64_t served, in_flight;	/* served: without those that a process served again */
};

static struct parent {
	struct front_run *run;
	struct loop *loop;
	struct front_listener listeners[LISTENERS_MAX];
	struct watch *watches[LISTENERS_MAX];
	size_t n_listeners;
	struct limits *limits;
	struct reg *reg;
	struct again *again;
	struct list workers;
	struct worker *now;		/* takes new connections; NULL: none is ready */
	struct worker *next;		/* getting ready; NULL: none */
	struct timer *retry, *pause;
	uint64_t retry_ms;
	bool paused, stopping;
	bool whole;			/* of the next template: after a reload the old one is better than one that lacks certificates */
	bool renewing;			/* the key worker may have another key than the template's certificate has: the next template is waited for */
	int spare_fd;			/* given up to be able to refuse when descriptors have run out */
	uint64_t in_flight_max;
	int fd_high;			/* a descriptor from here on says that they are about to run out */
	uint64_t refused_said_ms, refused, crowd_said_ms, rate_said_ms;
} p;

static void start_worker(void *ctx);

/* --- listening or not --- */

static bool may_accept(void)
{
	return p.now && !p.paused && !p.renewing && p.now->in_flight < p.in_flight_max && !reg_coming(p.reg);
}

static void update_watches(void)
{
	for (size_t i = 0; i < p.n_listeners; i++)
		watch_set(p.watches[i], may_accept() ? LOOP_READ : 0);
}

static void on_pause_over(void *ctx)
{
	p.paused = false;
	if (p.spare_fd < 0)
		p.spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	update_watches();
}

static void pause_accepting(void)
{
	p.paused = true;
	timer_again(p.pause, FULL_PAUSE_MS);
	update_watches();
}

/* --- refusing --- */

/* Time for another line of this kind? */
static bool may_say(uint64_t *said_ms, uint64_t now)
{
	if (*said_ms && now - *said_ms < LOG_EVERY_MS)
		return false;
	*said_ms = now;
	return true;
}

static void refuse(int fd, const char *profile, const char *client, const char *why)
{
	const uint64_t now = clock_mono_ms();
	front_busy(p.run, fd, profile, NULL);
	close(fd);
	p.refused++;
	if (!may_say(&p.refused_said_ms, now))
		return;
	if (p.refused > 1)
		log_warning("connection from %s refused: %s (%llu refused since the last such line)", client, why, (unsigned long long)p.refused);
	else
		log_warning("connection from %s refused: %s", client, why);
	p.refused = 0;
}

/* One client has too many: in the words that log parsers know. */
static void refuse_limited(int fd, const struct front_conn *fc, const char *what, uint64_t n, uint64_t *said_ms)
{
	front_busy(p.run, fd, fc->profile, p.run->service->limited_line);
	close(fd);
	if (may_say(said_ms, clock_mono_ms()))
		log_warning("%s limit exceeded: %llu from unknown[%s] for service %s", what, (unsigned long long)n, fc->client, fc->profile);
}

/* Is this client one too many, by the limits of its listener? Then it has been refused. A proxy speaks for many: its clients are counted by queued. */
static bool client_limited(int fd, const struct front_conn *fc, const uint8_t addr[16])
{
	const struct conf *own = conf_for(p.run->conf, str_c(fc->listener), false);
	struct front_client_limits l = { .at_once = own->client_connection_count_limit };
	uint64_t n;
	if (p.run->service->client_limits)
		p.run->service->client_limits(own, &l);
	if ((own->smtpd_upstream_proxy_protocol[0] && conf_networks_have(own->smtpd_upstream_proxy_hosts, addr)) || conf_networks_have(l.exceptions, addr))
		return false;
	if ((n = limits_of(p.limits, addr)) >= l.at_once)
		refuse_limited(fd, fc, "Connection concurrency", n + 1, &p.crowd_said_ms);
	else if (l.per_window > 0 && (n = limits_rate(p.limits, addr, clock_mono_ms(), l.window_ms)) > l.per_window)
		refuse_limited(fd, fc, "Connection rate", n, &p.rate_said_ms);
	else
		return false;
	return true;
}

/* No descriptor is left: with the spare one's place one connection is taken and told so. */
static void refuse_full(const struct front_listener *l)
{
	close_fd(&p.spare_fd);
	const int fd = accept4(l->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (fd >= 0)
		refuse(fd, l->profile, "?", "no descriptors left");
	p.spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	pause_accepting();
}

/* --- handing over --- */

static int hand_over(const struct front_conn *fc, struct err *e)
{
	if (handover_send(p.now->chan, fc, e) < 0)
		return -1;
	p.now->in_flight++;
	p.now->served++;
	return 0;
}

/* To a process of its own, by the template. */
static int serve_new(struct front_conn *fc, uint64_t uid, struct err *e)
{
	struct again_front *f = p.now->isolated ? again_new_front(p.again, p.now, fc) : NULL;
	if (reg_announce(p.reg, fc, uid, again_kept(f), e) == 0 && hand_over(fc, e) == 0)
		return 0;
	again_not_begun(&f);
	return -1;
}

/* To one that has served this client before: no fork, and nothing for the template to do. */
static int serve_again(struct again_front *f, struct front_conn *fc, uint64_t uid, struct err *e)
{
	const uint64_t was = again_conn(f);
	if (reg_again(p.reg, fc, uid, again_kept(f), e) < 0 || again_serve(f, fc, e) < 0) {
		again_give_up(&f);
		return -1;
	}
	reg_tell_again(p.reg, was, fc);
	return 0;
}

static int serve(struct front_conn *fc, uint64_t uid, struct err *e)
{
	struct again_front *f = again_find(p.again, fc);
	if (f && reg_may_again(p.reg, again_kept(f), fc))
		return serve_again(f, fc, uid, e);
	again_give_up(&f);
	return serve_new(fc, uid, e);
}

static void take(const struct front_listener *l, int fd)
{
	struct front_conn fc;
	struct err e = { 0 };
	uint64_t uid;
	uint8_t addr[16];
	const struct conf *conf = p.run->conf;
	if (front_conn_facts(fd, l->local, l->profile, &fc, &uid, addr) < 0) {
		close(fd);	/* gone already */
		return;
	}
	again_hear(p.again);
	fc.conn = random_u64();
	(void)text_format(fc.listener, sizeof(fc.listener), "%s", l->name);
	fc.stress = limits_total(p.limits) >= conf->process_limit / STRESS_OF * STRESS_FROM;
	if (client_limited(fd, &fc, addr))
		return;
	if (!limits_take(p.limits, p.now, fc.conn, addr, UINT64_MAX, conf->process_limit)) {
		refuse(fd, l->profile, fc.client, "too many connections");
		return;
	}
	if (serve(&fc, uid, &e) < 0) {
		limits_give(p.limits, fc.conn);
		refuse(fd, l->profile, fc.client, e.text);
		fc.fd = -1;
	}
	close_fd(&fc.fd);
	close_fd(&fc.auth_fd);
	close_fd(&fc.key_fd);
	close_fd(&fc.queue_fd);
	close_fd(&fc.again_fd);
	if (p.now && p.now->served >= conf->front_template_max && !p.next && p.retry_ms == 0)
		start_worker(NULL);
}

/* One, and the loop comes back for more: nearly always it was the only one, and accept4() makes a socket and a file before it finds that none waits. So others have
 * their turn after each, too. */
static void on_listener(void *ctx, unsigned events)
{
	const struct front_listener *l = ctx;
	if (reg_behind(p.reg)) {
		pause_accepting();
		return;
	}
	if (may_accept()) {
		const int fd = accept4(l->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
		if (fd >= p.fd_high)
			refuse(fd, l->profile, "?", "descriptors run out");
		else if (fd >= 0)
			take(l, fd);
		else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
			refuse_full(l);
	}
	if (!may_accept())
		update_watches();
}

/* --- workers --- */

static void retire(struct worker *w)
{
	const struct ipc_handover_DRAIN m = { 0 };
	struct err e = { 0 };
	if (!w || w->retired)
		return;
	w->retired = true;
	again_let_go_of(p.again, w, false);
	if (w == p.now)
		p.now = NULL;
	if (w == p.next)
		p.next = NULL;
	if (ipc_send(w->chan, IPC_handover_DRAIN, &m, 0, -1, &e) < 0)
		log_error("%s", e.text);
}

static void on_ready(struct worker *w)
{
	w->ready = true;
	p.retry_ms = 0;
	if (w != p.next)
		return;
	p.next = NULL;
	p.renewing = p.whole = false;
	retire(p.now);
	p.now = w;
	update_watches();
	proc_ready();
}

static bool is_crash(uint64_t status)
{
	const int st = (int)(unsigned)status;
	if (!WIFSIGNALED(st))
		return false;
	const int sig = WTERMSIG(st);
	return sig == SIGSEGV || sig == SIGABRT || sig == SIGSYS || sig == SIGBUS || sig == SIGILL || sig == SIGFPE;
}

static void on_started(struct worker *w, uint64_t n)
{
	w->in_flight -= n < w->in_flight ? n : w->in_flight;
	update_watches();
}

static void on_ended_again(uint64_t conn)
{
	limits_give(p.limits, conn);
}

static void on_lingers(const void *owner, uint64_t first)
{
	limits_linger(p.limits, owner, first);
}

static void on_ended(struct worker *w, const struct ipc_handover_ENDED *m)
{
	on_started(w, m->started);
	again_process_ended(p.again, m->conn);
	limits_give(p.limits, m->conn);
	/* Whoever makes fronts crash may learn from each something of the next: those have another hash key and a heap that began anew. Where the program lies in memory is as
	 * before, for a template is forked and not executed (ARCHITECTURE.md). */
	if (is_crash(m->status) && w == p.now && !p.next) {
		log_warning("a front crashed: replacing its template");
		p.whole = false;
		start_worker(NULL);
	}
}

static void on_message(void *ctx, struct ipc_chan *ch, uint16_t type, uint32_t id, void *msg, int fd)
{
	struct worker *w = ctx;
	switch (type) {
	case IPC_handover_READY:
		on_ready(w);
		break;
	case IPC_handover_STARTED: {
		const struct ipc_handover_STARTED *m = msg;
		on_started(w, m->n);
		break;
	}
	default:
		on_ended(w, msg);
	}
}

static void start_later(void)
{
	p.retry_ms = p.retry_ms == 0 ? RETRY_FIRST_MS : p.retry_ms * 2 < RETRY_MAX_MS ? p.retry_ms * 2 : RETRY_MAX_MS;
	timer_again(p.retry, p.retry_ms);
}

static void on_closed(void *ctx, struct ipc_chan *ch, const struct err *why)
{
	struct worker *w = ctx;
	if (!w->retired)
		log_error("%s (pid %d)", w->ready ? "template has gone" : "template did not get ready", (int)w->pid);
	const bool needed = w == p.now || w == p.next;
	p.now = w == p.now ? NULL : p.now;
	p.renewing = p.renewing && w != p.next;	/* the old one is better than none */
	p.next = w == p.next ? NULL : p.next;
	again_let_go_of(p.again, w, true);
	limits_give_all(p.limits, w);
	list_del(&w->node);
	ipc_chan_free(&w->chan);
	loop_free_later(p.loop, w);
	update_watches();
	if (needed && !p.next && w->ready)
		start_worker(NULL);
	else if (needed && !p.next)
		start_later();
}

/* In the child: only the handover channel, the log and the standard descriptors stay. */
static void worker_child(int chan, int key_fd)
{
	struct loop *l = loop_after_fork(&p.loop);
	loop_free(&l);
	const int keep[] = { 0, 1, 2, log_fd(), chan, key_fd };
	close_all_but(keep, ARRAY_LEN(keep));
	str_hash_reseed();
	const struct front_certs how = { .key_fd = key_fd, .whole = p.whole && p.now };
	template_main(p.run, chan, &how, p.in_flight_max / STARTED_BATCHES);
}

static void start_worker(void *ctx)
{
	static const uint16_t from_worker[] = { IPC_handover_READY, IPC_handover_STARTED, IPC_handover_ENDED };
	struct err e = { 0 };
	int pair[2];
	if (p.next || p.stopping)
		return;
	if (sock_pair(SOCK_SEQPACKET, pair, &e) < 0) {
		log_error("%s", e.text);
		start_later();
		return;
	}
	int key_fd = front_peers_needed(p.run) & PEER_KEY ? reg_key_channel(p.reg) : -1;
	const pid_t pid = fork();
	if (pid == 0)
		worker_child(pair[1], key_fd);
	close_fd(&pair[1]);
	close_fd(&key_fd);
	if (pid < 0) {
		log_error("fork: errno %d", errno);
		close_fd(&pair[0]);
		start_later();
		return;
	}
	struct worker *w = xzalloc(sizeof(*w));
	w->pid = pid;
	w->isolated = strcmp(p.run->conf->front_mode, "isolated") == 0;
	w->chan = ipc_chan_new(p.loop, pair[0], &ipc_handover, on_message, on_closed, w);
	ipc_chan_allow(w->chan, (struct ipc_allow){ from_worker, ARRAY_LEN(from_worker) });
	list_append(&p.workers, &w->node);
	p.next = w;
}

/* authd was started again, or has forgotten an old key: the certificate may be another one by now. */
static void on_key_back(void)
{
	if (p.stopping)
		return;
	retire(p.next);		/* it may have read the old one */
	p.renewing = true;
	p.whole = false;	/* the old one may show a certificate that nobody signs for */
	start_worker(NULL);
	p.renewing = p.next != NULL;
	update_watches();
}

/* --- signals --- */

static void on_child(void *ctx, int signo)
{
	int status;
	while (waitpid(-1, &status, WNOHANG) > 0)
		continue;	/* the channel's end says the rest */
}

static void on_hup(void *ctx, int signo)
{
	struct conf *fresh;
	if (front_conf_load(p.run->options.conf_file, &fresh) < 0) {
		log_error("the configuration stays as it was");
		return;
	}
	/* The next template is forked with it; the old ones have copies of their own. */
	conf_free(&p.run->conf);
	p.run->conf = fresh;
	reg_refresh(p.reg);
	log_info("reloaded %s", p.run->options.conf_file);
	retire(p.next);		/* it has the old values */
	p.whole = true;
	start_worker(NULL);
}

static void on_term(void *ctx, int signo)
{
	p.stopping = true;
	(void)sd_notify_send("STOPPING=1");
	loop_stop(p.loop);
}

/* --- start --- */

static int make_dirs(const struct front_run *run, struct err *e)
{
	if (dir_make(run->conf->run_directory, 0755, 0, 0, e) < 0)
		return -1;
	return dir_make(run->empty_dir, 0555, 0, 0, e);
}

static int write_pid(const struct front_run *run, struct err *e)
{
	char path[4096];
	(void)snprintf(path, sizeof(path), "%s/%s.pid", run->conf->run_directory, run->service->program);
	return pidfile_write(path, e);
}

/* What follows from the number of files that we may open. */
static int limits_by_files(struct err *e)
{
	struct rlimit files;
	if (getrlimit(RLIMIT_NOFILE, &files) < 0)
		return err_set(e, ERR_BUG, errno, "RLIMIT_NOFILE");
	const int max = files.rlim_cur < INT_MAX ? (int)files.rlim_cur : INT_MAX;
	if (max < 2 * FD_RESERVE)
		return err_set(e, ERR_CONF, 0, "only %d files may be open", max);
	p.fd_high = max - FD_RESERVE;
	p.in_flight_max = (uint64_t)(max - FD_RESERVE) / IN_FLIGHT_FDS;
	if (p.in_flight_max > IN_FLIGHT_MAX)
		p.in_flight_max = IN_FLIGHT_MAX;
	return 0;
}

static int set_up(struct front_run *run, struct err *e)
{
	uid_t uid;
	gid_t gid;
	if (make_dirs(run, e) < 0 || confine_user(run->user, &uid, &gid, e) < 0)
		return -1;
	if (!run->options.foreground && proc_daemonize(e) < 0)
		return -1;
	if (write_pid(run, e) < 0)	/* first of all: a second start must not take sockets away */
		return -1;
	if (front_listeners_open(run, p.listeners, &p.n_listeners, e) < 0)
		return -1;
	const struct confine_path tree = { .path = "/" };
	const struct confine c = { .role = CONFINE_PARENT, .paths = &tree, .n_paths = 1, .unconfined = run->options.unconfined };
	if (limits_by_files(e) < 0)
		return -1;
	p.spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	return confine_enter(&c, e);
}

int parent_main(struct front_run *run)
{
	struct err e = { 0 };
	p.run = run;
	proc_title(run->service->program, "%s: parent", run->service->program);
	proc_nofile_raise();
	if (set_up(run, &e) < 0) {
		log_error("%s", e.text);
		return EXIT_CONF;
	}
	list_init(&p.workers);
	p.loop = loop_new();
	loop_watchdog(p.loop);
	p.limits = limits_new();
	p.again = again_new(p.loop, run, p.fd_high / 2, (struct again_calls){ .ended = on_ended_again, .lingers = on_lingers });
	p.pause = loop_timer(p.loop, 0, on_pause_over, NULL);
	p.retry = loop_timer(p.loop, UINT32_MAX, start_worker, NULL);
	p.reg = reg_new(p.loop, run, (struct reg_calls){ on_key_back, update_watches });
	for (size_t i = 0; i < p.n_listeners; i++)
		p.watches[i] = loop_watch(p.loop, p.listeners[i].fd, 0, on_listener, &p.listeners[i]);
	loop_signal(p.loop, SIGCHLD, on_child, NULL);
	loop_signal(p.loop, SIGHUP, on_hup, NULL);
	loop_signal(p.loop, SIGTERM, on_term, NULL);
	loop_signal(p.loop, SIGINT, on_term, NULL);
	log_as(log_ident("master"), LOG_LV_INFO, "daemon started -- version %s, %s, %zu listeners, Landlock %d%s", POSTERN_VERSION,
		run->service->program, p.n_listeners, confine_landlock_abi(),
		 run->options.unconfined ? ", WITHOUT SANDBOX (-n)" : "");
	start_worker(NULL);
	loop_run(p.loop);
	reg_tell_all(p.reg);
	log_as(log_ident("master"), LOG_LV_INFO, "terminating on signal 15: %s accepts nothing more; what is being served goes on", run->service->program);
	return 0;
}
