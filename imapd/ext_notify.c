/* NOTIFY (RFC 5465): a client is told of changes without asking, in the selected mailbox and in others. The first filter that a mailbox matches decides.
 *
 * Other mailboxes stay open, as if selected, for as long as they are watched: their watches see what any program does. Names and subscriptions
 * are told when a connection of this user changes them. What happens while a command of the client runs is told with its answer. */
#include "imap/notify.h"

#include <stdlib.h>

#include "fetch.h"
#include "imap/out.h"

struct watched {
	struct folder *f;
	unsigned events;
	struct mbox_status told;
};
struct notify {
	struct arena *arena;
	struct imap_notify what;
	const struct imap_event_group *selected;	/* NULL: nothing about the selected mailbox */
	struct watched *v;
	size_t n;
	bool stale;			/* the tree has changed: match it again */
};

/* --- other mailboxes --- */

static void release(struct client *c)
{
	struct notify *y = c->notify;

	for (size_t i = 0; i < y->n; i++)
		folder_release(y->v[i].f);
	free(y->v);
	y->v = NULL;
	y->n = 0;
}

void notify_end(struct client *c)
{
	if (!c->notify)
		return;
	release(c);
	arena_free(&c->notify->arena);
	free(c->notify);
	c->notify = NULL;
}

static void put_status(struct client *c, struct watched *w)
{
	struct err e = { 0 };
	struct mbox_status st;
	struct buf *out;

	if (mbox_status(w->f->mbox, &st, &e) < 0)
		return;
	w->told = st;
	out = resp(c);
	buf_c(out, "* STATUS ");
	client_put_mailbox(c, out, w->f->name);
	buf_printf(out, " (MESSAGES %u UIDNEXT %u UIDVALIDITY %u UNSEEN %u", st.messages, st.uidnext, st.uidvalidity, st.unseen);
	if (c->enabled & EN_CONDSTORE)
		buf_printf(out, " HIGHESTMODSEQ %llu", (unsigned long long)st.highestmodseq);
	buf_c(out, ")\r\n");
}

static bool is_news(const struct watched *w, const struct mbox_status *st)
{
	const bool come = st->uidnext != w->told.uidnext, gone = st->messages < w->told.messages + come;

	if ((come && (w->events & EVENT_BIT(MESSAGENEW))) || (gone && (w->events & EVENT_BIT(MESSAGEEXPUNGE))))
		return true;
	return !come && !gone && st->highestmodseq != w->told.highestmodseq && (w->events & EVENT_BIT(FLAGCHANGE));
}

static struct watched *watched_before(struct watched *v, size_t n, const struct folder *f)
{
	for (size_t i = 0; i < n; i++) {
		if (v[i].f == f)
			return &v[i];
	}
	return NULL;
}

/* The mailboxes that the filters mean now; each by its first filter. What was watched before keeps what it was told. */
static enum cmd_result match(struct client *c, struct notify *y, struct err *e)
{
	struct mbox_names all = { 0 };
	struct watched *old = y->v;
	const size_t n_old = y->n;
	enum cmd_result r = CMD_OK;

	y->v = xzalloc((NOTIFY_MAILBOXES_MAX + 1) * sizeof(*y->v));
	y->n = 0;
	for (size_t g = 0; r == CMD_OK && g < y->what.n; g++) {
		const size_t from = all.n;

		r = mboxes_expand(c, &y->what.v[g].boxes, &all, e);
		for (size_t i = from; r == CMD_OK && i < all.n; i++) {
			struct folder *f;

			if (!(y->what.v[g].events & (EVENT_BIT(MESSAGENEW) | EVENT_BIT(MESSAGEEXPUNGE))))
				continue;
			if (y->n == NOTIFY_MAILBOXES_MAX) {
				r = command_answer(c, "NO", "NOTIFICATIONOVERFLOW", "Too many mailboxes to watch.");
				break;
			}
			if (!(f = folder_hold(c->user, all.v[i], e)))
				continue;
			const struct watched *was = watched_before(old, n_old, f);

			y->v[y->n++] = (struct watched){ .f = f, .events = y->what.v[g].events, .told = was ? was->told : (struct mbox_status){ 0 } };
			if (!was)
				(void)!mbox_status(f->mbox, &y->v[y->n - 1].told, e);
		}
	}
	for (size_t i = 0; i < n_old; i++)
		folder_release(old[i].f);
	free(old);
	return r;
}

/* --- the selected mailbox --- */

bool notify_immediate(const struct client *c)
{
	return c->notify && c->notify->selected && c->notify->selected->events;
}

bool notify_expunges(const struct client *c)
{
	return notify_immediate(c) && c->notify->selected->boxes.kind == IMAP_MBOXES_SELECTED;
}

void notify_new(struct client *c, uint32_t from, uint32_t to)
{
	const struct imap_event_group *g = c->notify ? c->notify->selected : NULL;

	if (!g || !g->has_fetch)
		return;
	for (uint32_t seq = from; seq <= to; seq++)
		fetch_now(c, &g->fetch, seq);
}

/* --- telling --- */

static bool busy(const struct client *c)
{
	return c->run.cmd && !c->idling;
}

