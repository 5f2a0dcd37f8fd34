/* From a complete message to the answer (ARCHITECTURE.md, the life of a message, 3 and 4):
 *	scan		filterd's verdict; edits are added to the envelope, signatures last
 *	milters		those of third parties, after filterd, so that its edits do not break what they sign; then filterd is asked once more, for our signatures
 *	copies		agents write every local copy into tmp and sync it: nothing is visible yet
 *	record		what is remote, or failed for now, becomes one queue record, synced beside the loop, not yet scheduled
 *	visible		the copies are renamed; from here there is no way back, and a client that goes away changes nothing
 *			A message for one mailbox alone skips these two: its agent renames the copy as soon as it is synced, unless the client has gone.
 *	late		renames that failed get into the record after all
 *	250		"Ok: queued as QID"
 * Until "visible" any failure, and a client that has gone, undoes everything. A crash leaves at worst one duplicate: the agents drop what was not
 * committed, and a record without its answer is delivered although the client will send again.
 */
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
static void scanned(struct trans *t);
static void copies_settled(struct trans *t);
static void make_visible(struct trans *t);
static void all_visible(struct trans *t);

static void fail_all(struct trans *t, const struct err *e)
{
	log_error("%s: %s", t->qid, e->text);
	trans_answer(t, e->code == ERR_LIMIT ? 452 : 451, e->code == ERR_LIMIT ? "4.3.1" : "4.3.0",
		     e->code == ERR_LIMIT ? STR("Insufficient system storage") : STR("Error: queue file write error"));
}

/* --- scan --- */

static void on_target(void *ctx, const struct ipc_resolve_RESULT *r)
{
	struct trans *t = ctx;

	t->ask = NULL;
	t->n_finals = 0;
	map_free(&t->seen);
	for (size_t i = 0; r && i < r->kinds.n; i++) {
		const struct final f = {
			.kind = r->kinds.v[i], .address = r->addresses.v[i], .user = r->users.v[i], .extension = r->extensions.v[i], .original = t->asked,
		};
		if (trans_final(t, &f) < 0)
			break;
	}
	if (t->n_finals == 0) {
		log_error("%s: <%.*s>, where filterd sends this message, does not exist", t->qid, STR_ARG(t->asked));
		trans_answer(t, 451, "4.3.0", STR("Error: the address for such mail is not available"));
	} else {
		start_copies(t);
	}
}

static void redirect(struct trans *t, struct str target)
{
	t->asked = arena_str(t->arena, target.n > 0 ? target : str_c(t->conf->redirect_recipient));
	t->ask = resolve_ask(t->q, t->asked, on_target, t);
}

/* Copies in mailboxes go there; what a plus address asks for yields. */
static void into_folder(struct trans *t, struct str folder)
{
	if (folder.n == 0)
		return;
	const struct str name = arena_str(t->arena, folder);
	for (size_t i = 0; i < t->n_finals; i++)
		t->finals[i].folder = name;
}

