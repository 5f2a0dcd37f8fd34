/* queued: wiring. Confines itself to the spool, recovers what lies there, then is one loop that serves fronts, agents, resolve, remote, filterd and the
 * administrator. Also here: the connector, which opens filterd's socket for it, and the log lines whose form log parsers know.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/enc.h"
#include "deliver/queue/queued.h"
#include "ipc/link.h"
#include "log/log.h"
#include "os/confine.h"
#include "os/os.h"

enum {
	DRAIN_TICK_MS = 50,
	DRAIN_MAX_MS = 8000,	/* SIGTERM: then what is under way is dropped */
	LEAVE_MAX_MS = 30000,	/* new configuration: then as SIGTERM */
};

/* --- log lines --- */

static void put_seconds(struct buf *b, double s)
{
	buf_seconds(b, s > 0 ? (uint64_t)(s * 1e6 + 0.5) : 0);
}

void qlog_delivery(const struct log_delivery *d)
{
	struct buf b;

	buf_init(&b, 4096);
	buf_str(&b, d->qid);
	buf_c(&b, ": to=<");
	text_neutral(&b, d->address, 320, false);
	if (d->original.n > 0 && !str_case_eq(d->original, d->address)) {
		buf_c(&b, ">, orig_to=<");
		text_neutral(&b, d->original, 320, false);
	}
	buf_c(&b, ">, relay=");
	buf_str(&b, d->relay);
	if (d->uses > 1)
		buf_printf(&b, ", conn_use=%llu", (unsigned long long)d->uses);
	buf_c(&b, ", delay=");
	put_seconds(&b, d->before + d->queued + d->setup + d->transfer);
	buf_c(&b, ", delays=");
	put_seconds(&b, d->before);
	buf_c(&b, "/");
	put_seconds(&b, d->queued);
	buf_c(&b, "/");
	put_seconds(&b, d->setup);
	buf_c(&b, "/");
	put_seconds(&b, d->transfer);
	buf_c(&b, ", dsn=");
	buf_str(&b, d->enhanced);
	buf_c(&b, ", status=");
	buf_c(&b, d->status);
	buf_c(&b, " (");
	text_neutral(&b, d->text, 600, false);
	buf_c(&b, ")");
	log_as(log_ident(d->program), LOG_LV_INFO, "%s", b.p);
	buf_fini(&b);
}

void qlog_from(struct str qid, struct str sender, uint64_t size, size_t rcpts)
{
	log_info("%.*s: from=<%.*s>, size=%llu, nrcpt=%zu (queue active)", STR_ARG(qid), STR_ARG(sender), (unsigned long long)size, rcpts);
}

void qlog_removed(struct str qid)
{
	log_info("%.*s: removed", STR_ARG(qid));
}

/* --- the connector --- */

struct connector {
	struct ipc_chan *queue;
	char path[1100];
	bool for_remote;
};

static void on_link(void *ctx, struct ipc_chan *ch, uint16_t type, uint32_t id, void *msg, int fd)
{
	struct connector *c = ctx;
	const struct ipc_link_OPEN *m = msg;
	char path[108];
	struct ipc_link_OPENED opened = { 0 };
	struct err e = { 0 }, e2 = { 0 };
	int r;

	close_fd(&fd);
	(void)snprintf(path, sizeof(path), "%.*s", STR_ARG(m->path));
	fd = c->for_remote && path[0] ? sock_unix_connect(path, SOCK_STREAM, &e) : sock_unix_connect(c->path, SOCK_SEQPACKET, &e);
	if (fd >= 0) {
		r = ipc_send(ch, IPC_link_OPENED, &opened, id, fd, &e2);
	} else {
		struct ipc_link_FAILED failed = { .text = str_c(e.text) };
		r = ipc_send(ch, IPC_link_FAILED, &failed, id, -1, &e2);
	}
	if (r < 0)
		log_error("connector: %s", e2.text);
	close_fd(&fd);
}

static void on_queue_closed(void *ctx, struct ipc_chan *ch, const struct err *why)
{
	_exit(0);
}

static void on_exit_signal(void *ctx, int signo)
{
	_exit(0);
}

static void ignore(void *ctx, int signo)
{
}

