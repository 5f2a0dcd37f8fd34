/* SORT and UID SORT (RFC 5256; DISPLAYFROM and DISPLAYTO of RFC 5957, RELEVANCY of RFC 6203; RETURN of RFC 5267): the walk of a search, then the values
 * of what was found, then sorting, each in slices. */
#include "imap/sort.h"
#include "searching.h"
#include "store/summary.h"

enum { SUMMARIES_BATCH = 32, VALUES_BATCH = 256, COMPARISONS = 4096 };

struct sorting {
	struct searching s;	/* first */
	struct imap_sort_criterion by[IMAP_SORT_KEYS_MAX];
	size_t n_by;
	bool needs_text;	/* summaries are looked at, not only their dates */
	union imap_sort_value *values;
	size_t at;
	struct imap_sort sort;
};

/* A copy: what the store gives holds until its next call. */
static struct str keep(struct client *c, struct str s)
{
	return s.n ? arena_str(c->arena, s) : STR("");
}

static struct str text_of(const struct mbox_summary *sum, enum imap_sort_by by)
{
	switch (by) {
	case IMAP_SORT_CC:
		return sum->cc;
	case IMAP_SORT_FROM:
		return sum->from;
	case IMAP_SORT_TO:
		return sum->to;
	case IMAP_SORT_DISPLAYFROM:
		return sum->display_from;
	case IMAP_SORT_DISPLAYTO:
		return sum->display_to;
	default:
		return sum->base_subject;
	}
}

static int64_t number_of(struct client *c, uint32_t seq, unsigned score, enum imap_sort_by by)
{
	struct err quiet = { 0 };
	int64_t sent;
	uint64_t size;

	switch (by) {
	case IMAP_SORT_DATE:	/* without a date of its own: when it came (RFC 5256 2.2) */
		return mbox_sent_get(c->view, seq, &sent, &quiet) == 0 && sent != INT64_MIN ? sent : mbox_msg_date(c->view, seq);
	case IMAP_SORT_SIZE:
		return mbox_msg_size(c->view, seq, &size, &quiet) == 0 ? (int64_t)size : 0;
	case IMAP_SORT_RELEVANCY:	/* the best first */
		return -(int64_t)score;
	default:
		return mbox_msg_date(c->view, seq);
	}
}

/* A message that cannot be read is sorted as one without a header. */
static void values_of(struct client *c, struct sorting *t, size_t i)
{
	const struct results *r = &t->s.results;
	struct mbox_summary sum = { .sent = INT64_MIN };
	struct err e = { 0 };

	if (t->needs_text && mbox_summary_get(c->view, r->v[i], &sum, &e) < 0)
		sum = (struct mbox_summary){ .sent = INT64_MIN };
	for (size_t k = 0; k < t->n_by; k++) {
		const enum imap_sort_by by = t->by[k].by;
		union imap_sort_value *v = &t->values[i * t->n_by + k];

		if (imap_sort_is_text(by))
			v->text = keep(c, text_of(&sum, by));
		else
			v->number = number_of(c, r->v[i], r->scores ? r->scores[i] : 0, by);
	}
}

static enum cmd_result put_part(struct client *c, struct err *e)
{
	return searching_answer(c, c->run.data, e);
}

static enum cmd_result answer_part(struct client *c, struct err *e)
{
	struct sorting *t = c->run.data;

	return answer_making_step(c, &t->s.making, put_part, e);
}

static enum cmd_result sort_step(struct client *c, struct err *e)
{
	struct sorting *t = c->run.data;

	if (!imap_sort_step(&t->sort, COMPARISONS))
		return CMD_MORE;
	if (results_permute(&t->s.results, c->arena, t->sort.order, e) < 0 || searching_finish(c, &t->s, "SORT", e) < 0)
		return CMD_NO;
	/* CONTEXT=SORT is not offered (RFC 5267 section 4.1). */
	if (t->s.ret.what & IMAP_RETURN_UPDATE)
		no_update(c);
	c->run.step = answer_part;
	return CMD_MORE;
}

static enum cmd_result values_step(struct client *c, struct err *e)
{
	struct sorting *t = c->run.data;
	const size_t n = t->s.results.n;

	for (unsigned k = 0; k < (t->needs_text ? SUMMARIES_BATCH : VALUES_BATCH) && t->at < n; k++)
		values_of(c, t, t->at++);
	if (t->at < n)
		return CMD_MORE;
	t->sort = (struct imap_sort){ .by = t->by, .n_by = t->n_by, .values = t->values, .n = n };
	if (imap_sort_begin(&t->sort, c->arena, e) < 0)
		return CMD_NO;
	c->run.step = sort_step;
	return CMD_MORE;
}

static enum cmd_result found(struct client *c, struct searching *s, struct err *e)
{
	struct sorting *t = (struct sorting *)(void *)s;

	if (!(t->values = ARENA_ARRAY(c->arena, union imap_sort_value, s->results.n * t->n_by + 1)))
		return err_set(e, ERR_LIMIT, 0, "too many messages to sort"), CMD_NO;
	c->run.step = values_step;
	return CMD_MORE;
}

enum cmd_result cmd_SORT(struct client *c, struct imap_lex *l, struct err *e)
{
	struct sorting *t = ARENA_NEW(c->arena, struct sorting);

	t->s.then = found;
	searching_keeps(c, &t->s, l);
	if (imap_get_sp(l, e) < 0 || imap_get_search_return(l, &t->s.ret, e) < 0 || imap_get_sort(l, t->by, &t->n_by, e) < 0 || imap_get_sp(l, e) < 0)
		return CMD_BAD;
	for (size_t i = 0; i < t->n_by; i++) {
		t->needs_text |= imap_sort_is_text(t->by[i].by);
		t->s.scored |= t->by[i].by == IMAP_SORT_RELEVANCY;
	}
	return searching_start(c, &t->s, l, true, e);
}
