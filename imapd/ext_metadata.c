/* METADATA (RFC 5464): annotations of mailboxes and, with the empty name, of the account. /private and /shared are kept; both are the user's own here. */
#include "imap/out.h"
#include "opening.h"

enum { ENTRIES_MAX = 1000 };

struct options {
	uint64_t maxsize;	/* of a value that is sent */
	int depth;		/* 0, 1, or -1: infinity */
};

static int get_option(struct imap_lex *l, struct options *o, struct err *e)
{
	if (imap_try_word(l, "MAXSIZE"))
		return imap_get_sp(l, e) < 0 || imap_get_number(l, 0, INT64_MAX, &o->maxsize, e) < 0 ? -1 : 0;
	if (!imap_try_word(l, "DEPTH") || imap_get_sp(l, e) < 0)
		return err_set(e, ERR_INPUT, 0, "unknown GETMETADATA option");
	if (imap_try_word(l, "infinity"))
		o->depth = -1;
	else if (imap_try_word(l, "1"))
		o->depth = 1;
	else if (!imap_try_word(l, "0"))
		return err_set(e, ERR_INPUT, 0, "invalid DEPTH");
	return 0;
}

static int get_options(struct imap_lex *l, struct options *o, struct err *e)
{
	if (!imap_try(l, '('))
		return 0;
	do {
		while (imap_try(l, ' '))
			;
		if (get_option(l, o, e) < 0)
			return -1;
	} while (imap_at(l, ' '));
	return imap_get_char(l, ')', e) < 0 || imap_get_sp(l, e) < 0 ? -1 : 0;
}

/* RFC 5464 section 3.2: "/private/…" or "/shared/…", no "//", no "*", "%", controls or 8-bit, no "/" at the end. */
static bool entry_ok(struct str name)
{
	if (!str_case_starts(name, STR("/private/")) && !str_case_starts(name, STR("/shared/")))
		return false;
	for (size_t i = 0; i < name.n; i++) {
		const char ch = name.p[i];

		if ((unsigned char)ch >= 0x80 || ch_ctl(ch) || ch == '*' || ch == '%' || (ch == '/' && (i + 1 == name.n || name.p[i + 1] == '/')))
			return false;
	}
	return name.n <= STORE_META_NAME_MAX;
}

/* What may be asked for: all of one kind as well, by its depth. */
static bool asked_ok(struct str name, int depth)
{
	return entry_ok(name) || (depth != 0 && (str_case_eq(name, STR("/private")) || str_case_eq(name, STR("/shared"))));
}

/* then gets the mailbox open, to open it again; the empty name means the account. *name: as notify_metadata wants it. */
static enum cmd_result open_mailbox(struct client *c, struct str wire, uint32_t need, struct str *name, opened_fn *then, void *ctx, struct err *e)
{
	enum cmd_result r;

	*name = STR("");
	if (!wire.n && c->guest)
		return no_perm(c);
	if (wire.n && (r = name_take(c, wire, name, e)) != CMD_OK)
		return r;
	if (wire.n && (r = may(c, *name, need, false, e)) != CMD_OK)
		return r;
	return opening(c, wire.n ? *name : STR("INBOX"), false, then, ctx, e);
}

/* --- GETMETADATA --- */

/* Those are the owner's; a guest has none here. */
static bool is_private(struct str name)
{
	return str_case_starts(name, STR("/private/"));
}

/* Is have the entry asked for, or below it within depth? */
static bool wanted(struct str have, struct str asked, int depth)
{
	int levels = 0;

	if (str_case_eq(have, asked))
		return true;
	if (depth == 0 || have.n <= asked.n || !str_case_starts(have, asked) || have.p[asked.n] != '/')
		return false;
	for (size_t i = asked.n; i < have.n; i++)
		levels += have.p[i] == '/';
	return depth < 0 || levels <= depth;
}

/* --- a mailbox's special use (RFC 6154 section 4): the tree's knowledge, which CREATE and LIST speak of as well --- */

static bool is_use(struct str name)
{
	return str_case_eq(name, STR("/private/specialuse"));
}

static struct mbox_meta *without_use(struct client *c, const struct mbox_meta *list)
{
	struct mbox_meta *out = NULL, **tail = &out;

	for (; list; list = list->next) {
		if (is_use(list->name))
			continue;
		*tail = ARENA_NEW(c->arena, struct mbox_meta);
		**tail = (struct mbox_meta){ .name = list->name, .value = list->value };
		tail = &(*tail)->next;
	}
	return out;
}

/* In place of what the folder's annotations may say of it, from before it was understood. */
static int use_put(struct client *c, struct str folder, struct mbox_meta **list, struct err *e)
{
	struct mbox_meta *const mine = ARENA_NEW(c->arena, struct mbox_meta);

	*list = without_use(c, *list);
	*mine = (struct mbox_meta){ .name = STR("/private/specialuse"), .next = *list };
	if (store_special_get(c->user->store, folder, c->arena, &mine->value, e) < 0)
		return -1;
	if (mine->value.n)
		*list = mine;
	return 0;
}

