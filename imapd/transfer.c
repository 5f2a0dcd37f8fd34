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

enum {
	TRANSFER_MAX = 10000,	/* messages of one command, as of one APPEND */
	TRANSFER_PIECE = 256,	/* of those that are put or taken away at once: some milliseconds */
};

struct transfer {
	struct client *c;
	struct link *from, *to;		/* NULL: the client's own */
	bool move, failed;
	struct str set, name;		/* as the client spelled them; in the command's arena */
	uint32_t *uids;			/* of the originals, in order */
	size_t n;
	/* source of our own */
	uint32_t *seqs;
	size_t n_seqs, at;
	bool sent;
	struct timer *timer;		/* begins it, or goes on */
	size_t expunged;		/* of the originals, in pieces */
	/* target of our own */
	struct mbox *mbox;
	struct mbox_append *append;
	uint32_t *new_uids;
	uint64_t bytes;			/* so far, for the quota */
	/* target elsewhere */
	bool begun;
	const char *code;		/* COPYUID */
};

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

static void answer(struct transfer *t, const char *status, const char *code, const char *text)
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

static void fail(struct transfer *t, const char *code, const char *text)
{
	if (t->failed)
		return;
	t->failed = true;
	drop_target(t);
	answer(t, "NO", code, text);
}

static void fail_err(struct transfer *t, const struct err *e)
{
	fail(t, err_row(e->code)->imap, e->text);
}

/* What the other process says, as it says it. */
static void pass_on(struct transfer *t, struct str rest)
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

static void on_lost(void *ctx, struct link *l, enum err_code code)
{
	struct transfer *t = ctx;

	if (t->to == l)
		t->to = NULL;
	if (t->from == l)
		t->from = NULL;
	if (code == ERR_NOENT)
		fail(t, "TRYCREATE", "No such mailbox.");
	else
		fail(t, "UNAVAILABLE", "The shared folder cannot be reached now.");
}

bool transfer_uses(const struct client *c, const struct link *l)
{
	return c->transfer && (c->transfer->from == l || c->transfer->to == l);
}

void transfer_lost(struct client *c, struct link *l, enum err_code code)
{
	if (transfer_uses(c, l))
		on_lost(c->transfer, l, code);
}

static void fail_busy(struct transfer *t)
{
	(void)link_busy(t->c);
	fail(t, t->c->run.code, t->c->run.text);
}

/* --- after the copy: the originals of a MOVE --- */

static void moved(struct transfer *t)
{
	answer(t, "OK", "", "Move completed.");
}

static void on_expunged(void *ctx, struct link *l, struct str rest)
{
	struct transfer *t = ctx;

	if (str_case_starts(rest, STR("OK")))
		moved(t);
	else
		pass_on(t, rest);
}

static const struct link_user expunging = { .slow = true, .pass = true, .tagged = on_expunged, .lost = on_lost };

static void on_marked(void *ctx, struct link *l, struct str rest)
{
	struct transfer *t = ctx;
	struct buf b;

	if (!str_case_starts(rest, STR("OK"))) {
		pass_on(t, rest);
		return;
	}
	buf_init(&b, t->n * 12 + 64);
	buf_c(&b, "UID EXPUNGE ");
	imap_numbers_format(t->uids, t->n, &b);
	const bool sent = link_command(l, b.p, &expunging, t);

	buf_fini(&b);
	if (!sent)
		fail_busy(t);
}

static const struct link_user marking = { .slow = true, .tagged = on_marked, .lost = on_lost };

static void on_expunge_own(void *ctx)
{
	struct transfer *t = ctx;
	struct client *c = t->c;
	const size_t n = t->n_seqs - t->expunged < TRANSFER_PIECE ? t->n_seqs - t->expunged : TRANSFER_PIECE;
	struct err e = { 0 };

	c->user->working = "MOVE to another user's folder";
	timer_del(&t->timer);
	if (mbox_expunge(c->view, t->seqs + t->expunged, n, &e) < 0) {
		fail_err(t, &e);
		return;
	}
	t->expunged += n;
	if (t->expunged < t->n_seqs) {
		t->timer = loop_timer(c->user->loop, 0, on_expunge_own, t);
		return;
	}
	folder_changed(c->user, c->folder->mbox);
	moved(t);
}

