/* FETCH and UID FETCH (RFC 3501 section 6.4.5): the walk over the messages of the set, a slice at a time. A message's text goes out in pieces as
 * the connection takes it; what was announced as a literal's length is what is sent, whatever happens to the file. */
#include "fetch.h"
#include "store/ahead.h"
#include "store/summary.h"

enum {
	CHUNK = 32768,		/* of a message in one step */
	BATCH = 64,		/* messages in one step, */
	OPENED = 16,		/* of which one whose file is read counts for so many */
};

static bool needs_text(const struct fetch *f)
{
	for (const struct imap_section *s = f->what.sections; s; s = s->next) {
		if (s->depth || s->kind == IMAP_SECTION_ALL || s->kind == IMAP_SECTION_TEXT)
			return true;
	}
	return false;
}

static void message_close(struct fetch *f)
{
	msgfile_close(&f->file);
	f->seq = 0;
}

static void cleanup(struct client *c)
{
	message_close(c->run.data);
	if (c->view)
		mbox_ahead_end(c->view);
	if (c->folder)
		mbox_cache_flush(c->folder->mbox);
}

/* Send the next piece of a literal; a file that has become shorter (mapped, cut) is filled up. */
static void send_piece(struct client *c, struct fetch *f)
{
	struct buf *out = resp(c);
	const size_t before = out->n;
	const uint64_t want = f->left < CHUNK ? f->left : CHUNK;

	if (f->raw.p) {
		buf_str(out, str_sub(f->raw, 0, want));
		f->raw = str_from(f->raw, want);
	} else {
		crlf_read(&f->cursor, out, want);
	}
	for (uint64_t n = out->n - before; n < want; n++)
		buf_ch(out, ' ');
	f->left -= want;
}

static bool next_seq(struct fetch *f, uint32_t *seq)
{
	while (f->range < f->set.n) {
		const struct imap_range *r = &f->set.v[f->range];

		if (f->at <= r->hi - r->lo) {
			*seq = r->lo + f->at++;
			return true;
		}
		f->range++;
		f->at = 0;
	}
	return false;
}

static bool is_kept(struct client *c, uint32_t seq)
{
	struct mbox_summary s;

	return mbox_summary_get(c->view, seq, &s, NULL) == 0;
}

/* f->msg is known. */
static int message_begin(struct client *c, struct fetch *f, uint32_t seq)
{
	struct buf *out;

	f->seq = seq;
	if (!f->light)
		f->mark = arena_mark(c->arena);
	f->section = f->what.sections;
	f->first = true;
	/* Opened first, so that a message that is gone leaves no half response. */
	if ((f->needs_text || f->needs_head || (f->section && !is_kept(c, seq))) && msgfile_open(&f->file, c->view, seq, !f->needs_text, &f->e) < 0)
		return -1;
	resp_new_keywords(c);
	out = resp(c);
	buf_c(out, "* ");
	buf_u64(out, seq);
	buf_c(out, " FETCH (");
	return 0;
}

static void message_items(struct client *c, struct fetch *f)
{
	/* Each item writes all of itself or nothing: what is there stays. */
	if (fetch_items(c, f, &f->e) == 0)
		return;
	f->lost = true;
	f->section = NULL;
}

static void message_end(struct client *c, struct fetch *f)
{
	struct buf *out = resp(c);

	if (f->first) {		/* nothing could be said: the grammar wants at least one item */
		buf_c(out, "UID ");
		buf_u64(out, f->msg.uid);
	}
	buf_c(out, ")\r\n");
	f->seq = 0;
	if (f->light)
		return;
	arena_release(c->arena, f->mark);
	message_close(f);
}

static void message_start(struct client *c, struct fetch *f, uint32_t seq)
{
	const bool there = mbox_msg_get(c->view, seq, &f->msg, &f->e) == 0;

	if (there && f->what.changed && f->msg.modseq <= f->what.changedsince)
		return;
	if (!there || message_begin(c, f, seq) < 0) {
		f->lost = true;
		message_close(f);
		return;
	}
	message_items(c, f);
	if (!f->section)
		message_end(c, f);
}

static void next_section(struct client *c, struct fetch *f)
{
	const struct arena_mark mark = arena_mark(c->arena);
	struct err e = { 0 };

	if (fetch_section(c, f, f->section, &e) < 0)
		f->lost = true;
	f->section = f->section->next;
	/* A selection of fields is small and lives in the arena until it is sent: now. */
	while (f->left && f->left <= CHUNK)
		send_piece(c, f);
	if (f->left == 0)
		arena_release(c->arena, mark);
}

static enum cmd_result fetch_step(struct client *c, struct err *e)
{
	struct fetch *f = c->run.data;
	uint32_t seq;

