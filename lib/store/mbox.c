/* A folder opened by this process: descriptors, the lock, the journal and the state behind it, the way to change it (commit), and what brings it up to
 * date with other processes and programs (refresh). One struct mbox per folder and process, shared and counted. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/enc.h"
#include "base/num.h"
#include "log/log.h"
#include "os/os.h"
#include "store/keys_priv.h"
#include "store/search.h"
#include "store/store_priv.h"

enum {
	INDEX_TAIL_MIN = 4096,		/* journal bytes behind the index that are not worth a new one */
	JOURNAL_MIN = 1 << 16,		/* a journal smaller than this is never rewritten for its size */
	RECORD_ESTIMATE = 160,		/* bytes of a message in a rewritten journal */
	FLUSH_AT_CLOSE = 1000,		/* file names brought up to date when a folder is closed */
	INDEX_STEP = 1 << 13,		/* records or names of a new index that are written at once: some milliseconds */
	JOURNAL_STEP = 1 << 13,		/* the same of a new journal */
};

/* --- second copy of the identity --- */

int ident_write(struct mbox *m, struct err *e)
{
	struct buf b;
	int r;

	buf_init(&b, 128);
	buf_printf(&b, "1 %u ", m->st.uidvalidity);
	hex_encode(&b, str_n(m->st.id, sizeof(m->st.id)));
	buf_printf(&b, " %u\n", m->st.reserved);
	r = file_replace_at(m->dirfd, IDENT_NAME, buf_view(&b), 0600, e);
	buf_fini(&b);
	return r;
}

int ident_read(int dirfd, uint32_t *uidvalidity, uint8_t id[16], uint32_t *bound)
{
	struct err quiet = { 0 };
	struct buf b, raw;
	uint64_t uv, bd;
	int r = 1;

	buf_init(&b, 256);
	buf_init(&raw, 16);
	if (file_read_at(dirfd, IDENT_NAME, 200, &b, &quiet) == 0) {
		struct str s = buf_view(&b);
		if (str_starts(s, STR("1 ")) && str_ends(s, STR("\n"))) {
			s = str_sub(s, 2, s.n - 3);
			const struct str a = str_split(&s, ' '), hex = str_split(&s, ' ');
			if (num_parse(a, 1, UINT32_MAX, &uv) == 0 && hex.n == 32 && hex_decode(&raw, hex) == 0 && raw.n == 16 &&
			    num_parse(s, 1, UINT32_MAX, &bd) == 0) {
				*uidvalidity = (uint32_t)uv;
				*bound = (uint32_t)bd;
				memcpy(id, raw.p, 16);
				r = 0;
			}
		}
	}
	buf_fini(&raw);
	buf_fini(&b);
	return r;
}

/* --- journal to state --- */

static int on_batch(void *ctx, struct str ops, uint64_t modseq, uint32_t uidnext, uint32_t reserved, struct err *e)
{
	struct state *const st = ctx;
	const int r = state_apply(st, ops, modseq, e);

	if (uidnext > st->uidnext)
		st->uidnext = uidnext;
	if (reserved > st->reserved)
		st->reserved = reserved;
	return r;
}

/* A hole: UIDs that were given out may be missing, but none above the synced reservation. */
static void skip_reserved(struct state *st)
{
	if (st->uidnext < st->reserved)
		st->uidnext = st->reserved;
	st->damaged = true;
	st->gone_floor = st->modseq;	/* expunges may be among what is lost */
}

/* Bytes that are no batch are behind us or at the end: set them aside, with the whole file (D8). */
static int mend(struct mbox *m, uint64_t tail, struct err *e)
{
	uint32_t uv, bound;
	uint8_t id[16];

	log_warning("mailbox %s%s: journal damaged%s: rewriting it, the old file is kept as postern.journal.bad", m->s->root, m->dir,
		    tail && !m->j.holes ? " at its end" : "");
	/* The reservation may have been among what is lost. */
	if (ident_read(m->dirfd, &uv, id, &bound) == 0 && uv == m->st.uidvalidity && bound > m->st.reserved)
		m->st.reserved = bound;
	skip_reserved(&m->st);
	if (mbox_replace_journal(m, true, e) < 0)
		return -1;
	sync_forget(m);
	return 0;
}

