/* Changes of flags and keywords, expunges, and the lazy way of flags into file names. A change is one journal batch, synced before it returns; the file's name
 * follows in the background (mbox_flush): when the folder is closed, when the session idles, or by the admin's tool. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "store/search.h"
#include "store/sync_priv.h"

void ranges_add(struct ranges *r, uint32_t pos, uint32_t uid)
{
	if (r->n > 0 && r->last_pos + 1 == pos) {
		r->v[r->n - 1].last = uid;
	} else {
		if (r->n == r->cap) {
			r->cap = r->cap * 2 + 16;
			r->v = xrealloc(r->v, r->cap * sizeof(*r->v));
		}
		r->v[r->n++] = (struct range){ uid, uid };
	}
	r->last_pos = pos;
}

/* What is to be done to each message: one operation, or two where readers' flags stay as they are. */
struct part {
	enum mbox_flag_op op;
	unsigned flags;
	uint16_t ids[STORE_KEYWORDS_MAX];
	size_t n;
};
struct plan {
	struct part v[2];
	size_t n;
};

static bool kwset_would_change(const struct state *st, const struct rec *r, enum mbox_flag_op op, const uint16_t *ids, size_t n)
{
	const struct kwset *const k = state_kwset_get(st, r);
	size_t have = 0;

	for (size_t i = 0; i < n; i++)
		for (size_t j = 0; j < k->n; j++)
			have += k->ids[j] == ids[i];
	return op == MBOX_ADD ? have < n : op == MBOX_REMOVE ? have > 0 : have != n || k->n != n;
}

/* A change that changes nothing takes no journal space and no mod-sequence. */
static bool would_change(const struct state *st, const struct rec *r, const struct plan *p)
{
	const unsigned now = r->flags;

	for (size_t i = 0; i < p->n; i++) {
		const struct part *const x = &p->v[i];
		const unsigned then = x->op == MBOX_SET ? x->flags : x->op == MBOX_ADD ? now | x->flags : now & ~x->flags;

		if (then != now || kwset_would_change(st, r, x->op, x->ids, x->n))
			return true;
	}
	return false;
}

/* \Seen of a view's reader is a keyword: into the part with it. */
static int take_seen(struct mbox_view *v, struct part *x, struct buf *ops, struct err *e)
{
	const struct str name = str_c(v->reader);
	size_t one = 0;

	if (!(x->flags & MBOX_SEEN))
		return 0;
	x->flags &= ~(unsigned)MBOX_SEEN;
	if (x->op == MBOX_REMOVE && view_reader(v) < 0)
		return 0;
	if (x->n == STORE_KEYWORDS_MAX)
		return err_set(e, ERR_LIMIT, 0, "too many keywords");
	const int r = mbox_keyword_ids(v->m, &name, 1, x->ids + x->n, &one, ops, e);
	x->n += one;
	return r;
}

/* The keywords that are not among ids and not readers'. */
static void other_keywords(const struct state *st, const struct part *keep, struct part *out)
{
	for (size_t k = 0; k < st->n_keywords; k++) {
		bool kept = state_is_hidden(st, k);
		for (size_t i = 0; !kept && i < keep->n; i++)
			kept = keep->ids[i] == k;
		if (!kept)
			out->ids[out->n++] = (uint16_t)k;
	}
}

/* p->v[0] holds what was asked for. Where there are readers, what is set as a whole is taken away and added, so that the flags of the others stay. */
static int plan_readers(struct mbox_view *v, struct plan *p, struct buf *ops, struct err *e)
{
	struct part *const first = &p->v[0];

	p->n = 1;
	if (first->op == MBOX_SET && (v->reader || v->m->st.n_hidden > 0)) {
		p->v[1] = *first;
		p->v[1].op = MBOX_ADD;
		first->op = MBOX_REMOVE;
		first->flags = ~first->flags & 0x7f & ~(unsigned)MBOX_RECENT;
		first->n = 0;
		other_keywords(&v->m->st, &p->v[1], first);
		p->n = 2;
	}
	for (size_t i = 0; v->reader && i < p->n; i++)
		if (take_seen(v, &p->v[i], ops, e) < 0)
			return -1;
	return 0;
}

int mbox_store_flags(struct mbox_view *v, const uint32_t *seqs, size_t n, enum mbox_flag_op op, uint32_t flags, const struct str *keywords,
		     size_t n_keywords, uint64_t unchangedsince, uint32_t *failed, size_t *n_failed_out, struct err *e)
{
	struct mbox *const m = v->m;
	struct plan p;
	struct ranges rs = { 0 };
	size_t n_failed = 0;
	struct buf ops;
	int r;

	if (n_failed_out)
		*n_failed_out = 0;
	p.v[0].op = op;
	p.v[0].flags = flags & ~(uint32_t)MBOX_RECENT & 0x7f;
	p.v[0].n = 0;
	if (n_keywords > STORE_KEYWORDS_MAX)
		return err_set(e, ERR_LIMIT, 0, "too many keywords");
	if (mbox_lock(m, e) < 0)
		return -1;
	buf_init(&ops, BATCH_MAX);
	r = mbox_keyword_ids(m, keywords, n_keywords, p.v[0].ids, &p.v[0].n, &ops, e);
	if (r == 0)
		r = plan_readers(v, &p, &ops, e);
	for (size_t i = 0; r == 0 && i < n; i++) {
		const uint32_t pos = view_pos(v, seqs[i]);
		const struct rec *const rec = pos == UINT32_MAX ? NULL : state_rec(&m->st, pos);
		if (rec == NULL || (rec->state & REC_GONE))
			continue;
		if (unchangedsince != 0 && rec->modseq > unchangedsince) {
			if (failed)
				failed[n_failed] = seqs[i];
			n_failed++;
		} else if (would_change(&m->st, rec, &p)) {
			ranges_add(&rs, pos, rec->uid);
		}
	}
	if (r == 0 && rs.n > 0) {
		for (size_t i = 0; i < p.n; i++)
			op_flags(&ops, p.v[i].op, p.v[i].flags, p.v[i].ids, p.v[i].n, rs.v, rs.n);
		m->actor = v;
		r = mbox_commit(m, &ops, DURABLE_NOW, e);
		m->actor = NULL;
	}
	mbox_pending_clear(m);
	mbox_unlock_folder(m);
	buf_fini(&ops);
	free(rs.v);
	if (r == 0 && n_failed_out)
		*n_failed_out = n_failed;
	return r;
}

