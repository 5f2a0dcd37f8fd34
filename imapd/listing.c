/* LIST over folders of others: listing.h. Some owners are asked at the same time, and the next when one has answered; who does not answer in LINK_ASK_MS has no
 * folders this time. What an owner's process says of names that are not below its own prefix is not believed. */
#include "listing.h"

#include <stdlib.h>

#include "base/map.h"
#include "link.h"
#include "named.h"
#include "relay.h"
#include "spaces.h"

enum {
	LISTING_ASKED_MAX = LINKS_MAX / 2,	/* owners at a time */
	LISTING_OWNER_MAX = 16 << 20,	/* bytes of one owner's responses */
	LISTING_SAID_MAX = 2,		/* responses about one folder: its STATUS and its MYRIGHTS */
};

struct node {
	struct store_folder f;
	struct str said;
	unsigned n_said;
};

/* One owner that is being asked; in the command's arena. */
struct asked {
	struct listing *l;
	struct str prefix;	/* of its folders */
	struct node *last;	/* the folder that was named last */
	size_t bytes;		/* of what it has said */
	bool opened;		/* the link is there for this only */
};

struct listing {
	struct client *c;
	listing_fn *fn;
	uint32_t request;	/* SHARERS_ASK; 0: answered */
	uint32_t status;
	bool myrights;
	struct str *owners;	/* in the command's arena */
	size_t n_owners, at, n_asked;	/* at: those before it were asked; n_asked: of them have not answered yet */
	struct map *by_name;	/* of nodes in the command's arena */
	size_t n;
};

bool listing_wanted(struct client *c, struct str pattern)
{
	size_t n = 0;

	while (n < pattern.n && pattern.p[n] != '*' && pattern.p[n] != '%')
		n++;
	pattern = str_sub(pattern, 0, n);
	for (enum space s = 0; s < SPACES; s++) {
		const struct str name = str_c(space_name(c->user->conf, s));

		if (name.n && (str_starts(name, pattern) || str_starts(pattern, name)))
			return true;
	}
	return false;
}

struct str listing_said(const struct store_folder *f)
{
	return ((const struct node *)(const void *)((const char *)f - offsetof(struct node, f)))->said;
}

/* --- what one of them says --- */

static struct node *node_get(struct listing *l, struct str name)
{
	struct node *x = map_get(l->by_name, name);

	if (!x && l->n < STORE_FOLDERS_MAX) {
		x = ARENA_NEW(l->c->arena, struct node);
		x->f.name = arena_str(l->c->arena, name);
		(void)map_set(l->by_name, name, x);
		l->n++;
	}
	return x;
}

/* Its parents exist as names. */
static void parents(struct listing *l, struct str name)
{
	struct node *x;

	for (ptrdiff_t slash; (slash = str_rchr(name, '/')) > 0;) {
		name = str_sub(name, 0, (size_t)slash);
		if ((x = node_get(l, name)))
			x->f.children = true;
	}
}

/* Kept as it is, behind what there is. -1: more than a folder has. */
static int add_said(const struct asked *a, struct str text)
{
	struct arena *arena = a->l->c->arena;
	struct node *x = a->last;
	char *both;

	if (x->n_said++ == LISTING_SAID_MAX)
		return -1;
	both = arena_alloc(arena, x->said.n + text.n + 1);
	memcpy(both, x->said.p ? x->said.p : "", x->said.n);
	memcpy(both + x->said.n, text.p, text.n);
	x->said = str_n(both, x->said.n + text.n);
	return 0;
}

static void said(const struct asked *a, struct link *k, struct str name, struct str text)
{
	if (!str_eq(name, a->last->f.name))
		link_break(k, "a folder is listed with what is said of another");
	else if (add_said(a, text) < 0)
		link_break(k, "says too much about a folder at LIST");
}

static void on_untagged(void *ctx, struct link *k, struct str text)
{
	struct asked *a = ctx;
	struct listing *l = a->l;
	struct client *c = l->c;
	struct str rest;
	const struct str word = named_word(text, &rest);
	struct named n;

	a->bytes += text.n;
	if (a->bytes > LISTING_OWNER_MAX) {
		link_break(k, "says too much at LIST");
		return;
	}
	const bool ok = named_parse(c, text, &n) == 0 && named_below(&n, a->prefix);

	if (!str_case_eq(word, STR("LIST"))) {
		if (a->last && (str_case_eq(word, STR("STATUS")) || str_case_eq(word, STR("MYRIGHTS"))))
			said(a, k, ok ? n.name : STR(""), text);
		return;
	}
	a->last = NULL;
	if (ok && (a->last = node_get(l, n.name))) {
		a->last->f.exists = n.exists;
		parents(l, n.name);
	}
}

/* --- some at a time --- */

static void next(struct listing *l);

static void done_with(struct asked *a, struct link *k)
{
	struct listing *l = a->l;
	struct client *c = l->c;

	l->n_asked--;
	if (k && a->opened && c->n_links > LINKS_MAX / 2 && c->remote != k)
		link_end(k);
	next(l);
}