static int scan_journal(struct mbox *m, struct err *e)
{
	uint64_t tail;

	if (journal_scan(&m->j, on_batch, &m->st, &tail, e) < 0)
		return -1;
	return tail || m->j.holes ? mend(m, tail, e) : 0;
}

static void identity(struct mbox *m, const struct journal_head *h)
{
	m->st.uidvalidity = h->uidvalidity;
	m->st.uidnext = h->uidnext ? h->uidnext : 1;
	m->st.modseq = m->st.gone_floor = h->modseq;	/* what went before this journal is in none, unless VANISHED says so */
	memcpy(m->st.id, h->id, sizeof(m->st.id));
}

/* The journal is lost or its header is: what the index still knows, and the second copy. 1: nothing is left, begin anew. */
static int recover(struct mbox *m, struct err *e)
{
	uint32_t uv, bound;
	uint8_t id[16];
	uint64_t generation = 0, pos;
	const bool have_ident = ident_read(m->dirfd, &uv, id, &bound) == 0;

	if (index_load(m->dirfd, &generation, UINT64_MAX, &m->st, &pos) != 0 || (have_ident && (m->st.uidvalidity != uv || memcmp(m->st.id, id, 16) != 0))) {
		state_fini(&m->st);
		state_init(&m->st);
		if (!have_ident)
			return 1;
		m->st.uidvalidity = uv;
		memcpy(m->st.id, id, sizeof(id));
		m->st.uidnext = bound;
		m->st.modseq = clock_wall_us();
		if (sync_again(m, e) < 0)
			return -1;
	}
	log_warning("mailbox %s%s: the journal is lost: UIDs of %u messages are kept, others get new ones", m->s->root, m->dir, m->st.messages);
	if (have_ident && m->st.reserved < bound)
		m->st.reserved = bound;
	skip_reserved(&m->st);
	/* Mod-sequences that clients have seen are below the clock's. */
	if (m->st.modseq < clock_wall_us())
		m->st.modseq = clock_wall_us();
	m->st.gone_floor = m->st.modseq;
	if (ident_write(m, e) < 0 || mbox_replace_journal(m, true, e) < 0)
		return -1;
	sync_forget(m);
	return 0;
}

struct until {
	struct state *st;
	const struct journal *j;
	uint64_t end;
};

static int on_batch_until(void *ctx, struct str ops, uint64_t modseq, uint32_t uidnext, uint32_t reserved, struct err *e)
{
	const struct until *const u = ctx;

	return u->j->pos < u->end ? on_batch(u->st, ops, modseq, uidnext, reserved, e) : 0;
}

/* The state as the mapped index had it, from the journal. */
static int as_mapped(struct mbox *m, struct state *out, struct err *e)
{
	struct journal j;
	struct journal_head head;
	struct until u = { .st = out, .j = &j, .end = m->map_pos };
	uint64_t tail;

	if (journal_again(&m->j, &j, &head, e) < 0)
		return -1;
	out->uidvalidity = head.uidvalidity;
	out->uidnext = head.uidnext;
	out->modseq = head.modseq;
	memcpy(out->id, head.id, sizeof(out->id));
	return journal_scan(&j, on_batch_until, &u, &tail, e);
}

/* 64 records of the index are not what was written: take them from the journal. */
static int mend_chunk(void *ctx, uint32_t chunk)
{
	struct mbox *const m = ctx;
	const uint32_t first = chunk * STATE_CHUNK, end = first + STATE_CHUNK < m->st.n_map ? first + STATE_CHUNK : m->st.n_map;
	struct state fresh;
	struct err e = { 0 };
	uint32_t at = 0;

	log_warning("mailbox %s%s: postern.index is damaged: mending it from the journal", m->s->root, m->dir);
	(void)unlinkat(m->dirfd, INDEX_NAME, 0);	/* the next one is written anew */
	m->index_pos = 0;
	state_init(&fresh);
	int r = as_mapped(m, &fresh, &e);
	for (uint32_t pos = 0; r == 0 && pos < state_count(&fresh) && at < end; pos++) {
		const struct rec *const rec = state_rec(&fresh, pos);
		if ((rec->state & REC_GONE) && !(rec->state & REC_ZOMBIE))
			continue;
		if (at >= first)
			r = state_take(&m->st, at, &fresh, rec, &e);
		at++;
	}
	state_fini(&fresh);
	return r == 0 && at == end ? 0 : -1;
}

