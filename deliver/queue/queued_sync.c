/* fsync beside the loop, and copies of large messages: a few threads that do nothing else, so that syncs of many messages run together (the journal of the file
 * system commits them as one) and the loop never waits for a disk. They share with the loop only the two lists below, under one lock.
 */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sysexits.h>
#include <unistd.h>

#include "deliver/queue/queued.h"
#include "log/log.h"
#include "os/crew.h"

enum { STACK = 64 * 1024 };

struct job {
	struct job *next;
	int fd, error;
	int from;		/* to be copied to fd; -1: fd is to be synced, and closed */
	uint64_t size;
	sync_fn *fn;
	void *ctx;
};

struct syncer {
	pthread_mutex_t lock;
	pthread_cond_t work;
	struct job *todo, **todo_end;
	struct job *done;
	int event;
};

static struct job *take(struct syncer *s)
{
	struct job *j;

	pthread_mutex_lock(&s->lock);
	while ((j = s->todo) == NULL)
		pthread_cond_wait(&s->work, &s->lock);
	s->todo = j->next;
	if (s->todo == NULL)
		s->todo_end = &s->todo;
	pthread_mutex_unlock(&s->lock);
	return j;
}

static void give_back(struct syncer *s, struct job *j)
{
	const uint64_t one = 1;

	pthread_mutex_lock(&s->lock);
	const bool told = s->done != NULL;	/* who put that there wakes the loop, which takes all */
	j->next = s->done;
	s->done = j;
	pthread_mutex_unlock(&s->lock);
	while (!told && write(s->event, &one, sizeof(one)) < 0 && errno == EINTR)
		;
}

static void *worker(void *ctx)
{
	struct syncer *s = ctx;

	for (;;) {
		struct job *j = take(s);
		if (j->from >= 0) {
			j->error = spool_copy_content(j->fd, j->from, j->size);
		} else {
			j->error = fsync(j->fd) < 0 ? errno : 0;
			(void)close(j->fd);
		}
		give_back(s, j);
	}
	return NULL;
}

static void on_event(void *ctx, unsigned events)
{
	struct syncer *s = ctx;
	uint64_t n;

	while (read(s->event, &n, sizeof(n)) < 0 && errno == EINTR)
		;
	pthread_mutex_lock(&s->lock);
	struct job *j = s->done;
	s->done = NULL;
	pthread_mutex_unlock(&s->lock);
	while (j) {
		struct job *next = j->next;
		j->fn(j->ctx, j->error);
		free(j);
		j = next;
	}
}

struct syncer *sync_new(struct loop *l, unsigned threads)
{
	struct syncer *s = xzalloc(sizeof(*s));

	pthread_mutex_init(&s->lock, NULL);
	pthread_cond_init(&s->work, NULL);
	s->todo_end = &s->todo;
	s->event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	for (unsigned i = 0; i < threads; i++) {
		const int r = thread_start(worker, s, STACK);
		if (r != 0) {
			log_error("cannot start a sync thread (errno %d)", r);
			exit(EX_OSERR);
		}
	}
	loop_watch(l, s->event, LOOP_READ, on_event, s);
	return s;
}

static void submit(struct syncer *s, struct job wanted)
{
	struct job *j = xzalloc(sizeof(*j));

	*j = wanted;
	pthread_mutex_lock(&s->lock);
	*s->todo_end = j;
	s->todo_end = &j->next;
	pthread_mutex_unlock(&s->lock);
	pthread_cond_signal(&s->work);	/* after that: who is woken wants the lock */
}

void sync_submit(struct syncer *s, int fd, sync_fn *fn, void *ctx)
{
	submit(s, (struct job){ .fd = fd, .from = -1, .fn = fn, .ctx = ctx });
}

void sync_copy(struct syncer *s, int to, int from, uint64_t size, sync_fn *fn, void *ctx)
{
	submit(s, (struct job){ .fd = to, .from = from, .size = size, .fn = fn, .ctx = ctx });
}
