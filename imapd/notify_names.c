/* NOTIFY: names, subscriptions and annotations, which are told when a connection of this user changes them (RFC 5465 sections 5.4 to 5.7). */
#include "imap/out.h"
#include "notify_priv.h"

/* Which events of the mailbox are for this client. */
static unsigned events_of(struct client *c, struct str name)
{
	const struct notify *y = c->notify;
	unsigned events = 0;

	for (size_t g = 0; g < y->what.n; g++) {
		if (!mboxes_mean(c, &y->what.v[g].boxes, name))
			continue;
		if (!y->what.v[g].events)
			break;
		events |= y->what.v[g].events;
	}
	return events;
}

/* --- names --- */

static void put_attribute(struct buf *out, const char **sep, struct str name)
{
	buf_c(out, *sep);
	buf_str(out, name);
	*sep = " ";
}

/* Of folders that a guest may not see nothing is told. */
static bool has_children(struct client *c, const struct store_folder *list, const struct store_folder *f)
{
	struct err e = { 0 };
	uint32_t rights;

	if (!c->guest || !f->children)
		return f->children;
	for (const struct store_folder *k = list; k; k = k->next) {
		if (k->exists && k->name.n > f->name.n && str_starts(k->name, f->name) && k->name.p[f->name.n] == '/' && rights_in(c, k->name, &rights, &e) == 0 &&
		    (rights & ACL_L))
			return true;
	}
	return false;
}

/* The name as it is now: section 5.5 wants all attributes right. */
static void put_name(struct client *c, struct buf *out, const struct store_folder *list, struct str name, struct str old)
{
	const struct store_folder nothing = { .special_use = STR("") }, *f = list;
	const char *sep = "";

	while (f && !str_eq(f->name, name))
		f = f->next;
	f = f ? f : &nothing;
	buf_c(out, "* LIST (");
	if (!f->exists)
		put_attribute(out, &sep, STR("\\NonExistent"));
	put_attribute(out, &sep, has_children(c, list, f) ? STR("\\HasChildren") : STR("\\HasNoChildren"));
	if (f->subscribed && !c->guest)	/* the owner's own affairs */
		put_attribute(out, &sep, STR("\\Subscribed"));
	if (f->special_use.n && !c->guest)
		put_attribute(out, &sep, f->special_use);
	buf_c(out, ") \"/\" ");
	client_put_mailbox(c, out, name);
	if (old.n) {
		buf_c(out, " (\"OLDNAME\" (");
		client_put_mailbox(c, out, old);
		buf_c(out, "))");
	}
	buf_c(out, "\r\n");
}

/* May the client know of the name? A guest with these rights, and of one that is gone when it watched it. */
static bool may_know(struct client *c, struct str name, uint32_t need)
{
	uint32_t rights = 0;
	struct err e = { 0 };

	if (!c->guest || (rights_in(c, name, &rights, &e) == 0 && (rights & need) == need))
		return true;
	for (size_t i = 0; e.code == ERR_NOENT && i < c->notify->n; i++) {
		if (str_eq(c->notify->v[i].f->name, name))
			return true;
	}
	return false;
}

static bool anybody_listens(const struct user *u)
{
	list_each(it, &u->clients) {
		if (list_of(it, struct client, node)->notify)
			return true;
	}
	return false;
}

/* Whole responses, or none: what does not fit would leave the client in the middle of one. */
static void tell_aside(struct client *c, const struct buf *told)
{
	if (buf_failed(told))
		notify_overflow(c);
	else
		notify_aside(c, buf_view(told));
}

static struct str parent_of(struct str name)
{
	const ptrdiff_t slash = str_rchr(name, '/');

	return slash > 0 ? str_sub(name, 0, (size_t)slash) : STR("");
}

void notify_tree(struct client *by, enum notify_tree what, struct str name, struct str old)
{
	const unsigned bit = what == TREE_SUBSCRIBED || what == TREE_UNSUBSCRIBED ? EVENT_BIT(SUBSCRIPTIONCHANGE) : EVENT_BIT(MAILBOXNAME);
	/* Made, deleted or moved, it changes its parents, too (section 5.4): one has a child more, one a child less. */
	const bool stays = bit != EVENT_BIT(MAILBOXNAME) || (old.n > 0 && str_eq(parent_of(old), parent_of(name)));
	const struct str parents[] = { stays ? STR("") : parent_of(name), stays ? STR("") : parent_of(old) };
	struct store_folder *list;
	struct err e = { 0 };
	struct buf told;

	if (!anybody_listens(by->user) || store_list(by->user->store, by->arena, &list, &e) < 0)
		return;
	buf_init(&told, NOTIFY_LATER_MAX);
	list_each_safe(it, &by->user->clients) {
		struct client *c = list_of(it, struct client, node);

		if (!c->notify || c->over)
			continue;
		c->notify->stale = c->notify->grown = true;
		if (c == by)
			continue;
		if (c->guest && bit == EVENT_BIT(SUBSCRIPTIONCHANGE))
			continue;
		if (!may_know(c, name, ACL_L))
			continue;
		buf_reset(&told);
		if (events_of(c, name) & bit)
			put_name(c, &told, list, name, old);
		for (size_t i = 0; i < ARRAY_LEN(parents); i++)
			if (parents[i].n && (events_of(c, parents[i]) & bit) && may_know(c, parents[i], ACL_L))
				put_name(c, &told, list, parents[i], STR(""));
		tell_aside(c, &told);
	}
	/* What is new is watched from now on: what another process brings there is seen. */
	list_each_safe(it, &by->user->clients)
		notify_look(list_of(it, struct client, node));
	buf_fini(&told);
}

/* --- annotations --- */

static bool hears_metadata(struct client *c, struct str name)
{
	unsigned events = 0;

	if (name.n)
		return (events_of(c, name) & EVENT_BIT(MAILBOXMETADATACHANGE)) && may_know(c, name, ACL_L | ACL_R);
	if (c->guest)
		return false;
	for (size_t g = 0; g < c->notify->what.n; g++)
		events |= c->notify->what.v[g].events;
	return events & EVENT_BIT(SERVERMETADATACHANGE);
}

/* Only the names of what has changed (RFC 5464 4.4.2); to a guest those that it may read. */
static void put_changes(struct client *c, struct buf *out, struct str name, const struct mbox_meta *changes)
{
	bool any = false;

	for (const struct mbox_meta *m = changes; m; m = m->next) {
		if (c->guest && str_case_starts(m->name, STR("/private/")))
			continue;
		if (!any) {
			buf_c(out, "* METADATA ");
			client_put_mailbox(c, out, name);
		}
		any = true;
		buf_ch(out, ' ');
		imap_put_astring(out, m->name);
	}
	if (any)
		buf_c(out, "\r\n");
}

void notify_metadata(struct client *by, struct str name, const struct mbox_meta *changes)
{
	struct buf told;

	buf_init(&told, NOTIFY_LATER_MAX);
	list_each_safe(it, &by->user->clients) {
		struct client *c = list_of(it, struct client, node);

		if (!c->notify || c->over || c == by || !hears_metadata(c, name))
			continue;
		buf_reset(&told);
		put_changes(c, &told, name, changes);
		tell_aside(c, &told);
	}
	buf_fini(&told);
}
