/* One message being tried: local recipients through agents, remote ones grouped by next hop, with limits per destination. When all have answered the results are appended to
 * its journal, failures are told to the sender, and the message is removed or waits for its next try.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "deliver/queued.h"
#include "ipc/remote.h"
#include "log/log.h"
#include "os/os.h"

struct arcpt {
	struct active *a;
	size_t at;			/* index in msg->rcpts */
	struct copy *copy;
	uint64_t start_us;
	/* .forward */
	bool forwarding, ready, posted;
	char forwarded_as[SPOOL_QID_MAX + 1];
};

struct active {
	struct queued *q;
	struct qmsg *m;
	struct arena *arena;
	struct spool_msg *msg;
	struct arcpt *rcpts;
	int fd;
	size_t outstanding;
	struct buf journal;
	uint64_t start_us;
	bool *pick;
	bool bouncing_failed;		/* else: a delay warning */
};

struct dest {
	char *nexthop;
	struct retry_dest state;
	char why[200];			/* last trouble */
	size_t running, jobs;		/* jobs: waiting and running */
	struct list waiting;
	struct list node;		/* of remotes.blocked */
	bool blocked;
};

/* Some recipients of one message for one next hop. */
struct job {
	struct list node;
	struct active *a;
	struct dest *dest;
	size_t *at, n;
	uint32_t id;
	uint64_t start_us;
};

enum { DESTS_MAX = 10000 };	/* destinations whose failures are remembered */

struct remotes {
	struct map *dests, *jobs;	/* next hop; id of a running job */
	struct list blocked;		/* destinations that wait for QUEUED_REMOTE_JOBS_MAX */
	size_t running;
};

static struct remotes remotes;	/* tables of the one loop */

static void settle(struct active *a);

/* Who gets to hear of recipient r's failure. */
static struct str sender_of(const struct spool_msg *m, const struct spool_rcpt *r)
{
	return r->sender.n > 0 ? r->sender : m->sender;
}

/* --- results --- */

static double seconds(uint64_t from_us, uint64_t to_us)
{
	return to_us > from_us ? (double)(to_us - from_us) / 1e6 : 0;
}

static void log_result(const struct arcpt *x, const char *status)
{
	const struct active *a = x->a;
	const struct spool_rcpt *r = &a->msg->rcpts[x->at];
	const uint64_t now = clock_mono_us(), start = x->start_us ? x->start_us : now;	/* 0: deferred without a try */
	const bool remote = str_eq(r->kind, STR("remote"));
	const double age = seconds(a->msg->arrived_us, clock_wall_us());
	const double active_s = seconds(a->start_us, now);
	const struct log_delivery d = {
		.qid = a->msg->qid, .address = spool_rcpt_shown(r), .original = r->original, .relay = r->relay, .text = r->text, .program = remote ? "smtp" : "local",
		.status = status, .enhanced = r->enhanced, .before = age > active_s ? age - active_s : 0, .queued = seconds(a->start_us, start),
		.transfer = seconds(start, now),
	};

	qlog_delivery(&d);
}

static void result(struct arcpt *x, enum spool_state state, struct str enhanced, struct str text, struct str relay)
{
	struct active *a = x->a;
	struct spool_rcpt *r = &a->msg->rcpts[x->at];

	r->state = state;
	r->tries++;
	r->when = clock_wall();
	r->enhanced = arena_str(a->arena, enhanced);
	r->text = arena_str(a->arena, text);
	r->relay = arena_str(a->arena, relay);
	spool_journal_status(a->msg->qid, x->at, r, &a->journal);
	log_result(x, state == SPOOL_SENT ? "sent" : state == SPOOL_BOUNCED ? "bounced" : "deferred");
}

static void one_done(struct active *a)
{
	if (--a->outstanding == 0)
		settle(a);
}

/* --- local --- */

static void commit_forwarded(struct arcpt *x)
{
	if (x->posted && x->ready)
		copy_commit(x->copy);
}

static void on_forward_posted(void *ctx, struct str qid, bool permanent)
{
	struct arcpt *x = ctx;
	struct active *a = x->a;

	x->forwarding = false;
	if (qid.n > 0) {
		x->posted = true;
		snprintf(x->forwarded_as, sizeof(x->forwarded_as), "%.*s", STR_ARG(qid));
		if (x->copy) {
			commit_forwarded(x);
			return;
		}
		/* the agent died meanwhile: the forwarded copy is on its way, so this recipient is done but for the local copy */
	} else {
		copy_abort(&x->copy);
	}
	result(x, SPOOL_PENDING, permanent ? STR("4.1.1") : STR("4.3.0"),
	       permanent ? STR(".forward names only unknown addresses") : STR("mail forwarding is not possible now"), STR("local"));
	one_done(a);
}

