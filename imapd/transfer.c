/* COPY and MOVE between folders of different owners (RFC 3501 6.4.7, RFC 6851). Two processes are in it: messages are read in one and appended in the other,
 * through sockets, a piece at a time; each side enforces its own rights. All messages become visible together, or none, also where a process is killed: the target is
 * one APPEND of several messages (RFC 3502). A MOVE takes the originals away after that. */
#include <stdio.h>
#include <stdlib.h>

#include "fetch.h"
#include "imap/out.h"
#include "link.h"
#include "relay.h"
#include "spaces.h"
#include "transfer_priv.h"

/* --- the end --- */

void transfer_end(struct client *c)
{
	struct transfer *t = c->transfer;

	if (!t)
		return;
	c->transfer = NULL;
	timer_del(&t->timer);
	if (t->from) {
		link_forget(t->from, t);
		link_pause(t->from, false);
	}
	if (t->to)
		link_forget(t->to, t);
	if (t->append)
		mbox_append_abort(&t->append);
	mbox_close(&t->mbox);
	free(t->uids);
	free(t);
}

void transfer_answer(struct transfer *t, const char *status, const char *code, const char *text)
{
	struct client *c = t->c;
	struct err e = { 0 };

	transfer_end(c);
	command_finish(c, command_answer(c, status, code, text), &e);
	if (!c->over)
		client_continue(c);
}

/* A half-sent APPEND would never end: that link goes. */
static void drop_target(struct transfer *t)
{
	if (!t->to || !t->begun)
		return;
	link_end(t->to);
	t->to = NULL;
}

void transfer_fail(struct transfer *t, const char *code, const char *text)
{
	if (t->failed)
		return;
	t->failed = true;
	drop_target(t);
	transfer_answer(t, "NO", code, text);
}

void transfer_fail_err(struct transfer *t, const struct err *e)
{
	transfer_fail(t, err_row(e->code)->imap, e->text);
}

/* What the other process says, as it says it. */
void transfer_pass_on(struct transfer *t, struct str rest)
{
	struct client *c = t->c;
	const struct str kept = arena_str(c->arena, rest);
	struct buf *out;

	transfer_end(c);
	out = resp(c);
	buf_str(out, c->run.tag);
	buf_ch(out, ' ');
	buf_str(out, kept);
	buf_c(out, "\r\n");
	resp_flush(c);
	command_drop(c);
	client_continue(c);
}

void transfer_on_lost(void *ctx, struct link *l, enum err_code code)
{
	struct transfer *t = ctx;

	if (t->to == l)
		t->to = NULL;
	if (t->from == l)
		t->from = NULL;
	if (code == ERR_NOENT)
		transfer_fail(t, "TRYCREATE", "No such mailbox.");
	else
		transfer_fail(t, "UNAVAILABLE", "The shared folder cannot be reached now.");
}

bool transfer_uses(const struct client *c, const struct link *l)
{
	return c->transfer && (c->transfer->from == l || c->transfer->to == l);
}

void transfer_lost(struct client *c, struct link *l, enum err_code code)
{
	if (transfer_uses(c, l))
		transfer_on_lost(c->transfer, l, code);
}

void transfer_fail_busy(struct transfer *t)
{
	(void)link_busy(t->c);
	transfer_fail(t, t->c->run.code, t->c->run.text);
}

static void add_uid(struct transfer *t, uint32_t uid)
{
	if (t->n % 256 == 0)
		t->uids = xrealloc(t->uids, (t->n + 256) * sizeof(*t->uids));
	t->uids[t->n++] = uid;
}

/* --- a source elsewhere --- */

/* "(\Seen \Recent)" without \Recent, which no client sets. */
static struct str without_recent(struct transfer *t, struct str flags)
{
	struct buf b;
	struct str word;

	buf_init(&b, flags.n + 2);
	flags = str_sub(flags, 1, flags.n - 2);
	buf_ch(&b, '(');
	while (str_token(&flags, " ", &word)) {
		if (str_case_eq(word, STR("\\Recent")))
			continue;
		if (b.n > 1)
			buf_ch(&b, ' ');
		buf_str(&b, word);
	}
	buf_ch(&b, ')');
	const struct str kept = arena_str(t->c->arena, buf_view(&b));

	buf_fini(&b);
	return kept;
}

