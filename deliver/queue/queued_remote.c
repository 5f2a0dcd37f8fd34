/* Recipients elsewhere: deliveries of a message to a next hop, and what is known of destinations. A destination is a transport with its next hop; it has a window of
 * deliveries at once that widens with success and narrows with failed connections (retry.c), and is left alone for a while when a windowful has failed. Destinations
 * that turn out to share their best mail exchanger form a group, which together gets no more than one of them could. Where a recipient goes: queued_routes.c.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "deliver/queue/queued.h"
#include "deliver/queue/queued_outgoing.h"
#include "ipc/remote.h"
#include "log/log.h"
#include "os/os.h"
#include "smtp/addr.h"
#include "smtp/dsn.h"

enum {
	DESTS_MAX = 10000,	/* destinations that are remembered without work */
};

struct group {
	char *mx;
	size_t running, n_dests;
	struct list blocked;		/* dests that wait for a place of the group */
};

enum { POLICY_KNOWN_MS = 60000 };

/* What a next hop's MTA-STS policy says. */
struct policy {
	char mode[8];
	struct arena *arena;
	struct ipc_strs mx;
};

struct dest {
	char *key;			/* "transport:nexthop" */
	const char *transport;		/* smtp lmtp */
	struct str nexthop;		/* in key */
	struct group *group;		/* NULL: not known */
	struct retry_dest state;
	struct retry_rules rules;
	char why[200];			/* last trouble */
	size_t running, jobs;		/* jobs: waiting and running */
	struct policy *policy;		/* its MTA-STS policy; NULL: none */
	uint64_t policy_until_ms;	/* then it is asked for again; 0: not asked yet */
	bool asks, asking;		/* asks: it may have one */
	struct list waiting;
	struct list node;		/* of remotes.blocked or its group's */
};

/* Some recipients of one message for one next hop. */
struct job {
	struct list node;
	struct active *a;
	struct dest *dest;
	struct str login, policy;	/* in a's arena */
	size_t *at, n;
	uint32_t id;
};

struct remotes {
	struct map *dests, *jobs, *groups;	/* key; id of a running job; mail exchanger */
	struct list blocked;			/* destinations that wait for QUEUED_REMOTE_JOBS_MAX */
	size_t running;
	struct retry_rules rules;
};

/* --- destinations --- */

static uint64_t first_set(uint64_t a, uint64_t b)
{
	return a > 0 ? a : b;
}

static struct dest *dest_get(struct queued *q, const char *transport, struct str nexthop)
{
	struct remotes *r = q->remotes;
	char key[600];
	const int n = snprintf(key, sizeof(key), "%s:%.*s", transport, STR_ARG(nexthop));
	const struct str k = str_n(key, (size_t)n < sizeof(key) ? (size_t)n : sizeof(key) - 1);
	struct dest *d = map_get(r->dests, k);

	if (d)
		return d;
	d = xzalloc(sizeof(*d));
	d->key = xstrndup(k.p, k.n);
	d->transport = transport;
	d->nexthop = str_from(str_c(d->key), strlen(transport) + 1);
	d->rules = r->rules;
	d->rules.limit = first_set(strcmp(transport, "lmtp") == 0 ? q->conf->lmtp_destination_concurrency_limit : q->conf->smtp_destination_concurrency_limit,
				   q->conf->default_destination_concurrency_limit);
	d->asks = sts_wanted(q, transport, d->nexthop);
	list_init(&d->waiting);
	list_init(&d->node);
	(void)map_set(r->dests, k, d);
	return d;
}

static void policy_set(struct dest *d, const struct ipc_sts_POLICY *m)
{
	if (d->policy != NULL)
		arena_free(&(struct arena *){ d->policy->arena });
	d->policy = NULL;
	if (m == NULL || str_eq(m->mode, STR("none")))
		return;
	struct arena *a = arena_new(0);
	d->policy = ARENA_NEW(a, struct policy);
	d->policy->arena = a;
	(void)snprintf(d->policy->mode, sizeof(d->policy->mode), "%.*s", STR_ARG(m->mode));
	d->policy->mx = (struct ipc_strs){ ARENA_ARRAY(a, struct str, m->mx.n + 1), m->mx.n };
	for (size_t i = 0; i < m->mx.n; i++)
		d->policy->mx.v[i] = arena_str(a, m->mx.v[i]);
}

