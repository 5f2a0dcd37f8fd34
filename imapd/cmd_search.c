/* SEARCH and UID SEARCH (RFC 3501 section 6.4.4; RETURN of RFC 4731, 5182, 5267, 9394): the walk over the folder in slices; what matches is search.c's
 * matter, how it is answered results.c's. */
#include "searching.h"

static void cleanup(struct client *c)
{
	struct searching *s = c->run.data;

	/* RFC 5182 2.1: a search that fails leaves nothing saved. */
	if (s->failed && (s->ret.what & IMAP_RETURN_SAVE))
		saved_put(c, NULL, 0);
	answer_making_fini(&s->making);
	answer_put(&s->kept);
	if (c->view)
		mbox_ahead_end(c->view);
	matcher_fini(&s->matcher);
}

static int resolve(void *ctx, struct imap_seqset *set, bool uid, struct err *e)
{
	struct client *c = ctx;

	return uid ? set_uids(c, c->view, set, e) : set_resolve(c, set, false, e);
}

enum { ALL_BATCH = 4096 };	/* messages at once where none is looked at */

static enum cmd_result all_step(struct client *c, struct err *e)
{
	struct searching *s = c->run.data;
	const uint32_t count = mbox_view_count(c->view);
	const bool live = mbox_view_is_live(c->view);

	for (unsigned n = 0; n < ALL_BATCH && s->next <= count; n++, s->next++) {
		if (live || !mbox_view_is_expunged(c->view, s->next))
			results_add(&s->results, s->next, MATCH_SCORE_FULL, 0);
	}
	c->run.done = s->next - 1;
	return s->next <= count ? CMD_MORE : s->then(c, s, e);
}

static enum cmd_result walk_step(struct client *c, struct err *e)
{
	struct searching *s = c->run.data;
	const uint32_t count = mbox_view_count(c->view);

	if (!matcher_ready(&s->matcher))
		return CMD_MORE;
	/* Messages whose text is read one at a time, others by the dozen: the clock between steps is cheap, but not free. */
	for (unsigned n = 0; n < 32 && s->next <= count; n++) {
		const uint32_t seq = matcher_next(&s->matcher, s->next);

		s->next = seq ? seq + 1 : count + 1;
		if (!seq)
			break;
		if (matcher_test(&s->matcher, seq))
			results_add(&s->results, seq, s->matcher.score, s->matcher.msg.modseq);
		if (s->matcher.opened)
			break;
	}
	c->run.done = s->next - 1;
	if (s->next <= count)
		return CMD_MORE;
	mbox_ahead_end(c->view);
	return s->then(c, s, e);
}

static enum cmd_result replay_step(struct client *c, struct err *e)
{
	struct searching *s = c->run.data;

	(void)e;
	if (!answer_replay(c, s->kept, &s->kept_at))
		return CMD_MORE;
	s->failed = false;
	return CMD_OK;
}

static bool charset_known(struct str charset)
{
	return !charset.p || str_case_eq(charset, STR("UTF-8")) || str_case_eq(charset, STR("US-ASCII"));
}

static int get_charset(const struct client *c, struct imap_lex *l, bool due, struct str *charset, struct err *e)
{
	if (!due && imap_get_search_charset(l, charset, e) < 0)
		return -1;
	if (!due && charset->p && (c->enabled & (EN_UTF8 | EN_REV2)) == EN_UTF8)
		return err_set(e, ERR_INPUT, 0, "no CHARSET after UTF8=ACCEPT was enabled (RFC 6855 3)");
	if (!due)
		return 0;
	if (imap_get_astring(l, charset, e) < 0)
		return -1;
	return imap_get_sp(l, e);
}

enum cmd_result searching_start(struct client *c, struct searching *s, struct imap_lex *l, bool charset_due, struct err *e)
{
	struct imap_search_key *keys;
	struct str charset;

	s->text = str_n(l->p, (size_t)(l->end - l->p));
	if (get_charset(c, l, charset_due, &charset, e) < 0 || imap_get_search(l, &keys, e) < 0 || imap_get_end(l, e) < 0)
		return CMD_BAD;
	if (!charset_known(charset)) {
		if (s->ret.what & IMAP_RETURN_SAVE)
			saved_put(c, NULL, 0);
		return command_answer(c, "NO", "BADCHARSET (US-ASCII UTF-8)", "Unknown charset.");
	}
	s->failed = true;
	c->run.data = s;
	c->run.cleanup = cleanup;
	if (matcher_init(&s->matcher, c->arena, c->folder->mbox, c->view, keys, resolve, c, e) < 0) {
		s->failed = false;	/* BAD: what was saved stays */
		return CMD_BAD;
	}
	const uint32_t room = s->matcher.all ? mbox_view_count(c->view) : RESULTS_FEW;

