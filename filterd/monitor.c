/* filterd's event loop (monitor.h). It never looks into a message: descriptors go through. A message costs at most MONITOR_ATTEMPTS workers, then it is a
 * temporary refusal, never a pass. */
#include "monitor.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/list.h"
#include "clamav.h"
#include "ipc/filter.h"
#include "joblog.h"
#include "dmarcdata.h"
#include "io/loop.h"
#include "keys.h"
#include "learndata.h"
#include "log/log.h"
#include "os/os.h"
#include "relay.h"
#include "reload.h"
#include "suspects.h"
#include "sign.h"
#include "spam/spam.h"

enum { WATCH_SIGNATURES_MS = 30000, RESTART_MS = 1000, GRACE_MS = 2000 };

struct client {
	struct list node;
	struct monitor *m;
	struct ipc_chan *chan;	/* NULL: gone, its jobs end unanswered */
	unsigned jobs;
	struct door *door;	/* what it is; NULL: queued */
};

/* A process of ours that takes messages by another protocol. */
struct door {
	struct monitor *m;
	size_t which;
	struct timer *restart;
};

struct job {
	struct list node;	/* on waiting, or on its own while a worker has it */
	struct client *client;
	struct arena *a;
	struct ipc_filter_SCAN scan;
	uint32_t id;
	int fd;
	unsigned attempts, asked, signs;
	enum stage_kind kind;	/* of the worker it needs */
	struct ipc_strs edits;	/* what scanning wants of a message that is scored now */
	uint64_t since_ms;
};

struct worker {
	struct list node;
	struct monitor *m;
	struct template *from;
	enum stage_kind kind;
	struct ipc_chan *chan;
	struct job *job;	/* NULL: idle */
	struct timer *deadline;
	struct relay_ask asks[WORKER_ASKS_MAX];
	struct keys_ask sign;
};

struct template {
	struct monitor *m;
	enum stage_kind kind;
	struct ipc_chan *chan;
	bool ready;
};

struct monitor {
	struct loop *loop;
	const struct conf *first;	/* the start's */
	const struct conf *conf;	/* first, or ours */
	struct conf *fresh;		/* ours: after a reload, until every template of it is ready; NULL: none */
	const struct monitor_hooks *hooks;
	int listener;
	uid_t queue_uid;
	struct list clients, waiting[STAGE_KINDS], workers;
	size_t n_clients, n_waiting, n_workers[STAGE_KINDS];
	struct template *now[STAGE_KINDS], *next[STAGE_KINDS];	/* next: loading */
	uint64_t fingerprint[STAGE_KINDS];
	unsigned long long seq;
	struct door doors[MONITOR_DOORS_MAX];
	bool announced;
	bool broken[STAGE_KINDS];	/* the last template could not load: who asks is answered at once */
	struct timer *watch, *restart;
	struct relay *relay;
	struct keys *keys;
	struct dmarc_data *dmarc;
	struct suspects *suspects;
	bool learn_told;	/* the log knows that what is to be learned cannot be kept */
};

static void dispatch(struct monitor *m);
static void template_start(struct monitor *m, enum stage_kind kind);
static bool kind_used(const struct conf *conf, enum stage_kind kind);
static void refuse_waiting(struct monitor *m, enum stage_kind kind);

/* --- jobs --- */

static void job_free(struct job *j)
{
	if (--j->client->jobs == 0 && j->client->chan == NULL)
		free(j->client);
	close_fd(&j->fd);
	arena_free(&j->a);
}

static void job_answer(struct monitor *m, struct job *j, const struct ipc_filter_VERDICT *v)
{
	struct err e = { 0 };
	if ((j->scan.sign & SIGN_ONLY) == 0 && j->scan.teach == 0)
		job_log(&j->scan, v, ++m->seq, clock_mono_ms() - j->since_ms);
	if (j->client->chan != NULL && ipc_send(j->client->chan, IPC_filter_VERDICT, v, j->id, -1, &e) < 0)
		log_error("verdict: %s", e.text);
	job_free(j);
}

