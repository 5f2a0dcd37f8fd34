/* LIST, LSUB, XLIST (RFC 3501 sections 6.3.8, 6.3.9; the extended form of RFC 5258 with RFC 6154, RFC 5819 and RFC 8440). The options are tables; the tree is
 * read once and answered a slice at a time. */
#include <stdio.h>

#include "imap/match.h"
#include "imap/out.h"
#include "imap/utf7.h"
#include "listing.h"
#include "opening.h"

enum {	/* selection */
	SEL_SUBSCRIBED = 1, SEL_REMOTE = 2, SEL_RECURSIVE = 4, SEL_SPECIAL = 8,
};
enum {	/* return */
	RET_SUBSCRIBED = 1, RET_CHILDREN = 2, RET_SPECIAL = 4, RET_STATUS = 8, RET_MYRIGHTS = 16,
};
enum { PATTERNS_MAX = 1000, LIST_PIECE = 64 };

struct option {
	const char *name;
	unsigned bit;
};
static const struct option selections[] = {
	{ "SUBSCRIBED", SEL_SUBSCRIBED }, { "REMOTE", SEL_REMOTE }, { "RECURSIVEMATCH", SEL_RECURSIVE }, { "SPECIAL-USE", SEL_SPECIAL }, { NULL, 0 },
};
static const struct option returns[] = {
	{ "SUBSCRIBED", RET_SUBSCRIBED }, { "CHILDREN", RET_CHILDREN }, { "SPECIAL-USE", RET_SPECIAL }, { "STATUS", RET_STATUS }, { "MYRIGHTS", RET_MYRIGHTS },
	{ NULL, 0 },
};

struct list_run {
	const char *verb;	/* of the responses */
	unsigned select, ret;
	bool extended;		/* any option was given */
	uint32_t status;
	struct imap_pattern *patterns;
	size_t n_patterns;
	bool others;			/* some pattern may match folders of others */
	struct store_folder *next;
	const struct store_folder *shared;	/* from here on they are others', and what they said comes with them */
	bool in_shared;
	bool put;			/* the next one's own line has been told: what RETURN asks for follows */
	struct mbox *opening;		/* it is being opened for that */
};

/* --- arguments --- */

static int get_options(struct imap_lex *l, const struct option *table, unsigned *bits, uint32_t *status, struct err *e)
{
	struct str word;

	if (imap_get_char(l, '(', e) < 0)
		return -1;
	while (!imap_try(l, ')')) {
		const struct option *o = table;

		if (imap_try(l, ' '))
			continue;
		if (imap_get_atom(l, &word, e) < 0)
			return -1;
		while (o->name && !str_case_eq(word, str_c(o->name)))
			o++;
		if (!o->name)
			return err_set(e, ERR_INPUT, 0, "unknown LIST option");
		*bits |= o->bit;
		if (table == returns && o->bit == RET_STATUS && (imap_get_sp(l, e) < 0 || status_items_get(l, status, e) < 0))
			return -1;
	}
	return 0;
}

/* Reference and pattern make one pattern; both are in the clients' form of names. */
static int add_pattern(struct client *c, struct list_run *r, struct str ref, struct str pattern, struct err *e)
{
	struct buf b;

	if (r->n_patterns == PATTERNS_MAX)
		return err_set(e, ERR_LIMIT, 0, "too many patterns");
	buf_init(&b, 4 << 20);
	buf_str(&b, ref);
	buf_str(&b, pattern);
	const bool failed = buf_failed(&b);

	r->others |= !failed && listing_wanted(c, buf_view(&b));
	if (!failed)
		r->patterns[r->n_patterns++] = imap_pattern_new(c->arena, buf_view(&b), '/');
	buf_fini(&b);
	return failed ? err_set(e, ERR_LIMIT, 0, "pattern too long") : 0;
}

