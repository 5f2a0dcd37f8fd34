/* Fronts that serve their client again (front_mode = isolated), as the parent sees them. To a service's seldom_profile a client comes again and again with
 * one message each: there its process serves max_use connections of the same address, one after another, and waits max_idle for the next. What such a
 * process has learnt is that client's own; one that has seen a password, or speaks for a proxy's clients, serves nobody else (front_last).
 *
 * The parent hands a connection to such a process itself, by the channel that was made with it. All that a front can say there is that it is free, without a
 * word more; what the connection is, whose and where its channels lead is known here. The channels to the daemons stay (struct reg_kept).
 *
 * That a front is free matters when the next connection comes, and is asked for then (again_hear). A client that sends much opens that at once, and to be woken for the
 * word before it was half of what the parent cost. Who has not said it after HEAR_MS is listened to as others are. */
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/list.h"
#include "front/front_priv.h"
#include "front/handover.h"
#include "log/log.h"
#include "os/os.h"

enum {
	AGAIN_MAX = 64,		/* processes that may serve again */
	IDLE_MAX = 16,		/* of them without a connection for max_idle; what is more than that waits for SURPLUS_MS */
	SURPLUS_MS = 2000,	/* a client with fifty connections at once has now ten, now forty: those forty come again in a moment */
	HEAR_MS = 500,		/* nobody is woken meanwhile by what a front says */
};

struct again_front {
	struct list node, all;		/* node: in idle, or in none */
	struct again *set;
	const void *owner;		/* its template */
	struct ipc_chan *chan;
	uint64_t conn;			/* what it serves, or has served last */
	uint64_t first;			/* what its process began with: so the template calls it */
	bool free, last;		/* last: it has been told that no more come */
	bool over;			/* the process has ended, or nobody can tell when it does */
	bool asked;			/* what it says is heard when it is asked, and wakes nobody */
	uint64_t served, idle_since_ms;
	struct reg_kept kept;
	char client[64], profile[32], listener[32];
};

struct again {
	struct loop *loop;
	const struct front_run *run;
	struct again_calls calls;
	int fd_max;			/* a descriptor above this is needed for clients: who waits for one has none */
	struct list all, idle;		/* idle: the longest first */
	size_t n, n_idle, n_asked;
	struct timer *timer, *hear;	/* hear: runs while any is asked */
};

static void leave_idle(struct again_front *f)
{
	f->set->n_idle -= list_empty(&f->node) ? 0 : 1;
	list_del(&f->node);
}

static void set_asked(struct again_front *f, bool asked)
{
	struct again *a = f->set;
	if (f->asked == asked)
		return;
	f->asked = asked;
	ipc_chan_hold(f->chan, asked);
	a->n_asked += asked ? 1 : (size_t)-1;
	if (asked && a->n_asked == 1)
		timer_again(a->hear, HEAR_MS);
}

/* It ends when it sees that nothing more can come. One that has been taken over need not, and may have kept its client. */
static void let_go(struct again_front *f)
{
	set_asked(f, false);
	if (!f->over)
		f->set->calls.lingers(f->owner, f->first);
	leave_idle(f);
	list_del(&f->all);
	f->set->n--;
	reg_kept_forget(&f->kept);
	ipc_chan_free(&f->chan);
	loop_free_later(f->set->loop, f);
}

static uint64_t idle_max_ms(const struct again *a)
{
	const uint64_t max = a->run->conf->max_idle * 1000;
	return a->n_idle > IDLE_MAX && max > SURPLUS_MS ? SURPLUS_MS : max;
}

static void on_idle_timer(void *ctx)
{
	struct again *a = ctx;
	const uint64_t now = clock_mono_ms();
	list_each_safe(it, &a->idle)
	{
		struct again_front *f = list_of(it, struct again_front, node);
		const uint64_t max = idle_max_ms(a);
		if (now - f->idle_since_ms < max) {
			timer_again(a->timer, f->idle_since_ms + max - now);
			return;
		}
		let_go(f);
	}
}

static void becomes_idle(struct again_front *f)
{
	struct again *a = f->set;
	if (f->last || f->served >= a->run->conf->max_use) {
		let_go(f);
		return;
	}
	f->idle_since_ms = clock_mono_ms();
	list_append(&a->idle, &f->node);
	++a->n_idle;
	if (a->n_idle == 1 || a->n_idle == IDLE_MAX + 1)	/* else the timer runs for the first of the list */
		timer_again(a->timer, idle_max_ms(a));
}

static void ends(struct again_front *f)
{
	if (f->free)
		return;
	f->free = true;
	f->set->calls.ended(f->conn);
}

/* FREE. It is believed about its own connection, and once: who goes on saying it keeps the parent busy. */
static void on_message(void *ctx, struct ipc_chan *ch, uint16_t type, uint32_t id, void *msg, int fd)
{
	struct again_front *f = ctx;
	if (f->free) {
		log_warning("a front of %s says twice that it is free", f->client);
		let_go(f);
		return;
	}
	ends(f);
	becomes_idle(f);
}

/* The process has ended, or has broken the rules: then it may still keep its client, as one may that says FREE. */
static void on_closed(void *ctx, struct ipc_chan *ch, const struct err *why)
{
	struct again_front *f = ctx;
	if (why->code != ERR_CLOSED)
		log_warning("a front of %s: %s", f->client, why->text);
	ends(f);
	let_go(f);
}

/* --- being told --- */

