/* SEARCH and UID SEARCH (RFC 3501 section 6.4.4): the walk over the folder in slices and the answer; what matches is search.c's matter. */
#include "search.h"
#include "session.h"

struct search {
	struct matcher matcher;
	uint32_t next;			/* message to look at */
	struct imap_seqset found;	/* sequence numbers or UIDs, as asked */
	size_t range;			/* of found, when answering */
	uint32_t at;
	bool answering;
	uint64_t modseq;		/* highest among what was found */
};

static void cleanup(struct client *c)
{
	struct search *s = c->run.data;

	matcher_fini(&s->matcher);
}

static int resolve(void *ctx, struct imap_seqset *set, bool uid, struct err *e)
{
	return set_resolve(ctx, set, uid, e);
}

/* "* SEARCH 2 84 882": one line, however long, in pieces. */
static enum cmd_result answer_step(struct client *c, struct search *s)
{
	struct buf *out = resp(c);

	for (unsigned n = 0; n < 1000; n++) {
		if (s->range == s->found.n) {
			if (s->matcher.uses_modseq && s->found.n)
				buf_printf(out, " (MODSEQ %llu)", (unsigned long long)s->modseq);
			buf_c(out, "\r\n");
			return CMD_OK;
		}
		const struct imap_range *r = &s->found.v[s->range];

		buf_ch(out, ' ');
		buf_u64(out, r->lo + s->at);
		if (r->lo + s->at++ == r->hi) {
			s->range++;
			s->at = 0;
		}
	}
	return CMD_MORE;
}

static enum cmd_result search_step(struct client *c, struct err *e)
{
	struct search *s = c->run.data;
	const uint32_t count = mbox_view_count(c->view);

	if (s->answering)
		return answer_step(c, s);
	/* Messages whose text is read one at a time, others by the dozen: the clock between steps is cheap, but not free. */
	for (unsigned n = 0; n < 32 && s->next <= count; n++) {
		const uint32_t seq = s->next++;
		const bool found = matcher_test(&s->matcher, seq);

		if (found && imap_seqset_add(c->arena, &s->found, c->run.uid ? mbox_view_uid(c->view, seq) : seq) < 0)
			return err_set(e, ERR_LIMIT, 0, "too many results"), CMD_NO;
		if (found && s->matcher.msg.modseq > s->modseq)
			s->modseq = s->matcher.msg.modseq;
		if (s->matcher.opened)
			break;
	}
	if (s->next > count) {
		s->answering = true;
		buf_c(resp(c), "* SEARCH");
	}
	return CMD_MORE;
}

static bool charset_known(struct str charset)
{
	return !charset.p || str_case_eq(charset, STR("UTF-8")) || str_case_eq(charset, STR("US-ASCII"));
}

enum cmd_result cmd_SEARCH(struct client *c, struct imap_lex *l, struct err *e)
{
	struct search *s = ARENA_NEW(c->arena, struct search);
	struct imap_search_key *keys;
	struct str charset;

	if (imap_get_sp(l, e) < 0 || imap_get_search_charset(l, &charset, e) < 0 || imap_get_search(l, &keys, e) < 0 || imap_get_end(l, e) < 0)
		return CMD_BAD;
	if (!charset_known(charset))
		return command_answer(c, "NO", "BADCHARSET (US-ASCII UTF-8)", "Unknown charset.");
	c->run.data = s;
	c->run.cleanup = cleanup;
	if (matcher_init(&s->matcher, c->arena, c->folder->mbox, c->view, keys, resolve, c, e) < 0)
		return CMD_BAD;
	if (s->matcher.uses_modseq)
		condstore_enable(c);
	s->next = 1;
	c->run.step = search_step;
	return CMD_MORE;
}
