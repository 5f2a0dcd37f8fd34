/* STORE and UID STORE (RFC 3501 section 6.4.6). One journal append for some thousand messages, others' turn, the next ones: a change of hundreds of
 * thousands must not keep the user's other connections waiting. */
#include "junk.h"
#include "session.h"

enum { STORE_PIECE = 8192, TELL_PIECE = 256 };

struct store_args {
	struct imap_seqset set;
	enum mbox_flag_op op;
	bool silent, conditional;
	uint64_t unchangedsince;
	struct imap_flags flags;
};

static int get_item(struct imap_lex *l, struct store_args *a, struct err *e)
{
	a->op = imap_try(l, '+') ? MBOX_ADD : imap_try(l, '-') ? MBOX_REMOVE : MBOX_SET;
	a->silent = imap_try_word(l, "FLAGS.SILENT");
	if (!a->silent && !imap_try_word(l, "FLAGS"))
		return err_set(e, ERR_INPUT, 0, "unknown STORE item");
	return 0;
}

/* ["(" "UNCHANGEDSINCE" SP mod-sequence ")" SP] (RFC 7162 3.1.3) */
static int get_modifier(struct imap_lex *l, struct store_args *a, struct err *e)
{
	if (!imap_try(l, '('))
		return 0;
	if (!imap_try_word(l, "UNCHANGEDSINCE") || imap_get_sp(l, e) < 0 || imap_get_number(l, 0, INT64_MAX, &a->unchangedsince, e) < 0 ||
	    imap_get_char(l, ')', e) < 0)
		return err_set(e, ERR_INPUT, 0, "unknown STORE modifier");
	a->conditional = true;
	return imap_get_sp(l, e);
}

static int get_args(struct client *c, struct imap_lex *l, struct store_args *a, struct err *e)
{
	if (imap_get_sp(l, e) < 0 || imap_get_seqset(l, &a->set, e) < 0 || imap_get_sp(l, e) < 0 || get_modifier(l, a, e) < 0 || get_item(l, a, e) < 0 ||
	    imap_get_sp(l, e) < 0 || imap_get_flags(l, true, &a->flags, e) < 0 || imap_get_end(l, e) < 0)
		return -1;
	return set_resolve(c, &a->set, c->run.uid, e);
}

struct telling {
	const uint32_t *seqs;
	size_t n, at;
	bool silent;
	const char *status, *code, *text;	/* of the tagged answer; NULL: OK */
};

/* .SILENT leaves out the flags, not the mod-sequence (RFC 7162 3.1.3, example 4). */
static void tell_modseq(struct client *c, uint32_t seq, const struct mbox_msg *m)
{
	struct buf *out = resp(c);

	buf_printf(out, "* %u FETCH (", seq);
	if (c->run.uid || (c->enabled & EN_QRESYNC))
		buf_printf(out, "UID %u ", m->uid);
	buf_printf(out, "MODSEQ (%llu))\r\n", (unsigned long long)m->modseq);
}

/* The new flags, a few hundred messages at a time. */
static enum cmd_result tell_step(struct client *c, struct err *e)
{
	struct telling *t = c->run.data;
	const size_t end = t->n - t->at > TELL_PIECE ? t->at + TELL_PIECE : t->n;

	(void)e;
	for (; t->at < end; t->at++) {
		struct mbox_msg m;

		if (mbox_msg_get(c->view, t->seqs[t->at], &m, NULL) < 0)
			continue;
		if (t->silent)
			tell_modseq(c, t->seqs[t->at], &m);
		else
			resp_flags_response(c, t->seqs[t->at], &m);
	}
	if (t->at < t->n)
		return CMD_MORE;
	return t->status ? command_answer(c, t->status, t->code, t->text) : CMD_OK;
}

/* "MODIFIED 7,9": the messages that were left alone, as the command names them. */
static const char *modified_code(struct client *c, uint32_t *failed, size_t n)
{
	const char *code;
	struct buf b;

	for (size_t i = 0; c->run.uid && i < n; i++)
		failed[i] = mbox_view_uid(c->view, failed[i]);
	buf_init(&b, n * 12 + 64);
	buf_c(&b, "MODIFIED ");
	imap_numbers_format(failed, n, &b);
	code = arena_strdup(c->arena, b.p);
	buf_fini(&b);
	return code;
}

/* Take those that failed out of seqs (both ascend). */
static size_t without(uint32_t *seqs, size_t n, const uint32_t *failed, size_t n_failed)
{
	size_t k = 0, f = 0;

	for (size_t i = 0; i < n; i++) {
		if (f < n_failed && failed[f] == seqs[i])
			f++;
		else
			seqs[k++] = seqs[i];
	}
	return k;
}

struct change {
	struct store_args args;
	uint32_t *seqs, *failed;
	size_t n, n_failed, at;		/* at: those before it are done */
	uint32_t bits;
	bool gone;
};