static void take_away(struct transfer *t)
{
	struct client *c = t->c;
	struct buf *out = resp(c), b;

	buf_printf(out, "* OK [%s] Moved\r\n", t->code);
	if (!t->from) {
		on_expunge_own(t);
		return;
	}
	buf_init(&b, t->n * 12 + 64);
	buf_c(&b, "UID STORE ");
	imap_numbers_format(t->uids, t->n, &b);
	buf_c(&b, " +FLAGS.SILENT (\\Deleted)");
	const bool sent = link_command(t->from, b.p, &marking, t);

	buf_fini(&b);
	if (!sent)
		fail_busy(t);
}

/* validity and to: as the target's APPENDUID has them. */
static void copied(struct transfer *t, struct str validity_and_to)
{
	struct client *c = t->c;
	struct str to = validity_and_to;
	const struct str validity = str_split(&to, ' ');
	struct buf b;

	buf_init(&b, t->n * 12 + to.n + 100);
	buf_printf(&b, "COPYUID %.*s ", STR_ARG(validity));
	imap_numbers_format(t->uids, t->n, &b);
	buf_printf(&b, " %.*s", STR_ARG(to));
	t->code = arena_cstr(c->arena, buf_view(&b));
	buf_fini(&b);
	if (t->move)
		take_away(t);
	else
		answer(t, "OK", t->code, "Copy completed.");
}

/* --- the target --- */

static void on_appended(void *ctx, struct link *l, struct str rest)
{
	struct transfer *t = ctx;
	static const char code[] = "OK [APPENDUID ";
	const char *end;

	t->begun = false;
	if (str_case_starts(rest, str_c(code)) && (end = memchr(rest.p, ']', rest.n)))
		copied(t, arena_str(t->c->arena, str_n(rest.p + sizeof(code) - 1, (size_t)(end - rest.p) - sizeof(code) + 1)));
	else if (str_case_starts(rest, STR("OK")))
		answer(t, "OK", "", "Copy completed.");
	else
		pass_on(t, rest);
}

static void push(struct transfer *t);

static void on_drained(void *ctx, struct link *l)
{
	struct transfer *t = ctx;

	if (t->from)
		link_pause(t->from, false);
	else
		push(t);
}

static const struct link_user appending = { .slow = true, .tagged = on_appended, .lost = on_lost, .drained = on_drained };

static int own_message(struct transfer *t, struct str flags, struct str date, uint64_t size)
{
	struct client *c = t->c;
	struct imap_lex fl = { .p = flags.p, .end = flags.p + flags.n, .arena = c->arena }, dl = { .p = date.p, .end = date.p + date.n, .arena = c->arena };
	struct imap_flags f = { 0 };
	struct err e = { 0 };
	int64_t when;

	t->bytes += size;
	if (imap_get_flags(&fl, false, &f, &e) < 0 || imap_get_date_time(&dl, &when, &e) < 0 ||
	    store_quota_check(c->user->store, t->bytes, t->n + 1, &e) < 0 || (!t->append && mbox_append_begin(t->mbox, &t->append, &e) < 0)) {
		fail_err(t, &e);
		return -1;
	}
	const uint32_t bits = flags_of(&f);

	if (mbox_append_message(t->append, bits, f.keywords, f.n, when ? when : 1, &e) == 0)
		return 0;
	fail_err(t, &e);
	return -1;
}

