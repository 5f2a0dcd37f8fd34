/* The reader of constant databases. Format: 256 table heads of 8 bytes (position, slots), records (key length, value length, key,
 * value), then the tables (hash, position of the record); all numbers 32 bits little-endian. Nothing in the file is
 * believed: every position is checked against the size, every walk has a limit. */
#include "map/cdbfile.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/num.h"
#include "os/os.h"

enum {
	HEADS_BYTES = 2048,
	PROBES_MAX = 65536, /* slots looked at for one key; a sane table needs a handful */
	SLOTS_READ = 16,    /* at once */
	COMPARE_BYTES = 1024,
	RECORD_MAX = 16 << 20, /* in cdbfile_each */
	COPY_BYTES_MAX = 4 << 20, /* a file up to this size is copied to memory … */
	COPY_AFTER_READS = 64,    /* … once it was read so often: one that is asked once is not worth it */
};

struct cdbfile {
	int fd;
	uint64_t size, data_end;
	struct stat st;
	unsigned reads;
	unsigned char *copy; /* of the whole file; NULL: none */
};

static int corrupt(struct err *e, const char *what)
{
	return err_set(e, ERR_TEMP, 0, "corrupt map: %s", what);
}

/* Best effort: without a copy the file is read. */
static void take_copy(struct cdbfile *c)
{
	struct err e = { 0 };

	if (c->copy || c->size > COPY_BYTES_MAX || ++c->reads < COPY_AFTER_READS)
		return;
	c->copy = xmalloc((size_t)c->size);
	if (pread_all(c->fd, c->copy, (size_t)c->size, 0, &e) < 0) {
		free(c->copy);
		c->copy = NULL;
		c->reads = 0;
	}
}

/* n bytes at off, which must lie in the file as it was when opened; a file that shrank since is an error as well. */
static int get(struct cdbfile *c, void *p, size_t n, uint64_t off, struct err *e)
{
	if (off > c->size || n > c->size - off)
		return corrupt(e, "position outside the file");
	take_copy(c);
	if (c->copy) {
		memcpy(p, c->copy + off, n);
		return 0;
	}
	if (pread_all(c->fd, p, n, off, e) < 0) {
		if (e)
			e->code = ERR_TEMP;
		return -1;
	}
	return 0;
}

static int get_pair(struct cdbfile *c, uint64_t off, uint32_t *a, uint32_t *b, struct err *e)
{
	unsigned char p[8];

	if (get(c, p, sizeof(p), off, e) < 0)
		return -1;
	*a = get_le32(p);
	*b = get_le32(p + 4);
	return 0;
}

/* --- opening --- */

/* Heads that point outside the file say that it is no cdb (or half of one). */
static int check_heads(struct cdbfile *c, struct err *e)
{
	unsigned char heads[HEADS_BYTES];

	if (get(c, heads, sizeof(heads), 0, e) < 0)
		return -1;
	c->data_end = c->size;
	for (size_t i = 0; i < sizeof(heads); i += 8) {
		const uint64_t pos = get_le32(heads + i), slots = get_le32(heads + i + 4);

		if (slots == 0)
			continue;
		if (pos < HEADS_BYTES || pos > c->size || slots > (c->size - pos) / 8)
			return corrupt(e, "table outside the file");
		if (pos < c->data_end)
			c->data_end = pos;
	}
	return 0;
}

int cdbfile_open_fd(int fd, struct cdbfile **out, struct err *e)
{
	struct cdbfile *c = xzalloc(sizeof(*c));

	c->fd = fd;
	if (fstat(fd, &c->st) < 0)
		err_set(e, ERR_TEMP, errno, "fstat");
	else if (!S_ISREG(c->st.st_mode))
		err_set(e, ERR_CONF, 0, "not a regular file");
	else if (c->st.st_size < HEADS_BYTES)
		err_set(e, ERR_CONF, 0, "not a cdb file: %lld bytes", (long long)c->st.st_size);
	else if (c->st.st_size > UINT32_MAX)
		err_set(e, ERR_CONF, 0, "not a cdb file: larger than 4 GiB");
	else {
		c->size = (uint64_t)c->st.st_size;
		if (check_heads(c, e) == 0) {
			*out = c;
			return 0;
		}
		if (e)
			e->code = ERR_CONF;
	}
	cdbfile_close(&c);
	return -1;
}

int cdbfile_open(const char *path, struct cdbfile **out, struct err *e)
{
	const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);

	if (fd < 0)
		return err_set(e, errno == ENOENT ? ERR_NOENT : ERR_TEMP, errno, "%s", path);
	return cdbfile_open_fd(fd, out, e) < 0 ? err_wrap(e, "%s", path) : 0;
}

void cdbfile_close(struct cdbfile **c)
{
	if (!*c)
		return;
	close((*c)->fd);
	free((*c)->copy);
	free(*c);
	*c = NULL;
}

bool cdbfile_changed(const struct cdbfile *c, const char *path)
{
	struct stat st;

	return stat(path, &st) < 0 || st.st_ino != c->st.st_ino || st.st_dev != c->st.st_dev ||
	       st.st_size != c->st.st_size || st.st_mtim.tv_sec != c->st.st_mtim.tv_sec ||
	       st.st_mtim.tv_nsec != c->st.st_mtim.tv_nsec;
}

