/* The queue records of a message: one for each batch, written and synced one after the other, not scheduled before all are; undone when one fails. What a rename could
 * not make visible gets into them late.
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "deliver/queue/queued_trans.h"
#include "log/log.h"
#include "os/os.h"

static void record_final(struct trans *t, struct spool_msg *m, struct final *f)
{
	struct spool_rcpt *r = spool_msg_add(t->arena, m);

	if (r == NULL)
		return;		/* not recorded: the caller looks */
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
	return f->state == FINAL_QUEUED || (f->state == FINAL_FAILED && !f->told && (t->sender.n > 0 || f->sender.n > 0));
}

struct spool_msg *record_envelope(struct trans *t, const struct batch *b)
{
	struct spool_msg *m = ARENA_NEW(t->arena, struct spool_msg);

	if (m == NULL)
		return NULL;
	m->qid = str_c(b->qid);
	m->size = t->size;
	m->arrived_us = clock_wall_us();
	m->flags = (t->smtputf8 ? SPOOL_F_SMTPUTF8 : 0) | (t->ours ? SPOOL_F_OURS : 0);
	m->sender = t->sender;
	m->held = t->effects.hold.p != NULL || b->quarantine.p != NULL;
	m->quarantine = b->quarantine.p ? b->quarantine : STR("");
	m->client = t->conn ? arena_str(t->arena, str_c(t->conn->client)) : STR("");
	m->user = t->conn && t->conn->has_user ? arena_str(t->arena, str_c(t->conn->user)) : STR("");
	m->helo = t->helo;
	m->message_id = t->head.message_id;
	m->body = t->body;
	m->envid = t->envid;
	m->ret = t->ret;
	m->edits = b->edits;
	m->n_edits = b->n_edits;
	return m;
}

/* Is there somebody of the batch who is not on record yet, and is to be? */
static bool wants_record(struct trans *t, const struct batch *b)
{
	for (size_t i = 0; i < t->n_finals; i++) {
		const struct final *f = &t->finals[i];
		if (batch_of(t, f) == b && goes_on_record(t, f) && !f->recorded)
			return true;
	}
	return false;
}

/* NULL: it finds no memory, or not all of them do. */
static struct spool_msg *record_build(struct trans *t, const struct batch *b)
{
	struct spool_msg *m = record_envelope(t, b);

	for (size_t i = 0; m && i < t->n_finals; i++)
		if (batch_of(t, &t->finals[i]) == b && goes_on_record(t, &t->finals[i]))
			record_final(t, m, &t->finals[i]);
	return m && !wants_record(t, b) ? m : NULL;
}

static void records_undo(struct trans *t)
{
	struct batch *b;

	for (size_t i = 0; (b = batch_at(t, i)) != NULL; i++) {
		if (b->msg)
			spool_remove(t->q->spool, str_c(b->qid), t->size);
		b->msg = NULL;
	}
}

/* logged: their lines about the envelope were written. */
void records_schedule(struct trans *t, bool logged)
{
	struct batch *b;

	for (size_t i = 0; (b = batch_at(t, i)) != NULL; i++) {
		if (b->msg && i > 0 && logged)
			qlog_from(str_c(b->qid), t->sender, t->size, b->msg->n_rcpts);
		if (b->msg)
			sched_add(t->q, b->msg, logged);
	}
}

static void records_fail(struct trans *t, const struct err *e)
{
	if (t->step == STEP_RECORD)
		records_undo(t);
	else
		records_schedule(t, false);	/* some copies are out: the client sends again, and those who have theirs get it twice */
	if (t->dropped)
		trans_free(t);
	else
		commit_fail(t, e);
}

static void on_synced(void *ctx, int error)
{
	struct trans *t = ctx;
	struct batch *b = batch_at(t, t->recording);
	struct err e = { 0 };

	if (error == 0 && !t->dropped) {
		t->recording++;
		records_write(t);
		return;
	}
	(void)err_set(&e, ERR_TEMP, error, "sync of the queue file");
	if (t->step == STEP_LATE) {
		spool_remove(t->q->spool, str_c(b->qid), t->size);
		b->msg = NULL;
	}
	records_fail(t, &e);
}

