/* CREATE (with RFC 6154's USE), DELETE, RENAME, SUBSCRIBE, UNSUBSCRIBE (RFC 3501 sections 6.3.3 to 6.3.7). */
#include "base/clock.h"
#include "base/enc.h"
#include "session.h"

enum { INBOX_PIECE = 256 };	/* messages that move at once: 20 us each, and a sync */

/* SP mailbox, to the end. */
static enum cmd_result one_name(struct client *c, struct imap_lex *l, struct str *name, struct err *e)
{
	struct str wire;

	if (imap_get_sp(l, e) < 0 || imap_get_mailbox(l, &wire, e) < 0 || imap_get_end(l, e) < 0)
		return CMD_BAD;
	return name_take(c, wire, name, e);
}

/* [SP "(" "USE" SP "(" [use *(SP use)] ")" ")"] (RFC 6154 section 3). A folder has at most one use here. */
static int get_use(struct imap_lex *l, struct str *use, size_t *n, struct err *e)
{
	struct str word;

	*use = STR("");
	*n = 0;
	if (!imap_at(l, ' '))
		return 0;
	if (imap_get_sp(l, e) < 0 || imap_get_char(l, '(', e) < 0 || !imap_try_word(l, "USE") || imap_get_sp(l, e) < 0 ||
	    imap_get_char(l, '(', e) < 0)
		return err_set(e, ERR_INPUT, 0, "invalid CREATE parameters");
	while (!imap_try(l, ')')) {
		const char *start = l->p;

		if (imap_get_char(l, '\\', e) < 0 || imap_get_atom(l, &word, e) < 0)
			return -1;
		*use = str_n(start, (size_t)(l->p - start));
		++*n;
		if (!imap_at(l, ')') && imap_get_sp(l, e) < 0)
			return -1;
	}
	return imap_get_char(l, ')', e);
}

bool special_use_known(struct str *use)
{
	static const char *const known[] = { "\\Archive", "\\Drafts", "\\Junk", "\\Sent", "\\Trash" };

	for (size_t i = 0; i < ARRAY_LEN(known); i++) {
		if (str_case_eq(*use, str_c(known[i]))) {
			*use = str_c(known[i]);
			return true;
		}
	}
	return false;
}

void mailboxid_put(struct buf *out, const char *before, const struct mbox *m, const char *after)
{
	uint8_t id[16];

	mbox_id(m, id);
	buf_c(out, before);
	buf_ch(out, 'F');
	hex_encode(out, str_n(id, sizeof(id)));
	buf_c(out, after);
}

/* OK with [MAILBOXID (…)] (RFC 8474 4.1). */
static enum cmd_result created(struct client *c, struct str name, struct err *e)
{
	struct mbox *m;
	struct buf b;

	if (mbox_open(c->user->store, name, &m, e) < 0)
		return store_no(c, e, false);
	buf_init(&b, 100);
	mailboxid_put(&b, "MAILBOXID (", m, ")");
	notify_tree(c, TREE_MADE, name, STR(""));
	mbox_close(&m);
	const char *code = arena_cstr(c->arena, buf_view(&b));

	buf_fini(&b);
	return command_answer(c, "OK", code, "Create completed.");
}

enum cmd_result cmd_CREATE(struct client *c, struct imap_lex *l, struct err *e)
{
	struct str wire, name, use;
	enum cmd_result r;
	size_t n;

	if (imap_get_sp(l, e) < 0 || imap_get_mailbox(l, &wire, e) < 0 || get_use(l, &use, &n, e) < 0 || imap_get_end(l, e) < 0)
		return CMD_BAD;
	if ((r = name_take(c, wire, &name, e)) != CMD_OK)
		return r;
	if (n > 1 || (n && !special_use_known(&use)))
		return command_answer(c, "NO", "USEATTR", "Not a special use of this server, or more than one.");
	if ((r = may_create(c, name, e)) != CMD_OK)
		return r;
	return store_acl_create(c->user->store, name, use, e) < 0 ? store_no(c, e, false) : created(c, name, e);
}

static void on_purge(void *ctx)
{
	struct user *u = ctx;

	u->working = "removing a deleted folder";
	const uint64_t since = clock_mono_us();
	const bool more = store_purge(u->store, files_next(u));

	files_took(u, clock_mono_us() - since, more);
	if (more)
		timer_again(u->purge, 0);
	else
		timer_del(&u->purge);
}

void purge_later(struct user *u)
{
	if (!u->purge && store_purge_due(u->store))
		u->purge = loop_timer(u->loop, 0, on_purge, u);
}

