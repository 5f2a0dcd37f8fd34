/* A connection's numbering of a folder. Positions in the state never move; a view numbers those below its limit, but for the ones whose removal it has
 * announced (sorted, so sequence number and position convert in O(log removed)). What happens meanwhile stands in the folder's list of changes, which is dropped
 * when all views have read it; what a view has read and not announced are marked positions, two bits a message, however much happens to it. */
#include <assert.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/num.h"
#include "os/os.h"
#include "store/ahead.h"
#include "store/sync_priv.h"

/* --- sorted sets of positions --- */

static void set_put(uint32_t **v, size_t *n, size_t *cap, uint32_t x)
{
	if (*n == *cap) {
		*cap = *cap * 2 + 16;
		*v = xrealloc(*v, *cap * sizeof(**v));
	}
	(*v)[(*n)++] = x;
}

/* k more members, in order, none of which is in the set: from the end, so that each moves once. */
static void set_merge(uint32_t **v, size_t *n, size_t *cap, const uint32_t *more, size_t k)
{
	size_t i = *n, to = *n + k;

	if (k == 0)
		return;
	if (to > *cap) {
		*cap = to + to / 2 + 16;
		*v = xrealloc(*v, *cap * sizeof(**v));
	}
	*n = to;
	while (k > 0) {
		const size_t at = u32_lower(*v, i, more[k - 1]), above = i - at;
		assert(above == 0 || (*v)[at] != more[k - 1]);	/* a message goes once (state_apply.c) */
		to -= above;
		memmove(*v + to, *v + at, above * sizeof(**v));
		i = at;
		(*v)[--to] = more[--k];
	}
}

static bool set_has(const uint32_t *v, size_t n, uint32_t x)
{
	const size_t at = u32_lower(v, n, x);

	return at < n && v[at] == x;
}

/* --- numbers --- */

uint32_t mbox_view_count(const struct mbox_view *v)
{
	return v->limit - (uint32_t)v->n_removed;
}

uint32_t mbox_view_next(const struct mbox_view *v, uint32_t seq, uint32_t flags)
{
	const uint32_t n = mbox_view_count(v);
	uint32_t pos = seq >= 1 && seq <= n ? view_pos(v, seq) : v->limit;
	size_t k = u32_lower(v->removed, v->n_removed, pos);

	for (; pos < v->limit; pos++) {
		if (k < v->n_removed && v->removed[k] == pos) {
			k++;
			continue;
		}
		const struct rec *const r = state_rec(&v->m->st, pos);
		if ((r->flags & flags) && !(r->state & REC_GONE))
			return pos - (uint32_t)k + 1;
	}
	return 0;
}

/* All messages that are there, and no others: what is not numbered any more is gone, so the numbers of both tell. */
static bool numbers_all(const struct mbox_view *v)
{
	return v->pending.n == 0 && v->limit == state_count(&v->m->st) && mbox_view_count(v) == v->m->st.messages;
}

uint64_t mbox_view_stamp(const struct mbox_view *v)
{
	return numbers_all(v) && v->cursor == v->m->n_changes && v->flagged.n == 0 ? v->m->st.modseq : 0;
}

uint64_t mbox_view_members(const struct mbox_view *v)
{
	return numbers_all(v) ? v->m->st.members : 0;
}

uint32_t mbox_view_places(const struct mbox_view *v)
{
	return v->limit;
}

uint32_t mbox_view_place(const struct mbox_view *v, uint32_t seq)
{
	return view_pos(v, seq);
}

uint32_t mbox_view_seq_at(const struct mbox_view *v, uint32_t place)
{
	return view_seq(v, place);
}

void mbox_view_places_get(const struct mbox_view *v, uint32_t seq, uint32_t n, uint32_t *out)
{
	uint32_t pos = view_pos(v, seq);
	size_t k = u32_lower(v->removed, v->n_removed, pos);

	for (uint32_t i = 0; i < n; i++) {
		for (; k < v->n_removed && v->removed[k] == pos; k++)
			pos++;
		out[i] = pos++;
	}
}

