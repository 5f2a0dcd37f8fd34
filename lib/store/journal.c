/* The journal: a folder's primary state, a file that only grows. All numbers little-endian.
 *
 *   header, twice (at 0 and at 128), 128 bytes each:
 *     0 "PSTNJRN1"   8 version:32 = 1   12 header bytes:32 = 256   16 generation:64 (random; a rewritten journal has another)
 *     24 generation of the journal that it replaced:64   32 offset behind what was taken over from that:64   40 mailbox id[16]
 *     56 uidvalidity:32   60 uidnext:32   64 modseq:64   72 … zero   124 crc32c of the first 124 bytes
 *   batches from 256 on, each at a multiple of 8:
 *     0 "BTCH"   4 bytes of operations:32   8 modseq:64   16 uidnext after it:32   20 reserved:32   24 number of the header's version:32
 *     28 crc32c:32 of generation:64, own offset:64, the 28 bytes before, the operations   32 operations (ops.c), zeros to a multiple of 8
 *
 * A batch is one change, whole or not at all: its checksum covers everything, and generation and offset, so that no stale block of another
 * file or place passes. Writers and readers hold the folder's lock; a batch is synced before the lock is released, so nobody acts on
 * what a power cut may take back. Reading stops at bytes that are no batch: a write cut short, when nothing valid follows; rot, when something does: then
 * only what is unreadable is lost, and the caller writes the journal anew and keeps the old one aside. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/num.h"
#include "os/os.h"
#include "store/journal_priv.h"

enum {
	VERSION = 1,
	WINDOW = 1 << 20,	/* bytes read at once */
};
static const char magic[8] = "PSTNJRN1";
static const char batch_magic[4] = "BTCH";

/* --- header --- */

void journal_head_put(unsigned char out[HEAD_BYTES], const struct journal_head *h)
{
	memset(out, 0, HEAD_BYTES);
	memcpy(out, magic, sizeof(magic));
	put_le32(out + 8, VERSION);
	put_le32(out + 12, BATCHES_AT);
	put_le64(out + 16, h->generation);
	put_le64(out + 24, h->prev_generation);
	put_le64(out + 32, h->base_end);
	memcpy(out + 40, h->id, sizeof(h->id));
	put_le32(out + 56, h->uidvalidity);
	put_le32(out + 60, h->uidnext);
	put_le64(out + 64, h->modseq);
	put_le32(out + 124, crc32c(0, out, 124));
}

static int head_get(const unsigned char *p, struct journal_head *out)
{
	if (memcmp(p, magic, sizeof(magic)) != 0 || get_le32(p + 8) != VERSION || get_le32(p + 124) != crc32c(0, p, 124) || get_le32(p + 56) == 0)
		return -1;
	*out = (struct journal_head){ .generation = get_le64(p + 16), .prev_generation = get_le64(p + 24), .base_end = get_le64(p + 32),
		.uidvalidity = get_le32(p + 56), .uidnext = get_le32(p + 60), .modseq = get_le64(p + 64) };
	memcpy(out->id, p + 40, sizeof(out->id));
	return 0;
}

