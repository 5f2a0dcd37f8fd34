/* APPEND (RFC 3501 section 6.3.11) and REPLACE (RFC 8508), with several messages (RFC 3502), CATENATE (RFC 4469), binary literals (RFC 3516), UTF8 (RFC 6855)
 * and APPENDUID (RFC 4315). The message goes from the connection to the mailbox's tmp directory as it arrives: no message is ever held in memory, and nothing
 * is visible before the command is complete and durable.
 *
 * The command is read from literal to literal: each time what came since the last one is parsed (advance), up to the next announcement or the end. */
#include <stdlib.h>

#include "append.h"
#include "held.h"
#include "imap/seqset.h"
#include "opening.h"
#include "relay.h"

enum {
	APPEND_MESSAGES_MAX = 10000,	/* of one command */
	APPEND_PIECE = 256,		/* of their files that come into cur at once: 20 us each */
};

/* --- arguments of a message --- */

struct message_args {
	struct imap_flags flags;
	int64_t date;		/* 0: now */
};

/* [SP flag-list] [SP date-time] SP, up to the data. */
static int get_message_args(struct imap_lex *l, struct message_args *m, struct err *e)
{
	if (imap_get_sp(l, e) < 0)
		return -1;
	if (imap_at(l, '(') && (imap_get_flags(l, false, &m->flags, e) < 0 || imap_get_sp(l, e) < 0))
		return -1;
	if (imap_at(l, '"')) {
		if (imap_get_date_time(l, &m->date, e) < 0 || imap_get_sp(l, e) < 0)
			return -1;
		m->date = m->date ? m->date : 1;	/* 0 means now to the store */
	}
	return 0;
}

static enum advance fail(struct client *c, enum cmd_result r)
{
	struct append *a = c->append;

	if (!a->failed) {
		a->failed = true;
		a->result = r;
	}
	return ADV_FAILED;
}

static enum advance bad(struct client *c, const char *text)
{
	(void)err_set(&c->append->e, ERR_INPUT, 0, "%s", text);
	return fail(c, CMD_BAD);
}

static enum advance no(struct client *c, const char *code, const char *text)
{
	return fail(c, command_answer(c, "NO", code, text));
}

static enum advance message_begin(struct client *c, struct imap_lex *l)
{
	struct append *a = c->append;
	struct message_args m = { 0 };

	if (get_message_args(l, &m, &a->e) < 0)
		return fail(c, CMD_BAD);
	if (a->replace && a->n)
		return bad(c, "REPLACE takes one message");
	if (a->n >= APPEND_MESSAGES_MAX)
		return no(c, "LIMIT", "Too many messages in one APPEND.");
	const uint32_t bits = flags_of(&m.flags) & flags_allowed(a->rights);

	if (!(a->rights & ACL_W))	/* RFC 4314 section 4: left out, not refused */
		m.flags.n = 0;

	if (!a->to && mbox_append_begin(a->mbox, &a->to, &a->e) < 0)
		return fail(c, CMD_NO);
	mbox_append_reader(a->to, client_reader(c));
	if (a->replace)
		mbox_append_instead(a->to, a->gone);
	if (mbox_append_message(a->to, bits, m.flags.keywords, m.flags.n, m.date, &a->e) < 0)
		return fail(c, CMD_NO);
	a->n++;
	a->keywords |= m.flags.n > 0;
	a->size = 0;
	return ADV_ON;
}

/* --- its data --- */

/* size bytes more for the message in progress. */
static enum advance room_for(struct client *c, uint64_t size)
{
	struct append *a = c->append;
	struct err e = { 0 };

	if (size > c->user->conf->message_size_limit || a->size > c->user->conf->message_size_limit - size)
		return no(c, "TOOBIG", "Message is larger than this server takes.");
	a->size += size;
	a->all += size;
	if (a->replace ? store_quota_instead(c->user->store, a->all, a->gone_crlf, &e) < 0 : store_quota_check(c->user->store, a->all, a->n, &e) < 0)
		return fail(c, store_no(c, &e, false));
	return ADV_ON;
}

