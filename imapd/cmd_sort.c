/* SORT and UID SORT (RFC 5256; DISPLAYFROM and DISPLAYTO of RFC 5957, RELEVANCY of RFC 6203; RETURN of RFC 5267): the walk of a search, then the values
 * of what was found, then sorting, each in slices. Where the folder's order is kept (orders.h), only messages that came since are sorted, and put into it; where
 * it is not, but the folder has a file of keys (store/keys.h), it is made of that, without looking at a text. */
#include "imap/order.h"
#include "orders.h"
#include "searching.h"
#include "store/keys.h"
#include "store/summary.h"

enum {
	SUMMARIES_BATCH = 32, VALUES_BATCH = 256, COMPARISONS = 4096,
	INSERT_BATCH = 16,	/* messages that are put into a kept order at once */
	ORDER_BATCH = 4096,
	MANY = 16,		/* this part of the folder, at least, is worth an order of all of it */
};

struct sorting {
	struct searching s;	/* first */
	struct imap_sort_criterion by[IMAP_SORT_KEYS_MAX];
	size_t n_by;
	bool needs_text;	/* summaries are looked at, not only their dates, */
	bool needs_date;	/* or these */
	const uint32_t *rows;	/* sequence numbers that are sorted: what was found, or those that the kept order does not have */
	size_t n_rows;
	union imap_sort_value *values;
	size_t at;
	struct imap_sort sort;
	struct imap_order order;	/* by the file of keys */
	bool unsure;		/* a message could not be read: the next time its values may be others */
	uint32_t places;	/* of the view when the search ended */
	uint32_t filed;		/* below: in the file of keys */
	uint64_t stamp;			/* of what that file says */
	struct order_kept *kept;	/* NULL: none */
	const uint32_t *live;	/* its messages that are still there, */
	size_t n_live;
	uint32_t *before;	/* and for each row, in order, how many of them come before it */
	void (*cleanup)(struct client *c);	/* of the walk */
};

