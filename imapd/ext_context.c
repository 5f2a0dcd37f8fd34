/* Searches that are kept up to date (RFC 5267, CONTEXT=SEARCH): after each change that the connection is told of, the messages concerned are looked at
 * again, and what has come or gone is told as ADDTO and REMOVEFROM. A result is UIDs in ascending order; positions are told as 0, since
 * results of SEARCH have no order of their own. CANCELUPDATE ends them.
 *
 * A look may read a message's file, and there may be thousands: what does not fit into a slice is looked at when the command has been answered, in slices, before another one
 * is read. */
#include <stdlib.h>

#include "base/clock.h"
#include "base/num.h"
#include "fetch.h"
#include "imap/out.h"
#include "search.h"
#include "session.h"

struct context {
	struct list node;		/* of client.contexts */
	struct arena *arena;
	struct str tag;
	bool uid;
	bool has_fetch;			/* new messages come with these items (RFC 5465 7) */
	struct imap_fetch fetch;
	struct matcher matcher;
	uint32_t *found;		/* UIDs, ascending */
	size_t n, cap;
	uint32_t last;			/* the highest UID looked at */
	uint32_t *changed;		/* UIDs to look at again, those before changed_at again */
	size_t n_changed, cap_changed, changed_at;
	uint32_t *come, *gone;		/* found out, and not told yet: as they are told */
	size_t n_come, n_gone, cap_come, cap_gone;
};

void no_update(struct client *c)
{
	struct buf *out = resp(c);

	buf_c(out, "* NO [NOUPDATE ");
	imap_put_string(out, c->run.tag);
	buf_c(out, "] This search is not kept up to date.\r\n");
}

static void push(uint32_t **v, size_t *n, size_t *cap, uint32_t x)
{
	if (*n == *cap) {
		*cap = *cap * 2 + 16;
		*v = xrealloc(*v, *cap * sizeof(**v));
	}
	(*v)[(*n)++] = x;
}

/* The place of uid in the result, or where it would go. */
static size_t place(const struct context *x, uint32_t uid)
{
	return u32_lower(x->found, x->n, uid);
}

static bool has(const struct context *x, uint32_t uid)
{
	const size_t at = place(x, uid);

	return at < x->n && x->found[at] == uid;
}

static void put(struct context *x, uint32_t uid)
{
	const size_t at = place(x, uid);

	push(&x->found, &x->n, &x->cap, uid);
	memmove(x->found + at + 1, x->found + at, (x->n - 1 - at) * sizeof(*x->found));
	x->found[at] = uid;
}

static void drop(struct context *x, uint32_t uid)
{
	const size_t at = place(x, uid);

	memmove(x->found + at, x->found + at + 1, (x->n - 1 - at) * sizeof(*x->found));
	x->n--;
}

static void context_free(struct client *c, struct context *x)
{
	list_del(&x->node);
	c->n_contexts--;
	matcher_fini(&x->matcher);
	free(x->found);
	free(x->changed);
	free(x->come);
	free(x->gone);
	arena_free(&x->arena);
	free(x);
}

void contexts_end(struct client *c)
{
	list_each_safe(it, &c->contexts)
		context_free(c, list_of(it, struct context, node));
}

/* --- begin --- */

static int resolve(void *ctx, struct imap_seqset *set, bool uid, struct err *e)
{
	struct client *c = ctx;

	if (!uid || set->saved)		/* what these mean does not last */
		return err_set(e, ERR_INPUT, 0, "not in a context");
	return set_uids(c, c->view, set, e);
}

static int parse(struct client *c, struct context *x, struct str text, struct err *e)
{
	const struct str own = arena_str(x->arena, text);
	struct imap_lex l = { .p = own.p, .end = own.p + own.n, .arena = x->arena };
	struct imap_search_key *keys;
	struct str charset;

	if (imap_get_search_charset(&l, &charset, e) < 0 || imap_get_search(&l, &keys, e) < 0)
		return -1;
	return matcher_init(&x->matcher, x->arena, c->folder->mbox, c->view, keys, resolve, c, e);
}

static int parse_items(struct context *x, struct str items, struct err *e)
{
	const struct str own = arena_str(x->arena, items);
	struct imap_lex l = { .p = own.p, .end = own.p + own.n, .arena = x->arena };

	x->has_fetch = items.n;
	return items.n ? imap_get_fetch(&l, &x->fetch, e) : 0;
}

bool context_begin(struct client *c, struct str text, struct str items, const uint32_t *found, size_t n)
{
	const uint32_t count = mbox_view_count(c->view);
	struct err e = { 0 };
	struct context *x;

	if (c->n_contexts == CONTEXTS_MAX) {
		no_update(c);
		return false;
	}
	x = xzalloc(sizeof(*x));
	x->arena = arena_new(0);
	list_append(&c->contexts, &x->node);
	c->n_contexts++;
	if (parse(c, x, text, &e) < 0 || parse_items(x, items, &e) < 0) {
		context_free(c, x);
		no_update(c);
		return false;
	}
	x->tag = arena_str(x->arena, c->run.tag);
	x->uid = c->run.uid;
	for (size_t i = 0; i < n; i++)
		push(&x->found, &x->n, &x->cap, x->uid ? found[i] : mbox_view_uid(c->view, found[i]));
	x->last = count ? mbox_view_uid(c->view, count) : 0;
	return true;
}