static void group_leave(struct queued *q, struct dest *d)
{
	struct group *g = d->group;

	if (g == NULL)
		return;
	d->group = NULL;
	g->running -= d->running;
	if (--g->n_dests > 0)
		return;
	(void)map_del(q->remotes->groups, str_c(g->mx));
	free(g->mx);
	free(g);
}

/* What its best exchanger is may change from one answer to the next. */
static void group_join(struct queued *q, struct dest *d, struct str mx)
{
	struct group *g = mx.n > 0 ? map_get(q->remotes->groups, mx) : NULL;

	if (mx.n == 0 || (g != NULL && g == d->group))
		return;
	group_leave(q, d);
	if (g == NULL) {
		g = xzalloc(sizeof(*g));
		g->mx = xstrndup(mx.p, mx.n);
		list_init(&g->blocked);
		(void)map_set(q->remotes->groups, mx, g);
	}
	g->n_dests++;
	g->running += d->running;
	d->group = g;
}

/* A destination without work or history is forgotten; what is known of its policy is history. */
static void dest_maybe_free(struct queued *q, struct dest *d)
{
	const bool known = d->asks && clock_mono_ms() < d->policy_until_ms;

	if (d->jobs > 0 || ((known || !retry_dest_blank(&d->state, &d->rules)) && map_count(q->remotes->dests) < DESTS_MAX))
		return;
	list_del(&d->node);
	group_leave(q, d);
	(void)map_del(q->remotes->dests, str_c(d->key));
	policy_set(d, NULL);
	free(d->key);
	free(d);
}

/* --- jobs --- */

static void job_free(struct job *j)
{
	j->dest->jobs--;
	free(j->at);
	free(j);
}

static void job_defer(struct job *j, const char *enhanced, const char *text)
{
	struct active *a = j->a;

	for (size_t i = 0; i < j->n; i++)
		active_result(&a->rcpts[j->at[i]], SPOOL_PENDING, str_c(enhanced), str_c(text), STR("none"));
	job_free(j);
	active_one_done(a);
}

static struct str notify_words(struct arena *a, uint64_t bits)
{
	struct buf b;

	buf_init(&b, 64);
	smtp_notify_format(bits, &b);
	const struct str s = arena_str(a, buf_view(&b));
	buf_fini(&b);
	return s;
}

/* What the sender asked for by DSN goes with the message; nothing is sent where nothing was asked. */
static void add_dsn(struct job *j, struct ipc_remote_SEND *s)
{
	struct arena *a = j->a->arena;
	const struct spool_msg *m = j->a->msg;
	struct str *notify = ARENA_ARRAY(a, struct str, j->n), *orcpt = ARENA_ARRAY(a, struct str, j->n);
	bool any = false;

	for (size_t i = 0; i < j->n; i++) {
		const struct spool_rcpt *r = &m->rcpts[j->at[i]];
		notify[i] = notify_words(a, r->notify);
		orcpt[i] = r->orcpt.p ? r->orcpt : STR("");
		any |= r->notify != 0 || r->orcpt.n > 0;
	}
	s->envid = m->envid;
	s->ret = m->ret == SMTP_RET_FULL ? STR("FULL") : m->ret == SMTP_RET_HDRS ? STR("HDRS") : (struct str){ 0 };
	if (any) {
		s->notify = (struct ipc_strs){ notify, j->n };
		s->orcpt = (struct ipc_strs){ orcpt, j->n };
	}
}

/* Mail of a stranger that came for one of our addresses and goes on to one elsewhere. */
static bool is_forwarded(const struct queued *q, const struct spool_msg *m, const struct spool_rcpt *r)
{
	return q->srs.domain.n > 0 && m->sender.n > 0 && r->sender.n == 0 && !(m->flags & (SPOOL_F_OURS | SPOOL_F_BOUNCE)) &&
	       !str_case_eq(smtp_domain_of(m->sender), q->srs.domain) &&
	       ((m->flags & SPOOL_F_FORWARDED) || (r->original.n > 0 && !str_case_eq(smtp_domain_of(r->original), smtp_domain_of(r->address))));
}

/* What smtp_generic_maps and smtp_header_checks make of it for this recipient; NULL: nothing. */
static const struct outgoing *outgoing_of(const struct active *a, size_t at, const char *transport)
{
	return strcmp(transport, "smtp") == 0 ? a->rcpts[at].out : NULL;
}

