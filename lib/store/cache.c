/* The cache of what was once computed of a message (summary, body structure …): disposable, never trusted without its checksum, never synced.
 *
 *   postern.cache     64 bytes header ("PSTNCCH1", mailbox id[16] at 8), then blobs, appended:
 *                     0 "BLOB"  4 uid:32  8 kind:32  12 bytes:32  16 offset of the message's blob before this one:64  24 crc32c of these 24 bytes and the data:32
 *                     28 zero:32  32 data, zeros to a multiple of 8
 *   postern.cachemap  64 bytes header (the same), then for each UID the offset of its youngest blob:64 (a sparse file)
 *
 * Both are mapped; a lookup costs no system call, and nothing is loaded when a folder is opened. New blobs gather in memory and are appended many at once, under a
 * lock on the cache itself that is never waited for. A blob's checksum is verified when this process first uses it. */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/num.h"
#include "os/crew.h"
#include "os/os.h"
#include "store/ahead_priv.h"

enum {
	HEAD = 64, BLOB_HEAD = 32,
	BLOB_MAX = 4 << 20,
	CHAIN_MAX = 16,			/* blobs of one message that are looked at */
	PENDING_BYTES = 1 << 19,	/* gathered before they are written, */
	PENDING_MAX = 512,		/* and so many */
	PENDING_BYTES_MAX = 8 << 20,	/* dropped when they could not be written until then */
	ASKS = 64,			/* of so many questions that the files cannot answer one asks whether others have made them, or made them longer */
};
static const uint64_t cache_max = UINT64_C(16) << 30;	/* bytes: then it is begun anew */
static const char file_magic[8] = "PSTNCCH1";
static const char blob_magic[4] = "BLOB";

static size_t padded(size_t n)
{
	return (n + 7) & ~(size_t)7;
}

/* --- the files --- */

static bool head_ok(struct mbox *m, int fd)
{
	char p[HEAD];

	return pread(fd, p, sizeof(p), 0) == (ssize_t)sizeof(p) && memcmp(p, file_magic, sizeof(file_magic)) == 0 && memcmp(p + 8, m->st.id, 16) == 0;
}