static int read_content(const struct active *a, struct buf *out, struct err *e)
{
	buf_init(out, (size_t)a->msg->size + 1);
	char *p = buf_room(out, (size_t)a->msg->size);
	if (p == NULL && a->msg->size > 0)
		return err_set(e, ERR_LIMIT, 0, "message too big to be forwarded");
	if (a->msg->size > 0 && pread_all(a->fd, p, (size_t)a->msg->size, 0, e) < 0)
		return -1;
	buf_added(out, (size_t)a->msg->size);
	return 0;
}

static bool is_mailbox(const struct spool_rcpt *r)
{
	return str_eq(r->kind, STR("mailbox"));
}

/* The user's .forward: a new message to those addresses, marked with our Delivered-To so that a loop is noticed. */
static void forward(struct arcpt *x, const struct copy_result *r)
{
	struct active *a = x->a;
	const struct spool_msg *m = a->msg;
	struct post_request p = { .sender = sender_of(m, &m->rcpts[x->at]), .message_id = m->message_id, .flags = m->flags, .to = r->recipients.v, .n_to = r->recipients.n };
	struct str *edits = ARENA_ARRAY(a->arena, struct str, m->n_edits + 1);
	struct err e = { 0 };

	for (size_t i = 0; i < m->n_edits; i++)
		edits[i] = m->edits[i];
	edits[m->n_edits] = str_c(arena_printf(a->arena, "+Delivered-To: %.*s",
					       STR_ARG(is_mailbox(&m->rcpts[x->at]) ? m->rcpts[x->at].address : m->rcpts[x->at].original)));
	p.edits = edits;
	p.n_edits = m->n_edits + 1;
	x->forwarding = true;
	x->ready = !r->keep;
	if (read_content(a, &p.content, &e) < 0) {
		log_error("%.*s: %s", STR_ARG(m->qid), e.text);
		buf_fini(&p.content);
		on_forward_posted(x, STR(""), false);
		return;
	}
	post(a->q, &p, on_forward_posted, x);
}

static void ask_agent(struct arcpt *x, bool runner);

static void on_copy(void *ctx, enum copy_event ev, const struct copy_result *r)
{
	struct arcpt *x = ctx;
	struct active *a = x->a;
	char text[64];

	switch (ev) {
	case COPY_READY:
		if (x->forwarding || x->posted) {
			x->ready = true;
			commit_forwarded(x);
		} else {
			copy_commit(x->copy);
		}
		return;
	case COPY_FORWARD:
		if (r->runner) {
			copy_abort(&x->copy);
			ask_agent(x, true);
		} else {
			forward(x, r);
		}
		return;
	case COPY_DONE:
		x->copy = NULL;
		snprintf(text, sizeof(text), "forwarded as %s", x->forwarded_as);
		result(x, SPOOL_SENT, STR("2.0.0"), x->posted ? str_c(text) : r->text, STR("local"));
		break;
	case COPY_FAILED:
		x->copy = NULL;
		if (x->forwarding)
			return;		/* on_forward_posted goes on */
		result(x, r->permanent ? SPOOL_BOUNCED : SPOOL_PENDING, r->enhanced, r->text, STR("local"));
		break;
	}
	one_done(a);
}

/* To an agent: a mailbox, or a command, file or include list of an alias. runner: one that can execute commands. */
static void ask_agent(struct arcpt *x, bool runner)
{
	struct active *a = x->a;
	const struct spool_rcpt *r = &a->msg->rcpts[x->at];
	const bool mailbox = is_mailbox(r);
	const struct copy_request c = {
		.user = r->user, .qid = a->msg->qid, .sender = sender_of(a->msg, r), .recipient = mailbox ? r->address : r->original,
		.original = r->original, .extension = r->extension,
		.kind = mailbox ? STR("") : r->kind, .item = mailbox ? STR("") : r->address, .programs = true, .runner = runner,
		.folder = r->folder, .edits = { a->msg->edits, a->msg->n_edits }, .size = a->msg->size,
		.attempt = r->tries + 1 + (a->m->recovered ? 1 : 0), .fd = a->fd,
	};

	x->copy = copy_start(a->q, &c, on_copy, x);
}

