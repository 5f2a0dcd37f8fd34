/* Threads for a batch at a time. All of it is under one lock but the work itself; a thread takes several small items at once, so that the lock is not what they wait
 * for. Threads wait for work, not for the loop: the loop waits for them only in crew_finish, for no longer than what one has taken, and first does a
 * little of a later batch that is alike: mostly that is long enough, and nobody sleeps. */
#include "os/crew.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>

#include "base/arena.h"

enum {
	SHARES = 4,	/* a thread takes this part of what would be its share at once */
	ALIKE_MAX = 2,	/* items of later batches that are done while one is waited for: the loop has others to serve */
};

struct crew {
	pthread_mutex_t lock;
	pthread_cond_t work, done, ended;
	struct crew_batch *batches;	/* with items that nobody has begun, the eldest first */
	unsigned size, idle_ms;
	unsigned threads, waiting;	/* made; without work */
	bool taken[CREW_MAX];		/* hands of threads */
	bool over;
};

static _Thread_local bool inside;

bool crew_inside(void)
{
	return inside;
}

int thread_start(void *(*fn)(void *), void *ctx, size_t stack_bytes)
{
	pthread_attr_t attr;
	pthread_t t;
	sigset_t all, old;

	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, stack_bytes);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	const int r = pthread_create(&t, &attr, fn, ctx);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	pthread_attr_destroy(&attr);
	return r;
}

/* --- one batch; under the lock --- */

static void unlist(struct crew *c, struct crew_batch *b)
{
	for (struct crew_batch **p = &c->batches; *p; p = &(*p)->after) {
		if (*p == b) {
			*p = b->after;
			return;
		}
	}
}

/* What a hand takes of it at once. */
static size_t share_of(const struct crew *c, const struct crew_batch *b)
{
	const size_t share = (b->n - b->next) / ((size_t)c->size * SHARES);

	return share > 0 ? share : 1;
}

/* Items that nobody has begun: n of them are done here. The lock is not held meanwhile. */
static void do_some(struct crew *c, struct crew_batch *b, size_t n, unsigned hand)
{
	const size_t from = b->next;

	b->next += n;
	if (b->next == b->n)
		unlist(c, b);
	pthread_mutex_unlock(&c->lock);
	for (size_t i = from; i < from + n; i++)
		b->fn((char *)b->items + i * b->size, hand);
	pthread_mutex_lock(&c->lock);
	b->left -= n;
	if (b->left == 0)
		pthread_cond_broadcast(&c->done);
}

/* --- threads --- */

static unsigned hand_take(struct crew *c)
{
	unsigned hand = 1;

	while (c->taken[hand])
		hand++;
	c->taken[hand] = true;
	return hand;
}

static struct timespec in_ms(unsigned ms)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	t.tv_sec += ms / 1000;
	t.tv_nsec += (long)(ms % 1000) * 1000000;
	if (t.tv_nsec >= 1000000000) {
		t.tv_sec++;
		t.tv_nsec -= 1000000000;
	}
	return t;
}

/* False: there was nothing to do for long. */
static bool wait_for_work(struct crew *c)
{
	const struct timespec until = in_ms(c->idle_ms);
	int r = 0;

	c->waiting++;
	while (c->batches == NULL && !c->over && r != ETIMEDOUT)
		r = pthread_cond_timedwait(&c->work, &c->lock, &until);
	c->waiting--;
	return c->batches != NULL;
}

static void *thread(void *ctx)
{
	struct crew *const c = ctx;

	inside = true;
	pthread_mutex_lock(&c->lock);
	const unsigned hand = hand_take(c);
	while (c->batches != NULL || wait_for_work(c))
		do_some(c, c->batches, share_of(c, c->batches), hand);
	c->taken[hand] = false;
	c->threads--;
	pthread_cond_signal(&c->ended);
	pthread_mutex_unlock(&c->lock);
	return NULL;
}