struct getting {
	struct client *c;
	struct options o;
	const struct mbox_meta *list;
	struct str mailbox;		/* empty: the account */
	struct str *asked;
	size_t n_asked;
	bool *told;		/* of list: each once, however often it is asked for: names may hold each other */
	bool open;		/* "* METADATA x (" was written */
	uint64_t longest;	/* of what was left out */
};

static void put(struct getting *g, struct str name, struct str value)
{
	struct buf *out = resp(g->c);

	if (!g->open) {
		buf_c(out, "* METADATA ");
		client_put_mailbox(g->c, out, g->mailbox);
		buf_c(out, " (");
	} else {
		buf_ch(out, ' ');
	}
	g->open = true;
	imap_put_astring(out, name);
	buf_ch(out, ' ');
	imap_put_nstring(out, value);
}

static void get_one(struct getting *g, struct str asked)
{
	bool found = false;
	size_t i = 0;

	for (const struct mbox_meta *m = g->list; m; m = m->next, i++) {
		if (!wanted(m->name, asked, g->o.depth) || (g->c->guest && is_private(m->name)))
			continue;
		found |= str_case_eq(m->name, asked);
		if (g->told[i])
			continue;
		g->told[i] = true;
		if (m->value.n <= g->o.maxsize)
			put(g, m->name, m->value);
		else if (m->value.n > g->longest)
			g->longest = m->value.n;
	}
	if (!found && g->o.depth == 0)	/* what is not set is NIL (section 4.2) */
		put(g, asked, (struct str){ 0 });
}

static enum cmd_result answer(struct client *c, struct getting *g, struct err *e)
{
	if (!(g->told = ARENA_ARRAY(c->arena, bool, STORE_META_ENTRIES_MAX + 1)))
		return err_set(e, ERR_LIMIT, 0, "command needs too much memory"), CMD_NO;
	for (size_t i = 0; i < g->n_asked; i++)
		get_one(g, g->asked[i]);
	if (g->open)
		buf_c(resp(c), ")\r\n");
	if (!g->longest)
		return CMD_OK;
	return command_answer(c, "OK", arena_printf(c->arena, "METADATA LONGENTRIES %llu", (unsigned long long)g->longest), "Some values are longer.");
}

static int get_entries(struct imap_lex *l, struct str **v, size_t *n, struct err *e)
{
	if (imap_at(l, '('))
		return imap_get_astring_list(l, false, v, n, e);
	*v = ARENA_ARRAY(l->arena, struct str, 1);
	*n = 1;
	return *v ? imap_get_astring(l, *v, e) : err_set(e, ERR_LIMIT, 0, "command needs too much memory");
}

/* A list at the cursor is of options: no entry begins with a letter. */
static bool at_options(const struct imap_lex *l)
{
	return l->end - l->p > 1 && l->p[0] == '(' && ch_alpha(l->p[1]);
}

/* The grammar of RFC 5464 has the options before the mailbox, its examples have them behind it: clients do either. */
static int get_args(struct imap_lex *l, struct options *o, struct str *wire, struct str **v, size_t *n, struct err *e)
{
	*o = (struct options){ .maxsize = UINT64_MAX };
	if (imap_get_sp(l, e) < 0)
		return -1;
	const bool before = imap_at(l, '(');

	if (get_options(l, o, e) < 0 || imap_get_mailbox(l, wire, e) < 0 || imap_get_sp(l, e) < 0 || (!before && at_options(l) && get_options(l, o, e) < 0) ||
	    get_entries(l, v, n, e) < 0 || imap_get_end(l, e) < 0)
		return -1;
	if (*n > ENTRIES_MAX)
		return err_set(e, ERR_LIMIT, 0, "too many entries");
	for (size_t i = 0; i < *n; i++) {
		if (!asked_ok((*v)[i], o->depth))
			return err_set(e, ERR_INPUT, 0, "invalid entry name");
	}
	return 0;
}

/* Of a mailbox of the client's own. */
static bool asks_use(const struct getting *g)
{
	bool asks = false;

	for (size_t i = 0; i < g->n_asked; i++)
		asks |= wanted(STR("/private/specialuse"), g->asked[i], g->o.depth);
	return asks && g->mailbox.n && !g->c->guest;
}

static enum cmd_result get(struct client *c, struct str name, void *ctx, struct err *e)
{
	struct getting *g = ctx;
	struct mbox_meta *list;
	struct mbox *m;

	if (mbox_open(c->user->store, name, &m, e) < 0)
		return store_no(c, e, false);
	const int r = mbox_meta_get(m, g->mailbox.n == 0, c->arena, &list, e);

