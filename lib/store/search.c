/* The files of the search index: load, append, seal, replace. Disposable, never synced, never trusted without its checksums; what is lost is learned again.
 *
 * A record that does not verify ends what is believed of a file; the next writer writes over it. Rows whose message a block knows are passed over; when they are most
 * of the log, it is written anew. Blocks whose messages have gone are left out, when they are half of the file, by who loads it: a new file takes its place; what
 * still lives in one that is left out is learned again. */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/num.h"
#include "os/crew.h"
#include "os/os.h"
#include "store/search_priv.h"
#include "store/signer.h"

enum {
	ROW_HEAD = 8,
	WHAT_ROWS = 1, WHAT_BLOCK = 2,
	LOAD_STEP = 1 << 20,		/* bytes verified in one go: a millisecond */
	PENDING_BYTES = 1 << 18,	/* rows gathered before they are written */
	LOG_GARBAGE_MIN = 2 << 20,	/* bytes of a log that may be useless before it is written anew */
	BLOCKS_DEAD_MIN = 1 << 17,	/* the same of blocks */
	LIVE_PART = 4,			/* a block with less than a fourth of its messages is no use */
};
#define LOG_NEW "postern.searchlog.new"
#define BLOCKS_NEW "postern.search.new"

#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
static const bool host_fits = true;
#else
static const bool host_fits = false;	/* done without */
#endif

/* --- life --- */

void search_init(struct search *s)
{
	*s = (struct search){ .file = { { .fd = -1 }, { .fd = -1 } } };
	buf_init(&s->pending, 64 << 20);
}

void search_close(struct search *s)
{
	for (size_t i = 0; i < 2; i++)
		grow_close(&s->file[i]);
	for (size_t k = 0; k < MBOX_SEARCH_KINDS; k++)
		free(s->covered[k].v);
	free(s->blocks);
	free(s->rows);
	buf_fini(&s->pending);
	signer_free(&s->signer);
	const uint64_t life = s->life + 1;
	search_init(s);
	s->life = life;
}

void search_drop(struct mbox *m)
{
	(void)unlinkat(m->dirfd, SEARCH_NAME, 0);
	(void)unlinkat(m->dirfd, SEARCHLOG_NAME, 0);
	search_close(&m->search);
}

static const char *name_of(size_t i)
{
	return i == SEARCH_BLOCKS ? SEARCH_NAME : SEARCHLOG_NAME;
}

