/* COPY and MOVE. Within a file system a copy is a hard link: the bytes are synced already, only the name is new. Keywords go by name, since their numbers
 * differ from folder to folder. All or nothing: what was linked before a failure is unlinked. MOVE is a durable copy, then an expunge: a crash in between
 * leaves two, never none. Where the file system commits in order, both are one sync: then the two folders are locked at once, so that nobody acts on what is
 * not durable yet; the second only where it is free, so that two moves never wait for each other. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "os/os.h"
#include "store/store_priv.h"

struct copied {
	char name[FILE_NAME_MAX + 1];
};

/* By bytes, for what cannot be linked. */
static int copy_bytes(struct mbox *dst, int fd, char base[FILE_NAME_MAX + 1], uint8_t disk, char name[FILE_NAME_MAX + 1], struct err *e)
{
	struct maildir_copy *c;
	size_t len;

	if (maildir_copy_begin(dst->dirfd, "", &c, e) < 0)
		return -1;
	if (maildir_copy_file(c, fd, 0, UINT64_MAX, e) < 0 || maildir_copy_sync(c, e) < 0) {
		maildir_copy_abort(&c);
		return -1;
	}
	len = strlen(maildir_copy_name(c));
	memcpy(base, maildir_copy_name(c), len + 1);
	if (disk_name(name, str_n(base, len), disk, (struct str){ 0 }) < 0) {
		maildir_copy_abort(&c);
		return err_set(e, ERR_BUG, 0, "file name");
	}
	return maildir_copy_commit(&c, name + len, e);
}

static bool link_refused(int sys)
{
	return sys == EXDEV || sys == EMLINK || sys == EPERM || sys == EOPNOTSUPP || sys == EACCES;
}

/* One message's file into dst's cur as base, named by disk. */
static int copy_file(struct mbox_view *v, uint32_t seq, struct mbox *dst, const struct rec *r, char base[FILE_NAME_MAX + 1], uint8_t disk,
		     char name[FILE_NAME_MAX + 1], struct err *e)
{
	struct mbox *const src = v->m;

	if (sync_fresh_base(state_name(&src->st, r), r->size, r->size_crlf, base) < 0 || disk_name(name, str_c(base), disk, (struct str){ 0 }) < 0)
		return err_set(e, ERR_BUG, 0, "file name");
	if (message_link(src, r, dst->curfd, name) == 0)
		return 0;
	if (errno == ENOSPC || errno == EDQUOT)
		return err_set(e, ERR_QUOTA, errno, "link");
	if (!link_refused(errno) && errno != ENOENT)
		return err_set(e, ERR_TEMP, errno, "link");
	CLEANUP_FD int fd = -1;
	if (mbox_msg_open(v, seq, &fd, e) < 0)
		return -1;
	return copy_bytes(dst, fd, base, disk, name, e);
}

/* Keywords of a message, numbered as in dst. A copy is new to all readers but the one who makes it; what is moved is the same message to them. */
static int map_keywords(struct mbox_view *v, const struct rec *r, struct mbox *dst, bool move, uint16_t *ids, size_t *n_out, struct buf *ops, struct err *e)
{
	const struct state *const st = &v->m->st;
	const struct kwset *const k = state_kwset_get(st, r);
	const int own = v->reader ? view_reader(v) : -1;
	struct str names[STORE_KEYWORDS_MAX];
	size_t n = 0;

	for (size_t i = 0; i < k->n; i++)
		if (k->ids[i] < st->n_keywords && (move || k->ids[i] == own || !state_is_hidden(st, k->ids[i])))
			names[n++] = str_c(st->keywords[k->ids[i]]);
	return mbox_keyword_ids(dst, names, n, ids, n_out, ops, e);
}

static int copy_one(struct mbox_view *v, uint32_t seq, struct mbox *dst, bool move, uint32_t uid, struct buf *ops, struct copied *made, struct err *e)
{
	struct mbox *const src = v->m;
	const uint32_t pos = view_pos(v, seq);
	char base[FILE_NAME_MAX + 1];
	uint16_t ids[STORE_KEYWORDS_MAX];
	size_t n_ids;

	if (pos == UINT32_MAX || (state_rec(&src->st, pos)->state & REC_GONE))
		return err_set(e, ERR_NOENT, 0, "message %u has gone", seq);
	/* A copy: the record may move while names are looked up. */
	(void)message_date(src, state_rec(&src->st, pos));
	const struct rec r = *state_rec(&src->st, pos);
	const unsigned flags = v->reader && !move ? r.flags & ~(unsigned)MBOX_SEEN : r.flags;
	const uint8_t disk = disk_of_flags(flags);
	if (map_keywords(v, &r, dst, move, ids, &n_ids, ops, e) < 0 || copy_file(v, seq, dst, &r, base, disk, made->name, e) < 0)
		return -1;
	const struct assign a = { .uid = uid, .flags = flags, .disk = disk, .base = str_c(base), .kw = ids, .n_kw = n_ids,
		.internaldate = r.internaldate, .savedate = clock_wall(), .size = r.size, .size_crlf = r.size_crlf };
	op_assign(ops, &a);
	return 0;
}