	(void)e;
	if (f->seq) {
		if (f->left)
			send_piece(c, f);
		else if (f->section)
			next_section(c, f);
		if (f->left == 0 && !f->section)
			message_end(c, f);
		return CMD_MORE;
	}
	for (unsigned n = 0; n < BATCH && !f->seq; n++) {
		if (!next_seq(f, &seq)) {
			c->run.own_flags = f->seen_now;
			if (f->unknown_cte)
				return command_answer(c, "NO", "UNKNOWN-CTE", "A part's transfer encoding is unknown.");
			if (f->lost && !c->run.uid)
				return command_answer(c, "NO", "EXPUNGEISSUED", "Some of the messages no longer exist.");
			return CMD_OK;
		}
		f->opened = false;
		message_start(c, f, seq);
		n += f->opened ? OPENED - 1 : 0;
	}
	return CMD_MORE;
}

void fetch_now(struct client *c, const struct imap_fetch *what, uint32_t seq)
{
	struct fetch f = { .what = *what };

	f.needs_text = needs_text(&f);
	message_start(c, &f, seq);
	while (f.seq) {
		if (f.left)
			send_piece(c, &f);
		else if (f.section)
			next_section(c, &f);
		if (f.left == 0 && !f.section)
			message_end(c, &f);
	}
}

static bool is_light(const struct fetch *f)
{
	return !f->what.sections && !(f->what.items & ~(FETCH_BIT(UID) | FETCH_BIT(FLAGS) | FETCH_BIT(MODSEQ) | FETCH_BIT(INTERNALDATE)));
}

static bool needs_head(const struct fetch *f)
{
	for (const struct imap_section *s = f->what.sections; s; s = s->next) {
		if (!fetch_from_summary(s))
			return true;
	}
	return false;
}

/* What is asked of a message whose file is not read for its sections anyway (store/ahead.h). */
static unsigned asks(const struct fetch *f)
{
	const uint32_t items = f->what.items;
	unsigned what = 0;

	if (f->needs_text || f->needs_head)
		return 0;
	if ((items & FETCH_BIT(ENVELOPE)) || f->what.sections)
		what |= MBOX_AHEAD_SUMMARY;
	if (items & (FETCH_BIT(BODY) | FETCH_BIT(BODYSTRUCTURE)))
		what |= MBOX_AHEAD_STRUCTURE;
	if (items & FETCH_BIT(INTERNALDATE))
		what |= MBOX_AHEAD_DATE;
	return what;
}

static unsigned next_asked(void *ctx, uint32_t *seq)
{
	struct client *const c = ctx;
	const struct fetch *const f = c->run.data;
	struct mbox_msg m;

	for (size_t i = f->range; i < f->set.n; i++) {
		const struct imap_range *const r = &f->set.v[i];

		if (*seq > r->hi)
			continue;
		*seq = *seq < r->lo ? r->lo : *seq;
		return f->what.changed && mbox_msg_get(c->view, *seq, &m, NULL) == 0 && m.modseq <= f->what.changedsince ? 0 : asks(f);
	}
	*seq = 0;
	return 0;
}

static void begin(struct client *c, struct fetch *f)
{
	f->light = is_light(f);
	f->needs_text = needs_text(f);
	f->needs_head = needs_head(f);
	c->run.data = f;
	c->run.cleanup = cleanup;
	if (asks(f))
		mbox_ahead_begin(c->view, asks(f), next_asked, c);
}

static enum cmd_result aside_step(struct client *c, struct err *e)
{
	struct fetch *f = c->run.data;

	if (fetch_step(c, e) == CMD_MORE)
		return CMD_MORE;
	const struct arena_mark before = f->before;

	cleanup(c);
	arena_release(c->arena, before);
	return CMD_ASIDE;
}

void fetch_aside(struct client *c, const struct imap_fetch *what, uint32_t from, uint32_t to)
{
	const struct arena_mark before = arena_mark(c->arena);
	struct fetch *f = ARENA_NEW(c->arena, struct fetch);
	struct imap_range *all = ARENA_NEW(c->arena, struct imap_range);

	*all = (struct imap_range){ from, to };
	*f = (struct fetch){ .what = *what, .set = { .v = all, .n = 1, .cap = 1 }, .before = before };
	begin(c, f);
	c->run.step = aside_step;
	command_aside(c);
}

/* --- \Seen --- */

/* Bodies that are read become \Seen: one change for all of them, before the first is sent. */
static int mark_seen(struct client *c, struct fetch *f, struct err *e)
{
	uint32_t *seqs = ARENA_ARRAY(c->arena, uint32_t, (size_t)imap_seqset_count(&f->set) + 1);
	struct mbox_msg m;
	size_t n = 0, n_failed = 0;

	if (!seqs)
		return err_set(e, ERR_LIMIT, 0, "too many messages");
	for (size_t i = 0; i < f->set.n; i++) {
		for (uint32_t seq = f->set.v[i].lo; seq <= f->set.v[i].hi; seq++) {
			if (mbox_view_is_expunged(c->view, seq) || mbox_msg_get(c->view, seq, &m, NULL) < 0 || (m.flags & MBOX_SEEN))
				continue;
			seqs[n++] = seq;
			if (imap_seqset_add(c->arena, &f->seen_now, seq) < 0)
				return err_set(e, ERR_LIMIT, 0, "too many messages");
		}
	}
	if (n == 0)
		return 0;
	if (mbox_store_flags(c->view, seqs, n, MBOX_ADD, MBOX_SEEN, NULL, 0, 0, NULL, &n_failed, e) < 0)
		return -1;
	for (size_t i = 0; c->n_contexts && i < n; i++)
		contexts_changed(c, mbox_view_uid(c->view, seqs[i]));
	folder_changed(c->user, c->folder->mbox);
	return 0;
}