static void start_local(struct arcpt *x)
{
	x->a->outstanding++;
	x->start_us = clock_mono_us();
	ask_agent(x, str_eq(x->a->msg->rcpts[x->at].kind, STR("command")));
}

/* --- remote --- */

static struct dest *dest_get(struct str nexthop)
{
	struct dest *d = map_get(remotes.dests, nexthop);

	if (d == NULL) {
		d = xzalloc(sizeof(*d));
		d->nexthop = xstrndup(nexthop.p, nexthop.n);
		list_init(&d->waiting);
		list_init(&d->node);
		(void)map_set(remotes.dests, nexthop, d);
	}
	return d;
}

/* A destination without work or history is forgotten. */
static void dest_maybe_free(struct dest *d)
{
	if (d->blocked || d->jobs > 0 || (d->state.failures > 0 && map_count(remotes.dests) < DESTS_MAX))
		return;
	(void)map_del(remotes.dests, str_c(d->nexthop));
	free(d->nexthop);
	free(d);
}

static void job_free(struct job *j)
{
	j->dest->jobs--;
	free(j->at);
	free(j);
}

static void job_defer(struct job *j, const char *text)
{
	struct active *a = j->a;

	for (size_t i = 0; i < j->n; i++)
		result(&a->rcpts[j->at[i]], SPOOL_PENDING, STR("4.4.1"), str_c(text), STR("none"));
	job_free(j);
	one_done(a);
}

static int job_send(struct queued *q, struct job *j)
{
	struct active *a = j->a;
	const struct spool_msg *m = a->msg;
	struct str *rcpts = ARENA_ARRAY(a->arena, struct str, j->n);
	struct err e = { 0 };

	for (size_t i = 0; i < j->n; i++) {
		rcpts[i] = m->rcpts[j->at[i]].address;
		a->rcpts[j->at[i]].start_us = clock_mono_us();
	}
	struct ipc_remote_SEND s = {
		.qid = m->qid, .nexthop = str_c(j->dest->nexthop), .sender = sender_of(m, &m->rcpts[j->at[0]]), .recipients = { rcpts, j->n }, .edits = { m->edits, m->n_edits },
		.size = m->size, .body = m->body, .smtputf8 = (m->flags & SPOOL_F_SMTPUTF8) != 0,
	};
	if (q->remote == NULL)
		return -1;
	j->id = ipc_next_id(q->remote);
	if (ipc_send(q->remote, IPC_remote_SEND, &s, j->id, a->fd, &e) < 0) {
		log_error("remote: %s", e.text);
		return -1;
	}
	(void)map_set(remotes.jobs, str_n(&j->id, sizeof(j->id)), j);
	j->dest->running++;
	remotes.running++;
	return 0;
}

/* Start what may start for d; a dead destination's mail is deferred without a try. */
static void dest_pump(struct queued *q, struct dest *d)
{
	while (!list_empty(&d->waiting)) {
		struct job *j = list_of(d->waiting.next, struct job, node);
		char text[300];
		if (retry_dest_dead(&d->state, clock_wall())) {
			snprintf(text, sizeof(text), "delivery temporarily suspended: %s", d->why);
		} else if (d->running >= q->conf->smtp_destination_concurrency_limit) {
			return;
		} else if (remotes.running >= QUEUED_REMOTE_JOBS_MAX) {
			if (!d->blocked)
				list_append(&remotes.blocked, &d->node);
			d->blocked = true;
			return;
		} else {
			list_del(&j->node);
			if (job_send(q, j) == 0)
				continue;
			snprintf(text, sizeof(text), "remote delivery is not available");
			job_defer(j, text);
			continue;
		}
		list_del(&j->node);
		job_defer(j, text);
	}
	dest_maybe_free(d);
}

/* A place is free. */
static void unblock(struct queued *q)
{
	if (list_empty(&remotes.blocked))
		return;
	struct dest *d = list_of(remotes.blocked.next, struct dest, node);
	list_del(&d->node);
	d->blocked = false;
	dest_pump(q, d);
}

static bool result_sane(const struct job *j, const struct ipc_remote_RESULT *m)
{
	return m->status.n == j->n && m->enhanced.n == j->n && m->texts.n == j->n;
}