/* Under dst's lock. */
static int copy_all(struct mbox_view *v, const uint32_t *seqs, size_t n, struct mbox *dst, bool move, enum durable how, uint32_t *uids, struct err *e)
{
	struct copied *const made = xzalloc((n + 1) * sizeof(*made));
	struct buf ops;
	size_t done = 0;
	int r = mbox_reserve(dst, n, e);

	buf_init(&ops, BATCH_MAX);
	const bool clean = r == 0 && sync_own_begin(dst);
	for (; r == 0 && done < n; done++) {
		sync_own_step(dst, done);
		uids[done] = dst->st.uidnext + (uint32_t)done;
		if ((r = copy_one(v, seqs[done], dst, move, uids[done], &ops, &made[done], e)) < 0)
			break;
	}
	if (done > 0)
		sync_own_end(dst, clean && r == 0, done);
	/* The names must be there before the journal says so: where the file system keeps the order, the journal's sync does both. */
	if (r == 0 && !dst->in_order && fsync(dst->curfd) < 0)
		r = err_set(e, ERR_TEMP, errno, "sync of the folder");
	if (r == 0)
		r = mbox_commit(dst, &ops, how, e);
	if (r < 0) {
		for (size_t i = 0; i < done; i++)
			(void)unlinkat(dst->curfd, made[i].name, 0);
		dst->cur_seen = (struct timespec){ 0 };
	}
	if (done > 0)
		sync_record(dst);
	mbox_pending_clear(dst);
	buf_fini(&ops);
	free(made);
	return r;
}

static uint64_t sum_sizes(const struct mbox_view *v, const uint32_t *seqs, size_t n)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < n; i++) {
		const uint32_t pos = view_pos(v, seqs[i]);
		if (pos != UINT32_MAX)
			sum += state_rec(&v->m->st, pos)->size;
	}
	return sum;
}

/* Locks src beside dst where one sync can serve both. 1: it cannot, src is not locked. */
static int lock_both(struct mbox *src, struct mbox *dst, struct err *e)
{
	if (!dst->in_order || src->dev != dst->dev)
		return 1;
	return mbox_lock_try(src, e);
}

/* Under both locks. */
static int move_all(struct mbox_view *v, const uint32_t *seqs, size_t n, struct mbox *dst, uint32_t *uids, struct err *e)
{
	struct err copies = { 0 };

	if (copy_all(v, seqs, n, dst, true, DURABLE_WRITTEN, uids, e) < 0)
		return -1;
	const int r = mbox_expunge(v, seqs, n, e);

	/* Nothing was expunged, or not durably: the copies stay, and are numbered all the same. */
	return r < 0 && journal_sync(&dst->j, &copies) < 0 ? -1 : r;
}

/* Under dst's lock. *moved_out: the originals have gone, too. */
static int copy_or_move(struct mbox_view *v, const uint32_t *seqs, size_t n, struct mbox *dst, bool move, bool *moved_out, uint32_t *uids, struct err *e)
{
	const int both = move ? lock_both(v->m, dst, e) : 1;

	*moved_out = both == 0;
	if (both < 0)
		return -1;
	if (both == 1)
		return copy_all(v, seqs, n, dst, move, DURABLE_NOW, uids, e);
	const int r = move_all(v, seqs, n, dst, uids, e);

	mbox_unlock_folder(v->m);
	return r;
}

int mbox_copy(struct mbox_view *v, const uint32_t *seqs, size_t n, struct mbox *dst, bool move, uint32_t *uids_out, struct err *e)
{
	bool moved;
	int r;

	if (n == 0)
		return 0;
	const uint64_t bytes = sum_sizes(v, seqs, n);
	/* A move needs no room. */
	if ((!move && store_quota_check(dst->s, bytes, n, e) < 0) || mbox_lock(dst, e) < 0)
		return -1;
	r = copy_or_move(v, seqs, n, dst, move, &moved, uids_out, e);
	mbox_unlock_folder(dst);
	if (r == 0)
		store_quota_add(dst->s, (int64_t)bytes, (int64_t)n);
	return r == 0 && move && !moved ? mbox_expunge(v, seqs, n, e) : r;
}