static bool sets_seen(const struct fetch *f)
{
	for (const struct imap_section *s = f->what.sections; s; s = s->next) {
		if (!s->peek)
			return true;
	}
	return false;
}

/* UIDs of the set, as the client named them: what of them has vanished is told too. "1:*" means all that the client knows: also those behind the last
 * message that is left, of which it would never hear otherwise. */
static int known_uids(struct client *c, const struct fetch *f, struct imap_seqset *known, struct err *e)
{
	*known = (struct imap_seqset){ .n = f->set.n, .cap = f->set.n };
	if (!(known->v = ARENA_ARRAY(c->arena, struct imap_range, f->set.n + 1)))
		return err_set(e, ERR_LIMIT, 0, "sequence set too long");
	if (f->set.n)
		memcpy(known->v, f->set.v, f->set.n * sizeof(*known->v));
	known->saved = f->set.saved;
	if (known->saved)
		return set_uids(c, c->view, known, e);
	imap_seqset_resolve(known, UINT32_MAX);
	return 0;
}

/* Of the set's messages only those at the positions asked for. */
static void take_part(struct fetch *f)
{
	size_t from, to, at = 0, n = 0;

	imap_partial_resolve(&f->what.partial, (size_t)imap_seqset_count(&f->set), &from, &to);
	for (size_t i = 0; i < f->set.n; i++) {
		struct imap_range r = f->set.v[i];
		const size_t end = at + (r.hi - r.lo) + 1;

		if (end > from && at < to) {
			r.hi = end > to ? r.lo + (uint32_t)(to - at) - 1 : r.hi;
			r.lo = at < from ? r.lo + (uint32_t)(from - at) : r.lo;
			f->set.v[n++] = r;
		}
		at = end;
	}
	f->set.n = n;
}

static int get_args(struct client *c, struct imap_lex *l, struct fetch *f, struct imap_seqset *known, struct err *e)
{
	if (imap_get_sp(l, e) < 0 || imap_get_seqset(l, &f->set, e) < 0 || imap_get_sp(l, e) < 0 || imap_get_fetch(l, &f->what, e) < 0 ||
	    imap_get_fetch_modifiers(l, &f->what, e) < 0 || imap_get_end(l, e) < 0)
		return -1;
	if (f->what.vanished && !(c->run.uid && (c->enabled & EN_QRESYNC)))
		return err_set(e, ERR_INPUT, 0, "VANISHED needs UID FETCH and QRESYNC enabled");
	if (f->what.vanished && known_uids(c, f, known, e) < 0)
		return -1;
	if (f->what.part && !c->run.uid)
		return err_set(e, ERR_INPUT, 0, "PARTIAL needs UID FETCH");
	if (set_resolve(c, &f->set, c->run.uid, e) < 0)
		return -1;
	if (f->what.part)
		take_part(f);
	return 0;
}

/* What the client's use of mod-sequences asks for (RFC 7162 3.1, 3.2.4). */
static void implied_items(struct client *c, struct fetch *f)
{
	if (f->what.changed || (f->what.items & FETCH_BIT(MODSEQ)))
		condstore_enable(c);
	if (f->what.changed || ((f->what.items & FETCH_BIT(FLAGS)) && (c->enabled & EN_QRESYNC)))
		f->what.items |= FETCH_BIT(MODSEQ);
	if (c->run.uid || (c->enabled & EN_QRESYNC))
		f->what.items |= FETCH_BIT(UID);
}

enum cmd_result cmd_FETCH(struct client *c, struct imap_lex *l, struct err *e)
{
	struct fetch *f = ARENA_NEW(c->arena, struct fetch);
	struct imap_seqset known;
	struct err ignored = { 0 };

	if (get_args(c, l, f, &known, e) < 0)
		return CMD_BAD;
	implied_items(c, f);
	if (f->what.vanished && vanished_earlier(c, f->what.changedsince, &known, e) < 0)
		return CMD_NO;
	/* A full disk must not keep anybody from reading. */
	if (!c->readonly && (c->rights & ACL_S) && sets_seen(f) && mark_seen(c, f, &ignored) < 0)
		f->seen_now = (struct imap_seqset){ 0 };
	begin(c, f);
	c->run.step = fetch_step;
	return CMD_MORE;
}