static int get_patterns(struct client *c, struct imap_lex *l, struct list_run *r, struct str ref, bool *empty, struct err *e)
{
	struct str one;

	*empty = false;
	if (imap_at(l, '(')) {
		r->extended = true;
		(void)imap_try(l, '(');
		r->patterns = ARENA_ARRAY(c->arena, struct imap_pattern, PATTERNS_MAX);
		do {
			if (imap_get_list_mailbox(l, &one, e) < 0 || add_pattern(c, r, ref, one, e) < 0)
				return -1;
		} while (imap_at(l, ' ') && imap_get_sp(l, e) == 0);
		return imap_get_char(l, ')', e);
	}
	if (imap_get_list_mailbox(l, &one, e) < 0)
		return -1;
	*empty = one.n == 0;
	r->patterns = ARENA_ARRAY(c->arena, struct imap_pattern, 1);
	return add_pattern(c, r, ref, one, e);
}

static int get_list(struct client *c, struct imap_lex *l, struct list_run *r, bool *empty, struct err *e)
{
	struct str ref;

	if (imap_get_sp(l, e) < 0)
		return -1;
	if (imap_at(l, '(')) {
		r->extended = true;
		if (get_options(l, selections, &r->select, NULL, e) < 0 || imap_get_sp(l, e) < 0)
			return -1;
		if ((r->select & SEL_RECURSIVE) && !(r->select & (SEL_SUBSCRIBED | SEL_SPECIAL)))
			return err_set(e, ERR_INPUT, 0, "RECURSIVEMATCH needs another selection");
	}
	if (imap_get_mailbox(l, &ref, e) < 0 || imap_get_sp(l, e) < 0 || get_patterns(c, l, r, ref, empty, e) < 0)
		return -1;
	if (imap_at(l, ' ')) {
		r->extended = true;
		if (imap_get_sp(l, e) < 0 || !imap_try_word(l, "RETURN") || imap_get_sp(l, e) < 0 ||
		    get_options(l, returns, &r->ret, &r->status, e) < 0)
			return err_set(e, ERR_INPUT, 0, "invalid LIST arguments");
	}
	return imap_get_end(l, e);
}

/* --- answers --- */

static bool matches(const struct list_run *r, struct str name)
{
	for (size_t i = 0; i < r->n_patterns; i++) {
		if (imap_pattern_match(&r->patterns[i], name))
			return true;
	}
	return false;
}

static bool is_below(struct str name, struct str parent)
{
	return name.n > parent.n + 1 && str_starts(name, parent) && name.p[parent.n] == '/';
}

/* Patterns are in the form that clients use: match against that. */
static struct str wire_name(struct client *c, struct str utf8)
{
	struct buf b;

	if (c->enabled & EN_UTF8)
		return utf8;
	buf_init(&b, 8 * IMAP_MAILBOX_MAX);
	imap_utf7_encode(utf8, &b);
	const struct str s = arena_str(c->arena, buf_view(&b));

	buf_fini(&b);
	return s;
}

static bool selected(const struct list_run *r, const struct store_folder *f)
{
	return (!(r->select & SEL_SUBSCRIBED) || f->subscribed) && (!(r->select & SEL_SPECIAL) || f->special_use.n);
}

/* RFC 5258 section 3: does a folder below f, which itself is not listed by the patterns, satisfy the selection? */
static const struct store_folder *selected_below(struct client *c, const struct list_run *r, const struct store_folder *f)
{
	for (const struct store_folder *g = f->next; g; g = g->next) {
		if (is_below(g->name, f->name) && selected(r, g) && !matches(r, wire_name(c, g->name)))
			return g;
	}
	return NULL;
}

static void attribute(struct buf *out, const char **sep, const char *name)
{
	buf_c(out, *sep);
	buf_c(out, name);
	*sep = " ";
}

/* XLIST knows other names (Gmail): as far as they exist. */
static void put_special(struct buf *out, const struct list_run *r, const struct store_folder *f, const char **sep)
{
	static const struct {
		const char *use, *xlist;
	} table[] = { { "\\Junk", "\\Spam" }, { "\\All", "\\AllMail" }, { "\\Archive", NULL } };
	char name[64];

	if (str_eq(str_c(r->verb), STR("XLIST"))) {
		if (str_eq(f->name, STR("INBOX")))
			attribute(out, sep, "\\Inbox");
		for (size_t i = 0; i < ARRAY_LEN(table); i++) {
			if (str_case_eq(f->special_use, str_c(table[i].use))) {
				if (table[i].xlist)
					attribute(out, sep, table[i].xlist);
				return;
			}
		}
	}
	if (f->special_use.n == 0)
		return;
	snprintf(name, sizeof(name), "%.*s", STR_ARG(f->special_use));
	attribute(out, sep, name);
}