static struct str sent_recipient(const struct active *a, size_t at, const char *transport)
{
	const struct outgoing *o = outgoing_of(a, at, transport);

	return o ? o->recipients[a->rcpts[at].out_at] : a->msg->rcpts[at].address;
}

/* The envelope's sender as the next server sees it. */
static struct str sent_sender(struct active *a, size_t at, const char *transport)
{
	const struct spool_msg *m = a->msg;
	const struct str plain = active_sender_of(m, &m->rcpts[at]);
	struct err e = { 0 };
	struct str out;

	if (strcmp(transport, "smtp") != 0 || !is_forwarded(a->q, m, &m->rcpts[at])) {
		const struct outgoing *o = outgoing_of(a, at, transport);
		return o ? o->senders[a->rcpts[at].out_at] : plain;
	}
	if (srs_forward(&a->q->srs, plain, (int64_t)(m->arrived_us / 1000000 / 86400), a->arena, &out, &e) == 0)
		return out;
	log_info("%.*s: sender stays: %s", STR_ARG(m->qid), e.text);
	return plain;
}

static int job_send(struct queued *q, struct job *j)
{
	struct active *a = j->a;
	const struct spool_msg *m = a->msg;
	struct str *rcpts = ARENA_ARRAY(a->arena, struct str, j->n);
	struct err e = { 0 };

	for (size_t i = 0; i < j->n; i++) {
		rcpts[i] = sent_recipient(a, j->at[i], j->dest->transport);
		a->rcpts[j->at[i]].start_us = clock_mono_us();
	}
	struct ipc_remote_SEND s = {
		.qid = m->qid, .transport = str_c(j->dest->transport), .nexthop = j->dest->nexthop, .sender = sent_sender(a, j->at[0], j->dest->transport),
		.recipients = { rcpts, j->n },
		.edits = { m->edits, m->n_edits }, .size = m->size, .body = m->body, .smtputf8 = (m->flags & SPOOL_F_SMTPUTF8) != 0, .login = j->login,
		.policy = (m->flags & SPOOL_F_ANY_TLS) ? STR("may") : j->policy,
	};
	const bool other_body = a->out_fd >= 0 && strcmp(j->dest->transport, "smtp") == 0;
	if (other_body)
		s.size = a->out_size;
	if (outgoing_of(a, j->at[0], j->dest->transport))
		s.edits = outgoing_of(a, j->at[0], j->dest->transport)->edits;
	add_dsn(j, &s);
	if (j->dest->policy) {
		s.sts_mode = str_c(j->dest->policy->mode);
		s.sts_mx = j->dest->policy->mx;
	}
	if (q->remote == NULL)
		return -1;
	j->id = ipc_next_id(q->remote);
	if (ipc_send(q->remote, IPC_remote_SEND, &s, j->id, other_body ? a->out_fd : a->fd, &e) < 0) {
		log_error("remote: %s", e.text);
		return -1;
	}
	(void)map_set(q->remotes->jobs, str_n(&j->id, sizeof(j->id)), j);
	j->dest->running++;
	q->remotes->running++;
	if (j->dest->group)
		j->dest->group->running++;
	return 0;
}

static void job_ended(struct queued *q, struct dest *d)
{
	d->running--;
	q->remotes->running--;
	if (d->group)
		d->group->running--;
}

static void dest_pump(struct queued *q, struct dest *d);

/* --- policies --- */

struct policy_wait {
	struct queued *q;
	struct dest *d;
};

static void on_policy(void *ctx, const struct ipc_sts_POLICY *m)
{
	struct policy_wait w = *(struct policy_wait *)ctx;

	free(ctx);
	w.d->asking = false;
	w.d->jobs--;
	policy_set(w.d, m);
	w.d->policy_until_ms = clock_mono_ms() + POLICY_KNOWN_MS;
	if (m != NULL && m->trouble.n > 0)
		tlsrpt_policy_trouble(w.q, w.d->nexthop, m->trouble);
	dest_pump(w.q, w.d);
}

/* Is d's policy known? If not, it will be, and then d is pumped. */
static bool policy_known(struct queued *q, struct dest *d)
{
	if (!d->asks || d->asking || clock_mono_ms() < d->policy_until_ms)
		return !d->asking;
	struct policy_wait *w = xzalloc(sizeof(*w));
	*w = (struct policy_wait){ q, d };
	d->asking = true;
	d->jobs++;	/* it stays */
	sts_ask(q, d->nexthop, on_policy, w);
	return false;
}

