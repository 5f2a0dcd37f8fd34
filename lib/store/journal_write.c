/* A journal that is written anew, in pieces, from a state that does not change meanwhile, or while a folder's first state is made (journal.c has the format). It gets its
 * name when it is whole and synced. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "os/crew.h"
#include "os/os.h"
#include "store/journal_priv.h"

enum {
	REWRITE_BATCH = 1 << 20,	/* bytes of operations in one batch of a rewritten journal */
	OUTGOING_MAX = 3,		/* of them in memory at once */
};

#define JOURNAL_NEW "postern.journal.new"
#define JOURNAL_BAD "postern.journal.bad"

/* A batch on its way into the file. A thread may have it: then nothing else looks at it until that is through. */
struct outgoing {
	struct outgoing *after;
	struct crew_batch work;
	int fd;
	uint64_t generation, pos, modseq;
	uint32_t uidnext, reserved;
	struct buf ops;
	struct err e;		/* code 0: it is written */
};

struct journal_writer {
	int dirfd, fd;
	const struct state *st;
	ino_t ino;
	uint64_t generation, pos;
	uint64_t prev, prev_pos;	/* the journal as it was at begin */
	uint32_t at;		/* records before it are written, or in ops */
	struct buf ops;
	struct crew *crew;	/* writes; NULL: nobody does */
	struct outgoing *first, **end;	/* the eldest first */
	unsigned n_outgoing;
};

/* A crew_fn. */
static void outgoing_write(void *outgoing, unsigned hand)
{
	static const char zeros[8];
	struct outgoing *const o = outgoing;
	unsigned char head[BATCH_HEAD];
	const struct str ops = buf_view(&o->ops);
	const size_t n = journal_padded(ops.n);

	(void)hand;
	journal_batch_head(head, o->generation, o->pos, ops, o->modseq, o->uidnext, o->reserved);
	if (journal_pwrite(o->fd, head, sizeof(head), o->pos, &o->e) < 0 || journal_pwrite(o->fd, ops.p, ops.n, o->pos + BATCH_HEAD, &o->e) < 0 ||
	    journal_pwrite(o->fd, zeros, n - ops.n, o->pos + BATCH_HEAD + ops.n, &o->e) < 0)
		return;
	/* The disk begins while the next ones are made; what fails here fails again, and is told, at the sync. */
	(void)sync_file_range(o->fd, (off_t)o->pos, (off_t)(BATCH_HEAD + n), SYNC_FILE_RANGE_WRITE);
}

/* The eldest batches are written, until no more than so many are on their way. The memory of the last is taken for the next. */
static int outgoing_wait(struct journal_writer *w, unsigned most, struct err *e)
{
	int r = 0;

	while (w->n_outgoing > most) {
		struct outgoing *const o = w->first;
		crew_finish(w->crew, &o->work);
		if (o->e.code != ERR_NONE && r == 0) {
			*e = o->e;
			r = -1;
		}
		w->first = o->after;
		w->n_outgoing--;
		buf_fini(&w->ops);
		w->ops = o->ops;
		buf_reset(&w->ops);
		free(o);
	}
	if (w->first == NULL)
		w->end = &w->first;
	return r;
}

static void ops_init(struct journal_writer *w)
{
	buf_init(&w->ops, BATCH_MAX);
}

static int rewrite_flush(struct journal_writer *w, struct err *e)
{
	struct outgoing now = { .fd = w->fd, .generation = w->generation, .pos = w->pos, .modseq = w->st->modseq, .uidnext = w->st->uidnext, .reserved = w->st->reserved,
		.ops = w->ops };

	if (buf_check(&w->ops, "journal", e) < 0)
		return -1;
	if (w->ops.n == 0)
		return 0;
	w->pos += BATCH_HEAD + journal_padded(w->ops.n);
	if (w->crew == NULL) {
		outgoing_write(&now, 0);
		buf_reset(&w->ops);
		if (now.e.code != ERR_NONE)
			*e = now.e;
		return now.e.code != ERR_NONE ? -1 : 0;
	}
	struct outgoing *const o = xzalloc(sizeof(*o));
	*o = now;	/* its bytes too */
	ops_init(w);
	o->work = (struct crew_batch){ .fn = outgoing_write, .items = o, .size = sizeof(*o), .n = 1 };
	*w->end = o;
	w->end = &o->after;
	w->n_outgoing++;
	crew_begin(w->crew, &o->work);
	return outgoing_wait(w, OUTGOING_MAX - 1, e);
}

