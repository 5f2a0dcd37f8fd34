/* The schedule: every message of the queue in memory as one small struct (the envelope stays on disk until it is tried), in a heap by the time of its next try.
 * At most QUEUED_ACTIVE_MAX are tried at once. Filled at start from the spool's directory; new messages are added when their record is durable. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "deliver/queued.h"
#include "log/log.h"

struct sched {
	struct map *by_qid;
	struct qmsg **heap;
	size_t n, cap;		/* of the heap: messages that are neither active nor held */
	size_t n_active;
	struct timer *timer;
};

/* --- heap --- */

static void put(struct sched *s, size_t at, struct qmsg *m)
{
	s->heap[at] = m;
	m->heap_at = at + 1;
}

static void sift_up(struct sched *s, size_t at)
{
	struct qmsg *m = s->heap[at];

	for (; at > 0 && s->heap[(at - 1) / 2]->next_try > m->next_try; at = (at - 1) / 2)
		put(s, at, s->heap[(at - 1) / 2]);
	put(s, at, m);
}

static void sift_down(struct sched *s, size_t at)
{
	struct qmsg *m = s->heap[at];

	for (size_t c; (c = 2 * at + 1) < s->n; at = c) {
		if (c + 1 < s->n && s->heap[c + 1]->next_try < s->heap[c]->next_try)
			c++;
		if (s->heap[c]->next_try >= m->next_try)
			break;
		put(s, at, s->heap[c]);
	}
	put(s, at, m);
}

static void heap_add(struct sched *s, struct qmsg *m)
{
	if (s->n == s->cap) {
		s->cap = s->cap ? s->cap * 2 : 64;
		s->heap = xrealloc(s->heap, s->cap * sizeof(*s->heap));
	}
	put(s, s->n++, m);
	sift_up(s, s->n - 1);
}

static void heap_del(struct sched *s, struct qmsg *m)
{
	if (m->heap_at == 0)
		return;
	const size_t at = m->heap_at - 1;
	struct qmsg *last = s->heap[--s->n];
	m->heap_at = 0;
	if (last == m)
		return;
	put(s, at, last);
	sift_up(s, at);
	sift_down(s, last->heap_at - 1);
}

/* --- running --- */

static void run_due(void *ctx)
{
	struct queued *q = ctx;
	struct sched *s = q->sched;
	const int64_t now = clock_wall();

	if (q->leaving)
		return;
	while (s->n > 0 && s->n_active < QUEUED_ACTIVE_MAX && s->heap[0]->next_try <= now) {
		struct qmsg *m = s->heap[0];
		heap_del(s, m);
		s->n_active++;
		active_start(q, m);
	}
	if (s->n > 0 && s->n_active < QUEUED_ACTIVE_MAX) {
		const int64_t wait = s->heap[0]->next_try - clock_wall();
		timer_again(s->timer, wait <= 0 ? 0 : wait > 3600 ? 3600000 : (uint64_t)wait * 1000);
	}
}

static void wake(struct queued *q)
{
	timer_again(q->sched->timer, 0);
}

void sched_active_done(struct queued *q, struct qmsg *m)
{
	q->sched->n_active--;
	wake(q);
}

struct qmsg *sched_find(struct queued *q, struct str qid)
{
	return map_get(q->sched->by_qid, qid);
}

size_t sched_active(const struct queued *q)
{
	return q->sched->n_active;
}

size_t sched_count(const struct queued *q)
{
	return map_count(q->sched->by_qid);
}

bool sched_each(struct queued *q, size_t *it, struct qmsg **out)
{
	struct str key;
	void *v;

	if (!map_next(q->sched->by_qid, it, &key, &v))
		return false;
	*out = v;
	return true;
}

void sched_when(struct queued *q, struct qmsg *m, int64_t next_try)
{
	heap_del(q->sched, m);
	m->next_try = next_try;
	if (m->held)
		return;
	heap_add(q->sched, m);
	wake(q);
}

void sched_forget(struct queued *q, struct qmsg **mp)
{
	struct qmsg *m = *mp;

	heap_del(q->sched, m);
	(void)map_del(q->sched->by_qid, str_c(m->qid));
	free(m);
	*mp = NULL;
}

void sched_add(struct queued *q, const struct spool_msg *msg, bool logged)
{
	struct qmsg *m = xzalloc(sizeof(*m));

	snprintf(m->qid, sizeof(m->qid), "%.*s", STR_ARG(msg->qid));
	m->size = msg->size;
	m->arrived = (int64_t)(msg->arrived_us / 1000000);
	m->next_try = msg->next_try;
	m->tries = msg->tries;
	m->held = msg->held;
	m->logged = logged;
	(void)map_set(q->sched->by_qid, str_c(m->qid), m);
	if (!m->held)
		heap_add(q->sched, m);
	wake(q);
}

/* --- start --- */

static int found(void *ctx, struct str qid, uint64_t size)
{
	struct queued *q = ctx;
	struct arena *a = arena_new(0);
	struct spool_msg *msg = NULL;
	struct err e = { 0 };

	if (map_count(q->sched->by_qid) >= QUEUED_INDEX_MAX) {
		log_error("more than %d messages in the queue: the rest is left alone until the next start", QUEUED_INDEX_MAX);
		arena_free(&a);
		return 1;
	}
	if (spool_load(q->spool, qid, size, a, &msg, &e) == 0 && sched_find(q, qid) == NULL) {
		sched_add(q, msg, msg->tries > 0);
		sched_find(q, qid)->recovered = true;
	} else if (e.code) {
		log_warning("%.*s: %s", STR_ARG(qid), e.text);
	}
	arena_free(&a);
	return 0;
}

void sched_start(struct queued *q, int remote_fd)
{
	struct err e = { 0 };

	q->sched = xzalloc(sizeof(*q->sched));
	q->sched->by_qid = map_new();
	q->sched->timer = loop_timer(q->loop, 0, run_due, q);
	active_remote_start(q, remote_fd);
	if (spool_scan(q->spool, found, q, &e) < 0)
		log_error("%s", e.text);
	if (sched_count(q) > 0)
		log_info("%zu messages in the queue", sched_count(q));
}
