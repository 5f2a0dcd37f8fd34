/* EXPUNGE and UID EXPUNGE (RFC 3501 section 6.4.3, RFC 4315 section 2.1). The untagged EXPUNGE responses are those of the command's end, like all others. */
#include "session.h"

int expunge_deleted(struct client *c, const struct imap_seqset *within, struct err *e)
{
	struct mbox_status st;
	uint32_t *seqs;
	size_t n = 0;

	if (mbox_status(c->folder->mbox, &st, e) < 0)
		return -1;
	if (st.deleted == 0)
		return 0;
	if (!(seqs = ARENA_ARRAY(c->arena, uint32_t, (size_t)mbox_view_count(c->view) + 1)))
		return err_set(e, ERR_LIMIT, 0, "too many messages");
	for (uint32_t seq = 0; (seq = mbox_view_next(c->view, seq + 1, MBOX_DELETED)) != 0;)
		if (!within || imap_seqset_has(within, seq))
			seqs[n++] = seq;
	if (n == 0)
		return 0;
	if (mbox_expunge(c->view, seqs, n, e) < 0)
		return -1;
	folder_changed(c->user, c->folder->mbox);
	return 1;
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
	const int n = expunge_deleted(c, c->run.uid ? &set : NULL, e);

	if (n < 0)
		return store_no(c, e, false);
	return n ? command_answer(c, "OK", highestmodseq_code(c), "Expunge completed.") : CMD_OK;
}
