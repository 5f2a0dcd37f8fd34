/* The schedule: every message of the queue in memory as one small struct (the envelope stays on disk until it is tried). A message waits in a heap by the time of its
 * next try; when it is due it stands in line in its lane, which is the domain of its first pending recipient ("local" for mailboxes). Places for messages
 * that are being tried go round the lanes, and in a lane to fresh mail before old, but to old at least one time in four: neither a backlog for one domain nor
 * a pile of old mail holds up what has nothing to do with it. A lane gets as many places as its destination takes deliveries at once, and a few more so that
 * the next ones are at hand. Filled at start from the spool's directory; new messages are added when their record is durable.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "deliver/queue/queued.h"
#include "log/log.h"

enum {
	SWEEP_MS = 3600000,	/* looks for what a killed process left in incoming/ */
	OLD_EVERY = 4,		/* one place in so many is for mail that was tried before */
	LANE_SPARE = 5,		/* messages at hand beyond the window of a lane's destination */
	LANE_LOCAL = 256,	/* mailboxes: agents have limits of their own */
};

static const char LOCAL[] = "local", RELAY[] = "relayhost";

struct lane {
	struct list node;		/* of turns, when it has work and a place */
	struct list fresh, old;		/* messages that are due */
	struct list all;		/* every message of the lane, whatever its state */
	size_t n_active;
	uint64_t window;		/* of its destination, as far as it is known */
	unsigned turn;
	char name[];
};

struct sched {
	struct map *by_qid, *lanes;
	struct qmsg **heap;
	size_t n, cap;		/* of the heap: messages that are neither due nor active nor held */
	size_t n_active;
	struct list turns;
	struct timer *timer, *sweep;
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

/* --- lanes --- */

static struct lane *lane_get(struct queued *q, struct str name)
{
	struct lane *l = map_get(q->sched->lanes, name);

	if (l)
		return l;
	l = xzalloc(sizeof(*l) + name.n + 1);
	list_init(&l->node);
	list_init(&l->fresh);
	list_init(&l->old);
	list_init(&l->all);
	l->window = str_eq(name, str_c(LOCAL)) ? LANE_LOCAL : q->conf->initial_destination_concurrency;
	memcpy(l->name, name.p, name.n);
	(void)map_set(q->sched->lanes, name, l);
	return l;
}

static bool lane_has_work(const struct lane *l)
{
	return !list_empty(&l->fresh) || !list_empty(&l->old);
}

/* A lane that can take a place stands in the round; one without messages is forgotten. */
static void lane_update(struct queued *q, struct lane *l)
{
	const bool may = lane_has_work(l) && l->n_active < l->window + LANE_SPARE;

	if (list_empty(&l->all)) {
		list_del(&l->node);
		(void)map_del(q->sched->lanes, str_c(l->name));
		free(l);
	} else if (may && list_empty(&l->node)) {
		list_append(&q->sched->turns, &l->node);
	} else if (!may) {
		list_del(&l->node);
	}
}

/* The next message of a lane with work. */
static struct qmsg *lane_take(struct lane *l)
{
	const bool old_first = ++l->turn % OLD_EVERY == 0;
	struct list *from = old_first ? &l->old : &l->fresh;

	if (list_empty(from))
		from = old_first ? &l->fresh : &l->old;
	struct qmsg *m = list_of(from->next, struct qmsg, due);
	list_del(&m->due);
	return m;
}

void sched_window(struct queued *q, struct qmsg *m, uint64_t window)
{
	if (!str_eq(str_c(m->lane->name), str_c(LOCAL)))
		m->lane->window = window;
	lane_update(q, m->lane);
}

/* --- running --- */

static void due_now(struct queued *q)
{
	struct sched *s = q->sched;
	const int64_t now = clock_wall();

	while (s->n > 0 && s->heap[0]->next_try <= now) {
		struct qmsg *m = s->heap[0];
		heap_del(s, m);
		list_append(m->tries == 0 ? &m->lane->fresh : &m->lane->old, &m->due);
		lane_update(q, m->lane);
	}
}

/* Mailboxes have places of their own: remote mail, whatever its routes, cannot take them all. */
static struct lane *next_turn(const struct sched *s)
{
	if (s->n_active < QUEUED_ACTIVE_MAX)
		return list_of(s->turns.next, struct lane, node);
	list_each(n, &s->turns) {
		struct lane *l = list_of(n, struct lane, node);
		if (str_eq(str_c(l->name), str_c(LOCAL)))
			return l;
	}
	return NULL;
}

static void run_due(void *ctx)
{
	struct queued *q = ctx;
	struct sched *s = q->sched;

	if (q->leaving)
		return;
	due_now(q);
	while (!list_empty(&s->turns)) {
		struct lane *l = next_turn(s);
		if (l == NULL)
			break;
		struct qmsg *m = lane_take(l);
		list_del(&l->node);	/* to the end of the round, if it has more */
		s->n_active++;
		l->n_active++;
		lane_update(q, l);
		active_start(q, m);
	}
	if (s->n > 0) {
		const int64_t wait = s->heap[0]->next_try - clock_wall();
		timer_again(s->timer, wait <= 0 ? 0 : wait > 3600 ? 3600000 : (uint64_t)wait * 1000);
	}
}

static void wake(struct queued *q)
{
	timer_again(q->sched->timer, 0);
}

/* m may be gone: its lane counts as long as it was active. */
void sched_active_done(struct queued *q, struct qmsg *m)
{
	q->sched->n_active--;
	m->lane->n_active--;
	lane_update(q, m->lane);
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
	list_del(&m->due);
	lane_update(q, m->lane);
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
	list_del(&m->due);
	list_del(&m->peer);
	lane_update(q, m->lane);
	(void)map_del(q->sched->by_qid, str_c(m->qid));
	free(m);
	*mp = NULL;
}

static struct str lane_name(const struct queued *q, const struct spool_rcpt *r)
{
	const ptrdiff_t at = str_rchr(r->address, '@');