void mbox_view_seqs_get(const struct mbox_view *v, uint32_t places, uint32_t *out)
{
	uint32_t seq = 0;
	size_t k = 0;

	for (uint32_t pos = 0; pos < places; pos++) {
		if (k < v->n_removed && v->removed[k] == pos) {
			out[pos] = 0;
			k++;
		} else {
			out[pos] = pos < v->limit ? ++seq : 0;
		}
	}
}

uint32_t mbox_view_seq_before(const struct mbox_view *v, uint32_t place)
{
	const uint32_t pos = place < v->limit ? place : v->limit;

	return pos - (uint32_t)u32_lower(v->removed, v->n_removed, pos);
}

uint32_t mbox_view_recent(const struct mbox_view *v)
{
	uint32_t n = 0;

	for (size_t i = 0; i < v->n_recent; i++) {
		for (uint32_t pos = state_lower(&v->m->st, v->recent[i].first); pos < v->limit; pos++) {
			const struct rec *const r = state_rec(&v->m->st, pos);
			if (r->uid > v->recent[i].last)
				break;
			n += !(r->state & REC_GONE);
		}
	}
	return n;
}

uint32_t view_pos(const struct mbox_view *v, uint32_t seq)
{
	size_t lo = 0, hi = v->n_removed;

	if (seq == 0 || seq > mbox_view_count(v))
		return UINT32_MAX;
	/* removed[i] - i live positions lie before the i-th removed one. */
	while (lo < hi) {
		const size_t mid = lo + (hi - lo) / 2;
		if (v->removed[mid] - (uint32_t)mid <= seq - 1)
			lo = mid + 1;
		else
			hi = mid;
	}
	return seq - 1 + (uint32_t)lo;
}

uint32_t view_seq(const struct mbox_view *v, uint32_t pos)
{
	const size_t below = u32_lower(v->removed, v->n_removed, pos);

	if (pos >= v->limit || (below < v->n_removed && v->removed[below] == pos))
		return 0;
	return pos + 1 - (uint32_t)below;
}

uint32_t mbox_view_uid(const struct mbox_view *v, uint32_t seq)
{
	const uint32_t pos = view_pos(v, seq);

	return pos == UINT32_MAX ? 0 : state_rec(&v->m->st, pos)->uid;
}

uint32_t mbox_view_seq(const struct mbox_view *v, uint32_t uid)
{
	const uint32_t pos = state_lower(&v->m->st, uid);

	return pos < v->limit && state_rec(&v->m->st, pos)->uid == uid ? view_seq(v, pos) : 0;
}

uint32_t mbox_view_seq_from(const struct mbox_view *v, uint32_t uid)
{
	uint32_t pos = state_lower(&v->m->st, uid);

	if (pos >= v->limit)
		return mbox_view_count(v) + 1;
	return pos + 1 - (uint32_t)u32_lower(v->removed, v->n_removed, pos);
}

/* As many are numbered as there are in the folder, and none of those that are there is not numbered: no record need be looked at. */
bool mbox_view_is_live(const struct mbox_view *v)
{
	const struct state *const st = &v->m->st;

	return v->limit == state_count(st) && mbox_view_count(v) == st->messages && !st->damaged;
}

bool mbox_view_is_expunged(const struct mbox_view *v, uint32_t seq)
{
	if (mbox_view_is_live(v))
		return false;
	const uint32_t pos = view_pos(v, seq);
	return pos != UINT32_MAX && (state_rec(&v->m->st, pos)->state & REC_GONE);
}

/* --- life --- */

