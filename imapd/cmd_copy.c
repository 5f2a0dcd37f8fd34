/* COPY, MOVE and their UID forms (RFC 3501 section 6.4.7, RFC 6851) with COPYUID (RFC 4315). */
#include "imap/out.h"
#include "session.h"

struct copy_args {
	struct imap_seqset set;
	struct str name;
	uint32_t *seqs;
	size_t n;
};

/* "COPYUID validity source-uids new-uids", in the command's arena. */
static const char *copyuid(struct client *c, const struct copy_args *a, uint32_t *sources, const uint32_t *uids, uint32_t validity)
{
	struct buf b;

	buf_init(&b, a->n * 24 + 64);
	buf_printf(&b, "COPYUID %u ", validity);
	imap_numbers_format(sources, a->n, &b);
	buf_ch(&b, ' ');
	imap_numbers_format(uids, a->n, &b);
	const char *text = arena_strdup(c->arena, b.p);

	buf_fini(&b);
	return text;
}

static enum cmd_result get_args(struct client *c, struct imap_lex *l, struct copy_args *a, struct err *e)
{
	struct str wire;
	enum cmd_result r;
	bool gone;

	if (imap_get_sp(l, e) < 0 || imap_get_seqset(l, &a->set, e) < 0 || imap_get_sp(l, e) < 0 || imap_get_mailbox(l, &wire, e) < 0 ||
	    imap_get_end(l, e) < 0 || set_resolve(c, &a->set, c->run.uid, e) < 0)
		return CMD_BAD;
	if ((r = name_take(c, wire, &a->name, e)) != CMD_OK)
		return r;
	if (set_array(c, &a->set, &a->seqs, &a->n, &gone, e) < 0)
		return CMD_NO;
	if (gone && !c->run.uid)
		return command_answer(c, "NO", "EXPUNGEISSUED", "Some of the messages no longer exist.");
	return CMD_OK;
}

static enum cmd_result transfer(struct client *c, struct copy_args *a, struct mbox *dst, bool move, struct err *e)
{
	uint32_t *uids = ARENA_ARRAY(c->arena, uint32_t, a->n), *sources = ARENA_ARRAY(c->arena, uint32_t, a->n);
	struct mbox_status st;

	if (!uids || !sources)
		return err_set(e, ERR_LIMIT, 0, "too many messages"), CMD_NO;
	for (size_t i = 0; i < a->n; i++)
		sources[i] = mbox_view_uid(c->view, a->seqs[i]);
	if (mbox_copy(c->view, a->seqs, a->n, dst, move, uids, e) < 0 || mbox_status(dst, &st, e) < 0)
		return store_no(c, e, false);
	folder_changed(c->user, NULL);
	const char *code = copyuid(c, a, sources, uids, st.uidvalidity);

	if (!move)
		return command_answer(c, "OK", code, "Copy completed.");
	/* Before the EXPUNGE responses, so that clients can tell where the messages went (RFC 6851 section 4.3). */
	struct buf *out = resp(c);

	buf_c(out, "* OK [");
	buf_c(out, code);
	buf_c(out, "] Moved\r\n");
	return command_answer(c, "OK", highestmodseq_code(c), "Move completed.");
}

static enum cmd_result copy_or_move(struct client *c, struct imap_lex *l, bool move, struct err *e)
{
	struct copy_args a = { 0 };
	struct mbox *dst;
	enum cmd_result r = get_args(c, l, &a, e);

	if (r != CMD_OK)
		return r;
	if (move && c->readonly)
		return command_answer(c, "NO", "READ-ONLY", "Mailbox is read-only.");
	if (mbox_open(c->user->store, a.name, &dst, e) < 0)
		return store_no(c, e, true);
	r = a.n ? transfer(c, &a, dst, move, e) : command_answer(c, "OK", "", "No messages found.");
	mbox_close(&dst);
	return r;
}

enum cmd_result cmd_COPY(struct client *c, struct imap_lex *l, struct err *e)
{
	return copy_or_move(c, l, false, e);
}

enum cmd_result cmd_MOVE(struct client *c, struct imap_lex *l, struct err *e)
{
	return copy_or_move(c, l, true, e);
}