static void put_folder(struct client *c, const struct list_run *r, const struct store_folder *f, bool child_only)
{
	struct buf *out = resp(c);
	const char *sep = "";

	buf_printf(out, "* %s (", r->verb);
	if (!f->exists)		/* a parent of others: not selectable; RFC 5258 has a word that says more */
		attribute(out, &sep, r->extended ? "\\NonExistent" : "\\Noselect");
	attribute(out, &sep, f->children ? "\\HasChildren" : "\\HasNoChildren");
	if (f->subscribed && (r->ret & RET_SUBSCRIBED || r->select & SEL_SUBSCRIBED))
		attribute(out, &sep, "\\Subscribed");
	put_special(out, r, f, &sep);
	buf_c(out, ") \"/\" ");
	client_put_mailbox(c, out, f->name);
	if (child_only)
		buf_printf(out, " (\"CHILDINFO\" (\"%s\"))", r->select & SEL_SUBSCRIBED ? "SUBSCRIBED" : "SPECIAL-USE");
	buf_c(out, "\r\n");
}

/* What RETURN asks for in responses of its own. False: the folder is not open yet. */
static bool put_more(struct client *c, struct list_run *r, const struct store_folder *f)
{
	struct err quiet = { 0 };
	uint32_t rights = 0;

	if (r->in_shared) {
		buf_str(resp(c), listing_said(f));
		return true;
	}
	if (!f->exists || rights_in(c, f->name, &rights, &quiet) < 0)
		return true;
	const bool status = (r->ret & RET_STATUS) && (rights & ACL_R);

	if (status && opening_step(c, f->name, &r->opening, &quiet) > 0)
		return false;
	if (r->ret & RET_MYRIGHTS)
		myrights_put(c, f->name, rights);
	if (status)
		(void)!status_put(c, f->name, r->status, &quiet);
	mbox_close(&r->opening);
	return true;
}

/* True: it is in the answer. */
static bool one_folder(struct client *c, const struct list_run *r, const struct store_folder *f)
{
	/* What is only in the list of subscriptions is shown only to who asks for that. */
	const bool listed = (f->exists || f->children || (r->select & SEL_SUBSCRIBED)) && matches(r, wire_name(c, f->name));
	const bool by_child = listed && (r->select & SEL_RECURSIVE) && selected_below(c, r, f);
	/* A name that only has children is listed by the plain form and as somebody's parent; subscribed ones stay subscribed. */
	const bool told = listed && (selected(r, f) || by_child);

	if (told)
		put_folder(c, r, f, by_child);
	return told;
}

static enum cmd_result list_step(struct client *c, struct err *e)
{
	struct list_run *r = c->run.data;

	(void)e;
	/* For what is told of its messages a folder is opened. */
	const unsigned cost = r->ret & RET_STATUS ? LIST_PIECE : 1;

	for (unsigned n = 0; n < LIST_PIECE && r->next; n += cost, r->next = r->next->next) {
		r->in_shared |= r->shared && r->next == r->shared;
		const struct arena_mark mark = arena_mark(c->arena);
		r->put = r->put || one_folder(c, r, r->next);
		const bool done = !r->put || put_more(c, r, r->next);
		arena_release(c->arena, mark);
		if (!done)
			return CMD_MORE;
		r->put = false;
	}
	return r->next ? CMD_MORE : CMD_OK;
}

static void cleanup(struct client *c)
{
	struct list_run *r = c->run.data;

	mbox_close(&r->opening);
}

