/* See others.h. An owner's process is asked as at LIST: a command of ours on the link, and of what it answers only ESEARCH responses about folders below its own prefix
 * are believed. They are passed on with the client's tag in them. Who cannot be reached has nothing found this time: a mailbox that cannot be
 * searched is passed over (RFC 7377 section 2.1). */
#include "others.h"

#include "imap/out.h"
#include "link.h"
#include "named.h"
#include "relay.h"
#include "spaces.h"

enum { OTHERS_OWNERS_MAX = LINKS_MAX, OTHERS_BYTES_MAX = 16 << 20 };

struct source {
	struct str owner, prefix;
	struct buf filters;	/* "mailboxes (a b)" … */
};

struct others {
	struct client *c;
	others_fn *fn;
	struct source v[OTHERS_OWNERS_MAX];
	size_t n, at;		/* at: those before it have been asked */
	struct str rest;
	size_t bytes;		/* of what this owner has said */
	struct timer *timer;	/* begins it */
};

/* --- what is to be searched --- */

static struct source *source_of(struct others *o, struct str owner)
{
	struct client *c = o->c;
	struct buf b;

	for (size_t i = 0; i < o->n; i++) {
		if (str_eq(o->v[i].owner, owner))
			return &o->v[i];
	}
	if (o->n == OTHERS_OWNERS_MAX)
		return NULL;
	struct source *s = &o->v[o->n++];

	buf_init(&b, 2048);
	space_prefix(&b, c->user->conf, owner);
	*s = (struct source){ .owner = arena_str(c->arena, owner), .prefix = arena_str(c->arena, buf_view(&b)) };
	buf_fini(&b);
	buf_init(&s->filters, CLIENT_LITERALS_MAX);
	return s;
}

static void add(struct client *c, struct source *s, enum imap_mboxes_kind kind, struct str name)
{
	buf_c(&s->filters, s->filters.n ? " " : "");
	buf_c(&s->filters, kind == IMAP_MBOXES_SUBTREE ? "subtree " : kind == IMAP_MBOXES_SUBTREE_ONE ? "subtree-one " : "mailboxes ");
	client_put_mailbox(c, &s->filters, name);
}

struct taking {
	struct client *c;
	struct others **o;
};

static enum cmd_result take(void *ctx, const struct imap_mboxes *f, struct str owner, struct str name)
{
	const struct taking *t = ctx;

	if (!*t->o)
		*(*t->o = ARENA_NEW(t->c->arena, struct others)) = (struct others){ .c = t->c };
	struct source *s = source_of(*t->o, owner);

	if (!s)
		return command_answer(t->c, "NO", "LIMIT", "Folders of too many others at once.");
	add(t->c, s, f->kind, name);
	return CMD_OK;
}

enum cmd_result others_take(struct client *c, struct others **o, struct imap_mboxes *f, struct err *e)
{
	return mboxes_split(c, c->arena, f, take, &(struct taking){ c, o }, e);
}

static void sources_free(struct others *o)
{
	for (size_t i = 0; i < o->n; i++)
		buf_fini(&o->v[i].filters);
	o->n = 0;
}

void others_drop(struct others **o)
{
	if (*o)
		sources_free(*o);
	*o = NULL;
}

/* --- what they say --- */

static void on_untagged(void *ctx, struct link *k, struct str text)
{
	struct others *o = ctx;
	struct client *c = o->c;
	const struct source *s = &o->v[o->at - 1];
	const struct arena_mark mark = arena_mark(c->arena);
	struct named n;

	o->bytes += text.n;
	if (o->bytes > OTHERS_BYTES_MAX) {
		link_break(k, "says too much at ESEARCH");
		return;
	}
	if (named_parse(c, text, &n) == 0 && n.behind && named_below(&n, s->prefix)) {
		struct buf *out = resp(c);

		buf_c(out, "* ESEARCH (TAG ");
		imap_put_string(out, c->run.tag);
		buf_str(out, str_n(n.behind, (size_t)(text.p + text.n - n.behind)));
		resp_flush(c);
	}
	arena_release(c->arena, mark);
}

static void next(struct others *o);

static void on_tagged(void *ctx, struct link *k, struct str rest)
{
	next(ctx);
}

static void on_lost(void *ctx, struct link *k, enum err_code code)
{
	next(ctx);
}

static const struct link_user asking = { .slow = true, .also = "ESEARCH", .untagged = on_untagged, .tagged = on_tagged, .lost = on_lost };

static bool ask(struct others *o, struct source *s)
{
	struct link *k = link_get(o->c, s->owner);
	struct buf b;

	o->bytes = 0;
	if (!k || buf_failed(&s->filters))
		return false;
	buf_init(&b, CLIENT_LITERALS_MAX * 2 + CLIENT_IN_MAX);
	buf_c(&b, "ESEARCH IN (");
	buf_str(&b, buf_view(&s->filters));
	buf_c(&b, ") ");
	buf_str(&b, o->rest);
	const bool sent = !buf_failed(&b) && link_command(k, b.p, &asking, o);

	buf_fini(&b);
	return sent;
}

static void next(struct others *o)
{
	struct client *c = o->c;

	while (o->at < o->n) {
		if (ask(o, &o->v[o->at++]))
			return;
	}
	c->others = NULL;
	sources_free(o);
	o->fn(c);
	if (!c->over)
		client_continue(c);
}

static void on_start(void *ctx)
{
	struct others *o = ctx;

	timer_del(&o->timer);
	next(o);
}

void others_search(struct client *c, struct others *o, struct str rest, others_fn *fn)
{
	o->rest = rest;
	o->fn = fn;
	c->others = o;
	/* Later: nobody may have to be asked, and the handler is still at work. */
	o->timer = loop_timer(c->user->loop, 0, on_start, o);
}

void others_end(struct client *c)
{
	if (!c->others)
		return;
	timer_del(&c->others->timer);
	sources_free(c->others);
	c->others = NULL;
}