/* First load, under the lock. */
static int load(struct mbox *m, struct err *e)
{
	struct journal_head head;
	struct err one = { 0 };
	struct stat st;
	uint64_t pos;
	int r;
	bool shorter;

	if (journal_open(&m->j, m->dirfd, &head, &one) < 0) {
		if (one.code != ERR_NOENT && one.code != ERR_INPUT) {
			*e = one;
			return -1;
		}
		r = recover(m, e);
		return r == 1 ? sync_first(m, e) : r;
	}
	if (fstat(m->j.fd, &st) < 0)
		return err_set(e, ERR_TEMP, errno, JOURNAL_NAME);
	r = index_load(m->dirfd, &m->j.generation, (uint64_t)st.st_size, &m->st, &pos);
	shorter = r == 2;
	if (r == 0) {
		m->j.pos = m->index_pos = m->map_pos = pos;
		m->st.mend = mend_chunk;
		m->st.mend_ctx = m;
	} else {
		identity(m, &head);
		m->index_pos = 0;
	}
	if (scan_journal(m, e) < 0)
		return -1;
	/* A crash right after the folder's first journal leaves it without the second copy. */
	uint32_t uv, bound;
	uint8_t id[16];
	if (m->index_pos == 0 && ident_read(m->dirfd, &uv, id, &bound) != 0 && ident_write(m, e) < 0)
		return -1;
	/* A journal cut at the end of a batch looks whole; but others remember how long it was. */
	sync_record_read(m);
	if (!shorter && (m->told_generation != m->j.generation || m->told_pos <= m->j.pos))
		return 0;
	m->j.holes = true;
	return mend(m, 0, e);
}

/* --- another process replaced the journal --- */

struct differ {
	struct mbox *m;
	struct buf ops;
	struct err *e;
};

static void differ_message(struct differ *d, const struct state *fresh, const struct rec *was, const struct rec *is)
{
	const struct range one = { is->uid, is->uid };
	const struct kwset *const k = state_kwset_get(fresh, is), *const old_k = state_kwset_get(&d->m->st, was);

	if (!str_eq(state_name(&d->m->st, was), state_name(fresh, is)) || was->disk != is->disk ||
	    !str_eq(state_info(&d->m->st, was), state_info(fresh, is)))
		op_named(&d->ops, is->uid, is->disk, state_name(fresh, is), state_info(fresh, is));
	if (was->size != is->size || was->size_crlf != is->size_crlf)
		op_sizes(&d->ops, is->uid, is->size, is->size_crlf);
	if (was->flags != is->flags || k->n != old_k->n || (k->n && memcmp(k->ids, old_k->ids, k->n * sizeof(*k->ids)) != 0))
		op_flags(&d->ops, MBOX_SET, is->flags, k->ids, k->n, &one, 1);
}

static void differ_new(struct differ *d, const struct state *fresh, const struct rec *r)
{
	const struct kwset *const k = state_kwset_get(fresh, r);
	const struct assign a = { .uid = r->uid, .flags = r->flags, .disk = r->disk, .base = state_name(fresh, r), .info = state_info(fresh, r), .kw = k->ids,
		.n_kw = k->n, .modseq = r->modseq, .internaldate = r->internaldate, .savedate = r->savedate, .size = r->size, .size_crlf = r->size_crlf };

	if (a.base.n > 0)
		op_assign(&d->ops, &a);
}

/* Bring m->st to what fresh says, as operations, so that positions and views hold. */
static int merge(struct mbox *m, const struct state *fresh, struct err *e)
{
	struct differ d = { .m = m, .e = e };
	const uint32_t n_old = state_count(&m->st), n_new = state_count(fresh);
	uint32_t i = 0, k = 0;
	int r;

	buf_init(&d.ops, SIZE_MAX / 2);
	for (size_t w = m->st.n_keywords; w < fresh->n_keywords; w++)
		op_keyword(&d.ops, (unsigned)w, str_c(fresh->keywords[w]));
	while (i < n_old || k < n_new) {
		const struct rec *const was = i < n_old ? state_rec(&m->st, i) : NULL, *const is = k < n_new ? state_rec(fresh, k) : NULL;
		if (is && (is->state & REC_GONE)) {
			k++;
		} else if (was && (!is || was->uid < is->uid)) {
			const struct range one = { was->uid, was->uid };
			if (!(was->state & REC_GONE)) {
				op_ranges(&d.ops, OP_EXPUNGE, &one, 1);
				op_ranges(&d.ops, OP_DONE, &one, 1);
			}
			i++;
		} else if (is && (!was || is->uid < was->uid)) {
			if (!was)	/* an old UID that we never saw cannot be fitted in: it shows at the next opening */
				differ_new(&d, fresh, is);
			k++;
		} else {
			if (was && is && !(was->state & REC_GONE))
				differ_message(&d, fresh, was, is);
			i++;
			k++;
		}
	}
	r = buf_check(&d.ops, "folder", e);
	if (r == 0)
		r = state_apply(&m->st, buf_view(&d.ops), fresh->modseq, e);
	buf_fini(&d.ops);
	/* Messages that came and went meanwhile were never here. */
	m->st.gone_floor = fresh->modseq;
	m->st.uidnext = fresh->uidnext > m->st.uidnext ? fresh->uidnext : m->st.uidnext;
	m->st.reserved = fresh->reserved > m->st.reserved ? fresh->reserved : m->st.reserved;
	return r;
}