/* --- deliveries --- */

/* May d start one more delivery? If not, it waits where a place will become free. */
static bool dest_may(struct queued *q, struct dest *d)
{
	if (d->running >= retry_dest_window(&d->state, &d->rules))
		return false;
	if (!policy_known(q, d))
		return false;
	struct list *where = q->remotes->running >= QUEUED_REMOTE_JOBS_MAX ? &q->remotes->blocked
			     : d->group && d->group->running >= d->rules.limit ? &d->group->blocked : NULL;
	if (where == NULL)
		return true;
	if (list_empty(&d->node))
		list_append(where, &d->node);
	return false;
}

/* Start what may start for d; a dead destination's mail is deferred without a try. */
static void dest_pump(struct queued *q, struct dest *d)
{
	char text[300];

	d->jobs++;	/* stays while its jobs end */
	while (!list_empty(&d->waiting)) {
		struct job *j = list_of(d->waiting.next, struct job, node);
		if (retry_dest_dead(&d->state, clock_wall())) {
			snprintf(text, sizeof(text), "delivery temporarily suspended: %s", d->why);
			list_del(&j->node);
			job_defer(j, "4.4.1", text);
		} else if (!dest_may(q, d)) {
			break;
		} else {
			list_del(&j->node);
			if (job_send(q, j) < 0)
				job_defer(j, "4.3.0", "remote delivery is not available");
		}
	}
	d->jobs--;
	dest_maybe_free(q, d);
}

/* A place is free: the first that waits for one may look again. */
static void unblock(struct queued *q, struct list *blocked)
{
	if (list_empty(blocked))
		return;
	struct dest *d = list_of(blocked->next, struct dest, node);
	list_del(&d->node);
	dest_pump(q, d);
}

static void pump_all(struct queued *q, struct dest *d)
{
	struct group *g = d->group;

	if (g)
		g->n_dests++;	/* stays while d may go */
	dest_pump(q, d);
	if (g) {
		unblock(q, &g->blocked);
		if (--g->n_dests == 0) {
			(void)map_del(q->remotes->groups, str_c(g->mx));
			free(g->mx);
			free(g);
		}
	}
	unblock(q, &q->remotes->blocked);
}

/* --- results --- */

static void take_results(struct job *j, const struct ipc_remote_RESULT *m)
{
	struct active *a = j->a;

	for (size_t i = 0; i < j->n; i++) {
		const bool sent = str_eq(m->status.v[i], STR("sent")), bounced = str_eq(m->status.v[i], STR("bounced"));
		struct arcpt *x = &a->rcpts[j->at[i]];
		x->setup_us = m->setup_us;
		x->uses = m->uses;
		x->success = !sent || m->dsn != 0 ? NULL : strcmp(j->dest->transport, "lmtp") == 0 ? "delivered" : "relayed";
		active_result(x, sent ? SPOOL_SENT : bounced ? SPOOL_BOUNCED : SPOOL_PENDING, m->enhanced.v[i], m->texts.v[i], m->relay);
	}
}

static void on_remote(void *ctx, struct ipc_chan *ch, uint16_t type, uint32_t id, void *msg, int fd)
{
	struct queued *q = ctx;
	const struct ipc_remote_RESULT *m = msg;
	struct job *j = map_del(q->remotes->jobs, str_n(&id, sizeof(id)));

	close_fd(&fd);
	if (j == NULL) {
		(void)verify_result(q, id, m);
		return;
	}
	struct dest *d = j->dest;
	struct active *a = j->a;
	job_ended(q, d);
	if (m->status.n != j->n || m->enhanced.n != j->n || m->texts.n != j->n) {
		log_error("remote: result for another number of recipients");
		job_defer(j, "4.3.0", "remote delivery answered nonsense");
		pump_all(q, d);
		return;
	}
	/* What ends for good before any connection (no such domain) says nothing about a server. */
	const bool reached = m->reached != 0 || str_eq(m->status.v[0], STR("bounced"));
	if (memmem(m->texts.v[0].p, m->texts.v[0].n, "broke the SMTP protocol", 23))
		trouble_protocol(q, m->texts.v[0]);
	retry_dest_result(&d->state, &d->rules, reached, clock_wall());
	if (!reached)
		snprintf(d->why, sizeof(d->why), "%.*s", STR_ARG(m->texts.v[0]));
	tlsrpt_count(q, d->nexthop, m->tls);
	group_join(q, d, m->mx);
	sched_window(q, a->m, retry_dest_window(&d->state, &d->rules));
	take_results(j, m);
	job_free(j);
	d->jobs++;
	active_one_done(a);
	d->jobs--;
	pump_all(q, d);
}

