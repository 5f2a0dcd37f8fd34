/* The monitor's jobs (monitor_priv.h): messages that wait, the workers that have them, questions and signatures on their behalf. It never looks into a message:
 * descriptors go through. A message costs at most MONITOR_ATTEMPTS workers, then it is a temporary refusal, never a pass. */
#include "monitor_priv.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/clock.h"
#include "dmarcdata.h"
#include "joblog.h"
#include "learndata.h"
#include "log/log.h"
#include "os/os.h"
#include "sign.h"
#include "suspects.h"

enum { GRACE_MS = 2000 };

/* --- jobs --- */

static void job_free(struct job *j)
{
	if (--j->client->jobs == 0 && j->client->chan == NULL)
		free(j->client);
	close_fd(&j->fd);
	arena_free(&j->a);
}

/* o has at least one. */
static void job_answer_all(struct monitor *m, struct job *j, const struct filter_outcomes *o)
{
	struct err e = { 0 };
	for (size_t i = 0; i < o->n; i++) {
		if ((j->scan.sign & SIGN_ONLY) == 0 && j->scan.teach == 0)
			job_log(&j->scan, o->v[i], ++m->seq, clock_mono_ms() - j->since_ms);
		if (j->client->chan != NULL && ipc_send(j->client->chan, IPC_filter_VERDICT, o->v[i], j->id, -1, &e) < 0)
			log_error("verdict: %s", e.text);
	}
	job_free(j);
}

static void job_answer(struct monitor *m, struct job *j, const struct ipc_filter_VERDICT *v)
{
	const struct filter_outcomes one = { .v = { v }, .n = 1 };
	job_answer_all(m, j, &one);
}

static void job_count(struct job *j, uint64_t lists)
{
	const struct ipc_filter_COUNT c = { .lists = lists };
	struct err e = { 0 };
	if (j->client->chan != NULL && ipc_send(j->client->chan, IPC_filter_COUNT, &c, j->id, -1, &e) < 0)
		log_error("count: %s", e.text);
	job_free(j);
}

static void job_unchecked(struct monitor *m, struct job *j, const char *why)
{
	if (j->lists) {
		job_count(j, 0);
		return;
	}
	struct ipc_filter_VERDICT v = { .action = STR("tempfail"), .code = 451, .enhanced = STR("4.3.0"),
		.text = STR("The message could not be checked now, try again later"),
		.log = str_c(arena_printf(j->a, "UNCHECKED (%s)", why)) };
	job_answer(m, j, &v);
}

static void copy_strs(struct arena *a, struct ipc_strs *s)
{
	struct str *v = ARENA_ARRAY(a, struct str, s->n);
	for (size_t i = 0; i < s->n; i++)
		v[i] = arena_str(a, s->v[i]);
	s->v = v;
}

static bool cannot_serve(const struct monitor *m)
{
	for (enum stage_kind k = 0; k < STAGE_KINDS; k++)
		if (kind_used(m->conf, k) && m->broken[k] && m->now[k] == NULL)
			return true;
	return false;
}

static void job_wait(struct monitor *m, struct job *j)
{
	if (m->n_waiting >= MONITOR_WAITING_MAX || cannot_serve(m)) {
		job_unchecked(m, j, cannot_serve(m) ? "signatures, lists or spam rules cannot be loaded" : "too many messages are waiting");
		return;
	}
	/* Who asks for a number waits with a recipient for it, and it costs no time. */
	(j->lists ? list_push : list_append)(&m->waiting[j->kind], &j->node);
	m->n_waiting++;
	dispatch(m);
}

void job_take_lists(struct client *c, uint32_t id, const struct ipc_filter_LISTS *q)
{
	struct arena *a = arena_new(0);
	struct job *j = ARENA_NEW(a, struct job);
	*j = (struct job){ .client = c, .a = a, .id = id, .fd = -1, .kind = STAGE_SCAN, .lists = true,
		.scan = { .qid = STR("-"), .recipients = q->recipients, .before = q->before, .user = arena_str(a, q->user), .own = q->own } };
	copy_strs(a, &j->scan.recipients);
	copy_strs(a, &j->scan.before);
	c->jobs++;
	job_wait(c->m, j);
}

