/* The index: a folder's state as of one place in one journal, in a file that is mapped, not read. Disposable: whatever does not verify or does not
 * belong to the journal is ignored, and the state is built from the journal. Replaced by rename (index_write.c), never changed in place. Little-endian.
 *
 *   header, 256 bytes:
 *     0 "PSTNIDX1"   8 version:32 = 2   12 record bytes:32 = 64   16 journal generation:64   24 journal offset:64   32 mailbox id[16]
 *     48 uidvalidity:32   52 uidnext:32   56 reserved:32   60 records:32   64 modseq:64
 *     72 messages:32   76 unseen:32   80 deleted:32   84 messages of unknown CRLF size:32   88 zombies:32   92 unflushed:32   96 sum of CRLF sizes:64
 *     104 keywords:32   108 keyword sets:32   112 POP3 entries:32   116 crc32c of the chunk table:32
 *     120 meta offset:64   128 meta bytes:64   136 crc32c of meta:32   144 chunk table offset:64   152 names offset:64   160 names bytes:64
 *     168 ranges in the log of expunges:32   176 its floor:64
 *     184 latest time of a name:64   192 one more than the greatest setback of the clock:64 (0: not known)   200 … zero   252 crc32c of the first 252 bytes
 *   records (struct rec) from 256 on, UIDs ascending; those of expunged messages only while their file may still be there (zombies)
 *   chunk table: crc32c:32 of each 4096 bytes of records
 *   meta: keywords (len:8 text), keyword sets but the empty one (n:16 ids:16…), POP3 entries (uid:32 order:32 len:8 text), log of expunges
 *     (modseq:64 first:32 last:32)
 *   names: base name and odd info of each record; each verified by its record's name_crc when it is used
 *
 * Opening costs the header, the checksum of the chunk table (four bytes for 64 messages) and what the journal holds behind the offset; records are verified when
 * they are looked at, 64 at a time, and mended from the journal when they are not what they were. The mapping is
 * private: changes of this process stay in this process. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/num.h"
#include "os/os.h"
#include "store/index.h"
#include "store/store_priv.h"

_Static_assert(STATE_CHUNK * sizeof(struct rec) == INDEX_CHUNK, "a chunk is a page");
enum { COPY_BELOW = 1 << 20 };	/* smaller files are read: cheaper than mapping, and nobody can cut them short */

/* --- loading --- */

void *file_map(int fd, size_t n)
{
	struct err e = { 0 };
	void *p = MAP_FAILED;

	if (n >= COPY_BELOW) {
		p = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
		if (p != MAP_FAILED && guard_add(p, n))
			return p;
		if (p != MAP_FAILED)
			munmap(p, n);
	}
	p = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (p != MAP_FAILED && pread_all(fd, p, n, 0, &e) == 0)
		return p;
	if (p != MAP_FAILED)
		munmap(p, n);
	return NULL;
}

static bool part_ok(uint64_t off, uint64_t n, uint64_t total)
{
	return off >= INDEX_HEAD && off <= total && n <= total - off;
}

static bool chunks_ok(const unsigned char *p, size_t n_records)
{
	const size_t bytes = n_records * sizeof(struct rec);
	const unsigned char *const table = p + get_le64(p + 144);

	for (size_t at = 0, i = 0; at < bytes; at += INDEX_CHUNK, i++)
		if (crc32c(0, p + INDEX_HEAD + at, bytes - at < INDEX_CHUNK ? bytes - at : INDEX_CHUNK) != get_le32(table + 4 * i))
			return false;
	return true;
}

/* lazy: the records are left for later. */
static bool head_ok(const unsigned char *p, size_t n, uint64_t generation, bool lazy)
{
	if (memcmp(p, index_magic, 8) != 0 || get_le32(p + 8) != INDEX_VERSION || get_le32(p + 12) != sizeof(struct rec) || get_le32(p + 252) != crc32c(0, p, 252))
		return false;
	if (generation != 0 && get_le64(p + 16) != generation)
		return false;
	const uint64_t records = get_le32(p + 60), chunks = (records * sizeof(struct rec) + INDEX_CHUNK - 1) / INDEX_CHUNK;
	return part_ok(INDEX_HEAD, records * sizeof(struct rec), n) && part_ok(get_le64(p + 144), chunks * 4, n) &&
	       part_ok(get_le64(p + 120), get_le64(p + 128), n) && part_ok(get_le64(p + 152), get_le64(p + 160), n) &&
	       crc32c(0, p + get_le64(p + 144), chunks * 4) == get_le32(p + 116) &&
	       crc32c(0, p + get_le64(p + 120), get_le64(p + 128)) == get_le32(p + 136) && (lazy || chunks_ok(p, records));
}

struct reader {
	const unsigned char *p;
	uint64_t n;
};

static const unsigned char *take(struct reader *r, uint64_t n)
{
	const unsigned char *const p = r->p;

	if (n > r->n)
		return NULL;
	r->p += n;
	r->n -= n;
	return p;
}

static int load_keywords(struct state *st, struct reader *r, uint32_t n)
{
	const unsigned char *p;

	if (n > STORE_KEYWORDS_MAX)
		return -1;
	for (uint32_t i = 0; i < n; i++) {
		const unsigned char *const len = take(r, 1);
		if (len == NULL || (p = take(r, *len)) == NULL)
			return -1;
		state_keyword_add(st, str_n(p, *len));
	}
	return 0;
}

