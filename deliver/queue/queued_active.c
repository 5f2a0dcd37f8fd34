/* One message being tried: recipients with mailboxes through queued_local.c, others through queued_remote.c. When all have answered the results are appended to its journal,
 * failures are told to the sender, and the message is removed or waits for its next try.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "deliver/queue/queued.h"
#include "log/log.h"
#include "os/os.h"
#include "smtp/dsn.h"

static void settle(struct active *a);

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
	const double age = seconds(a->msg->arrived_us, clock_wall_us());
	const double active_s = seconds(a->start_us, now);
	const struct log_delivery d = {
		.qid = a->msg->qid, .address = spool_rcpt_shown(r), .original = r->original, .relay = r->relay, .text = r->text, .program = x->program ? x->program : "error",
		.status = status, .enhanced = r->enhanced, .before = age > active_s ? age - active_s : 0, .queued = seconds(a->start_us, start),
		.setup = seconds(0, x->setup_us), .transfer = seconds(start + x->setup_us, now), .uses = x->uses,
	};

	qlog_delivery(&d);
}

void active_result(struct arcpt *x, enum spool_state state, struct str enhanced, struct str text, struct str relay)
{
	struct active *a = x->a;
	struct spool_rcpt *r = &a->msg->rcpts[x->at];

	if (state == SPOOL_BOUNCED && a->q->conf->soft_bounce) {
		state = SPOOL_PENDING;
		enhanced = softened(a->q->conf, a->arena, enhanced);
	}
	r->state = state;
	r->tries++;
	r->when = clock_wall();
	r->enhanced = arena_str(a->arena, enhanced);
	r->text = arena_str(a->arena, text);
	r->relay = arena_str(a->arena, relay);
	spool_journal_status(a->msg->qid, x->at, r, &a->journal);
	log_result(x, state == SPOOL_SENT ? "sent" : state == SPOOL_BOUNCED ? "bounced" : "deferred");
}

void active_one_done(struct active *a)
{
	if (--a->outstanding == 0)
		settle(a);
}

/* --- the end of a try --- */

static void active_free(struct active *a, bool removed)
{
	struct queued *q = a->q;
	struct qmsg *m = a->m;
	struct arena *arena = a->arena;

	m->active = NULL;
	close_fd(&a->fd);
	close_fd(&a->out_fd);
	buf_fini(&a->journal);
	sched_active_done(q, m);
	if (removed) {
		qlog_removed(a->msg->qid);
		sched_forget(q, &m);
	}
	arena_free(&arena);
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

	a->msg->tries++;
	m->tries = (uint32_t)a->msg->tries;
	a->msg->next_try = now + (int64_t)retry_delay(age, q->conf->minimal_backoff_time, q->conf->maximal_backoff_time, (uint32_t)random_u64());
	a->msg->held = m->held;
	a->msg->expired = m->expired;
	spool_journal_try(a->msg, &a->journal);
	write_journal(a);
	const int64_t next = a->msg->next_try;
	m->recovered = false;
	active_free(a, false);
	sched_when(q, m, next);
}

static void remove_message(struct active *a)
{
	close_fd(&a->fd);	/* then nobody has the file open any more, and it can serve again */
	spool_remove(a->q->spool, a->msg->qid, a->msg->size);
	active_free(a, true);
}

static void remove_or_wait(struct active *a)
{
	if (pick(a, SPOOL_PENDING) > 0 || pick(a, SPOOL_BOUNCED) > 0) {
		reschedule(a);
		return;
	}
	remove_message(a);
}

/* Of those that pick() found, only those whose failure the same one is told; the rest in the next round. */
static void pick_one_sender(struct active *a, struct str *sender_out)
{
	bool any = false;

	for (size_t i = 0; i < a->msg->n_rcpts; i++) {
		const struct str s = active_sender_of(a->msg, &a->msg->rcpts[i]);
		if (a->pick[i] && !any)
			*sender_out = s;
		any |= a->pick[i];
		a->pick[i] = a->pick[i] && str_eq(s, *sender_out);
	}
}

static size_t pick_unwarned(struct active *a)
{
	size_t n = 0;

	for (size_t i = 0; i < a->msg->n_rcpts; i++) {
		a->pick[i] = a->msg->rcpts[i].state == SPOOL_PENDING && !a->rcpts[i].warned;
		n += a->pick[i];
	}
	return n;
}

static void on_warned(void *ctx, bool ok);

/* As with failures: each sender is told about recipients that are his. */
static void warn_some(struct active *a)
{
	struct spool_msg m = *a->msg;

	pick_one_sender(a, &m.sender);
	bounce_send(a->q, &(struct bounce_request){ .kind = DSN_DELAYED, .m = &m, .pick = a->pick, .fd = a->fd }, on_warned, a);
}