static void on_remote(void *ctx, struct ipc_chan *ch, uint16_t type, uint32_t id, void *msg, int fd)
{
	struct queued *q = ctx;
	const struct ipc_remote_RESULT *m = msg;
	struct job *j = map_del(remotes.jobs, str_n(&id, sizeof(id)));
	bool all_deferred = true;

	close_fd(&fd);
	if (j == NULL)
		return;
	struct dest *d = j->dest;
	d->running--;
	remotes.running--;
	if (!result_sane(j, m)) {
		log_error("remote: result for another number of recipients");
		job_defer(j, "remote delivery answered nonsense");
		dest_pump(q, d);
		unblock(q);
		return;
	}
	struct active *a = j->a;
	for (size_t i = 0; i < j->n; i++) {
		const bool sent = str_eq(m->status.v[i], STR("sent")), bounced = str_eq(m->status.v[i], STR("bounced"));
		all_deferred &= !sent && !bounced;
		result(&a->rcpts[j->at[i]], sent ? SPOOL_SENT : bounced ? SPOOL_BOUNCED : SPOOL_PENDING, m->enhanced.v[i], m->texts.v[i], m->relay);
	}
	const bool reached = !all_deferred || !str_eq(m->relay, STR("none"));
	retry_dest_result(&d->state, reached, clock_wall(), q->conf->minimal_backoff_time, q->conf->maximal_backoff_time);
	if (!reached)
		snprintf(d->why, sizeof(d->why), "%.*s", STR_ARG(m->texts.v[0]));
	job_free(j);
	dest_pump(q, d);
	unblock(q);
	one_done(a);
}

static void on_remote_closed(void *ctx, struct ipc_chan *ch, const struct err *why)
{
	struct queued *q = ctx;
	struct str key;
	size_t it = 0;
	void *v;

	log_warning("remote: %s", why->text);
	ipc_chan_free(&q->remote);	/* the group starts again */
	while (map_next(remotes.jobs, &it, &key, &v)) {
		struct job *j = v;
		(void)map_del(remotes.jobs, key);
		j->dest->running--;
		remotes.running--;
		job_defer(j, "remote delivery process ended");
		it = 0;
	}
}

void active_remote_start(struct queued *q, int fd)
{
	static const uint16_t types[] = { IPC_remote_RESULT };

	remotes.dests = map_new();
	remotes.jobs = map_new();
	list_init(&remotes.blocked);
	q->remote = ipc_chan_new(q->loop, fd, &ipc_remote, on_remote, on_remote_closed, q);
	ipc_chan_allow(q->remote, (struct ipc_allow){ types, ARRAY_LEN(types) });
}

void remote_flush(struct queued *q)
{
	struct str key;
	size_t it = 0;
	void *v;

	while (map_next(remotes.dests, &it, &key, &v)) {
		struct dest *d = v;
		d->state = (struct retry_dest){ 0 };
	}
}

static struct str nexthop_of(const struct queued *q, struct str address)
{
	const ptrdiff_t at = str_rchr(address, '@');

	if (q->conf->relayhost[0] != '\0')
		return str_c(q->conf->relayhost);
	return at < 0 ? STR("localhost") : str_from(address, (size_t)at + 1);
}

/* Put recipient at into the job for its next hop; *jobs holds this message's open ones. */
static void start_remote(struct active *a, size_t at, struct list *jobs)
{
	const struct spool_rcpt *r = &a->msg->rcpts[at];
	struct dest *d = dest_get(r->user.n > 0 ? r->user : nexthop_of(a->q, r->address));
	struct job *j = NULL;

	list_each(n, jobs) {
		struct job *k = list_of(n, struct job, node);
		if (k->dest == d && k->n < QUEUED_REMOTE_RCPTS_MAX && str_eq(sender_of(a->msg, &a->msg->rcpts[k->at[0]]), sender_of(a->msg, &a->msg->rcpts[at])))
			j = k;
	}
	if (j == NULL) {
		j = xzalloc(sizeof(*j));
		j->a = a;
		j->dest = d;
		d->jobs++;
		j->at = xzalloc(QUEUED_REMOTE_RCPTS_MAX * sizeof(*j->at));
		list_append(jobs, &j->node);
		a->outstanding++;
	}
	j->at[j->n++] = at;
}