/* What others share is known: on with it. */
static void with_shared(struct client *c, struct listing *others)
{
	struct list_run *r = c->run.data;

	r->shared = listing_merge(c, others, &r->next);
	c->run.step = list_step;
	command_step(c);
}

static enum cmd_result start(struct client *c, struct list_run *r, struct err *e)
{
	struct store_folder *list;

	if (store_list(c->user->store, c->arena, &list, e) < 0 || guest_list(c, &list, e) < 0)
		return store_no(c, e, false);
	r->next = list;
	c->run.data = r;
	c->run.cleanup = cleanup;
	if (r->others && listing_start(c, r->ret & RET_STATUS ? r->status : 0, r->ret & RET_MYRIGHTS, with_shared))
		return CMD_AWAY;
	c->run.step = list_step;
	return CMD_MORE;
}

enum cmd_result cmd_LIST(struct client *c, struct imap_lex *l, struct err *e)
{
	struct list_run *r = ARENA_NEW(c->arena, struct list_run);
	bool empty;

	r->verb = "LIST";
	if (get_list(c, l, r, &empty, e) < 0)
		return CMD_BAD;
	if (empty && !r->extended) {	/* the question for the separator and the root of the reference */
		resp_untagged(c, "LIST (\\Noselect) \"/\" \"\"");
		return CMD_OK;
	}
	return start(c, r, e);
}

static enum cmd_result plain(struct client *c, struct imap_lex *l, const char *verb, struct err *e)
{
	struct list_run *r = ARENA_NEW(c->arena, struct list_run);
	struct str ref, one;

	r->verb = verb;
	r->patterns = ARENA_ARRAY(c->arena, struct imap_pattern, 1);
	if (imap_get_sp(l, e) < 0 || imap_get_mailbox(l, &ref, e) < 0 || imap_get_sp(l, e) < 0 || imap_get_list_mailbox(l, &one, e) < 0 ||
	    imap_get_end(l, e) < 0 || add_pattern(c, r, ref, one, e) < 0)
		return CMD_BAD;
	if (one.n == 0) {
		resp_untagged(c, "%s (\\Noselect) \"/\" \"\"", verb);
		return CMD_OK;
	}
	c->run.data = r;
	return CMD_MORE;
}

enum cmd_result cmd_XLIST(struct client *c, struct imap_lex *l, struct err *e)
{
	const enum cmd_result r = plain(c, l, "XLIST", e);

	return r == CMD_MORE ? start(c, c->run.data, e) : r;
}

/* --- LSUB --- */

/* "When % is used, a name whose subscribed children do not match is answered as \Noselect" (RFC 3501 6.3.9). */
static void lsub_parents(struct client *c, const struct list_run *r, const struct store_folder *f, struct str *last)
{
	for (size_t i = f->name.n; i > 0; i--) {
		const struct str parent = str_sub(f->name, 0, i - 1);
		struct buf *out;

		if (f->name.p[i - 1] != '/' || !matches(r, wire_name(c, parent)))
			continue;
		if (str_eq(*last, parent))
			return;
		*last = parent;
		out = resp(c);
		buf_c(out, "* LSUB (\\Noselect) \"/\" ");
		client_put_mailbox(c, out, parent);
		buf_c(out, "\r\n");
		return;
	}
}

enum cmd_result cmd_LSUB(struct client *c, struct imap_lex *l, struct err *e)
{
	const enum cmd_result r = plain(c, l, "LSUB", e);
	struct list_run *run = c->run.data;
	struct store_folder *list;
	struct str last = { 0 };

	if (r != CMD_MORE)
		return r;
	if (store_list(c->user->store, c->arena, &list, e) < 0)
		return store_no(c, e, false);
	for (const struct store_folder *f = list; f; f = f->next) {
		if (!f->subscribed)
			continue;
		if (matches(run, wire_name(c, f->name))) {
			last = f->name;
			struct buf *out = resp(c);

			buf_c(out, "* LSUB () \"/\" ");
			client_put_mailbox(c, out, f->name);
			buf_c(out, "\r\n");
		} else {
			lsub_parents(c, run, f, &last);
		}
	}
	return CMD_OK;
}
