/* The event loop: one per process, one thread, epoll, timers on the monotonic clock, signals through signalfd.
 * The loop is never re-entered. Callbacks may add, change and delete any watch or timer, their own included;
 * objects freed through loop_free_later() live until the dispatch round ends.
 *
 *	struct loop *l = loop_new();
 *	loop_watch(l, fd, LOOP_READ, on_readable, ctx);
 *	loop_run(l);
 */
#ifndef IO_LOOP_H
#define IO_LOOP_H

#include <stdbool.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/err.h"

struct loop;
struct watch;
struct timer;

enum { LOOP_READ = 1, LOOP_WRITE = 2, LOOP_HUP = 4 };	/* HUP is always reported */

typedef void watch_fn(void *ctx, unsigned events);
typedef void timer_fn(void *ctx);
typedef void signal_fn(void *ctx, int signo);

struct loop *loop_new(void);			/* returns owned; ignores SIGPIPE; exits when the kernel refuses */
void loop_free(struct loop **l);
void loop_run(struct loop *l);			/* until loop_stop */
void loop_stop(struct loop *l);
/* Give unused memory back to the kernel once nothing has happened for after_ms (each time again): for processes that are many
 * and mostly idle. 0: never (the default). */
void loop_trim_when_idle(struct loop *l, unsigned after_ms);
/* fn(ctx, us) after a round whose callbacks took that much CPU time, more than limit_us: what had become ready meanwhile has waited so long, at least. Waits for
 * disks are not counted, nor what other processes took. */
typedef void held_fn(void *ctx, uint64_t us);
void loop_tell_held(struct loop *l, uint64_t limit_us, held_fn *fn, void *ctx);
/* fn(ctx) at the end of each round, before the loop waits; one at most. */
void loop_round_end(struct loop *l, timer_fn *fn, void *ctx);
uint64_t loop_now(const struct loop *l);	/* monotonic milliseconds when this round began */
/* In a forked child, before other descriptors are closed: forget the parent's epoll, signalfd, watches and timers, unblock its
 * signals; returns a fresh loop. Objects of the old loop may still be freed, and do nothing else. */
struct loop *loop_after_fork(struct loop **old);

struct watch *loop_watch(struct loop *l, int fd, unsigned events, watch_fn *fn, void *ctx);
void watch_set(struct watch *w, unsigned events);	/* 0: silent but for HUP */
void watch_del(struct watch **w);			/* does not close the fd; accepts NULL */

/* One-shot. The timer stays the caller's after it fired: arm it again or delete it. */
struct timer *loop_timer(struct loop *l, uint64_t after_ms, timer_fn *fn, void *ctx);
void timer_again(struct timer *t, uint64_t after_ms);	/* re-arm, also from its own callback */
/* Where systemd wants to hear that this loop still turns (WatchdogSec=), the process' main one does. */
void loop_watchdog(struct loop *l);
void timer_del(struct timer **t);			/* accepts NULL */

void loop_signal(struct loop *l, int signo, signal_fn *fn, void *ctx);	/* blocks the signal, reads it from signalfd */
/* fn(ctx) once after this dispatch round. */
void loop_later(struct loop *l, timer_fn *fn, void *ctx);
void loop_free_later(struct loop *l, void *p);		/* free(p) after this round */

#endif
