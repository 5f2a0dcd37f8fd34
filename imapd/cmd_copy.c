/* COPY, MOVE and their UID forms (RFC 3501 section 6.4.7, RFC 6851) with COPYUID (RFC 4315). Some hundred messages at a time, with others' turn in between;
 * what is there when a later one fails is taken back (RFC 3501: the mailbox is as it was). */
#include "imap/out.h"
#include "log/log.h"
#include "junk.h"
#include "opening.h"

enum {
	COPY_PIECE = 1024,
	COPY_PIECE_SHARED = 256,	/* where others wait: 20 us a message, and a sync */
};

struct copy_args {
	struct imap_seqset set;
	struct str name;
	struct mbox *dst;
	uint32_t *seqs, *sources, *uids;
	size_t n, at;		/* at: those before it are there */
	bool move;
	uint32_t rights;	/* in the target */
};

/* "COPYUID validity source-uids new-uids", in the command's arena. */
static const char *copyuid(struct client *c, const struct copy_args *a, uint32_t validity)
{
	struct buf b;

	buf_init(&b, a->n * 24 + 64);
	buf_printf(&b, "COPYUID %u ", validity);
	imap_numbers_format(a->sources, a->n, &b);
	buf_ch(&b, ' ');
	imap_numbers_format(a->uids, a->n, &b);
	const char *text = arena_strdup(c->arena, b.p);

	buf_fini(&b);
	return text;
}

static enum cmd_result get_args(struct client *c, struct imap_lex *l, struct copy_args *a, struct err *e)
{
	struct str wire;
	enum cmd_result r;
	bool gone;

	if (imap_get_sp(l, e) < 0 || imap_get_seqset(l, &a->set, e) < 0 || imap_get_sp(l, e) < 0 || imap_get_mailbox(l, &wire, e) < 0 ||
	    imap_get_end(l, e) < 0 || set_resolve(c, &a->set, c->run.uid, e) < 0)
		return CMD_BAD;
	if ((r = name_take(c, wire, &a->name, e)) != CMD_OK)
		return r;
	if (set_array(c, &a->set, &a->seqs, &a->n, &gone, e) < 0)
		return CMD_NO;
	if (gone && !c->run.uid)
		return command_answer(c, "NO", "EXPUNGEISSUED", "Some of the messages no longer exist.");
	return CMD_OK;
}

/* Before the EXPUNGE responses, so that clients can tell where the messages went (RFC 6851 section 4.3). */
static void tell_moved(struct client *c, const char *code)
{
	struct buf *out = resp(c);

	buf_c(out, "* OK [");
	buf_c(out, code);
	buf_c(out, "] Moved\r\n");
}

static enum cmd_result complete(struct client *c, struct copy_args *a)
{
	folder_changed(c->user, NULL);
	junk_moved(c, a->dst, a->name, a->uids, a->n);
	const char *code = copyuid(c, a, mbox_uidvalidity(a->dst));

	if (!a->move)
		return command_answer(c, "OK", code, "Copy completed.");
	tell_moved(c, code);
	return command_answer(c, "OK", highestmodseq_code(c), "Move completed.");
}

static void take_back(struct client *c, struct copy_args *a)
{
	struct mbox_view *v = mbox_view_peek(a->dst);
	struct err e = { 0 };
	size_t n = 0;

	for (size_t i = 0; i < a->at; i++)
		if ((a->uids[n] = mbox_view_seq(v, a->uids[i])) != 0)
			n++;
	if (n > 0 && mbox_expunge(v, a->uids, n, &e) < 0)
		log_warning("imap(%s): taking copies back: %s", c->user->name, e.text);
	mbox_view_free(&v);
	folder_changed(c->user, a->dst);
}

/* What was copied is taken back; what was moved has moved, and is told (RFC 6851 section 3.3: each message on its own). */
static enum cmd_result stopped(struct client *c, struct copy_args *a, struct err *e)
{
	if (!a->move)
		take_back(c, a);
	a->n = a->at;
	if (a->move && a->at > 0) {
		folder_changed(c->user, NULL);
		junk_moved(c, a->dst, a->name, a->uids, a->n);
		tell_moved(c, copyuid(c, a, mbox_uidvalidity(a->dst)));
	}
	return store_no(c, e, false);
}