enum cmd_result cmd_DELETE(struct client *c, struct imap_lex *l, struct err *e)
{
	struct str name;
	enum cmd_result r = one_name(c, l, &name, e);

	if (r != CMD_OK || (r = may(c, name, ACL_X, false, e)) != CMD_OK)
		return r;
	/* A folder that this connection has selected is left first, as clients expect. */
	if (c->folder && str_eq(c->folder->name, name))
		folder_unselect(c);
	(void)folder_forget(c->user, name);
	if (store_delete(c->user->store, name, e) < 0)
		return store_no(c, e, false);
	purge_later(c->user);
	notify_tree(c, TREE_GONE, name, STR(""));
	shares_tell(c->user);
	return CMD_OK;
}

/* --- RENAME --- */

/* RFC 3501 6.3.5: INBOX stays, and the messages that it has now move to the new folder. */
struct inbox_rename {
	struct str to;
	struct mbox *inbox, *target;
	struct mbox_view *view;		/* of INBOX */
	uint32_t last;			/* the last one's UID */
};

static void inbox_cleanup(struct client *c)
{
	struct inbox_rename *x = c->run.data;

	mbox_view_free(&x->view);
	mbox_close(&x->target);
	mbox_close(&x->inbox);
}

static enum cmd_result renamed(struct client *c, struct str from, struct str to)
{
	notify_tree(c, TREE_MADE, to, from);
	folder_changed(c->user, NULL);
	return CMD_OK;
}

static enum cmd_result inbox_step(struct client *c, struct err *e)
{
	struct inbox_rename *x = c->run.data;
	uint32_t seqs[INBOX_PIECE], uids[INBOX_PIECE], n = 0;

	/* What was moved is not numbered any more. */
	if (mbox_view_sync(x->view, true, NULL, NULL, e) < 0)
		return store_no(c, e, false);
	while (n < INBOX_PIECE && n < mbox_view_count(x->view) && mbox_view_uid(x->view, n + 1) <= x->last) {
		seqs[n] = n + 1;
		n++;
	}
	if (n == 0)
		return renamed(c, STR("INBOX"), x->to);
	return mbox_copy(x->view, seqs, n, x->target, true, uids, e) < 0 ? store_no(c, e, false) : CMD_MORE;
}

static enum cmd_result rename_inbox(struct client *c, struct str to, struct err *e)
{
	struct inbox_rename *x = ARENA_NEW(c->arena, struct inbox_rename);
	uint32_t count;

	if (store_create(c->user->store, to, STR(""), e) < 0)
		return store_no(c, e, false);
	x->to = to;
	c->run.data = x;
	c->run.cleanup = inbox_cleanup;
	if (mbox_open(c->user->store, STR("INBOX"), &x->inbox, e) < 0 || mbox_open(c->user->store, to, &x->target, e) < 0)
		return store_no(c, e, false);
	x->view = mbox_view_peek(x->inbox);
	count = mbox_view_count(x->view);
	x->last = count ? mbox_view_uid(x->view, count) : 0;
	c->run.step = inbox_step;
	return CMD_MORE;
}

/* What was to be done in the folder goes on, while it is open under its new name. */
static void tidy(struct user *u, struct str name)
{
	struct mbox *m;
	struct err quiet = { 0 };

	if (folder_target(u, name, &m, &quiet) == 0)
		mbox_close(&m);
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
	if ((r = may(c, from, ACL_X, false, e)) != CMD_OK || (r = may_create(c, to, e)) != CMD_OK)
		return r;
	if (str_eq(from, STR("INBOX")))
		return rename_inbox(c, to, e);
	const bool untidy = folder_forget(c->user, from);

	if (store_rename(c->user->store, from, to, e) < 0)
		return store_no(c, e, false);
	folder_renamed(c->user, from, to);
	if (untidy)
		tidy(c->user, to);
	return renamed(c, from, to);
}

static enum cmd_result subscribe(struct client *c, struct imap_lex *l, bool on, struct err *e)
{
	struct str name;
	const enum cmd_result r = one_name(c, l, &name, e);

	if (r != CMD_OK)
		return r;
	if (store_subscribe(c->user->store, name, on, e) < 0)
		return store_no(c, e, false);
	notify_tree(c, on ? TREE_SUBSCRIBED : TREE_UNSUBSCRIBED, name, STR(""));
	return CMD_OK;
}

enum cmd_result cmd_SUBSCRIBE(struct client *c, struct imap_lex *l, struct err *e)
{
	return subscribe(c, l, true, e);
}

enum cmd_result cmd_UNSUBSCRIBE(struct client *c, struct imap_lex *l, struct err *e)
{
	return subscribe(c, l, false, e);
}