static void job_unchecked(struct monitor *m, struct job *j, const char *why)
{
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

static void on_scan(struct client *c, uint32_t id, const struct ipc_filter_SCAN *scan, int fd)
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
	copy_strs(a, &j->scan.edits);
	c->jobs++;
	if (scan->teach && !kind_used(c->m->conf, STAGE_SCORE)) {
		job_unchecked(c->m, j, "spam_check = no: nothing can be learned");
		return;
	}
	if (c->m->n_waiting >= MONITOR_WAITING_MAX || cannot_serve(c->m)) {
		job_unchecked(c->m, j, cannot_serve(c->m) ? "signatures, lists or spam rules cannot be loaded" : "too many messages are waiting");
		return;
	}
	list_append(&c->m->waiting[j->kind], &j->node);
	c->m->n_waiting++;
	dispatch(c->m);
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
		j->signs = 0;
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
	j->attempts = j->asked = 0;
	list_append(&m->waiting[STAGE_SCORE], &j->node);
	m->n_waiting++;
}

/* What is to be learned of it is kept for postern-learn. Who taught it hears whether it is. */
static void keep_learned(struct monitor *m, const struct job *j, struct ipc_filter_VERDICT *v)
{
	struct err e = { 0 };
	if (v->learn.n == 0)
		return;
	const bool kept = learn_data_keep(m->first->state_directory, v->learn, j->scan.teach != 0, &e) == 0;
	if (!kept && !m->learn_told)
		log_warning("what is to be learned of messages is not kept: %s", e.text);
	m->learn_told = !kept;
	v->learn = j->scan.teach != 0 && kept ? STR("1") : STR("");
	if (j->scan.teach != 0 && !kept)
		v->action = STR("tempfail");
}

/* Edits of both workers, in their order. */
static void job_finish(struct monitor *m, struct job *j, const struct ipc_filter_VERDICT *v)
{
	struct ipc_filter_VERDICT all = *v;
	keep_learned(m, j, &all);
	if (j->edits.n > 0)
		all.edits = join_strs(j->a, j->edits, v->edits);
	if (!(j->scan.sign & SIGN_ONLY) && j->scan.teach == 0)
		suspects_look(m->suspects, j->a, &j->scan, &all);
	job_answer(m, j, &all);
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
	if (j == NULL || type != IPC_filter_VERDICT || id != j->id) {
		worker_failed(w, "an answer nobody asked for");
		return;
	}
	w->job = NULL;
	timer_del(&w->deadline);
	worker_forget(w);
	const struct str dmarc = ((const struct ipc_filter_VERDICT *)msg)->dmarc;
	if (dmarc.n > 0)
		dmarc_data_keep(w->m->dmarc, dmarc);
	if (w->from != w->m->now[w->kind] || workers_count(w->m, w->kind).idle > w->m->conf->filter_workers)
		worker_drop(w);	/* old signatures, or one of more than are needed: this was its last */
	if (j->kind == STAGE_SCAN && str_eq(((const struct ipc_filter_VERDICT *)msg)->action, STR("score")))
		score_next(w->m, j, msg);
	else
		job_finish(w->m, j, msg);
	dispatch(w->m);
}

static void on_worker_closed(void *ctx, struct ipc_chan *ch, const struct err *why)
{
	(void)ch;
	worker_failed(ctx, why->text);
}

static int worker_new(struct monitor *m, enum stage_kind kind)
{
	static const uint16_t may[] = { IPC_filter_VERDICT, IPC_filter_ASK, IPC_filter_SIGN };
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
		if (ipc_send(w->chan, IPC_filter_SCAN, &j->scan, j->id, j->fd, &e) < 0) {
			job_unchecked(m, j, e.text);
			continue;
		}
		w->job = j;
		w->deadline = loop_timer(m->loop, m->conf->filter_timeout * 1000 + GRACE_MS, on_deadline, w);
	}
}

static void dispatch(struct monitor *m)
{
	for (enum stage_kind k = 0; k < STAGE_KINDS; k++) {
		dispatch_kind(m, k);
		if (m->now[k] == NULL && !kind_used(m->conf, k))
			refuse_waiting(m, k);	/* it came from before a reload, and is asked for once more */
	}
}

/* --- templates --- */

static bool kind_used(const struct conf *conf, enum stage_kind kind)
{
	return kind == STAGE_SCAN || conf->spam_check;
}

/* What a template that is started now goes by. */
static const struct conf *conf_next(const struct monitor *m)
{
	return m->fresh != NULL ? m->fresh : m->conf;
}

static bool must_restart(const struct monitor *m, enum stage_kind kind)
{
	return m->fresh == NULL && kind_used(m->conf, kind) && m->next[kind] == NULL && m->now[kind] == NULL;
}

