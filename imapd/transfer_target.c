/* The target of a COPY or MOVE between different users (transfer.c), and for a MOVE what follows: the originals go. */
#include <stdio.h>

#include "imap/out.h"
#include "link.h"
#include "transfer_priv.h"

/* --- after the copy: the originals of a MOVE --- */

static void moved(struct transfer *t)
{
	transfer_answer(t, "OK", "", "Move completed.");
}

static void on_expunged(void *ctx, struct link *l, struct str rest)
{
	struct transfer *t = ctx;

	if (str_case_starts(rest, STR("OK")))
		moved(t);
	else
		transfer_pass_on(t, rest);
}

static const struct link_user expunging = { .slow = true, .pass = true, .tagged = on_expunged, .lost = transfer_on_lost };

static void on_marked(void *ctx, struct link *l, struct str rest)
{
	struct transfer *t = ctx;
	struct buf b;

	if (!str_case_starts(rest, STR("OK"))) {
		transfer_pass_on(t, rest);
		return;
	}
	buf_init(&b, t->n * 12 + 64);
	buf_c(&b, "UID EXPUNGE ");
	imap_numbers_format(t->uids, t->n, &b);
	const bool sent = link_command(l, b.p, &expunging, t);

	buf_fini(&b);
	if (!sent)
		transfer_fail_busy(t);
}

static const struct link_user marking = { .slow = true, .tagged = on_marked, .lost = transfer_on_lost };

static void on_expunge_own(void *ctx)
{
	struct transfer *t = ctx;
	struct client *c = t->c;
	const size_t n = t->n_seqs - t->expunged < TRANSFER_PIECE ? t->n_seqs - t->expunged : TRANSFER_PIECE;
	struct err e = { 0 };

	c->user->working = "MOVE to another user's folder";
	timer_del(&t->timer);
	if (mbox_expunge(c->view, t->seqs + t->expunged, n, &e) < 0) {
		transfer_fail_err(t, &e);
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
		transfer_fail_busy(t);
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
		transfer_answer(t, "OK", t->code, "Copy completed.");
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
		transfer_answer(t, "OK", "", "Copy completed.");
	else
		transfer_pass_on(t, rest);
}

static void on_drained(void *ctx, struct link *l)
{
	struct transfer *t = ctx;

	if (t->from)
		link_pause(t->from, false);
	else
		transfer_push(t);
}

static const struct link_user appending = { .slow = true, .tagged = on_appended, .lost = transfer_on_lost, .drained = on_drained };

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
		transfer_fail_err(t, &e);
		return -1;
	}
	const uint32_t bits = flags_of(&f);

	if (mbox_append_message(t->append, bits, f.keywords, f.n, when ? when : 1, &e) == 0)
		return 0;
	transfer_fail_err(t, &e);
	return -1;
}

/* The next message begins: size bytes of data are to follow. flags without \Recent. */
int transfer_target_message(struct transfer *t, struct str flags, struct str date, uint64_t size)
{
	struct buf b;

	if (t->n == TRANSFER_MAX) {
		transfer_fail(t, "LIMIT", "Too many messages in one command.");
		return -1;
	}
	if (!t->to)
		return own_message(t, flags, date, size);
	if (!t->begun && !link_command_begin(t->to, "APPEND ", &appending, t)) {
		transfer_fail_busy(t);
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

int transfer_target_data(struct transfer *t, struct str bytes)
{
	struct err e = { 0 };

	if (t->to) {
		link_write(t->to, bytes);
		return 0;
	}
	if (mbox_append_data(t->append, bytes, &e) == 0)
		return 0;
	transfer_fail_err(t, &e);
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
		transfer_fail_err(t, &e);
	} else {
		mbox_append_abort(&t->append);
		own_copied(t);
	}
}

void transfer_target_finish(struct transfer *t)
{
	struct err e = { 0 };

	if (t->n == 0) {
		transfer_answer(t, "OK", "", "No messages found.");
	} else if (t->to) {
		link_write(t->to, STR("\r\n"));	/* on_appended goes on */
	} else if (!(t->new_uids = ARENA_ARRAY(t->c->arena, uint32_t, t->n))) {
		(void)err_set(&e, ERR_LIMIT, 0, "too many messages");
		transfer_fail_err(t, &e);
	} else {
		on_append_own(t);
	}
}
