/* THREAD and UID THREAD (RFC 5256; REFS): the walk of a search, then the messages into the tree, then its order and the answer, each in slices. Message ids and
 * subjects are numbers of the folder (store/keys.h), or, where few of its messages are threaded, of those alone. */
#include "base/ids.h"
#include "base/num.h"
#include "imap/thread.h"

#include "searching.h"
#include "store/keys.h"

enum {
	LOOK_BATCH = 32, ADD_BATCH = 256, WORK = 2048, PUT_BATCH = 1000,
	FEW = 16,	/* so many times fewer messages than ids in the folder */
};

struct threading {
	struct searching s;	/* first */
	enum imap_thread_alg alg;
	struct imap_thread *tree;
	struct mbox_thread_numbers numbers;
	struct ids ids, subjects;	/* of few messages: numbers of numbers */
	bool few;
	void (*cleanup)(struct client *c);	/* of the walk */
	size_t at;
	bool answering;
};

static void cleanup(struct client *c)
{
	struct threading *t = c->run.data;

	imap_thread_free(&t->tree);
	ids_fini(&t->ids);
	ids_fini(&t->subjects);
	mbox_thread_done(c->folder->mbox);
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

static int finish(struct client *c, struct threading *t, struct err *e)
{
	if (t->s.matcher.all)
		folder_want_keys(c->folder);
	if (searching_finish(c, &t->s, "THREAD", e) < 0)
		return -1;
	c->run.step = order_step;
	return 0;
}

static uint32_t number_of(const struct threading *t, const struct ids *few, uint32_t n)
{
	return t->few ? ids_find(few, n) : n;
}

static int add(struct client *c, struct threading *t, uint32_t seq, struct err *e)
{
	uint32_t refs[IMAP_THREAD_REFS_MAX];
	struct imap_thread_msg m = { .number = c->run.uid ? mbox_view_uid(c->view, seq) : seq };
	struct mbox_thread_keys k;

	mbox_thread_get(c->view, seq, &k);
	m.id = number_of(t, &t->ids, k.id);
	m.subject = number_of(t, &t->subjects, k.subject);
	m.reply = k.reply;
	m.date = k.sent != INT64_MIN ? k.sent : mbox_msg_date(c->view, seq);
	m.refs = k.refs;
	m.n_refs = k.n_refs;
	if (t->few) {
		m.refs = refs;
		m.n_refs = k.n_refs < ARRAY_LEN(refs) ? k.n_refs : ARRAY_LEN(refs);
		for (size_t i = 0; i < m.n_refs; i++)
			refs[i] = ids_find(&t->ids, k.refs[k.n_refs - m.n_refs + i]);
	}
	return imap_thread_add(t->tree, &m, e);
}

static enum cmd_result look_again(struct client *c, struct threading *t);

/* The numbers are others now: there is another file. */
static bool are_stale(struct client *c, const struct threading *t)
{
	return !mbox_keys_intact(c->folder->mbox) || mbox_thread_numbers(c->folder->mbox).stamp != t->numbers.stamp;
}

static enum cmd_result add_step(struct client *c, struct err *e)
{
	struct threading *t = c->run.data;
	const struct results *r = &t->s.results;

	if (are_stale(c, t))
		return look_again(c, t);
	for (unsigned n = 0; n < ADD_BATCH && t->at < r->n; n++) {
		if (add(c, t, r->v[t->at++], e) < 0)
			return CMD_NO;
	}
	if (are_stale(c, t))
		return look_again(c, t);
	if (t->at < r->n)
		return CMD_MORE;
	return finish(c, t, e) < 0 ? CMD_NO : CMD_MORE;
}

static enum cmd_result add_begin(struct client *c, struct threading *t)
{
	const uint32_t ids = t->few ? t->ids.n : t->numbers.ids, subjects = t->few ? t->subjects.n : t->numbers.subjects;

	t->tree = imap_thread_new(c->arena, t->alg, t->s.results.n, ids, subjects);
	t->at = 0;
	c->run.step = add_step;
	return CMD_MORE;
}

static void note(uint32_t n, struct ids *few)
{
	if (n)
		(void)ids_number(few, n);
}

static enum cmd_result number_step(struct client *c, struct err *e)
{
	struct threading *t = c->run.data;
	const struct results *r = &t->s.results;
	struct mbox_thread_keys k;

	(void)e;
	if (are_stale(c, t))
		return look_again(c, t);
	for (unsigned n = 0; n < ADD_BATCH && t->at < r->n; n++) {
		mbox_thread_get(c->view, r->v[t->at++], &k);
		note(k.id, &t->ids);
		note(k.subject, &t->subjects);
		for (size_t i = 0; i < k.n_refs; i++)
			note(k.refs[i], &t->ids);
	}
	return t->at < r->n ? CMD_MORE : add_begin(c, t);
}

static unsigned next_look(void *ctx, uint32_t *seq)
{
	const struct threading *const t = ctx;

	*seq = results_from(t->s.results.v, t->s.results.n, *seq);
	return *seq ? MBOX_AHEAD_SUMMARY : 0;
}

static enum cmd_result looked(struct client *c, struct threading *t)
{
	mbox_ahead_end(c->view);
	t->numbers = mbox_thread_numbers(c->folder->mbox);
	t->few = t->s.results.n < t->numbers.ids / FEW;
	if (!t->few)
		return add_begin(c, t);
	ids_fini(&t->ids);
	ids_fini(&t->subjects);
	ids_init(&t->ids, t->s.results.n);
	ids_init(&t->subjects, t->s.results.n);
	t->at = 0;
	c->run.step = number_step;
	return CMD_MORE;
}

/* A message that cannot be read is a thread of its own. */
static enum cmd_result look_step(struct client *c, struct err *e)
{
	struct threading *t = c->run.data;
	const struct results *r = &t->s.results;
	struct err quiet = { 0 };

	(void)e;
	for (unsigned n = 0; n < LOOK_BATCH && t->at < r->n; n++)
		(void)!mbox_thread_look(c->view, r->v[t->at++], &quiet);
	if (t->numbers.stamp != mbox_thread_numbers(c->folder->mbox).stamp)
		return look_again(c, t);
	return t->at < r->n ? CMD_MORE : looked(c, t);
}

/* Those that the file has need no look. */
static void skip_filed(struct client *c, struct threading *t)
{
	const uint32_t last = mbox_view_seq_before(c->view, mbox_keys_places(c->folder->mbox));

	t->at = u32_lower(t->s.results.v, t->s.results.n, last + 1);
}

static enum cmd_result load_step(struct client *c, struct err *e)
{
	struct threading *t = c->run.data;

	(void)e;
	if (mbox_keys_load(c->folder->mbox, MBOX_KEYS_THREAD))
		return CMD_MORE;
	t->numbers = mbox_thread_numbers(c->folder->mbox);
	skip_filed(c, t);
	mbox_ahead_begin(c->view, MBOX_AHEAD_SUMMARY, next_look, t);
	c->run.step = look_step;
	return CMD_MORE;
}

static enum cmd_result look_again(struct client *c, struct threading *t)
{
	imap_thread_free(&t->tree);
	c->run.step = load_step;
	return CMD_MORE;
}

static enum cmd_result found(struct client *c, struct searching *s, struct err *e)
{
	struct threading *t = (struct threading *)(void *)s;

	(void)e;
	t->cleanup = c->run.cleanup;
	c->run.cleanup = cleanup;
	return look_again(c, t);
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