/* The announcement at the text's end: the literal is the message, or a part of it. */
static enum advance literal(struct client *c, struct imap_lex *l)
{
	struct append *a = c->append;

	a->literal8 = imap_try(l, '~');
	if (!imap_at(l, '{') || memchr(l->p, '\n', (size_t)(l->end - l->p)) != l->end - 1)
		return bad(c, "invalid APPEND arguments");
	if (c->scan.lit_size == 0 && a->where != IN_CATENATE)
		return no(c, "", "Cannot append an empty message.");
	if (room_for(c, c->scan.lit_size) != ADV_ON)
		return ADV_FAILED;
	if (a->literal8 && a->where == IN_COMMAND && binary_begin(a, &a->e) < 0)
		return fail(c, CMD_NO);
	a->left = c->scan.lit_size;
	return ADV_LITERAL;
}

static enum advance url(struct client *c, struct imap_lex *l)
{
	struct append *a = c->append;
	struct str text;

	if (imap_get_sp(l, &a->e) < 0 || imap_get_astring(l, &text, &a->e) < 0)
		return fail(c, CMD_BAD);
	return append_url(c, text, room_for);
}

/* cat-part: "TEXT" SP literal / "URL" SP url; or the end of the list. */
static enum advance catenate(struct client *c, struct imap_lex *l)
{
	struct append *a = c->append;

	if (imap_try(l, ')')) {
		a->where = IN_COMMAND;
		return a->size ? ADV_ON : no(c, "", "Cannot append an empty message.");
	}
	if (a->where == IN_CATENATE && imap_get_sp(l, &a->e) < 0)
		return fail(c, CMD_BAD);
	a->where = IN_CATENATE;
	if (imap_try_word(l, "URL"))
		return url(c, l);
	if (!imap_try_word(l, "TEXT") || imap_get_sp(l, &a->e) < 0)
		return bad(c, "expected TEXT or URL");
	return literal(c, l);
}

/* append-data, after the message's arguments. */
static enum advance data(struct client *c, struct imap_lex *l)
{
	struct append *a = c->append;

	if (imap_try_word(l, "CATENATE")) {
		if (imap_get_sp(l, &a->e) < 0 || imap_get_char(l, '(', &a->e) < 0)
			return fail(c, CMD_BAD);
		a->where = IN_CATENATE_FIRST;
		return ADV_ON;
	}
	if (imap_try_word(l, "UTF8")) {
		if (!(c->enabled & EN_UTF8))
			return bad(c, "UTF8=ACCEPT is not enabled");
		if (imap_get_sp(l, &a->e) < 0 || imap_get_char(l, '(', &a->e) < 0 || !imap_at(l, '~'))
			return bad(c, "expected a binary literal");
		a->where = IN_UTF8;
	}
	return literal(c, l);
}

/* Parse on until a literal, the end, or an error. */
static enum advance advance(struct client *c, struct imap_lex *l)
{
	struct append *a = c->append;
	enum advance r = ADV_ON;

	while (r == ADV_ON) {
		if (a->where == IN_UTF8) {
			if (!imap_try(l, ')'))
				return bad(c, "expected ')'");
			a->where = IN_COMMAND;
		} else if (a->where != IN_COMMAND) {
			r = catenate(c, l);
		} else if (imap_at_end(l) && a->n) {
			return ADV_END;
		} else if ((r = message_begin(c, l)) == ADV_ON) {
			r = data(c, l);
		}
	}
	return r;
}

/* --- the command's beginning --- */

/* "set" SP: one message of the selected mailbox (RFC 8508 section 3.2). It goes when the new one is there, and as that is one command, only the difference counts
 * against a quota: who saves a draft again has no more mail than before. */
static enum advance get_replaced(struct client *c, struct imap_lex *l)
{
	struct append *a = c->append;
	struct imap_seqset set;
	struct mbox_msg m;
	struct err e = { 0 };