static int reload(struct mbox *m, struct journal *j, const struct journal_head *head, struct err *e)
{
	struct state fresh;
	uint64_t pos, tail;
	struct stat st;
	int r;

	if (head->uidvalidity != m->st.uidvalidity || memcmp(head->id, m->st.id, sizeof(head->id)) != 0)
		return err_set(e, ERR_TEMP, 0, "the folder was replaced by another");
	state_init(&fresh);
	if (fstat(j->fd, &st) == 0 && index_load(m->dirfd, &j->generation, (uint64_t)st.st_size, &fresh, &pos) == 0) {
		j->pos = pos;
	} else {
		fresh.uidvalidity = head->uidvalidity;
		fresh.uidnext = head->uidnext;
		fresh.modseq = fresh.gone_floor = head->modseq;
		memcpy(fresh.id, head->id, sizeof(fresh.id));
	}
	r = journal_scan(j, on_batch, &fresh, &tail, e);
	if (r == 0 && tail)
		j->holes = true;
	if (r == 0)
		r = merge(m, &fresh, e);
	state_fini(&fresh);
	return r;
}

static int follow_journal(struct mbox *m, struct err *e)
{
	struct journal j;
	struct journal_head head;
	struct err quiet = { 0 };
	uint64_t tail;
	int r = 0;

	state_verify_all(&m->st);	/* while there is something to mend from */
	/* The rest of the old one first: its end is what the new one was made from. */
	if (m->j.fd >= 0 && journal_scan(&m->j, on_batch, &m->st, &tail, e) < 0)
		return -1;
	if (journal_open(&j, m->dirfd, &head, &quiet) < 0)
		return mbox_replace_journal(m, true, e);	/* damaged or gone: we have the state */
	if (j.prev_generation == m->j.generation && !m->j.holes && head.uidvalidity == m->st.uidvalidity)
		j.pos = j.base_end;
	else
		r = reload(m, &j, &head, e);
	if (r < 0) {
		journal_close(&j);
		return -1;
	}
	journal_close(&m->j);
	m->j = j;
	m->index_pos = 0;
	return scan_journal(m, e);
}

/* Under the lock: everything that other processes wrote. */
int mbox_catch_up(struct mbox *m, struct err *e)
{
	struct stat st;

	if (fstatat(m->dirfd, JOURNAL_NAME, &st, AT_SYMLINK_NOFOLLOW) < 0) {
		if (errno != ENOENT)
			return err_set(e, ERR_TEMP, errno, JOURNAL_NAME);
		if (fstat(m->curfd, &st) == 0 && st.st_nlink == 0) {
			m->gone = true;
			return err_set(e, ERR_NOENT, 0, "the folder has been deleted");
		}
		return mbox_replace_journal(m, false, e);
	}
	if (st.st_ino != m->j.ino || m->j.fd < 0)
		return follow_journal(m, e);
	if ((uint64_t)st.st_size == m->j.pos)
		return 0;
	if ((uint64_t)st.st_size < m->j.pos) {	/* cut short by somebody: we know what it held */
		m->j.holes = true;
		return mend(m, 0, e);
	}
	return scan_journal(m, e);
}

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
	if (wait)
		r = lock_take(m->lockfd, "the folder", e);
	else if ((r = lock_try(m->lockfd)) < 0)
		r = err_set(e, ERR_TEMP, errno, "cannot lock the folder");
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