void job_take(struct client *c, uint32_t id, const struct ipc_filter_SCAN *scan, int fd)
{
	struct arena *a = arena_new(0);
	struct job *j = ARENA_NEW(a, struct job);
	*j = (struct job){ .client = c, .a = a, .scan = *scan, .id = id, .fd = fd, .since_ms = clock_mono_ms(),
		.kind = scan->teach ? STAGE_SCORE : STAGE_SCAN };
	struct str *fields[] = { &j->scan.qid, &j->scan.sender, &j->scan.client, &j->scan.helo, &j->scan.user };
	for (size_t i = 0; i < ARRAY_LEN(fields); i++)
		if (fields[i]->p != NULL)
			*fields[i] = arena_str(a, *fields[i]);
	copy_strs(a, &j->scan.recipients);
	copy_strs(a, &j->scan.before);
	copy_strs(a, &j->scan.edits);
	c->jobs++;
	if (scan->teach && !kind_used(c->m->conf, STAGE_SCORE)) {
		job_unchecked(c->m, j, "spam_check = no: nothing can be learned");
		return;
	}
	job_wait(c->m, j);
}

/* --- workers --- */

/* Workers by what they do now: those that wait for the DNS take no time of the machine. */
struct census {
	size_t idle, asking, scanning;
};
static bool worker_asks(const struct worker *w)
{
	for (size_t i = 0; i < WORKER_ASKS_MAX; i++)
		if (w->asks[i].q != NULL)
			return true;
	return false;
}

static void worker_forget(struct worker *w)
{
	for (size_t i = 0; i < WORKER_ASKS_MAX; i++)
		relay_forget(&w->asks[i]);
	keys_forget(&w->sign);
}

/* Where the next question is kept: a free place, else that of the first, which is given up. */
static struct relay_ask *free_ask(struct worker *w)
{
	for (size_t i = 0; i < WORKER_ASKS_MAX; i++)
		if (w->asks[i].q == NULL)
			return &w->asks[i];
	return &w->asks[0];
}

static struct census workers_count(const struct monitor *m, enum stage_kind kind)
{
	struct census n = { 0 };
	list_each(it, &m->workers) {
		const struct worker *w = list_of(it, struct worker, node);
		if (w->kind == kind)
			++*(w->job == NULL ? &n.idle : worker_asks(w) ? &n.asking : &n.scanning);
	}
	return n;
}

static void worker_drop(struct worker *w)
{
	list_del(&w->node);
	w->m->n_workers[w->kind]--;
	timer_del(&w->deadline);
	worker_forget(w);
	ipc_chan_free(&w->chan);
	loop_free_later(w->m->loop, w);
}

/* The worker is lost with its message: another one gets it, once. */
static void worker_failed(struct worker *w, const char *why)
{
	struct monitor *m = w->m;
	struct job *j = w->job;
	w->job = NULL;
	worker_drop(w);
	if (j != NULL)
		j->outcomes.n = j->signs = 0;
	if (j != NULL && ++j->attempts < MONITOR_ATTEMPTS) {
		log_warning("%.*s: a worker was lost (%s), trying another", STR_ARG(j->scan.qid), why);
		list_push(&m->waiting[j->kind], &j->node);
		m->n_waiting++;
	} else if (j != NULL) {
		job_unchecked(m, j, why);
	}
	dispatch(m);
}

static void on_deadline(void *ctx)
{
	worker_failed(ctx, "time limit");
}

static struct ipc_strs join_strs(struct arena *a, struct ipc_strs x, struct ipc_strs y)
{
	struct str *both = ARENA_ARRAY(a, struct str, x.n + y.n + 1);
	if (x.n > 0)
		memcpy(both, x.v, x.n * sizeof(*both));
	if (y.n > 0)
		memcpy(both + x.n, y.v, y.n * sizeof(*both));
	return (struct ipc_strs){ both, x.n + y.n };
}

/* Not kept from its recipients so far: a scoring worker has the last word, and is told what was found. */
static void score_next(struct monitor *m, struct job *j, const struct ipc_filter_VERDICT *v)
{
	j->edits = v->edits;
	copy_strs(j->a, &j->edits);
	if (j->scan.sign)	/* whoever scores signs, over the edits of both */
		j->scan.edits = join_strs(j->a, j->scan.edits, j->edits);
	j->scan.found = v->found;
	copy_strs(j->a, &j->scan.found);
	j->scan.report = arena_str(j->a, v->report);
	j->kind = STAGE_SCORE;
	j->outcomes.n = 0;
	j->attempts = j->asked = 0;
	list_append(&m->waiting[STAGE_SCORE], &j->node);
	m->n_waiting++;
}