	if (!c->folder)
		return bad(c, "No mailbox selected");
	if (imap_get_sp(l, &a->e) < 0 || imap_get_seqset(l, &set, &a->e) < 0 || set_resolve(c, &set, c->run.uid, &a->e) < 0)
		return fail(c, CMD_BAD);
	if (imap_seqset_count(&set) > 1)
		return bad(c, "REPLACE takes one message");
	if (c->readonly)
		return no(c, "READ-ONLY", "Mailbox is read-only.");
	if ((c->rights & (ACL_T | ACL_E)) != (ACL_T | ACL_E))
		return no(c, "NOPERM", "Permission denied.");
	if (set.n == 0 || mbox_view_is_expunged(c->view, set.v[0].lo))
		return no(c, "NONEXISTENT", "No such message.");
	a->replaced = set.v[0].lo;
	if (mbox_msg_get(c->view, a->replaced, &m, &e) < 0)
		return fail(c, store_no(c, &e, false));
	a->gone = m.size;
	a->gone_crlf = m.size_crlf;
	return ADV_ON;
}

/* Its mailbox is opened, or a piece of that is done. ADV_WAIT: more is left. */
static enum advance target(struct client *c)
{
	struct append *a = c->append;
	struct err e = { 0 };
	const int r = opening_target_step(c, a->name, &a->opening, &e);
	struct mbox *const m = a->opening;

	if (r > 0)
		return ADV_WAIT;
	a->opening = NULL;
	if (r < 0 || folder_target_opened(c->user, a->name, m, &a->mbox, &e) < 0)
		return fail(c, store_no(c, &e, true));
	return ADV_ON;
}

/* Mailbox, after the verb and what REPLACE has before it. name_ok false: its literal is still to come. */
static enum advance begin(struct client *c, struct imap_lex *l, const struct command *cmd, bool *name_ok)
{
	struct str wire;
	struct err e = { 0 };
	struct append *a;
	enum cmd_result r;

	c->append = a = xzalloc(sizeof(*a));
	c->run.cmd = cmd;
	a->replace = cmd->fn == cmd_REPLACE;
	*name_ok = true;
	if (a->replace && get_replaced(c, l) != ADV_ON)
		return ADV_FAILED;
	if (imap_get_sp(l, &a->e) < 0 || imap_get_mailbox(l, &wire, &a->e) < 0) {
		*name_ok = false;
		return fail(c, CMD_BAD);
	}
	if ((r = name_take(c, wire, &a->name, &a->e)) != CMD_OK)
		return fail(c, r);
	if ((r = may(c, a->name, ACL_I, true, &a->e)) != CMD_OK)
		return fail(c, r);
	if (rights_in(c, a->name, &a->rights, &e) < 0)
		return fail(c, store_no(c, &e, true));
	a->name = arena_str(c->arena, a->name);
	return target(c);
}

/* Tag and verb, when it is such a command. */
static const struct command *streamed(struct client *c, struct imap_lex *l)
{
	struct str tag, verb;

	if (imap_get_tag(l, &tag, NULL) < 0 || imap_get_verb(l, &verb, NULL) < 0)
		return NULL;
	const bool uid = str_case_eq(verb, STR("UID"));

	if (uid && imap_get_verb(l, &verb, NULL) < 0)
		return NULL;
	const struct command *cmd = command_find(verb);

	if (!cmd || !(cmd->flags & CF_STREAM) || (uid && !(cmd->flags & CF_UID)))
		return NULL;
	c->run.tag = arena_str(c->arena, tag);
	c->run.uid = uid;
	return cmd;
}

static enum append_literal settle(struct client *c, enum advance r)
{
	if (r != ADV_LITERAL)
		return APPEND_REFUSED;
	if (!c->scan.lit_nonsync) {
		held_commit(c);
		buf_c(resp(c), "+ OK\r\n");
		resp_flush(c);
	}
	imap_scan_stream(&c->scan);
	buf_fini(&c->text);
	return APPEND_STREAM;
}

