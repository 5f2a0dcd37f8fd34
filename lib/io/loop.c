/* The event loop: epoll (level-triggered), a binary heap of timers, one signalfd. Owns the order of a dispatch round:
 *
 *	descriptors that are ready, signals among them
 *	timers that are due
 *	tasks (conn.c writes its output here, once per round)
 *	memory of what died in the round
 *	what wants to know of its end
 *
 * The kernel is told about a watch only when its interest changes, so a request that is read and answered costs no
 * epoll_ctl. Whoever needs more than this (threads, edge triggering, a second loop) does not belong in this suite.
 */
#include "io/loop.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/clock.h"
#include "io/loop_priv.h"

enum {
	EVENTS_PER_ROUND = 64,
	TASK_PASSES = 8, /* tasks that post tasks: then the descriptors have their turn */
	EXIT_OS = 71,
	SIGNALS = 65,
	PAGE = 4096,
	STACK_TRIM = 128 * 1024,
};

struct watch {
	struct loop *l;
	int fd;
	unsigned events;
	watch_fn *fn; /* NULL: deleted, freed at the end of the round */
	void *ctx;
	struct list node;
};

struct timer {
	struct loop *l;
	uint64_t at;
	size_t pos; /* in the heap; NOT_ARMED */
	timer_fn *fn;
	void *ctx;
};
static const size_t NOT_ARMED = (size_t)-1;

struct handler {
	signal_fn *fn;
	void *ctx;
};

struct later {
	struct loop_task task;
	timer_fn *fn;
	void *ctx;
};

struct loop {
	int epfd, sigfd;
	bool running, stop;
	int finishing; /* connections that still send their last */
	timer_fn *finished;
	void *finished_ctx;
	uint64_t now;
	struct timer **heap;
	size_t n_timers, cap_timers;
	struct list tasks;
	struct list watches, dead;
	void **garbage;
	size_t n_garbage, cap_garbage;
	sigset_t sigs;
	struct watch *sigwatch;
	struct handler handlers[SIGNALS];
	char *scratch;
	timer_fn *round_end;	/* NULL: none */
	void *round_end_ctx;
	held_fn *held;	/* NULL: nobody asks */
	void *held_ctx;
	uint64_t held_limit, held_since; /* CPU time of the thread; since: at the end of the round before */
	unsigned trim_ms;    /* loop_trim_when_idle */
	bool trimmed;	     /* since the last event */
	struct loop *parent; /* of a fork: never used, kept so that stale pointers stay harmless */
};

static void refuse(const char *what)
{
	dprintf(2, "%s: %s\n", what, strerror(errno));
	_exit(EXIT_OS);
}

struct loop *loop_new(void)
{
	struct loop *l = xzalloc(sizeof(*l));

	l->epfd = epoll_create1(EPOLL_CLOEXEC);
	if (l->epfd < 0)
		refuse("epoll_create1");
	l->sigfd = -1;
	l->now = clock_mono_ms();
	list_init(&l->tasks);
	list_init(&l->watches);
	list_init(&l->dead);
	sigemptyset(&l->sigs);
	/* A peer that went away is an error of write(), for pipes and under OpenSSL too. */
	signal(SIGPIPE, SIG_IGN);
	return l;
}

static void free_watches(struct list *head)
{
	list_each_safe (it, head) {
		struct watch *w = list_of(it, struct watch, node);

		list_del(it);
		free(w);
	}
}

static void run_later(void *ctx);

static void free_garbage(struct loop *l)
{
	for (size_t i = 0; i < l->n_garbage; i++)
		free(l->garbage[i]);
	l->n_garbage = 0;
	free_watches(&l->dead);
}

void loop_free(struct loop **lp)
{
	struct loop *l = *lp;

	if (!l)
		return;
	*lp = NULL;
	assert(!l->running);
	list_each_safe (it, &l->tasks) {
		struct loop_task *t = list_of(it, struct loop_task, node);

		list_del(it);
		if (t->fn == run_later)
			free(t->ctx);
	}
	free_watches(&l->watches);
	free_garbage(l);
	free(l->garbage);
	free(l->heap);
	free(l->scratch);
	if (l->sigfd >= 0)
		close(l->sigfd);
	close(l->epfd);
	loop_free(&l->parent);
	free(l);
}