/* Copies keep only flags that the client might set there (RFC 4314 section 4). */
static int drop_flags(struct client *c, const struct copy_args *a, const uint32_t *uids, size_t n, struct err *e)
{
	const uint32_t allowed = flags_allowed(a->rights);
	uint32_t *seqs, *failed;
	struct str *names;
	struct mbox_view *v;
	size_t n_names, n_own = 0, n_failed = 0;
	int r;

	if (allowed == flags_allowed(ACL_ALL))
		return 0;
	const char *const *keywords = mbox_keywords(a->dst, &n_names);

	if (!(seqs = ARENA_ARRAY(c->arena, uint32_t, n)) || !(failed = ARENA_ARRAY(c->arena, uint32_t, n)) ||
	    !(names = ARENA_ARRAY(c->arena, struct str, n_names + 1)))
		return err_set(e, ERR_LIMIT, 0, "too many messages");
	for (size_t i = 0; i < n_names; i++)
		if (!mbox_keyword_hidden(keywords[i]))
			names[n_own++] = str_c(arena_strdup(c->arena, keywords[i]));
	v = mbox_view_peek(a->dst);
	mbox_view_reader(v, client_reader(c));
	for (size_t i = 0; i < n; i++)
		seqs[i] = mbox_view_seq(v, uids[i]);
	r = mbox_store_flags(v, seqs, n, MBOX_REMOVE, flags_allowed(ACL_ALL) & ~allowed, names, a->rights & ACL_W ? 0 : n_own, 0, failed, &n_failed, e);
	mbox_view_free(&v);
	return r;
}

static enum cmd_result copy_step(struct client *c, struct err *e)
{
	struct copy_args *a = c->run.data;
	const size_t piece = c->user->n_clients > 1 ? COPY_PIECE_SHARED : COPY_PIECE;
	const size_t n = a->n - a->at < piece ? a->n - a->at : piece;

	if (mbox_copy(c->view, a->seqs + a->at, n, a->dst, a->move, a->uids + a->at, e) < 0)
		return stopped(c, a, e);
	a->at += n;
	if (drop_flags(c, a, a->uids + a->at - n, n, e) < 0)
		return stopped(c, a, e);
	return a->at < a->n ? CMD_MORE : complete(c, a);
}

static void cleanup(struct client *c)
{
	struct copy_args *a = c->run.data;

	if (!a->move && a->at > 0 && a->at < a->n)	/* the connection ended in the middle */
		take_back(c, a);
	mbox_close(&a->dst);
}

static enum cmd_result opened(struct client *c, struct str name, void *ctx, struct err *e)
{
	struct copy_args *a = ctx;

	if (folder_target(c->user, name, &a->dst, e) < 0)
		return store_no(c, e, true);
	for (size_t i = 0; i < a->n; i++)
		a->sources[i] = mbox_view_uid(c->view, a->seqs[i]);
	c->run.data = a;
	c->run.cleanup = cleanup;
	if (a->n == 0)
		return command_answer(c, "OK", "", "No messages found.");
	c->run.step = copy_step;
	return CMD_MORE;
}

static enum cmd_result copy_or_move(struct client *c, struct imap_lex *l, bool move, struct err *e)
{
	struct copy_args *a = ARENA_NEW(c->arena, struct copy_args);
	enum cmd_result r = get_args(c, l, a, e);

	if (r != CMD_OK)
		return r;
	if (move && c->readonly)
		return command_answer(c, "NO", "READ-ONLY", "Mailbox is read-only.");
	if (move && (c->rights & (ACL_T | ACL_E)) != (ACL_T | ACL_E))
		return no_perm(c);
	if ((r = may(c, a->name, ACL_I, true, e)) != CMD_OK)
		return r;
	if (rights_in(c, a->name, &a->rights, e) < 0)
		return store_no(c, e, true);
	if (!(a->uids = ARENA_ARRAY(c->arena, uint32_t, a->n + 1)) || !(a->sources = ARENA_ARRAY(c->arena, uint32_t, a->n + 1)))
		return err_set(e, ERR_LIMIT, 0, "too many messages"), CMD_NO;
	a->move = move;
	return opening(c, a->name, true, opened, a, e);
}

enum cmd_result cmd_COPY(struct client *c, struct imap_lex *l, struct err *e)
{
	return copy_or_move(c, l, false, e);
}

enum cmd_result cmd_MOVE(struct client *c, struct imap_lex *l, struct err *e)
{
	return copy_or_move(c, l, true, e);
}