/* Nothing of the client is read while its mailbox is being opened. Called as a step. */
static enum cmd_result open_step(struct client *c, struct err *e)
{
	(void)e;
	return target(c) == ADV_WAIT ? CMD_MORE : CMD_ASIDE;
}

static void wait_for_target(struct client *c, const struct imap_lex *l, enum cmd_result (*step)(struct client *c, struct err *e))
{
	c->append->waits = true;
	c->append->at = (size_t)(l->p - c->text.p);
	c->run.step = step;
}

/* The lexer where it was when the waiting began. */
static struct imap_lex resumed(struct client *c)
{
	c->append->waits = false;
	return (struct imap_lex){ .p = c->text.p + c->append->at, .end = c->text.p + c->text.n, .arena = c->arena };
}

bool append_waited(const struct client *c)
{
	return c->append && c->append->waits && !c->run.step;
}

/* The announcement that the text ends with. */
static enum append_literal announced(struct client *c, struct imap_lex *l, enum advance r)
{
	if (r == ADV_WAIT) {
		wait_for_target(c, l, open_step);
		command_step_later(c);
		return APPEND_OPENING;
	}
	if (r == ADV_ON)
		r = c->append->failed ? ADV_FAILED : advance(c, l);
	if (r == ADV_END)
		r = bad(c, "invalid APPEND arguments");
	return settle(c, r);
}

enum append_literal append_literal(struct client *c)
{
	struct imap_lex l = { .p = c->text.p, .end = c->text.p + c->text.n, .arena = c->arena };
	enum advance r = ADV_ON;
	bool name_ok;

	if (c->relay)
		return relay_more(c);
	if (c->append && c->append->waits) {
		l = resumed(c);
		return announced(c, &l, ADV_ON);
	}
	if (!c->append) {
		const struct command *cmd = streamed(c, &l);
		enum append_literal how;

		if (!cmd)
			return APPEND_INLINE;
		if (cmd->fn != cmd_APPEND)
			held_commit(c);
		if (relay_literal(c, cmd, &l, &how))
			return how;
		r = begin(c, &l, cmd, &name_ok);
		if (!name_ok) {		/* the literal may be the name */
			append_abort(c);
			c->run = (struct run){ 0 };
			return APPEND_INLINE;
		}
	}
	return announced(c, &l, r);
}

/* --- the message --- */

bool append_streaming(const struct client *c)
{
	return c->append && c->append->left;
}

static void store_data(struct client *c, struct str in)
{
	struct append *a = c->append;

	/* Of a part that CATENATE puts in (RFC 4469), and of UTF-8 text, nothing says how it may be encoded. */
	if (a->literal8 && !a->binary && memchr(in.p, 0, in.n))
		(void)no(c, "UNKNOWN-CTE", "Binary content cannot be stored without a transfer encoding.");
	else if ((a->binary ? binary_data(a, in, &a->e) : mbox_append_data(a->to, in, &a->e)) < 0)
		(void)fail(c, CMD_NO);
}

bool append_data(struct client *c)
{
	struct append *a = c->append;
	struct str in = client_input(c);

	if (in.n == 0)
		return false;
	if (in.n > a->left)
		in.n = (size_t)a->left;
	if (!a->failed)
		store_data(c, in);
	a->left -= in.n;
	client_consume(c, in.n);
	if (!a->failed && a->binary && !a->left && binary_end(c, room_for, &a->e) < 0)
		(void)fail(c, CMD_NO);
	return true;
}

void append_abort(struct client *c)
{
	struct append *a = c->append;

	if (!a)
		return;
	c->append = NULL;
	if (a->to)
		mbox_append_abort(&a->to);
	binary_free(a);
	mbox_close(&a->opening);
	mbox_close(&a->mbox);
	free(a);
}

void append_swallow(struct client *c, uint64_t left, const char *status, const char *code, const char *text)
{
	struct append *a = c->append = xzalloc(sizeof(*a));

	a->left = left;
	a->failed = true;
	a->result = command_answer(c, status, code, text);
}

