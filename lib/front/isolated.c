/* Fronts that are processes (front_mode = isolated). One is forked for each client. To its seldom_profile a client comes again and again with one
 * message each: there its process serves max_use connections of the same address, one after another, and waits max_idle for the next. What such a
 * process has learnt is that client's own; one that has seen a password, or speaks for a proxy's clients, serves nobody else (front_last). */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/list.h"
#include "base/map.h"
#include "front/front_priv.h"
#include "front/handover.h"
#include "log/log.h"
#include "os/os.h"

enum {
	AGAIN_MAX = 64,		/* processes with a channel for further connections: each fork closes so many */
	IDLE_MAX = 16,		/* of them without a connection for max_idle; what is more than that waits for SURPLUS_MS */
	SURPLUS_MS = 2000,	/* a client with fifty connections at once has now ten, now forty: those forty come again in a moment */
	EXIT_OS = 71,
};

/* A child that has not yet ended. */
struct child {
	struct list node;		/* in idle, or in none */
	struct isolated *iso;
	pid_t pid;
	uint64_t conn;			/* what it serves, or has served last */
	bool told;			/* that conn has ended */
	struct ipc_chan *chan;		/* for further connections; NULL: this one is its last */
	uint64_t served, idle_since_ms;
	char client[64], profile[32], listener[32];
};

struct isolated {
	struct isolated_calls calls;
	struct loop *loop;
	const struct front_run *run;
	struct map *children;		/* pid -> struct child */
	struct list idle;		/* the longest first */
	size_t n_idle, n_again;
	struct timer *timer;
	bool draining;
};

size_t isolated_count(const struct isolated *iso)
{
	return map_count(iso->children);
}

/* --- those that wait for their client to come again --- */

static void leave_idle(struct isolated *iso, struct child *c)
{
	iso->n_idle -= list_empty(&c->node) ? 0 : 1;
	list_del(&c->node);
}

/* It ends when it sees that nothing more can come. */
static void let_go(struct isolated *iso, struct child *c)
{
	leave_idle(iso, c);
	iso->n_again -= c->chan ? 1 : 0;
	ipc_chan_free(&c->chan);
}

static uint64_t idle_max_ms(const struct isolated *iso)
{
	const uint64_t max = iso->run->conf->max_idle * 1000;
	return iso->n_idle > IDLE_MAX && max > SURPLUS_MS ? SURPLUS_MS : max;
}

static void on_idle_timer(void *ctx)
{
	struct isolated *iso = ctx;
	const uint64_t now = clock_mono_ms();
	list_each_safe(it, &iso->idle)
	{
		struct child *c = list_of(it, struct child, node);
		const uint64_t max = idle_max_ms(iso);
		if (now - c->idle_since_ms < max) {
			timer_again(iso->timer, c->idle_since_ms + max - now);
			return;
		}
		let_go(iso, c);
	}
}

static void becomes_idle(struct isolated *iso, struct child *c)
{
	if (iso->draining || c->served >= iso->run->conf->max_use) {
		let_go(iso, c);
		return;
	}
	c->idle_since_ms = clock_mono_ms();
	list_append(&iso->idle, &c->node);
	++iso->n_idle;
	if (iso->n_idle == 1 || iso->n_idle == IDLE_MAX + 1)	/* else the timer runs for the first of the list */
		timer_again(iso->timer, idle_max_ms(iso));
}

/* A front says that its connection is over. It is believed about its own only, whatever number it gives. */
static void on_message(void *ctx, struct ipc_chan *ch, uint16_t type, uint32_t id, void *msg, int fd)
{
	struct child *c = ctx;
	struct isolated *iso = c->iso;
	if (c->told)
		return;
	c->told = true;
	iso->calls.ended(c->conn, 0);
	becomes_idle(iso, c);
}

static void on_closed(void *ctx, struct ipc_chan *ch, const struct err *why)
{
	struct child *c = ctx;
	let_go(c->iso, c);
}

/* Who has waited for the shortest time: its memory is still in the processor's caches, and those that are too many get old and end. */
static struct child *find_idle(struct isolated *iso, const struct front_conn *fc)
{
	for (struct list *it = iso->idle.prev; it != &iso->idle; it = it->prev) {
		struct child *c = list_of(it, struct child, node);
		if (strcmp(c->client, fc->client) == 0 && strcmp(c->profile, fc->profile) == 0 && strcmp(c->listener, fc->listener) == 0)
			return c;
	}
	return NULL;
}

static bool serve_again(struct isolated *iso, const struct front_conn *fc)
{
	struct err e = { 0 };
	struct child *c = find_idle(iso, fc);
	if (!c)
		return false;
	if (handover_send(c->chan, fc, &e) < 0) {
		log_error("%s", e.text);
		let_go(iso, c);
		return false;
	}
	leave_idle(iso, c);
	c->told = false;
	c->conn = fc->conn;
	c->served++;
	return true;
}