/* The next message begins: size bytes of data are to follow. flags without \Recent. */
static int target_message(struct transfer *t, struct str flags, struct str date, uint64_t size)
{
	struct buf b;

	if (t->n == TRANSFER_MAX) {
		fail(t, "LIMIT", "Too many messages in one command.");
		return -1;
	}
	if (!t->to)
		return own_message(t, flags, date, size);
	if (!t->begun && !link_command_begin(t->to, "APPEND ", &appending, t)) {
		fail_busy(t);
		return -1;
	}
	buf_init(&b, 1 << 20);
	if (!t->begun) {
		buf_str(&b, t->name);
		t->begun = true;
	}
	buf_printf(&b, " %.*s %.*s {%llu+}\r\n", STR_ARG(flags), STR_ARG(date), (unsigned long long)size);
	link_write(t->to, buf_view(&b));
	buf_fini(&b);
	return 0;
}

static int target_data(struct transfer *t, struct str bytes)
{
	struct err e = { 0 };

	if (t->to) {
		link_write(t->to, bytes);
		return 0;
	}
	if (mbox_append_data(t->append, bytes, &e) == 0)
		return 0;
	fail_err(t, &e);
	return -1;
}

static void own_copied(struct transfer *t)
{
	struct client *c = t->c;
	struct buf b;

	folder_changed(c->user, t->mbox);
	buf_init(&b, t->n * 12 + 64);
	buf_printf(&b, "%u ", mbox_uidvalidity(t->mbox));
	imap_numbers_format(t->new_uids, t->n, &b);
	copied(t, arena_str(c->arena, buf_view(&b)));
	buf_fini(&b);
}

static void on_append_own(void *ctx)
{
	struct transfer *t = ctx;
	struct err e = { 0 };

	t->c->user->working = "COPY from another user's folder";
	timer_del(&t->timer);
	const int r = mbox_append_step(t->append, TRANSFER_PIECE, t->new_uids, &e);

	if (r > 0) {
		t->timer = loop_timer(t->c->user->loop, 0, on_append_own, t);
	} else if (r < 0) {
		fail_err(t, &e);
	} else {
		mbox_append_abort(&t->append);
		own_copied(t);
	}
}

static void target_finish(struct transfer *t)
{
	struct err e = { 0 };

	if (t->n == 0) {
		answer(t, "OK", "", "No messages found.");
	} else if (t->to) {
		link_write(t->to, STR("\r\n"));	/* on_appended goes on */
	} else if (!(t->new_uids = ARENA_ARRAY(t->c->arena, uint32_t, t->n))) {
		(void)err_set(&e, ERR_LIMIT, 0, "too many messages");
		fail_err(t, &e);
	} else {
		on_append_own(t);
	}
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
	if (target_message(t, without_recent(t, flags), date, n) < 0)
		return true;
	arena_release(c->arena, mark);
	add_uid(t, (uint32_t)uid);
	return true;
}

static void on_data(void *ctx, struct link *l, struct str bytes)
{
	struct transfer *t = ctx;

	if (target_data(t, bytes) == 0 && t->to && link_full(t->to))
		link_pause(l, true);
}

static void on_fetched(void *ctx, struct link *l, struct str rest)
{
	struct transfer *t = ctx;

	if (str_case_starts(rest, STR("OK"))) {
		target_finish(t);
		return;
	}
	drop_target(t);
	pass_on(t, rest);
}

static const struct link_user fetching = { .slow = true, .literal = on_literal, .data = on_data, .tagged = on_fetched, .lost = on_lost };

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
		answer(t, "NO", "NOPERM", "Permission denied.");
	else if (!fetch(t))
		fail_busy(t);
}

static const struct link_user learning = { .untagged = on_rights, .tagged = on_rights_known, .lost = on_lost };

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
		fail_err(t, &e);
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
	r = target_message(t, flags, date, size);
	if (r == 0) {
		crlf_start(&cursor, file.text);
		crlf_read(&cursor, &b, size);
		add_uid(t, m.uid);
		r = target_data(t, buf_view(&b));
	}
	buf_fini(&b);
	msgfile_close(&file);
	return r;
}

/* Until the other side has enough for now. */
static void push(struct transfer *t)
{
	while (t->at < t->n_seqs && !link_full(t->to)) {
		if (push_one(t) < 0)
			return;
	}
	if (t->at < t->n_seqs || t->sent)
		return;
	t->sent = true;
	target_finish(t);
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
	push(ctx);
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