	if (!str_eq(r->kind, STR("remote")) || at < 0)
		return str_c(LOCAL);
	return q->conf->relayhost[0] ? str_c(RELAY) : str_from(r->address, (size_t)at + 1);
}

/* The lane of its first pending recipient, and whether others have another. */
static void choose_lane(struct queued *q, struct qmsg *m, const struct spool_msg *msg)
{
	struct str name = { 0 };

	for (size_t i = 0; i < msg->n_rcpts; i++) {
		if (msg->rcpts[i].state != SPOOL_PENDING)
			continue;
		const struct str d = lane_name(q, &msg->rcpts[i]);
		if (name.p == NULL)
			name = d;
		else
			m->mixed |= !str_case_eq(name, d);
	}
	m->lane = lane_get(q, name.p ? name : str_c(LOCAL));
	list_append(&m->lane->all, &m->peer);
}

void sched_add(struct queued *q, const struct spool_msg *msg, bool logged)
{
	struct qmsg *m = xzalloc(sizeof(*m));

	snprintf(m->qid, sizeof(m->qid), "%.*s", STR_ARG(msg->qid));
	list_init(&m->due);
	m->size = msg->size;
	m->arrived = (int64_t)(msg->arrived_us / 1000000);
	m->next_try = msg->next_try;
	m->tries = (uint32_t)msg->tries;
	m->held = msg->held;
	m->quarantined = msg->quarantine.n > 0;
	m->expired = msg->expired;
	m->logged = logged;
	choose_lane(q, m, msg);
	(void)map_set(q->sched->by_qid, str_c(m->qid), m);
	if (!m->held)
		heap_add(q->sched, m);
	wake(q);
}

int sched_may_be_for(const struct qmsg *m, struct str domain)
{
	const struct str lane = str_c(m->lane->name);

	if (str_case_eq(lane, domain))
		return 1;
	return m->mixed || str_eq(lane, str_c(RELAY)) || str_eq(lane, str_c(LOCAL)) ? 0 : -1;
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
	if (spool_load(q->spool, qid, size, a, &msg, NULL, &e) == 0 && sched_find(q, qid) == NULL) {
		sched_add(q, msg, msg->tries > 0);
		sched_find(q, qid)->recovered = true;
	} else if (e.code) {
		log_warning("%.*s: %s", STR_ARG(qid), e.text);
	}
	arena_free(&a);
	return 0;
}

static void on_sweep(void *ctx)
{
	struct queued *q = ctx;
	struct err e = { 0 };

	if (spool_sweep(q->spool, &e) < 0)
		log_warning("%s", e.text);
	timer_again(q->sched->sweep, SWEEP_MS);
}

void sched_start(struct queued *q, int remote_fd)
{
	struct err e = { 0 };

	q->sched = xzalloc(sizeof(*q->sched));
	q->sched->by_qid = map_new();
	q->sched->lanes = map_new();
	list_init(&q->sched->turns);
	q->sched->timer = loop_timer(q->loop, 0, run_due, q);
	q->sched->sweep = loop_timer(q->loop, SWEEP_MS, on_sweep, q);
	remotes_start(q, remote_fd);
	if (spool_scan(q->spool, found, q, &e) < 0)
		log_error("%s", e.text);
	if (sched_count(q) > 0)
		log_info("%zu messages in the queue", sched_count(q));
}
