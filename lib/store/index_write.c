/* Writing the index (index.c says what is in it), some thousand records at a time, so that a session can do it between its connections' commands. What is
 * written is the state at one place of the journal: a writer is given up when the state has moved on (mbox_tidy.c). */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/num.h"
#include "os/os.h"
#include "store/index.h"
#include "store/store_priv.h"

enum { WRITE_BUFFER = 1 << 18 };
#define INDEX_NEW "postern.index.new"

/* Numbers of the keyword sets that are in use: old -> new. */
struct renumber {
	uint32_t *to;		/* per old set; 0: not seen */
	uint32_t *used;		/* old numbers in new order */
	size_t n;
};

struct index_writer {
	int dirfd, fd;
	const struct state *st;
	struct buf b;		/* not written yet */
	uint64_t off;		/* bytes written and buffered */
	bool failed, names;	/* names: the records are done */
	uint32_t at, records, crc;
	uint64_t names_n;
	struct renumber re;
	size_t n_kwsets;	/* at the beginning: what re has room for */
	uint64_t sweeps;
	struct buf crcs;
	unsigned char head[INDEX_HEAD];
	struct err e;
};

static void flush(struct index_writer *w)
{
	if (!w->failed && write_all(w->fd, w->b.p, w->b.n, &w->e) < 0)
		w->failed = true;
	buf_reset(&w->b);
}

static void put(struct index_writer *w, const void *p, size_t n)
{
	if (w->b.n + n > WRITE_BUFFER)
		flush(w);
	if (n > WRITE_BUFFER && !w->failed)
		w->failed = write_all(w->fd, p, n, &w->e) < 0;
	else
		buf_mem(&w->b, p, n);
	w->off += n;
}

static bool kept(const struct rec *r)
{
	return !(r->state & REC_GONE) || (r->state & REC_ZOMBIE);
}

static void put_crc(struct index_writer *w)
{
	char c[4];

	put_le32(c, w->crc);
	buf_mem(&w->crcs, c, sizeof(c));
	w->crc = 0;
}

