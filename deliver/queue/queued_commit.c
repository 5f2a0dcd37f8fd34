/* From a complete message to the answer (ARCHITECTURE.md, the life of a message, 3 and 4):
 *	scan		filterd's verdict, or several (queued_batches.c); edits are added to the envelope, signatures last
 *	milters		those of third parties, after filterd, so that its edits do not break what they sign; then filterd is asked once more, for our signatures
 *	copies		agents write every local copy into tmp and sync it: nothing is visible yet
 *	record		what is remote, or failed for now, becomes one queue record of each batch, synced beside the loop, not yet scheduled
 *	visible		the copies are renamed; from here there is no way back, and a client that goes away changes nothing
 *			A message for one mailbox alone skips these two: its agent renames the copy as soon as it is synced, unless the client has gone.
 *	late		renames that failed get into the record after all
 *	250		"Ok: queued as QID"
 * Until "visible" any failure, and a client that has gone, undoes everything. A crash leaves at worst one duplicate: the agents drop what was not
 * committed, and a record without its answer is delivered although the client will send again.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "deliver/queue/queued_trans.h"
#include "log/log.h"
#include "os/os.h"
#include "smtp/dsn.h"

static void start_copies(struct trans *t);
static void copies_settled(struct trans *t);

void commit_fail(struct trans *t, const struct err *e)
{
	log_error("%s: %s", t->qid, e->text);
	trans_answer(t, e->code == ERR_LIMIT ? 452 : 451, e->code == ERR_LIMIT ? "4.3.1" : "4.3.0",
		     e->code == ERR_LIMIT ? STR("Insufficient system storage") : STR("Error: queue file write error"));
}

/* --- scan --- */

static void on_verdict(void *ctx, const struct filter_outcomes *o)
{
	struct trans *t = ctx;

	t->ask = NULL;
	if (o == NULL)
		trans_answer(t, 451, "4.3.0", STR("Error: content filter not available, try again later"));
	else
		batches_sort(t, o);
}

/* Mail of ours gets a DKIM signature, mail of others that goes to another server an ARC set. */
static uint64_t sign_bits(const struct trans *t)
{
	if (t->effects.filter.p)
		return 0;	/* when it comes back from there */
	if (t->conn->has_user || t->conn->mynetworks || t->conn->local)
		return SIGN_DKIM;
	for (size_t i = 0; i < t->n_finals; i++)
		if (str_eq(t->finals[i].kind, STR("remote")))
			return SIGN_ARC;
	return 0;
}

/* sign: bits of enum filter_sign. */
static void scan(struct trans *t, uint64_t sign, struct ipc_strs edits, scanned_fn *fn)
{
	const struct forwarded *fw = t->conn->forwarded;
	struct ipc_filter_SCAN m = {
		.qid = trans_qid(t), .sender = t->sender, .client = str_c(fw && fw->addr[0] ? fw->addr : t->conn->client),
		.helo = fw && fw->helo[0] ? str_c(fw->helo) : t->helo, .size = t->size,
		.own = t->conn->has_user || t->conn->mynetworks || t->conn->local,
		.user = t->conn->has_user ? str_c(t->conn->user) : (struct str){ 0 }, .sign = sign, .complete = conn_completes(t->conn),
	};

	m.recipients = batches_rows(t, t->arena, &m.before);
	if (m.recipients.n == 0) {
		trans_answer(t, 452, "4.5.3", STR("Error: too many recipients"));
		return;
	}
	if (sign)
		m.edits = edits;
	t->step = STEP_SCAN;
	t->ask = filter_ask(t->q, &m, t->fd, fn, t);
}

void commit_message(struct trans *t)
{
	t->tells = t->conn->lmtp;
	t->ours = !t->conn->lmtp && (conn_trusted(t->conn) || t->conn->mynetworks);
	t->discarded = t->tells ? ARENA_ARRAY(t->arena, bool, t->n_accepted + 1) : NULL;
	if (t->tells && t->discarded == NULL)
		trans_answer(t, 452, "4.3.1", STR("Error: transaction too large"));
	else if (t->conf->filter_enable)
		scan(t, t->talk ? 0 : sign_bits(t), (struct ipc_strs){ t->edits, t->n_edits }, on_verdict);
	else
		commit_scanned(t);
}

void commit_scanned(struct trans *t)
{
	if (t->talk && !t->milted)
		milter_message(t);
	else if (t->sorted)
		commit_milted(t);	/* the filter signs nothing that is not the same for all */
	else
		commit_kept(t);
}

void commit_kept(struct trans *t)
{
	struct err e = { 0 };

	if (batches_complete(t, &e) < 0)
		commit_fail(t, &e);
	else
		start_copies(t);
}