static void confine_or_die(const struct confine *c, const char *who)
{
	struct err e = { 0 };

	if (confine_enter(c, &e) < 0) {
		log_error("%s: %s", who, e.text);
		_exit(EX_CONFIG);
	}
}

void connector_run(void *ctx)
{
	static const uint16_t types[] = { IPC_link_OPEN };
	static struct connector c;
	const struct connector_env *env = ctx;
	const struct confine how = { .role = CONFINE_QUEUE, .user = env->for_remote ? env->conf->user_remote : env->conf->user_queue, .unconfined = env->unconfined };
	const int keep[] = { 0, 1, 2, env->link_fd, log_fd() };

	c.for_remote = env->for_remote;
	proc_title("queued", env->for_remote ? "remote: connector" : "queued: connector");
	close_all_but(keep, ARRAY_LEN(keep));
	snprintf(c.path, sizeof(c.path), "%s/%s", env->conf->run_directory, env->for_remote ? "sign/client" : "filter/scan");
	confine_or_die(&how, "connector");
	struct loop *l = loop_new();
	loop_signal(l, SIGTERM, on_exit_signal, NULL);
	loop_signal(l, SIGHUP, ignore, NULL);
	c.queue = ipc_chan_new(l, env->link_fd, &ipc_link, on_link, on_queue_closed, &c);
	ipc_chan_allow(c.queue, (struct ipc_allow){ types, ARRAY_LEN(types) });
	loop_run(l);
	_exit(0);
}

/* --- queued --- */

/* --- the end --- */

static void flush_log(void *ctx)
{
	log_flush();
}

struct drain {
	struct queued *q;
	struct timer *timer;
	uint64_t leave_ms, end_ms;	/* when to stop waiting for a quiet moment; when to end in any case */
};

/* End at a moment when nothing is under way. What is in the queue is on disk. */
static void drain(void *ctx)
{
	struct drain *d = ctx;
	const uint64_t now = clock_mono_ms();

	if ((d->q->n_trans == 0 && sched_active(d->q) == 0) || now >= d->end_ms) {
		tlsrpt_save(d->q);
		verify_save(d->q);
		log_flush();
		_exit(0);
	}
	d->q->draining |= now >= d->leave_ms;	/* no quiet moment comes by itself: no new transactions */
	timer_again(d->timer, DRAIN_TICK_MS);
}

static void leave(struct queued *q, uint64_t patience_ms)
{
	static struct drain d;
	const uint64_t leave_at = clock_mono_ms() + patience_ms;

	if (d.q && leave_at >= d.leave_ms)
		return;
	q->leaving = true;
	d.leave_ms = leave_at;
	d.end_ms = leave_at + DRAIN_MAX_MS;
	if (d.q == NULL) {
		d.q = q;
		d.timer = loop_timer(q->loop, 0, drain, &d);
	}
}

void queued_leave(struct queued *q)
{
	leave(q, 0);
}

static void on_term(void *ctx, int signo)
{
	leave(ctx, 0);
}

/* The parent has read the configuration again. When it has changed, this process ends at a quiet moment and the group starts with the new one; connected
 * clients keep their sessions until they ask for something. */
static void on_hup(void *ctx, int signo)
{
	struct queued *q = ctx;

	resolve_reload(q);
	if (*(const volatile uint64_t *)q->generation != q->own_generation) {
		log_info("starting again with the new configuration");
		leave(q, LEAVE_MAX_MS);
	}
}

static void confine(const struct queued_env *env)
{
	const struct confine_path paths[] = { { .path = env->conf->queue_directory, .write = true } };
	const struct confine how = {
		.role = CONFINE_QUEUE, .user = env->conf->user_queue, .root = env->conf->queue_directory, .paths = paths, .n_paths = ARRAY_LEN(paths),
		.unconfined = env->unconfined,
	};

	confine_or_die(&how, "queued");
}

/* --- what resolve reads --- */

static void watch_tables(void *ctx, const char *parameter, struct conf_list list)
{
	for (size_t i = 0; i < list.n; i++) {
		const char *file = strstr(list.v[i], ":/");

		if (file)
			known_watch(ctx, file + 1);
	}
}