uint64_t loop_now(const struct loop *l)
{
	return l->now;
}

/* --- descriptors --- */

static uint32_t epoll_bits(unsigned events)
{
	return (events & LOOP_READ ? EPOLLIN : 0u) | (events & LOOP_WRITE ? EPOLLOUT : 0u);
}

static void tell_kernel(struct watch *w, int op)
{
	struct epoll_event ev = { .events = epoll_bits(w->events), .data.ptr = w };

	if (epoll_ctl(w->l->epfd, op, w->fd, &ev) < 0)
		refuse("epoll_ctl");
}

struct watch *loop_watch(struct loop *l, int fd, unsigned events, watch_fn *fn, void *ctx)
{
	struct watch *w = xmalloc(sizeof(*w));

	*w = (struct watch){ .l = l, .fd = fd, .events = events, .fn = fn, .ctx = ctx };
	list_append(&l->watches, &w->node);
	tell_kernel(w, EPOLL_CTL_ADD);
	return w;
}

void watch_set(struct watch *w, unsigned events)
{
	if (w->events == events)
		return;
	w->events = events;
	if (w->l->epfd >= 0)
		tell_kernel(w, EPOLL_CTL_MOD);
}

void watch_del(struct watch **wp)
{
	struct watch *w = *wp;

	if (!w)
		return;
	*wp = NULL;
	w->fn = NULL;
	list_del(&w->node);
	list_append(&w->l->dead, &w->node);
	/* Fails without harm when the descriptor is closed already, or the loop was the parent's. */
	if (w->l->epfd >= 0)
		(void)epoll_ctl(w->l->epfd, EPOLL_CTL_DEL, w->fd, NULL);
}

static void dispatch(const struct epoll_event *ev)
{
	struct watch *w = ev->data.ptr;
	unsigned events = (ev->events & EPOLLIN ? LOOP_READ : 0u) |
			  (ev->events & EPOLLOUT ? LOOP_WRITE : 0u) |
			  (ev->events & (EPOLLHUP | EPOLLERR) ? LOOP_HUP : 0u);

	/* Deleted, or told to be silent, by an earlier callback of this round. */
	events &= w->events | LOOP_HUP;
	if (w->fn && events)
		w->fn(w->ctx, events);
}

/* --- timers: a binary heap, the soonest at 0 --- */

static void heap_put(struct loop *l, size_t i, struct timer *t)
{
	l->heap[i] = t;
	t->pos = i;
}

static void heap_up(struct loop *l, size_t i, struct timer *t)
{
	while (i > 0 && l->heap[(i - 1) / 2]->at > t->at) {
		heap_put(l, i, l->heap[(i - 1) / 2]);
		i = (i - 1) / 2;
	}
	heap_put(l, i, t);
}

static void heap_down(struct loop *l, size_t i, struct timer *t)
{
	for (size_t child; (child = 2 * i + 1) < l->n_timers; i = child) {
		if (child + 1 < l->n_timers && l->heap[child + 1]->at < l->heap[child]->at)
			child++;
		if (l->heap[child]->at >= t->at)
			break;
		heap_put(l, i, l->heap[child]);
	}
	heap_put(l, i, t);
}

static void timer_disarm(struct timer *t)
{
	struct loop *l = t->l;
	size_t i = t->pos;

	if (i == NOT_ARMED)
		return;
	t->pos = NOT_ARMED;
	struct timer *last = l->heap[--l->n_timers];
	if (last == t)
		return;
	if (i > 0 && l->heap[(i - 1) / 2]->at > last->at)
		heap_up(l, i, last);
	else
		heap_down(l, i, last);
}

struct timer *loop_timer(struct loop *l, uint64_t after_ms, timer_fn *fn, void *ctx)
{
	struct timer *t = xmalloc(sizeof(*t));

	*t = (struct timer){ .l = l, .pos = NOT_ARMED, .fn = fn, .ctx = ctx };
	timer_again(t, after_ms);
	return t;
}