/* --- signatures, when the edits of all copies are known --- */

static bool is_signed(struct trans *t, const struct batch *b)
{
	bool any = false;

	for (size_t i = 0; i < t->n_finals; i++)
		any |= batch_of(t, &t->finals[i]) == b && t->finals[i].state != FINAL_FAILED;
	return any && !b->quarantine.p;
}

static void sign_next(struct trans *t);

static void on_signed(void *ctx, const struct filter_outcomes *o)
{
	struct trans *t = ctx;
	struct err e = { 0 };

	t->ask = NULL;
	if (o == NULL) {
		trans_answer(t, 451, "4.3.0", STR("Error: content filter not available, try again later"));
	} else if (o->n != 1 || !str_eq(o->v[0]->action, STR("accept"))) {
		trans_refuse(t, REFUSER_CONTENT, 451, "4.7.5", STR("The message could not be signed now, try again later"));
	} else if (batch_edits(t, batch_at(t, t->signing), &o->v[0]->edits, &e) < 0) {
		commit_fail(t, &e);
	} else {
		t->signing++;
		sign_next(t);
	}
}

static void sign_next(struct trans *t)
{
	const struct batch *b;

	while ((b = batch_at(t, t->signing)) != NULL && !is_signed(t, b))
		t->signing++;
	if (b == NULL)
		start_copies(t);
	else
		scan(t, sign_bits(t) | SIGN_ONLY, (struct ipc_strs){ b->edits, b->n_edits }, on_signed);
}

void commit_milted(struct trans *t)
{
	struct err e = { 0 };

	t->milted = true;
	if (batches_complete(t, &e) < 0)
		commit_fail(t, &e);
	else if (t->conf->filter_enable && sign_bits(t))
		sign_next(t);
	else
		start_copies(t);
}

/* --- copies --- */

static size_t count(const struct trans *t, enum final_state s)
{
	size_t n = 0;

	for (size_t i = 0; i < t->n_finals; i++)
		n += t->finals[i].state == s;
	return n;
}

static void keep_result(struct final *f, const struct copy_result *r)
{
	f->enhanced = arena_str(f->t->arena, r->enhanced);
	f->text = arena_str(f->t->arena, r->text);
	f->done_us = clock_mono_us();
}

/* Before "visible". */
static void copy_told(struct final *f, enum copy_event ev, const struct copy_result *r)
{
	struct trans *t = f->t;
	const bool counted = f->state == FINAL_COPYING;

	switch (ev) {
	case COPY_READY:
		f->state = FINAL_READY;
		break;
	case COPY_FORWARD:	/* never inside of the transaction: the queue does it */
		copy_abort(&f->copy);
		f->alone = false;	/* certainly not visible */
		f->state = FINAL_QUEUED;
		break;
	case COPY_FAILED:
		keep_result(f, r);
		f->copy = NULL;
		f->enhanced = softened(t->conf, t->arena, f->enhanced);
		f->state = r->permanent && !t->conf->soft_bounce ? FINAL_FAILED : FINAL_QUEUED;
		break;
	case COPY_DONE:		/* without COMMIT, when it was not told to: an agent that invents */
		keep_result(f, r);
		f->copy = NULL;
		f->state = f->alone ? FINAL_SENT : FINAL_QUEUED;
		break;
	}
	if (counted && --t->n_copying == 0)
		copies_settled(t);
}

static void on_copy(void *ctx, enum copy_event ev, const struct copy_result *r)
{
	struct final *f = ctx;
	struct trans *t = f->t;

	if (t->step == STEP_COPIES) {
		copy_told(f, ev, r);
		return;
	}
	if (ev == COPY_DONE) {
		keep_result(f, r);
		f->copy = NULL;
		f->state = FINAL_SENT;
	} else if (ev == COPY_FAILED) {
		keep_result(f, r);
		f->copy = NULL;
		if (f->state != FINAL_READY)
			return;
		f->state = FINAL_QUEUED;
		if (t->step != STEP_VISIBLE)
			return;		/* died while the record is synced: found again when it is to be made visible */
	} else {
		return;
	}
	if (t->step == STEP_VISIBLE && --t->n_committing == 0)
		commit_done(t);
}

static void on_deadline(void *ctx)
{
	struct trans *t = ctx;

	for (size_t i = 0; i < t->n_finals; i++) {
		struct final *f = &t->finals[i];
		if (f->state == FINAL_COPYING) {
			copy_abort(&f->copy);
			f->state = FINAL_QUEUED;
			f->text = STR("delivery in session took too long");
		}
	}
	t->n_copying = 0;
	copies_settled(t);
}