static void jobs_go(struct active *a, struct list *jobs)
{
	while (!list_empty(jobs)) {
		struct job *j = list_of(jobs->next, struct job, node);
		list_del(&j->node);
		list_append(&j->dest->waiting, &j->node);
		dest_pump(a->q, j->dest);
	}
}

/* --- the end of a try --- */

static void active_free(struct active *a, bool removed)
{
	struct queued *q = a->q;
	struct qmsg *m = a->m;
	struct arena *arena = a->arena;

	m->active = NULL;
	close_fd(&a->fd);
	buf_fini(&a->journal);
	if (removed) {
		qlog_removed(a->msg->qid);
		sched_forget(q, &m);
	}
	arena_free(&arena);
	sched_active_done(q, m);
}

static void write_journal(struct active *a)
{
	struct err e = { 0 };

	/* No sync: a lost record is a second try, which local delivery recognises; a message that is done is removed. */
	if (a->journal.n > 0 && spool_append(a->q->spool, a->msg->qid, a->msg->size, buf_view(&a->journal), false, &e) < 0)
		log_error("%.*s: %s", STR_ARG(a->msg->qid), e.text);
	buf_reset(&a->journal);
}

static size_t pick(struct active *a, enum spool_state s)
{
	size_t n = 0;

	for (size_t i = 0; i < a->msg->n_rcpts; i++) {
		a->pick[i] = a->msg->rcpts[i].state == s;
		n += a->pick[i];
	}
	return n;
}

/* Wait for the next try. */
static void reschedule(struct active *a)
{
	struct queued *q = a->q;
	struct qmsg *m = a->m;
	const int64_t now = clock_wall();
	const uint64_t age = now > m->arrived ? (uint64_t)(now - m->arrived) : 0;

	a->msg->tries = m->tries = a->msg->tries + 1;
	a->msg->next_try = now + (int64_t)retry_delay(age, q->conf->minimal_backoff_time, q->conf->maximal_backoff_time, (uint32_t)random_u64());
	a->msg->held = m->held;
	spool_journal_try(a->msg, &a->journal);
	write_journal(a);
	const int64_t next = a->msg->next_try;
	m->recovered = false;
	active_free(a, false);
	sched_when(q, m, next);
}

static void remove_or_wait(struct active *a)
{
	if (pick(a, SPOOL_PENDING) > 0 || pick(a, SPOOL_BOUNCED) > 0) {
		reschedule(a);
		return;
	}
	spool_remove(a->q->spool, a->msg->qid, a->msg->size);
	active_free(a, true);
}

/* Of those that pick() found, only those whose failure the same one is told; the rest in the next round. */
static void pick_one_sender(struct active *a, struct str *sender_out)
{
	bool any = false;

	for (size_t i = 0; i < a->msg->n_rcpts; i++) {
		const struct str s = sender_of(a->msg, &a->msg->rcpts[i]);
		if (a->pick[i] && !any)
			*sender_out = s;
		any |= a->pick[i];
		a->pick[i] = a->pick[i] && str_eq(s, *sender_out);
	}
}

static void on_warned(void *ctx, bool ok)
{
	struct active *a = ctx;

	if (ok)
		a->msg->warned = clock_wall();
	remove_or_wait(a);
}

static void maybe_warn(struct active *a)
{
	const uint64_t after = a->q->conf->delay_warning_time;
	const int64_t now = clock_wall();

	if (after > 0 && a->msg->warned == 0 && a->msg->sender.n > 0 && now - a->m->arrived > (int64_t)after && pick(a, SPOOL_PENDING) > 0)
		bounce_send(a->q, true, a->msg, a->pick, a->fd, on_warned, a);
	else
		remove_or_wait(a);
}

static void on_bounced(void *ctx, bool ok);

static void bounce_some(struct active *a)
{
	struct spool_msg m = *a->msg;

	pick_one_sender(a, &m.sender);
	bounce_send(a->q, false, &m, a->pick, a->fd, on_bounced, a);
}

static void on_bounced(void *ctx, bool ok)
{
	struct active *a = ctx;

	for (size_t i = 0; i < a->msg->n_rcpts; i++)
		if (ok && a->pick[i] && a->msg->rcpts[i].state == SPOOL_BOUNCED) {
			a->msg->rcpts[i].state = SPOOL_TOLD;
			spool_journal_status(a->msg->qid, i, &a->msg->rcpts[i], &a->journal);
		}
	if (ok && pick(a, SPOOL_BOUNCED) > 0)
		bounce_some(a);
	else
		maybe_warn(a);
}

