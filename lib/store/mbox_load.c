/* From the journal to the state: the first load, what other processes wrote since, and what can be saved when the journal or the index is damaged or lost. All
 * of it under the folder's lock. */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/clock.h"
#include "log/log.h"
#include "store/store_priv.h"

enum { LOAD_PIECE = 1 << 20 };	/* bytes of the journal that are read at once: a millisecond, by which the index may be missed */

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

/* Bytes that are no batch are behind us or at the end: set them aside, with the whole file. */
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

int mbox_load(struct mbox *m, struct err *e)
{
	struct journal_head head;
	struct err one = { 0 };
	struct stat st;
	uint64_t pos;
	int r;

	if (journal_open(&m->j, m->dirfd, &head, &one) < 0) {
		if (one.code != ERR_NOENT && one.code != ERR_INPUT) {
			*e = one;
			return -1;
		}
		return recover(m, e);
	}
	if (fstat(m->j.fd, &st) < 0)
		return err_set(e, ERR_TEMP, errno, JOURNAL_NAME);
	r = index_load(m->dirfd, &m->j.generation, (uint64_t)st.st_size, &m->st, &pos);
	m->index_longer = r == 2;
	if (r == 0) {
		m->j.pos = m->index_pos = m->map_pos = pos;
		m->st.mend = mend_chunk;
		m->st.mend_ctx = m;
	} else {
		identity(m, &head);
		m->index_pos = 0;
	}
	m->loading = true;
	return mbox_load_step(m, e);
}

/* All of the journal is read. */
static int loaded(struct mbox *m, struct err *e)
{
	/* A crash right after the folder's first journal leaves it without the second copy. */
	uint32_t uv, bound;
	uint8_t id[16];

	m->loading = false;
	if (m->index_pos == 0 && ident_read(m->dirfd, &uv, id, &bound) != 0 && ident_write(m, e) < 0)
		return -1;
	/* A journal cut at the end of a batch looks whole; but others remember how long it was. */
	sync_record_read(m);
	if (!m->index_longer && (m->told_generation != m->j.generation || m->told_pos <= m->j.pos))
		return 0;
	m->j.holes = true;
	return mend(m, 0, e);
}

int mbox_load_step(struct mbox *m, struct err *e)
{
	uint64_t tail;
	const int r = journal_scan_some(&m->j, LOAD_PIECE, on_batch, &m->st, &tail, e);

	if (r > 0)
		return 2;
	if (r < 0 || ((tail || m->j.holes) && mend(m, tail, e) < 0)) {
		m->loading = false;
		return -1;
	}
	return loaded(m, e);
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