static void see_recent(struct mbox_view *v)
{
	struct mbox *const m = v->m;
	uint32_t first = m->recent_uid;

	if (v->n_recent > 0 && v->recent[v->n_recent - 1].last >= first)
		first = v->recent[v->n_recent - 1].last + 1;
	if (first >= m->st.uidnext)
		return;
	v->recent = xrealloc(v->recent, (v->n_recent + 1) * sizeof(*v->recent));
	v->recent[v->n_recent++] = (struct range){ first, m->st.uidnext - 1 };
	if (v->takes_recent)
		m->recent_uid = m->st.uidnext;
	if (v->n_recent > 1 && v->recent[v->n_recent - 2].last + 1 == v->recent[v->n_recent - 1].first) {
		v->recent[v->n_recent - 2].last = v->recent[v->n_recent - 1].last;
		v->n_recent--;
	}
}

static size_t left_count(const struct mbox *m)
{
	return state_count(&m->st) - m->st.messages;
}

/* Those that have gone. None comes back, and none has another position: as long as they are as many they are the same, and nobody looks at all messages for them. */
static void left_look(struct mbox *m)
{
	if (m->n_left == left_count(m) && !m->st.damaged)
		return;
	m->n_left = 0;
	for (uint32_t pos = 0; pos < state_count(&m->st); pos++)
		if (state_rec(&m->st, pos)->state & REC_GONE)
			set_put(&m->left, &m->n_left, &m->cap_left, pos);
}

/* What a view that ends knows of them. */
static void left_learn(struct mbox *m, struct mbox_view *v)
{
	if (!numbers_all(v) || m->st.damaged || m->n_left == v->n_removed)
		return;
	free(m->left);
	m->left = v->removed;
	m->n_left = v->n_removed;
	m->cap_left = v->cap_removed;
	v->removed = NULL;
}

struct mbox_view *mbox_view_peek(struct mbox *m)
{
	struct mbox_view *const v = xzalloc(sizeof(*v));

	v->m = m;
	v->limit = state_count(&m->st);
	v->cursor = m->n_changes;
	/* Positions hold gone messages only while their files wait to be unlinked, or since this process opened the folder. */
	if (m->st.messages != v->limit) {
		left_look(m);
		set_merge(&v->removed, &v->n_removed, &v->cap_removed, m->left, m->n_left);
	}
	list_append(&m->views, &v->node);
	m->refs++;
	return v;
}

static struct mbox_view *seeing(struct mbox *m, bool takes)
{
	struct mbox_view *const v = mbox_view_peek(m);

	v->sees_recent = true;
	v->takes_recent = takes;
	see_recent(v);
	return v;
}

struct mbox_view *mbox_view_new(struct mbox *m)
{
	return seeing(m, true);
}

struct mbox_view *mbox_view_examine(struct mbox *m)
{
	return seeing(m, false);
}

/* Changes that all views have read are dropped. */
static void trim_changes(struct mbox *m)
{
	size_t least = m->n_changes;

	list_each(it, &m->views) {
		const struct mbox_view *const v = list_of(it, struct mbox_view, node);
		if (v->cursor < least)
			least = v->cursor;
	}
	if (least < m->n_changes && least < 4096)
		return;
	m->n_changes -= least;
	if (m->n_changes > 0)
		memmove(m->changes, m->changes + least, m->n_changes * sizeof(*m->changes));
	list_each(it, &m->views)
		list_of(it, struct mbox_view, node)->cursor -= least;
}

void mbox_view_free(struct mbox_view **vp)
{
	struct mbox_view *const v = *vp;
	struct mbox *m;

	*vp = NULL;
	if (v == NULL)
		return;
	m = v->m;
	mbox_ahead_end(v);
	list_del(&v->node);
	left_learn(m, v);
	free(v->removed);
	marks_fini(&v->pending);
	marks_fini(&v->flagged);
	free(v->recent);
	free(v->reader);
	for (size_t i = 0; i < m->n_changes; i++)
		if (m->changes[i].by == v)
			m->changes[i].by = NULL;
	free(v);
	trim_changes(m);
	mbox_reap_soon(m);
	mbox_close(&m);
}

/* --- sync --- */

static bool is_reader(struct mbox_view *v, uint32_t what)
{
	return what >= APPLIED_READER && v->reader && view_reader(v) == (int)(what - APPLIED_READER);
}