void timer_again(struct timer *t, uint64_t after_ms)
{
	struct loop *l = t->l;

	timer_disarm(t);
	/* A callback may have taken long: deadlines count from the true now. */
	t->at = clock_mono_ms();
	if (__builtin_add_overflow(t->at, after_ms, &t->at))
		t->at = UINT64_MAX;
	if (l->n_timers == l->cap_timers) {
		l->cap_timers = l->cap_timers ? 2 * l->cap_timers : 8;
		l->heap = xrealloc(l->heap, l->cap_timers * sizeof(struct timer *));
	}
	heap_up(l, l->n_timers++, t);
}

void timer_del(struct timer **tp)
{
	struct timer *t = *tp;

	if (!t)
		return;
	*tp = NULL;
	timer_disarm(t);
	free(t);
}

static void run_timers(struct loop *l)
{
	/* Timers that are armed anew with 0 ms wait for the next round, so this ends. */
	for (size_t left = l->n_timers; left > 0 && l->n_timers > 0; left--) {
		struct timer *t = l->heap[0];

		if (t->at > l->now)
			break;
		timer_disarm(t);
		t->fn(t->ctx);
	}
}

/* --- signals --- */

static void on_signal(void *ctx, unsigned events)
{
	struct loop *l = ctx;
	struct signalfd_siginfo si;

	while (l->sigfd >= 0 && read(l->sigfd, &si, sizeof(si)) == (ssize_t)sizeof(si)) {
		if (si.ssi_signo < SIGNALS && l->handlers[si.ssi_signo].fn)
			l->handlers[si.ssi_signo].fn(l->handlers[si.ssi_signo].ctx,
						     (int)si.ssi_signo);
	}
}

void loop_signal(struct loop *l, int signo, signal_fn *fn, void *ctx)
{
	assert(signo > 0 && signo < SIGNALS);
	l->handlers[signo] = (struct handler){ fn, ctx };
	sigaddset(&l->sigs, signo);
	if (sigprocmask(SIG_BLOCK, &l->sigs, NULL) < 0)
		refuse("sigprocmask");
	int fd = signalfd(l->sigfd, &l->sigs, SFD_CLOEXEC | SFD_NONBLOCK);
	if (fd < 0)
		refuse("signalfd");
	l->sigfd = fd;
	if (!l->sigwatch)
		l->sigwatch = loop_watch(l, fd, LOOP_READ, on_signal, l);
}

/* --- the end of a round --- */

void loop_task_init(struct loop_task *t, timer_fn *fn, void *ctx)
{
	*t = (struct loop_task){ .fn = fn, .ctx = ctx };
	list_init(&t->node);
}

void loop_task_post(struct loop *l, struct loop_task *t)
{
	if (list_empty(&t->node))
		list_append(&l->tasks, &t->node);
}

void loop_task_cancel(struct loop_task *t)
{
	list_del(&t->node);
}

static void run_later(void *ctx)
{
	struct later *t = ctx;
	timer_fn *fn = t->fn;
	void *fn_ctx = t->ctx;

	free(t);
	fn(fn_ctx);
}

void loop_later(struct loop *l, timer_fn *fn, void *ctx)
{
	struct later *t = xmalloc(sizeof(*t));

	t->fn = fn;
	t->ctx = ctx;
	loop_task_init(&t->task, run_later, t);
	loop_task_post(l, &t->task);
}

static void run_tasks(struct loop *l)
{
	for (int pass = 0; pass < TASK_PASSES && !list_empty(&l->tasks); pass++) {
		struct list now;

		/* What they post belongs to the next pass; what they cancel leaves this list. */
		list_insert(&l->tasks, &now);
		list_del(&l->tasks);
		while (!list_empty(&now)) {
			struct loop_task *t = list_of(now.next, struct loop_task, node);

			list_del(&t->node);
			t->fn(t->ctx);
		}
	}
}

void loop_free_later(struct loop *l, void *p)
{
	if (!p)
		return;
	if (l->n_garbage == l->cap_garbage) {
		l->cap_garbage = l->cap_garbage ? 2 * l->cap_garbage : 8;
		l->garbage = xrealloc(l->garbage, l->cap_garbage * sizeof(void *));
	}
	l->garbage[l->n_garbage++] = p;
}

char *loop_scratch(struct loop *l)
{
	if (!l->scratch)
		l->scratch = xmalloc(LOOP_SCRATCH);
	return l->scratch;
}

static void tell_finished(struct loop *l)
{
	timer_fn *fn = l->finished;

	l->finished = NULL;
	if (fn)
		loop_later(l, fn, l->finished_ctx);
}

