/* ACL (RFC 4314): SETACL, DELETEACL, GETACL, LISTRIGHTS, MYRIGHTS. The owner has all rights, always: no list says so, and none can say otherwise.
 * Identifiers are names of accounts, "anyone" and "authenticated" (nobody gets here without a login, so they mean the same), each perhaps behind "-". */
#include <stdlib.h>

#include "imap/out.h"
#include "log/log.h"
#include "session.h"

/* Telling authd is a hint about where to look, not a right: what fails is made good by the next change, or the next start. */
void shares_tell(struct user *u)
{
	struct err e = { 0 };
	struct buf b;

	buf_init(&b, 65536);
	int r = store_acl_grantees(u->store, &b, &e);

	if (r == 0 && u->chan)
		r = ipc_send(u->chan, IPC_sess_SHARES, &(struct ipc_sess_SHARES){ .grantees = b.n ? buf_view(&b) : STR("") }, 0, -1, &e);
	if (r < 0)
		log_as("dovecot", LOG_LV_WARNING, "imap(%s): shared folders: %s", u->name, e.text);
	buf_fini(&b);
}

bool shares_any(struct user *u)
{
	struct err e = { 0 };
	struct buf b;

	buf_init(&b, 65536);
	const bool any = store_acl_grantees(u->store, &b, &e) == 0 && b.n;

	buf_fini(&b);
	return any;
}

static bool is_owner(const struct client *c, const struct acl_entry *who)
{
	return str_case_eq(who->id, str_c(c->user->name));
}

/* SP mailbox */
static enum cmd_result get_mailbox(struct client *c, struct imap_lex *l, struct str *name, struct err *e)
{
	struct str wire;

	if (imap_get_sp(l, e) < 0 || imap_get_mailbox(l, &wire, e) < 0)
		return CMD_BAD;
	return name_take(c, wire, name, e);
}

/* The mailbox must be there, for the owner too. */
static enum cmd_result administers(struct client *c, struct str name, struct acl_entry **list, struct err *e)
{
	const enum cmd_result r = may(c, name, ACL_A, false, e);

	if (r != CMD_OK)
		return r;
	return store_acl_get(c->user->store, name, c->arena, list, e) < 0 ? store_no(c, e, false) : CMD_OK;
}

/* --- changes --- */

static enum cmd_result change(struct client *c, struct str name, struct str id, enum acl_op op, uint32_t rights, struct err *e)
{
	struct acl_entry who, *list;
	const enum cmd_result r = administers(c, name, &list, e);

	if (r != CMD_OK)
		return r;
	if (acl_id_parse(c->arena, id, &who, e) < 0)
		return no_cannot(c, "Identifiers are names of accounts, anyone or authenticated.");
	if (is_owner(c, &who))
		return no_cannot(c, "The owner has all rights, always.");
	if (store_acl_change(c->user->store, name, c->arena, &who, op, rights, e) < 0)
		return store_no(c, e, false);
	shares_tell(c->user);
	guests_check(c->user);
	notify_rights(c->user);
	return CMD_OK;
}

enum cmd_result cmd_SETACL(struct client *c, struct imap_lex *l, struct err *e)
{
	struct str name, id, mod;
	uint32_t rights;
	const enum cmd_result r = get_mailbox(c, l, &name, e);

	if (r == CMD_BAD || imap_get_sp(l, e) < 0 || imap_get_astring(l, &id, e) < 0 || imap_get_sp(l, e) < 0 || imap_get_astring(l, &mod, e) < 0 ||
	    imap_get_end(l, e) < 0)
		return CMD_BAD;
	if (r != CMD_OK)
		return r;
	const bool add = mod.n && mod.p[0] == '+', less = mod.n && mod.p[0] == '-';

	if (acl_rights_parse(str_from(mod, add || less), &rights, e) < 0)	/* RFC 4314 section 3.1: unrecognised rights: BAD */
		return CMD_BAD;
	return change(c, name, id, add ? ACL_ADD : less ? ACL_REMOVE : ACL_SET, rights, e);
}

enum cmd_result cmd_DELETEACL(struct client *c, struct imap_lex *l, struct err *e)
{
	struct str name, id;
	const enum cmd_result r = get_mailbox(c, l, &name, e);