/* "* 5 FETCH (UID 7 FLAGS (…) INTERNALDATE "…" BODY[] {n}" */
static int get_fetched(struct imap_lex *l, uint64_t *uid, struct str *flags, struct str *date)
{
	struct err e = { 0 };
	uint64_t seq;
	const char *end;

	if (imap_get_char(l, '*', &e) < 0 || imap_get_sp(l, &e) < 0 || imap_get_number(l, 1, UINT32_MAX, &seq, &e) < 0 || imap_get_sp(l, &e) < 0 ||
	    !imap_try_word(l, "FETCH") || imap_get_sp(l, &e) < 0 || imap_get_char(l, '(', &e) < 0 || !imap_try_word(l, "UID") || imap_get_sp(l, &e) < 0 ||
	    imap_get_number(l, 1, UINT32_MAX, uid, &e) < 0 || imap_get_sp(l, &e) < 0 || !imap_try_word(l, "FLAGS") || imap_get_sp(l, &e) < 0 ||
	    !imap_at(l, '(') || !(end = memchr(l->p, ')', (size_t)(l->end - l->p))))
		return -1;
	*flags = str_n(l->p, (size_t)(end + 1 - l->p));
	l->p = end + 1;
	if (imap_get_sp(l, &e) < 0 || !imap_try_word(l, "INTERNALDATE") || imap_get_sp(l, &e) < 0 || !imap_at(l, '"') ||
	    !(end = memchr(l->p + 1, '"', (size_t)(l->end - l->p - 1))))
		return -1;
	*date = str_n(l->p, (size_t)(end + 1 - l->p));
	/* Both may become part of a command to a third one's process. */
	return str_printable(*flags) && str_printable(*date) ? 0 : -1;
}

static bool on_literal(void *ctx, struct link *l, struct str text, uint64_t n)
{
	struct transfer *t = ctx;
	struct client *c = t->c;
	struct imap_lex lex = { .p = text.p, .end = text.p + text.n, .arena = c->arena };
	const struct arena_mark mark = arena_mark(c->arena);
	struct str flags, date;
	uint64_t uid;

	if (get_fetched(&lex, &uid, &flags, &date) < 0) {
		link_break(l, "does not say what a message is that was asked for");
		return true;
	}
	if (transfer_target_message(t, without_recent(t, flags), date, n) < 0)
		return true;
	arena_release(c->arena, mark);
	add_uid(t, (uint32_t)uid);
	return true;
}

static void on_data(void *ctx, struct link *l, struct str bytes)
{
	struct transfer *t = ctx;

	if (transfer_target_data(t, bytes) == 0 && t->to && link_full(t->to))
		link_pause(l, true);
}

static void on_fetched(void *ctx, struct link *l, struct str rest)
{
	struct transfer *t = ctx;

	if (str_case_starts(rest, STR("OK"))) {
		transfer_target_finish(t);
		return;
	}
	drop_target(t);
	transfer_pass_on(t, rest);
}

static const struct link_user fetching = { .slow = true, .literal = on_literal, .data = on_data, .tagged = on_fetched, .lost = transfer_on_lost };

static bool fetch(struct transfer *t)
{
	const char *text = arena_printf(t->c->arena, "%sFETCH %.*s (UID FLAGS INTERNALDATE BODY.PEEK[])", t->c->run.uid ? "UID " : "", STR_ARG(t->set));

	return link_command(t->from, text, &fetching, t);
}

/* MOVE needs leave to take the originals away; better to know it before. */
static void on_rights(void *ctx, struct link *l, struct str text)
{
	struct transfer *t = ctx;
	uint32_t rights = 0;
	const ptrdiff_t at = str_rchr(str_trim(text), ' ');

	if (str_case_starts(text, STR("* MYRIGHTS ")) && at > 0 && acl_rights_parse(str_from(str_trim(text), (size_t)at + 1), &rights, NULL) == 0)
		t->failed = (rights & (ACL_T | ACL_E)) != (ACL_T | ACL_E);
}

static void on_rights_known(void *ctx, struct link *l, struct str rest)
{
	struct transfer *t = ctx;

	if (t->failed || !str_case_starts(rest, STR("OK")))
		transfer_answer(t, "NO", "NOPERM", "Permission denied.");
	else if (!fetch(t))
		transfer_fail_busy(t);
}

static const struct link_user learning = { .untagged = on_rights, .tagged = on_rights_known, .lost = transfer_on_lost };

