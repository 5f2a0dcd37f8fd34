/* Commands about folders of others: they go to the owner's process as they came, tag and all, and so do the answers (relayed.def says which may). One command at
 * a time, as the client's own: while it is away no further one is read. Literals stream through. What is not in relay.def is served here. */
#include "relay.h"

#include <stdlib.h>

#include "link.h"
#include "listing.h"
#include "others.h"
#include "spaces.h"

enum where { NAME_NONE, NAME_FIRST, NAME_TWO, NAME_META, NAME_COPY };
enum selection { SEL_STAYS, SEL_OPENS, SEL_CLOSES };

static const struct row {
	const char *verb;
	enum where where;
	enum selection selection;
} rows[] = {
#define RELAY(verb, where, selection) { #verb, where, selection },
#include "relay.def"
#undef RELAY
};

struct relay {
	struct client *c;
	struct link *l;
	enum selection selection;
	char *name;		/* of SEL_OPENS, as the client spells it; owned */
	bool idle;		/* "+ idling" has come: the client's next line goes there */
	bool complete;		/* all of the command has been sent */
	bool plus;		/* a literal waits for the owner's process to ask for it */
	uint64_t left;		/* of the literal that streams */
};

static const struct row *row_of(const struct command *cmd)
{
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		if (str_eq(str_c(cmd->verb), str_c(rows[i].verb)))
			return &rows[i];
	}
	return NULL;
}

/* --- whose? --- */

struct target {
	int what;		/* as space_owner(): 0 own, 1 another's, 2 nobody's */
	struct str owner;
};

/* The mailbox at the cursor. -1: there is none that could be read (its handler says so). */
static int get_target(struct client *c, struct imap_lex *l, struct target *t)
{
	const struct run kept = c->run;
	struct str wire, name;
	struct err e = { 0 };

	if (imap_get_sp(l, &e) < 0 || imap_get_mailbox(l, &wire, &e) < 0)
		return -1;
	const bool ok = name_take(c, wire, &name, &e) == CMD_OK;

	c->run = kept;
	if (!ok)
		return -1;
	t->what = space_owner(c, name, &t->owner);
	return 0;
}

/* "(" … ")" of GETMETADATA, which holds no strings. */
static void skip_options(struct imap_lex *l)
{
	const char *end;

	while (imap_at(l, ' '))
		l->p++;
	if (imap_at(l, '(') && (end = memchr(l->p, ')', (size_t)(l->end - l->p))))
		l->p = end + 1;
	else
		l->p--;
}

static int get_targets(struct client *c, const struct row *row, struct imap_lex l, struct target t[2])
{
	struct imap_seqset set;
	struct err e = { 0 };

	t[0] = t[1] = (struct target){ 0 };
	if (row->where == NAME_META)
		skip_options(&l);
	if (row->where == NAME_COPY && (imap_get_sp(&l, &e) < 0 || imap_get_seqset(&l, &set, &e) < 0))
		return -1;
	if (get_target(c, &l, &t[0]) < 0)
		return -1;
	return row->where == NAME_TWO ? get_target(c, &l, &t[1]) : 0;
}

static void remote_set(struct client *c, struct link *l, const char *name)
{
	free(c->remote_name);
	c->remote_name = name ? xstrdup(name) : NULL;
	c->remote = l;
}

/* --- the answer --- */

static void drop(struct client *c)
{
	if (c->relay)
		free(c->relay->name);
	free(c->relay);
	c->relay = NULL;
	c->selecting = NULL;
}

static void finish(struct client *c, const char *status, const char *code, const char *text)
{
	struct err e = { 0 };

	drop(c);
	command_finish(c, command_answer(c, status, code, text), &e);
	if (!c->over)
		client_continue(c);
}

static void on_plus(void *ctx, struct link *l, struct str line)
{
	struct relay *r = ctx;
	struct client *c = r->c;

	if (r->plus) {
		r->plus = false;
		r->left = c->scan.lit_size;
		imap_scan_stream(&c->scan);
	} else if (str_eq(str_c(c->run.cmd->verb), STR("IDLE")) && !r->idle) {
		r->idle = c->idling = true;
		buf_fini(&c->text);
		imap_scan_init(&c->scan, IDLE_LINE_MAX);
	} else {
		return;		/* for a literal that is there already */
	}
	buf_str(resp(c), line);
	resp_flush(c);
	client_continue(c);
}

static void selection_settle(struct relay *r, bool ok)
{
	struct client *c = r->c;

	if (r->selection == SEL_OPENS)
		remote_set(c, ok ? r->l : NULL, ok ? r->name : NULL);
	else if (r->selection == SEL_CLOSES && ok)
		remote_set(c, NULL, NULL);
}