static void on_remote_closed(void *ctx, struct ipc_chan *ch, const struct err *why)
{
	struct queued *q = ctx;
	struct str key;
	size_t it = 0;
	void *v;

	log_warning("remote: %s", why->text);
	ipc_chan_free(&q->remote);	/* the group starts again */
	verify_fail_all(q);
	while (map_next(q->remotes->jobs, &it, &key, &v)) {
		struct job *j = v;
		(void)map_del(q->remotes->jobs, key);
		job_ended(q, j->dest);
		job_defer(j, "4.3.0", "remote delivery process ended");
		it = 0;
	}
}

/* --- jobs of a message --- */

/* Into the open job of its destination; *jobs holds this message's. */
void remote_job_add(struct active *a, size_t at, const char *transport, struct str nexthop, struct str login, struct str policy, struct list *jobs)
{
	const struct conf *c = a->q->conf;
	const uint64_t max = first_set(c->smtp_destination_recipient_limit, c->default_destination_recipient_limit);
	struct dest *d = dest_get(a->q, transport, nexthop);
	struct job *j = NULL;

	a->rcpts[at].program = transport;
	list_each(n, jobs) {
		struct job *k = list_of(n, struct job, node);
		if (k->dest == d && k->n < max && a->rcpts[k->at[0]].out == a->rcpts[at].out && str_eq(k->login, login) &&
		    str_eq(sent_sender(a, k->at[0], transport), sent_sender(a, at, transport)))
			j = k;
	}
	if (j == NULL) {
		j = xzalloc(sizeof(*j));
		j->a = a;
		j->dest = d;
		j->login = arena_str(a->arena, login);
		j->policy = arena_str(a->arena, policy);
		d->jobs++;
		j->at = xzalloc(max * sizeof(*j->at));
		list_append(jobs, &j->node);
		a->outstanding++;
	}
	j->at[j->n++] = at;
}

void remote_jobs_go(struct active *a, struct list *jobs)
{
	while (!list_empty(jobs)) {
		struct job *j = list_of(jobs->next, struct job, node);
		list_del(&j->node);
		list_append(&j->dest->waiting, &j->node);
		dest_pump(a->q, j->dest);
	}
}

void remote_flush(struct queued *q)
{
	struct str key;
	size_t it = 0;
	void *v;

	while (map_next(q->remotes->dests, &it, &key, &v)) {
		struct dest *d = v;
		d->state = (struct retry_dest){ 0 };
	}
}

/* --- start --- */

static struct retry_feedback feedback(const char *text)
{
	struct retry_feedback f = { .amount = 1 };
	struct err e = { 0 };

	if (retry_feedback_parse(str_c(text), &f, &e) < 0)
		log_warning("%s; 1 is taken", e.text);
	return f;
}

void remotes_start(struct queued *q, int fd)
{
	static const uint16_t types[] = { IPC_remote_RESULT };
	const struct conf *c = q->conf;
	struct remotes *r = xzalloc(sizeof(*r));

	r->dests = map_new();
	r->jobs = map_new();
	r->groups = map_new();
	list_init(&r->blocked);
	r->rules = (struct retry_rules){
		.positive = feedback(c->default_destination_concurrency_positive_feedback), .negative = feedback(c->default_destination_concurrency_negative_feedback),
		.initial = c->initial_destination_concurrency, .limit = c->default_destination_concurrency_limit,
		.cohorts = c->default_destination_concurrency_failed_cohort_limit, .backoff_min_s = c->minimal_backoff_time, .backoff_max_s = c->maximal_backoff_time,
	};
	q->remotes = r;
	q->remote = ipc_chan_new(q->loop, fd, &ipc_remote, on_remote, on_remote_closed, q);
	ipc_chan_waiting_max(q->remote, IPC_GROUP_WAITING_MAX);
	ipc_chan_allow(q->remote, (struct ipc_allow){ types, ARRAY_LEN(types) });
}