static int copied(struct trans *t, struct batch *b, struct err *e)
{
	int fd;

	if (spool_copy_end(t->q->spool, b->making, &b->file, &fd, e) < 0)
		return -1;
	log_as(log_ident("cleanup"), LOG_LV_INFO, "%s: message-id=%.*s", b->qid, STR_ARG(b->making->message_id));
	b->msg = b->making;
	sync_submit(t->q->sync, fd, on_synced, t);
	return 0;
}

static void on_copied(void *ctx, int error)
{
	struct trans *t = ctx;
	struct batch *b = batch_at(t, t->recording);
	struct err e = { 0 };

	if (error != 0 || t->dropped) {
		spool_copy_undo(&b->file);
		(void)err_set(&e, error == ENOSPC || error == EDQUOT ? ERR_LIMIT : ERR_TEMP, error, "copy of the message");
		records_fail(t, &e);
	} else if (copied(t, b, &e) < 0) {
		records_fail(t, &e);
	}
}

/* Write and sync; on_synced goes on. The main one takes the file that was received, the others are copies of it. */
static int record_write(struct trans *t, struct batch *b, struct err *e)
{
	struct spool_msg *m = record_build(t, b);
	int fd = -1;

	if (m == NULL)
		return err_set(e, ERR_LIMIT, 0, "transaction too large");
	if (b != &t->main) {
		if (spool_room(t->q->spool, t->size, t->q->conf->queue_minfree, e) < 0 || spool_copy_begin(t->q->spool, m->qid, &b->file, e) < 0)
			return -1;
		b->making = m;
		sync_copy(t->q->sync, b->file.fd, t->fd, t->size, on_copied, t);
		return 0;
	}
	if (spool_commit(t->q->spool, m, t->fd, &fd, e) < 0)
		return -1;
	t->incoming = false;
	b->msg = m;
	sync_submit(t->q->sync, fd, on_synced, t);
	return 0;
}

/* One after the other: a large message is copied as often as there are batches, and others shall not wait for all of it. */
void records_write(struct trans *t)
{
	struct err e = { 0 };
	struct batch *b;

	while ((b = batch_at(t, t->recording)) != NULL && (b->msg || !wants_record(t, b)))
		t->recording++;
	if (b == NULL && t->step == STEP_LATE)
		commit_done(t);
	else if (b == NULL)
		commit_visible(t);
	else if (record_write(t, b, &e) < 0)
		records_fail(t, &e);
}

/* Renames that failed: into the record that is there. */
static int record_late(struct trans *t, struct batch *b, struct err *e)
{
	struct buf r;
	int ok;

	buf_init(&r, SPOOL_RECORD_MAX);
	for (size_t i = 0; i < t->n_finals; i++) {
		struct final *f = &t->finals[i];
		if (batch_of(t, f) != b || !goes_on_record(t, f) || f->recorded)
			continue;
		record_final(t, b->msg, f);
		if (!f->recorded)
			break;
		spool_journal_recipient(str_c(b->qid), b->msg->n_rcpts - 1, &b->msg->rcpts[b->msg->n_rcpts - 1], &r);
	}
	ok = wants_record(t, b) ? err_set(e, ERR_LIMIT, 0, "transaction too large") : buf_check(&r, "queue record", e);
	if (ok == 0 && r.n > 0)
		ok = spool_append(t->q->spool, str_c(b->qid), t->size, buf_view(&r), true, e);
	buf_fini(&r);
	return ok;
}

/* 0: done; 1: a record that was not there is written first, then this again; -1. */
int records_late(struct trans *t, struct err *e)
{
	struct batch *b;

	for (size_t i = 0; (b = batch_at(t, i)) != NULL; i++)
		if (b->msg && record_late(t, b, e) < 0)
			return -1;
	for (size_t i = 0; (b = batch_at(t, i)) != NULL; i++)
		if (!b->msg && wants_record(t, b)) {
			t->step = STEP_LATE;
			t->recording = i;
			records_write(t);
			return 1;
		}
	return 0;
}