static int make(struct mbox *m, const char *name)
{
	char p[HEAD] = { 0 };
	int fd;

	(void)unlinkat(m->dirfd, name, 0);
	fd = openat(m->dirfd, name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return -1;
	memcpy(p, file_magic, sizeof(file_magic));
	memcpy(p + 8, m->st.id, 16);
	if (pwrite(fd, p, sizeof(p), 0) != (ssize_t)sizeof(p))
		close_fd(&fd);
	return fd;
}

static int open_existing(struct mbox *m, const char *name)
{
	int fd = openat(m->dirfd, name, O_RDWR | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
	struct stat st;

	if (fd >= 0 && (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || (uint64_t)st.st_size > cache_max + (UINT64_C(1) << 36) || !head_ok(m, fd)))
		close_fd(&fd);
	return fd;
}

static void use(struct cache *c, int data, int map)
{
	grow_open(&c->data, data);
	grow_open(&c->map, map);
}

/* A folder that nobody has looked at is asked about message by message. What another process has just cached may be computed once more: that harms nobody. */
static bool asks_now(struct cache *c)
{
	if (c->asks == 0)
		return true;
	c->asks--;
	return false;
}

/* Both files, or the cache is off for this process. */
static bool cache_open(struct mbox *m, bool create)
{
	struct cache *const c = &m->cache;

	if (c->data.fd >= 0)
		return true;
	if (c->off || (!create && !asks_now(c)))
		return false;
	int data = open_existing(m, CACHE_NAME);
	int map = data < 0 ? -1 : open_existing(m, CACHEMAP_NAME);
	if (map < 0 && create) {
		/* The map first: offsets into a file that is not theirs would be found out, but a map without cache is nothing. */
		close_fd(&data);
		map = make(m, CACHEMAP_NAME);
		data = map < 0 ? -1 : make(m, CACHE_NAME);
		c->off = data < 0;
	}
	if (data < 0 || map < 0) {
		close_fd(&data);
		close_fd(&map);
		c->asks = ASKS - 1;
		return false;
	}
	c->asks = 0;
	use(c, data, map);
	return true;
}

void cache_init(struct cache *c)
{
	*c = (struct cache){ .data.fd = -1, .map.fd = -1 };
	buf_init(&c->out, PENDING_BYTES_MAX + BLOB_MAX + 2 * BLOB_HEAD);
}

static void pending_drop(struct cache *c)
{
	buf_fini(&c->out);
	c->n_pending = 0;
}

void cache_close(struct cache *c)
{
	pending_drop(c);
	free(c->pending);
	free(c->verified);
	free(c->sent);
	grow_close(&c->data);
	grow_close(&c->map);
	cache_init(c);
}

/* --- reading --- */

static uint64_t slot_of(uint32_t uid)
{
	return HEAD + (uint64_t)uid * 8;
}

static uint64_t slot_get(struct cache *c, uint32_t uid)
{
	if (slot_of(uid) + 8 > c->map.n && !asks_now(c))
		return 0;
	const unsigned char *const p = grow_at(&c->map, slot_of(uid), 8);

	if (p == NULL)
		c->asks = ASKS - 1;
	return p ? get_le64(p) : 0;
}

static bool is_verified(const struct cache *c, uint32_t uid, uint32_t kind)
{
	return kind == MBOX_CACHE_SUMMARY && uid / 64 < c->n_verified && (c->verified[uid / 64] >> (uid % 64) & 1);
}

static void set_verified(struct cache *c, uint32_t uid, uint32_t kind)
{
	if (kind != MBOX_CACHE_SUMMARY)
		return;
	if (uid / 64 >= c->n_verified) {
		const size_t n = (size_t)uid / 64 * 5 / 4 + 64;
		c->verified = xrealloc(c->verified, n * sizeof(*c->verified));
		memset(c->verified + c->n_verified, 0, (n - c->n_verified) * sizeof(*c->verified));
		c->n_verified = n;
	}
	c->verified[uid / 64] |= UINT64_C(1) << (uid % 64);
}

/* The blob at off: 1 it is of that kind, whole and right; 0 of another kind (*prev_out: go on there); -1 nothing to trust. */
static int blob_at(struct cache *c, uint64_t off, uint32_t uid, uint32_t kind, uint64_t *prev_out, struct str *out)
{
	const unsigned char *p = grow_at(&c->data, off, BLOB_HEAD);

	if (off < HEAD || off % 8 != 0 || p == NULL || memcmp(p, blob_magic, sizeof(blob_magic)) != 0 || get_le32(p + 4) != uid || get_le32(p + 12) > BLOB_MAX)
		return -1;
	const uint32_t n = get_le32(p + 12);
	*prev_out = get_le64(p + 16);
	if (get_le32(p + 8) != kind)
		return 0;
	if ((p = grow_at(&c->data, off, BLOB_HEAD + n)) == NULL)
		return -1;
	if (!is_verified(c, uid, kind)) {
		if (get_le32(p + 24) != crc32c(crc32c(0, p, 24), p + BLOB_HEAD, n))
			return -1;
		set_verified(c, uid, kind);
	}
	*out = str_n(p + BLOB_HEAD, n);
	return 1;
}

static bool pending_get(const struct cache *c, uint32_t uid, uint32_t kind, struct str *out)
{
	if (uid < c->pending_from || uid > c->pending_to)
		return false;
	for (size_t i = c->n_pending; i-- > 0;) {
		const struct cache_pending *const p = &c->pending[i];
		if (p->uid != uid || p->kind != kind)
			continue;
		*out = str_n(c->out.p + p->at + BLOB_HEAD, p->n);
		return true;
	}
	return false;
}

/* A file cut short by somebody: nothing of it counts any more. */
static bool was_cut(struct mbox *m)
{
	struct cache *const c = &m->cache;

	if (!grow_hit(&c->data) && !grow_hit(&c->map))
		return false;
	(void)unlinkat(m->dirfd, CACHE_NAME, 0);
	(void)unlinkat(m->dirfd, CACHEMAP_NAME, 0);
	cache_close(c);
	return true;
}

int cache_peek(struct mbox *m, uint32_t uid, uint32_t kind, struct str *out)
{
	struct cache *const c = &m->cache;
	uint64_t off, prev = 0;
	int r;

	if (uid == 0)
		return 1;
	if (pending_get(c, uid, kind, out))
		return 0;
	if (!cache_open(m, false))
		return 1;
	off = slot_get(c, uid);
	for (int i = 0; off != 0 && i < CHAIN_MAX; i++, off = prev) {
		if ((r = blob_at(c, off, uid, kind, &prev, out)) != 0)
			return r < 0 || was_cut(m) ? 1 : 0;
		if (prev >= off)
			return 1;
	}
	return 1;
}

int mbox_cache_get(struct mbox_view *v, uint32_t seq, uint32_t kind, struct arena *a, struct str *out)
{
	const uint32_t uid = mbox_view_uid(v, seq);
	const struct ahead_item *it;
	struct str s;

	if (cache_peek(v->m, uid, kind, &s) != 0) {
		if (kind != MBOX_CACHE_BODYSTRUCTURE || (it = ahead_get(v, seq, MBOX_AHEAD_STRUCTURE)) == NULL)
			return 1;
		s = buf_view(&it->structure);
		cache_put(v->m, uid, kind, s);
	}
	char *const copy = arena_alloc(a, s.n + 1);
	memcpy(copy, s.p, s.n);
	*out = str_n(copy, s.n);
	return 0;
}

/* --- writing --- */

static bool write_at(int fd, const void *p, size_t n, uint64_t off)
{
	return pwrite(fd, p, n, (off_t)off) == (ssize_t)n;
}

/* Heads of the gathered blobs, which will stand from end on. */
static void finish_heads(struct cache *c, uint64_t end)
{
	for (size_t i = 0; i < c->n_pending; i++) {
		struct cache_pending *const p = &c->pending[i];
		unsigned char *const h = (unsigned char *)c->out.p + p->at;
		uint64_t prev = slot_get(c, p->uid);
		for (size_t k = i; k-- > 0;) {
			if (c->pending[k].uid == p->uid) {
				prev = end + c->pending[k].at;
				break;
			}
			if (i - k > 8)	/* what belongs together was put together */
				break;
		}
		put_le64(h + 16, prev < end + p->at ? prev : 0);
		put_le32(h + 24, crc32c(crc32c(0, h, 24), h + BLOB_HEAD, p->n));
	}
}

/* The offsets, neighbours in one go. */
static bool write_slots(struct cache *c, uint64_t end)
{
	unsigned char slots[8 * 512];

	for (size_t i = 0; i < c->n_pending;) {
		const uint32_t first = c->pending[i].uid;
		size_t n = 0;
		for (; i < c->n_pending && n < sizeof(slots) / 8; i++) {
			const uint32_t uid = c->pending[i].uid;
			if (n > 0 && uid == first + n - 1)	/* another blob of the message */
				n--;
			if (uid != first + n)
				break;
			put_le64(slots + 8 * n++, end + c->pending[i].at);
		}
		if (!write_at(c->map.fd, slots, 8 * n, slot_of(first)))
			return false;
	}
	return true;
}

static void write_pending(struct mbox *m)
{
	struct cache *const c = &m->cache;
	struct stat st;

	if (fstat(c->data.fd, &st) < 0)
		return;
	const uint64_t end = padded((size_t)st.st_size);
	if (end > cache_max || st.st_nlink == 0) {	/* full, or begun anew by another process */
		if (st.st_nlink > 0) {
			(void)unlinkat(m->dirfd, CACHE_NAME, 0);
			(void)unlinkat(m->dirfd, CACHEMAP_NAME, 0);
		}
		cache_close(c);
		return;
	}
	c->asks = 0;
	finish_heads(c, end);
	c->asks = 0;	/* the map is longer now */
	if (end < HEAD || !write_at(c->data.fd, c->out.p, c->out.n, end) || !write_slots(c, end)) {
		/* A full disk: go on without. */
		cache_close(c);
		c->off = true;
	}
}

void mbox_cache_flush(struct mbox *m)
{
	struct cache *const c = &m->cache;

	if (c->n_pending == 0)
		return;
	if (!m->gone && cache_open(m, true)) {
		const int held = lock_try(c->data.fd);
		if (held == 1 && c->out.n < PENDING_BYTES_MAX && c->n_pending < 16 * PENDING_MAX)
			return;		/* another process writes: next time */
		if (held == 0) {
			write_pending(m);
			if (c->data.fd >= 0)
				lock_release(c->data.fd);
		}
	}
	pending_drop(c);
}

void cache_put(struct mbox *m, uint32_t uid, uint32_t kind, struct str blob)
{
	static const char zeros[8];
	struct cache *const c = &m->cache;
	unsigned char h[BLOB_HEAD] = { 0 };

	assert(!crew_inside());
	if (uid == 0 || blob.n > BLOB_MAX)
		return;
	/* Without files the youngest is kept all the same: who put it looks at it. */
	if (c->off || m->gone)
		pending_drop(c);
	if (c->out.n > PENDING_BYTES || c->n_pending >= PENDING_MAX)
		mbox_cache_flush(m);
	if (c->n_pending == c->cap_pending) {
		c->cap_pending = c->cap_pending * 2 + 64;
		c->pending = xrealloc(c->pending, c->cap_pending * sizeof(*c->pending));
	}
	c->pending_from = c->n_pending == 0 || uid < c->pending_from ? uid : c->pending_from;
	c->pending_to = c->n_pending == 0 || uid > c->pending_to ? uid : c->pending_to;
	c->pending[c->n_pending++] = (struct cache_pending){ .uid = uid, .kind = kind, .n = (uint32_t)blob.n, .at = c->out.n };
	memcpy(h, blob_magic, sizeof(blob_magic));
	put_le32(h + 4, uid);
	put_le32(h + 8, kind);
	put_le32(h + 12, (uint32_t)blob.n);
	buf_mem(&c->out, h, sizeof(h));
	buf_str(&c->out, blob);
	buf_mem(&c->out, zeros, padded(blob.n) - blob.n);
}

void mbox_cache_put(struct mbox_view *v, uint32_t seq, uint32_t kind, struct str blob)
{
	cache_put(v->m, mbox_view_uid(v, seq), kind, blob);
}