	if (results_init(&s->results, c->arena, room, s->scored || (s->ret.what & IMAP_RETURN_RELEVANCY), s->matcher.uses_modseq, e) < 0)
		return CMD_NO;
	if (s->matcher.uses_modseq)
		condstore_enable(c);
	s->next = 1;
	if (!s->matcher.all)
		mbox_ahead_begin(c->view, MATCHER_AHEAD, matcher_ahead, &s->matcher);
	c->run.goal = mbox_view_count(c->view);
	c->run.step = s->matcher.all ? all_step : walk_step;
	if (s->key.n > 0 && !s->ret.given && !s->matcher.passing && (s->kept = answer_get(c, s->key)) != NULL)
		c->run.step = replay_step;
	else if (s->key.n > 0 && !s->ret.given && !s->matcher.passing)
		answer_making_begin(c, &s->making, s->key, !s->matcher.uses_flags);
	return CMD_MORE;
}

void searching_keeps(struct client *c, struct searching *s, const struct imap_lex *l)
{
	struct buf b;

	buf_init(&b, (size_t)(l->end - l->p) + 100);
	buf_printf(&b, "%s%s", c->run.uid ? "UID " : "", c->run.cmd->verb);
	buf_mem(&b, l->p, (size_t)(l->end - l->p));
	s->key = arena_str(c->arena, buf_view(&b));
	buf_fini(&b);
}

/* RFC 5182 2.1 and RFC 9394 3.2, their tables: MIN and MAX save just those, PARTIAL its part, beside them; with COUNT it is all, as without any. */
static int save(struct client *c, const struct searching *s, struct err *e)
{
	const struct results *r = &s->results;
	const unsigned what = s->ret.what;
	size_t from = 0, to = r->n, n = 0;
	uint32_t *uids;

	if (!(uids = ARENA_ARRAY(c->arena, uint32_t, r->n + 2)))
		return err_set(e, ERR_LIMIT, 0, "too many messages");
	if (!(what & (IMAP_RETURN_ALL | IMAP_RETURN_COUNT)) && (what & (IMAP_RETURN_MIN | IMAP_RETURN_MAX | IMAP_RETURN_PARTIAL))) {
		to = 0;
		if (what & IMAP_RETURN_PARTIAL)
			imap_partial_resolve(&s->ret.partial, r->n, &from, &to);
		if (r->n && (what & IMAP_RETURN_MIN))
			uids[n++] = mbox_view_uid(c->view, r->v[0]);
		if (r->n && (what & IMAP_RETURN_MAX))
			uids[n++] = mbox_view_uid(c->view, r->v[r->n - 1]);
	}
	for (; from < to; from++)
		uids[n++] = mbox_view_uid(c->view, r->v[from]);
	saved_put(c, uids, n);
	return 0;
}

int searching_finish(struct client *c, struct searching *s, const char *verb, struct err *e)
{
	struct results *r = &s->results;

	if ((s->ret.what & IMAP_RETURN_SAVE) && save(c, s, e) < 0)
		return -1;
	for (size_t i = 0; c->run.uid && i < r->n; i++)
		r->v[i] = mbox_view_uid(c->view, r->v[i]);
	s->failed = false;
	s->answer = (struct answer){ .r = r, .ret = s->ret, .verb = verb, .uid = c->run.uid };
	return 0;
}

enum cmd_result searching_answer(struct client *c, struct searching *s, struct err *e)
{
	(void)e;
	/* Only SAVE: nothing but the tagged answer (RFC 5182 2.1). */
	if (s->ret.given && !(s->ret.what & ~(unsigned)IMAP_RETURN_SAVE))
		return CMD_OK;
	return answer_step(c, &s->answer) ? CMD_OK : CMD_MORE;
}

static enum cmd_result answer(struct client *c, struct err *e)
{
	return searching_answer(c, c->run.data, e);
}

static enum cmd_result found(struct client *c, struct searching *s, struct err *e)
{
	if (searching_finish(c, s, "SEARCH", e) < 0)
		return CMD_NO;
	if ((s->ret.what & IMAP_RETURN_UPDATE) && !s->matcher.uses_numbers)
		(void)context_begin(c, s->text, s->ret.items, s->results.v, s->results.n);
	else if (s->ret.what & IMAP_RETURN_UPDATE)
		no_update(c);
	c->run.step = answer;
	return CMD_MORE;
}

enum cmd_result cmd_SEARCH(struct client *c, struct imap_lex *l, struct err *e)
{
	struct searching *s = ARENA_NEW(c->arena, struct searching);

	s->then = found;
	if (imap_get_sp(l, e) < 0 || imap_get_search_return(l, &s->ret, e) < 0)
		return CMD_BAD;
	if (!s->ret.given && (c->enabled & EN_REV2))	/* RFC 9051 6.4.4: always ESEARCH */
		s->ret = (struct imap_search_return){ .given = true, .what = IMAP_RETURN_ALL };
	return searching_start(c, s, l, false, e);
}
