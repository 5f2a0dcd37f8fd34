/* The unprivileged side: a warm process with everything built (TLS context, tables), confined before its first connection. Isolated mode: it
 * forks fronts (isolated.c) and never reads a client's byte itself. Shared mode: it serves them all on its loop. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/map.h"
#include "front/front_priv.h"
#include "front/handover.h"
#include "log/log.h"
#include "os/confine.h"
#include "os/os.h"

enum { FILE_SLACK = 1 << 20, IDLE_TRIM_MS = 1000, EXIT_PREPARE = 78, EXIT_OS = 71 };

static struct template {
	const struct front_run *run;
	struct front_env env;
	struct ipc_chan *chan;
	struct isolated *isolated;	/* NULL: connections are served here (shared mode; and in a front) */
	struct map *served;		/* here: conn -> struct served */
	bool draining;
	uint64_t started, started_max;	/* not yet told to the parent; to be told when so many */
	struct { int auth_fd, key_fd; struct ipc_chan *queue; } kept;	/* in a front that waits: its channels to the daemons */
	bool in_front;			/* in a front process: one connection at a time */
} t;

static void close_conn(struct front_conn *fc)
{
	close_fd(&fc->fd);
	close_fd(&fc->auth_fd);
	close_fd(&fc->key_fd);
	close_fd(&fc->queue_fd);
	close_fd(&fc->again_fd);
}

void front_busy(const struct front_run *run, int fd, const char *profile, const char *line)
{
	if (line == NULL)
		line = run->service->busy_line;
	if (front_profile_tls(profile))		/* a line in the clear means nothing there */
		return;
	(void)send(fd, line, strlen(line), MSG_DONTWAIT | MSG_NOSIGNAL);
	(void)shutdown(fd, SHUT_WR);
}

/* --- what all fronts share --- */

/* The only file that a front writes is a message: what it is given of the spool must not fill the disk when it has been taken over. */
static void limit_file_size(const struct conf *conf)
{
	rlim_t max = conf->message_size_limit;
	const struct conf *c;
	const char *name;
	size_t it = 0;
	while (conf_variant_next(conf, &it, &name, &c))
		max = c->message_size_limit > max ? c->message_size_limit : max;
	max += FILE_SLACK;
	const struct rlimit r = { max, max };
	if (setrlimit(RLIMIT_FSIZE, &r) < 0)
		log_warning("RLIMIT_FSIZE: errno %d", errno);
}

int template_prepare(const struct front_run *run, const struct front_certs *how, struct front_env *env, struct err *e)
{
	*env = (struct front_env){ .conf = run->conf };
	t.run = run;
	limit_file_size(run->conf);
	if (front_certs_load(run, how, &env->tls, e) < 0)
		return -1;
	return run->service->prepare ? run->service->prepare(env, e) : 0;
}

static int enter(const struct front_run *run, enum confine_role role, struct err *e)
{
	const struct confine c = { .role = role, .user = run->user, .root = run->empty_dir, .unconfined = run->options.unconfined };
	return confine_enter(&c, e);
}

/* --- one front --- */

static void stop_loop(void *ctx)
{
	loop_stop(ctx);
}

static bool all_ended(void)
{
	return map_count(t.served) == 0 && (!t.isolated || isolated_count(t.isolated) == 0);
}

static void end_if_drained(void)
{
	if (t.draining && all_ended())
		conn_when_finished(t.env.loop, stop_loop, t.env.loop);
}

void front_narrow(struct front_env *env)
{
	struct err e = { 0 };
	if (!t.in_front || t.run->options.unconfined)
		return;
	if (confine_narrow_relay(&e) < 0) {
		log_error("%s", e.text);
		_exit(EXIT_OS);
	}
}

void front_select_key(const struct front_conn *fc)
{
	tls_key_channel(fc->key_fd);
}

/* --- telling the parent --- */

/* The parent only has to know that we keep up: it is told of several together, or of short connections when they end. */
static void tell_started(void)
{
	const struct ipc_handover_STARTED m = { .n = ++t.started };
	struct err e = { 0 };
	if (t.started < t.started_max || t.in_front)
		return;
	t.started = 0;
	if (t.chan && ipc_send(t.chan, IPC_handover_STARTED, &m, 0, -1, &e) < 0)
		log_error("%s", e.text);
}

static void tell_ended(uint64_t conn, int status)
{
	const struct ipc_handover_ENDED m = { .conn = conn, .status = (uint64_t)(unsigned)status, .started = t.started };
	struct err e = { 0 };
	t.started = 0;
	if (t.chan && ipc_send(t.chan, IPC_handover_ENDED, &m, 0, -1, &e) < 0)
		log_error("%s", e.text);
}