	mbox_close(&m);
	if (r < 0 || (asks_use(g) && use_put(c, name, &list, e) < 0))
		return store_no(c, e, false);
	g->list = list;
	return answer(c, g, e);
}

enum cmd_result cmd_GETMETADATA(struct client *c, struct imap_lex *l, struct err *e)
{
	struct getting *g = ARENA_NEW(c->arena, struct getting);
	struct str wire;

	g->c = c;
	if (get_args(l, &g->o, &wire, &g->asked, &g->n_asked, e) < 0)
		return CMD_BAD;
	return open_mailbox(c, wire, ACL_R, &g->mailbox, get, g, e);
}

/* --- SETMETADATA --- */

static enum cmd_result get_change(struct client *c, struct imap_lex *l, struct mbox_meta **tail, struct err *e)
{
	struct mbox_meta *m = ARENA_NEW(c->arena, struct mbox_meta);

	if (imap_get_astring(l, &m->name, e) < 0 || imap_get_sp(l, e) < 0 || imap_get_nstring(l, &m->value, e) < 0)
		return CMD_BAD;
	if (!entry_ok(m->name))
		return err_set(e, ERR_INPUT, 0, "invalid entry name"), CMD_BAD;
	*tail = m;
	if (m->value.n > STORE_META_VALUE_MAX)
		return command_answer(c, "NO", arena_printf(c->arena, "METADATA MAXSIZE %d", STORE_META_VALUE_MAX), "The value is too long.");
	return CMD_OK;
}

static enum cmd_result get_changes(struct client *c, struct imap_lex *l, struct mbox_meta **list, struct err *e)
{
	enum cmd_result r = CMD_OK;
	unsigned n = 0;

	if (imap_get_char(l, '(', e) < 0)
		return CMD_BAD;
	do {
		while (imap_try(l, ' '))
			;
		if (n++ == ENTRIES_MAX)
			return err_set(e, ERR_LIMIT, 0, "too many entries"), CMD_BAD;
		const enum cmd_result one = get_change(c, l, list, e);

		if (one == CMD_BAD)
			return CMD_BAD;
		list = &(*list)->next;
		r = r == CMD_OK ? one : r;
	} while (imap_at(l, ' '));
	if (imap_get_char(l, ')', e) < 0 || imap_get_end(l, e) < 0)
		return CMD_BAD;
	return r;
}

struct setting {
	struct str mailbox;		/* empty: the account */
	struct mbox_meta *changes;
	bool private_too;		/* a guest sets private ones, which are not kept */
	struct mbox_meta *use;		/* the last change of the special use; NULL: none */
};

/* Only what CREATE takes is taken: "the server MUST check the validity" (RFC 6154 section 4). */
static bool use_ok(struct setting *s, struct str name)
{
	for (struct mbox_meta *x = s->changes; x && s->mailbox.n; x = x->next) {
		if (!is_use(x->name))
			continue;
		if (x->value.p && (str_eq(name, STR("INBOX")) || !special_use_known(&x->value)))
			return false;
		s->use = x;
	}
	return true;
}

static enum cmd_result set(struct client *c, struct str name, void *ctx, struct err *e)
{
	struct setting *s = ctx;
	struct mbox *m;

	if (s->private_too)
		return command_answer(c, "NO", "METADATA NOPRIVATE", "Private annotations of others' folders are not kept.");
	if (!use_ok(s, name))
		return command_answer(c, "NO", "USEATTR", "Not a special use of this server, or more than one.");
	if (mbox_open(c->user->store, name, &m, e) < 0)
		return store_no(c, e, false);
	const int r = mbox_meta_set(m, s->mailbox.n == 0, c->arena, s->use ? without_use(c, s->changes) : s->changes, e);

	mbox_close(&m);
	if (r < 0)
		return e->code == ERR_LIMIT ? command_answer(c, "NO", "METADATA TOOMANY", "Too many annotations.") : store_no(c, e, false);
	if (s->use && store_special_set(c->user->store, name, s->use->value, e) < 0)
		return store_no(c, e, false);
	notify_metadata(c, s->mailbox, s->changes);
	return CMD_OK;
}

enum cmd_result cmd_SETMETADATA(struct client *c, struct imap_lex *l, struct err *e)
{
	struct setting *s = ARENA_NEW(c->arena, struct setting);
	struct str wire;
	enum cmd_result r;

	if (imap_get_sp(l, e) < 0 || imap_get_mailbox(l, &wire, e) < 0 || imap_get_sp(l, e) < 0)
		return CMD_BAD;
	if ((r = get_changes(c, l, &s->changes, e)) != CMD_OK)
		return r;
	for (const struct mbox_meta *x = s->changes; x && wire.n && c->guest; x = x->next)
		s->private_too |= is_private(x->name);
	return open_mailbox(c, wire, ACL_R | ACL_W, &s->mailbox, set, s, e);
}
