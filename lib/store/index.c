/* The index: a folder's state as of one place in one journal, in a file that is mapped, not read. Disposable: whatever does not verify or does not
 * belong to the journal is ignored, and the state is built from the journal. Replaced by rename, never changed in place. Little-endian.
 *
 *   header, 256 bytes:
 *     0 "PSTNIDX1"   8 version:32 = 2   12 record bytes:32 = 64   16 journal generation:64   24 journal offset:64   32 mailbox id[16]
 *     48 uidvalidity:32   52 uidnext:32   56 reserved:32   60 records:32   64 modseq:64
 *     72 messages:32   76 unseen:32   80 deleted:32   84 messages of unknown CRLF size:32   88 zombies:32   92 unflushed:32   96 sum of CRLF sizes:64
 *     104 keywords:32   108 keyword sets:32   112 POP3 entries:32   116 crc32c of the chunk table:32
 *     120 meta offset:64   128 meta bytes:64   136 crc32c of meta:32   144 chunk table offset:64   152 names offset:64   160 names bytes:64
 *     168 ranges in the log of expunges:32   176 its floor:64   184 … zero   252 crc32c of the first 252 bytes
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
#include "store/store_priv.h"

_Static_assert(STATE_CHUNK * sizeof(struct rec) == 4096, "a chunk is a page");
enum {
	HEAD = 256, CHUNK = 4096, VERSION = 2,
	COPY_BELOW = 1 << 20,	/* smaller files are read: cheaper than mapping, and nobody can cut them short */
	WRITE_BUFFER = 1 << 18,
};
static const char magic[8] = "PSTNIDX1";
#define INDEX_NEW "postern.index.new"

#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
static const bool host_fits = true;
#else
static const bool host_fits = false;	/* the journal alone serves */
#endif

/* --- loading --- */

static void *map_file(int fd, size_t n)
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
	return off >= HEAD && off <= total && n <= total - off;
}

static bool chunks_ok(const unsigned char *p, size_t n_records)
{
	const size_t bytes = n_records * sizeof(struct rec);
	const unsigned char *const table = p + get_le64(p + 144);

	for (size_t at = 0, i = 0; at < bytes; at += CHUNK, i++)
		if (crc32c(0, p + HEAD + at, bytes - at < CHUNK ? bytes - at : CHUNK) != get_le32(table + 4 * i))
			return false;
	return true;
}