/* What is set where not all flags may be changed: those that may, and are not named, are taken away first; then the named ones are added. */
static int set_allowed(struct client *c, struct change *ch, uint32_t *seqs, size_t n, size_t *n_failed, struct err *e)
{
	const struct store_args *const a = &ch->args;
	uint32_t *const failed = ch->failed + ch->n_failed, *left = ARENA_ARRAY(c->arena, uint32_t, n), *none = ARENA_ARRAY(c->arena, uint32_t, n);
	size_t n_names, k = 0, n_none = 0;
	const char *const *have = mbox_keywords(c->folder->mbox, &n_names);
	struct str *names = ARENA_ARRAY(c->arena, struct str, n_names + 1);

	if (!left || !none || !names)
		return err_set(e, ERR_LIMIT, 0, "too many messages");
	for (size_t i = 0; (c->rights & ACL_W) && i < n_names; i++) {
		bool named = mbox_keyword_hidden(have[i]);

		for (size_t j = 0; !named && j < a->flags.n; j++)
			named = str_case_eq(a->flags.keywords[j], str_c(have[i]));
		if (!named)
			names[k++] = str_c(arena_strdup(c->arena, have[i]));
	}
	if (mbox_store_flags(c->view, seqs, n, MBOX_REMOVE, flags_allowed(c->rights) & ~ch->bits, names, k, a->unchangedsince, failed, n_failed, e) < 0)
		return -1;
	memcpy(left, seqs, n * sizeof(*left));
	n = without(left, n, failed, *n_failed);
	return n == 0 ? 0 : mbox_store_flags(c->view, left, n, MBOX_ADD, ch->bits, a->flags.keywords, a->flags.n, 0, none, &n_none, e);
}

/* Flags that the client may not change are left out; where nothing is left, that is an error (RFC 4314 section 4). False: so it is. */
static bool allow(struct client *c, struct change *ch)
{
	struct imap_flags *f = &ch->args.flags;
	const bool asked = ch->bits || f->n;

	ch->bits &= flags_allowed(c->rights);
	if (!(c->rights & ACL_W))
		f->n = 0;
	if (!asked)
		return ch->args.op != MBOX_SET || c->rights & (ACL_S | ACL_T | ACL_W);
	return ch->bits || f->n;
}

static int change_piece(struct client *c, struct change *ch, uint32_t *seqs, size_t n, size_t *n_failed, struct err *e)
{
	const struct store_args *const a = &ch->args;

	if (a->op == MBOX_SET && flags_allowed(c->rights) != flags_allowed(ACL_ALL))
		return set_allowed(c, ch, seqs, n, n_failed, e);
	return mbox_store_flags(c->view, seqs, n, a->op, ch->bits, a->flags.keywords, a->flags.n, a->unchangedsince, ch->failed + ch->n_failed, n_failed, e);
}

/* The next messages. Their numbers hold: no expunge is told while the command runs. */
static int apply_piece(struct client *c, struct change *ch, struct err *e)
{
	uint32_t *const seqs = ch->seqs + ch->at;
	const size_t n = ch->n - ch->at < STORE_PIECE ? ch->n - ch->at : STORE_PIECE;
	struct junk_said said;
	size_t n_failed = 0;

	junk_marks(c, ch->args.op, &ch->args.flags, seqs, n, &said);
	if (change_piece(c, ch, seqs, n, &n_failed, e) < 0)
		return -1;
	if (n_failed == 0)
		junk_marked(c, &said);
	ch->n_failed += n_failed;
	ch->at += n;
	for (size_t i = 0; c->n_contexts && i < n; i++)
		contexts_changed(c, mbox_view_uid(c->view, seqs[i]));
	folder_changed(c->user, c->folder->mbox);
	return 0;
}

static enum cmd_result tell_start(struct client *c, struct change *ch)
{
	const struct store_args *const a = &ch->args;
	struct telling *t = ARENA_NEW(c->arena, struct telling);

	ch->n = without(ch->seqs, ch->n, ch->failed, ch->n_failed);
	if (ch->n_failed == 0)
		c->run.own_flags = a->set;

	*t = (struct telling){ .seqs = ch->seqs, .n = ch->n, .silent = a->silent };
	if (ch->n_failed) {
		t->status = "OK";
		t->code = modified_code(c, ch->failed, ch->n_failed);
		t->text = "Conditional STORE failed.";
	}
	/* Messages that another connection expunged cannot be changed any more (RFC 2180 section 4.2). */
	if (ch->gone && !c->run.uid) {
		t->status = "NO";
		t->code = ch->n_failed ? t->code : "EXPUNGEISSUED";
		t->text = "Some of the messages no longer exist.";
	}
	if (a->silent && !(c->enabled & EN_CONDSTORE))
		t->n = 0;
	c->run.data = t;
	c->run.step = tell_step;
	return CMD_MORE;
}

static enum cmd_result apply_step(struct client *c, struct err *e)
{
	struct change *ch = c->run.data;

	if (ch->at < ch->n && apply_piece(c, ch, e) < 0)
		return store_no(c, e, false);
	return ch->at < ch->n ? CMD_MORE : tell_start(c, ch);
}

enum cmd_result cmd_STORE(struct client *c, struct imap_lex *l, struct err *e)
{
	struct change *ch = ARENA_NEW(c->arena, struct change);

	if (get_args(c, l, &ch->args, e) < 0)
		return CMD_BAD;
	if (c->readonly)
		return command_answer(c, "NO", "READ-ONLY", "Mailbox is read-only.");
	ch->bits = flags_of(&ch->args.flags);
	if (!allow(c, ch))
		return no_perm(c);
	if (ch->args.conditional)
		condstore_enable(c);
	if (set_array(c, &ch->args.set, &ch->seqs, &ch->n, &ch->gone, e) < 0)
		return CMD_NO;
	if (!(ch->failed = ARENA_ARRAY(c->arena, uint32_t, ch->n + 1)))
		return err_set(e, ERR_LIMIT, 0, "too many messages"), CMD_NO;
	if (ch->args.conditional && ch->args.unchangedsince == 0) {	/* every message has been changed since (RFC 7162 3.1.3) */
		memcpy(ch->failed, ch->seqs, ch->n * sizeof(*ch->failed));
		ch->n_failed = ch->at = ch->n;
	}
	c->run.data = ch;
	c->run.step = apply_step;
	return CMD_MORE;
}