bool loop_finishing(struct loop *l, int delta)
{
	l->finishing += delta;
	const bool ends = l->finishing == 0 && l->finished;
	if (ends)
		tell_finished(l);
	return ends;
}

void loop_when_finished(struct loop *l, timer_fn *fn, void *ctx)
{
	l->finished = fn;
	l->finished_ctx = ctx;
	if (l->finishing == 0)
		tell_finished(l);
}

/* --- running --- */

void loop_trim_when_idle(struct loop *l, unsigned after_ms)
{
	l->trim_ms = after_ms > INT_MAX ? INT_MAX : after_ms;
	l->trimmed = false;
}

/* What a burst of work has left behind: the read buffer, pages of the heap between what is still used, and the stack
 * below this frame, which a handshake has been deep in (its pages read as zero when they are used again). */
static void trim(struct loop *l)
{
	char here;
	char *below = (char *)((uintptr_t)&here & ~(uintptr_t)(PAGE - 1)) - PAGE;

	l->trimmed = true;
	free(l->scratch);
	l->scratch = NULL;
	malloc_trim(0);
	/* The lowest part may not be mapped: the rest is given back all the same. */
	(void)madvise(below - STACK_TRIM, STACK_TRIM, MADV_DONTNEED);
}

static int wait_ms(struct loop *l)
{
	uint64_t left = UINT64_MAX;

	if (!list_empty(&l->tasks) || l->stop)
		return 0;
	if (l->n_timers) {
		l->now = clock_mono_ms();
		left = l->heap[0]->at > l->now ? l->heap[0]->at - l->now : 0;
	}
	if (l->trim_ms && !l->trimmed && left > l->trim_ms)
		left = l->trim_ms;
	return left == UINT64_MAX ? -1 : left > INT_MAX ? INT_MAX : (int)left;
}

void loop_round_end(struct loop *l, timer_fn *fn, void *ctx)
{
	l->round_end = fn;
	l->round_end_ctx = ctx;
}

void loop_tell_held(struct loop *l, uint64_t limit_us, held_fn *fn, void *ctx)
{
	l->held_limit = limit_us;
	l->held_since = clock_thread_us();
	l->held = fn;
	l->held_ctx = ctx;
}

static void tell_held(struct loop *l)
{
	if (!l->held)
		return;
	const uint64_t now = clock_thread_us(), us = now - l->held_since;

	l->held_since = now;
	if (us > l->held_limit)
		l->held(l->held_ctx, us);
}

void loop_run(struct loop *l)
{
	struct epoll_event ev[EVENTS_PER_ROUND];

	assert(!l->running);
	l->running = true;
	l->stop = false;
	l->held_since = l->held ? clock_thread_us() : 0;
	for (run_tasks(l); free_garbage(l), !l->stop; run_tasks(l)) {
		tell_held(l);
		if (l->round_end)
			l->round_end(l->round_end_ctx);
		const int ms = wait_ms(l);
		const uint64_t waited = l->trim_ms ? clock_mono_ms() : 0;
		int n = epoll_wait(l->epfd, ev, EVENTS_PER_ROUND, ms);

		if (n < 0 && errno != EINTR)
			refuse("epoll_wait");
		l->now = clock_mono_ms();
		for (int i = 0; i < n; i++)
			dispatch(&ev[i]);
		run_timers(l);
		if (n > 0)
			l->trimmed = false;
		else if (l->trim_ms && !l->trimmed && l->now - waited >= l->trim_ms)
			trim(l);
	}
	l->running = false;
}

void loop_stop(struct loop *l)
{
	l->stop = true;
}

struct loop *loop_after_fork(struct loop **lp)
{
	struct loop *old = *lp, *l = loop_new();

	*lp = NULL;
	/* The epoll instance is shared with the parent: it must not be told anything, only let go. What still points
	 * into the old loop (a watch deleted later) finds -1 there. */
	close(old->epfd);
	old->epfd = -1;
	if (old->sigfd >= 0)
		close(old->sigfd);
	old->sigfd = -1;
	old->running = false;
	sigprocmask(SIG_UNBLOCK, &old->sigs, NULL);
	l->parent = old;
	return l;
}