/* lazy: the records are left for later. */
static bool head_ok(const unsigned char *p, size_t n, uint64_t generation, bool lazy)
{
	if (memcmp(p, magic, sizeof(magic)) != 0 || get_le32(p + 8) != VERSION || get_le32(p + 12) != sizeof(struct rec) || get_le32(p + 252) != crc32c(0, p, 252))
		return false;
	if (generation != 0 && get_le64(p + 16) != generation)
		return false;
	const uint64_t records = get_le32(p + 60), chunks = (records * sizeof(struct rec) + CHUNK - 1) / CHUNK;
	return part_ok(HEAD, records * sizeof(struct rec), n) && part_ok(get_le64(p + 144), chunks * 4, n) &&
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
		st->keywords[st->n_keywords++] = xstrndup((const char *)p, *len);
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
	st->messages = get_le32(p + 72);
	st->unseen = get_le32(p + 76);
	st->deleted = get_le32(p + 80);
	st->unknown_sizes = get_le32(p + 84);
	st->zombies = get_le32(p + 88);
	st->unflushed = get_le32(p + 92);
	st->size_crlf = get_le64(p + 96);
	st->map = (struct rec *)(void *)(p + HEAD);
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
	if (!host_fits || fd < 0 || fstat(fd, &sb) < 0 || !S_ISREG(sb.st_mode) || sb.st_uid != geteuid() || sb.st_size < HEAD || sb.st_size > INT64_C(1) << 36 ||
	    (p = map_file(fd, (size_t)sb.st_size)) == NULL)
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

/* --- saving --- */

struct writer {
	int fd;
	struct buf b;		/* not written yet */
	uint64_t off;		/* bytes written and buffered */
	struct err *e;
	bool failed;
};

static void flush(struct writer *w)
{
	if (!w->failed && write_all(w->fd, w->b.p, w->b.n, w->e) < 0)
		w->failed = true;
	buf_reset(&w->b);
}

static void put(struct writer *w, const void *p, size_t n)
{
	if (w->b.n + n > WRITE_BUFFER)
		flush(w);
	buf_mem(&w->b, p, n);
	w->off += n;
}

/* Numbers of the keyword sets that are in use: old -> new. */
struct renumber {
	uint32_t *to;		/* per old set; 0: not seen */
	uint32_t *used;		/* old numbers in new order */
	size_t n;
};

static bool kept(const struct rec *r)
{
	return !(r->state & REC_GONE) || (r->state & REC_ZOMBIE);
}

static void put_records(struct writer *w, const struct state *st, struct renumber *re, struct buf *crcs, uint64_t *names_n, uint32_t *n_out)
{
	uint32_t crc = 0, n = 0;

	for (uint32_t pos = 0; pos < state_count(st); pos++) {
		struct rec r = *state_rec(st, pos);
		if (!kept(&r))
			continue;
		if (r.kwset >= st->n_kwsets)
			r.kwset = 0;
		if (r.kwset && re->to[r.kwset] == 0) {
			re->used[re->n++] = r.kwset;
			re->to[r.kwset] = (uint32_t)re->n;
		}
		r.kwset = re->to[r.kwset];
		rec_name_off_set(&r, *names_n);
		*names_n += (uint64_t)r.name_len + r.info_len;
		put(w, &r, sizeof(r));
		crc = crc32c(crc, &r, sizeof(r));
		if (++n % (CHUNK / sizeof(r)) == 0) {
			char c[4];
			put_le32(c, crc);
			buf_mem(crcs, c, sizeof(c));
			crc = 0;
		}
	}
	if (n % (CHUNK / sizeof(struct rec)) != 0) {
		char c[4];
		put_le32(c, crc);
		buf_mem(crcs, c, sizeof(c));
	}
	*n_out = n;
}

static void put_meta(struct buf *b, const struct state *st, const struct renumber *re)
{
	for (size_t i = 0; i < st->n_keywords; i++) {
		buf_ch(b, (char)strlen(st->keywords[i]));
		buf_c(b, st->keywords[i]);
	}
	for (size_t i = 0; i < re->n; i++) {
		const struct kwset *const k = &st->kwsets[re->used[i]];
		buf_ch(b, (char)(k->n & 0xff));
		buf_ch(b, (char)(k->n >> 8));
		for (size_t m = 0; m < k->n; m++) {
			buf_ch(b, (char)(k->ids[m] & 0xff));
			buf_ch(b, (char)(k->ids[m] >> 8));
		}
	}
	for (size_t i = 0; i < st->n_pop3; i++) {
		char c[9];
		const size_t n = st->pop3[i].uidl ? strlen(st->pop3[i].uidl) : 0;
		put_le32(c, st->pop3[i].uid);
		put_le32(c + 4, st->pop3[i].order);
		c[8] = (char)n;
		buf_mem(b, c, sizeof(c));
		buf_mem(b, st->pop3[i].uidl, n);
	}
	for (size_t i = 0; i < st->n_gone; i++) {
		char c[16];
		put_le64(c, st->gone[i].modseq);
		put_le32(c + 8, st->gone[i].uids.first);
		put_le32(c + 12, st->gone[i].uids.last);
		buf_mem(b, c, sizeof(c));
	}
}

/* Names that do not verify any more are written as they are: their record's checksum tells the next reader, too. */
static void put_names(struct writer *w, const struct state *st)
{
	static const char zeros[2 * FILE_NAME_MAX];

	for (uint32_t pos = 0; pos < state_count(st); pos++) {
		const struct rec *const r = state_rec(st, pos);
		if (!kept(r))
			continue;
		const struct str base = state_name(st, r), info = state_info(st, r);
		if (base.n == 0) {
			put(w, zeros, (size_t)r->name_len + r->info_len);
			continue;
		}
		put(w, base.p, base.n);
		put(w, info.p, info.n);
	}
}

static void fill_head(unsigned char h[HEAD], const struct state *st, uint64_t generation, uint64_t pos, uint32_t records, size_t kwsets)
{
	memcpy(h, magic, sizeof(magic));
	put_le32(h + 8, VERSION);
	put_le32(h + 12, sizeof(struct rec));
	put_le64(h + 16, generation);
	put_le64(h + 24, pos);
	memcpy(h + 32, st->id, sizeof(st->id));
	const uint32_t words[] = { st->uidvalidity, st->uidnext, st->reserved, records };
	for (size_t i = 0; i < ARRAY_LEN(words); i++)
		put_le32(h + 48 + 4 * i, words[i]);
	put_le64(h + 64, st->modseq);
	const uint32_t counts[] = { st->messages, st->unseen, st->deleted, st->unknown_sizes, st->zombies, st->unflushed };
	for (size_t i = 0; i < ARRAY_LEN(counts); i++)
		put_le32(h + 72 + 4 * i, counts[i]);
	put_le64(h + 96, st->size_crlf);
	put_le32(h + 104, (uint32_t)st->n_keywords);
	put_le32(h + 108, (uint32_t)kwsets);
	put_le32(h + 112, (uint32_t)st->n_pop3);
	put_le32(h + 168, (uint32_t)st->n_gone);
	put_le64(h + 176, st->gone_floor);
}

static int write_file(struct writer *w, const struct state *st, uint64_t generation, uint64_t pos, struct err *e)
{
	unsigned char head[HEAD] = { 0 };
	struct renumber re = { .to = xzalloc(st->n_kwsets * sizeof(uint32_t)), .used = xzalloc(st->n_kwsets * sizeof(uint32_t)) };
	uint64_t names_n = 0;
	uint32_t records;
	struct buf crcs, meta;

	buf_init(&crcs, (size_t)state_count(st) * sizeof(struct rec) / CHUNK * 4 + 64);
	buf_init(&meta, SIZE_MAX / 2);
	put(w, head, sizeof(head));
	put_records(w, st, &re, &crcs, &names_n, &records);
	fill_head(head, st, generation, pos, records, re.n);
	put_le32(head + 116, crc32c(0, crcs.p, crcs.n));
	put_le64(head + 144, w->off);
	put(w, crcs.p, crcs.n);
	put_meta(&meta, st, &re);
	put_le64(head + 120, w->off);
	put_le64(head + 128, meta.n);
	put_le32(head + 136, crc32c(0, meta.p, meta.n));
	flush(w);
	if (!w->failed && write_all(w->fd, meta.p, meta.n, e) < 0)
		w->failed = true;
	w->off += meta.n;
	put_le64(head + 152, w->off);
	put_le64(head + 160, names_n);
	put_names(w, st);
	flush(w);
	put_le32(head + 252, crc32c(0, head, 252));
	const bool failed = w->failed || buf_failed(&crcs) || buf_failed(&meta);
	buf_fini(&crcs);
	buf_fini(&meta);
	free(re.to);
	free(re.used);
	if (failed)
		return -1;
	/* The header comes last: without it the file is nothing. No sync: what a power cut leaves is found out by the checksums. */
	return pwrite(w->fd, head, sizeof(head), 0) == (ssize_t)sizeof(head) ? 0 : err_set(e, ERR_TEMP, errno, INDEX_NEW);
}

int index_save(int dirfd, const struct state *st, uint64_t generation, uint64_t pos, struct err *e)
{
	struct writer w = { .e = e };
	int r;

	if (!host_fits)
		return 0;
	if (st->mapping && guard_hit(st->mapping))
		return err_set(e, ERR_TEMP, 0, INDEX_NAME " was cut short");
	(void)unlinkat(dirfd, INDEX_NEW, 0);
	w.fd = openat(dirfd, INDEX_NEW, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (w.fd < 0)
		return err_set(e, ERR_TEMP, errno, INDEX_NEW);
	buf_init(&w.b, WRITE_BUFFER + 4096);
	r = write_file(&w, st, generation, pos, e);
	buf_fini(&w.b);
	close_fd(&w.fd);
	if (r == 0 && renameat(dirfd, INDEX_NEW, dirfd, INDEX_NAME) < 0)
		r = err_set(e, ERR_TEMP, errno, INDEX_NAME);
	if (r < 0)
		(void)unlinkat(dirfd, INDEX_NEW, 0);
	return r;
}