int journal_open(struct journal *j, int dirfd, struct journal_head *head, struct err *e)
{
	unsigned char raw[2 * HEAD_BYTES] = { 0 };
	struct stat st;

	*j = (struct journal){ .fd = -1 };
	CLEANUP_FD int fd = openat(dirfd, JOURNAL_NAME, O_RDWR | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		return err_set(e, errno == ENOENT ? ERR_NOENT : ERR_TEMP, errno, JOURNAL_NAME);
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		return err_set(e, ERR_INPUT, 0, JOURNAL_NAME " is no regular file");
	for (size_t n = 0; n < sizeof(raw);) {
		const ssize_t k = pread(fd, raw + n, sizeof(raw) - n, (off_t)n);
		if (k < 0 && errno != EINTR)
			return err_set(e, ERR_TEMP, errno, JOURNAL_NAME);
		if (k == 0)
			break;
		n += k > 0 ? (size_t)k : 0;
	}
	const bool first = head_get(raw, head) == 0;
	if (!first && head_get(raw + HEAD_BYTES, head) < 0)
		return err_set(e, ERR_INPUT, 0, JOURNAL_NAME ": the header is damaged");
	j->holes = !first || memcmp(raw, raw + HEAD_BYTES, HEAD_BYTES) != 0;
	j->generation = head->generation;
	j->prev_generation = head->prev_generation;
	j->base_end = head->base_end;
	j->pos = BATCHES_AT;
	j->ino = st.st_ino;
	j->fd = fd;
	fd = -1;
	return 0;
}

int journal_again(const struct journal *from, struct journal *j, struct journal_head *head, struct err *e)
{
	unsigned char raw[2 * HEAD_BYTES];

	if (pread_all(from->fd, raw, sizeof(raw), 0, e) < 0)
		return -1;
	if (head_get(raw, head) < 0 && head_get(raw + HEAD_BYTES, head) < 0)
		return err_set(e, ERR_INPUT, 0, JOURNAL_NAME ": the header is damaged");
	*j = *from;
	j->pos = BATCHES_AT;
	return 0;
}

void journal_close(struct journal *j)
{
	close_fd(&j->fd);
}

/* --- batches --- */

static uint32_t batch_crc(uint64_t generation, uint64_t off, const unsigned char *head, const void *ops, size_t n)
{
	unsigned char seed[16];

	put_le64(seed, generation);
	put_le64(seed + 8, off);
	return crc32c(crc32c(crc32c(0, seed, sizeof(seed)), head, 28), ops, n);
}

/* Bytes that a batch starting like this would have; 0: it does not start like one. */
static size_t batch_bytes(const unsigned char *p)
{
	const uint32_t n = get_le32(p + 4);

	return memcmp(p, batch_magic, sizeof(batch_magic)) == 0 && n <= BATCH_MAX ? BATCH_HEAD + journal_padded(n) : 0;
}

int batch_parse(struct str in, uint64_t generation, uint64_t off, size_t *used_out, struct str *ops_out, uint64_t *modseq_out, uint32_t *uidnext_out,
		uint32_t *reserved_out)
{
	const unsigned char *const p = (const unsigned char *)in.p;
	size_t n;

	if (in.n < BATCH_HEAD || (n = batch_bytes(p)) == 0 || n > in.n)
		return 0;
	const uint32_t len = get_le32(p + 4);
	if (get_le32(p + 28) != batch_crc(generation, off, p, p + BATCH_HEAD, len))
		return 0;
	for (size_t i = BATCH_HEAD + len; i < n; i++)
		if (p[i] != 0)
			return 0;
	*used_out = n;
	*ops_out = str_n(p + BATCH_HEAD, len);
	*modseq_out = get_le64(p + 8);
	*uidnext_out = get_le32(p + 16);
	*reserved_out = get_le32(p + 20);
	return 1;
}

/* A piece of the file in memory. */
struct window {
	char *p;
	size_t n, cap;
	uint64_t off;		/* of p[0] */
};

/* Make at least want bytes from off on available, or what the file has. */
static int window_at(struct window *w, int fd, uint64_t off, size_t want, uint64_t end, struct err *e)
{
	if (off + want > end)
		want = (size_t)(end - off);
	if (off >= w->off && off - w->off + want <= w->n)
		return 0;
	if (want < WINDOW)
		want = end - off < WINDOW ? (size_t)(end - off) : WINDOW;
	if (want > w->cap) {
		free(w->p);
		w->p = xmalloc(want);
		w->cap = want;
	}
	w->off = off;
	w->n = 0;
	if (pread_all(fd, w->p, want, off, e) < 0)
		return -1;
	w->n = want;
	return 0;
}

static struct str window_view(const struct window *w, uint64_t off)
{
	return str_n(w->p + (off - w->off), w->n - (size_t)(off - w->off));
}

struct scan {
	struct journal *j;
	struct window w;
	uint64_t end;
};

/* A batch at off? 1 (the window holds it whole), 0, or -1. */
static int scan_at(struct scan *s, uint64_t off, size_t *used, struct str *ops, uint64_t *modseq, uint32_t *uidnext, uint32_t *reserved, struct err *e)
{
	size_t n;

	if (s->end - off < BATCH_HEAD)
		return 0;
	if (window_at(&s->w, s->j->fd, off, BATCH_HEAD, s->end, e) < 0)
		return -1;
	n = batch_bytes((const unsigned char *)window_view(&s->w, off).p);
	if (n == 0 || n > s->end - off)
		return 0;
	if (window_at(&s->w, s->j->fd, off, n, s->end, e) < 0)
		return -1;
	return batch_parse(window_view(&s->w, off), s->j->generation, off, used, ops, modseq, uidnext, reserved);
}

/* The next place behind off where a batch verifies. 1, 0 none, -1. */
static int scan_on(struct scan *s, uint64_t *off, struct err *e)
{
	uint64_t modseq;
	uint32_t uidnext, reserved;
	struct str ops;
	size_t used;
	int r;

	for (uint64_t at = *off + 8; s->end - at >= BATCH_HEAD && at < s->end; at += 8) {
		if ((r = scan_at(s, at, &used, &ops, &modseq, &uidnext, &reserved, e)) != 0) {
			*off = at;
			return r;
		}
	}
	return 0;
}

int journal_scan_some(struct journal *j, uint64_t max, batch_fn *fn, void *ctx, uint64_t *tail_out, struct err *e)
{
	const uint64_t stop = j->pos > UINT64_MAX - max ? UINT64_MAX : j->pos + max;
	struct scan s = { .j = j };
	uint64_t modseq;
	uint32_t uidnext, reserved;
	struct str ops;
	struct stat st;
	size_t used;
	int r = 0;

	*tail_out = 0;
	if (fstat(j->fd, &st) < 0)
		return err_set(e, ERR_TEMP, errno, JOURNAL_NAME);
	s.end = (uint64_t)st.st_size;
	while (j->pos < s.end && j->pos < stop) {
		struct err bad = { 0 };
		r = scan_at(&s, j->pos, &used, &ops, &modseq, &uidnext, &reserved, e);
		if (r < 0)
			break;
		if (r == 1) {
			/* What verifies but makes no sense is treated as unreadable. */
			if (fn(ctx, ops, modseq, uidnext, reserved, &bad) < 0)
				j->holes = true;
			j->pos += used;
			continue;
		}
		uint64_t next = j->pos;
		if ((r = scan_on(&s, &next, e)) < 0)
			break;
		if (r == 0) {
			*tail_out = s.end - j->pos;
			break;
		}
		j->holes = true;
		j->pos = next;
	}
	free(s.w.p);
	if (j->pos > s.end && r >= 0)	/* shorter than it was: cut by somebody */
		j->holes = true;
	return r < 0 ? -1 : *tail_out == 0 && j->pos < s.end;
}

int journal_scan(struct journal *j, batch_fn *fn, void *ctx, uint64_t *tail_out, struct err *e)
{
	return journal_scan_some(j, UINT64_MAX, fn, ctx, tail_out, e);
}

void journal_batch_head(unsigned char head[BATCH_HEAD], uint64_t generation, uint64_t off, struct str ops, uint64_t modseq, uint32_t uidnext, uint32_t reserved)
{
	memcpy(head, batch_magic, sizeof(batch_magic));
	put_le32(head + 4, (uint32_t)ops.n);
	put_le64(head + 8, modseq);
	put_le32(head + 16, uidnext);
	put_le32(head + 20, reserved);
	put_le32(head + 24, VERSION);
	put_le32(head + 28, batch_crc(generation, off, head, ops.p, ops.n));
}

int journal_pwrite(int fd, const void *data, size_t n, uint64_t off, struct err *e)
{
	const char *p = data;

	while (n > 0) {
		const ssize_t k = pwrite(fd, p, n, (off_t)off);
		if (k < 0 && errno == EINTR)
			continue;
		if (k <= 0) {
			const int sys = k < 0 ? errno : ENOSPC;
			return err_set(e, sys == ENOSPC || sys == EDQUOT || sys == EFBIG ? ERR_QUOTA : ERR_TEMP, sys, JOURNAL_NAME);
		}
		p += k;
		n -= (size_t)k;
		off += (uint64_t)k;
	}
	return 0;
}

/* D5: after a failed sync this file is not trusted with a promise again. */
static int sync_failed(struct journal *j, struct err *e)
{
	const int sys = errno;

	j->broken = true;
	return err_set(e, ERR_TEMP, sys, JOURNAL_NAME ": sync");
}

int journal_sync(struct journal *j, struct err *e)
{
	return fdatasync(j->fd) < 0 ? sync_failed(j, e) : 0;
}

int journal_batch_written(struct journal *j, struct err *e)
{
	return sync_file_range(j->fd, 0, 0, SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER) < 0 ? sync_failed(j, e) : 0;
}

/* That the file has grown may be durable already, by another program's sync, and then a sync of it would wait for nothing that came later. So it is changed once more. */
int journal_batch_sync(struct journal *j, struct err *e)
{
	return futimens(j->fd, NULL) < 0 || fsync(j->fd) < 0 ? sync_failed(j, e) : 0;
}

static int make_durable(struct journal *j, enum durable how, struct err *e)
{
	if (how == DURABLE_NOW)
		return journal_sync(j, e);
	return how == DURABLE_WRITTEN ? journal_batch_written(j, e) : 0;
}

/* Only what was written here, and nobody else read, is taken back. What cannot be cut off is no batch without its head. */
void journal_batch_undo(struct journal *j)
{
	static const char none[BATCH_HEAD];
	struct err e = { 0 };

	j->batch = 0;
	if (ftruncate(j->fd, (off_t)j->pos) == 0)
		return;
	j->broken = true;
	(void)!journal_pwrite(j->fd, none, sizeof(none), j->pos, &e);
}

void journal_batch_take(struct journal *j)
{
	j->pos += j->batch;
	j->batch = 0;
}

static int batch_put(struct journal *j, struct str ops, uint64_t modseq, uint32_t uidnext, uint32_t reserved, struct err *e)
{
	const size_t n = BATCH_HEAD + journal_padded(ops.n);
	char *whole;
	int r;

	if (ops.n > BATCH_MAX)
		return err_set(e, ERR_LIMIT, 0, "a change of %zu bytes", ops.n);
	whole = xzalloc(n);
	journal_batch_head((unsigned char *)whole, j->generation, j->pos, ops, modseq, uidnext, reserved);
	memcpy(whole + BATCH_HEAD, ops.p, ops.n);
	r = journal_pwrite(j->fd, whole, n, j->pos, e);
	free(whole);
	j->batch = n;
	if (r < 0)
		journal_batch_undo(j);
	return r;
}

int journal_batch_write(struct journal *j, struct str ops, uint64_t modseq, uint32_t uidnext, uint32_t reserved, struct err *e)
{
	if (batch_put(j, ops, modseq, uidnext, reserved, e) < 0)
		return -1;
	(void)sync_file_range(j->fd, 0, 0, SYNC_FILE_RANGE_WRITE);	/* what fails here fails again, and is told, when it is waited for */
	return 0;
}

int journal_append(struct journal *j, struct str ops, uint64_t modseq, uint32_t uidnext, uint32_t reserved, enum durable how, struct err *e)
{
	if (batch_put(j, ops, modseq, uidnext, reserved, e) < 0)
		return -1;
	if (make_durable(j, how, e) < 0) {
		journal_batch_undo(j);
		return -1;
	}
	journal_batch_take(j);
	return 0;
}