/* A front whose last connection it was tells by its end: nothing may be handed to it meanwhile. */
static void tell_free(void)
{
	const struct ipc_handover_FREE m = { 0 };
	struct err e = { 0 };
	if (t.chan && !t.draining && ipc_send(t.chan, IPC_handover_FREE, &m, 0, -1, &e) < 0)
		log_error("%s", e.text);
}

/* --- connections that are served here: objects, not processes --- */

struct served {
	struct front_conn fc;	/* the service may keep a pointer to it until front_done */
};

static void serve_here(const struct front_conn *fc)
{
	struct served *s = xzalloc(sizeof(*s));
	s->fc = *fc;
	(void)map_set(t.served, str_n(&s->fc.conn, sizeof(s->fc.conn)), s);
	if (!t.in_front)
		tell_started();
	tls_key_channel(s->fc.key_fd);
	t.run->service->session(&t.env, &s->fc);
}

void front_done(struct front_env *env, const struct front_conn *fc)
{
	struct served *s = map_del(t.served, str_n(&fc->conn, sizeof(fc->conn)));
	if (!s)
		return;
	if (t.in_front && !t.draining)
		t.kept.key_fd = s->fc.key_fd;	/* where it was used the next connection brings another */
	else
		close_fd(&s->fc.key_fd);
	tls_key_channel(-1);
	if (t.in_front)
		tell_free();
	else
		tell_ended(s->fc.conn, 0);
	loop_free_later(env->loop, s);
	end_if_drained();
}

/* queued has closed the channel that was for the next connection: it refused the last one, or was ended. The parent hears that no more may come, and lets go. */
static void on_queue_gone(void *ctx, struct ipc_chan *ch, const struct err *why)
{
	ipc_chan_free(&t.kept.queue);
	if (t.chan)
		(void)shutdown(ipc_chan_fd(t.chan), SHUT_WR);
}

/* An answer to nobody. */
static void on_unasked(void *ctx, struct ipc_chan *ch, uint16_t type, uint32_t id, void *msg, int fd)
{
	const struct err why = { .code = ERR_INPUT };
	close_fd(&fd);
	on_queue_gone(ctx, ch, &why);
}

void front_keep(struct front_env *env, int auth_fd, struct ipc_chan *queue)
{
	if (t.in_front && !t.draining && queue && ipc_chan_pass(queue, on_unasked, on_queue_gone, NULL)) {
		t.kept.auth_fd = auth_fd;
		t.kept.queue = queue;
		return;
	}
	t.draining = t.draining || t.in_front;
	close_fd(&auth_fd);
	ipc_chan_free(&queue);
}

void front_last(struct front_env *env)
{
	if (t.in_front)
		t.draining = true;
}

/* --- a front: a process of its own --- */

static void on_message(void *ctx, struct ipc_chan *ch, uint16_t type, uint32_t id, void *msg, int fd);
static void on_closed(void *ctx, struct ipc_chan *ch, const struct err *why);

static struct ipc_chan *handover_chan(int fd)
{
	static const uint16_t from_parent[] = { IPC_handover_CLIENT, IPC_handover_DRAIN };
	struct ipc_chan *ch = ipc_chan_new(t.env.loop, fd, &ipc_handover, on_message, on_closed, NULL);
	ipc_chan_allow(ch, (struct ipc_allow){ from_parent, ARRAY_LEN(from_parent) });
	return ch;
}

static void serve_first(struct front_conn *fc)
{
	loop_trim_when_idle(t.env.loop, IDLE_TRIM_MS);
	t.in_front = true;
	t.draining = !t.chan;
	t.isolated = NULL;
	t.kept.auth_fd = t.kept.key_fd = -1;
	t.served = map_new();
	serve_here(fc);
	loop_run(t.env.loop);
	_exit(0);	/* no exit handlers: they would only touch memory that is shared with the template */
}

void front_serve_one(struct front_env *env, struct front_conn *fc)
{
	t.env = *env;
	t.env.loop = loop_new();
	serve_first(fc);
	_exit(EXIT_OS);
}

