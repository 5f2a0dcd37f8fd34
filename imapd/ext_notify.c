/* NOTIFY (RFC 5465): a client is told of changes without asking, in the selected mailbox and in others. Of a mailbox it hears what all the filters ask for that
 * mean it (section 6), up to one that says NONE.
 *
 * Other mailboxes stay open, as if selected, for as long as they are watched: their watches see what any program does. What happens while
 * a command of the client runs is told with its answer. notify_new.c has what is told of each new message, notify_names.c of names and annotations. */
#include "notify_priv.h"

#include <stdlib.h>

#include "base/map.h"
#include "imap/out.h"
#include "link.h"
#include "opening.h"
#include "relay.h"
#include "watches.h"

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
	watches_end(&c->notify->abroad);
	buf_fini(&c->notify->later);
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
	st.unseen = mbox_unseen(w->f->mbox, client_reader(c));
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

struct wanted {
	struct wanted *next;
	struct str name;
	unsigned events;
	bool closed;			/* a filter said NONE */
};

/* Each mailbox that a filter means, in their order, with its events. In the command's arena. */
static enum cmd_result wanted_list(struct client *c, const struct imap_notify *what, struct wanted **head, struct err *e)
{
	struct map *by_name = map_new();
	enum cmd_result r = CMD_OK;
	struct wanted **tail = head;

	*head = NULL;
	for (size_t g = 0; r == CMD_OK && g < what->n; g++) {
		struct mbox_names names = { 0 };

		r = mboxes_expand(c, &what->v[g].boxes, &names, e);
		for (size_t i = 0; r == CMD_OK && i < names.n; i++) {
			struct wanted *w = map_get(by_name, names.v[i]);

			if (!w) {
				w = *tail = ARENA_NEW(c->arena, struct wanted);
				tail = &w->next;
				w->name = names.v[i];
				(void)map_set(by_name, w->name, w);
			}
			w->closed |= !what->v[g].events;
			w->events |= w->closed ? 0 : what->v[g].events;
		}
	}
	map_free(&by_name);
	return r;
}

/* grown: not by the command, but as the tree has changed since: what came into a new mailbox before it was watched is news. */
static void watch(struct client *c, struct notify *y, const struct wanted *w, bool grown, struct watched *old, size_t n_old, struct err *e)
{
	struct folder *const f = folder_hold(c->user, w->name, e);

	if (!f)
		return;
	const struct watched *const was = watched_before(old, n_old, f);
	struct mbox_status *const told = &y->v[y->n].told;

	y->v[y->n++] = (struct watched){ .f = f, .events = w->events, .told = was ? was->told : (struct mbox_status){ 0 } };
	if (!was && mbox_status(f->mbox, told, e) == 0 && grown && told->messages > 0)
		*told = (struct mbox_status){ 0 };
}

/* The mailboxes that the filters mean now. What was watched before keeps what it was told. */
static enum cmd_result match(struct client *c, struct notify *y, bool grown, struct err *e)
{
	struct watched *old = y->v;
	const size_t n_old = y->n;
	struct wanted *w;
	enum cmd_result r = wanted_list(c, &y->what, &w, e);