static void start_copy(struct trans *t, struct final *f)
{
	const struct batch *b = batch_of(t, f);
	const struct copy_request r = {
		.user = f->user, .qid = str_c(b->qid),
		.sender = f->sender.n > 0 ? f->sender : t->sender, .recipient = f->address, .original = f->original, .extension = f->extension,
		.folder = f->folder, .edits = { b->edits, b->n_edits }, .size = t->size, .attempt = 1, .commit = t->n_finals == 1, .fd = t->fd,
	};

	f->alone = r.commit;
	f->state = FINAL_COPYING;
	t->n_copying++;
	f->copy = copy_start(t->q, &r, on_copy, f);
}

static void start_copies(struct trans *t)
{
	size_t local = 0;

	t->step = STEP_COPIES;
	effects_filter(t);
	for (size_t i = 0; i < t->n_finals; i++)
		local += str_eq(t->finals[i].kind, STR("mailbox"));
	const bool in_session = !t->effects.hold.p && local > 0 && local <= t->conf->local_in_session_max;
	for (size_t i = 0; i < t->n_finals; i++) {
		struct final *f = &t->finals[i];
		if (f->state == FINAL_FAILED)
			continue;
		if (in_session && str_eq(f->kind, STR("mailbox")) && !batch_of(t, f)->quarantine.p)
			start_copy(t, f);
		else
			f->state = FINAL_QUEUED;
	}
	if (t->n_copying == 0)
		copies_settled(t);
	else
		t->deadline = loop_timer(t->q->loop, t->conf->local_in_session_time * 1000, on_deadline, t);
}

/* --- the end of the copies --- */

/* Everybody has failed for good: the client is told. Of LMTP each RCPT has words of its own, but where a REDIRECT has taken the place of all. */
static void refuse(struct trans *t)
{
	const struct final *f = &t->finals[0];
	char enhanced[13];

	snprintf(enhanced, sizeof(enhanced), "%.*s", STR_ARG(f->enhanced));
	trans_answer(t, strcmp(enhanced, "5.2.2") == 0 ? 552 : 550, enhanced[0] == '5' ? enhanced : "5.0.0",
		     t->tells ? f->text :
				str_c(arena_printf(t->arena, "<%.*s>: %.*s", STR_ARG(f->instead_of.n > 0 ? f->instead_of : f->address), STR_ARG(f->text))));
}

/* Do all RCPTs that it is for hear of its failure? */
static bool heard_by_all(const struct trans *t, const struct final *f, const bool *had)
{
	bool any = false;

	if (!f->stands_for)
		return f->rcpt < t->n_accepted && !had[f->rcpt];
	for (size_t k = 0; k < t->n_accepted; k++) {
		if (!f->stands_for[k].p)
			continue;
		if (had[k])
			return false;
		any = true;
	}
	return any;
}

/* LMTP has one answer for an alias: it is a failure if all members failed. */
static int tell_failures(struct trans *t, struct err *e)
{
	bool *had = t->tells ? ARENA_ARRAY(t->arena, bool, t->n_accepted + 1) : NULL;

	if (!t->tells)
		return 0;
	if (had == NULL)
		return err_set(e, ERR_LIMIT, 0, "transaction too large");
	for (size_t i = 0; i < t->n_finals; i++) {
		const struct final *f = &t->finals[i];
		for (size_t k = 0; f->state != FINAL_FAILED && f->stands_for && k < t->n_accepted; k++)
			had[k] |= f->stands_for[k].p != NULL;
		if (f->state != FINAL_FAILED && f->rcpt < t->n_accepted)
			had[f->rcpt] = true;
	}
	for (size_t i = 0; i < t->n_finals; i++)
		t->finals[i].told = t->finals[i].state == FINAL_FAILED && heard_by_all(t, &t->finals[i], had);
	return 0;
}

/* Every copy is ready, failed, or goes to the queue. */
static void copies_settled(struct trans *t)
{
	struct err e = { 0 };

	timer_del(&t->deadline);
	if (tell_failures(t, &e) < 0) {
		commit_fail(t, &e);
		return;
	}
	if (count(t, FINAL_FAILED) == t->n_finals) {
		refuse(t);
		return;
	}
	t->step = STEP_RECORD;
	records_write(t);
}

/* --- visible --- */

void commit_visible(struct trans *t)
{
	t->step = STEP_VISIBLE;
	t->n_committing = count(t, FINAL_READY);
	if (t->n_committing == 0) {
		commit_done(t);
		return;
	}
	for (size_t i = 0; i < t->n_finals; i++)
		if (t->finals[i].state == FINAL_READY)
			copy_commit(t->finals[i].copy);
}