static void on_warned(void *ctx, bool ok)
{
	struct active *a = ctx;

	for (size_t i = 0; i < a->msg->n_rcpts; i++)
		a->rcpts[i].warned |= a->pick[i];
	a->warned_all &= ok;
	if (pick_unwarned(a) > 0) {
		warn_some(a);
		return;
	}
	if (a->warned_all)
		a->msg->warned = clock_wall();
	remove_or_wait(a);
}

static void maybe_warn(struct active *a)
{
	const uint64_t after = a->q->conf->delay_warning_time;
	const int64_t now = clock_wall();

	a->warned_all = true;
	if (after > 0 && a->msg->warned == 0 && now - a->m->arrived > (int64_t)after && pick_unwarned(a) > 0)
		warn_some(a);
	else
		remove_or_wait(a);
}

static void on_bounced(void *ctx, bool ok);

static void bounce_some(struct active *a)
{
	struct spool_msg m = *a->msg;

	pick_one_sender(a, &m.sender);
	bounce_send(a->q, &(struct bounce_request){ .kind = DSN_FAILED, .m = &m, .pick = a->pick, .fd = a->fd }, on_bounced, a);
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
	const struct conf *const c = a->q->conf;
	const uint64_t lifetime = a->msg->sender.n > 0 ? c->maximal_queue_lifetime : c->bounce_queue_lifetime;
	bool any = false;

	if (!a->m->expired && (c->soft_bounce || !retry_expired(age, a->msg->tries + 1, lifetime)))
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

static void failures(struct active *a)
{
	expire(a);
	if (pick(a, SPOOL_BOUNCED) == 0) {
		maybe_warn(a);
		return;
	}
	write_journal(a);
	pick(a, SPOOL_BOUNCED);
	bounce_some(a);
}

static void on_success_told(void *ctx, bool ok)
{
	failures(ctx);	/* a report of success that could not be made is no reason to keep a message that has arrived */
}

static void settle(struct active *a)
{
	const char **actions = ARENA_ARRAY(a->arena, const char *, a->msg->n_rcpts + 1);
	bool any = false;

	if (a->m->doomed) {
		remove_message(a);
		return;
	}
	for (size_t i = 0; i < a->msg->n_rcpts; i++) {
		actions[i] = a->rcpts[i].success;
		a->pick[i] = actions[i] != NULL && (a->msg->rcpts[i].notify & SMTP_NOTIFY_SUCCESS) != 0;
		any |= a->pick[i];
	}
	if (any && a->msg->sender.n > 0)
		bounce_send(a->q, &(struct bounce_request){ .kind = DSN_SUCCESS, .m = a->msg, .pick = a->pick, .actions = actions, .fd = a->fd }, on_success_told, a);
	else
		failures(a);
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
	active_result(x, SPOOL_BOUNCED, told && r->extension.n > 0 ? r->extension : STR("5.7.1"),
	       told ? r->user : STR("delivery to commands and files is not allowed by configuration"), STR("none"));
}

static void start_all(struct active *a)
{
	size_t *remote = ARENA_ARRAY(a->arena, size_t, a->msg->n_rcpts + 1), n = 0;

	a->outstanding = 1;	/* so that it does not settle while it starts */
	for (size_t i = 0; i < a->msg->n_rcpts; i++) {
		const struct spool_rcpt *r = &a->msg->rcpts[i];
		a->rcpts[i] = (struct arcpt){ .a = a, .at = i };
		if (r->state != SPOOL_PENDING)
			continue;
		if (str_eq(r->kind, STR("remote")))
			remote[n++] = i;
		else if (refused_kind(a->q->conf, r))
			refuse_kind(&a->rcpts[i]);
		else
			local_start(&a->rcpts[i]);
	}
	remote_send(a, remote, n);
	active_one_done(a);
}

/* Not readable now, or not any more. */
static void not_loaded(struct queued *q, struct qmsg *m, const struct err *e)
{
	log_warning("%s: %s", m->qid, e->text);
	sched_active_done(q, m);
	if (e->code == ERR_NOENT || e->code == ERR_INPUT)
		sched_forget(q, &m);
	else
		sched_when(q, m, clock_wall() + (int64_t)q->conf->minimal_backoff_time);
}

void active_start(struct queued *q, struct qmsg *m)
{
	struct arena *arena = arena_new(0);
	struct active *a = ARENA_NEW(arena, struct active);
	struct err e = { 0 };

	a->q = q;
	a->m = m;
	a->arena = arena;
	a->fd = a->out_fd = -1;
	a->start_us = clock_mono_us();
	if (spool_load(q->spool, str_c(m->qid), m->size, arena, &a->msg, &a->fd, &e) < 0) {
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