/* What was tried for too long has failed. */
static void expire(struct active *a)
{
	const int64_t now = clock_wall();
	const uint64_t age = now > a->m->arrived ? (uint64_t)(now - a->m->arrived) : 0;
	bool any = false;

	if (!retry_expired(age, a->msg->tries + 1, a->q->conf->maximal_queue_lifetime))
		return;
	for (size_t i = 0; i < a->msg->n_rcpts; i++)
		if (a->msg->rcpts[i].state == SPOOL_PENDING) {
			a->msg->rcpts[i].state = SPOOL_BOUNCED;
			spool_journal_status(a->msg->qid, i, &a->msg->rcpts[i], &a->journal);
			any = true;
		}
	if (any)
		log_info("%.*s: from=<%.*s>, status=expired, returned to sender", STR_ARG(a->msg->qid), STR_ARG(a->msg->sender));
}

static void settle(struct active *a)
{
	if (a->m->doomed) {
		spool_remove(a->q->spool, a->msg->qid, a->msg->size);
		active_free(a, true);
		return;
	}
	expire(a);
	if (pick(a, SPOOL_BOUNCED) == 0) {
		maybe_warn(a);
		return;
	}
	write_journal(a);
	pick(a, SPOOL_BOUNCED);
	bounce_some(a);
}

static bool refused_kind(const struct conf *c, const struct spool_rcpt *r)
{
	const bool program = str_eq(r->kind, STR("command")) || str_eq(r->kind, STR("file"));

	return str_eq(r->kind, STR("error")) || (program && !program_allowed(c, r->kind, "alias"));
}

/* A recipient that nobody will ever take: returned. */
static void refuse_kind(struct arcpt *x)
{
	const struct spool_rcpt *r = &x->a->msg->rcpts[x->at];
	const bool told = str_eq(r->kind, STR("error"));

	x->start_us = clock_mono_us();
	result(x, SPOOL_BOUNCED, told && r->extension.n > 0 ? r->extension : STR("5.7.1"),
	       told ? r->user : STR("delivery to commands and files is not allowed by configuration"), STR("none"));
}

static void start_all(struct active *a)
{
	struct list jobs;

	list_init(&jobs);
	a->outstanding = 1;	/* so that it does not settle while it starts */
	for (size_t i = 0; i < a->msg->n_rcpts; i++) {
		const struct spool_rcpt *r = &a->msg->rcpts[i];
		a->rcpts[i] = (struct arcpt){ .a = a, .at = i };
		if (r->state != SPOOL_PENDING)
			continue;
		if (str_eq(r->kind, STR("remote")))
			start_remote(a, i, &jobs);
		else if (refused_kind(a->q->conf, r))
			refuse_kind(&a->rcpts[i]);
		else
			start_local(&a->rcpts[i]);
	}
	jobs_go(a, &jobs);
	one_done(a);
}

/* Not readable now, or not any more. */
static void not_loaded(struct queued *q, struct qmsg *m, const struct err *e)
{
	log_warning("%s: %s", m->qid, e->text);
	if (e->code == ERR_NOENT || e->code == ERR_INPUT)
		sched_forget(q, &m);
	else
		sched_when(q, m, clock_wall() + (int64_t)q->conf->minimal_backoff_time);
	sched_active_done(q, m);
}

void active_start(struct queued *q, struct qmsg *m)
{
	struct arena *arena = arena_new(0);
	struct active *a = ARENA_NEW(arena, struct active);
	struct err e = { 0 };

	a->q = q;
	a->m = m;
	a->arena = arena;
	a->fd = -1;
	a->start_us = clock_mono_us();
	if (spool_load(q->spool, str_c(m->qid), m->size, arena, &a->msg, &e) < 0 || spool_read_fd(q->spool, str_c(m->qid), m->size, &a->fd, &e) < 0) {
		arena_free(&arena);
		not_loaded(q, m, &e);
		return;
	}
	m->active = a;
	buf_init(&a->journal, SPOOL_JOURNAL_MAX);
	a->rcpts = ARENA_ARRAY(arena, struct arcpt, a->msg->n_rcpts);
	a->pick = ARENA_ARRAY(arena, bool, a->msg->n_rcpts);
	if (!m->logged)
		qlog_from(a->msg->qid, a->msg->sender, a->msg->size, a->msg->n_rcpts);
	m->logged = true;
	start_all(a);
}
