/* How large the queue is, for scrapers: counted every few seconds, so that nothing on a message's way has to keep a number. */
#include "base/clock.h"
#include "deliver/queue/queued.h"
#include "log/gauges.h"
#include "log/log.h"

enum { EVERY_MS = 10000, PER_MS = 20 };	/* a large queue is counted more seldom: at most one part in so many of the time */

static struct gauges *gauges;
static struct timer *timer;

void queue_gauges_open(const struct conf *c)
{
	struct err e = { 0 };

	if (gauges_open(c->run_directory, true, &gauges, &e) < 0)
		log_info("the queue's size is not shown to scrapers: %s", e.text);
}

static void count(struct queued *q, uint64_t values[GA_MAX_])
{
	struct qmsg *m;
	size_t it = 0;

	while (sched_each(q, &it, &m)) {
		values[m->quarantined ? GA_queue_quarantine : m->active ? GA_queue_active : m->held ? GA_queue_hold : GA_queue_deferred]++;
		uint64_t *const oldest = &values[GA_queue_oldest_arrival_seconds];
		if (!m->quarantined && !m->held && (*oldest == 0 || (uint64_t)m->arrived < *oldest))
			*oldest = (uint64_t)m->arrived;
	}
}

static void on_time(void *ctx)
{
	uint64_t values[GA_MAX_] = { 0 };
	const uint64_t start = clock_mono_ms();

	count(ctx, values);
	gauges_set(gauges, values, clock_wall());
	timer_again(timer, EVERY_MS + (clock_mono_ms() - start) * PER_MS);
}

void queue_gauges_start(struct queued *q)
{
	if (gauges)
		timer = loop_timer(q->loop, 0, on_time, q);
}