	y->v = xzalloc((NOTIFY_MAILBOXES_MAX + 1) * sizeof(*y->v));
	y->n = 0;
	for (; r == CMD_OK && w; w = w->next) {
		if (!(w->events & IMAP_MESSAGE_EVENTS))
			continue;
		if (y->n == NOTIFY_MAILBOXES_MAX)
			r = command_answer(c, "NO", "NOTIFICATIONOVERFLOW", "Too many mailboxes to watch.");
		else
			watch(c, y, w, grown, old, n_old, e);
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

/* Expunges are told in any case: numbers depend on them. */
bool notify_hears(const struct client *c, bool flags)
{
	const unsigned bit = flags ? EVENT_BIT(FLAGCHANGE) : EVENT_BIT(MESSAGENEW);

	return !c->notify || (c->notify->selected && (c->notify->selected->events & bit));
}

/* The selected mailbox is another user's: its process tells of it at once, or not at all, as the client wants it. False: too much is unanswered there. */
static bool selected_abroad(struct client *c, struct link *l, const struct link_user *user)
{
	const struct imap_event_group *g = c->notify->selected;
	struct buf b;

	buf_init(&b, g ? g->text.n + 100 : 100);
	buf_c(&b, "NOTIFY ");
	if (g) {
		buf_c(&b, g->boxes.kind == IMAP_MBOXES_SELECTED ? "SET (selected " : "SET (selected-delayed ");
		buf_str(&b, g->text);
		buf_ch(&b, ')');
	} else {
		buf_c(&b, "NONE");
	}
	const bool sent = link_command(l, b.p, user, c);

	buf_fini(&b);
	return sent;
}

bool notify_abroad(struct client *c, struct link *l)
{
	return !c->notify || selected_abroad(c, l, &link_ignore);
}

static void on_selected(void *ctx, struct link *l, struct str rest)
{
	struct client *c = ctx;

	(void)l;
	(void)rest;
	if (!c->notify || !c->notify->selected_due)
		return;
	c->notify->selected_due = false;
	notify_answered(c);
}

/* The connection ends with the mailbox that is selected. */
static void on_lost(void *ctx, struct link *l, enum err_code code)
{
	(void)ctx;
	(void)l;
	(void)code;
}

static const struct link_user telling_selected = { .tagged = on_selected, .lost = on_lost };

/* --- telling --- */

bool notify_busy(const struct client *c)
{
	return (c->run.cmd && !c->idling) || c->run.step || c->passing;
}

/* RFC 5465 5.8: from now on as after NOTIFY NONE. Links end with the connection, or the next NOTIFY: one of them may be the caller. */
static void be_none(struct client *c)
{
	c->notify->over = true;
	c->notify->what = (struct imap_notify){ .none = true };
	c->notify->selected = NULL;
	c->notify->new_from = 0;
	release(c);
}

static void overflow(struct client *c)
{
	resp_untagged(c, "OK [NOTIFICATIONOVERFLOW] Too many mailboxes to watch.");
	be_none(c);
}

void notify_overflow(struct client *c)
{
	if (!c->notify || c->notify->what.none)
		return;
	be_none(c);
	buf_reset(&c->notify->later);
	buf_c(&c->notify->later, "* OK [NOTIFICATIONOVERFLOW] Too much to tell.\r\n");
	notify_later(c);
}

/* A guest hears of what it may read, at this moment. */
static bool may_hear(struct client *c, const struct watched *w)
{
	const struct arena_mark mark = arena_mark(c->arena);
	struct acl_entry *list;
	struct err e = { 0 };
	uint32_t rights = ACL_ALL;

	if (c->guest)
		rights = mbox_acl_get(w->f->mbox, c->arena, &list, &e) == 0 ? acl_rights_of(list, str_c(c->guest)) : 0;
	arena_release(c->arena, mark);
	return (rights & (ACL_L | ACL_R)) == (ACL_L | ACL_R);
}

static void tell(struct client *c)
{
	struct notify *y = c->notify;
	struct err e = { 0 };
	struct mbox_status st;

	if (y->stale) {
		const struct arena_mark mark = arena_mark(c->arena);

		const bool grown = y->grown;

		y->stale = y->grown = false;
		if (match(c, y, grown, &e) != CMD_OK)
			overflow(c);
		arena_release(c->arena, mark);
	}
	for (size_t i = 0; i < y->n; i++) {
		struct watched *w = &y->v[i];

		if ((c->folder && c->folder->mbox == w->f->mbox) || mbox_status(w->f->mbox, &st, &e) < 0 || !is_news(w, &st) || !may_hear(c, w))
			continue;
		put_status(c, w);
	}
}

static void tell_later(struct client *c)
{
	struct buf *b = &c->notify->later;

	if (b->n)
		buf_str(resp(c), buf_view(b));
	buf_fini(b);
	buf_init(b, NOTIFY_LATER_MAX);
}

void notify_flush(struct client *c)
{
	if (!c->notify)
		return;
	tell_later(c);
	tell(c);
}

void notify_later(struct client *c)
{
	if (!c->notify || notify_busy(c) || !c->notify->later.n)
		return;
	tell_later(c);
	resp_flush(c);
}

void notify_aside(struct client *c, struct str responses)
{
	if (!c->notify || c->notify->what.none || !responses.n)
		return;
	buf_str(&c->notify->later, responses);
	if (buf_failed(&c->notify->later))
		notify_overflow(c);
	else
		notify_later(c);
}

bool notify_waits(const struct client *c)
{
	return c->notify && (c->notify->selected_due || watches_wait(&c->notify->abroad));
}

void notify_answered(struct client *c)
{
	struct err e = { 0 };

	if (notify_waits(c))
		return;
	command_finish(c, c->notify->over ? command_answer(c, "NO", "NOTIFICATIONOVERFLOW", "Too much to watch of another user's folders.") : CMD_OK, &e);
	if (!c->over)
		client_continue(c);
}

void notify_rights(struct user *u)
{
	list_each(it, &u->clients) {
		struct client *c = list_of(it, struct client, node);

		if (c->guest && c->notify)
			c->notify->stale = true;
	}
}

void notify_look(struct client *c)
{
	if (!c->notify || notify_busy(c) || c->over)
		return;
	tell(c);
	resp_flush(c);
}

void notify_changed(struct user *u)
{
	list_each_safe(it, &u->clients)
		notify_look(list_of(it, struct client, node));
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

static enum cmd_result take_abroad(struct client *c, struct notify *y, struct err *e)
{
	enum cmd_result r = CMD_OK;

	for (size_t g = 0; r == CMD_OK && g < y->what.n; g++)
		r = watches_take(c, y->arena, &y->abroad, &y->what.v[g], e);
	return r;
}

static enum cmd_result begin(struct client *c, struct notify *y, struct err *e)
{
	enum cmd_result r;

	notify_new_now(c);
	if ((r = take_abroad(c, y, e)) != CMD_OK || (r = match(c, y, false, e)) != CMD_OK)
		return r;
	for (size_t i = 0; y->what.status && i < y->n; i++) {
		if (!c->folder || c->folder->mbox != y->v[i].f->mbox)
			put_status(c, &y->v[i]);
	}
	return CMD_OK;
}

/* What a NOTIFY waits for: the mailboxes that it will watch are opened in slices. */
struct notifying {
	struct notify *y;
	struct wanted *next;
	bool synced;			/* changes of the selected mailbox are being told */
	struct mbox *opened[NOTIFY_MAILBOXES_MAX + 1];	/* they stay open until they are watched */
	size_t n;
};

static void discard(struct client *c, struct notify *y)
{
	struct notify *const now = c->notify;

	c->notify = y;
	notify_end(c);
	c->notify = now;
}

static void cleanup(struct client *c)
{
	struct notifying *o = c->run.data;

	for (size_t i = 0; i <= o->n && i < ARRAY_LEN(o->opened); i++)
		mbox_close(&o->opened[i]);
	if (o->y)
		discard(c, o->y);
}

/* What fails changes nothing. */
static enum cmd_result take_effect(struct client *c, struct notifying *o, struct err *e)
{
	struct notify *const y = o->y, *const before = c->notify;
	enum cmd_result r = begin(c, y, e);

	if (r != CMD_OK)
		return r;
	o->y = NULL;
	c->notify = y;
	if (before)
		discard(c, before);
	y->selected_due = c->remote && selected_abroad(c, c->remote, &telling_selected);
	r = c->remote && !y->selected_due ? link_busy(c) : watches_begin(c, &y->abroad, y->what.status);
	if (r == CMD_DONE) {
		be_none(c);
		watches_end(&y->abroad);
		y->selected_due = false;
	}
	return r == CMD_OK && y->selected_due ? CMD_AWAY : r;
}

static enum cmd_result step(struct client *c, struct err *e)
{
	struct notifying *o = c->run.data;
	struct err theirs = { 0 };	/* a mailbox that cannot be opened is not watched */

	for (; o->next && o->n < NOTIFY_MAILBOXES_MAX; o->next = o->next->next) {
		if (!(o->next->events & IMAP_MESSAGE_EVENTS))
			continue;
		const int r = opening_step(c, o->next->name, &o->opened[o->n], &theirs);

		if (r > 0)
			return CMD_MORE;
		o->n += r == 0;
		err_clear(&theirs);
	}
	/* What has changed until now is told by what was asked for until now (section 3.1: as a NOOP does). */
	const int r = c->folder ? folder_sync(c, !o->synced, true, e) : 0;

	o->synced = true;
	if (r != 0)
		return r > 0 ? CMD_MORE : store_no(c, e, false);
	c->run.step = NULL;
	return take_effect(c, o, e);
}

enum cmd_result cmd_NOTIFY(struct client *c, struct imap_lex *l, struct err *e)
{
	struct notifying *o = ARENA_NEW(c->arena, struct notifying);
	struct notify *y = o->y = xzalloc(sizeof(*y));
	enum cmd_result r;

	y->arena = arena_new(1 << 24);
	list_init(&y->abroad);
	buf_init(&y->later, NOTIFY_LATER_MAX);
	c->run.data = o;
	c->run.cleanup = cleanup;
	if (imap_get_sp(l, e) < 0 || parse(l, y, e) < 0)
		return CMD_BAD;
	if (y->what.bad_event)
		return bad_event(c);
	if ((r = wanted_list(c, &y->what, &o->next, e)) != CMD_OK)
		return r;
	c->run.step = step;
	return CMD_MORE;
}
