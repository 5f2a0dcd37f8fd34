/* SELECT, EXAMINE, CLOSE, UNSELECT (RFC 3501 sections 6.3.1, 6.3.2, 6.4.2; RFC 3691). */
#include "opening.h"

static uint32_t first_unseen(struct client *c, const struct mbox_status *st)
{
	const uint32_t count = mbox_view_count(c->view);
	struct mbox_msg m;

	if (st->unseen == 0)
		return 0;
	for (uint32_t seq = 1; seq <= count; seq++) {
		if (mbox_msg_get(c->view, seq, &m, NULL) == 0 && !(m.flags & MBOX_SEEN))
			return seq;
	}
	return 0;
}

static void put_name(struct client *c)
{
	struct buf *out = resp(c);

	buf_c(out, "* LIST () \"/\" ");
	client_put_mailbox(c, out, c->folder->name);
	buf_c(out, "\r\n");
}

static int describe(struct client *c, uint32_t *uidvalidity, struct err *e)
{
	struct mbox_status st;

	if (mbox_status(c->folder->mbox, &st, e) < 0)
		return -1;
	st.unseen = mbox_unseen(c->folder->mbox, client_reader(c));
	resp_known_flags(c);
	resp_untagged(c, "%u EXISTS", mbox_view_count(c->view));
	c->recent = mbox_view_recent(c->view);
	if (!(c->enabled & EN_REV2))
		resp_untagged(c, "%u RECENT", c->recent);
	/* RFC 9051 6.3.2: no UNSEEN code, but the mailbox's name as it is. */
	const uint32_t unseen = c->enabled & EN_REV2 ? 0 : first_unseen(c, &st);

	if (c->enabled & EN_REV2)
		put_name(c);

	if (unseen)
		resp_untagged(c, "OK [UNSEEN %u] First unseen.", unseen);
	resp_untagged(c, "OK [UIDVALIDITY %u] UIDs valid.", st.uidvalidity);
	resp_untagged(c, "OK [UIDNEXT %u] Predicted next UID.", st.uidnext);
	mailboxid_put(resp(c), "* OK [MAILBOXID (", c->folder->mbox, ")] Ok\r\n");
	resp_untagged(c, "OK [HIGHESTMODSEQ %llu] Highest", (unsigned long long)st.highestmodseq);
	*uidvalidity = st.uidvalidity;
	return 0;
}

struct selecting {
	struct select_params p;
	bool readonly;
};

static enum cmd_result selected(struct client *c, struct str name, void *ctx, struct err *e)
{
	struct selecting *s = ctx;
	uint32_t uidvalidity = 0;

	if (folder_select(c, name, s->readonly, e) < 0)
		return store_no(c, e, false);
	if (describe(c, &uidvalidity, e) < 0) {
		folder_unselect(c);
		return store_no(c, e, false);
	}
	/* A mailbox with another UIDVALIDITY is a new one to the client (RFC 7162 3.2.5.1). */
	if (s->p.qresync && s->p.uidvalidity == uidvalidity)
		return qresync_start(c, &s->p, e);
	return command_answer(c, "OK", s->readonly ? "READ-ONLY" : "READ-WRITE", s->readonly ? "Examine completed." : "Select completed.");
}

static enum cmd_result select_folder(struct client *c, struct imap_lex *l, bool readonly, struct err *e)
{
	struct selecting *s = ARENA_NEW(c->arena, struct selecting);
	struct str wire, name;
	enum cmd_result r;

	if (imap_get_sp(l, e) < 0 || imap_get_mailbox(l, &wire, e) < 0 || select_params_get(c, l, &s->p, e) < 0 || imap_get_end(l, e) < 0)
		return CMD_BAD;
	/* Whatever comes of it, nothing stays selected (RFC 3501 6.3.1). */
	if (c->folder)	/* RFC 7162 3.2.11: of a server that has QRESYNC, whatever was enabled */
		resp_untagged(c, "OK [CLOSED] Previous mailbox is closed.");
	folder_unselect(c);
	if (s->p.condstore || s->p.qresync)
		c->enabled |= EN_CONDSTORE;
	if ((r = name_take(c, wire, &name, e)) != CMD_OK)
		return r;
	if ((r = may(c, name, ACL_R, false, e)) != CMD_OK)
		return r;
	if (rights_in(c, name, &c->rights, e) < 0)
		return store_no(c, e, false);
	/* RFC 4314 section 5.2 */
	s->readonly = readonly || !(c->rights & (ACL_I | ACL_E | ACL_S | ACL_T | ACL_W));
	return opening(c, name, false, selected, s, e);
}

enum cmd_result cmd_SELECT(struct client *c, struct imap_lex *l, struct err *e)
{
	return select_folder(c, l, false, e);
}

enum cmd_result cmd_EXAMINE(struct client *c, struct imap_lex *l, struct err *e)
{
	return select_folder(c, l, true, e);
}

enum cmd_result cmd_CLOSE(struct client *c, struct imap_lex *l, struct err *e)
{
	if (imap_get_end(l, e) < 0)
		return CMD_BAD;
	if (!c->readonly && (c->rights & ACL_E))
		return expunge_deleted(c, NULL, false, e);
	folder_unselect(c);
	return CMD_OK;
}

enum cmd_result cmd_UNSELECT(struct client *c, struct imap_lex *l, struct err *e)
{
	if (imap_get_end(l, e) < 0)
		return CMD_BAD;
	folder_unselect(c);
	return CMD_OK;
}