/* --- looking up --- */

static uint32_t hash(struct str key)
{
	uint32_t h = 5381;

	for (size_t i = 0; i < key.n; i++)
		h = (h * 33) ^ (unsigned char)key.p[i];
	return h;
}

/* 0: the record at pos has this key, and its value lies at *value_off; 1: another key. */
static int record_match(struct cdbfile *c, uint32_t pos, struct str key, uint64_t *value_off,
			uint32_t *value_n, struct err *e)
{
	char part[COMPARE_BYTES];
	uint32_t klen, vlen;

	if (get_pair(c, pos, &klen, &vlen, e) < 0)
		return -1;
	if (klen != key.n)
		return 1;
	for (size_t at = 0; at < key.n; at += sizeof(part)) {
		const size_t n = key.n - at < sizeof(part) ? key.n - at : sizeof(part);

		if (get(c, part, n, (uint64_t)pos + 8 + at, e) < 0)
			return -1;
		if (memcmp(part, key.p + at, n) != 0)
			return 1;
	}
	*value_off = (uint64_t)pos + 8 + klen;
	*value_n = vlen;
	return 0;
}

/* 0: found; 1: no such key; -1. */
static int find(struct cdbfile *c, struct str key, uint64_t *value_off, uint32_t *value_n,
		struct err *e)
{
	const uint32_t h = hash(key);
	uint32_t table, slots;

	if (get_pair(c, (h & 255) * 8, &table, &slots, e) < 0)
		return -1;
	if (slots == 0)
		return 1;
	uint32_t slot = (h >> 8) % slots;

	for (uint32_t left = slots < PROBES_MAX ? slots : PROBES_MAX; left > 0;) {
		unsigned char part[SLOTS_READ * 8];
		uint32_t n = slots - slot < SLOTS_READ ? slots - slot : SLOTS_READ;

		n = n < left ? n : left;
		if (get(c, part, (size_t)n * 8, (uint64_t)table + (uint64_t)slot * 8, e) < 0)
			return -1;
		for (uint32_t i = 0; i < n; i++) {
			const uint32_t slot_hash = get_le32(part + (size_t)i * 8),
				       pos = get_le32(part + (size_t)i * 8 + 4);

			if (pos == 0)
				return 1;
			if (slot_hash != h)
				continue;
			const int r = record_match(c, pos, key, value_off, value_n, e);

			if (r != 1)
				return r;
		}
		left -= n;
		slot = slot + n == slots ? 0 : slot + n;
	}
	return slots > PROBES_MAX ? corrupt(e, "endless table") : 1;
}

int cdbfile_get(struct cdbfile *c, struct str key, size_t max, struct buf *out, struct err *e)
{
	uint64_t off = 0;
	uint32_t n = 0;
	int r = find(c, key, &off, &n, e);
	bool with_nul = false;

	if (r == 1 && key.n < COMPARE_BYTES - 1) {
		/* Some writers store the terminating NUL of both. */
		char nul_key[COMPARE_BYTES];

		if (key.n)
			memcpy(nul_key, key.p, key.n);
		nul_key[key.n] = 0;
		r = find(c, str_n(nul_key, key.n + 1), &off, &n, e);
		with_nul = true;
	}
	if (r != 0)
		return r;
	if (n > max)
		return err_set(e, ERR_TEMP, 0, "value of %u bytes, at most %zu", n, max);
	char *p = buf_room(out, n ? n : 1);

	if (!p)
		return err_set(e, ERR_TEMP, 0, "value of %u bytes: no room", n);
	if (get(c, p, n, off, e) < 0)
		return -1;
	buf_added(out, with_nul && n && p[n - 1] == 0 ? n - 1 : n);
	return 0;
}

int cdbfile_each(struct cdbfile *c, int (*fn)(void *ctx, struct str key, struct str value),
		 void *ctx, struct err *e)
{
	struct buf b;
	int r = 0;

	buf_init(&b, RECORD_MAX + 1);
	for (uint64_t pos = HEADS_BYTES; r == 0 && pos < c->data_end;) {
		uint32_t klen, vlen;

		if (c->data_end - pos < 8)
			r = corrupt(e, "record cut short");
		else
			r = get_pair(c, pos, &klen, &vlen, e);
		if (r < 0)
			break;
		const uint64_t n = (uint64_t)klen + vlen;

		if (n > c->data_end - pos - 8 || n > RECORD_MAX) {
			r = corrupt(e, "record outside the file");
			break;
		}
		buf_reset(&b);
		char *p = buf_room(&b, (size_t)n + 1);

		if (!p)
			r = err_set(e, ERR_TEMP, 0, "record of %llu bytes: no room",
				    (unsigned long long)n);
		else
			r = get(c, p, (size_t)n, pos + 8, e);
		if (r == 0 && fn(ctx, str_n(p, klen), str_n(p + klen, vlen)) != 0)
			break;
		pos += 8 + n;
	}
	buf_fini(&b);
	return r;
}