static void on_restart(void *ctx)
{
	struct monitor *m = ctx;
	timer_del(&m->restart);
	for (enum stage_kind k = 0; k < STAGE_KINDS; k++)
		if (must_restart(m, k))
			template_start(m, k);
}

static void restart_later(struct monitor *m)
{
	if (m->restart == NULL)
		m->restart = loop_timer(m->loop, RESTART_MS, on_restart, m);
}

/* Nobody can be served: those who wait hear it now, not when their patience ends. */
static void refuse_waiting(struct monitor *m, enum stage_kind kind)
{
	while (!list_empty(&m->waiting[kind])) {
		struct job *j = list_of(m->waiting[kind].next, struct job, node);
		list_del(&j->node);
		m->n_waiting--;
		job_unchecked(m, j, "signatures, lists or spam rules cannot be loaded");
	}
}

static void template_end(struct template *t)
{
	ipc_chan_free(&t->chan);
	loop_free_later(t->m->loop, t);
}

/* Those that load, and the values they load for. */
static void next_drop(struct monitor *m)
{
	for (enum stage_kind k = 0; k < STAGE_KINDS; k++) {
		if (m->next[k] != NULL)
			template_end(m->next[k]);
		m->next[k] = NULL;
	}
	conf_free(&m->fresh);
}

static void template_gone(struct template *t, const char *why)
{
	struct monitor *m = t->m;
	log_error("template: %s", why);
	if (t != m->now[t->kind] && m->fresh != NULL) {
		log_error("reload: the new configuration cannot be used; the old configuration stays");
		next_drop(m);
		restart_later(m);
		return;
	}
	m->broken[t->kind] |= !t->ready;
	if (t == m->now[t->kind])
		m->now[t->kind] = NULL;
	else
		m->next[t->kind] = NULL;
	if (m->now[t->kind] == NULL && m->broken[t->kind])
		refuse_waiting(m, t->kind);
	template_end(t);
	if (must_restart(m, t->kind))
		restart_later(m);
}

/* Idle workers of an old generation end now, busy ones after their message. */
static void retire(struct monitor *m, struct template *old)
{
	list_each_safe(it, &m->workers) {
		struct worker *w = list_of(it, struct worker, node);
		if (w->from != m->now[w->kind] && w->job == NULL)
			worker_drop(w);
	}
	if (old != NULL)
		template_end(old);
}

static void template_takes_over(struct monitor *m, enum stage_kind kind)
{
	struct template *old = m->now[kind];
	m->now[kind] = m->next[kind];
	m->next[kind] = NULL;
	m->broken[kind] = false;
	retire(m, old);
}

/* All templates of a new configuration are ready: it takes the place of the old one for everybody at once. A kind that is used no more keeps its template for the
 * messages under way: see unused_end(). */
static void fresh_takes_over(struct monitor *m)
{
	for (enum stage_kind k = 0; k < STAGE_KINDS; k++)
		if (kind_used(m->fresh, k) && (m->next[k] == NULL || !m->next[k]->ready))
			return;
	struct conf *old = m->conf == m->first ? NULL : (struct conf *)(uintptr_t)m->conf;
	m->conf = m->fresh;
	m->fresh = NULL;
	for (enum stage_kind k = 0; k < STAGE_KINDS; k++)
		if (m->next[k] != NULL)
			template_takes_over(m, k);
	suspects_set(&m->suspects, m->conf);
	conf_free(&old);
	log_info("reload: the new configuration is in force");
}

/* Workers that scan by an old configuration may still ask for a score. */
static void unused_end(struct monitor *m, enum stage_kind kind)
{
	if (m->now[kind] == NULL || !list_empty(&m->waiting[kind]))
		return;
	list_each(it, &m->workers) {
		const struct worker *w = list_of(it, struct worker, node);
		if (w->job != NULL && w->from != m->now[w->kind])
			return;
	}
	struct template *old = m->now[kind];
	m->now[kind] = NULL;
	retire(m, old);
}