static void watch_maps(struct queued *q, const struct conf *c)
{
	char accounts[1100];

	(void)snprintf(accounts, sizeof(accounts), "%s/accounts.cdb", c->state_directory);
	known_watch(q, accounts);
	resolver_lists(c, watch_tables, q);
}

enum { MEMORY_FILES_MAX = 4096, KEEP_BYTES_MAX = 16 << 20, KEEP_MS = 2000 };

/* Without the right to mount (a container) all mail is received on disk, as with 0; systemd mounts it for its unit. */
static void mount_memory(const struct conf *c)
{
	struct memfs m = { .bytes = c->queue_memory_size, .files = MEMORY_FILES_MAX };
	char dir[1100];
	struct err e = { 0 };

	if (c->queue_memory_size == 0 || geteuid() != 0)
		return;
	(void)snprintf(dir, sizeof(dir), "%s/memory", c->queue_directory);
	if (confine_user(c->user_queue, &m.uid, &m.gid, &e) < 0 || memfs_private(dir, &m, &e) < 0)
		log_info("mail is received on disk only (queue_memory_size): %s", e.text);
}

/* Memory of one message serves the next: given back to the kernel after each, it comes back as page faults, five a message. A quiet process gives it back. */
static void keep_memory(struct loop *l)
{
	proc_keep_memory(KEEP_BYTES_MAX);
	loop_trim_when_idle(l, KEEP_MS);
}

static int start(struct queued *q, const struct queued_env *env, struct err *e)
{
	q->conf = env->conf;
	q->generation = env->generation;
	q->own_generation = *env->generation;
	if (rules_start(q, e) < 0 || spool_open(".", &q->spool, e) < 0)
		return -1;
	if (strcmp(q->conf->sync_directories, "yes") == 0)
		spool_sync_directories(q->spool);
	if (q->conf->queue_memory_size == 0)
		spool_disk_only(q->spool);
	q->loop = loop_new();
	keep_memory(q->loop);
	log_gather();
	loop_round_end(q->loop, flush_log, NULL);
	loop_signal(q->loop, SIGTERM, on_term, q);
	loop_signal(q->loop, SIGHUP, on_hup, q);
	q->sync = sync_new(q->loop, QUEUED_SYNC_THREADS);
	asks_start(q, env->resolve_fd);
	policy_start(q, env->policy_fd);
	sts_start(q, env->sts_fd);
	q->dns = dns_client_new(q->loop, env->dns_fd, NULL, NULL);
	dns_client_remember(q->dns, QUEUED_NAMES_MAX, QUEUED_NAMES_BYTES_MAX);
	filter_start(q, env->link_fd);
	agents_start(q, env->spawn_fd, env->programs_fd);
	tlsrpt_start(q);
	if (verify_start(q, e) < 0)
		return -1;
	sched_start(q, env->remote_fd);
	control_start(q, env->control_fd);
	quarantine_start(q);
	queue_gauges_start(q);
	conns_start(q, env->register_fd, env->auth_fd);
	return 0;
}

void queued_run(void *ctx)
{
	static struct queued q;
	const struct queued_env *env = ctx;
	struct err e = { 0 };
	const int keep[] = {
		0, 1, 2, log_fd(), env->resolve_fd, env->spawn_fd, env->programs_fd, env->remote_fd, env->link_fd, env->dns_fd, env->policy_fd, env->sts_fd,
		env->register_fd, env->auth_fd, env->control_fd,
	};

	proc_title("queued", "queued: queue");
	log_program("qmgr");
	close_all_but(keep, ARRAY_LEN(keep));
	q.arena = arena_new(0);
	own_load(env->conf, q.arena, &q.own);
	if (srs_key_load(env->conf, &q.srs, &e) < 0) {
		log_error("%s", e.text);
		_exit(EX_CONFIG);
	}
	mount_memory(env->conf);
	queue_gauges_open(env->conf);
	watch_maps(&q, env->conf);
	confine(env);
	if (start(&q, env, &e) < 0) {
		log_error("%s", e.text);
		_exit(EX_CONFIG);
	}
	loop_run(q.loop);
	log_flush();
	_exit(0);
}