static void on_verdict(void *ctx, const struct ipc_filter_VERDICT *v)
{
	struct trans *t = ctx;
	struct err e = { 0 };
	char enhanced[13];

	t->ask = NULL;
	if (v == NULL) {
		trans_answer(t, 451, "4.3.0", STR("Error: content filter not available, try again later"));
		return;
	}
	if (trans_edits(t, v->edits.v, v->edits.n, &e) < 0) {
		fail_all(t, &e);
		return;
	}
	snprintf(enhanced, sizeof(enhanced), "%.*s", STR_ARG(v->enhanced));
	notice_send(t, v);
	if (str_eq(v->action, STR("accept"))) {
		into_folder(t, v->folder);
		scanned(t);
	} else if (str_eq(v->action, STR("reject"))) {
		trans_refuse(t, REFUSER_CONTENT, v->code >= 500 && v->code <= 599 ? v->code : 554, enhanced[0] == '5' ? enhanced : "5.7.1",
			     v->text.n > 0 ? v->text : STR("Message content rejected"));
	} else if (str_eq(v->action, STR("redirect"))) {
		redirect(t, v->target);
	} else if (str_eq(v->action, STR("quarantine"))) {
		t->quarantine = arena_str(t->arena, v->log.n > 0 ? v->log : STR("unnamed"));
		start_copies(t);
	} else if (str_eq(v->action, STR("discard"))) {
		trans_answer(t, 250, "2.7.0", str_c(arena_printf(t->arena, "Ok, discarded, id=%s", t->qid)));
	} else {	/* tempfail, and whatever we do not know */
		trans_refuse(t, REFUSER_CONTENT, v->code >= 400 && v->code <= 499 ? v->code : 451, enhanced[0] == '4' ? enhanced : "4.7.1",
			     v->text.n > 0 ? v->text : STR("Message could not be checked, try again later"));
	}
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
static void scan(struct trans *t, uint64_t sign)
{
	struct str *rcpts = ARENA_ARRAY(t->arena, struct str, t->n_finals);
	const struct forwarded *fw = t->conn->forwarded;
	struct ipc_filter_SCAN m = {
		.qid = trans_qid(t), .sender = t->sender, .client = str_c(fw && fw->addr[0] ? fw->addr : t->conn->client),
		.helo = fw && fw->helo[0] ? str_c(fw->helo) : t->helo, .size = t->size,
		.own = t->conn->has_user || t->conn->mynetworks || t->conn->local,
		.user = t->conn->has_user ? str_c(t->conn->user) : (struct str){ 0 }, .sign = sign,
	};

	for (size_t i = 0; i < t->n_finals; i++)
		rcpts[i] = t->finals[i].address;
	m.recipients = (struct ipc_strs){ rcpts, t->n_finals < IPC_STRS_MAX ? t->n_finals : IPC_STRS_MAX };
	if (sign)
		m.edits = (struct ipc_strs){ t->edits, t->n_edits };
	t->step = STEP_SCAN;
	t->ask = filter_ask(t->q, &m, t->fd, on_verdict, t);
}

void commit_message(struct trans *t)
{
	t->tells = t->conn->lmtp;
	t->ours = !t->conn->lmtp && (conn_trusted(t->conn) || t->conn->mynetworks);
	if (t->conf->filter_enable)
		scan(t, t->talk ? 0 : sign_bits(t));
	else
		scanned(t);
}

static void scanned(struct trans *t)
{
	if (t->talk && !t->milted)
		milter_message(t);
	else
		start_copies(t);
}

void commit_milted(struct trans *t)
{
	const uint64_t sign = sign_bits(t);

	t->milted = true;
	if (t->conf->filter_enable && sign)
		scan(t, sign | SIGN_ONLY);
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
		f->state = r->permanent ? FINAL_FAILED : FINAL_QUEUED;
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
		all_visible(t);
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
	const struct copy_request r = {
		.user = f->user, .qid = trans_qid(t),
		.sender = f->sender.n > 0 ? f->sender : t->sender, .recipient = f->address, .original = f->original, .extension = f->extension,
		.folder = f->folder, .edits = { t->edits, t->n_edits }, .size = t->size, .attempt = 1, .commit = t->n_finals == 1, .fd = t->fd,
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
	const bool in_session = !t->effects.hold.p && !t->quarantine.p && local > 0 && local <= t->conf->local_in_session_max;
	for (size_t i = 0; i < t->n_finals; i++) {
		struct final *f = &t->finals[i];
		if (in_session && str_eq(f->kind, STR("mailbox")))
			start_copy(t, f);
		else
			f->state = FINAL_QUEUED;
	}
	if (t->n_copying == 0)
		copies_settled(t);
	else
		t->deadline = loop_timer(t->q->loop, t->conf->local_in_session_time * 1000, on_deadline, t);
}

/* --- the record --- */

static void record_final(struct trans *t, struct spool_msg *m, struct final *f)
{
	struct spool_rcpt *r = spool_msg_add(t->arena, m);

	if (r == NULL)
		return;		/* QUEUED_FINALS_MAX is far below SPOOL_RCPT_MAX */
	*r = (struct spool_rcpt){ .kind = f->kind, .address = f->address, .original = f->original, .user = f->user, .extension = f->extension, .folder = f->folder,
				   .notify = f->notify, .orcpt = f->orcpt, .sender = f->sender };
	if (f->state == FINAL_FAILED)
		r->state = SPOOL_BOUNCED;
	r->enhanced = f->enhanced;
	r->text = f->text;
	r->when = f->text.n > 0 ? clock_wall() : 0;
	r->tries = f->text.n > 0 || f->alone;	/* alone: the copy may be visible although we do not know it; a second try looks */
	r->relay = f->text.n > 0 ? STR("local") : STR("");
	f->recorded = true;
}

/* Is this final to be in the record? A failure, so that the sender is told: the client was given a 250 for the others (RFC 5321 6.1). */
static bool goes_on_record(const struct trans *t, const struct final *f)
{
	return f->state == FINAL_QUEUED || (f->state == FINAL_FAILED && !t->tells && t->sender.n > 0);
}

static struct spool_msg *record_envelope(struct trans *t)
{
	struct spool_msg *m = ARENA_NEW(t->arena, struct spool_msg);

	m->qid = trans_qid(t);
	m->size = t->size;
	m->arrived_us = clock_wall_us();
	m->flags = (t->smtputf8 ? SPOOL_F_SMTPUTF8 : 0) | (t->ours ? SPOOL_F_OURS : 0);
	m->sender = t->sender;
	m->held = t->effects.hold.p != NULL || t->quarantine.p != NULL;
	m->quarantine = t->quarantine.p ? t->quarantine : STR("");
	m->client = t->conn ? arena_str(t->arena, str_c(t->conn->client)) : STR("");
	m->user = t->conn && t->conn->has_user ? arena_str(t->arena, str_c(t->conn->user)) : STR("");
	m->helo = t->helo;
	m->message_id = t->head.message_id;
	m->body = t->body;
	m->envid = t->envid;
	m->ret = t->ret;
	m->edits = t->edits;
	m->n_edits = t->n_edits;
	return m;
}

static struct spool_msg *record_build(struct trans *t)
{
	struct spool_msg *m = record_envelope(t);

	for (size_t i = 0; i < t->n_finals; i++)
		if (goes_on_record(t, &t->finals[i]))
			record_final(t, m, &t->finals[i]);
	return m;
}

static void record_undo(struct trans *t)
{
	spool_remove(t->q->spool, trans_qid(t), t->size);
	t->msg = NULL;
}

static void on_synced(void *ctx, int error)
{
	struct trans *t = ctx;
	struct err e = { 0 };

	if (error != 0 || t->dropped) {
		record_undo(t);
		if (t->dropped) {
			trans_free(t);
			return;
		}
		(void)err_set(&e, ERR_TEMP, error, "sync of the queue file");
		fail_all(t, &e);
		return;
	}
	if (t->step == STEP_LATE)
		all_visible(t);
	else
		make_visible(t);
}

/* Write and sync; on_synced goes on. */
static int record_write(struct trans *t, enum trans_step step, struct err *e)
{
	struct spool_msg *m = record_build(t);
	int fd = -1;

	if (spool_commit(t->q->spool, m, &fd, e) < 0)
		return -1;
	t->incoming = false;
	t->msg = m;
	t->step = step;
	sync_submit(t->q->sync, fd, on_synced, t);
	return 0;
}

/* Everybody has failed for good: the client is told. */
static void refuse(struct trans *t)
{
	const struct final *f = &t->finals[0];
	char enhanced[13];

	snprintf(enhanced, sizeof(enhanced), "%.*s", STR_ARG(f->enhanced));
	trans_answer(t, strcmp(enhanced, "5.2.2") == 0 ? 552 : 550, enhanced[0] == '5' ? enhanced : "5.0.0",
		     str_c(arena_printf(t->arena, "<%.*s>: %.*s", STR_ARG(f->address), STR_ARG(f->text))));
}

/* Every copy is ready, failed, or goes to the queue. */
static void copies_settled(struct trans *t)
{
	const size_t failed = count(t, FINAL_FAILED);
	struct err e = { 0 };
	bool record = false;

	timer_del(&t->deadline);
	if (failed == t->n_finals) {
		refuse(t);
		return;
	}
	for (size_t i = 0; i < t->n_finals; i++)
		record |= goes_on_record(t, &t->finals[i]);
	if (!record)
		make_visible(t);
	else if (record_write(t, STEP_RECORD, &e) < 0)
		fail_all(t, &e);
}

/* --- visible --- */

static void make_visible(struct trans *t)
{
	t->step = STEP_VISIBLE;
	t->n_committing = count(t, FINAL_READY);
	if (t->n_committing == 0) {
		all_visible(t);
		return;
	}
	for (size_t i = 0; i < t->n_finals; i++)
		if (t->finals[i].state == FINAL_READY)
			copy_commit(t->finals[i].copy);
}

/* Renames that failed: into the record. 0: done; 1: on_synced goes on; -1. */
static int record_late(struct trans *t, struct err *e)
{
	struct buf b;
	int r = 0;
	bool any = false;

	for (size_t i = 0; i < t->n_finals; i++)
		any |= goes_on_record(t, &t->finals[i]) && !t->finals[i].recorded;
	if (!any)
		return 0;
	if (t->msg == NULL)
		return record_write(t, STEP_LATE, e) < 0 ? -1 : 1;
	buf_init(&b, SPOOL_RECORD_MAX);
	for (size_t i = 0; i < t->n_finals; i++)
		if (goes_on_record(t, &t->finals[i]) && !t->finals[i].recorded) {
			record_final(t, t->msg, &t->finals[i]);
			spool_journal_recipient(trans_qid(t), t->msg->n_rcpts - 1, &t->msg->rcpts[t->msg->n_rcpts - 1], &b);
		}
	r = buf_check(&b, "queue record", e);
	if (r == 0)
		r = spool_append(t->q->spool, trans_qid(t), t->size, buf_view(&b), true, e);
	buf_fini(&b);
	return r;
}

static void log_finals(const struct trans *t)
{
	const uint64_t now = clock_mono_us();

	qlog_from(trans_qid(t), t->sender, t->size, t->n_finals);
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

/* Those who asked to be told of success (RFC 3461 4.1) hear of the copies that are in mailboxes now. */
static void tell_success(struct trans *t)
{
	struct spool_msg *m = NULL;

	for (size_t i = 0; i < t->n_finals; i++) {
		const struct final *f = &t->finals[i];
		if (f->state != FINAL_SENT || !(f->notify & SMTP_NOTIFY_SUCCESS) || t->sender.n == 0)
			continue;
		m = m ? m : record_envelope(t);
		struct spool_rcpt *r = spool_msg_add(t->arena, m);
		if (r)
			*r = (struct spool_rcpt){ .kind = f->kind, .address = f->address, .original = f->original, .orcpt = f->orcpt, .notify = f->notify,
						   .enhanced = f->enhanced, .text = f->text, .relay = STR("local") };
	}
	if (m == NULL)
		return;
	bool *pick = ARENA_ARRAY(t->arena, bool, m->n_rcpts);
	for (size_t i = 0; i < m->n_rcpts; i++)
		pick[i] = true;
	bounce_send(t->q, &(struct bounce_request){ .kind = DSN_SUCCESS, .m = m, .pick = pick, .fd = t->fd }, NULL, NULL);
}

static void all_visible(struct trans *t)
{
	struct err e = { 0 };
	struct queued *q = t->q;
	const int r = record_late(t, &e);

	if (r > 0)
		return;
	if (r < 0) {
		/* Some copies are out, some are not: the client sends again, and those who have theirs get it twice. */
		if (t->msg)
			sched_add(q, t->msg, false);
		fail_all(t, &e);
		return;
	}
	log_finals(t);
	tell_success(t);
	if (t->msg)
		sched_add(q, t->msg, true);
	else
		qlog_removed(trans_qid(t));
	trans_answer(t, 250, "2.0.0", str_c(arena_printf(t->arena, "Ok: queued as %s", t->qid)));
}

/* The client has gone while the record is synced: undone when the sync returns. Later nothing can be undone. */
void commit_drop(struct trans *t)
{
	if (t->step == STEP_RECORD)
		t->dropped = true;
}