static int open_one(struct mbox *m, size_t i, bool create)
{
	int fd = openat(m->dirfd, name_of(i), O_RDWR | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
	struct stat st;

	if (fd >= 0 && (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || !search_head_ok(m, fd))) {
		close_fd(&fd);
		(void)unlinkat(m->dirfd, name_of(i), 0);
	}
	if (fd < 0 && create) {
		fd = openat(m->dirfd, name_of(i), O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
		if (fd >= 0 && !search_head_write(m, fd))
			close_fd(&fd);
	}
	return fd;
}

static bool open_files(struct mbox *m, bool create)
{
	struct search *const s = &m->search;
	struct stat st;

	if (s->file[0].fd >= 0)
		return true;
	if (!host_fits || s->off || m->gone)
		return false;
	for (size_t i = 0; i < 2; i++) {
		const int fd = open_one(m, i, create);
		if (fd < 0 || fstat(fd, &st) < 0) {
			grow_close(&s->file[0]);
			if (fd >= 0)
				close(fd);
			s->off = create;	/* a full disk: go on without */
			return false;
		}
		grow_open(&s->file[i], fd);
		s->ino[i] = st.st_ino;
		s->pos[i] = SEARCH_HEAD;
	}
	return true;
}

/* Another process, or the admin's tool, has replaced a file: begin anew. What waits to be written is learned again. */
static void follow(struct mbox *m)
{
	struct search *const s = &m->search;
	struct stat st;

	for (size_t i = 0; i < 2 && s->file[0].fd >= 0; i++)
		if (fstatat(m->dirfd, name_of(i), &st, AT_SYMLINK_NOFOLLOW) < 0 || st.st_ino != s->ino[i])
			search_close(s);
}

/* --- what is known --- */

static void cover(struct search *s, unsigned kind, uint32_t pos)
{
	struct search_bits *const b = &s->covered[kind];

	if (pos / 64 >= b->n) {
		const size_t n = (size_t)pos / 64 * 5 / 4 + 64;
		b->v = xrealloc(b->v, n * sizeof(*b->v));
		memset(b->v + b->n, 0, (n - b->n) * sizeof(*b->v));
		b->n = n;
	}
	b->v[pos / 64] |= UINT64_C(1) << (pos % 64);
}

bool search_covers(const struct search *s, unsigned kind, uint32_t pos)
{
	const struct search_bits *const b = &s->covered[kind];

	return pos / 64 < b->n && (b->v[pos / 64] >> (pos % 64) & 1);
}

/* UIDs mostly come in order, from hint on. They rise with the places, at least by one: where none is missing in between the distance tells the place. UINT32_MAX: no such
 * message. */
uint32_t search_pos(const struct state *st, uint32_t uid, uint32_t *hint)
{
	const uint32_t n = state_count(st);
	const uint32_t from = *hint < n ? state_rec(st, *hint)->uid : UINT32_MAX, ahead = uid >= from ? uid - from : UINT32_MAX;
	uint32_t pos = ahead < n - *hint ? *hint + ahead : n;

	if (pos >= n || state_rec(st, pos)->uid != uid)
		pos = state_lower(st, uid);
	if (pos >= n || state_rec(st, pos)->uid != uid)
		return UINT32_MAX;
	*hint = pos + 1;
	return pos;
}

static void row_add(struct search *s, const struct search_row *r)
{
	if (s->n_rows == s->cap_rows) {
		s->cap_rows = s->cap_rows * 2 + 256;
		s->rows = xrealloc(s->rows, s->cap_rows * sizeof(*s->rows));
	}
	s->rows[s->n_rows++] = *r;
	s->count[r->kind][r->class]++;
}

const uint64_t *search_row_bits(struct search *s, const struct search_row *r)
{
	const size_t n = trigram_bits(r->class) / 8;

	if (r->pending)
		return (const void *)(s->pending.p + r->at);
	return (const void *)grow_at(&s->file[SEARCH_LOG], r->at, n);
}

static bool take_rows(struct mbox *m, uint64_t off, uint32_t n, uint32_t bytes)
{
	struct search *const s = &m->search;
	uint32_t hint = 0;
	uint64_t at = 0;

	for (uint32_t i = 0; i < n; i++) {
		const unsigned char *const p = bytes - at < ROW_HEAD ? NULL : grow_at(&s->file[SEARCH_LOG], off + at, ROW_HEAD);
		if (p == NULL || p[4] >= MBOX_SEARCH_KINDS || trigram_bits(p[5]) == 0 || bytes - at - ROW_HEAD < trigram_bits(p[5]) / 8)
			return false;
		const struct search_row r = { .uid = get_le32(p), .kind = p[4], .class = p[5], .at = off + at + ROW_HEAD };
		const uint32_t pos = search_pos(&m->st, r.uid, &hint);
		at += ROW_HEAD + trigram_bits(r.class) / 8;
		if (pos == UINT32_MAX || search_covers(s, r.kind, pos)) {
			s->garbage += ROW_HEAD + trigram_bits(r.class) / 8;
			continue;
		}
		cover(s, r.kind, pos);
		row_add(s, &r);
	}
	return at == bytes;
}

static size_t uids_bytes(uint32_t n)
{
	return ((size_t)n * 4 + 7) & ~(size_t)7;
}

static bool block_dead(const struct search_block *b)
{
	return b->live < b->n / LIVE_PART;
}

static bool take_block(struct mbox *m, uint64_t off, unsigned kind, unsigned class, uint32_t n, uint32_t bytes)
{
	struct search *const s = &m->search;
	uint32_t hint = 0, live = 0;

	if (n == 0 || n > TRIGRAM_ROWS || kind >= MBOX_SEARCH_KINDS || trigram_bits(class) == 0 || bytes != uids_bytes(n) + trigram_bits(class) * TRIGRAM_ROWS / 8)
		return false;
	const unsigned char *const uids = grow_at(&s->file[SEARCH_BLOCKS], off, uids_bytes(n));
	for (uint32_t i = 0; uids && i < n; i++) {
		const uint32_t pos = search_pos(&m->st, get_le32(uids + 4 * i), &hint);
		if (pos == UINT32_MAX)
			continue;
		cover(s, kind, pos);
		live += !(state_rec(&m->st, pos)->state & REC_GONE);
	}
	if (s->n_blocks == s->cap_blocks) {
		s->cap_blocks = s->cap_blocks * 2 + 64;
		s->blocks = xrealloc(s->blocks, s->cap_blocks * sizeof(*s->blocks));
	}
	s->blocks[s->n_blocks++] = (struct search_block){ .uids = off, .columns = off + uids_bytes(n), .n = n, .live = live, .kind = (uint8_t)kind, .class = (uint8_t)class };
	s->block_bytes += bytes;
	s->dead_bytes += block_dead(&s->blocks[s->n_blocks - 1]) ? bytes : 0;
	return true;
}

/* Take the record at the file's position: its bytes with the head, 0 when nothing that verifies stands there. */
static size_t take_record(struct mbox *m, size_t i)
{
	struct search *const s = &m->search;
	const uint64_t off = s->pos[i];
	const unsigned char *const p = search_record_at(&s->file[i], m->st.id, off);

	if (p == NULL)
		return 0;
	const uint32_t bytes = get_le32(p + 8), n = get_le32(p + 12);
	const unsigned what = p[4], kind = p[5], class = p[6];
	if (what == WHAT_BLOCK && i == SEARCH_BLOCKS ? !take_block(m, off + SEARCH_RECORD_HEAD, kind, class, n, bytes)
						     : what != WHAT_ROWS || i != SEARCH_LOG || !take_rows(m, off + SEARCH_RECORD_HEAD, n, bytes))
		return 0;
	return SEARCH_RECORD_HEAD + (size_t)bytes;
}

/* True: all of both files was taken. */
static bool load_some(struct mbox *m, size_t budget)
{
	struct search *const s = &m->search;
	size_t done = 0, n;

	for (size_t i = 0; i < 2; i++) {
		while ((n = take_record(m, i)) != 0) {
			s->pos[i] += n;
			done += n;
			if (done >= budget)
				return false;
		}
	}
	return true;
}

static bool compact(struct mbox *m);

bool mbox_search_load(struct mbox_view *v)
{
	struct mbox *const m = v->m;
	struct search *const s = &m->search;

	follow(m);
	bool all = !open_files(m, false) || load_some(m, LOAD_STEP);
	if (all && s->pending.n == 0 && s->dead_bytes > BLOCKS_DEAD_MIN && s->dead_bytes > s->block_bytes / 2 && compact(m))
		all = false;	/* from the beginning */
	s->loaded = all && s->file[0].fd >= 0;
	return all;
}

bool search_loaded(const struct mbox *m)
{
	return m->search.loaded;
}

/* --- writing --- */

/* What waits becomes a batch of the log. */
static bool write_pending(struct mbox *m)
{
	struct search *const s = &m->search;
	unsigned char h[SEARCH_RECORD_HEAD];
	uint32_t n = 0;

	for (size_t i = 0; i < s->n_rows; i++)
		n += s->rows[i].pending;
	search_record_head(m, h, WHAT_ROWS, 0, 0, n, s->pending.p, s->pending.n);
	if (!search_record_write(s->file[SEARCH_LOG].fd, s->pos[SEARCH_LOG], h, s->pending.p, s->pending.n))
		return false;
	for (size_t i = 0; i < s->n_rows; i++) {
		if (s->rows[i].pending)
			s->rows[i].at += s->pos[SEARCH_LOG] + SEARCH_RECORD_HEAD;
		s->rows[i].pending = false;
	}
	s->pos[SEARCH_LOG] += SEARCH_RECORD_HEAD + s->pending.n;
	buf_fini(&s->pending);
	return true;
}

/* TRIGRAM_ROWS rows of one class become a block. */
static bool seal(struct mbox *m, unsigned kind, unsigned class)
{
	struct search *const s = &m->search;
	const size_t bits = trigram_bits(class), bytes = TRIGRAM_ROWS * 4 + bits * TRIGRAM_ROWS / 8;
	const uint64_t *rows[TRIGRAM_ROWS];
	unsigned char *const p = xmalloc(bytes);
	unsigned char h[SEARCH_RECORD_HEAD];
	size_t n = 0, kept = 0;

	(void)grow_at(&s->file[SEARCH_LOG], 0, s->pos[SEARCH_LOG]);	/* all of it at one place, while pointers are held */
	for (size_t i = 0; i < s->n_rows; i++) {
		const struct search_row *const r = &s->rows[i];
		const uint64_t *const own = r->kind == kind && r->class == class && n < TRIGRAM_ROWS ? search_row_bits(s, r) : NULL;
		if (own) {
			put_le32(p + 4 * n, r->uid);
			rows[n++] = own;
		}
	}
	bool ok = n == TRIGRAM_ROWS;
	if (ok) {
		trigram_columns(rows, bits, (uint64_t *)(void *)(p + TRIGRAM_ROWS * 4));
		search_record_head(m, h, WHAT_BLOCK, kind, class, TRIGRAM_ROWS, p, bytes);
		ok = search_record_write(s->file[SEARCH_BLOCKS].fd, s->pos[SEARCH_BLOCKS], h, p, bytes);
	}
	free(p);
	if (!ok || (n = take_record(m, SEARCH_BLOCKS)) == 0)
		return false;
	s->pos[SEARCH_BLOCKS] += n;
	n = 0;
	for (size_t i = 0; i < s->n_rows; i++) {
		if (s->rows[i].kind == kind && s->rows[i].class == class && n < TRIGRAM_ROWS)
			n++;
		else
			s->rows[kept++] = s->rows[i];
	}
	s->n_rows = kept;
	s->sealed++;
	s->count[kind][class] -= TRIGRAM_ROWS;
	s->garbage += TRIGRAM_ROWS * (ROW_HEAD + bits / 8);
	return true;
}

static bool use_log(struct mbox *m, int fd, const struct buf *rows)
{
	struct search *const s = &m->search;
	uint64_t at = SEARCH_HEAD + SEARCH_RECORD_HEAD;
	struct stat st;

	if (fstat(fd, &st) < 0)
		return false;
	grow_close(&s->file[SEARCH_LOG]);
	grow_open(&s->file[SEARCH_LOG], fd);
	s->ino[SEARCH_LOG] = st.st_ino;
	s->pos[SEARCH_LOG] = SEARCH_HEAD + SEARCH_RECORD_HEAD + rows->n;
	s->garbage = 0;
	for (size_t i = 0; i < s->n_rows; i++) {
		s->rows[i].at = at + ROW_HEAD;
		at += ROW_HEAD + trigram_bits(s->rows[i].class) / 8;
	}
	return true;
}

static bool write_log(struct mbox *m, int fd, const struct buf *rows)
{
	unsigned char h[SEARCH_RECORD_HEAD];

	search_record_head(m, h, WHAT_ROWS, 0, 0, (uint32_t)m->search.n_rows, rows->p, rows->n);
	return !buf_failed(rows) && search_head_write(m, fd) && search_record_write(fd, SEARCH_HEAD, h, rows->p, rows->n) &&
	       renameat(m->dirfd, LOG_NEW, m->dirfd, SEARCHLOG_NAME) == 0;
}

/* The log without what blocks know: a new file with one batch. */
static bool rewrite_log(struct mbox *m)
{
	struct search *const s = &m->search;
	unsigned char row[ROW_HEAD];
	struct buf b;

	buf_init(&b, 256 << 20);
	for (size_t i = 0; i < s->n_rows; i++) {
		const struct search_row *const r = &s->rows[i];
		const uint64_t *const bits = search_row_bits(s, r);
		search_row_head(row, r->uid, r->kind, r->class);
		buf_mem(&b, row, sizeof(row));
		buf_mem(&b, bits, bits ? trigram_bits(r->class) / 8 : 0);
		b.failed |= bits == NULL;
	}
	(void)unlinkat(m->dirfd, LOG_NEW, 0);
	int fd = openat(m->dirfd, LOG_NEW, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	const bool ok = fd >= 0 && write_log(m, fd, &b) && use_log(m, fd, &b);
	if (!ok) {
		close_fd(&fd);
		(void)unlinkat(m->dirfd, LOG_NEW, 0);
	}
	buf_fini(&b);
	return ok;
}

/* The file without blocks of the dead; fd is behind the header. */
static bool copy_blocks(struct mbox *m, int fd)
{
	struct search *const s = &m->search;
	struct err e = { 0 };

	for (size_t i = 0; i < s->n_blocks; i++) {
		const struct search_block *const b = &s->blocks[i];
		const size_t n = SEARCH_RECORD_HEAD + uids_bytes(b->n) + trigram_bits(b->class) * TRIGRAM_ROWS / 8;
		const unsigned char *const p = block_dead(b) ? NULL : grow_at(&s->file[SEARCH_BLOCKS], b->uids - SEARCH_RECORD_HEAD, n);

		if (!block_dead(b) && (p == NULL || write_all(fd, p, n, &e) < 0))
			return false;
	}
	return !grow_hit(&s->file[SEARCH_BLOCKS]);
}

/* True: there is a new file, and all is to be loaded again. Another process that has the old one open writes to it in vain until it looks. */
static bool compact(struct mbox *m)
{
	struct search *const s = &m->search;

	if (lock_try(s->file[SEARCH_BLOCKS].fd) != 0)
		return false;
	(void)unlinkat(m->dirfd, BLOCKS_NEW, 0);
	CLEANUP_FD int fd = openat(m->dirfd, BLOCKS_NEW, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	const bool ok = fd >= 0 && search_head_write(m, fd) && lseek(fd, SEARCH_HEAD, SEEK_SET) == SEARCH_HEAD && copy_blocks(m, fd) &&
			renameat(m->dirfd, BLOCKS_NEW, m->dirfd, SEARCH_NAME) == 0;

	if (ok) {
		search_close(s);	/* the lock goes with the descriptor */
		return true;
	}
	(void)unlinkat(m->dirfd, BLOCKS_NEW, 0);
	lock_release(s->file[SEARCH_BLOCKS].fd);
	s->dead_bytes = 0;	/* a full disk: not again before the next loading */
	return false;
}

/* Rows become blocks, and the log is written anew, where that is due: one of these at most. 1: it was done, 0: nothing is due, -1: a full disk. */
static int tidy_one(struct mbox *m)
{
	struct search *const s = &m->search;

	for (unsigned kind = 0; kind < MBOX_SEARCH_KINDS; kind++)
		for (unsigned class = 0; class < TRIGRAM_CLASSES; class++)
			if (s->count[kind][class] >= TRIGRAM_ROWS)
				return seal(m, kind, class) ? 1 : -1;
	if (s->garbage > LOG_GARBAGE_MIN && s->garbage > s->pos[SEARCH_LOG] / 2)
		return rewrite_log(m) ? 1 : -1;
	return 0;
}

/* What waits is written, and up to so many other things are done, all that are milliseconds. */
static bool write_some(struct mbox *m, unsigned most)
{
	struct search *const s = &m->search;
	int r = 1;

	if (s->pending.n > 0 && !write_pending(m))
		return false;
	for (; most > 0 && r > 0; most--)
		r = tidy_one(m);
	s->due = r > 0;
	return r >= 0;
}

/* What others wrote is read first, so many bytes at once. */
static void flush(struct mbox *m, size_t bytes, unsigned most)
{
	struct search *const s = &m->search;

	if ((s->pending.n == 0 && !s->due) || m->gone)
		return;
	if (s->off) {
		search_close(s);
		s->off = true;
		return;
	}
	if (!open_files(m, true))
		return;
	const int lock = s->file[SEARCH_BLOCKS].fd;
	if (lock_try(lock) != 0)
		return;		/* another process writes: later */
	if (!load_some(m, bytes)) {
		s->due = true;
	} else if (!write_some(m, most)) {
		search_close(s);	/* a full disk: go on without, until the folder is opened again */
		s->off = true;
	}
	if (s->file[SEARCH_BLOCKS].fd == lock)
		lock_release(lock);
}

void mbox_search_flush(struct mbox *m)
{
	flush(m, SIZE_MAX, UINT_MAX);
}

bool mbox_search_flush_step(struct mbox *m)
{
	const bool much = m->search.pending.n > PENDING_BYTES, due = m->search.due;

	flush(m, LOAD_STEP, due && !much ? 1 : 0);
	return m->search.due && !m->gone;
}

void search_row_head(unsigned char out[8], uint32_t uid, unsigned kind, unsigned class)
{
	memset(out, 0, ROW_HEAD);
	put_le32(out, uid);
	out[4] = (unsigned char)kind;
	out[5] = (unsigned char)class;
}

/* Room for a signature that is remembered, and written with others; NULL: none is. added() must follow. */
static uint64_t *row_room(struct mbox *m, uint32_t pos, unsigned kind, unsigned class)
{
	struct search *const s = &m->search;
	const size_t bytes = trigram_bits(class) / 8;

	assert(!crew_inside());
	if (s->off || !host_fits)
		return NULL;
	char *const room = buf_room(&s->pending, ROW_HEAD + bytes);
	if (room == NULL) {	/* could not be written for long */
		search_close(s);
		return NULL;
	}
	const struct search_row r = { .uid = state_rec(&m->st, pos)->uid, .at = s->pending.n + ROW_HEAD, .kind = (uint8_t)kind, .class = (uint8_t)class, .pending = true };
	search_row_head((unsigned char *)room, r.uid, kind, class);
	buf_added(&s->pending, ROW_HEAD + bytes);
	row_add(s, &r);
	cover(s, kind, pos);
	return (void *)(room + ROW_HEAD);	/* rows are multiples of eight bytes */
}

static void added(struct mbox *m)
{
	if (m->search.pending.n > PENDING_BYTES || m->search.due)
		(void)mbox_search_flush_step(m);
}

void search_add(struct mbox *m, uint32_t pos, unsigned kind, const struct trigrams *t)
{
	const unsigned class = trigram_class(t);
	uint64_t *const bits = row_room(m, pos, kind, class);

	if (bits)
		trigram_sign(t, class, bits);
	added(m);
}

void search_add_signed(struct mbox *m, uint32_t pos, unsigned kind, unsigned class, struct str signature)
{
	uint64_t *const bits = row_room(m, pos, kind, class);

	if (bits)
		memcpy(bits, signature.p, signature.n);
	added(m);
}
