/* See watches.h. Who cannot be reached, or shares nothing now, is asked again now and then: what is granted later is watched then (RFC 5465 5.9). */
#include "watches.h"

#include "imap/out.h"
#include "link.h"
#include "named.h"
#include "relay.h"
#include "spaces.h"

enum { WATCHES_MAX = LINKS_MAX / 2, WATCHES_RETRY_MS = 30000 };

struct watch_abroad {
	struct list node;
	struct client *c;
	struct str owner, prefix;	/* on the arena of the NOTIFY */
	struct buf groups;		/* " (mailboxes x (MessageNew …))" … */
	struct link *l;			/* NULL: not there */
	struct timer *retry;
	bool due;			/* NOTIFY waits for its answer */
	bool warned;
};

/* --- what is to be watched --- */

struct taking {
	struct client *c;
	struct arena *a;
	struct list *all;
	const struct imap_event_group *g;
};

static struct watch_abroad *watch_of(const struct taking *t, struct str owner)
{
	struct watch_abroad *w;
	struct buf b;
	unsigned n = 0;

	list_each(it, t->all) {
		w = list_of(it, struct watch_abroad, node);
		if (str_eq(w->owner, owner))
			return w;
		n++;
	}
	if (n == WATCHES_MAX)
		return NULL;
	w = ARENA_NEW(t->a, struct watch_abroad);
	buf_init(&b, 2048);
	space_prefix(&b, t->c->user->conf, owner);
	*w = (struct watch_abroad){ .c = t->c, .owner = arena_str(t->a, owner), .prefix = arena_str(t->a, buf_view(&b)) };
	buf_fini(&b);
	buf_init(&w->groups, CLIENT_LITERALS_MAX);
	list_append(t->all, &w->node);
	return w;
}

static enum cmd_result take(void *ctx, const struct imap_mboxes *f, struct str owner, struct str name)
{
	const struct taking *t = ctx;
	struct watch_abroad *w = watch_of(t, owner);

	if (!w)
		return command_answer(t->c, "NO", "NOTIFICATIONOVERFLOW", "Folders of too many others to watch.");
	buf_c(&w->groups, f->kind == IMAP_MBOXES_SUBTREE ? " (subtree " : " (mailboxes ");
	client_put_mailbox(t->c, &w->groups, name);
	buf_ch(&w->groups, ' ');
	buf_str(&w->groups, t->g->text);
	buf_ch(&w->groups, ')');
	return CMD_OK;
}

enum cmd_result watches_take(struct client *c, struct arena *a, struct list *all, struct imap_event_group *g, struct err *e)
{
	return mboxes_split(c, a, &g->boxes, take, &(struct taking){ c, a, all, g }, e);
}

/* --- what they tell --- */

static bool believed(struct client *c, struct str text, struct str prefix)
{
	struct str rest;
	const struct str word = named_word(text, &rest);
	struct named n;

	if (!str_case_eq(word, STR("LIST")) && !str_case_eq(word, STR("STATUS")) && !str_case_eq(word, STR("METADATA")))
		return false;
	return named_parse(c, text, &n) == 0 && named_below(&n, prefix);
}

/* It has more to tell than it can, or says so. The NOTIFY that waits for it is refused; later nobody else's folders suffer: it is asked again as one that is
 * gone, and the client knows. */
static void give_up(struct watch_abroad *w)
{
	struct client *c = w->c;
	struct buf b;

	if (w->due) {
		notify_overflow(c);
		return;
	}
	if (!w->warned) {
		buf_init(&b, 2048);
		buf_c(&b, "* NO Now and then only it is looked what there is of ");
		imap_put_text(&b, w->owner);
		buf_c(&b, ": too much to watch.\r\n");
		notify_aside(c, buf_view(&b));
		buf_fini(&b);
	}
	w->warned = true;
	link_break(w->l, "too much to watch");
}

static void on_untagged(void *ctx, struct link *l, struct str text)
{
	const struct watch_abroad *w = ctx;
	struct client *c = w->c;
	const struct arena_mark mark = arena_mark(c->arena);

	(void)l;
	if (str_starts(text, STR("* OK [NOTIFICATIONOVERFLOW]")))
		give_up(ctx);
	else if (believed(c, text, w->prefix))
		notify_aside(c, text);
	arena_release(c->arena, mark);
}

static void watch_open(struct watch_abroad *w, bool status);

static void on_retry(void *ctx);

static void retry_later(struct watch_abroad *w)
{
	if (!w->retry)
		w->retry = loop_timer(w->c->user->loop, WATCHES_RETRY_MS, on_retry, w);
}

static void on_retry(void *ctx)
{
	struct watch_abroad *w = ctx;

	timer_del(&w->retry);
	watch_open(w, true);	/* nobody knows what has been missed */
	if (!w->l)
		retry_later(w);
}

static void on_gone(void *ctx, struct link *l, enum err_code code)
{
	struct watch_abroad *w = ctx;

	(void)l;
	(void)code;
	w->l = NULL;
	retry_later(w);
}

static const struct link_user hearing = { .untagged = on_untagged, .lost = on_gone };

/* --- asking --- */

static void answered(struct watch_abroad *w)
{
	if (!w->due)
		return;
	w->due = false;
	notify_answered(w->c);
}

static void on_tagged(void *ctx, struct link *l, struct str rest)
{
	struct watch_abroad *w = ctx;

	(void)l;
	if (!str_case_starts(rest, STR("OK")))
		give_up(w);
	answered(w);
}

static void on_lost(void *ctx, struct link *l, enum err_code code)
{
	(void)l;
	(void)code;
	answered(ctx);
}

static const struct link_user asking = { .tagged = on_tagged, .lost = on_lost };

static void watch_open(struct watch_abroad *w, bool status)
{
	struct buf b;

	buf_init(&b, CLIENT_LITERALS_MAX + 100);
	buf_c(&b, status ? "NOTIFY SET STATUS" : "NOTIFY SET");
	buf_str(&b, buf_view(&w->groups));
	if (!buf_failed(&w->groups) && !buf_failed(&b) && (w->l = link_watch(w->c, w->owner, &hearing, w)))
		w->due |= link_command(w->l, b.p, &asking, w) && w->c->run.cmd && w->c->run.cmd->fn == cmd_NOTIFY;
	buf_fini(&b);
}

enum cmd_result watches_begin(struct client *c, struct list *all, bool status)
{
	list_each(it, all) {
		struct watch_abroad *w = list_of(it, struct watch_abroad, node);

		watch_open(w, status);
		if (!w->l)
			return command_answer(c, "NO", "LIMIT", "Folders of too many others at once, or not to be reached now.");
	}
	return watches_wait(all) ? CMD_AWAY : CMD_OK;
}

bool watches_wait(const struct list *all)
{
	list_each(it, all) {
		if (list_of(it, struct watch_abroad, node)->due)
			return true;
	}
	return false;
}

void watches_end(struct list *all)
{
	list_each_safe(it, all) {
		struct watch_abroad *w = list_of(it, struct watch_abroad, node);

		list_del(&w->node);
		timer_del(&w->retry);
		if (w->l)
			link_end(w->l);
		buf_fini(&w->groups);
	}
}