static void read_changes(struct mbox_view *v)
{
	const struct mbox *const m = v->m;

	for (; v->cursor < m->n_changes; v->cursor++) {
		const struct change *const c = &m->changes[v->cursor];
		if (c->what == APPLIED_GONE)
			marks_put(&v->pending, c->pos);
		else if (c->by != v && (c->what == APPLIED_FLAGS || is_reader(v, c->what)))
			marks_put(&v->flagged, c->pos);
	}
}

void views_read_changes(struct mbox *m)
{
	list_each(it, &m->views)
		read_changes(list_of(it, struct mbox_view, node));
	trim_changes(m);
}

/* Expunges that are still to be told. What was never numbered is removed without a word (tell_new). */
static bool expunges_left(const struct mbox_view *v)
{
	uint32_t pos;

	return marks_next(&v->pending, 0, &pos) && pos < v->limit;
}

typedef void tell_fn(void *ctx, enum mbox_change what, uint32_t seq, uint32_t uid);

/* Returns how many. */
static uint32_t tell_expunges(struct mbox_view *v, uint32_t max, tell_fn *fn, void *ctx)
{
	uint32_t told[MBOX_TOLD_MAX], n = 0, pos = v->limit;

	/* Highest first: the numbers of the others hold until their turn. */
	while (n < max && marks_last(&v->pending, pos, &pos)) {
		const uint32_t seq = view_seq(v, pos);
		marks_take(&v->pending, pos);
		told[MBOX_TOLD_MAX - ++n] = pos;
		if (seq != 0 && fn)
			fn(ctx, MBOX_CH_EXPUNGE, seq, state_rec(&v->m->st, pos)->uid);
	}
	set_merge(&v->removed, &v->n_removed, &v->cap_removed, told + MBOX_TOLD_MAX - n, n);
	return n;
}

static void tell_new(struct mbox_view *v, tell_fn *fn, void *ctx)
{
	const uint32_t old = v->limit, now = state_count(&v->m->st), before = mbox_view_count(v);
	uint32_t pos;

	if (now == old)
		return;
	v->limit = now;
	/* Come and gone since the last time: never numbered. And of what is new nobody knows other flags. */
	while (marks_next(&v->pending, old, &pos)) {
		marks_take(&v->pending, pos);
		set_put(&v->removed, &v->n_removed, &v->cap_removed, pos);
	}
	marks_cut(&v->flagged, old);
	if (v->sees_recent)
		see_recent(v);
	if (mbox_view_count(v) != before && fn)
		fn(ctx, MBOX_CH_EXISTS, mbox_view_count(v), 0);
}

static void tell_flags(struct mbox_view *v, uint32_t max, tell_fn *fn, void *ctx)
{
	for (uint32_t n = 0, pos = 0; n < max && marks_next(&v->flagged, pos, &pos); n++) {
		const struct rec *const r = state_rec(&v->m->st, pos);
		const uint32_t seq = !(r->state & REC_GONE) ? view_seq(v, pos) : 0;
		marks_take(&v->flagged, pos);
		if (seq != 0 && fn)
			fn(ctx, MBOX_CH_FLAGS, seq, r->uid);
	}
}

int mbox_view_sync_step(struct mbox_view *v, bool allow_expunge, uint32_t max, tell_fn *fn, void *ctx, struct err *e)
{
	uint32_t left = max < MBOX_TOLD_MAX ? max : MBOX_TOLD_MAX;

	if (v->m->gone)
		return err_set(e, ERR_NOENT, 0, "the folder has been deleted");
	read_changes(v);
	trim_changes(v->m);
	if (allow_expunge)
		left -= tell_expunges(v, left, fn, ctx);
	if (allow_expunge && expunges_left(v))
		return 1;
	tell_new(v, fn, ctx);
	tell_flags(v, left, fn, ctx);
	if (v->flagged.n > 0)
		return 1;
	if (allow_expunge)
		mbox_reap_soon(v->m);
	return 0;
}