static void on_tagged(void *ctx, struct link *k, struct str rest)
{
	done_with(ctx, k);
}

static void on_lost(void *ctx, struct link *k, enum err_code code)
{
	done_with(ctx, NULL);
}

static const struct link_user asking = { .untagged = on_untagged, .tagged = on_tagged, .lost = on_lost };

static void finish(struct listing *l)
{
	struct client *c = l->c;

	c->listing = NULL;
	l->fn(c, l);
	map_free(&l->by_name);
	free(l);
	if (!c->over)
		client_continue(c);
}

static bool ask(struct listing *l, struct str owner)
{
	struct client *c = l->c;
	const unsigned before = c->n_links;
	struct link *k = space_on(c, str_eq(owner, STR(PUBLIC_USER)) ? SPACE_SHARED : SPACE_OTHER) ? link_get(c, owner) : NULL;
	struct asked *a;
	struct buf b;

	if (!k)
		return false;
	a = ARENA_NEW(c->arena, struct asked);
	buf_init(&b, 4096);
	space_prefix(&b, c->user->conf, owner);
	*a = (struct asked){ .l = l, .prefix = arena_str(c->arena, buf_view(&b)), .opened = c->n_links > before };
	buf_reset(&b);
	buf_c(&b, "LIST \"\" \"*\" RETURN (CHILDREN");
	if (l->status) {
		buf_c(&b, " STATUS (");
		status_items_format(&b, l->status);
		buf_ch(&b, ')');
	}
	buf_c(&b, l->myrights ? " MYRIGHTS)" : ")");
	const bool sent = link_command(k, b.p, &asking, a);

	buf_fini(&b);
	l->n_asked += sent;
	return sent;
}

static void next(struct listing *l)
{
	while (l->at < l->n_owners && l->n_asked < LISTING_ASKED_MAX)
		(void)ask(l, l->owners[l->at++]);
	if (l->n_asked == 0)
		finish(l);
}

void listing_sharers(struct user *u, uint32_t id, const struct ipc_strs *owners)
{
	list_each_safe(it, &u->clients) {
		struct client *c = list_of(it, struct client, node);
		struct listing *l = c->listing;

		if (!l || !l->request || (owners && l->request != id))
			continue;
		l->request = 0;
		l->n_owners = owners ? owners->n : 0;
		l->owners = ARENA_ARRAY(c->arena, struct str, l->n_owners + 1);
		for (size_t i = 0; i < l->n_owners; i++)
			l->owners[i] = arena_str(c->arena, owners->v[i]);
		next(l);
	}
}

bool listing_start(struct client *c, uint32_t status, bool myrights, listing_fn *fn)
{
	struct user *u = c->user;
	struct listing *l;
	struct err e = { 0 };

	if (c->guest || !u->chan || (!space_on(c, SPACE_OTHER) && !space_on(c, SPACE_SHARED)))
		return false;
	l = xzalloc(sizeof(*l));
	*l = (struct listing){ .c = c, .fn = fn, .status = status, .myrights = myrights, .by_name = map_new() };
	l->request = ipc_next_id(u->chan);
	if (ipc_send(u->chan, IPC_sess_SHARERS_ASK, &(struct ipc_sess_SHARERS_ASK){ 0 }, l->request, -1, &e) < 0) {
		map_free(&l->by_name);
		free(l);
		return false;
	}
	c->listing = l;
	return true;
}

void listing_end(struct client *c)
{
	if (!c->listing)
		return;
	map_free(&c->listing->by_name);
	free(c->listing);
	c->listing = NULL;
}

/* --- together with the client's own --- */

static int node_cmp(const void *a, const void *b)
{
	return str_cmp((*(struct node *const *)a)->f.name, (*(struct node *const *)b)->f.name);
}

/* What the client has subscribed to of others stands in its own list. */
static void take_subscriptions(struct listing *l, struct store_folder **list)
{
	struct client *c = l->c;
	struct str owner;

	while (*list) {
		struct store_folder *f = *list;
		struct node *x;

		if (space_owner(c, f->name, &owner) == 0) {
			list = &f->next;
			continue;
		}
		*list = f->next;
		if (f->subscribed && (x = node_get(l, f->name))) {
			x->f.subscribed = true;
			parents(l, f->name);
		}
	}
}

const struct store_folder *listing_merge(struct client *c, struct listing *l, struct store_folder **list)
{
	struct store_folder **tail = list, *shared;
	struct node **v;
	size_t it = 0, n = 0;
	struct str key;
	void *value;

	take_subscriptions(l, list);
	v = ARENA_ARRAY(c->arena, struct node *, l->n + 1);
	while (map_next(l->by_name, &it, &key, &value))
		v[n++] = value;
	qsort(v, n, sizeof(struct node *), node_cmp);
	for (size_t i = 0; i < n; i++)
		v[i]->f.next = i + 1 < n ? &v[i + 1]->f : NULL;
	shared = n ? &v[0]->f : NULL;
	while (*tail)
		tail = &(*tail)->next;
	*tail = shared;
	return shared;
}