static void tell(struct client *c)
{
	struct notify *y = c->notify;
	struct err e = { 0 };
	struct mbox_status st;

	if (y->stale) {
		y->stale = false;
		if (match(c, y, &e) != CMD_OK) {	/* RFC 5465 5.8: as after NOTIFY NONE */
			resp_untagged(c, "OK [NOTIFICATIONOVERFLOW] Too many mailboxes to watch.");
			notify_end(c);
			return;
		}
	}
	for (size_t i = 0; i < y->n; i++) {
		struct watched *w = &y->v[i];

		if ((c->folder && c->folder->mbox == w->f->mbox) || mbox_status(w->f->mbox, &st, &e) < 0 || !is_news(w, &st))
			continue;
		put_status(c, w);
	}
}

void notify_flush(struct client *c)
{
	if (c->notify)
		tell(c);
}

void notify_changed(struct user *u)
{
	list_each_safe(it, &u->clients) {
		struct client *c = list_of(it, struct client, node);

		if (!c->notify || busy(c) || c->over)
			continue;
		tell(c);
		resp_flush(c);
	}
}

/* Which events a name's changes are for this client: the first filter decides. */
static unsigned events_of(struct client *c, struct str name)
{
	const struct notify *y = c->notify;

	for (size_t g = 0; g < y->what.n; g++) {
		if (mboxes_mean(c, &y->what.v[g].boxes, name))
			return y->what.v[g].events;
	}
	return 0;
}

void notify_tree(struct client *by, enum notify_tree what, struct str name, struct str old)
{
	list_each_safe(it, &by->user->clients) {
		struct client *c = list_of(it, struct client, node);
		const unsigned bit = what == TREE_SUBSCRIBED || what == TREE_UNSUBSCRIBED ? EVENT_BIT(SUBSCRIPTIONCHANGE) : EVENT_BIT(MAILBOXNAME);
		struct buf *out;

		if (!c->notify || c->over)
			continue;
		c->notify->stale = true;
		if (c == by || !(events_of(c, name) & bit))
			continue;
		out = resp(c);
		buf_printf(out, "* LIST (%s) \"/\" ", what == TREE_GONE ? "\\NonExistent" : what == TREE_SUBSCRIBED ? "\\Subscribed" : "");
		client_put_mailbox(c, out, name);
		if (old.n) {
			buf_c(out, " (\"OLDNAME\" (");
			client_put_mailbox(c, out, old);
			buf_c(out, "))");
		}
		buf_c(out, "\r\n");
		resp_flush(c);
	}
}

void notify_forget(struct user *u, const struct folder *f)
{
	list_each(it, &u->clients) {
		struct client *c = list_of(it, struct client, node);
		struct notify *y = c->notify;
		size_t n = 0;

		for (size_t i = 0; y && i < y->n; i++) {
			if (y->v[i].f == f)
				folder_release(y->v[i].f);
			else
				y->v[n++] = y->v[i];
		}
		if (y)
			y->n = n;
	}
}

/* --- the command --- */

static enum cmd_result bad_event(struct client *c)
{
	struct buf b;

	buf_init(&b, 512);
	buf_c(&b, "BADEVENT ");
	imap_put_events(&b);
	const char *code = arena_cstr(c->arena, buf_view(&b));

	buf_fini(&b);
	return command_answer(c, "NO", code, "Only these events are known.");
}

/* The program must outlive the command: it is parsed from a copy. */
static int parse(struct imap_lex *l, struct notify *y, struct err *e)
{
	const struct str own = arena_str(y->arena, str_n(l->p, (size_t)(l->end - l->p)));
	struct imap_lex mine = { .p = own.p, .end = own.p + own.n, .arena = y->arena };

	if (imap_get_notify(&mine, &y->what, e) < 0 || imap_get_end(&mine, e) < 0)
		return -1;
	for (size_t g = 0; g < y->what.n; g++) {
		const enum imap_mboxes_kind kind = y->what.v[g].boxes.kind;

		if (kind != IMAP_MBOXES_SELECTED && kind != IMAP_MBOXES_SELECTED_DELAYED)
			continue;
		if (y->selected)
			return err_set(e, ERR_INPUT, 0, "the selected mailbox twice");
		y->selected = &y->what.v[g];
	}
	return 0;
}

static enum cmd_result begin(struct client *c, struct notify *y, struct err *e)
{
	const enum cmd_result r = match(c, y, e);

	if (r != CMD_OK)
		return r;
	for (size_t i = 0; y->what.status && i < y->n; i++) {
		if (!c->folder || c->folder->mbox != y->v[i].f->mbox)
			put_status(c, &y->v[i]);
	}
	return CMD_OK;
}

enum cmd_result cmd_NOTIFY(struct client *c, struct imap_lex *l, struct err *e)
{
	struct notify *y = xzalloc(sizeof(*y)), *before = c->notify;
	enum cmd_result r = CMD_BAD;

	y->arena = arena_new(1 << 24);
	if (imap_get_sp(l, e) == 0 && parse(l, y, e) == 0)
		r = y->what.bad_event ? bad_event(c) : y->what.none ? CMD_OK : begin(c, y, e);
	/* What fails changes nothing. */
	c->notify = r == CMD_OK ? before : y;
	notify_end(c);
	c->notify = r == CMD_OK ? y : before;
	if (r == CMD_OK && y->what.none)
		notify_end(c);
	return r;
}