static int load_kwsets(struct state *st, struct reader *r, uint32_t n)
{
	uint16_t ids[STORE_KEYWORDS_MAX];
	uint32_t got;
	struct err e = { 0 };

	for (uint32_t i = 0; i < n; i++) {
		const unsigned char *const head = take(r, 2);
		const size_t k = head ? (size_t)(head[0] | head[1] << 8) : 0;
		const unsigned char *const p = head ? take(r, k * 2) : NULL;
		if (p == NULL || k == 0 || k > STORE_KEYWORDS_MAX)
			return -1;
		for (size_t m = 0; m < k; m++)
			if ((ids[m] = (uint16_t)(p[2 * m] | p[2 * m + 1] << 8)) >= st->n_keywords)
				return -1;
		if (state_kwset(st, ids, k, &got, &e) < 0 || got != i + 1)
			return -1;
	}
	return 0;
}

static int load_pop3(struct state *st, struct reader *r, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++) {
		const unsigned char *const head = take(r, 9);
		const unsigned char *const p = head ? take(r, head[8]) : NULL;
		if (p == NULL)
			return -1;
		if (st->n_pop3 == st->cap_pop3) {
			st->cap_pop3 = st->cap_pop3 * 2 + 16;
			st->pop3 = xrealloc(st->pop3, st->cap_pop3 * sizeof(*st->pop3));
		}
		st->pop3[st->n_pop3++] = (struct pop3_info){ .uid = get_le32(head), .order = get_le32(head + 4),
			.uidl = head[8] ? xstrndup((const char *)p, head[8]) : NULL };
	}
	return 0;
}

static int load_gone(struct state *st, struct reader *r, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++) {
		const unsigned char *const p = take(r, 16);
		if (p == NULL)
			return -1;
		state_gone_add(st, get_le64(p), (struct range){ get_le32(p + 8), get_le32(p + 12) });
	}
	return 0;
}

static void load_head(struct state *st, unsigned char *p)
{
	memcpy(st->id, p + 32, sizeof(st->id));
	st->uidvalidity = get_le32(p + 48);
	st->uidnext = get_le32(p + 52);
	st->reserved = get_le32(p + 56);
	st->n_map = get_le32(p + 60);
	st->modseq = get_le64(p + 64);
	st->gone_floor = get_le64(p + 176);
	const uint64_t last = get_le64(p + 184), setback = get_le64(p + 192);
	const bool known = last < INT64_MAX && setback > 0 && setback <= INT64_MAX;
	st->named_last = known ? (int64_t)last : 0;
	st->setback = known ? (int64_t)setback - 1 : INT64_MAX;
	st->messages = get_le32(p + 72);
	st->unseen = get_le32(p + 76);
	st->deleted = get_le32(p + 80);
	st->unknown_sizes = get_le32(p + 84);
	st->zombies = get_le32(p + 88);
	st->unflushed = get_le32(p + 92);
	st->size_crlf = get_le64(p + 96);
	st->map = (struct rec *)(void *)(p + INDEX_HEAD);
	st->chunk_crcs = p + get_le64(p + 144);
	st->map_names = (const char *)p + get_le64(p + 152);
	st->map_names_n = get_le64(p + 160);
}

static int load_from(struct state *st, unsigned char *p, size_t n, uint64_t generation, uint64_t journal_size)
{
	st->mapping = p;
	st->mapping_n = n;
	/* What is small was read; and when there is no journal to mend from, all must be right. */
	const bool lazy = generation != 0 && n >= COPY_BELOW;
	if (!head_ok(p, n, generation, lazy))
		return 1;
	if (get_le64(p + 24) > journal_size)
		return 2;
	struct reader r = { p + get_le64(p + 120), get_le64(p + 128) };
	if (load_keywords(st, &r, get_le32(p + 104)) < 0 || load_kwsets(st, &r, get_le32(p + 108)) < 0 || load_pop3(st, &r, get_le32(p + 112)) < 0 ||
	    load_gone(st, &r, get_le32(p + 168)) < 0)
		return 1;
	load_head(st, p);
	if (lazy) {
		st->unverified = (st->n_map + STATE_CHUNK - 1) / STATE_CHUNK;
		st->chunks_ok = xzalloc((st->unverified / 64 + 1) * sizeof(*st->chunks_ok));
	}
	return guard_hit(p) ? 1 : 0;
}

int index_load(int dirfd, uint64_t *generation, uint64_t journal_size, struct state *st, uint64_t *pos_out)
{
	struct stat sb;
	unsigned char *p;

	CLEANUP_FD int fd = openat(dirfd, INDEX_NAME, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
	if (!index_host_fits || fd < 0 || fstat(fd, &sb) < 0 || !S_ISREG(sb.st_mode) || sb.st_uid != geteuid() || sb.st_size < INDEX_HEAD || sb.st_size > INT64_C(1) << 36 ||
	    (p = file_map(fd, (size_t)sb.st_size)) == NULL)
		return 1;
	const int r = load_from(st, p, (size_t)sb.st_size, *generation, journal_size);
	if (r == 0) {
		*generation = get_le64(p + 16);
		*pos_out = get_le64(p + 24);
		return 0;
	}
	state_fini(st);
	state_init(st);
	return r;
}
