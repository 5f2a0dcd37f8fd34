/* EXPUNGE and UID EXPUNGE (RFC 3501 section 6.4.3, RFC 4315 section 2.1), and what CLOSE does. Some thousand messages at a time, with others' turn in between: each
 * piece is durable, then told. The untagged EXPUNGE responses of the last piece are those of the command's end, like all others. */
#include <stdlib.h>

#include "session.h"

enum {
	EXPUNGE_PIECE = 2000,
	GATHER_PIECE = 4096,	/* messages that are looked up at once */
};

struct expunging {
	uint32_t *uids;		/* numbers move from piece to piece */
	size_t n, at;
	bool told;		/* CLOSE tells its own client nothing */
	struct imap_seqset within;	/* of these, when limited */
	bool limited;
	uint32_t seq;		/* the last one that was gathered; 0: all are */
};

static int expunge_piece(struct client *c, struct expunging *x, size_t max, struct err *e)
{
	const size_t n = x->n - x->at < max ? x->n - x->at : max;
	uint32_t *const seqs = xmalloc((n + 1) * sizeof(*seqs));
	size_t k = 0;

	for (size_t i = 0; i < n; i++)
		if ((seqs[k] = mbox_view_seq(c->view, x->uids[x->at + i])) != 0)
			k++;
	const int r = k > 0 ? mbox_expunge(c->view, seqs, k, e) : 0;

	free(seqs);
	x->at = r < 0 ? x->n : x->at + n;
	return r;
}

static enum cmd_result expunge_end(struct client *c, const struct expunging *x)
{
	if (!x->told)
		folder_unselect(c);
	return x->told && x->n ? command_answer(c, "OK", highestmodseq_code(c), "Expunge completed.") : CMD_OK;
}

static enum cmd_result tell_step(struct client *c, struct err *e);

static enum cmd_result expunge_step(struct client *c, struct err *e)
{
	struct expunging *x = c->run.data;

	if (expunge_piece(c, x, EXPUNGE_PIECE, e) < 0) {
		if (!x->told)
			folder_unselect(c);
		return store_no(c, e, false);
	}
	folder_changed(c->user, c->folder->mbox);
	if (x->at == x->n)
		return expunge_end(c, x);
	if (x->told)
		c->run.step = tell_step;
	return CMD_MORE;
}

static enum cmd_result tell_step(struct client *c, struct err *e)
{
	const int r = folder_sync(c, false, true, e);

	if (r < 0)
		return store_no(c, e, false);
	if (r == 0)
		c->run.step = expunge_step;
	return CMD_MORE;
}

/* Numbers hold until the first expunge is told: all that are marked when the command begins are gathered before. */
static enum cmd_result gather_step(struct client *c, struct err *e)
{
	struct expunging *x = c->run.data;

	(void)e;
	for (unsigned n = 0; n < GATHER_PIECE; n++) {
		x->seq = mbox_view_next(c->view, x->seq + 1, MBOX_DELETED);
		if (!x->seq)
			break;
		if (!x->limited || imap_seqset_has(&x->within, x->seq))
			x->uids[x->n++] = mbox_view_uid(c->view, x->seq);
	}
	if (x->seq)
		return CMD_MORE;
	if (x->n == 0)
		return expunge_end(c, x);
	c->run.step = expunge_step;
	return CMD_MORE;
}

/* The connection ended in the middle: what was asked for is done, if it had begun. */
static void cleanup(struct client *c)
{
	struct expunging *x = c->run.data;
	struct err e = { 0 };

	if (!x->seq && x->at < x->n && c->view && expunge_piece(c, x, SIZE_MAX, &e) == 0)
		folder_changed(c->user, c->folder->mbox);
}

enum cmd_result expunge_deleted(struct client *c, const struct imap_seqset *within, bool told, struct err *e)
{
	struct expunging *x = ARENA_NEW(c->arena, struct expunging);
	struct mbox_status st;

	x->told = told;
	if (mbox_status(c->folder->mbox, &st, e) < 0)
		return store_no(c, e, false);
	if (st.deleted == 0)
		return expunge_end(c, x);
	if (!(x->uids = ARENA_ARRAY(c->arena, uint32_t, (size_t)mbox_view_count(c->view) + 1)))
		return err_set(e, ERR_LIMIT, 0, "too many messages"), CMD_NO;
	x->limited = within != NULL;
	x->within = within ? *within : (struct imap_seqset){ 0 };
	c->run.data = x;
	c->run.cleanup = cleanup;
	c->run.step = gather_step;
	return CMD_MORE;
}

enum cmd_result cmd_EXPUNGE(struct client *c, struct imap_lex *l, struct err *e)
{
	struct imap_seqset set;

	if (c->run.uid && (imap_get_sp(l, e) < 0 || imap_get_seqset(l, &set, e) < 0))
		return CMD_BAD;
	if (imap_get_end(l, e) < 0 || (c->run.uid && set_resolve(c, &set, true, e) < 0))
		return CMD_BAD;
	if (c->readonly)
		return command_answer(c, "NO", "READ-ONLY", "Mailbox is read-only.");
	if (!(c->rights & ACL_E))
		return no_perm(c);
	return expunge_deleted(c, c->run.uid ? &set : NULL, true, e);
}