static void on_template(void *ctx, struct ipc_chan *ch, uint16_t type, uint32_t id, void *msg, int fd)
{
	struct template *t = ctx;
	struct monitor *m = t->m;
	(void)ch;
	(void)id;
	close_fd(&fd);
	if (type == IPC_filter_BROKEN) {
		const struct ipc_filter_BROKEN *b = msg;
		char why[320];
		snprintf(why, sizeof(why), "%.*s", STR_ARG(b->text));
		template_gone(t, why);
		return;
	}
	const struct ipc_filter_READY *r = msg;
	if (t->ready) {
		template_gone(t, "said READY twice");
		return;
	}
	t->ready = true;
	log_info("%s loaded: %.*s", t->kind == STAGE_SCAN ? "signatures" : "spam rules", STR_ARG(r->text));
	if (r->shipped)
		log_warning("%s holds no signatures: only the shipped test signatures serve; run freshclam", conf_next(m)->virus_database_directory);
	if (m->fresh != NULL)
		fresh_takes_over(m);
	else
		template_takes_over(m, t->kind);
	bool all = true;
	for (enum stage_kind k = 0; k < STAGE_KINDS; k++)
		all = all && (m->now[k] != NULL || !kind_used(m->conf, k));
	if (all && !m->announced && m->hooks->ready != NULL)
		m->hooks->ready(m->hooks->ctx);
	m->announced = m->announced || all;
	dispatch(m);
}

static void on_template_closed(void *ctx, struct ipc_chan *ch, const struct err *why)
{
	(void)ch;
	template_gone(ctx, why->text);
}

static uint64_t fingerprint(const struct monitor *m, enum stage_kind kind)
{
	const struct conf *c = conf_next(m);
	return kind == STAGE_SCAN ? clamav_fingerprint(c->virus_database_directory) : spam_fingerprint(c->spam_rules_directory, c->spam_site_directory);
}

static void template_start(struct monitor *m, enum stage_kind kind)
{
	static const uint16_t may[] = { IPC_filter_READY, IPC_filter_BROKEN };
	m->fingerprint[kind] = fingerprint(m, kind);
	int fd = m->hooks->start_template(m->hooks->ctx, kind, conf_next(m));
	if (fd < 0) {
		restart_later(m);
		return;
	}
	struct template *t = xzalloc(sizeof(*t));
	t->m = m;
	t->kind = kind;
	t->chan = ipc_chan_new(m->loop, fd, &ipc_filter, on_template, on_template_closed, t);
	ipc_chan_allow(t->chan, (struct ipc_allow){ may, ARRAY_LEN(may) });
	m->next[kind] = t;
}

static void templates_start(struct monitor *m)
{
	for (enum stage_kind k = 0; k < STAGE_KINDS; k++)
		if (kind_used(conf_next(m), k) && m->next[k] == NULL)
			template_start(m, k);
}

/* What loads already has old values. Where a template cannot even be started, nothing has changed. */
static void reload(struct monitor *m)
{
	struct conf *fresh;
	if (reload_conf(m->first->conf_file, &fresh) < 0)
		return;
	log_info("reload: loading a new generation");
	next_drop(m);
	m->fresh = fresh;
	templates_start(m);
	for (enum stage_kind k = 0; k < STAGE_KINDS && m->fresh != NULL; k++) {
		if (!kind_used(m->fresh, k) || m->next[k] != NULL)
			continue;
		log_error("reload: a process could not be started; the old configuration stays");
		next_drop(m);
		restart_later(m);
	}
}

static void on_watch(void *ctx)
{
	struct monitor *m = ctx;
	for (enum stage_kind k = 0; k < STAGE_KINDS; k++) {
		if (!kind_used(m->conf, k))
			unused_end(m, k);
		if (!kind_used(m->conf, k) || m->fresh != NULL || m->next[k] != NULL || fingerprint(m, k) == m->fingerprint[k])
			continue;
		log_info("the %s have changed: loading a new generation", k == STAGE_SCAN ? "signatures" : "spam rules");
		template_start(m, k);
	}
	timer_again(m->watch, WATCH_SIGNATURES_MS);
}

/* --- clients --- */

static void door_start(struct door *d);

static void on_client(void *ctx, struct ipc_chan *ch, uint16_t type, uint32_t id, void *msg, int fd)
{
	const struct client *c = ctx;
	struct ipc_filter_SCAN *scan = msg;
	(void)ch;
	(void)type;
	scan->found = (struct ipc_strs){ NULL, 0 };	/* what was found is for us to say */
	scan->report = STR("");
	if (c->door != NULL) {	/* it reads what strangers send: nothing is signed for it */
		scan->sign = 0;
		scan->edits = (struct ipc_strs){ NULL, 0 };
	}
	if (c->door == NULL || !c->m->hooks->may_teach || !c->m->hooks->may_teach(c->m->hooks->ctx, c->door->which))
		scan->teach = 0;
	on_scan(ctx, id, scan, fd);
}

