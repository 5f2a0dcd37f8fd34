/* STORE and UID STORE (RFC 3501 section 6.4.6). One journal append for all messages of the command. */
#include "session.h"

struct store_args {
	struct imap_seqset set;
	enum mbox_flag_op op;
	bool silent;
	struct imap_flags flags;
};

static int get_item(struct imap_lex *l, struct store_args *a, struct err *e)
{
	a->op = imap_try(l, '+') ? MBOX_ADD : imap_try(l, '-') ? MBOX_REMOVE : MBOX_SET;
	a->silent = imap_try_word(l, "FLAGS.SILENT");
	if (!a->silent && !imap_try_word(l, "FLAGS"))
		return err_set(e, ERR_INPUT, 0, "unknown STORE item");
	return 0;
}

static int get_args(struct client *c, struct imap_lex *l, struct store_args *a, struct err *e)
{
	if (imap_get_sp(l, e) < 0 || imap_get_seqset(l, &a->set, e) < 0 || imap_get_sp(l, e) < 0 || get_item(l, a, e) < 0 ||
	    imap_get_sp(l, e) < 0 || imap_get_flags(l, true, &a->flags, e) < 0 || imap_get_end(l, e) < 0)
		return -1;
	return set_resolve(c, &a->set, c->run.uid, e);
}

struct telling {
	const uint32_t *seqs;
	size_t n, at;
};

/* The new flags, a few hundred messages at a time. */
static enum cmd_result tell_step(struct client *c, struct err *e)
{
	struct telling *t = c->run.data;
	const size_t end = t->n - t->at > 256 ? t->at + 256 : t->n;

	(void)e;
	for (; t->at < end; t->at++) {
		const uint32_t seq = t->seqs[t->at];
		struct mbox_msg m;
		struct buf *out;

		if (mbox_msg_get(c->view, seq, &m, NULL) < 0)
			continue;
		out = resp(c);
		buf_c(out, "* ");
		buf_u64(out, seq);
		buf_c(out, " FETCH (FLAGS ");
		resp_flags(c, out, &m);
		if (c->run.uid) {
			buf_c(out, " UID ");
			buf_u64(out, m.uid);
		}
		buf_c(out, ")\r\n");
	}
	return t->at < t->n ? CMD_MORE : CMD_OK;
}

enum cmd_result cmd_STORE(struct client *c, struct imap_lex *l, struct err *e)
{
	struct store_args a = { 0 };
	struct telling *t;
	uint32_t *seqs;
	size_t n, n_failed = 0;
	bool gone;

	if (get_args(c, l, &a, e) < 0)
		return CMD_BAD;
	if (c->readonly)
		return command_answer(c, "NO", "READ-ONLY", "Mailbox is read-only.");
	if (set_array(c, &a.set, &seqs, &n, &gone, e) < 0)
		return CMD_NO;
	const uint32_t bits = flags_of(&a.flags);

	if (n && mbox_store_flags(c->view, seqs, n, a.op, bits, a.flags.keywords, a.flags.n, 0, NULL, &n_failed, e) < 0)
		return store_no(c, e, false);
	if (n)
		folder_changed(c->user, c->folder->mbox);
	/* Messages that another connection expunged cannot be changed any more (RFC 2180 section 4.2). */
	if (gone && !c->run.uid)
		return command_answer(c, "NO", "EXPUNGEISSUED", "Some of the messages no longer exist.");
	c->run.own_flags = a.set;
	if (a.silent || n == 0)
		return CMD_OK;
	t = ARENA_NEW(c->arena, struct telling);
	*t = (struct telling){ .seqs = seqs, .n = n };
	c->run.data = t;
	c->run.step = tell_step;
	return CMD_MORE;
}