void again_hear(struct again *a)
{
	struct again_front *who[AGAIN_MAX];
	struct pollfd fds[AGAIN_MAX];
	nfds_t n = 0;
	if (a->n_asked == 0)
		return;
	list_each(it, &a->all)
	{
		struct again_front *f = list_of(it, struct again_front, all);
		if (!f->asked)
			continue;
		who[n] = f;
		fds[n++] = (struct pollfd){ .fd = ipc_chan_fd(f->chan), .events = POLLIN };
	}
	if (poll(fds, n, 0) <= 0)
		return;
	for (nfds_t i = 0; i < n; i++)
		if (fds[i].revents)
			ipc_chan_take(who[i]->chan);
}

/* The loop hears what any of them has said already. */
static void on_hear_timer(void *ctx)
{
	struct again *a = ctx;
	list_each(it, &a->all)
		set_asked(list_of(it, struct again_front, all), false);
}

/* --- a new one --- */

static bool may_come_again(const struct again *a, const struct front_conn *fc)
{
	const struct front_service *s = a->run->service;
	return s->seldom_profile && strcmp(fc->profile, s->seldom_profile) == 0 && fc->client_known && a->run->conf->max_use > 1 &&
	       !*conf_for(a->run->conf, str_c(fc->listener), false)->smtpd_upstream_proxy_protocol;
}

struct again_front *again_new_front(struct again *a, const void *owner, struct front_conn *fc)
{
	static const uint16_t from_front[] = { IPC_handover_FREE };
	struct err e = { 0 };
	int pair[2];
	if (!may_come_again(a, fc))
		return NULL;
	if (a->n >= AGAIN_MAX && a->n_idle > IDLE_MAX)	/* another client has more than its share of them */
		let_go(list_of(a->idle.next, struct again_front, node));
	if (a->n >= AGAIN_MAX)
		return NULL;
	if (sock_pair(SOCK_SEQPACKET, pair, &e) < 0) {
		log_warning("%s", e.text);	/* then it serves this one only */
		return NULL;
	}
	if (pair[0] > a->fd_max) {
		close_fd(&pair[0]);
		close_fd(&pair[1]);
		return NULL;
	}
	struct again_front *f = xzalloc(sizeof(*f));
	*f = (struct again_front){ .set = a, .owner = owner, .conn = fc->conn, .first = fc->conn, .served = 1 };
	memcpy(f->client, fc->client, sizeof(f->client));
	memcpy(f->profile, fc->profile, sizeof(f->profile));
	memcpy(f->listener, fc->listener, sizeof(f->listener));
	f->chan = ipc_chan_new(a->loop, pair[0], &ipc_handover, on_message, on_closed, f);
	ipc_chan_allow(f->chan, (struct ipc_allow){ from_front, ARRAY_LEN(from_front) });
	fc->again_fd = pair[1];
	list_init(&f->node);
	list_append(&a->all, &f->all);
	a->n++;
	return f;
}

struct reg_kept *again_kept(struct again_front *f)
{
	return f ? &f->kept : NULL;
}

void again_give_up(struct again_front **fp)
{
	struct again_front *f = *fp;
	*fp = NULL;
	if (f)
		let_go(f);
}

void again_not_begun(struct again_front **fp)
{
	if (*fp)
		(*fp)->over = true;
	again_give_up(fp);
}

/* --- one that waits --- */

/* Who has waited for the shortest time: its memory is still in the processor's caches, and those that are too many get old and end. */
struct again_front *again_find(struct again *a, const struct front_conn *fc)
{
	for (struct list *it = a->idle.prev; it != &a->idle; it = it->prev) {
		struct again_front *f = list_of(it, struct again_front, node);
		if (strcmp(f->client, fc->client) == 0 && strcmp(f->profile, fc->profile) == 0 && strcmp(f->listener, fc->listener) == 0)
			return f;
	}
	return NULL;
}

uint64_t again_conn(const struct again_front *f)
{
	return f->conn;
}

int again_serve(struct again_front *f, const struct front_conn *fc, struct err *e)
{
	if (handover_send(f->chan, fc, e) < 0)
		return -1;
	leave_idle(f);
	set_asked(f, true);
	f->free = false;
	f->conn = fc->conn;
	f->served++;
	return 0;
}

/* --- all of them --- */

/* What it serves it serves to the end; its own end says when. */
static void make_last(struct again_front *f)
{
	const struct ipc_handover_DRAIN m = { 0 };
	struct err e = { 0 };
	f->last = true;
	if (ipc_send(f->chan, IPC_handover_DRAIN, &m, 0, -1, &e) < 0)
		log_error("%s", e.text);
}

void again_process_ended(struct again *a, uint64_t first)
{
	list_each_safe(it, &a->all)
	{
		struct again_front *f = list_of(it, struct again_front, all);
		f->over = f->over || f->first == first;
	}
}

void again_let_go_of(struct again *a, const void *owner, bool owner_is_gone)
{
	list_each_safe(it, &a->all)
	{
		struct again_front *f = list_of(it, struct again_front, all);
		if (f->owner != owner)
			continue;
		f->over = f->over || owner_is_gone;
		if (f->free)
			let_go(f);
		else
			make_last(f);
	}
}

struct again *again_new(struct loop *l, const struct front_run *run, int fd_max, struct again_calls calls)
{
	struct again *a = xzalloc(sizeof(*a));
	*a = (struct again){ .loop = l, .run = run, .calls = calls, .fd_max = fd_max };
	list_init(&a->all);
	list_init(&a->idle);
	a->timer = loop_timer(l, UINT32_MAX, on_idle_timer, a);
	a->hear = loop_timer(l, UINT32_MAX, on_hear_timer, a);
	return a;
}
