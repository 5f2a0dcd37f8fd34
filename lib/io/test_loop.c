/* The loop's promises: order of a round, deletion from inside callbacks, timers, signals, forks. */
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "io/loop.h"
#include "test/tap.h"

static struct loop *loop;
static char trace[64];
static size_t traced;

static void note(char c)
{
	if (traced < sizeof(trace) - 1)
		trace[traced++] = c;
	trace[traced] = '\0';
}

static void reset(void)
{
	traced = 0;
	trace[0] = '\0';
}

static void stop(void *ctx)
{
	note('s');
	loop_stop(loop);
}

static void note_timer(void *ctx)
{
	note(*(const char *)ctx);
}

static void timers_fire_in_order(void)
{
	struct timer *t[6];
	static const char names[] = "abcde";

	reset();
	t[0] = loop_timer(loop, 8, note_timer, (void *)(uintptr_t)&names[2]);
	t[1] = loop_timer(loop, 2, note_timer, (void *)(uintptr_t)&names[0]);
	t[2] = loop_timer(loop, 5, note_timer, (void *)(uintptr_t)&names[1]);
	t[3] = loop_timer(loop, 3, note_timer, (void *)(uintptr_t)&names[4]);
	t[4] = loop_timer(loop, 1000, note_timer, (void *)(uintptr_t)&names[3]);
	t[5] = loop_timer(loop, 12, stop, NULL);
	timer_del(&t[3]);
	timer_again(t[4], 10);
	loop_run(loop);
	tap_is_str(trace, "abcds", "timers fire in the order of their time, deleted ones not");
	tap_ok(t[3] == NULL, "timer_del forgets the pointer");
	for (int i = 0; i < 6; i++)
		timer_del(&t[i]);
}

static void many_timers(void)
{
	enum { N = 500 };
	struct timer *t[N], *end;
	static const char x = 'x';
	uint64_t start = clock_mono_ms();

	reset();
	for (int i = 0; i < N; i++)
		t[i] = loop_timer(loop, (uint64_t)(i * 7919 % 100) + 100000, note_timer,
				  (void *)(uintptr_t)&x);
	for (int i = 0; i < N; i += 2)
		timer_del(&t[i]);
	for (int i = 1; i < N; i += 2)
		timer_again(t[i], (uint64_t)(i * 31 % 10));
	end = loop_timer(loop, 20, stop, NULL);
	loop_run(loop);
	tap_is_int((long long)traced, 63, "the heap survives deletion and re-arming anywhere");
	tap_ok(clock_mono_ms() - start >= 20, "no timer fires early");
	for (int i = 1; i < N; i += 2)
		timer_del(&t[i]);
	timer_del(&end);
}

static struct timer *self;
static int rounds;

static void again(void *ctx)
{
	if (++rounds < 3)
		timer_again(self, 0);
	else {
		timer_del(&self);
		loop_stop(loop);
	}
}

static void timer_rearms_and_deletes_itself(void)
{
	rounds = 0;
	self = loop_timer(loop, 0, again, NULL);
	loop_run(loop);
	tap_is_int(rounds, 3, "a timer can arm and delete itself from its callback");
}

static struct watch *wa, *wb;
static int pa[2], pb[2];

static void kill_other(void *ctx, unsigned events)
{
	char c;

	note(*(const char *)ctx);
	/* Both are readable in this round: the first that runs deletes both. */
	(void)!read(pa[0], &c, 1);
	watch_del(&wa);
	watch_del(&wb);
	loop_stop(loop);
}

static void watch_deleted_in_round(void)
{
	static const char a = 'a', b = 'b';

	reset();
	(void)!pipe(pa);
	(void)!pipe(pb);
	wa = loop_watch(loop, pa[0], LOOP_READ, kill_other, (void *)(uintptr_t)&a);
	wb = loop_watch(loop, pb[0], LOOP_READ, kill_other, (void *)(uintptr_t)&b);
	(void)!write(pa[1], "x", 1);
	(void)!write(pb[1], "x", 1);
	loop_run(loop);
	tap_is_int((long long)traced, 1,
		   "a watch deleted by another callback of the round does not run");
	for (int i = 0; i < 2; i++) {
		close(pa[i]);
		close(pb[i]);
	}
}