static void become_front(struct front_conn *fc)
{
	struct err e = { 0 };
	t.env.loop = loop_after_fork(&t.env.loop);
	ipc_chan_free(&t.chan);
	str_hash_reseed();
	proc_title(t.run->service->program, "%s: front %s %s", t.run->service->program, fc->client, fc->profile);
	/* The template's filter already holds. What a front has beyond its own role is fork: a limit of no further process takes that away for a
	 * hundredth of what a second filter costs (a filter is compiled by the kernel for each process that sets one). */
	if (!t.run->options.unconfined && confine_no_fork(&e) < 0) {
		log_error("%s", e.text);
		_exit(EXIT_OS);
	}
	if (fc->again_fd >= 0) {
		t.chan = handover_chan(fc->again_fd);
		ipc_chan_alone(t.chan);
	}
	fc->again_fd = -1;	/* the channel's */
	serve_first(fc);
}

/* --- taking over --- */

/* A channel that came goes before one that was kept. */
static void take_kept(int *kept, int *fd)
{
	if (*fd < 0)
		*fd = *kept;
	else
		close_fd(kept);
	*kept = -1;
}

/* The next connection of a front's client. */
static void serve_next(struct front_conn *fc)
{
	close_fd(&fc->again_fd);
	take_kept(&t.kept.auth_fd, &fc->auth_fd);
	take_kept(&t.kept.key_fd, &fc->key_fd);
	if (fc->queue_fd >= 0)
		ipc_chan_free(&t.kept.queue);
	fc->queue = t.kept.queue;
	t.kept.queue = NULL;
	serve_here(fc);
}

static void on_client(struct ipc_chan *ch, const struct ipc_handover_CLIENT *m, int fd)
{
	struct front_conn fc;
	if (!handover_take(m, fd, ipc_more_fds(ch), &fc)) {
		log_error("a connection came with other channels than it says");
		close_conn(&fc);
	} else if (t.in_front) {
		serve_next(&fc);
	} else if (!t.isolated) {
		close_fd(&fc.again_fd);
		serve_here(&fc);
	} else {
		isolated_serve(t.isolated, &fc);
		close_conn(&fc);
	}
}

static void start_drain(void)
{
	t.draining = true;
	if (!t.in_front)
		proc_title(t.run->service->program, "%s: draining", t.run->service->program);
	end_if_drained();
}

static void on_message(void *ctx, struct ipc_chan *ch, uint16_t type, uint32_t id, void *msg, int fd)
{
	switch (type) {
	case IPC_handover_CLIENT:
		on_client(ch, msg, fd);
		break;
	default:
		start_drain();
	}
}

/* The parent has ended: what runs may finish. */
static void on_closed(void *ctx, struct ipc_chan *ch, const struct err *why)
{
	ipc_chan_free(&t.chan);
	start_drain();
}

static void on_term(void *ctx, int signo)
{
	loop_stop(t.env.loop);
}

/* Certificate, provider and key worker work together, or this template is not used. Without a key worker connections are refused anyway. */
static int test_tls(int key_fd, struct err *e)
{
	if (!t.env.tls || key_fd < 0)
		return 0;
	tls_key_channel(key_fd);
	const int r = tls_self_test(t.env.tls, e);
	tls_key_channel(-1);
	return r < 0 ? err_wrap(e, "TLS self test") : 0;
}

static int start(const struct front_run *run, int chan, const struct front_certs *how, struct err *e)
{
	static const struct isolated_calls calls = { .started = tell_started, .ended = tell_ended, .none_left = end_if_drained, .child = become_front };
	const bool shared = strcmp(run->conf->front_mode, "shared") == 0;
	t.served = map_new();
	if (template_prepare(run, how, &t.env, e) < 0 || test_tls(how->key_fd, e) < 0)
		return -1;
	if (how->key_fd >= 0)
		close(how->key_fd);
	t.env.loop = loop_new();
	loop_signal(t.env.loop, SIGTERM, on_term, NULL);
	if (!shared)
		t.isolated = isolated_new(t.env.loop, run, &calls);
	t.chan = handover_chan(chan);
	if (enter(run, shared ? CONFINE_FRONT : CONFINE_TEMPLATE, e) < 0)
		return -1;
	const struct ipc_handover_READY ready = { 0 };
	return ipc_send(t.chan, IPC_handover_READY, &ready, 0, -1, e);
}

void template_main(const struct front_run *run, int chan, const struct front_certs *how, uint64_t started_max)
{
	struct err e = { 0 };
	const char *program = run->service->program;
	const bool shared = strcmp(run->conf->front_mode, "shared") == 0;
	t.started_max = started_max;
	proc_title(program, shared ? "%s: shared front" : "%s: template", program);
	if (start(run, chan, how, &e) < 0) {
		log_error("%s: %s", program, e.text);
		_exit(EXIT_PREPARE);
	}
	loop_run(t.env.loop);
	_exit(0);
}