static void on_tagged(void *ctx, struct link *l, struct str rest)
{
	struct relay *r = ctx;
	struct client *c = r->c;
	struct buf *out;

	if (!r->complete && !r->plus) {		/* refused before its end: what still comes of it is read over */
		const uint64_t left = r->left;

		drop(c);
		append_swallow(c, left, "NO", "", "The shared folder does not take it.");
		client_continue(c);
		return;
	}
	selection_settle(r, str_case_starts(rest, STR("OK")));
	idle_stop(c);
	drop(c);
	notify_flush(c);
	out = resp(c);
	buf_str(out, c->run.tag);
	buf_ch(out, ' ');
	buf_str(out, rest);
	buf_c(out, "\r\n");
	resp_flush(c);
	command_drop(c);
	links_wake(c);
	client_continue(c);
}

static void on_lost(void *ctx, struct link *l, enum err_code code)
{
	struct relay *r = ctx;
	struct client *c = r->c;
	const bool create = str_eq(str_c(c->run.cmd->verb), STR("APPEND")) || str_eq(str_c(c->run.cmd->verb), STR("COPY")) ||
			    str_eq(str_c(c->run.cmd->verb), STR("MOVE"));

	const char *const why = code != ERR_NOENT ? "UNAVAILABLE" : create ? "TRYCREATE" : "NONEXISTENT";
	const char *const text = code != ERR_NOENT ? "The shared folder cannot be reached now." : "No such mailbox.";
	const uint64_t left = r->left;

	if (r->complete || r->plus) {
		idle_stop(c);
		finish(c, "NO", why, text);
		return;
	}
	drop(c);
	append_swallow(c, left, "NO", why, text);
	client_continue(c);
}

static void on_drained(void *ctx, struct link *l)
{
	struct relay *r = ctx;

	client_continue(r->c);
}

static const struct link_user pass = { .pass = true, .plus = on_plus, .tagged = on_tagged, .lost = on_lost, .drained = on_drained };

/* --- going there --- */

void remote_unselect(struct client *c)
{
	struct link *l = c->remote;

	remote_set(c, NULL, NULL);
	if (l && !link_command(l, "UNSELECT", &link_ignore, NULL))
		link_end(l);
}

/* What was selected elsewhere is left before another mailbox is opened (RFC 7162 3.2.11, RFC 9051 6.3.2). */
static void leave(struct client *c, const struct link *l)
{
	if (c->remote == l)	/* its process does so itself */
		return;
	if (c->folder || c->remote)
		resp_untagged(c, "OK [CLOSED] Previous mailbox is closed.");
	folder_unselect(c);
	remote_unselect(c);
}

/* NULL: too much is unanswered there. */
static struct relay *send(struct client *c, struct link *l, enum selection selection)
{
	struct relay *r;

	if (selection == SEL_OPENS && !notify_abroad(c, l))
		return NULL;
	r = xzalloc(sizeof(*r));
	*r = (struct relay){ .c = c, .l = l, .selection = selection, .complete = true };
	if (!link_ask(l, c->run.tag, &pass, r)) {
		free(r);
		return NULL;
	}
	c->relay = r;
	if (selection == SEL_OPENS) {
		leave(c, l);
		c->selecting = l;
	}
	link_write(l, buf_view(&c->text));
	return r;
}

enum cmd_result link_busy(struct client *c)
{
	return command_answer(c, "NO", "LIMIT", "The owner's folders are still busy with earlier commands.");
}

static bool no_link(struct client *c, enum cmd_result *r)
{
	*r = command_answer(c, "NO", "LIMIT", "Folders of too many others at once, or not to be reached now.");
	return true;
}

/* In which process' hands is the command? False: ours. NULL with true: *r has the answer. */
static bool route(struct client *c, const struct command *cmd, const struct row *row, const struct imap_lex *l, struct link **out, enum cmd_result *r,
		  struct err *e)
{
	struct target t[2];
	struct link *to;

	*out = NULL;
	if (row->where == NAME_NONE) {
		*out = c->remote;
		return c->remote;
	}
	if (get_targets(c, row, *l, t) < 0) {	/* whoever has the selected mailbox says what is wrong */
		*out = row->where == NAME_COPY ? c->remote : NULL;
		return *out;
	}
	if (t[0].what == 2 || t[1].what == 2 || (row->where == NAME_TWO && !str_eq(t[0].owner, t[1].owner))) {
		*r = t[0].what == 2 ? command_answer(c, "NO", "NONEXISTENT", "No such mailbox.") : no_cannot(c, "That would be another user's folder.");
		return true;
	}
	if (t[0].what == 0 && (row->where != NAME_COPY || !c->remote))
		return false;
	to = t[0].what ? link_get(c, t[0].owner) : NULL;
	if (t[0].what && !to)
		return no_link(c, r);
	*out = to;
	if (row->where != NAME_COPY || to == c->remote)
		return true;
	*out = NULL;
	if (cmd->fn == cmd_REPLACE)
		*r = no_cannot(c, "REPLACE works within the folders of one user.");
	else
		*r = transfer_start(c, c->remote, to, l, cmd->fn == cmd_MOVE, e);
	return true;
}

