/* A folder's lock, and changes under it: batches of the journal, reserved UIDs, numbers of keywords. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>

#include "base/clock.h"
#include "os/os.h"
#include "store/maildir_priv.h"
#include "store/store_priv.h"

/* --- lock --- */

static int lock(struct mbox *m, bool wait, struct err *e)
{
	int r;

	if (m->gone)
		return err_set(e, ERR_NOENT, 0, "the folder has been deleted");
	if (m->lock_depth > 0) {
		m->lock_depth++;
		return 0;
	}
	if (m->lockfd < 0)
		m->lockfd = openat(m->dirfd, LOCK_NAME, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK, 0600);
	if (m->lockfd < 0)
		return err_set(e, ERR_TEMP, errno, LOCK_NAME);
	if ((r = lock_try(m->lockfd)) < 0)
		r = err_set(e, ERR_TEMP, errno, "cannot lock the folder");
	if (r == 1 && wait) {
		mbox_openings_end(m->s);
		r = lock_take(m->lockfd, "the folder", e);
	}
	if (r != 0)
		return r;
	m->lock_depth = 1;
	if (m->st.uidvalidity != 0 && mbox_catch_up(m, e) < 0) {
		mbox_unlock_folder(m);
		return -1;
	}
	return 0;
}

int mbox_lock(struct mbox *m, struct err *e)
{
	return lock(m, true, e);
}

int mbox_lock_try(struct mbox *m, struct err *e)
{
	return lock(m, false, e);
}

void mbox_unlock_folder(struct mbox *m)
{
	if (m->lock_depth == 1 && m->j.fd >= 0 && m->st.uidvalidity != 0 && !m->gone)
		mbox_tidy(m);
	if (--m->lock_depth == 0)
		lock_release(m->lockfd);
}

/* --- changes --- */

/* Highest UID that ops give out; 0 none. -1: they make no sense. */
static int check_ops(struct str ops, uint32_t *uid_out, struct err *e)
{
	struct op o;

	*uid_out = 0;
	while (ops.n > 0) {
		if (op_next(&ops, &o, e) < 0)
			return -1;
		if (o.kind == OP_ASSIGN && o.assign.uid > *uid_out)
			*uid_out = o.assign.uid;
	}
	return 0;
}

/* What a batch of these operations says besides them; there is a journal to put it into. */
static int batch_ready(struct mbox *m, struct buf *ops, uint64_t *modseq_out, uint32_t *uidnext_out, struct err *e)
{
	const uint64_t now = clock_wall_us();
	uint32_t uid;

	mbox_pending_clear(m);
	if (buf_check(ops, "change", e) < 0 || check_ops(buf_view(ops), &uid, e) < 0)
		return -1;
	if (m->j.broken && mbox_replace_journal(m, false, e) < 0)
		return -1;
	*modseq_out = now > m->st.modseq ? now : m->st.modseq + 1;
	*uidnext_out = uid >= m->st.uidnext ? uid + 1 : m->st.uidnext;
	return 0;
}

int mbox_commit(struct mbox *m, struct buf *ops, enum durable how, struct err *e)
{
	uint64_t modseq;
	uint32_t uidnext;

	if (batch_ready(m, ops, &modseq, &uidnext, e) < 0 || journal_append(&m->j, buf_view(ops), modseq, uidnext, m->st.reserved, how, e) < 0)
		return -1;
	return state_apply(&m->st, buf_view(ops), modseq, e);
}

bool mbox_one_sync(const struct mbox *m)
{
	return m->in_order && !maildir_syncs_directories();
}

int mbox_commit_begin(struct mbox *m, struct buf *ops, uint64_t *modseq_out, struct err *e)
{
	uint32_t uidnext;

	return batch_ready(m, ops, modseq_out, &uidnext, e) < 0 ? -1 : journal_batch_write(&m->j, buf_view(ops), *modseq_out, uidnext, m->st.reserved, e);
}

int mbox_commit_written(struct mbox *m, struct err *e)
{
	return journal_batch_written(&m->j, e);
}

int mbox_commit_end(struct mbox *m, struct buf *ops, uint64_t modseq, struct err *e)
{
	if (journal_batch_sync(&m->j, e) < 0) {
		journal_batch_undo(&m->j);
		return -1;
	}
	journal_batch_take(&m->j);
	return state_apply(&m->st, buf_view(ops), modseq, e);
}

void mbox_commit_undo(struct mbox *m)
{
	journal_batch_undo(&m->j);
}

/* No UID is shown before the batch that gives it out is synced: where the file system commits in order, that sync is this one's, too. */
int mbox_reserve(struct mbox *m, size_t n, struct err *e)
{
	struct buf ops;
	int r;

	if (n > UID_MAX - m->st.uidnext)
		return err_set(e, ERR_LIMIT, 0, "no UIDs are left in this folder");
	if (m->st.uidnext + n <= m->st.reserved)
		return 0;
	const uint32_t want = m->st.uidnext + (uint32_t)n;
	buf_init(&ops, 64);
	op_reserve(&ops, want > UID_MAX - UID_RESERVE ? UID_MAX : want + UID_RESERVE);
	sync_group_begin(m->dirfd);
	r = mbox_commit(m, &ops, m->in_order ? DURABLE_LATER : DURABLE_NOW, e);
	if (r == 0)
		r = ident_write(m, e);
	sync_group_leave();
	buf_fini(&ops);
	return r;
}

void mbox_pending_clear(struct mbox *m)
{
	while (m->n_pending_kw > 0)
		free(m->pending_kw[--m->n_pending_kw]);
}

enum { NO_ROOM = -2 };

/* NO_ROOM: of a reader beyond the limit, to whom everything stays unread. */
static int keyword_id(struct mbox *m, struct str name, struct buf *ops, struct err *e)
{
	int id = state_keyword(&m->st, name);

	if (id >= 0)
		return id;
	for (size_t i = 0; i < m->n_pending_kw; i++)
		if (str_case_eq(str_c(m->pending_kw[i]), name))
			return (int)(m->st.n_keywords + i);
	if (keyword_hidden(name) && !reader_room(m, name))
		return NO_ROOM;
	if (name.n == 0 || name.n > STORE_KEYWORD_NAME_MAX || str_chr(name, '\0') >= 0)
		return err_set(e, ERR_INPUT, 0, "keyword of %zu bytes", name.n);
	if (m->st.n_keywords + m->n_pending_kw >= STORE_KEYWORDS_MAX)
		return err_set(e, ERR_LIMIT, 0, "more than %d keywords in the folder", STORE_KEYWORDS_MAX);
	id = (int)(m->st.n_keywords + m->n_pending_kw);
	m->pending_kw[m->n_pending_kw++] = xstrndup(name.p, name.n);
	op_keyword(ops, (unsigned)id, name);
	return id;
}

int mbox_keyword_ids(struct mbox *m, const struct str *names, size_t n, uint16_t *ids, size_t *n_out, struct buf *ops, struct err *e)
{
	size_t k = 0;

	for (size_t i = 0; i < n; i++) {
		const int id = keyword_id(m, names[i], ops, e);
		bool dup = false;
		if (id == NO_ROOM)
			continue;
		if (id < 0)
			return -1;
		for (size_t x = 0; x < k; x++)
			dup |= ids[x] == id;
		if (!dup)
			ids[k++] = (uint16_t)id;
	}
	*n_out = k;
	return 0;
}