/* --- the end --- */

const char *append_uid_code(struct client *c, const uint32_t *uids, size_t n, uint32_t validity)
{
	struct buf b;

	buf_init(&b, n * 12 + 64);
	buf_printf(&b, "APPENDUID %u ", validity);
	imap_numbers_format(uids, n, &b);
	const char *code = arena_strdup(c->arena, b.p);

	buf_fini(&b);
	return code;
}

/* The new message is there, durably; now the old one goes. */
static enum cmd_result replace(struct client *c, const struct append *a, const char *code, struct err *e)
{
	struct buf *out;

	if (mbox_expunge(c->view, &a->replaced, 1, e) < 0)
		return store_no(c, e, false);
	folder_changed(c->user, c->folder->mbox);
	out = resp(c);
	buf_c(out, "* OK [");
	buf_c(out, code);
	buf_c(out, "] Replacement is there.\r\n");
	return command_answer(c, "OK", highestmodseq_code(c), "Replace completed.");
}

static enum cmd_result commit_step(struct client *c, struct err *e)
{
	struct append *a = c->append;
	const int r = mbox_append_step(a->to, APPEND_PIECE, a->uids, e);

	if (r < 0)
		return store_no(c, e, false);
	if (r > 0)
		return CMD_MORE;
	folder_changed(c->user, a->mbox);
	const char *code = append_uid_code(c, a->uids, a->n, mbox_uidvalidity(a->mbox));

	return a->replace ? replace(c, a, code, e) : command_answer(c, "OK", code, "Append completed.");
}

static enum cmd_result commit(struct client *c, struct append *a, struct err *e)
{
	if (!(a->uids = ARENA_ARRAY(c->arena, uint32_t, a->n)))
		return err_set(e, ERR_LIMIT, 0, "too many messages"), CMD_NO;
	c->run.step = commit_step;
	return CMD_MORE;
}

enum cmd_result append_finish(struct client *c, struct imap_lex *l, struct err *e)
{
	struct append *a = c->append;

	if (c->scan.error == IMAP_SCAN_FATAL)
		c->why = "Literal too large to read over";
	if (!a->failed && c->scan.error != IMAP_SCAN_OK)
		(void)bad(c, "invalid APPEND arguments");
	if (!a->failed && advance(c, l) == ADV_LITERAL)
		(void)bad(c, "invalid APPEND arguments");
	if (!a->failed && held_take(c, a))
		return CMD_HELD;
	held_commit(c);
	if (a->failed) {
		*e = a->e;
		return a->result;
	}
	return commit(c, a, e);
}

static enum cmd_result finish(struct client *c, struct imap_lex *l, struct err *e)
{
	const enum cmd_result r = append_finish(c, l, e);

	if (r != CMD_MORE)
		append_abort(c);
	return r;
}

static enum cmd_result open_whole_step(struct client *c, struct err *e)
{
	if (target(c) == ADV_WAIT)
		return CMD_MORE;
	struct imap_lex l = resumed(c);

	while (l.end > l.p && (l.end[-1] == '\n' || l.end[-1] == '\r'))
		l.end--;
	return finish(c, &l, e);
}

/* Reached when no message literal came: by CATENATE of nothing but URLs, else it is wrong. */
static enum cmd_result without_literal(struct client *c, struct imap_lex *l, struct err *e)
{
	bool name_ok;

	if (begin(c, l, c->run.cmd, &name_ok) != ADV_WAIT)
		return finish(c, l, e);
	wait_for_target(c, l, open_whole_step);
	return CMD_MORE;
}

enum cmd_result cmd_APPEND(struct client *c, struct imap_lex *l, struct err *e)
{
	return without_literal(c, l, e);
}

enum cmd_result cmd_REPLACE(struct client *c, struct imap_lex *l, struct err *e)
{
	return without_literal(c, l, e);
}