/* What is to be learned of it is kept for postern-learn, if somebody asked for that: a person, or the rules by which it was scored. Who taught it hears whether it
 * is. */
static void keep_learned(struct monitor *m, const struct job *j, bool learns, struct ipc_filter_VERDICT *v)
{
	struct err e = { 0 };
	if (j->kind != STAGE_SCORE || (j->scan.teach == 0 && !learns))
		v->learn = STR("");
	if (v->learn.n == 0)
		return;
	const int kept = learn_data_keep(m->first->state_directory, v->learn, j->scan.teach != 0, &e);
	if (kept < 0 && !m->learn_told)
		log_warning("what is to be learned of messages is not kept: %s", e.text);
	m->learn_told = kept < 0;
	v->learn = j->scan.teach != 0 && kept == 0 ? STR("1") : STR("");
	if (j->scan.teach != 0 && kept < 0)
		v->action = STR("tempfail");
}

/* Edits of both workers, in their order. learns: the rules of the worker that had it. */
static void job_finish(struct monitor *m, struct job *j, bool learns)
{
	struct filter_outcomes *o = &j->outcomes;
	struct ipc_filter_VERDICT *all = ARENA_ARRAY(j->a, struct ipc_filter_VERDICT, o->n);
	for (size_t i = 0; i < o->n; i++) {
		all[i] = *o->v[i];
		if (j->edits.n > 0)
			all[i].edits = join_strs(j->a, j->edits, all[i].edits);
		o->v[i] = &all[i];
	}
	keep_learned(m, j, learns, &all[o->n - 1]);
	if (!(j->scan.sign & SIGN_ONLY) && j->scan.teach == 0)
		suspects_look(m->suspects, j->a, &j->scan, o);
	job_answer_all(m, j, o);
}

/* Workers read what strangers send: keys sign only what was wished for. Whose name a seal bears is known; DKIM's is in the message, which nobody reads here. */
static bool may_sign(const struct monitor *m, struct job *j, struct str domain)
{
	if ((j->scan.sign & (SIGN_DKIM | SIGN_ARC)) == 0 || ++j->signs > MONITOR_SIGNS_MAX)
		return false;
	if (j->scan.sign & SIGN_DKIM)
		return true;
	for (struct str host = str_c(m->conf->myhostname); host.n > 0; (void)str_split(&host, '.'))
		if (str_case_eq(host, domain))
			return true;
	return false;
}

/* The worker has answered and waits for the next message; or ends. */
static void worker_done(struct worker *w)
{
	w->job = NULL;
	timer_del(&w->deadline);
	worker_forget(w);
	if (w->from != w->m->now[w->kind] || workers_count(w->m, w->kind).idle > w->m->conf->filter_workers)
		worker_drop(w);	/* old signatures, or one of more than are needed: this was its last */
}

static void on_worker(void *ctx, struct ipc_chan *ch, uint16_t type, uint32_t id, void *msg, int fd)
{
	struct worker *w = ctx;
	(void)ch;
	close_fd(&fd);
	struct job *j = w->job;
	if (j != NULL && type == IPC_filter_ASK) {
		relay_ask(w->m->relay, free_ask(w), w->chan, id, msg, ++j->asked > (w->kind == STAGE_SCORE ? RELAY_LIST_ASKS_MAX : RELAY_ASKS_MAX));
		dispatch(w->m);	/* another message may be scanned meanwhile */
		return;
	}
	if (j != NULL && type == IPC_filter_SIGN) {
		if (!may_sign(w->m, j, ((const struct ipc_filter_SIGN *)msg)->domain))
			worker_failed(w, "a signature nobody asked for");
		else
			keys_ask(w->m->keys, &w->sign, w->chan, id, msg);
		return;
	}
	if (j != NULL && j->lists && type == IPC_filter_COUNT && id == j->id) {
		struct monitor *m = w->m;
		worker_done(w);
		job_count(j, ((const struct ipc_filter_COUNT *)msg)->lists);
		dispatch(m);
		return;
	}
	if (j == NULL || j->lists || type != IPC_filter_VERDICT || id != j->id) {
		worker_failed(w, "an answer nobody asked for");
		return;
	}
	struct err e = { 0 };
	const int r = filter_outcomes_add(&j->outcomes, j->a, j->scan.recipients.n, msg, &e);
	if (r < 0)
		worker_failed(w, e.text);
	if (r != 0)
		return;
	const struct str dmarc = ((const struct ipc_filter_VERDICT *)msg)->dmarc;
	if (dmarc.n > 0)
		dmarc_data_keep(w->m->dmarc, dmarc);
	worker_done(w);
	if (j->kind == STAGE_SCAN && str_eq(((const struct ipc_filter_VERDICT *)msg)->action, STR("score")))
		score_next(w->m, j, msg);
	else
		job_finish(w->m, j, w->learns);
	dispatch(w->m);
}