static void log_finals(struct trans *t)
{
	const uint64_t now = clock_mono_us();
	size_t n = 0;

	for (size_t i = 0; i < t->n_finals; i++)
		n += !t->finals[i].recorded || batch_of(t, &t->finals[i]) == &t->main;
	qlog_from(trans_qid(t), t->sender, t->size, n);
	for (size_t i = 0; i < t->n_finals; i++) {
		const struct final *f = &t->finals[i];
		const uint64_t end = f->done_us ? f->done_us : now;
		struct log_delivery d = {
			.qid = trans_qid(t), .address = f->address, .original = f->original, .relay = STR("local"), .text = f->text, .program = "local",
			.before = (double)(t->data_us - t->start_us) / 1e6, .transfer = (double)(end - t->data_us) / 1e6,
			.enhanced = f->enhanced,
		};
		if (f->state == FINAL_SENT) {
			d.status = "sent";
			qlog_delivery(&d);
		} else if (f->state == FINAL_FAILED && !f->recorded) {
			d.status = "bounced";
			qlog_delivery(&d);
		}
	}
}

/* Is it of several addresses, or of a list, that a RCPT named, and of which the sender hears as one? */
static bool is_expanded(struct trans *t, const struct final *f)
{
	return (f->asked_notify & ~f->notify & SMTP_NOTIFY_SUCCESS) && f->state != FINAL_FAILED && batch_of(t, f)->quarantine.p == NULL;
}

struct success {
	struct spool_msg *m;
	const char **actions;
};

static void success_add(struct trans *t, struct success *s, const struct spool_rcpt *r, const char *action)
{
	s->m = s->m ? s->m : record_envelope(t, &t->main);
	s->actions = s->actions ? s->actions : ARENA_ARRAY(t->arena, const char *, t->n_finals);
	struct spool_rcpt *to = s->m && s->actions ? spool_msg_add(t->arena, s->m) : NULL;
	if (to == NULL)
		return;
	*to = *r;
	to->relay = STR("local");
	to->notify = SMTP_NOTIFY_SUCCESS;
	s->actions[s->m->n_rcpts - 1] = action;
}

/* Those who asked to be told of success (RFC 3461 4.1) hear of the copies that are in mailboxes now, and of what was expanded. */
static void tell_success(struct trans *t)
{
	struct success s = { 0 };
	size_t told = SIZE_MAX;		/* the RCPT whose expansion has its line: what one led to stands together */

	for (size_t i = 0; t->sender.n > 0 && i < t->n_finals; i++) {
		const struct final *f = &t->finals[i];
		if (is_expanded(t, f) && f->rcpt != told)
			success_add(t, &s, &(struct spool_rcpt){ .kind = STR("remote"), .address = f->original, .original = f->original, .orcpt = f->asked_orcpt,
								 .enhanced = STR("2.0.0"), .text = f->sender.n > 0 ? STR("delivered to a list") : STR("alias expanded") },
				    f->sender.n > 0 ? "delivered" : "expanded");
		else if (f->state == FINAL_SENT && (f->notify & SMTP_NOTIFY_SUCCESS))
			success_add(t, &s, &(struct spool_rcpt){ .kind = f->kind, .address = f->address, .original = f->original, .orcpt = f->orcpt, .enhanced = f->enhanced,
								 .text = f->text }, "delivered");
		told = is_expanded(t, f) ? f->rcpt : told;
	}
	bool *pick = s.m ? ARENA_ARRAY(t->arena, bool, s.m->n_rcpts) : NULL;
	for (size_t i = 0; pick && i < s.m->n_rcpts; i++)
		pick[i] = true;
	if (pick)
		bounce_send(t->q, &(struct bounce_request){ .kind = DSN_SUCCESS, .m = s.m, .pick = pick, .actions = s.actions, .fd = t->fd }, NULL, NULL);
}

void commit_done(struct trans *t)
{
	struct err e = { 0 };
	const int r = records_late(t, &e);

	if (r > 0)
		return;
	if (r < 0) {
		/* Some copies are out, some are not: the client sends again, and those who have theirs get it twice. */
		records_schedule(t, false);
		commit_fail(t, &e);
		return;
	}
	/* Nothing can go wrong any more: the client need not wait for what we have to write down. */
	trans_say(t, 250, "2.0.0", str_c(arena_printf(t->arena, "Ok: queued as %s", t->qid)));
	log_finals(t);
	tell_success(t);
	if (t->main.msg == NULL)
		qlog_removed(trans_qid(t));
	records_schedule(t, true);
	trans_free(t);
}

/* The client has gone while the record is synced: undone when the sync returns. Later nothing can be undone. */
void commit_drop(struct trans *t)
{
	if (t->step == STEP_RECORD)
		t->dropped = true;
}