void journal_helped(struct journal_writer *w, struct crew *crew)
{
	w->crew = crew_size(crew) > 1 ? crew : NULL;
}

static void put_record(struct buf *b, const struct state *st, const struct rec *r)
{
	const struct kwset *const k = state_kwset_get(st, r);
	const struct assign a = { .uid = r->uid, .flags = r->flags, .disk = r->disk, .base = state_name(st, r), .info = state_info(st, r), .kw = k->ids, .n_kw = k->n,
		.modseq = r->modseq, .internaldate = r->internaldate, .savedate = r->savedate, .size = r->size, .size_crlf = r->size_crlf };
	const struct range one = { r->uid, r->uid };

	if (a.base.n == 0)	/* its name was lost with the index: the folder is listed then, and it gets a new UID */
		return;
	op_assign(b, &a);
	if (r->state & REC_GONE)
		op_ranges(b, OP_EXPUNGE, &one, 1);
}

/* Ranges of one mod-sequence go together. */
static void put_gone(struct buf *b, const struct state *st)
{
	struct range *const r = xmalloc((st->n_gone + 1) * sizeof(*r));

	op_vanished(b, st->gone_floor, NULL, 0);
	for (size_t i = 0; i < st->n_gone;) {
		size_t n = 0;
		const uint64_t modseq = st->gone[i].modseq;

		while (i < st->n_gone && st->gone[i].modseq == modseq)
			r[n++] = st->gone[i++].uids;
		op_vanished(b, modseq, r, n);
	}
	free(r);
}

/* Created under the folder's lock, since all who write a journal use one name. */
int journal_begin(const struct journal *j, int dirfd, const struct state *st, struct journal_writer **out, struct err *e)
{
	struct stat sb;

	(void)unlinkat(dirfd, JOURNAL_NEW, 0);
	CLEANUP_FD int fd = openat(dirfd, JOURNAL_NEW, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0 || fstat(fd, &sb) < 0)
		return err_set(e, errno == ENOSPC || errno == EDQUOT ? ERR_QUOTA : ERR_TEMP, errno, JOURNAL_NEW);
	struct journal_writer *const w = xzalloc(sizeof(*w));
	*w = (struct journal_writer){ .dirfd = dirfd, .fd = fd, .st = st, .ino = sb.st_ino, .generation = random_u64(), .pos = BATCHES_AT,
		.prev = j->generation, .prev_pos = j->pos };
	fd = -1;
	w->end = &w->first;
	ops_init(w);
	op_reserve(&w->ops, st->reserved);
	for (size_t i = 0; i < st->n_keywords; i++)
		op_keyword(&w->ops, (unsigned)i, str_c(st->keywords[i]));
	put_gone(&w->ops, st);
	*out = w;
	return 0;
}

int journal_step(struct journal_writer *w, uint32_t work, struct err *e)
{
	const struct state *const st = w->st;
	const uint32_t n = state_count(st);

	for (; w->at < n && work > 0; w->at++, work--) {
		const struct rec *const r = state_rec(st, w->at);
		if ((r->state & REC_GONE) && !(r->state & REC_ZOMBIE))
			continue;
		put_record(&w->ops, st, r);
		if (w->ops.n > REWRITE_BATCH && rewrite_flush(w, e) < 0)
			return -1;
	}
	(void)sync_file_range(w->fd, 0, 0, SYNC_FILE_RANGE_WRITE);	/* a hint, so that the sync at the end finds little */
	if (w->at < n)
		return 1;
	return journal_rest(w, e);
}

int journal_put(struct journal_writer *w, struct str ops, struct err *e)
{
	buf_str(&w->ops, ops);
	return w->ops.n > REWRITE_BATCH ? rewrite_flush(w, e) : 0;
}

