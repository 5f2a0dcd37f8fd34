/* QUOTA (RFC 9208): GETQUOTA, GETQUOTAROOT, SETQUOTA. There is one root, "", for all of a user's mail; its limits are the administrator's. */
#include "imap/out.h"
#include "session.h"

/* "* QUOTA "" (STORAGE 10 512 MESSAGE 20 100)": what has no limit is left out. */
static enum cmd_result put_quota(struct client *c, struct err *e)
{
	const struct quota *limits = store_quota(c->user->store);
	struct quota use;
	const char *sep = "";
	struct buf *out;

	if (store_quota_use(c->user->store, &use, e) < 0)
		return store_no(c, e, false);
	out = resp(c);
	buf_c(out, "* QUOTA \"\" (");
	if (limits->bytes) {
		buf_printf(out, "STORAGE %llu %llu", (unsigned long long)((use.bytes + 1023) / 1024), (unsigned long long)(limits->bytes / 1024));
		sep = " ";
	}
	if (limits->count)
		buf_printf(out, "%sMESSAGE %llu %llu", sep, (unsigned long long)use.count, (unsigned long long)limits->count);
	buf_c(out, ")\r\n");
	return CMD_OK;
}

static int get_root(struct imap_lex *l, struct str *root, struct err *e)
{
	return imap_get_sp(l, e) < 0 || imap_get_astring(l, root, e) < 0 ? -1 : 0;
}

enum cmd_result cmd_GETQUOTA(struct client *c, struct imap_lex *l, struct err *e)
{
	struct str root;

	if (get_root(l, &root, e) < 0 || imap_get_end(l, e) < 0)
		return CMD_BAD;
	return root.n ? command_answer(c, "NO", "NONEXISTENT", "No such quota root.") : put_quota(c, e);
}

enum cmd_result cmd_GETQUOTAROOT(struct client *c, struct imap_lex *l, struct err *e)
{
	struct mbox_status st;
	struct str wire, name;
	enum cmd_result r;

	if (imap_get_sp(l, e) < 0 || imap_get_mailbox(l, &wire, e) < 0 || imap_get_end(l, e) < 0)
		return CMD_BAD;
	if ((r = name_take(c, wire, &name, e)) != CMD_OK)
		return r;
	if ((r = may(c, name, ACL_R, false, e)) != CMD_OK)
		return r;
	if (store_status(c->user->store, name, &st, e) < 0)
		return store_no(c, e, false);
	struct buf *out = resp(c);

	buf_c(out, "* QUOTAROOT ");
	client_put_mailbox(c, out, name);
	if (c->guest) {		/* "" is the guest's own root, and how much mail the owner has is the owner's matter */
		buf_c(out, "\r\n");
		return CMD_OK;
	}
	buf_c(out, " \"\"\r\n");
	return put_quota(c, e);
}

enum cmd_result cmd_SETQUOTA(struct client *c, struct imap_lex *l, struct err *e)
{
	struct str root, resource;
	uint64_t limit;

	if (get_root(l, &root, e) < 0 || imap_get_sp(l, e) < 0 || imap_get_char(l, '(', e) < 0)
		return CMD_BAD;
	while (!imap_try(l, ')')) {
		if (imap_get_atom(l, &resource, e) < 0 || imap_get_sp(l, e) < 0 || imap_get_number(l, 0, INT64_MAX, &limit, e) < 0 ||
		    (!imap_at(l, ')') && imap_get_sp(l, e) < 0))
			return CMD_BAD;
	}
	if (imap_get_end(l, e) < 0)
		return CMD_BAD;
	return command_answer(c, "NO", "NOPERM", "Limits are set by the administrator.");
}
