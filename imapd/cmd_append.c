/* APPEND (RFC 3501 section 6.3.11) and MULTIAPPEND (RFC 3502) with APPENDUID (RFC 4315). The message goes from the connection to the mailbox's
 * tmp directory as it arrives: no message is ever held in memory, and nothing is visible before the command is complete and durable. */
#include <stdlib.h>

#include "imap/seqset.h"
#include "session.h"

enum { APPEND_MESSAGES_MAX = 10000 };	/* of one command */

struct append {
	struct mbox *mbox;
	struct mbox_append *to;
	uint64_t left;		/* bytes of the message that are still to come */
	size_t n;		/* messages begun */
	bool failed;		/* what comes is read over */
	enum cmd_result result;	/* when failed: CMD_BAD, CMD_NO or CMD_DONE (answer in c->run) */
	struct err e;
};

/* --- the command's beginning: everything before the literal --- */

struct message_args {
	struct imap_flags flags;
	int64_t date;		/* 0: now */
};

/* [SP flag-list] [SP date-time] SP, up to the literal. */
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

/* Only the literal's announcement may be left. */
static int get_announcement(struct imap_lex *l, struct err *e)
{
	if (imap_try(l, '~'))
		return err_set(e, ERR_INPUT, 0, "binary literals are not supported");
	if (!imap_at(l, '{') || memchr(l->p, '\n', (size_t)(l->end - l->p)) != l->end - 1)
		return err_set(e, ERR_INPUT, 0, "invalid APPEND arguments");
	return 0;
}

static struct append *append_new(struct client *c)
{
	c->append = xzalloc(sizeof(*c->append));
	return c->append;
}

static enum append_literal refuse(struct client *c, enum cmd_result r)
{
	struct append *a = c->append ? c->append : append_new(c);

	if (!a->failed) {
		a->failed = true;
		a->result = r;
	}
	return APPEND_REFUSED;
}

/* Tag, verb, mailbox. APPEND_INLINE: the literal belongs to these (or it is another command). */
static enum append_literal begin(struct client *c, struct imap_lex *l)
{
	struct err e = { 0 };
	struct str tag, verb, wire, name;
	enum cmd_result r;

	if (imap_get_tag(l, &tag, &e) < 0 || imap_get_verb(l, &verb, &e) < 0)
		return APPEND_INLINE;
	const struct command *cmd = command_find(verb);

	if (!cmd || !(cmd->flags & CF_STREAM) || imap_get_sp(l, &e) < 0 || imap_get_mailbox(l, &wire, &e) < 0)
		return APPEND_INLINE;
	struct append *a = append_new(c);

	c->run.tag = arena_str(c->arena, tag);
	c->run.cmd = cmd;
	if ((r = name_take(c, wire, &name, &a->e)) != CMD_OK)
		return refuse(c, r);
	if (mbox_open(c->user->store, name, &a->mbox, &e) < 0)
		return refuse(c, store_no(c, &e, true));
	return APPEND_STREAM;
}

static enum append_literal begin_message(struct client *c, struct imap_lex *l)
{
	struct append *a = c->append;
	struct message_args m = { 0 };

	if (get_message_args(l, &m, &a->e) < 0 || get_announcement(l, &a->e) < 0)
		return refuse(c, CMD_BAD);
	if (a->n >= APPEND_MESSAGES_MAX)
		return refuse(c, command_answer(c, "NO", "LIMIT", "Too many messages in one APPEND."));
	if (c->scan.lit_size > c->user->conf->message_size_limit)
		return refuse(c, command_answer(c, "NO", "TOOBIG", "Message is larger than this server takes."));
	if (c->scan.lit_size == 0)
		return refuse(c, command_answer(c, "NO", "", "Cannot append an empty message."));
	const uint32_t bits = flags_of(&m.flags);

	if (!a->to && mbox_append_begin(a->mbox, &a->to, &a->e) < 0)
		return refuse(c, CMD_NO);
	if (mbox_append_message(a->to, bits, m.flags.keywords, m.flags.n, m.date, &a->e) < 0)
		return refuse(c, CMD_NO);
	a->n++;
	a->left = c->scan.lit_size;
	return APPEND_STREAM;
}

/* A refused literal that the client waits with ends the command: answer it as if it were complete. */
static enum append_literal settle(struct client *c, enum append_literal r)
{
	if (r == APPEND_REFUSED && c->scan.lit_nonsync)
		return r;
	if (r == APPEND_STREAM) {
		if (!c->scan.lit_nonsync) {
			buf_c(resp(c), "+ OK\r\n");
			resp_flush(c);
		}
		imap_scan_stream(&c->scan);
		buf_fini(&c->text);
	}
	return r;
}

enum append_literal append_literal(struct client *c)
{
	struct imap_lex l = { .p = c->text.p, .end = c->text.p + c->text.n, .arena = c->arena };
	enum append_literal r = APPEND_STREAM;

	if (!c->append)
		r = begin(c, &l);
	if (r == APPEND_STREAM)
		r = c->append->failed ? APPEND_REFUSED : begin_message(c, &l);
	return settle(c, r);
}

/* --- the message --- */

bool append_streaming(const struct client *c)
{
	return c->append && c->append->left;
}

bool append_data(struct client *c)
{
	struct append *a = c->append;
	struct str in = client_input(c);

	if (in.n == 0)
		return false;
	if (in.n > a->left)
		in.n = (size_t)a->left;
	if (!a->failed && mbox_append_data(a->to, in, &a->e) < 0) {
		a->failed = true;
		a->result = CMD_NO;
	}
	a->left -= in.n;
	client_consume(c, in.n);
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
	mbox_close(&a->mbox);
	free(a);
}

/* --- the end --- */

static enum cmd_result commit(struct client *c, struct append *a, struct err *e)
{
	uint32_t *uids = ARENA_ARRAY(c->arena, uint32_t, a->n);
	struct mbox_status st;
	struct buf b;
	size_t n = 0;

	if (!uids)
		return err_set(e, ERR_LIMIT, 0, "too many messages"), CMD_NO;
	if (mbox_append_commit(&a->to, uids, &n, e) < 0 || mbox_status(a->mbox, &st, e) < 0)
		return store_no(c, e, false);
	folder_changed(c->user, a->mbox);
	buf_init(&b, a->n * 12 + 64);
	buf_printf(&b, "APPENDUID %u ", st.uidvalidity);
	imap_numbers_format(uids, n, &b);
	const char *code = arena_strdup(c->arena, b.p);

	buf_fini(&b);
	return command_answer(c, "OK", code, "Append completed.");
}

enum cmd_result append_finish(struct client *c, struct imap_lex *l, struct err *e)
{
	struct append *a = c->append;

	if (c->scan.error == IMAP_SCAN_FATAL)
		c->why = "Literal too large to read over";
	if (a->failed) {
		*e = a->e;
		return a->result;
	}
	if (a->n == 0 || c->scan.error != IMAP_SCAN_OK || imap_get_end(l, e) < 0)
		return err_set(e, ERR_INPUT, 0, "invalid APPEND arguments"), CMD_BAD;
	return commit(c, a, e);
}

/* Reached only when no literal came. */
enum cmd_result cmd_APPEND(struct client *c, struct imap_lex *l, struct err *e)
{
	(void)c, (void)l;
	return err_set(e, ERR_INPUT, 0, "APPEND needs a message literal"), CMD_BAD;
}