/* --- a source of our own --- */

static int push_one(struct transfer *t)
{
	struct client *c = t->c;
	const uint32_t seq = t->seqs[t->at++];
	struct err e = { 0 };
	struct msgfile file;
	struct mbox_msg m;
	struct crlf cursor;
	struct buf b;
	int r;

	if (mbox_msg_get(c->view, seq, &m, &e) < 0 || msgfile_open(&file, c->view, seq, false, &e) < 0) {
		transfer_fail_err(t, &e);
		return -1;
	}
	const uint64_t size = crlf_size(file.text);

	m.flags &= ~(uint32_t)MBOX_RECENT;
	buf_init(&b, (size_t)size + (1 << 20));
	resp_flags(c, &b, &m);
	const struct str flags = arena_str(c->arena, buf_view(&b));

	buf_reset(&b);
	imap_put_internaldate(&b, mbox_msg_date(c->view, seq));
	const struct str date = arena_str(c->arena, buf_view(&b));

	buf_reset(&b);
	r = transfer_target_message(t, flags, date, size);
	if (r == 0) {
		crlf_start(&cursor, file.text);
		crlf_read(&cursor, &b, size);
		add_uid(t, m.uid);
		r = transfer_target_data(t, buf_view(&b));
	}
	buf_fini(&b);
	msgfile_close(&file);
	return r;
}

/* Until the other side has enough for now. */
void transfer_push(struct transfer *t)
{
	while (t->at < t->n_seqs && !link_full(t->to)) {
		if (push_one(t) < 0)
			return;
	}
	if (t->at < t->n_seqs || t->sent)
		return;
	t->sent = true;
	transfer_target_finish(t);
}

static enum cmd_result own_source(struct transfer *t, struct imap_seqset *set, struct err *e)
{
	struct client *c = t->c;
	bool gone;

	if (t->move && c->readonly)
		return command_answer(c, "NO", "READ-ONLY", "Mailbox is read-only.");
	if (set_resolve(c, set, c->run.uid, e) < 0)
		return CMD_BAD;
	if (set_array(c, set, &t->seqs, &t->n_seqs, &gone, e) < 0)
		return CMD_NO;
	if (gone && !c->run.uid)
		return command_answer(c, "NO", "EXPUNGEISSUED", "Some of the messages no longer exist.");
	return t->n_seqs ? CMD_AWAY : command_answer(c, "OK", "", "No messages found.");
}

static void on_push(void *ctx)
{
	transfer_push(ctx);
}

/* --- the command --- */

static enum cmd_result begin(struct transfer *t, struct imap_seqset *set, struct str name, struct err *e)
{
	struct client *c = t->c;
	enum cmd_result r;

	if (!t->to && folder_target(c->user, name, &t->mbox, e) < 0)
		return store_no(c, e, true);
	if (!t->from) {
		if ((r = own_source(t, set, e)) == CMD_AWAY)
			t->timer = loop_timer(c->user->loop, 0, on_push, t);
		return r;
	}
	if (t->move ? !link_command(t->from, arena_printf(c->arena, "MYRIGHTS %s", c->remote_name), &learning, t) : !fetch(t))
		return link_busy(c);
	return CMD_AWAY;
}

enum cmd_result transfer_start(struct client *c, struct link *from, struct link *to, const struct imap_lex *at, bool move, struct err *e)
{
	struct transfer *t = xzalloc(sizeof(*t));
	struct imap_lex l = *at;
	struct imap_seqset set;
	struct str wire, name;
	enum cmd_result r = CMD_BAD;
	const char *start;

	*t = (struct transfer){ .c = c, .from = from, .to = to, .move = move };
	c->transfer = t;
	if (imap_get_sp(&l, e) == 0 && (start = l.p) && imap_get_seqset(&l, &set, e) == 0) {
		t->set = arena_str(c->arena, str_n(start, (size_t)(l.p - start)));
		if (imap_get_sp(&l, e) == 0 && (start = l.p) && imap_get_mailbox(&l, &wire, e) == 0) {
			t->name = arena_str(c->arena, str_n(start, (size_t)(l.p - start)));
			if (imap_get_end(&l, e) == 0 && (r = name_take(c, wire, &name, e)) == CMD_OK)
				r = begin(t, &set, name, e);
		}
	}
	if (r != CMD_AWAY)
		transfer_end(c);
	return r;
}