/* --- new ones --- */

static bool may_come_again(const struct isolated *iso, const struct front_conn *fc)
{
	const struct front_service *s = iso->run->service;
	return s->seldom_profile && strcmp(fc->profile, s->seldom_profile) == 0 && fc->client_known && iso->run->conf->max_use > 1 &&
	       !*conf_for(iso->run->conf, str_c(fc->listener), false)->smtpd_upstream_proxy_protocol && !iso->draining && iso->n_again < AGAIN_MAX;
}

static struct child *child_new(struct isolated *iso, const struct front_conn *fc, pid_t pid, int again_fd)
{
	static const uint16_t from_front[] = { IPC_handover_ENDED };
	struct child *c = xzalloc(sizeof(*c));
	*c = (struct child){ .iso = iso, .pid = pid, .conn = fc->conn, .served = 1 };
	memcpy(c->client, fc->client, sizeof(c->client));
	memcpy(c->profile, fc->profile, sizeof(c->profile));
	memcpy(c->listener, fc->listener, sizeof(c->listener));
	if (again_fd >= 0) {
		c->chan = ipc_chan_new(iso->loop, again_fd, &ipc_handover, on_message, on_closed, c);
		ipc_chan_allow(c->chan, (struct ipc_allow){ from_front, ARRAY_LEN(from_front) });
		iso->n_again++;
	}
	list_init(&c->node);
	(void)map_set(iso->children, str_n(&c->pid, sizeof(c->pid)), c);
	return c;
}

void isolated_forget(struct isolated *iso)
{
	size_t it = 0;
	struct str key;
	void *value;
	while (map_next(iso->children, &it, &key, &value))
		ipc_chan_free(&((struct child *)value)->chan);
}

static pid_t fork_front(struct isolated *iso, struct front_conn *fc, int pair[2])
{
	struct err e = { 0 };
	if (iso->n_again >= AGAIN_MAX && iso->n_idle > IDLE_MAX)	/* another client has more than its share of them */
		let_go(iso, list_of(iso->idle.next, struct child, node));
	if (may_come_again(iso, fc) && sock_pair(SOCK_SEQPACKET, pair, &e) < 0)
		log_warning("%s", e.text);	/* then it serves this one only */
	const pid_t pid = fork();
	if (pid == 0) {
		close_fd(&pair[0]);
		iso->calls.child(fc, pair[1]);
	}
	const int why = errno;
	close_fd(&pair[1]);
	errno = why;
	return pid;
}

void isolated_serve(struct isolated *iso, struct front_conn *fc)
{
	int pair[2] = { -1, -1 };
	if (serve_again(iso, fc)) {
		iso->calls.started(true);
		return;
	}
	/* A front that has been taken over may say that its connection is over, and keep it: the parent's count is wrong then, this one is not. */
	const bool full = map_count(iso->children) >= iso->run->conf->process_limit + AGAIN_MAX;
	const pid_t pid = full ? -1 : fork_front(iso, fc, pair);
	if (pid < 0) {
		log_error("connection from %s refused: %s %d", fc->client, full ? "more processes than connections:" : "fork: errno",
			  full ? (int)map_count(iso->children) : errno);
		close_fd(&pair[0]);
		front_busy(iso->run, fc->fd, fc->profile, NULL);
		iso->calls.started(false);
		iso->calls.ended(fc->conn, EXIT_OS << 8);
		return;
	}
	(void)child_new(iso, fc, pid, pair[0]);
	iso->calls.started(false);
}

static void on_child(void *ctx, int signo)
{
	struct isolated *iso = ctx;
	int status;
	pid_t pid;
	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		struct child *c = map_del(iso->children, str_n(&pid, sizeof(pid)));
		if (!c)
			continue;
		if (WIFSIGNALED(status))
			log_error("front %d died of signal %d", (int)pid, WTERMSIG(status));
		let_go(iso, c);
		if (!c->told)
			iso->calls.ended(c->conn, status);
		loop_free_later(iso->loop, c);
	}
	if (map_count(iso->children) == 0)
		iso->calls.none_left();
}

void isolated_drain(struct isolated *iso)
{
	iso->draining = true;
	list_each_safe(it, &iso->idle)
		let_go(iso, list_of(it, struct child, node));
}

struct isolated *isolated_new(struct loop *l, const struct front_run *run, const struct isolated_calls *calls)
{
	struct isolated *iso = xzalloc(sizeof(*iso));
	*iso = (struct isolated){ .calls = *calls, .loop = l, .run = run, .children = map_new() };
	list_init(&iso->idle);
	iso->timer = loop_timer(l, UINT32_MAX, on_idle_timer, iso);
	loop_signal(l, SIGCHLD, on_child, iso);
	return iso;
}
