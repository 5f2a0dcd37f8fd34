/* The mail that waits for a domain is tried now: asked for by an administrator, or by a client with ETRN (RFC 1985). To clients only domains of fast_flush_domains are
 * served, so that a stranger cannot make us work; the queue is looked through in slices, so that a long one holds nothing up. */
#include <stdlib.h>
#include <string.h>

#include "deliver/queue/queued.h"
#include "log/log.h"
#include "smtp/addr.h"

enum { SLICE = 100, ETRN_JOBS_MAX = 4 };

struct etrn {
	struct queued *q;
	char **qids, *domain;
	size_t n, next, flushed;
	bool below;		/* "@domain": its subdomains too */
	struct timer *timer;
};

static size_t jobs;

static bool matches(const struct etrn *job, struct str address)
{
	const struct str domain = smtp_domain_of(address), want = str_c(job->domain);

	if (str_case_eq(domain, want))
		return true;
	return job->below && domain.n > want.n && domain.p[domain.n - want.n - 1] == '.' && str_case_ends(domain, want);
}

static bool waits_for(const struct etrn *job, const struct qmsg *m)
{
	struct arena *a = arena_new(0);
	struct spool_msg *msg = NULL;
	struct err e = { 0 };
	bool found = false;

	if (spool_load(job->q->spool, str_c(m->qid), m->size, a, &msg, NULL, &e) == 0)
		for (size_t i = 0; i < msg->n_rcpts && !found; i++)
			found = msg->rcpts[i].state == SPOOL_PENDING && matches(job, msg->rcpts[i].address);
	arena_free(&a);
	return found;
}

/* The schedule knows it of most messages. */
static bool is_for(const struct etrn *job, const struct qmsg *m)
{
	const int may = job->below ? 0 : sched_may_be_for(m, str_c(job->domain));

	return may > 0 || (may == 0 && waits_for(job, m));
}

static void finish(struct etrn *job)
{
	log_info("flush of %s: %zu messages tried now", job->domain, job->flushed);
	for (size_t i = 0; i < job->n; i++)
		free(job->qids[i]);
	timer_del(&job->timer);
	free(job->qids);
	free(job->domain);
	free(job);
	jobs--;
}

static void slice(void *ctx)
{
	struct etrn *job = ctx;

	for (int i = 0; i < SLICE && job->next < job->n; i++) {
		struct qmsg *m = sched_find(job->q, str_c(job->qids[job->next++]));
		if (m == NULL || m->active || m->held || !is_for(job, m))
			continue;
		sched_when(job->q, m, 0);
		job->flushed++;
	}
	if (job->next < job->n)
		timer_again(job->timer, 0);
	else
		finish(job);
}

static bool served(const struct conf *c, struct str domain)
{
	for (size_t i = 0; i < c->fast_flush_domains.n; i++) {
		struct str d = str_c(c->fast_flush_domains.v[i]);
		if (str_case_eq(d, domain) || (d.n > 1 && d.p[0] == '.' && domain.n > d.n && str_case_ends(domain, d)))
			return true;
	}
	return false;
}

static void start(struct queued *q, struct str domain, bool below)
{
	struct etrn *job = xzalloc(sizeof(*job));
	struct qmsg *m;
	size_t it = 0;

	job->q = q;
	job->domain = xstrndup(domain.p, domain.n);
	job->below = below;
	job->qids = xzalloc((sched_count(q) + 1) * sizeof(*job->qids));
	while (sched_each(q, &it, &m))
		job->qids[job->n++] = xstrdup(m->qid);
	job->timer = loop_timer(q->loop, 0, slice, job);
	jobs++;
}

int flush_domain(struct queued *q, struct str domain)
{
	if (jobs >= ETRN_JOBS_MAX || domain.n == 0)
		return -1;
	start(q, domain.p[0] == '@' ? str_from(domain, 1) : domain, domain.p[0] == '@');
	return 0;
}

static void decide(struct conn_entry *c, uint32_t id, struct str name)
{
	const bool below = name.n > 0 && name.p[0] == '@';
	const struct str domain = below ? str_from(name, 1) : name;
	char text[400];

	if (!served(c->q->conf, domain)) {
		snprintf(text, sizeof(text), "<%.*s>: service unavailable", STR_ARG(str_sub(name, 0, 255)));
		conn_reply(c, id, 459, "4.7.1", str_c(text), (struct str){ 0 });
	} else if (jobs >= ETRN_JOBS_MAX) {
		conn_reply(c, id, 458, "4.3.0", STR("Unable to queue messages, try again later"), (struct str){ 0 });
	} else {
		start(c->q, domain, below);
		conn_reply(c, id, 250, "2.0.0", STR("Queuing started"), (struct str){ 0 });
	}
}

/* --- smtpd_etrn_restrictions --- */

struct etrn_judging {
	struct conn_entry *c;
	uint32_t id;
	char *name;
};

static void on_judged(void *ctx, const struct restrict_answer *a)
{
	struct etrn_judging *g = ctx;
	const struct etrn_judging own = *g;

	conn_phase(own.c, PHASE_IDLE);
	if (a->result == RESTRICT_REFUSED)
		conn_reply(own.c, own.id, (uint64_t)a->code, a->enhanced, a->text, (struct str){ 0 });
	else
		decide(own.c, own.id, str_c(own.name));
	judge_free(&own.c->judge);
}

void etrn_ask(struct conn_entry *c, uint32_t id, struct str name)
{
	struct restrict_facts f;

	if (!restrict_has(c->rules->restrictions, RESTRICT_ETRN)) {
		decide(c, id, name);
		return;
	}
	conn_facts(c, &f);
	f.etrn = name;
	conn_phase(c, PHASE_WAIT);
	judge_free(&c->judge);
	c->judge = judge_new(c->q, c->rules->restrictions);
	struct etrn_judging *g = judge_alloc(c->judge, sizeof(*g));
	*g = (struct etrn_judging){ c, id, judge_alloc(c->judge, name.n + 1) };
	memcpy(g->name, name.p, name.n);
	judge_ask(c->judge, RESTRICT_ETRN, &f, on_judged, g);
}