static void on_worker_closed(void *ctx, struct ipc_chan *ch, const struct err *why)
{
	(void)ch;
	worker_failed(ctx, why->text);
}

static int worker_new(struct monitor *m, enum stage_kind kind)
{
	static const uint16_t may[] = { IPC_filter_VERDICT, IPC_filter_ASK, IPC_filter_SIGN, IPC_filter_COUNT };
	int pair[2];
	struct err e = { 0 };
	struct ipc_filter_FORK msg = { 0 };
	if (sock_pair(SOCK_SEQPACKET, pair, &e) < 0)
		goto fail;
	int r = ipc_send(m->now[kind]->chan, IPC_filter_FORK, &msg, 0, pair[1], &e);
	close(pair[1]);
	if (r < 0) {
		close(pair[0]);
		goto fail;
	}
	struct worker *w = xzalloc(sizeof(*w));
	w->m = m;
	w->from = m->now[kind];
	w->learns = w->from->learns;
	w->kind = kind;
	w->chan = ipc_chan_new(m->loop, pair[0], &ipc_filter, on_worker, on_worker_closed, w);
	ipc_chan_allow(w->chan, (struct ipc_allow){ may, ARRAY_LEN(may) });
	list_append(&m->workers, &w->node);
	m->n_workers[kind]++;
	return 0;
fail:
	log_error("worker: %s", e.text);
	return -1;
}

static bool may_grow(const struct monitor *m, enum stage_kind kind)
{
	const struct census n = workers_count(m, kind);
	return n.idle + n.scanning < m->conf->filter_workers && m->n_workers[kind] < m->conf->filter_workers * MONITOR_ASKING_FACTOR;
}

static struct worker *idle_worker(struct monitor *m, enum stage_kind kind)
{
	list_each(it, &m->workers) {
		struct worker *w = list_of(it, struct worker, node);
		if (w->job == NULL && w->from == m->now[kind])
			return w;
	}
	if (!may_grow(m, kind) || worker_new(m, kind) < 0)
		return NULL;
	return list_of(m->workers.prev, struct worker, node);
}

static void dispatch_kind(struct monitor *m, enum stage_kind kind)
{
	while (!list_empty(&m->waiting[kind]) && m->now[kind] != NULL) {
		struct worker *w = idle_worker(m, kind);
		if (w == NULL)
			return;
		struct job *j = list_of(m->waiting[kind].next, struct job, node);
		list_del(&j->node);
		m->n_waiting--;
		struct err e = { 0 };
		const struct ipc_filter_LISTS lists = { .recipients = j->scan.recipients, .before = j->scan.before, .user = j->scan.user, .own = j->scan.own };
		if (ipc_send(w->chan, j->lists ? IPC_filter_LISTS : IPC_filter_SCAN, j->lists ? (const void *)&lists : &j->scan, j->id, j->fd, &e) < 0) {
			job_unchecked(m, j, e.text);
			continue;
		}
		w->job = j;
		w->deadline = loop_timer(m->loop, m->conf->filter_timeout * 1000 + GRACE_MS, on_deadline, w);
	}
}

void dispatch(struct monitor *m)
{
	for (enum stage_kind k = 0; k < STAGE_KINDS; k++) {
		dispatch_kind(m, k);
		if (m->now[k] == NULL && !kind_used(m->conf, k))
			refuse_waiting(m, k);	/* it came from before a reload, and is asked for once more */
	}
}

void refuse_waiting(struct monitor *m, enum stage_kind kind)
{
	while (!list_empty(&m->waiting[kind])) {
		struct job *j = list_of(m->waiting[kind].next, struct job, node);
		list_del(&j->node);
		m->n_waiting--;
		job_unchecked(m, j, "signatures, lists or spam rules cannot be loaded");
	}
}

void workers_retire(struct monitor *m)
{
	list_each_safe(it, &m->workers) {
		struct worker *w = list_of(it, struct worker, node);
		if (w->from != m->now[w->kind] && w->job == NULL)
			worker_drop(w);
	}
}
