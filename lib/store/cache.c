/* The cache of what was once computed of a message (envelope, body structure …): disposable, never trusted without its checksum, never synced.
 *
 *   postern.cache     64 bytes header ("PSTNCCH1", mailbox id[16] at 8), then blobs, appended:
 *                     0 "BLOB"  4 uid:32  8 kind:32  12 bytes:32  16 offset of the message's blob before this one:64  24 crc32c of these 24 bytes and the data:32
 *                     28 zero:32  32 data, zeros to a multiple of 8
 *   postern.cachemap  64 bytes header (the same), then for each UID the offset of its youngest blob:64 (a sparse file)
 *
 * A lookup is one read of eight bytes and one of the blob; nothing is loaded when a folder is opened. Two processes may add for one message at once: then one
 * blob is forgotten and made again. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/num.h"
#include "os/os.h"
#include "store/store_priv.h"

enum {
	HEAD = 64, BLOB_HEAD = 32,
	BLOB_MAX = 4 << 20,
	CHAIN_MAX = 16,			/* blobs of one message that are looked at */
	FIRST_READ = 4096,		/* most blobs come with one read */
};
static const uint64_t cache_max = UINT64_C(4) << 30;	/* bytes: then it is begun anew */
static const char file_magic[8] = "PSTNCCH1";
static const char blob_magic[4] = "BLOB";

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

/* Both files, or the cache is off for this process. */
static bool cache_open(struct mbox *m, bool create)
{
	if (m->cache_fd >= 0)
		return true;
	if (m->cache_off)
		return false;
	m->cache_fd = open_existing(m, CACHE_NAME);
	m->cachemap_fd = m->cache_fd < 0 ? -1 : open_existing(m, CACHEMAP_NAME);
	if (m->cachemap_fd >= 0)
		return true;
	close_fd(&m->cache_fd);
	if (!create)
		return false;
	/* The map first: offsets into a file that is not theirs would be found out, but a map without cache is nothing. */
	m->cachemap_fd = make(m, CACHEMAP_NAME);
	m->cache_fd = m->cachemap_fd < 0 ? -1 : make(m, CACHE_NAME);
	if (m->cache_fd >= 0)
		return true;
	close_fd(&m->cachemap_fd);
	m->cache_off = true;
	return false;
}

static uint64_t slot_of(uint32_t uid)
{
	return HEAD + (uint64_t)uid * 8;
}

static uint64_t slot_get(struct mbox *m, uint32_t uid)
{
	unsigned char p[8];

	return pread(m->cachemap_fd, p, sizeof(p), (off_t)slot_of(uid)) == (ssize_t)sizeof(p) ? get_le64(p) : 0;
}

struct blob {
	uint32_t kind, n;
	uint64_t prev;
};

/* Read a blob: 0 whole and right, -1. *data_out only when its kind is wanted. */
static int blob_get(struct mbox *m, uint64_t off, uint32_t uid, uint32_t kind, struct arena *a, struct blob *out, struct str *data_out)
{
	unsigned char first[FIRST_READ];
	const ssize_t got = pread(m->cache_fd, first, sizeof(first), (off_t)off);
	char *data;

	if (got < BLOB_HEAD || memcmp(first, blob_magic, sizeof(blob_magic)) != 0 || get_le32(first + 4) != uid)
		return -1;
	*out = (struct blob){ .kind = get_le32(first + 8), .n = get_le32(first + 12), .prev = get_le64(first + 16) };
	if (out->n > BLOB_MAX)
		return -1;
	if (out->kind != kind)
		return 0;
	data = arena_alloc(a, (size_t)out->n + 1);
	const size_t have = (size_t)got - BLOB_HEAD < out->n ? (size_t)got - BLOB_HEAD : out->n;
	memcpy(data, first + BLOB_HEAD, have);
	if (have < out->n && pread(m->cache_fd, data + have, out->n - have, (off_t)(off + BLOB_HEAD + have)) != (ssize_t)(out->n - have))
		return -1;
	if (get_le32(first + 24) != crc32c(crc32c(0, first, 24), data, out->n))
		return -1;
	*data_out = str_n(data, out->n);
	return 0;
}

static uint32_t uid_of(struct mbox_view *v, uint32_t seq)
{
	return mbox_view_uid(v, seq);
}

int mbox_cache_get(struct mbox_view *v, uint32_t seq, uint32_t kind, struct arena *a, struct str *out)
{
	struct mbox *const m = v->m;
	const uint32_t uid = uid_of(v, seq);
	struct blob b;
	uint64_t off;

	if (uid == 0 || !cache_open(m, false))
		return 1;
	off = slot_get(m, uid);
	for (int i = 0; off != 0 && i < CHAIN_MAX; i++) {
		if (blob_get(m, off, uid, kind, a, &b, out) < 0)
			return 1;
		if (b.kind == kind)
			return 0;
		if (b.prev >= off)
			return 1;
		off = b.prev;
	}
	return 1;
}

void mbox_cache_put(struct mbox_view *v, uint32_t seq, uint32_t kind, struct str blob)
{
	struct mbox *const m = v->m;
	const uint32_t uid = uid_of(v, seq);
	const size_t n = BLOB_HEAD + ((blob.n + 7) & ~(size_t)7);
	unsigned char slot[8];
	off_t end;

	if (uid == 0 || blob.n > BLOB_MAX || !cache_open(m, true))
		return;
	unsigned char *const p = xzalloc(n);
	memcpy(p, blob_magic, sizeof(blob_magic));
	put_le32(p + 4, uid);
	put_le32(p + 8, kind);
	put_le32(p + 12, (uint32_t)blob.n);
	put_le64(p + 16, slot_get(m, uid));
	if (blob.n)
		memcpy(p + BLOB_HEAD, blob.p, blob.n);
	put_le32(p + 24, crc32c(crc32c(0, p, 24), p + BLOB_HEAD, blob.n));
	/* The end is only a guess when another process adds at the same time: the loser's blob does not verify, and is made again. */
	end = (lseek(m->cache_fd, 0, SEEK_END) + 7) & ~(off_t)7;
	if ((uint64_t)end > cache_max) {
		(void)unlinkat(m->dirfd, CACHE_NAME, 0);
		(void)unlinkat(m->dirfd, CACHEMAP_NAME, 0);
		close_fd(&m->cache_fd);
		close_fd(&m->cachemap_fd);
	} else if (end >= HEAD && pwrite(m->cache_fd, p, n, end) == (ssize_t)n) {
		put_le64(slot, (uint64_t)end);
		if (pwrite(m->cachemap_fd, slot, sizeof(slot), (off_t)slot_of(uid)) != (ssize_t)sizeof(slot))
			m->cache_off = true;
	} else {	/* a full disk: go on without (security.md, resource failures) */
		m->cache_off = true;
		close_fd(&m->cache_fd);
		close_fd(&m->cachemap_fd);
	}
	free(p);
}