static void on_door_restart(void *ctx)
{
	door_start(ctx);
}

static void on_client_closed(void *ctx, struct ipc_chan *ch, const struct err *why)
{
	struct client *c = ctx;
	if (c->door != NULL) {
		log_warning("a listener process ended: starting it again");
		timer_del(&c->door->restart);
		c->door->restart = loop_timer(c->m->loop, RESTART_MS, on_door_restart, c->door);
	}
	if (why->code != ERR_CLOSED)
		log_warning("client: %s", why->text);
	list_del(&c->node);
	c->m->n_clients--;
	ipc_chan_free(&ch);
	c->chan = NULL;
	if (c->jobs == 0)
		loop_free_later(c->m->loop, c);
}

static void client_new(struct monitor *m, int fd, struct door *door)
{
	static const uint16_t may[] = { IPC_filter_SCAN };
	struct client *c = xzalloc(sizeof(*c));
	c->m = m;
	c->door = door;
	c->chan = ipc_chan_new(m->loop, fd, &ipc_filter, on_client, on_client_closed, c);
	ipc_chan_allow(c->chan, (struct ipc_allow){ may, ARRAY_LEN(may) });
	list_append(&m->clients, &c->node);
	m->n_clients++;
}

static void door_start(struct door *d)
{
	struct monitor *m = d->m;
	const int fd = m->hooks->start_door(m->hooks->ctx, d->which);
	timer_del(&d->restart);
	if (fd >= 0)
		client_new(m, fd, d);
	else
		d->restart = loop_timer(m->loop, RESTART_MS, on_door_restart, d);
}

static void on_accept(void *ctx, unsigned events)
{
	struct monitor *m = ctx;
	(void)events;
	int fd = accept4(m->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (fd < 0) {
		if (errno != EAGAIN && errno != ECONNABORTED && errno != EINTR)
			log_error("accept: %s", strerror(errno));
		return;
	}
	struct peer_cred cred;
	struct err e = { 0 };
	if (sock_peer_cred(fd, &cred, &e) < 0 || (cred.uid != 0 && cred.uid != m->queue_uid) || m->n_clients >= MONITOR_CLIENTS_MAX) {
		log_warning("a client was refused (uid %u)", (unsigned)cred.uid);
		close(fd);
		return;
	}
	client_new(m, fd, NULL);
}

static void on_signal(void *ctx, int signo)
{
	struct monitor *m = ctx;
	if (signo == SIGTERM || signo == SIGINT) {
		loop_stop(m->loop);
	} else if (signo == SIGHUP) {
		reload(m);
	}
}

int monitor_run(const struct conf *conf, int listener, uid_t queue_uid, const struct monitor_hooks *hooks, struct err *e)
{
	(void)e;
	struct monitor m = { .loop = loop_new(), .first = conf, .conf = conf, .hooks = hooks, .listener = listener, .queue_uid = queue_uid };
	list_init(&m.clients);
	for (enum stage_kind k = 0; k < STAGE_KINDS; k++)
		list_init(&m.waiting[k]);
	list_init(&m.workers);
	m.relay = relay_new(m.loop, conf);
	suspects_set(&m.suspects, conf);
	m.keys = keys_new(m.loop, conf);
	m.dmarc = dmarc_data_new(m.loop, conf);
	const int signals[] = { SIGTERM, SIGINT, SIGHUP };
	for (size_t i = 0; i < ARRAY_LEN(signals); i++)
		loop_signal(m.loop, signals[i], on_signal, &m);
	loop_watchdog(m.loop);
	struct watch *w = loop_watch(m.loop, listener, LOOP_READ, on_accept, &m);
	m.watch = loop_timer(m.loop, WATCH_SIGNATURES_MS, on_watch, &m);
	templates_start(&m);
	for (size_t i = 0; i < hooks->n_doors && i < MONITOR_DOORS_MAX; i++) {
		m.doors[i] = (struct door){ .m = &m, .which = i };
		door_start(&m.doors[i]);
	}
	loop_run(m.loop);
	watch_del(&w);
	return 0;
}
