/* Mailbox filters (RFC 5465, RFC 7377) against the user's tree. */
#include "imap/mboxes.h"

#include "session.h"
#include "spaces.h"

static enum cmd_result add(struct client *c, struct mbox_names *out, struct str name, struct err *e)
{
	for (size_t i = 0; i < out->n; i++) {
		if (str_eq(out->v[i], name))
			return CMD_OK;
	}
	if (out->n == out->cap) {
		struct str *grown = ARENA_ARRAY(c->arena, struct str, out->cap * 2 + 16);

		if (!grown)
			return err_set(e, ERR_LIMIT, 0, "too many mailboxes"), CMD_NO;
		if (out->n)
			memcpy(grown, out->v, out->n * sizeof(*grown));
		out->v = grown;
		out->cap = out->cap * 2 + 16;
	}
	out->v[out->n++] = arena_str(c->arena, name);
	return CMD_OK;
}

/* Levels that name lies below parent: 0 is itself, -1 not below. */
static int below(struct str name, struct str parent)
{
	int levels = 1;

	if (str_eq(name, parent))
		return 0;
	if (name.n <= parent.n + 1 || !str_starts(name, parent) || name.p[parent.n] != '/')
		return -1;
	for (size_t i = parent.n + 1; i < name.n; i++)
		levels += name.p[i] == '/';
	return levels;
}

static bool means(const struct imap_mboxes *f, const struct store_folder *g, const struct str *names)
{
	const int depth = f->kind == IMAP_MBOXES_SUBTREE ? STORE_FOLDER_DEPTH_MAX : f->kind == IMAP_MBOXES_SUBTREE_ONE ? 1 : 0;

	switch (f->kind) {
	case IMAP_MBOXES_INBOXES:
		return str_eq(g->name, STR("INBOX"));
	case IMAP_MBOXES_PERSONAL:
		return true;
	case IMAP_MBOXES_SUBSCRIBED:
		return g->subscribed;
	default:
		break;
	}
	for (size_t i = 0; i < f->n; i++) {
		const int levels = below(g->name, names[i]);

		if (levels >= 0 && levels <= depth)
			return true;
	}
	return false;
}

bool mboxes_mean(struct client *c, const struct imap_mboxes *f, struct str name)
{
	struct str *names = ARENA_ARRAY(c->arena, struct str, f->n + 1);
	const struct store_folder g = { .name = name, .exists = true, .subscribed = true };
	struct err e = { 0 };

	if (f->kind == IMAP_MBOXES_SELECTED || f->kind == IMAP_MBOXES_SELECTED_DELAYED || !names)
		return false;
	for (size_t i = 0; i < f->n; i++) {
		if (name_take(c, f->names[i], &names[i], &e) != CMD_OK)
			return false;
	}
	return means(f, &g, names);
}

/* A guest is served what it names and may read; what is personal and subscribed is so to the owner. */
static bool readable(struct client *c, struct str name)
{
	uint32_t rights = 0;
	struct err e = { 0 };

	return !c->guest || (rights_in(c, name, &rights, &e) == 0 && (rights & (ACL_L | ACL_R)) == (ACL_L | ACL_R));
}

enum cmd_result mboxes_expand(struct client *c, const struct imap_mboxes *f, struct mbox_names *out, struct err *e)
{
	struct str *names = ARENA_ARRAY(c->arena, struct str, f->n + 1);
	struct store_folder *list;
	enum cmd_result r = CMD_OK;

	if (f->kind == IMAP_MBOXES_SELECTED || f->kind == IMAP_MBOXES_SELECTED_DELAYED) {
		out->selected = true;
		return CMD_OK;
	}
	for (size_t i = 0; r == CMD_OK && i < f->n; i++)
		r = name_take(c, f->names[i], &names[i], e);
	if (r != CMD_OK || (c->guest && f->n == 0))
		return r;
	if (store_list(c->user->store, c->arena, &list, e) < 0)
		return store_no(c, e, false);
	for (; r == CMD_OK && list; list = list->next) {
		if (list->exists && means(f, list, names) && readable(c, list->name))
			r = add(c, out, list->name, e);
	}
	return r;
}

enum cmd_result mboxes_split(struct client *c, struct arena *a, struct imap_mboxes *f, mboxes_foreign_fn *fn, void *ctx, struct err *e)
{
	struct str *own;
	size_t n = 0;

	if (c->guest)
		return CMD_OK;
	if (!(own = ARENA_ARRAY(a, struct str, f->n + 1)))
		return err_set(e, ERR_LIMIT, 0, "too many mailboxes"), CMD_NO;
	for (size_t i = 0; i < f->n; i++) {
		struct str name, owner;
		enum cmd_result r = name_take(c, f->names[i], &name, e);

		if (r != CMD_OK)
			return r;
		const int whose = space_owner(c, name, &owner);

		if (whose == 0)
			own[n++] = f->names[i];
		if (whose == 1 && (r = fn(ctx, f, owner, name)) != CMD_OK)
			return r;
	}
	f->names = own;
	f->n = n;
	return CMD_OK;
}