/* Those that sleep are woken, missing ones are made, no more than have something to do. */
static void call(struct crew *c, size_t items)
{
	const unsigned most = items < c->size ? (unsigned)items : c->size - 1;

	for (unsigned i = 0; i < most && i < c->waiting; i++)
		pthread_cond_signal(&c->work);
	while (c->threads < most) {
		c->threads++;
		if (thread_start(thread, c, CREW_STACK) != 0) {	/* not now: the loop's thread does it */
			c->threads--;
			break;
		}
	}
}

/* --- for the loop --- */

struct crew *crew_new(unsigned size, unsigned idle_ms)
{
	struct crew *const c = xzalloc(sizeof(*c));
	pthread_condattr_t attr;
	cpu_set_t cpus;

	if (size == 0)
		size = sched_getaffinity(0, sizeof(cpus), &cpus) == 0 ? (unsigned)CPU_COUNT(&cpus) : 1;
	c->idle_ms = idle_ms;
	c->size = size < 1 ? 1 : size > CREW_MAX ? CREW_MAX : size;
	pthread_mutex_init(&c->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&c->work, &attr);
	pthread_cond_init(&c->done, &attr);
	pthread_cond_init(&c->ended, NULL);
	pthread_condattr_destroy(&attr);
	return c;
}

unsigned crew_size(const struct crew *c)
{
	return c->size;
}

void crew_free(struct crew **cp)
{
	struct crew *const c = *cp;

	*cp = NULL;
	if (c == NULL)
		return;
	pthread_mutex_lock(&c->lock);
	assert(c->batches == NULL);
	c->over = true;
	pthread_cond_broadcast(&c->work);
	while (c->threads > 0)
		pthread_cond_wait(&c->ended, &c->lock);
	pthread_mutex_unlock(&c->lock);
	pthread_mutex_destroy(&c->lock);
	pthread_cond_destroy(&c->work);
	pthread_cond_destroy(&c->done);
	pthread_cond_destroy(&c->ended);
	free(c);
}

void crew_begin(struct crew *c, struct crew_batch *b)
{
	struct crew_batch **end = &c->batches;

	assert(!inside);
	b->after = NULL;
	b->next = 0;
	b->left = b->n;
	if (b->n == 0)
		return;
	pthread_mutex_lock(&c->lock);
	while (*end)
		end = &(*end)->after;
	*end = b;
	call(c, b->n);
	pthread_mutex_unlock(&c->lock);
}

/* The eldest batch of the same work that has items which nobody has begun; NULL: none. */
static struct crew_batch *alike(const struct crew *c, const struct crew_batch *b)
{
	struct crew_batch *more = c->batches;

	while (more != NULL && more->fn != b->fn)
		more = more->after;
	return more;
}

void crew_finish(struct crew *c, struct crew_batch *b)
{
	struct crew_batch *more;

	if (b->n == 0)
		return;
	pthread_mutex_lock(&c->lock);
	while (b->next < b->n)
		do_some(c, b, share_of(c, b), 0);
	for (unsigned n = 0; n < ALIKE_MAX && b->left > 0 && (more = alike(c, b)) != NULL; n++)
		do_some(c, more, 1, 0);
	while (b->left > 0)
		pthread_cond_wait(&c->done, &c->lock);
	pthread_mutex_unlock(&c->lock);
}

bool crew_help(struct crew *c, struct crew_batch *b)
{
	pthread_mutex_lock(&c->lock);
	const bool some = b->next < b->n;
	if (some)
		do_some(c, b, 1, 0);
	pthread_mutex_unlock(&c->lock);
	return some;
}

bool crew_wait(struct crew *c, struct crew_batch *b, unsigned ms)
{
	const struct timespec until = in_ms(ms);

	pthread_mutex_lock(&c->lock);
	while (b->left > 0 && pthread_cond_timedwait(&c->done, &c->lock, &until) == 0)
		;
	const bool done = b->left == 0;
	pthread_mutex_unlock(&c->lock);
	return done;
}