/* So much more than a new one would have. */
static bool journal_longer(const struct mbox *m, unsigned times)
{
	return m->j.pos > JOURNAL_MIN && m->j.pos / times > (uint64_t)m->st.messages * RECORD_ESTIMATE + JOURNAL_MIN;
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

bool mbox_index_step(struct mbox *m)
{
	struct err e = { 0 };
	int r = 0;

	if (!m->writing && journal_step_due(m))
		return true;
	if (m->writing && (m->writing_pos != m->j.pos || m->writing_generation != m->j.generation))
		index_abort(&m->writing);
	if (!m->writing && !mbox_index_due(m))
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

/* Keep what an opening must read small. A journal and an index are written in pieces when nothing else is to do (mbox_flush), or here when that did not come in
 * time. */
static void tidy(struct mbox *m)
{
	struct err e = { 0 };

	if (journal_longer(m, 6) && mbox_replace_journal(m, false, &e) < 0)
		log_warning("mailbox %s%s: %s", m->s->root, m->dir, e.text);
	if (m->j.pos - m->index_pos > 3 * index_tail_max(m, 1) + 65536)
		save_index(m);
}

void mbox_unlock_folder(struct mbox *m)
{
	if (m->lock_depth == 1 && m->j.fd >= 0 && m->st.uidvalidity != 0 && !m->gone)
		tidy(m);
	if (--m->lock_depth == 0)
		lock_release(m->lockfd);
}

int mbox_replace_journal(struct mbox *m, bool keep_bad, struct err *e)
{
	if (journal_replace(&m->j, m->dirfd, &m->st, keep_bad, e) < 0)
		return -1;
	replaced(m);
	return 0;
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

int mbox_commit(struct mbox *m, struct buf *ops, enum durable how, struct err *e)
{
	const uint64_t now = clock_wall_us();
	const uint64_t modseq = now > m->st.modseq ? now : m->st.modseq + 1;
	uint32_t uid;

	mbox_pending_clear(m);
	if (buf_check(ops, "change", e) < 0 || check_ops(buf_view(ops), &uid, e) < 0)
		return -1;
	if (m->j.broken && mbox_replace_journal(m, false, e) < 0)
		return -1;
	if (journal_append(&m->j, buf_view(ops), modseq, uid >= m->st.uidnext ? uid + 1 : m->st.uidnext, m->st.reserved, how, e) < 0)
		return -1;
	return state_apply(&m->st, buf_view(ops), modseq, e);
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
	r = mbox_commit(m, &ops, fs_commits_in_order(m->dirfd) ? DURABLE_LATER : DURABLE_NOW, e);
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

/* --- open and close --- */

static void on_applied(void *ctx, enum applied what, uint32_t pos)
{
	struct mbox *const m = ctx;

	if (list_empty(&m->views))
		return;
	if (m->n_changes == m->cap_changes) {
		m->cap_changes = m->cap_changes * 2 + 64;
		m->changes = xrealloc(m->changes, m->cap_changes * sizeof(*m->changes));
	}
	m->changes[m->n_changes++] = (struct change){ .pos = pos, .what = (uint32_t)what, .by = m->actor };
}

static void mbox_free(struct mbox *m)
{
	list_del(&m->node);
	journal_close(&m->j);
	state_fini(&m->st);
	if (m->guard_wd >= 0 && m->s->guard_ino >= 0)
		(void)inotify_rm_watch(m->s->guard_ino, m->guard_wd);
	int *const fds[] = { &m->dirfd, &m->curfd, &m->newfd, &m->lockfd, &m->popfd, &m->ino_fd };
	for (size_t i = 0; i < ARRAY_LEN(fds); i++)
		close_fd(fds[i]);
	index_abort(&m->writing);
	journal_abort(&m->rewriting, false);
	cache_close(&m->cache);
	search_close(&m->search);
	keys_free(&m->keys);
	mbox_pending_clear(m);
	free(m->changes);
	free(m->dir);
	free(m);
}

static int open_sub(struct mbox *m, const char *name, int *fd, struct err *e)
{
	*fd = openat(m->dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return *fd < 0 ? err_set(e, ERR_TEMP, errno, "%s", name) : 0;
}

static int open_folder(struct store *s, const char *dir, struct mbox **out, struct err *e)
{
	struct mbox *const m = xzalloc(sizeof(*m));
	struct err quiet = { 0 };
	int r;

	*m = (struct mbox){ .s = s, .refs = 1, .dir = xstrdup(dir), .dirfd = -1, .curfd = -1, .newfd = -1, .lockfd = -1, .popfd = -1, .ino_fd = -1,
		.wd_journal = -1, .wd_cur = -1, .wd_new = -1, .guard_wd = -1, .recent_uid = 1 };
	m->j.fd = -1;
	cache_init(&m->cache);
	search_init(&m->search);
	m->keys = keys_new();
	list_init(&m->node);
	list_init(&m->views);
	state_init(&m->st);
	/* A kill may have left a folder without all of its directories. */
	struct stat there;
	const bool mend_it = s->create && fstatat(s->rootfd, *dir ? dir : ".", &there, AT_SYMLINK_NOFOLLOW) == 0;
	r = maildir_open_at(s->rootfd, dir, mend_it, &m->dirfd, e);
	if (r == 0 && (open_sub(m, "cur", &m->curfd, e) < 0 || open_sub(m, "new", &m->newfd, e) < 0))
		r = -1;
	if (r == 0 && maildir_recover(m->dirfd, &quiet) < 0)
		log_warning("mailbox %s%s: tmp: %s", s->root, dir, quiet.text);
	if (r == 0)
		r = mbox_lock(m, e);
	if (r == 0) {
		r = load(m, e);
		if (r == 0) {
			m->st.applied = on_applied;
			m->st.applied_ctx = m;
		}
		mbox_unlock_folder(m);
	}
	if (r < 0) {
		mbox_free(m);
		return -1;
	}
	list_append(&s->mboxes, &m->node);
	*out = m;
	return 0;
}

/* The folder that this process has open under that directory, if it is still the same directory. */
static struct mbox *find_open(struct store *s, const char *dir)
{
	struct stat a, b;

	list_each(it, &s->mboxes) {
		struct mbox *const m = list_of(it, struct mbox, node);
		if (strcmp(m->dir, dir) != 0 || m->gone)
			continue;
		if (fstat(m->dirfd, &a) == 0 && fstatat(s->rootfd, *dir ? dir : ".", &b, AT_SYMLINK_NOFOLLOW) == 0 && a.st_ino == b.st_ino && a.st_dev == b.st_dev)
			return m;
	}
	return NULL;
}

int mbox_open(struct store *s, struct str name, struct mbox **out, struct err *e)
{
	struct buf dir;
	struct mbox *m;
	int r;

	buf_init(&dir, FILE_NAME_MAX + 8);
	r = store_ready(s, e);
	if (r == 0)
		r = store_dir_of(s, name, &dir, e);
	if (r < 0) {
		buf_fini(&dir);
		return -1;
	}
	buf_ch(&dir, '\0');
	m = find_open(s, dir.p);
	if (m)
		m->refs++;
	else
		r = open_folder(s, dir.p, &m, e);
	buf_fini(&dir);
	if (r < 0)
		return -1;
	if (mbox_refresh(m, e) < 0) {
		mbox_close(&m);
		return -1;
	}
	mbox_reap_soon(m);
	*out = m;
	return 0;
}

/* What was recent for a view of ours is not recent for the next process. */
static void tell_recent(struct mbox *m)
{
	struct err e = { 0 };

	if (m->recent_uid <= m->recent_told || m->lockfd < 0 || mbox_lock_try(m, &e) != 0)
		return;
	sync_record_read(m);	/* others may have written it since */
	sync_record(m);
	mbox_unlock_folder(m);
}

/* What can wait until nobody looks: file names, unlinks, the index. */
static void last_close(struct mbox *m)
{
	struct err e = { 0 };
	bool more;

	if (m->gone || m->j.fd < 0 || m->st.uidvalidity == 0)
		return;
	mbox_cache_flush(m);
	mbox_search_flush(m);
	mbox_reap(m, UINT32_MAX);
	if (m->st.unflushed > 0 && mbox_flush(m, FLUSH_AT_CLOSE, &more, &e) < 0)
		log_debug("mailbox %s%s: flush: %s", m->s->root, m->dir, e.text);
	tell_recent(m);
	if (m->j.pos - m->index_pos > index_tail_max(m, 32) && m->lockfd >= 0 && mbox_lock_try(m, &e) == 0) {
		save_index(m);
		mbox_unlock_folder(m);
	}
}

void mbox_close(struct mbox **mp)
{
	struct mbox *const m = *mp;

	*mp = NULL;
	if (m == NULL || --m->refs > 0)
		return;
	last_close(m);
	mbox_free(m);
}

/* --- up to date --- */

int mbox_refresh(struct mbox *m, struct err *e)
{
	struct stat st;
	int r = 0;

	if (m->gone)
		return err_set(e, ERR_NOENT, 0, "the folder has been deleted");
	if (fstatat(m->dirfd, JOURNAL_NAME, &st, AT_SYMLINK_NOFOLLOW) < 0 || st.st_ino != m->j.ino || (uint64_t)st.st_size != m->j.pos) {
		/* Read under the lock: what is in the file then has been synced. */
		if (mbox_lock(m, e) < 0)
			return -1;
		mbox_unlock_folder(m);
	}
	r = sync_folder(m, false, e);
	if (r < 0 && (e->code == ERR_QUOTA || e->code == ERR_LIMIT)) {
		/* New mail waits; what is there can be read. */
		log_warning("mailbox %s%s: new mail cannot be numbered: %s", m->s->root, m->dir, e->text);
		err_clear(e);
		r = 0;
	}
	return r;
}

static void watch_journal(struct mbox *m)
{
	char path[2048];
	const int n = snprintf(path, sizeof(path), "%s/%s%s" JOURNAL_NAME, m->s->root, m->dir, *m->dir ? "/" : "");

	if (m->wd_journal < 0 && n > 0 && n < (int)sizeof(path))
		m->wd_journal = inotify_add_watch(m->ino_fd, path, IN_MODIFY | IN_MOVE_SELF | IN_ATTRIB);
}

int mbox_watch_fd(struct mbox *m)
{
	static const char *const subs[] = { "new", "cur" };
	char path[2048];

	if (m->ino_fd < 0) {
		m->ino_fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
		if (m->ino_fd < 0)
			return -1;
		int *const wds[] = { &m->wd_new, &m->wd_cur };
		for (size_t i = 0; i < ARRAY_LEN(subs); i++) {
			const int n = snprintf(path, sizeof(path), "%s/%s%s%s", m->s->root, m->dir, *m->dir ? "/" : "", subs[i]);
			if (n > 0 && n < (int)sizeof(path))
				*wds[i] = inotify_add_watch(m->ino_fd, path, IN_CREATE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE | IN_ONLYDIR);
		}
	}
	watch_journal(m);
	return m->ino_fd;
}

void mbox_watch_clear(struct mbox *m)
{
	char events[4096] __attribute__((aligned(__alignof__(struct inotify_event))));
	ssize_t n;

	while (m->ino_fd >= 0 && (n = read(m->ino_fd, events, sizeof(events))) > 0) {
		for (char *p = events; p < events + n;) {
			const struct inotify_event *const ev = (const void *)p;
			/* Replaced by another process: watch the new one. */
			if (ev->wd == m->wd_journal && (ev->mask & (IN_IGNORED | IN_MOVE_SELF | IN_ATTRIB)))
				m->wd_journal = -1;
			p += sizeof(*ev) + ev->len;
		}
	}
	if (m->ino_fd >= 0)
		watch_journal(m);
}

/* --- status --- */

static int sizes_known(struct mbox *m, struct err *e);

int mbox_status(struct mbox *m, struct mbox_status *out, struct err *e)
{
	if (m->st.unknown_sizes > 0 && sizes_known(m, e) < 0)
		return -1;
	const uint32_t from = state_lower(&m->st, m->recent_uid);
	uint32_t recent = 0;

	for (uint32_t pos = from; pos < state_count(&m->st); pos++)
		recent += !(state_rec(&m->st, pos)->state & REC_GONE);
	*out = (struct mbox_status){ .uidvalidity = m->st.uidvalidity, .uidnext = m->st.uidnext, .messages = m->st.messages, .unseen = m->st.unseen,
		.recent = recent, .deleted = m->st.deleted, .size = m->st.size_crlf, .highestmodseq = m->st.modseq };
	return 0;
}

uint32_t mbox_uidvalidity(const struct mbox *m)
{
	return m->st.uidvalidity;
}

/* Sizes that no name told: count once, keep in the journal. */
static int sizes_known(struct mbox *m, struct err *e)
{
	for (uint32_t pos = 0; m->st.unknown_sizes > 0 && pos < state_count(&m->st); pos++) {
		const struct rec *const r = state_rec(&m->st, pos);
		if (!(r->state & REC_GONE) && r->size_crlf == UINT64_MAX && message_sizes(m, r->uid, e) < 0) {
			if (e->code != ERR_NOENT)
				return -1;
			err_clear(e);
		}
	}
	return 0;
}

int store_status(struct store *s, struct str name, struct mbox_status *out, struct err *e)
{
	struct mbox *m;
	int r;

	if (mbox_open(s, name, &m, e) < 0)
		return -1;
	r = mbox_status(m, out, e);
	mbox_close(&m);
	return r;
}

const char *const *mbox_keywords(struct mbox *m, size_t *n_out)
{
	*n_out = m->st.n_keywords;
	return (const char *const *)m->st.keywords;
}

void mbox_id(const struct mbox *m, uint8_t out[16])
{
	memcpy(out, m->st.id, 16);
}

int mbox_vanished(struct mbox *m, uint64_t since, struct arena *a, struct mbox_range **out, size_t *n_out)
{
	struct mbox_range *v;
	size_t n = 0;

	*out = NULL;
	*n_out = 0;
	if (since < m->st.gone_floor)
		return 1;
	if (!(v = ARENA_ARRAY(a, struct mbox_range, m->st.n_gone + 1)))
		return 1;
	for (size_t i = 0; i < m->st.n_gone; i++)
		if (m->st.gone[i].modseq > since)
			v[n++] = (struct mbox_range){ m->st.gone[i].uids.first, m->st.gone[i].uids.last };
	*out = v;
	*n_out = n;
	return 0;
}

static int adopt(struct mbox *m, uint32_t uidvalidity, struct err *e)
{
	const uint32_t before = m->st.uidvalidity;

	if (m->st.uidnext != 1 || state_count(&m->st) > 0)
		return before == uidvalidity ? 0 : 1;
	if (root_uidvalidity_seen(m->s, uidvalidity, e) < 0)
		return -1;
	m->st.uidvalidity = uidvalidity;
	/* As at a folder's first journal: it comes before the second copy. */
	if (mbox_replace_journal(m, false, e) < 0 || ident_write(m, e) < 0) {
		m->st.uidvalidity = before;
		return -1;
	}
	return 0;
}

int mbox_adopt_uidvalidity(struct mbox *m, uint32_t uidvalidity, struct err *e)
{
	int r;

	if (uidvalidity == 0)
		return 1;
	if (mbox_lock(m, e) < 0)
		return -1;
	r = adopt(m, uidvalidity, e);
	mbox_unlock_folder(m);
	return r;
}

static int reserve(struct mbox *m, uint32_t next, struct err *e)
{
	const uint32_t before = m->st.uidnext, reserved = m->st.reserved;

	if (next <= before)
		return 0;
	m->st.uidnext = m->st.reserved = next;
	if (mbox_replace_journal(m, false, e) < 0 || ident_write(m, e) < 0) {
		m->st.uidnext = before;
		m->st.reserved = reserved;
		return -1;
	}
	return 0;
}

int mbox_reserve_uids(struct mbox *m, uint32_t next, struct err *e)
{
	if (mbox_lock(m, e) < 0)
		return -1;
	const int r = reserve(m, next, e);
	mbox_unlock_folder(m);
	return r;
}

int mbox_settle(struct mbox *m, size_t id_len, struct err *e)
{
	return maildir_settle(m->dirfd, id_len, e) < 0 ? -1 : mbox_refresh(m, e);
}

/* --- POP3's lock --- */

int mbox_lock_exclusive(struct mbox *m, struct err *e)
{
	int r;

	if (m->popfd >= 0)
		return err_set(e, ERR_LIMIT, 0, "the mailbox is in use by another POP3 session");
	CLEANUP_FD int fd = openat(m->dirfd, POPLOCK_NAME, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK, 0600);
	if (fd < 0)
		return err_set(e, ERR_TEMP, errno, POPLOCK_NAME);
	if ((r = lock_try(fd)) != 0)
		return r < 0 ? err_set(e, ERR_TEMP, errno, POPLOCK_NAME) : err_set(e, ERR_LIMIT, 0, "the mailbox is in use by another POP3 session");
	m->popfd = fd;
	fd = -1;
	return 0;
}

void mbox_unlock(struct mbox *m)
{
	close_fd(&m->popfd);
}