/* The mailbox's name at the cursor, with its quotes. */
static char *spelled(struct imap_lex l)
{
	struct str wire;
	struct err e = { 0 };

	if (imap_get_sp(&l, &e) < 0)
		return NULL;
	const char *start = l.p;

	return imap_get_mailbox(&l, &wire, &e) < 0 ? NULL : xstrndup(start, (size_t)(l.p - start));
}

bool relay_try(struct client *c, const struct command *cmd, const struct imap_lex *l, enum cmd_result *r, struct err *e)
{
	const struct row *row = c->guest ? NULL : row_of(cmd);
	struct link *to;

	if (!row)
		return false;
	if (row->where == NAME_COPY && !c->folder && !c->remote)
		return false;
	if (!route(c, cmd, row, l, &to, r, e)) {
		/* A mailbox of the client's own is opened. */
		if (row->selection == SEL_OPENS)
			leave(c, NULL);
		return false;
	}
	if (!to)
		return true;
	struct relay *away = send(c, to, row->selection);

	if (!away) {
		*r = link_busy(c);
		return true;
	}
	if (row->selection == SEL_OPENS)
		away->name = spelled(*l);
	*r = CMD_AWAY;
	return true;
}

/* --- literals --- */

static enum append_literal stream(struct client *c, struct relay *r)
{
	buf_fini(&c->text);
	r->complete = false;
	if (!c->scan.lit_nonsync) {
		r->plus = true;
		return APPEND_STREAM;
	}
	r->left = c->scan.lit_size;
	imap_scan_stream(&c->scan);
	return APPEND_STREAM;
}

bool relay_literal(struct client *c, const struct command *cmd, const struct imap_lex *l, enum append_literal *how)
{
	const struct row *row = c->guest ? NULL : row_of(cmd);
	enum cmd_result ignored;
	struct err e = { 0 };
	struct target t[2];
	struct relay *away;
	struct link *to;

	if (!row || get_targets(c, row, *l, t) < 0 || (t[0].what == 0 && !(cmd->fn == cmd_REPLACE && c->remote)))
		return false;
	c->run.cmd = cmd;
	if (!route(c, cmd, row, l, &to, &ignored, &e) || !to || !(away = send(c, to, SEL_STAYS))) {
		if (to)
			(void)link_busy(c);
		append_swallow(c, 0, c->run.status, c->run.code, c->run.text);
		*how = APPEND_REFUSED;
		return true;
	}
	*how = stream(c, away);
	return true;
}

enum append_literal relay_more(struct client *c)
{
	link_write(c->relay->l, buf_view(&c->text));
	return stream(c, c->relay);
}

bool relay_away(const struct client *c)
{
	const struct relay *r = c->relay;

	if (c->transfer || c->listing || c->others || notify_waits(c) || (c->passing && !c->relay))
		return true;
	return r && (r->plus || (r->complete && !r->idle));
}

bool relay_streaming(const struct client *c)
{
	return c->relay && c->relay->left;
}

bool relay_data(struct client *c)
{
	struct relay *r = c->relay;
	struct str in = client_input(c);

	if (in.n == 0 || link_full(r->l))
		return false;
	in = str_sub(in, 0, r->left < in.n ? (size_t)r->left : in.n);
	link_write(r->l, in);
	r->left -= in.n;
	client_consume(c, in.n);
	return true;
}

void relay_text(struct client *c)
{
	if (c->scan.error != IMAP_SCAN_OK) {
		client_end(c, "Malformed command", "The command cannot be read.");
		return;
	}
	link_write(c->relay->l, buf_view(&c->text));
	buf_fini(&c->text);
	c->relay->complete = true;
}

void relay_line(struct client *c, struct str line)
{
	const bool done = c->scan.error == IMAP_SCAN_OK && str_case_eq(line, STR("DONE"));
	struct relay *r = c->relay;

	r->idle = c->idling = false;
	link_write(r->l, done ? STR("DONE\r\n") : STR("?\r\n"));	/* what is wrong is answered there */
}

void relay_end(struct client *c)
{
	transfer_end(c);
	listing_end(c);
	others_end(c);
	drop(c);
	remote_set(c, NULL, NULL);
	links_end(c);
}
