/* Keep what an opening must read small: a journal and an index are written anew, in pieces when nothing else is to do (mbox_flush), or at once when that did not
 * come in time. */
#include "log/log.h"
#include "store/store_priv.h"

enum {
	INDEX_TAIL_MIN = 4096,		/* journal bytes behind the index that are not worth a new one */
	JOURNAL_MIN = 1 << 16,		/* a journal smaller than this is never rewritten for its size */
	RECORD_ESTIMATE = 160,		/* bytes of a message in a rewritten journal */
	INDEX_STEP = 1 << 13,		/* records or names of a new index that are written at once: some milliseconds */
	JOURNAL_STEP = 1 << 13,		/* the same of a new journal */
};

static uint64_t index_tail_max(const struct mbox *m, unsigned part)
{
	const uint64_t n = (uint64_t)state_count(&m->st) * sizeof(struct rec) / part;

	return n > INDEX_TAIL_MIN ? n : INDEX_TAIL_MIN;
}

static void save_index(struct mbox *m)
{
	struct err e = { 0 };

	index_abort(&m->writing);
	if (index_save(m->dirfd, &m->st, m->j.generation, m->j.pos, &e) == 0) {
		m->index_pos = m->j.pos;
	} else {
		m->index_pos = m->j.pos;	/* not again for a while */
		log_debug("mailbox %s%s: index: %s", m->s->root, m->dir, e.text);
	}
}

bool mbox_index_due(const struct mbox *m)
{
	return m->j.fd >= 0 && m->st.uidvalidity != 0 && !m->gone && m->j.pos - m->index_pos > index_tail_max(m, 8) + 65536;
}

/* So much more than a new one would have: messages that are there, and those whose files are still to be removed. */
static bool journal_longer(const struct mbox *m, unsigned times)
{
	return m->j.pos > JOURNAL_MIN && m->j.pos / times > ((uint64_t)m->st.messages + m->st.zombies) * RECORD_ESTIMATE + JOURNAL_MIN;
}

bool mbox_journal_due(const struct mbox *m)
{
	return m->j.fd >= 0 && m->st.uidvalidity != 0 && !m->gone && journal_longer(m, 2);
}

static void replaced(struct mbox *m)
{
	m->index_pos = 0;
	if (m->ino_fd >= 0)
		m->wd_journal = -1;	/* watched anew at the next look */
}

/* Under the lock. 1: more is left. */
static int rewrite_step(struct mbox *m, struct err *e)
{
	int r = 0;

	if (m->rewriting && journal_stale(m->rewriting, &m->j))
		journal_abort(&m->rewriting, true);
	if (!m->rewriting && m->quiet_pos != m->j.pos) {	/* in a busy folder it would begin in vain, again and again */
		m->quiet_pos = m->j.pos;
		return 1;
	}
	if (!m->rewriting)
		r = journal_begin(&m->j, m->dirfd, &m->st, &m->rewriting, e);
	if (r == 0)
		r = journal_step(m->rewriting, JOURNAL_STEP, e);
	if (r == 0 && (r = journal_take(&m->rewriting, &m->j, false, e)) == 0)
		replaced(m);
	if (r < 0)
		journal_abort(&m->rewriting, true);
	return r;
}

/* A journal is rewritten in pieces while nothing else happens in the folder; true: more is left. */
static bool journal_step_due(struct mbox *m)
{
	struct err e = { 0 };

	if (!mbox_journal_due(m) || mbox_lock_try(m, &e) != 0)
		return false;
	const int r = rewrite_step(m, &e);

	mbox_unlock_folder(m);
	if (r < 0)
		log_debug("mailbox %s%s: journal: %s", m->s->root, m->dir, e.text);
	return r > 0;
}

/* due: a new index is worth it. */
static bool index_step_due(struct mbox *m, bool due)
{
	struct err e = { 0 };
	int r = 0;

	if (m->writing && (m->writing_pos != m->j.pos || m->writing_generation != m->j.generation))
		index_abort(&m->writing);
	if (!m->writing && !due)
		return false;
	if (!m->writing) {
		m->writing_generation = m->j.generation;
		m->writing_pos = m->j.pos;
		r = index_begin(m->dirfd, &m->st, m->j.generation, m->j.pos, &m->writing, &e);
	}
	if (r == 0)
		r = index_step(&m->writing, INDEX_STEP, &e);
	if (m->writing)
		return true;
	if (r < 0)
		log_debug("mailbox %s%s: index: %s", m->s->root, m->dir, e.text);
	m->index_pos = m->j.pos;	/* failed: not again for a while */
	return false;
}

bool mbox_index_step(struct mbox *m)
{
	return (!m->writing && journal_step_due(m)) || index_step_due(m, mbox_index_due(m));
}

/* At the last closing less is worth it: nobody writes it later. */
static bool index_due_last(const struct mbox *m)
{
	return m->j.pos - m->index_pos > index_tail_max(m, 32);
}

bool mbox_leaving(struct mbox *m, size_t max)
{
	struct err e = { 0 };
	bool more = false;

	if (m->refs > 1 || m->gone || m->j.fd < 0 || m->st.uidvalidity == 0 || m->loading)
		return false;
	if (mbox_flush(m, max, &more, &e) < 0)
		return false;
	return more || index_step_due(m, index_due_last(m));
}

void mbox_tidy(struct mbox *m)
{
	struct err e = { 0 };

	if (journal_longer(m, 6) && mbox_replace_journal(m, false, &e) < 0)
		log_warning("mailbox %s%s: %s", m->s->root, m->dir, e.text);
	if (m->j.pos - m->index_pos > 3 * index_tail_max(m, 1) + 65536)
		save_index(m);
}

void mbox_tidy_last(struct mbox *m)
{
	struct err e = { 0 };

	if (index_due_last(m) && m->lockfd >= 0 && mbox_lock_try(m, &e) == 0) {
		save_index(m);
		mbox_unlock_folder(m);
	}
}

int mbox_replace_journal(struct mbox *m, bool keep_bad, struct err *e)
{
	if (journal_replace(&m->j, m->dirfd, &m->st, keep_bad, e) < 0)
		return -1;
	replaced(m);
	return 0;
}
