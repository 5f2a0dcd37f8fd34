/* Quarantine: messages that filterd wants kept from their recipients lie in the queue, as durable as all that does, held, with the reason in their record.
 * They have been through the filter: a release delivers them as any other. The words of the queue (release ALL, delete ALL, flush) leave them alone. */
#include <stdlib.h>

#include "base/clock.h"
#include "deliver/queue/queued.h"
#include "log/log.h"

enum { SWEEP_MS = 600000 };

struct sweeper {
	struct queued *q;
	struct timer *timer;
};

void quarantine_release(struct queued *q, struct qmsg *m)
{
	m->quarantined = m->held = false;
	if (!m->active) {
		control_journal(q, m);
		sched_when(q, m, 0);
	}
	log_info("%s: released from quarantine", m->qid);
}

size_t quarantine_expire(struct queued *q, uint64_t age_s)
{
	const int64_t now = clock_wall();
	char (*old)[SPOOL_QID_MAX + 1] = NULL;
	size_t n = 0, it = 0;
	struct qmsg *m;

	while (sched_each(q, &it, &m)) {	/* which must not change meanwhile */
		if (!m->quarantined || now < m->arrived || (uint64_t)(now - m->arrived) < age_s)
			continue;
		if (n % 64 == 0)
			old = xrealloc(old, (n + 64) * sizeof(*old));
		memcpy(old[n++], m->qid, sizeof(*old));
	}
	for (size_t i = 0; i < n; i++) {
		log_info("%s: expired in quarantine", old[i]);
		control_delete(q, sched_find(q, str_c(old[i])));
	}
	free(old);
	return n;
}

static void on_sweep(void *ctx)
{
	struct sweeper *s = ctx;

	if (s->q->conf->quarantine_lifetime > 0)
		(void)quarantine_expire(s->q, s->q->conf->quarantine_lifetime);
	timer_again(s->timer, SWEEP_MS);
}

void quarantine_start(struct queued *q)
{
	struct sweeper *s = xzalloc(sizeof(*s));

	s->q = q;
	s->timer = loop_timer(q->loop, SWEEP_MS, on_sweep, s);
}