static void cleanup(struct client *c)
{
	struct sorting *t = c->run.data;

	order_put(&t->kept);
	t->cleanup(c);
}

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
static void values_of(struct client *c, struct sorting *t, uint32_t seq, unsigned score, union imap_sort_value *out)
{
	struct mbox_summary sum = { .sent = INT64_MIN };
	struct err quiet = { 0 };
	int64_t sent;

	if (t->needs_text ? mbox_summary_get(c->view, seq, &sum, &quiet) < 0 : t->needs_date && mbox_sent_get(c->view, seq, &sent, &quiet) < 0) {
		sum = (struct mbox_summary){ .sent = INT64_MIN };
		t->unsure = true;
	}
	for (size_t k = 0; k < t->n_by; k++) {
		const enum imap_sort_by by = t->by[k].by;

		if (imap_sort_is_text(by))
			out[k].text = keep(c, text_of(&sum, by));
	}
	for (size_t k = 0; k < t->n_by; k++) {
		const enum imap_sort_by by = t->by[k].by;

		if (!imap_sort_is_text(by))
			out[k].number = number_of(c, seq, score, by);
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

/* order NULL: the results are in order. */
static enum cmd_result finish(struct client *c, struct sorting *t, const uint32_t *order, struct err *e)
{
	if (t->s.matcher.all)
		folder_want_keys(c->folder);
	if ((order && results_permute(&t->s.results, c->arena, order, e) < 0) || searching_finish(c, &t->s, "SORT", e) < 0)
		return CMD_NO;
	/* CONTEXT=SORT is not offered (RFC 5267 section 4.1). */
	if (t->s.ret.what & IMAP_RETURN_UPDATE)
		no_update(c);
	c->run.step = answer_part;
	return CMD_MORE;
}

static unsigned next_values(void *ctx, uint32_t *seq)
{
	const struct sorting *const t = ctx;

	*seq = results_from(t->rows, t->n_rows, *seq);
	return *seq ? MBOX_AHEAD_SUMMARY : 0;
}

static enum cmd_result sort_step(struct client *c, struct err *e);

static enum cmd_result values_step(struct client *c, struct err *e)
{
	struct sorting *t = c->run.data;
	const struct results *r = &t->s.results;

	for (unsigned k = 0; k < (t->needs_text ? SUMMARIES_BATCH : VALUES_BATCH) && t->at < t->n_rows; k++, t->at++)
		values_of(c, t, t->rows[t->at], r->scores && !t->kept ? r->scores[t->at] : 0, &t->values[t->at * t->n_by]);
	if (t->at < t->n_rows)
		return CMD_MORE;
	mbox_ahead_end(c->view);
	t->sort = (struct imap_sort){ .by = t->by, .n_by = t->n_by, .values = t->values, .n = t->n_rows };
	if (imap_sort_begin(&t->sort, c->arena, e) < 0)
		return CMD_NO;
	c->run.step = sort_step;
	return CMD_MORE;
}

static enum cmd_result sort_rows(struct client *c, struct sorting *t, const uint32_t *rows, size_t n, struct err *e)
{
	t->rows = rows;
	t->n_rows = n;
	t->at = 0;
	if (!(t->values = ARENA_ARRAY(c->arena, union imap_sort_value, n * t->n_by + 1)))
		return err_set(e, ERR_LIMIT, 0, "too many messages to sort"), CMD_NO;
	if (t->needs_text || t->needs_date)
		mbox_ahead_begin(c->view, MBOX_AHEAD_SUMMARY, next_values, t);
	c->run.step = values_step;
	return CMD_MORE;
}

static enum cmd_result sort_found(struct client *c, struct sorting *t, struct err *e)
{
	order_put(&t->kept);
	return sort_rows(c, t, t->s.results.v, t->s.results.n, e);
}

/* --- from a kept order --- */

static uint32_t seq_there(const struct client *c, uint32_t place)
{
	const uint32_t seq = mbox_view_seq_at(c->view, place);

	return seq && !mbox_view_is_expunged(c->view, seq) ? seq : 0;
}

/* The numbers of messages at their places: looked up one by one they would take a search among those that have gone, each. */
struct numbers {
	uint32_t places;
	const uint32_t *v;	/* NULL: none has gone: place + 1 */
};

static int numbers_get(struct client *c, struct numbers *out, struct err *e)
{
	const uint32_t places = mbox_view_places(c->view);
	uint32_t *v;

	*out = (struct numbers){ .places = places };
	if (mbox_view_count(c->view) == places)
		return 0;
	if (!(v = ARENA_ARRAY(c->arena, uint32_t, places)))
		return err_set(e, ERR_LIMIT, 0, "too many messages to sort");
	mbox_view_seqs_get(c->view, places, v);
	out->v = v;
	return 0;
}

static uint32_t number_at(const struct numbers *x, uint32_t place)
{
	return place >= x->places ? 0 : x->v ? x->v[place] : place + 1;
}

/* Every message was found, and v names each: so they are the results. False: they are not, and nothing has changed. */
static bool pick_all(const struct client *c, struct results *r, const struct numbers *x, const uint32_t *v, size_t n)
{
	size_t k = 0;

	if (n != r->n || n != mbox_view_count(c->view) || r->scores || r->modseqs)
		return false;
	for (; k < n && (r->v[k] = number_at(x, v[k])) != 0; k++)
		;
	for (size_t i = 0; k < n && i < n; i++)
		r->v[i] = (uint32_t)i + 1;
	return k == n;
}

/* What was found, in the order of v. */
static enum cmd_result pick(struct client *c, struct sorting *t, const uint32_t *v, size_t n, struct err *e)
{
	const struct results *r = &t->s.results;
	struct numbers x;

	if (numbers_get(c, &x, e) < 0)
		return CMD_NO;
	if (pick_all(c, &t->s.results, &x, v, n))
		return finish(c, t, NULL, e);
	uint32_t *const index = ARENA_ARRAY(c->arena, uint32_t, mbox_view_count(c->view) + 1), *const order = ARENA_ARRAY(c->arena, uint32_t, r->n + 1);
	size_t k = 0;
	if (!index || !order)
		return err_set(e, ERR_LIMIT, 0, "too many messages to sort"), CMD_NO;
	for (size_t i = 0; i < r->n; i++)
		index[r->v[i]] = (uint32_t)i + 1;
	for (size_t i = 0; i < n && k < r->n; i++) {
		const uint32_t at = index[number_at(&x, v[i])];

		if (at)
			order[k++] = at - 1;
	}
	return k == r->n ? finish(c, t, order, e) : sort_found(c, t, e);
}

/* How a row and a message of the kept order stand. */
static int cmp_place(struct client *c, struct sorting *t, const union imap_sort_value *row, uint32_t place)
{
	const struct arena_mark mark = arena_mark(c->arena);
	union imap_sort_value v[IMAP_SORT_KEYS_MAX];

	values_of(c, t, mbox_view_seq_at(c->view, place), 0, v);
	const int r = imap_sort_cmp(t->by, t->n_by, row, v);
	arena_release(c->arena, mark);
	return r;
}

/* New messages come after those that are their equals. from: the row before it has so many before it. */
static uint32_t rank_of(struct client *c, struct sorting *t, const union imap_sort_value *row, uint32_t from)
{
	size_t lo = from, hi = t->n_live;

	while (lo < hi) {
		const size_t mid = lo + (hi - lo) / 2;

		if (cmp_place(c, t, row, t->live[mid]) < 0)
			hi = mid;
		else
			lo = mid + 1;
	}
	return (uint32_t)lo;
}

static enum cmd_result merged(struct client *c, struct sorting *t, struct err *e)
{
	uint32_t *const rows = ARENA_ARRAY(c->arena, uint32_t, t->n_rows + 1);

	if (!rows)
		return err_set(e, ERR_LIMIT, 0, "too many messages to sort"), CMD_NO;
	for (size_t i = 0; i < t->n_rows; i++)
		rows[i] = mbox_view_place(c->view, t->rows[t->sort.order[i]]);
	const struct order_more more = { .live = t->live, .n_live = t->n_live, .rows = rows, .before = t->before, .n = t->n_rows, .places = t->places };
	order_add(c, &t->kept, &more);
	return pick(c, t, t->kept->v, t->kept->n, e);
}

static enum cmd_result insert_step(struct client *c, struct err *e)
{
	struct sorting *t = c->run.data;

	for (unsigned k = 0; k < INSERT_BATCH && t->at < t->n_rows; k++, t->at++)
		t->before[t->at] = rank_of(c, t, &t->values[t->sort.order[t->at] * t->n_by], t->at ? t->before[t->at - 1] : 0);
	if (t->unsure)
		return sort_found(c, t, e);
	return t->at < t->n_rows ? CMD_MORE : merged(c, t, e);
}

/* Those of the kept order that are still there: all of it, where no more are numbered below its end. */
static bool live_find(struct client *c, struct sorting *t)
{
	const struct order_kept *const k = t->kept;
	uint32_t *live;

	t->live = k->v;
	t->n_live = k->n;
	if (mbox_view_is_live(c->view) && mbox_view_seq_before(c->view, k->places) == k->n)
		return true;
	if (!(live = ARENA_ARRAY(c->arena, uint32_t, k->n + 1)))
		return false;
	t->live = live;
	t->n_live = 0;
	for (size_t i = 0; i < k->n; i++) {
		if (seq_there(c, k->v[i]))
			live[t->n_live++] = k->v[i];
	}
	return true;
}

static enum cmd_result insert_begin(struct client *c, struct sorting *t, struct err *e)
{
	t->before = ARENA_ARRAY(c->arena, uint32_t, t->n_rows + 1);
	if (!t->before || !live_find(c, t))
		return err_set(e, ERR_LIMIT, 0, "too many messages to sort"), CMD_NO;
	t->at = 0;
	c->run.step = insert_step;
	return CMD_MORE;
}

/* The whole folder was sorted: the next time this serves. */
static void keep_order(struct client *c, const struct sorting *t)
{
	uint32_t *const v = xmalloc((t->n_rows + 1) * sizeof(*v));

	for (size_t i = 0; i < t->n_rows; i++)
		v[i] = mbox_view_place(c->view, t->rows[t->sort.order[i]]);
	order_keep(c, t->by, t->n_by, v, t->n_rows, t->places);
}

static enum cmd_result sort_step(struct client *c, struct err *e)
{
	struct sorting *t = c->run.data;

	if (!imap_sort_step(&t->sort, COMPARISONS))
		return CMD_MORE;
	if (t->kept)
		return insert_begin(c, t, e);
	if (t->s.matcher.all && !t->unsure && order_can_keep(t->by, t->n_by))
		keep_order(c, t);
	return finish(c, t, t->sort.order, e);
}

/* Messages that the kept order does not have. False: so many that all are sorted anew. */
static bool new_rows(struct client *c, const struct sorting *t, uint32_t **rows_out, size_t *n_out)
{
	const size_t max = t->kept->n / 8 + 64;
	const uint32_t from = t->kept->places;

	*n_out = 0;
	if (t->places > from && t->places - from > max)
		return false;
	*rows_out = ARENA_ARRAY(c->arena, uint32_t, max + 1);
	for (uint32_t place = from; place < t->places; place++) {
		const uint32_t seq = seq_there(c, place);

		if (seq && *rows_out)
			(*rows_out)[(*n_out)++] = seq;
	}
	return *rows_out != NULL;
}

static enum cmd_result sort_kept(struct client *c, struct sorting *t, struct err *e)
{
	uint32_t *rows;
	size_t n;

	if (!t->kept || !new_rows(c, t, &rows, &n))
		return sort_found(c, t, e);
	return n > 0 ? sort_rows(c, t, rows, n, e) : pick(c, t, t->kept->v, t->kept->n, e);
}

/* --- an order of all messages that the file of keys has --- */

static enum mbox_key key_of(enum imap_sort_by by)
{
	switch (by) {
	case IMAP_SORT_FROM:
		return MBOX_KEY_FROM;
	case IMAP_SORT_TO:
		return MBOX_KEY_TO;
	case IMAP_SORT_CC:
		return MBOX_KEY_CC;
	case IMAP_SORT_DISPLAYFROM:
		return MBOX_KEY_DISPLAYFROM;
	case IMAP_SORT_DISPLAYTO:
		return MBOX_KEY_DISPLAYTO;
	default:
		return MBOX_KEY_SUBJECT;
	}
}

/* Those that are looked at: each costs its checksum. */
static unsigned columns(const struct sorting *t)
{
	unsigned what = t->needs_date ? MBOX_KEYS_SENT : 0;

	for (size_t k = 0; k < t->n_by; k++)
		if (imap_sort_is_text(t->by[k].by))
			what |= 1U << key_of(t->by[k].by);
	return what;
}

/* By the file; of a message that has no date of its own: when it came. */
static int64_t filed(const void *ctx, uint32_t place, size_t k)
{
	const struct client *const c = ctx;
	const struct sorting *const t = c->run.data;
	const enum imap_sort_by by = t->by[k].by;
	int64_t sent;

	if (imap_sort_is_text(by))
		return mbox_keys_rank(c->folder->mbox, place, key_of(by));
	sent = by == IMAP_SORT_DATE ? mbox_keys_sent(c->folder->mbox, place) : INT64_MIN;
	return sent != INT64_MIN ? sent : mbox_msg_date(c->view, mbox_view_seq_at(c->view, place));
}

static enum cmd_result filed_order(struct client *c, struct sorting *t, struct err *e)
{
	const size_t n = t->order.n;
	uint32_t *const v = xmalloc((n + 1) * sizeof(*v));

	for (size_t i = 0; i < n; i++)
		v[i] = imap_order_row(&t->order, i);
	order_keep(c, t->by, t->n_by, v, n, t->filed < t->places ? t->filed : t->places);
	t->kept = order_get(c, t->by, t->n_by);
	return sort_kept(c, t, e);
}

static enum cmd_result filed_step(struct client *c, struct err *e)
{
	struct sorting *t = c->run.data;

	/* The file may be another one since the last slice. */
	if (mbox_keys_load(c->folder->mbox, columns(t)))
		return CMD_MORE;
	if (mbox_keys_places(c->folder->mbox) != t->filed || mbox_thread_numbers(c->folder->mbox).stamp != t->stamp)
		return sort_kept(c, t, e);
	const bool done = imap_order_step(&t->order, ORDER_BATCH);

	if (!mbox_keys_intact(c->folder->mbox))
		return sort_kept(c, t, e);
	return done ? filed_order(c, t, e) : CMD_MORE;
}

static void give_places(const struct client *c, struct imap_order *o)
{
	uint32_t places[256];

	for (size_t i = 0; i < o->n; i += ARRAY_LEN(places)) {
		const size_t n = o->n - i < ARRAY_LEN(places) ? o->n - i : ARRAY_LEN(places);

		mbox_view_places_get(c->view, (uint32_t)i + 1, (uint32_t)n, places);
		for (size_t k = 0; k < n; k++)
			imap_order_give(o, i + k, places[k]);
	}
}

static enum cmd_result load_step(struct client *c, struct err *e)
{
	struct sorting *t = c->run.data;

	if (mbox_keys_load(c->folder->mbox, columns(t)))
		return CMD_MORE;
	t->filed = mbox_keys_places(c->folder->mbox);
	t->stamp = mbox_thread_numbers(c->folder->mbox).stamp;
	t->order = (struct imap_order){ .by = t->by, .n_by = t->n_by, .number = filed, .ctx = c, .n = mbox_view_seq_before(c->view, t->filed) };
	if (t->order.n == 0)
		return sort_kept(c, t, e);
	if (imap_order_begin(&t->order, c->arena, e) < 0)
		return CMD_NO;
	give_places(c, &t->order);
	c->run.step = filed_step;
	return CMD_MORE;
}

static enum cmd_result found(struct client *c, struct searching *s, struct err *e)
{
	struct sorting *t = (struct sorting *)(void *)s;
	const bool keepable = order_can_keep(t->by, t->n_by);

	t->cleanup = c->run.cleanup;
	c->run.cleanup = cleanup;
	t->places = mbox_view_places(c->view);
	t->kept = keepable ? order_get(c, t->by, t->n_by) : NULL;
	if (t->kept || !keepable || s->results.n < mbox_view_count(c->view) / MANY)
		return sort_kept(c, t, e);
	c->run.step = load_step;
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
		t->needs_date |= t->by[i].by == IMAP_SORT_DATE;
		t->s.scored |= t->by[i].by == IMAP_SORT_RELEVANCY;
	}
	return searching_start(c, &t->s, l, true, e);
}
