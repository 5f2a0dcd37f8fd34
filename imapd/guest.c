/* Connections of other users (RFC 4314). They come through authd, which says whose they are; this process, the owner's, opens the files and enforces the
 * access lists. Such a client is served like the owner's own ones, but for two things: it knows the folders by names behind a prefix, as its own
 * server shows them to it, and every handler that names a folder asks may() first. What a guest may not see is answered like what is not there. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/map.h"
#include "log/log.h"
#include "session.h"
#include "spaces.h"

/* --- begin and end --- */

int guest_begin(struct client *c, struct str guest, struct err *e)
{
	struct user *u = c->user;
	unsigned same = 0;
	struct buf b;

	list_each(it, &u->clients) {
		const struct client *g = list_of(it, struct client, node);

		same += g->guest && str_case_eq(str_c(g->guest), guest);
	}
	if (u->n_guests >= GUESTS_MAX || same >= u->conf->mail_connections_per_user)
		return err_set(e, ERR_LIMIT, 0, "Too many connections of guests");
	buf_init(&b, 2048);
	space_prefix(&b, u->conf, str_c(u->name));
	c->prefix = str_n(xstrndup(b.p, b.n), b.n);
	buf_fini(&b);
	c->guest = xstrndup(guest.p, guest.n);
	c->rights = 0;
	u->n_guests++;
	log_as("dovecot", LOG_LV_INFO, "imap(%s)<%d>: guest %s connected", u->name, (int)getpid(), c->guest);
	return 0;
}

void guest_end(struct client *c)
{
	if (!c->guest)
		return;
	c->user->n_guests--;
	free(c->guest);
	c->guest = NULL;
	free((void *)(uintptr_t)c->prefix.p);
	c->prefix = (struct str){ 0 };
}

const char *client_reader(const struct client *c)
{
	return c->guest && strcmp(c->user->conf->shared_seen, "private") == 0 ? c->guest : NULL;
}

/* --- rights --- */

int rights_in(struct client *c, struct str name, uint32_t *rights_out, struct err *e)
{
	const struct arena_mark mark = arena_mark(c->arena);
	struct acl_entry *list;
	int r;

	if (!c->guest) {
		*rights_out = ACL_ALL;
		return 0;
	}
	r = store_acl_get(c->user->store, name, c->arena, &list, e);
	if (r == 0)
		*rights_out = acl_rights_of(list, str_c(c->guest));
	arena_release(c->arena, mark);
	return r;
}

enum cmd_result no_perm(struct client *c)
{
	return command_answer(c, "NO", "NOPERM", "Permission denied.");
}

static enum cmd_result no_such(struct client *c, bool trycreate)
{
	const struct err e = { .code = ERR_NOENT };

	return store_no(c, &e, trycreate);
}

enum cmd_result may(struct client *c, struct str name, uint32_t need, bool trycreate, struct err *e)
{
	uint32_t rights;

	if (!c->guest)
		return CMD_OK;
	if (rights_in(c, name, &rights, e) < 0)
		return store_no(c, e, trycreate);
	if ((rights & need) == need)
		return CMD_OK;
	return rights & ACL_L ? no_perm(c) : no_such(c, trycreate);
}

enum cmd_result may_create(struct client *c, struct str name, struct err *e)
{
	struct acl_entry *list;
	struct str parent;

	if (!c->guest)
		return CMD_OK;
	if (store_acl_parent(c->user->store, name, c->arena, &parent, &list, e) < 0)
		return store_no(c, e, false);
	return acl_rights_of(list, str_c(c->guest)) & ACL_K ? CMD_OK : no_perm(c);
}

uint32_t flags_allowed(uint32_t rights)
{
	return (rights & ACL_S ? (uint32_t)MBOX_SEEN : 0) | (rights & ACL_T ? (uint32_t)MBOX_DELETED : 0) |
	       (rights & ACL_W ? (uint32_t)(MBOX_ANSWERED | MBOX_FLAGGED | MBOX_DRAFT | MBOX_FORWARDED) : 0);
}

bool guest_still(struct client *c)
{
	const struct arena_mark mark = arena_mark(c->arena);
	struct acl_entry *list;
	struct err e = { 0 };

	if (!c->guest || !c->folder)
		return true;
	/* By the folder itself: it may have another name by now. */
	c->rights = mbox_acl_get(c->folder->mbox, c->arena, &list, &e) == 0 ? acl_rights_of(list, str_c(c->guest)) : 0;
	arena_release(c->arena, mark);
	return c->rights & ACL_R;
}

void guest_bye(struct client *c)
{
	client_end(c, "Mailbox is no longer shared", "Mailbox is no longer shared.");
}

void guests_check(struct user *u)
{
	list_each_safe(it, &u->clients) {
		struct client *c = list_of(it, struct client, node);

		/* Whoever runs another command is told at its next one. */
		if (c->guest && (!c->run.cmd || c->idling) && !c->run.step && !guest_still(c))
			guest_bye(c);
	}
}

/* --- LIST --- */

/* The folder may be seen: its parents are shown, at least as names. */
static void seen(struct map *names, struct store_folder *f)
{
	struct str name = f->name;

	for (ptrdiff_t slash; (slash = str_rchr(name, '/')) > 0;) {
		name = str_sub(name, 0, (size_t)slash);
		(void)map_set(names, name, f);
	}
}

int guest_list(struct client *c, struct store_folder **list, struct err *e)
{
	struct map *parents;

	if (!c->guest)
		return 0;
	parents = map_new();
	for (struct store_folder *f = *list; f; f = f->next) {
		uint32_t rights = 0;

		if (f->exists && (rights_in(c, f->name, &rights, e) < 0 || !(rights & ACL_L)))
			f->exists = false;	/* an unreadable list hides its folder, not the others */
		if (f->exists)
			seen(parents, f);
	}
	for (struct store_folder **at = list; *at;) {
		struct store_folder *f = *at;

		f->children = map_get(parents, f->name) != NULL;
		f->subscribed = false;		/* the owner's own affairs */
		f->special_use = STR("");
		if (f->exists || f->children)
			at = &f->next;
		else
			*at = f->next;
	}
	map_free(&parents);
	return 0;
}