/* A range must name no message but those asked for: gone ones between do no harm. */
int mbox_expunge(struct mbox_view *v, const uint32_t *seqs, size_t n, struct err *e)
{
	struct mbox *const m = v->m;
	struct ranges rs = { 0 };
	struct buf ops;
	int64_t bytes = 0, count = 0;
	int r = 0;

	if (mbox_lock(m, e) < 0)
		return -1;
	buf_init(&ops, BATCH_MAX);
	for (size_t i = 0; i < n; i++) {
		const uint32_t pos = view_pos(v, seqs[i]);
		if (pos == UINT32_MAX || (state_rec(&m->st, pos)->state & REC_GONE))
			continue;
		ranges_add(&rs, pos, state_rec(&m->st, pos)->uid);
		bytes += (int64_t)state_rec(&m->st, pos)->size;
		count++;
	}
	if (rs.n > 0) {
		op_ranges(&ops, OP_EXPUNGE, rs.v, rs.n);
		r = mbox_commit(m, &ops, DURABLE_NOW, e);
	}
	if (r == 0)
		store_quota_add(m->s, -bytes, -count);
	if (r == 0 && rs.n > 0) {
		m->actor = v;	/* the one who expunges does not read on */
		mbox_reap_soon(m);
		m->actor = NULL;
	}
	mbox_unlock_folder(m);
	buf_fini(&ops);
	free(rs.v);
	return r;
}

/* --- names --- */

/* Give one file the name that its flags ask for. Number of directory events it caused. *missed: another program named or removed it meanwhile. */
static unsigned flush_one(struct mbox *m, const struct rec *r, struct buf *ops, bool *missed)
{
	char from[FILE_NAME_MAX + 1], to[FILE_NAME_MAX + 1];
	const uint8_t disk = disk_of_flags(r->flags);
	const struct str base = state_name(&m->st, r), info = state_info(&m->st, r);

	if (disk_name(from, base, r->disk, info) < 0 || disk_name(to, base, disk, info) < 0)
		return 0;
	if (strcmp(from, to) != 0 && rename_new(m->curfd, from, m->curfd, to) < 0) {
		if (errno != ENOENT)
			return 0;	/* stays as it is: the journal knows better */
		if (together_place(m, base, to) == 0) {
			op_named(ops, r->uid, disk, (struct str){ 0 }, info);
			return 1;
		}
		/* It has its name since before a crash; else what it is called now is not what we gave it. */
		if (faccessat(m->curfd, to, F_OK, AT_SYMLINK_NOFOLLOW) < 0) {
			*missed = true;
			return 0;
		}
	}
	op_named(ops, r->uid, disk, (struct str){ 0 }, info);
	return strcmp(from, to) != 0 ? 2 : 0;
}

int mbox_flush(struct mbox *m, size_t max, bool *more_out, struct err *e)
{
	struct buf ops;
	size_t done = 0, events = 0;
	bool missed = false;
	int r = 0;

	*more_out = false;
	mbox_cache_flush(m);
	*more_out = mbox_search_flush_step(m);
	*more_out |= together_settle(m, max, m->st.damaged);
	*more_out |= mbox_reap_step(m, max < UINT32_MAX ? (uint32_t)max : UINT32_MAX);
	if (m->st.unflushed == 0) {
		*more_out |= mbox_index_step(m);
		return 0;
	}
	if (mbox_lock(m, e) < 0)
		return -1;
	buf_init(&ops, BATCH_MAX);
	const bool clean = sync_own_begin(m);
	const uint32_t unflushed = m->st.unflushed, count = state_count(&m->st), start = m->naming.left == unflushed && m->naming.pos < count ? m->naming.pos : 0;
	uint32_t pos = 0;
	for (uint32_t i = 0; i < count && done < unflushed; i++) {
		pos = i < count - start ? start + i : start + i - count;
		const struct rec *const rec = state_rec(&m->st, pos);
		if ((rec->state & REC_GONE) || !state_unflushed(rec))
			continue;
		if (done == max) {
			*more_out = true;
			break;
		}
		events += flush_one(m, rec, &ops, &missed);
		sync_own_step(m, ++done);
	}
	if (events > 0)
		sync_own_end(m, clean, events);
	if (ops.n > 0)
		r = mbox_commit(m, &ops, DURABLE_LATER, e);
	m->naming = (struct tidy_walk){ .pos = done == max && m->st.unflushed + done == unflushed ? pos : 0, .left = m->st.unflushed };
	if (events > 0)
		sync_record(m);
	if (r == 0 && missed) {
		const uint64_t before = m->j.pos;
		r = sync_cur(m, e);
		*more_out |= m->st.unflushed > 0 && m->j.pos != before;	/* by the names that were found */
	}
	mbox_unlock_folder(m);
	buf_fini(&ops);
	*more_out |= mbox_journal_due(m) || mbox_index_due(m);	/* when the names are done */
	return r;
}