	if (r == CMD_BAD || imap_get_sp(l, e) < 0 || imap_get_astring(l, &id, e) < 0 || imap_get_end(l, e) < 0)
		return CMD_BAD;
	return r == CMD_OK ? change(c, name, id, ACL_SET, 0, e) : r;
}

/* --- questions --- */

static void put_entry(struct buf *out, struct str id, bool negative, uint32_t rights)
{
	struct buf b;

	buf_init(&b, ACL_ID_MAX + 1);
	if (negative)
		buf_ch(&b, '-');
	buf_str(&b, id);
	buf_ch(out, ' ');
	imap_put_utf8(out, buf_view(&b));
	buf_ch(out, ' ');
	acl_rights_format(out, rights, true);
	buf_fini(&b);
}

enum cmd_result cmd_GETACL(struct client *c, struct imap_lex *l, struct err *e)
{
	struct acl_entry *list;
	struct str name;
	enum cmd_result r = get_mailbox(c, l, &name, e);

	if (r == CMD_BAD || imap_get_end(l, e) < 0)
		return CMD_BAD;
	if (r != CMD_OK || (r = administers(c, name, &list, e)) != CMD_OK)
		return r;
	struct buf *out = resp(c);

	buf_c(out, "* ACL ");
	client_put_mailbox(c, out, name);
	put_entry(out, str_c(c->user->name), false, ACL_ALL);
	for (; list; list = list->next)
		put_entry(out, list->id, list->negative, list->rights);
	buf_c(out, "\r\n");
	return CMD_OK;
}

/* What is always granted, then each right that can be granted or not by itself. */
static void put_listrights(struct client *c, struct buf *out, const struct acl_entry *who)
{
	if (is_owner(c, who)) {
		buf_ch(out, ' ');
		acl_rights_format(out, ACL_ALL, true);
		return;
	}
	buf_c(out, " \"\"");
	for (uint32_t bit = 1; bit & ACL_ALL; bit <<= 1) {
		buf_ch(out, ' ');
		acl_rights_format(out, bit, false);
	}
	buf_c(out, " c d");
}

enum cmd_result cmd_LISTRIGHTS(struct client *c, struct imap_lex *l, struct err *e)
{
	struct acl_entry *list, who;
	struct str name, id;
	enum cmd_result r = get_mailbox(c, l, &name, e);

	if (r == CMD_BAD || imap_get_sp(l, e) < 0 || imap_get_astring(l, &id, e) < 0 || imap_get_end(l, e) < 0)
		return CMD_BAD;
	if (r != CMD_OK || (r = administers(c, name, &list, e)) != CMD_OK)
		return r;
	if (acl_id_parse(c->arena, id, &who, e) < 0)
		return no_cannot(c, "Identifiers are names of accounts, anyone or authenticated.");
	struct buf *out = resp(c);

	buf_c(out, "* LISTRIGHTS ");
	client_put_mailbox(c, out, name);
	buf_ch(out, ' ');
	imap_put_utf8(out, id);
	put_listrights(c, out, &who);
	buf_c(out, "\r\n");
	return CMD_OK;
}

void myrights_put(struct client *c, struct str name, uint32_t rights)
{
	struct buf *out = resp(c);

	buf_c(out, "* MYRIGHTS ");
	client_put_mailbox(c, out, name);
	buf_ch(out, ' ');
	acl_rights_format(out, rights, true);
	buf_c(out, "\r\n");
}

enum cmd_result cmd_MYRIGHTS(struct client *c, struct imap_lex *l, struct err *e)
{
	struct acl_entry *list;
	struct str name;
	uint32_t rights;
	const enum cmd_result r = get_mailbox(c, l, &name, e);

	if (r == CMD_BAD || imap_get_end(l, e) < 0)
		return CMD_BAD;
	if (r != CMD_OK)
		return r;
	if (store_acl_get(c->user->store, name, c->arena, &list, e) < 0 || rights_in(c, name, &rights, e) < 0)
		return store_no(c, e, false);
	/* RFC 4314 section 4: any of these is enough. */
	if (!(rights & (ACL_L | ACL_R | ACL_I | ACL_K | ACL_X | ACL_A)))
		return store_no(c, &(struct err){ .code = ERR_NOENT }, false);
	myrights_put(c, name, rights);
	return CMD_OK;
}
