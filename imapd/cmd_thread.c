/* THREAD and UID THREAD (RFC 5256; REFS): the walk of a search, then the messages into the tree, then its order and the answer, each in slices. */
#include "imap/thread.h"

#include "searching.h"
#include "store/summary.h"

enum { ADD_BATCH = 32, WORK = 2048, PUT_BATCH = 1000 };

struct threading {
	struct searching s;	/* first */
	enum imap_thread_alg alg;
	struct imap_thread *tree;
	void (*cleanup)(struct client *c);	/* of the walk */
	size_t at;
	bool answering;
};

static void cleanup(struct client *c)
{
	struct threading *t = c->run.data;

	imap_thread_free(&t->tree);
	t->cleanup(c);
}

static enum cmd_result put_step(struct client *c, struct err *e)
{
	struct threading *t = c->run.data;
	struct buf *out = resp(c);

	(void)e;
	if (!t->answering)
		buf_c(out, "* THREAD");
	t->answering = true;
	if (!imap_thread_put(t->tree, out, PUT_BATCH))
		return CMD_MORE;
	buf_c(out, "\r\n");
	return CMD_OK;
}

static enum cmd_result answer_part(struct client *c, struct err *e)
{
	struct threading *t = c->run.data;

	return answer_making_step(c, &t->s.making, put_step, e);
}

static enum cmd_result order_step(struct client *c, struct err *e)
{
	struct threading *t = c->run.data;

	(void)e;
	if (imap_thread_step(t->tree, WORK))
		c->run.step = answer_part;
	return CMD_MORE;
}

/* A message that cannot be read is a thread of its own. */
static int add(struct client *c, struct threading *t, uint32_t number, struct err *e)
{
	const uint32_t seq = c->run.uid ? mbox_view_seq(c->view, number) : number;
	struct mbox_summary sum = { .sent = INT64_MIN };
	unsigned char refs[8 * SUMMARY_REFS_MAX];
	struct imap_thread_msg m = { .number = number, .refs = refs };
	struct err quiet = { 0 };

	if (mbox_summary_get(c->view, seq, &sum, &quiet) < 0)
		sum = (struct mbox_summary){ .sent = INT64_MIN };
	m.id = sum.msgid;
	m.reply = sum.reply;
	m.subject = sum.base_subject.n ? arena_str(c->arena, sum.base_subject) : STR("");
	m.n_refs = sum.n_refs;
	if (sum.n_refs)
		memcpy(refs, sum.refs, 8 * sum.n_refs);
	m.date = sum.sent != INT64_MIN ? sum.sent : mbox_msg_date(c->view, seq);
	return imap_thread_add(t->tree, &m, e);
}

static enum cmd_result add_step(struct client *c, struct err *e)
{
	struct threading *t = c->run.data;
	const struct results *r = &t->s.results;

	for (unsigned n = 0; n < ADD_BATCH && t->at < r->n; n++) {
		if (add(c, t, r->v[t->at++], e) < 0)
			return CMD_NO;
	}
	if (t->at == r->n)
		c->run.step = order_step;
	return CMD_MORE;
}

static enum cmd_result found(struct client *c, struct searching *s, struct err *e)
{
	struct threading *t = (struct threading *)(void *)s;

	if (searching_finish(c, s, "THREAD", e) < 0)
		return CMD_NO;
	t->tree = imap_thread_new(c->arena, t->alg, s->results.n);
	t->cleanup = c->run.cleanup;
	c->run.cleanup = cleanup;
	c->run.step = add_step;
	return CMD_MORE;
}

static int get_algorithm(struct imap_lex *l, enum imap_thread_alg *out, struct err *e)
{
	struct str word;

	if (imap_get_sp(l, e) < 0 || imap_get_atom(l, &word, e) < 0)
		return -1;
	for (unsigned i = 0; i < IMAP_THREAD_MAX_; i++) {
		if (str_case_eq(word, str_c(imap_thread_names[i]))) {
			*out = (enum imap_thread_alg)i;
			return 0;
		}
	}
	return err_set(e, ERR_INPUT, 0, "unknown threading algorithm");
}

enum cmd_result cmd_THREAD(struct client *c, struct imap_lex *l, struct err *e)
{
	struct threading *t = ARENA_NEW(c->arena, struct threading);

	t->s.then = found;
	searching_keeps(c, &t->s, l);
	if (get_algorithm(l, &t->alg, e) < 0 || imap_get_sp(l, e) < 0)
		return CMD_BAD;
	return searching_start(c, &t->s, l, true, e);
}