int journal_put_assign(struct journal_writer *w, const struct assign *a, struct err *e)
{
	op_assign(&w->ops, a);
	return w->ops.n > REWRITE_BATCH ? rewrite_flush(w, e) : 0;
}

int journal_rest(struct journal_writer *w, struct err *e)
{
	const struct state *const st = w->st;

	for (size_t i = 0; i < st->n_pop3; i++)
		op_pop3(&w->ops, st->pop3[i].uid, st->pop3[i].order, str_c(st->pop3[i].uidl));
	return rewrite_flush(w, e) < 0 || outgoing_wait(w, 0, e) < 0 ? -1 : 0;
}

bool journal_stale(const struct journal_writer *w, const struct journal *j)
{
	return w->prev != j->generation || w->prev_pos != j->pos || j->broken || j->holes;
}

static void writer_free(struct journal_writer **wp)
{
	struct err given_up = { 0 };

	(void)!outgoing_wait(*wp, 0, &given_up);
	close_fd(&(*wp)->fd);
	buf_fini(&(*wp)->ops);
	free(*wp);
	*wp = NULL;
}

/* Is the file of that name still the writer's? */
static bool writer_has_name(const struct journal_writer *w)
{
	struct stat sb;

	return fstatat(w->dirfd, JOURNAL_NEW, &sb, AT_SYMLINK_NOFOLLOW) == 0 && sb.st_ino == w->ino;
}

void journal_abort(struct journal_writer **wp, bool locked)
{
	if (*wp == NULL)
		return;
	if (locked && writer_has_name(*wp))
		(void)unlinkat((*wp)->dirfd, JOURNAL_NEW, 0);
	writer_free(wp);
}

static int writer_head(const struct journal_writer *w, struct err *e)
{
	unsigned char head[BATCHES_AT];
	struct journal_head h = { .generation = w->generation, .prev_generation = w->prev, .base_end = w->pos, .modseq = w->st->modseq,
		.uidvalidity = w->st->uidvalidity, .uidnext = w->st->uidnext };

	memcpy(h.id, w->st->id, sizeof(h.id));
	journal_head_put(head, &h);
	journal_head_put(head + HEAD_BYTES, &h);
	return journal_pwrite(w->fd, head, sizeof(head), 0, e) < 0 ? -1 : fsync_fd(w->fd, JOURNAL_NEW, e);
}

int journal_take(struct journal_writer **wp, struct journal *j, bool keep_bad, struct err *e)
{
	struct journal_writer *const w = *wp;
	int r = writer_has_name(w) ? writer_head(w, e) : err_set(e, ERR_TEMP, 0, JOURNAL_NEW " is another's");

	if (r == 0 && keep_bad) {	/* the damaged bytes are kept: the last such file */
		(void)unlinkat(w->dirfd, JOURNAL_BAD, 0);
		(void)!linkat(w->dirfd, JOURNAL_NAME, w->dirfd, JOURNAL_BAD, 0);
	}
	if (r == 0 && renameat(w->dirfd, JOURNAL_NEW, w->dirfd, JOURNAL_NAME) < 0)
		r = err_set(e, ERR_TEMP, errno, "rename of " JOURNAL_NEW);
	if (r == 0)
		r = fsync_fd(w->dirfd, "directory of " JOURNAL_NAME, e);
	if (r < 0) {
		journal_abort(wp, true);
		return -1;
	}
	close_fd(&j->fd);
	*j = (struct journal){ .fd = w->fd, .generation = w->generation, .prev_generation = w->prev, .base_end = w->pos, .pos = w->pos, .ino = w->ino };
	w->fd = -1;
	writer_free(wp);
	return 0;
}

int journal_replace(struct journal *j, int dirfd, const struct state *st, bool keep_bad, struct err *e)
{
	struct journal_writer *w;

	if (journal_begin(j, dirfd, st, &w, e) < 0)
		return -1;
	if (journal_step(w, UINT32_MAX, e) < 0) {
		journal_abort(&w, true);
		return -1;
	}
	return journal_take(&w, j, keep_bad, e);
}