/* --- changes --- */

static void tell(struct client *c, const struct context *x, const char *what, const uint32_t *numbers, size_t n)
{
	struct buf *out;

	if (n == 0)
		return;
	out = resp(c);
	buf_c(out, "* ESEARCH (TAG ");
	imap_put_string(out, x->tag);
	buf_printf(out, ")%s %s (0 ", x->uid ? " UID" : "", what);
	imap_numbers_format(numbers, n, out);
	buf_c(out, ")\r\n");
}

static void tell_all(struct client *c, struct context *x)
{
	tell(c, x, "REMOVEFROM", x->gone, x->n_gone);
	tell(c, x, "ADDTO", x->come, x->n_come);
	x->n_gone = x->n_come = 0;
}

void contexts_expunged(struct client *c, uint32_t seq, uint32_t uid)
{
	list_each(it, &c->contexts) {
		struct context *x = list_of(it, struct context, node);

		tell_all(c, x);		/* while the numbers in it are right */
		if (!has(x, uid))
			continue;
		drop(x, uid);
		tell(c, x, "REMOVEFROM", x->uid ? &uid : &seq, 1);
	}
}

void contexts_changed(struct client *c, uint32_t uid)
{
	list_each(it, &c->contexts) {
		struct context *x = list_of(it, struct context, node);

		push(&x->changed, &x->n_changed, &x->cap_changed, uid);
	}
}

/* True: it has come into the result. */
static bool look(struct client *c, struct context *x, uint32_t uid)
{
	const uint32_t seq = mbox_view_seq(c->view, uid);
	const bool was = has(x, uid), is = seq && matcher_test(&x->matcher, seq);

	if (is && !was) {
		put(x, uid);
		push(&x->come, &x->n_come, &x->cap_come, x->uid ? uid : seq);
	} else if (was && !is) {
		drop(x, uid);
		push(&x->gone, &x->n_gone, &x->cap_gone, x->uid ? uid : seq);
	}
	return is && !was;
}

/* The message to look at next: 0 none. */
static uint32_t next_uid(struct client *c, const struct context *x)
{
	if (x->changed_at < x->n_changed)
		return x->changed[x->changed_at];
	return mbox_view_uid(c->view, mbox_view_seq_from(c->view, x->last + 1));
}

static void look_at_next(struct client *c, struct context *x, uint32_t uid)
{
	const bool again = x->changed_at < x->n_changed;
	const bool come = look(c, x, uid);

	if (again) {
		x->changed_at++;
	} else {
		x->last = uid;
		if (x->has_fetch && come)
			fetch_now(c, &x->fetch, mbox_view_seq(c->view, uid));
	}
	if (x->changed_at == x->n_changed)
		x->changed_at = x->n_changed = 0;
}

/* Until there is nothing more to look at, or the time has come. False: more is left. */
static bool update_some(struct client *c, uint64_t until)
{
	list_each(it, &c->contexts) {
		struct context *x = list_of(it, struct context, node);
		uint32_t uid;

		x->matcher.now = clock_wall();
		while ((uid = next_uid(c, x)) != 0) {
			look_at_next(c, x, uid);
			if (clock_mono_us() >= until || resp_full(c))
				return false;
		}
		tell_all(c, x);
	}
	return true;
}

void contexts_update(struct client *c)
{
	if (c->n_contexts > 0)
		(void)update_some(c, clock_mono_us() + SLICE_US);
}

static enum cmd_result update_step(struct client *c, struct err *e)
{
	(void)e;
	return update_some(c, clock_mono_us() + SLICE_MIN_US) ? CMD_ASIDE : CMD_MORE;
}

void contexts_aside(struct client *c)
{
	if (c->n_contexts == 0 || !c->view || c->over || c->run.step || c->append || c->relay || (c->run.cmd && !c->idling))
		return;
	list_each(it, &c->contexts) {
		const struct context *x = list_of(it, struct context, node);

		if (next_uid(c, x) == 0)
			continue;
		c->run.step = update_step;
		command_aside(c);
		return;
	}
}

/* --- CANCELUPDATE --- */

static struct context *context_find(struct client *c, struct str tag)
{
	list_each(it, &c->contexts) {
		struct context *x = list_of(it, struct context, node);

		if (str_eq(x->tag, tag))
			return x;
	}
	return NULL;
}

enum cmd_result cmd_CANCELUPDATE(struct client *c, struct imap_lex *l, struct err *e)
{
	struct str tag;
	bool unknown = false;

	do {
		if (imap_get_sp(l, e) < 0 || imap_get_string(l, &tag, e) < 0)
			return CMD_BAD;
		struct context *x = context_find(c, tag);

		if (x)
			context_free(c, x);
		else
			unknown = true;
	} while (imap_at(l, ' '));
	if (imap_get_end(l, e) < 0)
		return CMD_BAD;
	return unknown ? command_answer(c, "NO", "", "No search with that tag is kept up to date.") : CMD_OK;
}