int mbox_view_sync(struct mbox_view *v, bool allow_expunge, tell_fn *fn, void *ctx, struct err *e)
{
	int r;

	while ((r = mbox_view_sync_step(v, allow_expunge, MBOX_TOLD_MAX, fn, ctx, e)) > 0)
		;
	return r;
}

/* --- files of expunged messages --- */

enum {
	REAP_NOW = 20,		/* so many are unlinked at once; more, piece by piece when the folder is flushed, */
	REAP_LOOKS = 1 << 13,	/* for which so many records are looked at: half a millisecond */
};

bool mbox_untidy(const struct mbox *m)
{
	return m->st.zombies > 0 || m->in_tmp || mbox_journal_due(m) || mbox_index_due(m);
}

/* Does a view still number the message? Those that were opened by it may be read until it is told. */
static bool wanted(struct mbox *m, uint32_t pos)
{
	list_each(it, &m->views) {
		const struct mbox_view *const v = list_of(it, struct mbox_view, node);
		if (pos < v->limit && v != m->actor && !set_has(v->removed, v->n_removed, pos))
			return true;
	}
	return false;
}

void mbox_reap_soon(struct mbox *m)
{
	if (m->st.zombies <= REAP_NOW)
		mbox_reap(m, REAP_NOW);
}

/* At most max files, of at most so many records. True: more can be done; false, too, when those that are left are still wanted. */
static bool reap(struct mbox *m, uint32_t max, uint32_t looks)
{
	struct buf ops;
	struct err e = { 0 };
	uint32_t n = 0, done = 0;
	bool missed = false;

	if (m->st.zombies == 0 || m->gone || mbox_lock(m, &e) < 0)
		return false;
	buf_init(&ops, BATCH_MAX);
	const bool clean = sync_own_begin(m);
	/* Zombies are young as a rule: look from the end, or on from where the last piece ended. */
	const uint32_t before = m->st.zombies, count = state_count(&m->st);
	const bool goes_on = m->reaping.left == before && m->reaping.pos - 1 < count;
	const uint32_t start = goes_on ? m->reaping.pos : count, passed = goes_on ? m->reaping.passed : 0, all = passed < count ? count - passed : 0;
	uint32_t left = before, pos = 0, i;
	for (i = 1; i <= all && i <= looks && left > 0 && n < max; i++) {
		pos = i <= start ? start - i : start + count - i;
		const struct rec *const r = state_rec(&m->st, pos);
		const struct range one = { r->uid, r->uid };
		if (!(r->state & REC_ZOMBIE))
			continue;
		left--;
		if (wanted(m, pos))
			continue;
		const unsigned unlinked = message_unlink(m, r);
		n += unlinked;
		missed |= unlinked == 0;
		sync_own_step(m, n);
		op_ranges(&ops, OP_DONE, &one, 1);
		done++;
	}
	if (n > 0)
		sync_own_end(m, clean, n);
	/* Removed by another program, or renamed: a listing finds those while their names are known. Forgotten, they would come back as new ones. */
	if (missed && sync_cur(m, &e) < 0)
		buf_reset(&ops);
	/* Only when the unlinks are durable are the messages forgotten: else a power cut would bring their files back as new ones. */
	if (ops.n > 0 && (m->in_order || fsync(m->curfd) == 0))
		(void)!mbox_commit(m, &ops, DURABLE_LATER, &e);
	if (n > 0)
		sync_record(m);
	const bool through = left == 0 || i > all, forgotten = m->st.zombies + done == before;
	m->reaping = (struct tidy_walk){ forgotten && !through ? pos : 0, m->st.zombies, done > 0 ? 0 : passed + i - 1 };
	const bool more = m->st.zombies > 0 && (through ? m->st.zombies < before : forgotten);
	buf_fini(&ops);
	mbox_unlock_folder(m);
	return more;
}

void mbox_reap(struct mbox *m, uint32_t max)
{
	(void)reap(m, max, UINT32_MAX);
}

bool mbox_reap_step(struct mbox *m, uint32_t max)
{
	return reap(m, max, REAP_LOOKS);
}