static void put_record(struct index_writer *w, struct rec r)
{
	struct renumber *const re = &w->re;

	if (!kept(&r))
		return;
	if (r.kwset >= w->st->n_kwsets)
		r.kwset = 0;
	if (r.kwset >= w->n_kwsets) {	/* of a record that was mended meanwhile */
		w->failed = true;
		return;
	}
	if (r.kwset && re->to[r.kwset] == 0) {
		re->used[re->n++] = r.kwset;
		re->to[r.kwset] = (uint32_t)re->n;
	}
	r.kwset = re->to[r.kwset];
	rec_name_off_set(&r, w->names_n);
	w->names_n += (uint64_t)r.name_len + r.info_len;
	put(w, &r, sizeof(r));
	w->crc = crc32c(w->crc, &r, sizeof(r));
	if (++w->records % STATE_CHUNK == 0)
		put_crc(w);
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

/* Between the records and the names: the table of their checksums, and the small things. */
static void put_tables(struct index_writer *w)
{
	struct buf meta;

	if (w->records % STATE_CHUNK != 0)
		put_crc(w);
	put_le32(w->head + 60, w->records);
	put_le32(w->head + 108, (uint32_t)w->re.n);
	put_le32(w->head + 116, crc32c(0, w->crcs.p, w->crcs.n));
	put_le64(w->head + 144, w->off);
	put(w, w->crcs.p, w->crcs.n);
	buf_init(&meta, SIZE_MAX / 2);
	put_meta(&meta, w->st, &w->re);
	put_le64(w->head + 120, w->off);
	put_le64(w->head + 128, meta.n);
	put_le32(w->head + 136, crc32c(0, meta.p, meta.n));
	put(w, meta.p, meta.n);
	put_le64(w->head + 152, w->off);
	put_le64(w->head + 160, w->names_n);
	w->failed |= buf_failed(&w->crcs) || buf_failed(&meta);
	buf_fini(&meta);
}

/* A name that does not verify any more is written as it is: its record's checksum tells the next reader, too. */
static void put_name(struct index_writer *w, const struct rec *r)
{
	static const char zeros[2 * FILE_NAME_MAX];

	if (!kept(r))
		return;
	const struct str base = state_name(w->st, r), info = state_info(w->st, r);
	if (base.n == 0) {
		put(w, zeros, (size_t)r->name_len + r->info_len);
		return;
	}
	put(w, base.p, base.n);
	put(w, info.p, info.n);
}

static void fill_head(unsigned char h[INDEX_HEAD], const struct state *st, uint64_t generation, uint64_t pos)
{
	memcpy(h, index_magic, 8);
	put_le32(h + 8, INDEX_VERSION);
	put_le32(h + 12, sizeof(struct rec));
	put_le64(h + 16, generation);
	put_le64(h + 24, pos);
	memcpy(h + 32, st->id, sizeof(st->id));
	const uint32_t words[] = { st->uidvalidity, st->uidnext, st->reserved };
	for (size_t i = 0; i < ARRAY_LEN(words); i++)
		put_le32(h + 48 + 4 * i, words[i]);
	put_le64(h + 64, st->modseq);
	const uint32_t counts[] = { st->messages, st->unseen, st->deleted, st->unknown_sizes, st->zombies, st->unflushed };
	for (size_t i = 0; i < ARRAY_LEN(counts); i++)
		put_le32(h + 72 + 4 * i, counts[i]);
	put_le64(h + 96, st->size_crlf);
	put_le32(h + 104, (uint32_t)st->n_keywords);
	put_le32(h + 112, (uint32_t)st->n_pop3);
	put_le32(h + 168, (uint32_t)st->n_gone);
	put_le64(h + 176, st->gone_floor);
	put_le64(h + 184, (uint64_t)st->named_last);
	put_le64(h + 192, st->setback < INT64_MAX ? (uint64_t)st->setback + 1 : 0);
}

int index_begin(int dirfd, const struct state *st, uint64_t generation, uint64_t pos, struct index_writer **out, struct err *e)
{
	if (!index_host_fits)
		return 1;
	if (st->mapping && guard_hit(st->mapping))
		return err_set(e, ERR_TEMP, 0, INDEX_NAME " was cut short");
	struct index_writer *const w = xzalloc(sizeof(*w));
	w->dirfd = dirfd;
	(void)unlinkat(dirfd, INDEX_NEW, 0);	/* of a process that was killed; another's that still writes finds out (is_ours) */
	w->fd = openat(dirfd, INDEX_NEW, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (w->fd < 0) {
		free(w);
		return err_set(e, ERR_TEMP, errno, INDEX_NAME);
	}
	w->st = st;
	w->n_kwsets = st->n_kwsets;
	w->sweeps = st->sweeps;
	w->re = (struct renumber){ .to = xzalloc(st->n_kwsets * sizeof(uint32_t)), .used = xzalloc(st->n_kwsets * sizeof(uint32_t)) };
	buf_init(&w->b, WRITE_BUFFER + 4096);
	buf_init(&w->crcs, (size_t)state_count(st) * sizeof(struct rec) / INDEX_CHUNK * 4 + 64);
	put(w, w->head, sizeof(w->head));
	fill_head(w->head, st, generation, pos);
	*out = w;
	return 0;
}

/* Does the name still mean our file? Another process may have begun one. */
static bool is_ours(const struct index_writer *w)
{
	struct stat named, held;

	return fstatat(w->dirfd, INDEX_NEW, &named, AT_SYMLINK_NOFOLLOW) == 0 && fstat(w->fd, &held) == 0 && named.st_ino == held.st_ino &&
	       named.st_dev == held.st_dev;
}

void index_abort(struct index_writer **wp)
{
	struct index_writer *const w = *wp;

	*wp = NULL;
	if (w == NULL)
		return;
	if (is_ours(w))
		(void)unlinkat(w->dirfd, INDEX_NEW, 0);
	close_fd(&w->fd);
	buf_fini(&w->b);
	buf_fini(&w->crcs);
	free(w->re.to);
	free(w->re.used);
	free(w);
}

/* The header comes last: without it the file is nothing. No sync: what a power cut leaves is found out by the checksums. */
static int finish(struct index_writer *w)
{
	flush(w);
	put_le32(w->head + 252, crc32c(0, w->head, 252));
	if (w->failed)
		return -1;
	if (pwrite(w->fd, w->head, sizeof(w->head), 0) != (ssize_t)sizeof(w->head) || !is_ours(w) ||
	    renameat(w->dirfd, INDEX_NEW, w->dirfd, INDEX_NAME) < 0)
		return err_set(&w->e, ERR_TEMP, errno, INDEX_NAME);
	return 0;
}

/* Records, then names; each counts. 1: more is left. */
static int step(struct index_writer *w, uint32_t work)
{
	const uint32_t n = state_count(w->st);

	for (; !w->names && work > 0 && w->at < n; work--)
		put_record(w, *state_rec(w->st, w->at++));
	if (!w->names && w->at == n) {
		put_tables(w);
		w->names = true;
		w->at = 0;
	}
	for (; w->names && work > 0 && w->at < n; work--)
		put_name(w, state_rec(w->st, w->at++));
	if (!w->failed && (!w->names || w->at < n))
		return 1;
	return finish(w);
}

int index_step(struct index_writer **wp, uint32_t work, struct err *e)
{
	(*wp)->failed |= (*wp)->sweeps != (*wp)->st->sweeps;	/* numbers of sets may mean others now */
	const int r = step(*wp, work);

	if (r < 0)
		*e = (*wp)->e.code ? (*wp)->e : *e;
	if (r < 0 && e->code == 0)
		(void)err_set(e, ERR_TEMP, 0, INDEX_NAME);
	if (r != 1)
		index_abort(wp);
	return r;
}

int index_save(int dirfd, const struct state *st, uint64_t generation, uint64_t pos, struct err *e)
{
	struct index_writer *w;
	int r = index_begin(dirfd, st, generation, pos, &w, e);

	if (r == 0)
		while ((r = index_step(&w, UINT32_MAX, e)) > 0)
			;
	return r < 0 ? -1 : 0;
}