static unsigned seen;

static void on_events(void *ctx, unsigned events)
{
	seen |= events;
	loop_stop(loop);
}

static void hup_is_always_reported(void)
{
	int sv[2];

	(void)!socketpair(AF_UNIX, SOCK_STREAM, 0, sv);
	struct watch *w = loop_watch(loop, sv[0], 0, on_events, NULL);
	seen = 0;
	(void)!write(sv[1], "x", 1);
	close(sv[1]);
	loop_run(loop);
	tap_is_int(seen, LOOP_HUP, "a silent watch reports the hang-up and nothing else");
	seen = 0;
	watch_set(w, LOOP_READ | LOOP_WRITE);
	loop_run(loop);
	tap_is_int(seen, LOOP_READ | LOOP_WRITE | LOOP_HUP, "interest can be changed");
	watch_del(&w);
	close(sv[0]);
}

static void later_b(void *ctx)
{
	note('b');
	loop_stop(loop);
}

static void later_a(void *ctx)
{
	note('a');
	loop_later(loop, later_b, NULL);
}

static void on_tick(void *ctx)
{
	loop_later(loop, later_a, NULL);
	note('t');
}

static void later_runs_after_the_round(void)
{
	struct timer *t = loop_timer(loop, 1, on_tick, NULL);

	reset();
	loop_free_later(loop, malloc(10));
	loop_run(loop);
	tap_is_str(trace, "tab", "later work runs after the callbacks, what it adds after it");
	timer_del(&t);
}

static int got_signal;

static void on_signal(void *ctx, int signo)
{
	got_signal = signo;
	loop_stop(loop);
}

static void signals_are_events(void)
{
	loop_signal(loop, SIGUSR1, on_signal, NULL);
	loop_signal(loop, SIGHUP, on_signal, NULL);
	raise(SIGHUP);
	loop_run(loop);
	tap_is_int(got_signal, SIGHUP, "a signal is delivered in the loop");
}

static void child_gets_a_fresh_loop(void)
{
	int sv[2], status = -1;

	(void)!socketpair(AF_UNIX, SOCK_STREAM, 0, sv);
	struct watch *w = loop_watch(loop, sv[0], LOOP_READ, on_events, NULL);
	pid_t pid = fork();
	if (pid == 0) {
		loop = loop_after_fork(&loop);
		watch_del(&w); /* must not reach the parent's epoll */
		int p[2];
		(void)!pipe(p);
		struct watch *w2 = loop_watch(loop, p[0], LOOP_READ, on_events, NULL);
		(void)!write(p[1], "x", 1);
		seen = 0;
		loop_run(loop);
		watch_del(&w2);
		loop_signal(loop, SIGHUP, on_signal, NULL);
		got_signal = 0;
		raise(SIGHUP);
		loop_run(loop);
		_exit(seen == LOOP_READ && got_signal == SIGHUP ? 0 : 1);
	}
	waitpid(pid, &status, 0);
	tap_is_int(status, 0, "the child's loop serves its own descriptors and signals");
	(void)!write(sv[1], "x", 1);
	seen = 0;
	loop_run(loop);
	tap_is_int(seen, LOOP_READ, "the parent's watches survive what the child deletes");
	watch_del(&w);
	close(sv[0]);
	close(sv[1]);
}

int main(void)
{
	alarm(20);
	loop = loop_new();
	timers_fire_in_order();
	many_timers();
	timer_rearms_and_deletes_itself();
	watch_deleted_in_round();
	hup_is_always_reported();
	later_runs_after_the_round();
	signals_are_events();
	child_gets_a_fresh_loop();
	loop_free(&loop);
	return tap_done();
}
