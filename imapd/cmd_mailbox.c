/* CREATE, DELETE, RENAME, SUBSCRIBE, UNSUBSCRIBE (RFC 3501 sections 6.3.3 to 6.3.7). */
#include "session.h"

/* SP mailbox, to the end. */
static enum cmd_result one_name(struct client *c, struct imap_lex *l, struct str *name, struct err *e)
{
	struct str wire;

	if (imap_get_sp(l, e) < 0 || imap_get_mailbox(l, &wire, e) < 0 || imap_get_end(l, e) < 0)
		return CMD_BAD;
	return name_take(c, wire, name, e);
}

enum cmd_result cmd_CREATE(struct client *c, struct imap_lex *l, struct err *e)
{
	struct str name;
	const enum cmd_result r = one_name(c, l, &name, e);

	if (r != CMD_OK)
		return r;
	return store_create(c->user->store, name, STR(""), e) < 0 ? store_no(c, e, false) : CMD_OK;
}

enum cmd_result cmd_DELETE(struct client *c, struct imap_lex *l, struct err *e)
{
	struct str name;
	const enum cmd_result r = one_name(c, l, &name, e);

	if (r != CMD_OK)
		return r;
	/* A folder that this connection has selected is left first, as clients expect. */
	if (c->folder && str_eq(c->folder->name, name))
		folder_unselect(c);
	folder_forget_unused(c->user);
	return store_delete(c->user->store, name, e) < 0 ? store_no(c, e, false) : CMD_OK;
}

enum cmd_result cmd_RENAME(struct client *c, struct imap_lex *l, struct err *e)
{
	struct str from_wire, to_wire, from, to;
	enum cmd_result r;

	if (imap_get_sp(l, e) < 0 || imap_get_mailbox(l, &from_wire, e) < 0 || imap_get_sp(l, e) < 0 || imap_get_mailbox(l, &to_wire, e) < 0 ||
	    imap_get_end(l, e) < 0)
		return CMD_BAD;
	if ((r = name_take(c, from_wire, &from, e)) != CMD_OK || (r = name_take(c, to_wire, &to, e)) != CMD_OK)
		return r;
	/* Only INBOX, which stays, may go below itself (RFC 3501 6.3.5). */
	if (!str_eq(from, STR("INBOX")) && to.n > from.n && str_starts(to, from) && to.p[from.n] == '/')
		return no_cannot(c, "A mailbox cannot be moved into itself.");
	folder_forget_unused(c->user);
	if (store_rename(c->user->store, from, to, e) < 0)
		return store_no(c, e, false);
	folder_changed(c->user, NULL);
	return CMD_OK;
}

static enum cmd_result subscribe(struct client *c, struct imap_lex *l, bool on, struct err *e)
{
	struct str name;
	const enum cmd_result r = one_name(c, l, &name, e);

	if (r != CMD_OK)
		return r;
	return store_subscribe(c->user->store, name, on, e) < 0 ? store_no(c, e, false) : CMD_OK;
}

enum cmd_result cmd_SUBSCRIBE(struct client *c, struct imap_lex *l, struct err *e)
{
	return subscribe(c, l, true, e);
}

enum cmd_result cmd_UNSUBSCRIBE(struct client *c, struct imap_lex *l, struct err *e)
{
	return subscribe(c, l, false, e);
}
