/* A journal or index that was cut or changed at any byte: the folder opens, every message is there once, none has the UID that another one had, and
 * UIDVALIDITY stays. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/num.h"
#include "store/store_priv.h"
#include "store/test_store.h"
#include "test/tap.h"

enum { MESSAGES = 4, FILE_MAX = 1 << 16 };

struct image {
	char p[FILE_MAX];
	size_t n;
};

static void load_image(const char *root, const char *name, struct image *im)
{
	const int fd = open(scratch_path(root, name), O_RDONLY);
	const ssize_t n = read(fd, im->p, sizeof(im->p));

	im->n = n > 0 ? (size_t)n : 0;
	close(fd);
}

static void save_image(const char *root, const char *name, const char *p, size_t n)
{
	const int fd = open(scratch_path(root, name), O_WRONLY | O_CREAT | O_TRUNC, 0600);

	if (write(fd, p, n) != (ssize_t)n)
		exit(94);
	close(fd);
}

struct before {
	uint32_t uidvalidity, uids[MESSAGES], uidnext;
};

/* Messages "m0" … ; after each loss the UID of mN is the old one, or above all that were ever shown. */
static bool holds(const char *root, const struct before *b, bool index_too, char why[200])
{
	struct store *s = must_open(root);
	struct mbox *m = must_mbox(s, "INBOX");
	struct mbox_view *v = mbox_view_new(m);
	struct mbox_status st;
	struct err e = { 0 };
	unsigned seen = 0;
	bool good = mbox_status(m, &st, &e) == 0;

	snprintf(why, 200, "status %s", e.text);
	if (good && st.uidvalidity != b->uidvalidity) {
		snprintf(why, 200, "UIDVALIDITY %u was %u", st.uidvalidity, b->uidvalidity);
		good = false;
	}
	if (good && (mbox_view_count(v) != MESSAGES - 1 || st.uidnext < b->uidnext)) {
		snprintf(why, 200, "%u messages, next UID %u was %u", mbox_view_count(v), st.uidnext, b->uidnext);
		good = false;
	}
	for (uint32_t seq = 1; good && seq <= mbox_view_count(v); seq++) {
		const char *const text = read_message(v, seq);
		const unsigned k = text && text[0] == 'm' ? (unsigned)(text[1] - '0') : 99;
		const uint32_t uid = mbox_view_uid(v, seq);
		good = k < MESSAGES && !(seen & 1U << k) && (uid == b->uids[k] || uid >= b->uidnext);
		if (!good)
			snprintf(why, 200, "message %u is \"%.10s\", UID %u, had %u", seq, text ? text : "(none)", uid, k < MESSAGES ? b->uids[k] : 0);
		seen |= k < 32 ? 1U << k : 0;
	}
	(void)index_too;
	mbox_view_free(&v);
	mbox_close(&m);
	store_close(&s);
	return good;
}

static const char *const files[] = { JOURNAL_NAME, INDEX_NAME, IDENT_NAME, SYNC_NAME, "postern.root" };

struct images {
	struct image of[ARRAY_LEN(files)];
	struct before b;
};

/* A folder with a little of everything. */
static void make(const char *root, struct images *im)
{
	struct store *s = must_open(root);
	struct mbox *m = must_mbox(s, "INBOX");
	struct mbox_view *v = mbox_view_new(m);
	struct mbox_status st;
	struct err e = { 0 };
	char text[16];
	const uint32_t two = 2, four = 4;
	const struct str kw = STR("word");

	for (int i = 0; i < MESSAGES; i++) {
		snprintf(text, sizeof(text), "m%d\n", i);
		im->b.uids[i] = append_one(m, 0, i == 1 ? "first" : NULL, text);
	}
	refresh_sync(m, v);
	(void)!mbox_store_flags(v, &two, 1, MBOX_ADD, MBOX_SEEN, &kw, 1, 0, NULL, NULL, &e);
	(void)!mbox_expunge(v, &four, 1, &e);
	(void)!mbox_status(m, &st, &e);
	im->b.uidvalidity = st.uidvalidity;
	im->b.uidnext = st.uidnext;
	mbox_view_free(&v);
	(void)!index_save(m->dirfd, &m->st, m->j.generation, m->j.pos - 200, &e);	/* as of some batches ago would be a lie: replaced below */
	(void)!index_save(m->dirfd, &m->st, m->j.generation, m->j.pos, &e);
	mbox_close(&m);
	store_close(&s);
	for (size_t i = 0; i < ARRAY_LEN(files); i++)
		load_image(root, files[i], &im->of[i]);
}

static void restore(const char *root, const struct images *im, bool index)
{
	for (size_t i = 0; i < ARRAY_LEN(files); i++)
		save_image(root, files[i], im->of[i].p, im->of[i].n);
	if (!index)
		(void)unlink(scratch_path(root, INDEX_NAME));
	(void)unlink(scratch_path(root, "postern.journal.bad"));
}

enum way { CUT, FLIP, ZERO_REST };

/* Damage one file at every byte. */
static void every_byte(const char *root, const struct images *im, size_t which, bool index, enum way how)
{
	static const char *const words[] = { "cut", "one bit turned", "zeros from there on" };
	struct image d;
	char why[200] = "";
	size_t bad = 0, first = 0;

	for (size_t at = 0; at < im->of[which].n; at++) {
		d = im->of[which];
		if (how == CUT)
			d.n = at;
		else if (how == FLIP)
			d.p[at] = (char)(d.p[at] ^ (1 << at % 8));
		else
			memset(d.p + at, 0, d.n - at);
		restore(root, im, index);
		save_image(root, files[which], d.p, d.n);
		char one[200];
		if (!holds(root, &im->b, index, one)) {
			if (bad++ == 0) {
				first = at;
				memcpy(why, one, sizeof(why));
			}
		}
	}
	tap_ok(bad == 0, "%s%s: %s at each of %zu bytes (%zu bad, first at %zu: %s)", files[which], index ? "" : " without an index", words[how],
	       im->of[which].n, bad, first, why);
}

static void test_every_byte(void)
{
	static struct images im;
	const char *const root = scratch_new();

	/* The warnings about each damage would be thousands of lines. */
	const int keep = dup(2), null = open("/dev/null", O_WRONLY);
	dup2(null, 2);
	make(root, &im);
	for (int index = 0; index < 2; index++) {
		every_byte(root, &im, 0, index, CUT);
		every_byte(root, &im, 0, index, FLIP);
	}
	every_byte(root, &im, 0, false, ZERO_REST);
	every_byte(root, &im, 1, true, CUT);
	every_byte(root, &im, 1, true, FLIP);
	every_byte(root, &im, 2, true, CUT);
	every_byte(root, &im, 2, false, FLIP);
	every_byte(root, &im, 3, true, FLIP);
	dup2(keep, 2);
	close(keep);
	close(null);
}

/* Flags survive what they can: the batch that set them is whole. */
static void test_prefix_is_kept(void)
{
	const char *const root = scratch_new();
	static struct images im;
	struct image d;

	make(root, &im);
	restore(root, &im, false);
	d = im.of[0];
	save_image(root, JOURNAL_NAME, d.p, d.n - 8);	/* the last batches go: expunge */
	const int keep = dup(2), null = open("/dev/null", O_WRONLY);
	dup2(null, 2);
	struct store *s = must_open(root);
	struct mbox *m = must_mbox(s, "INBOX");
	struct mbox_view *v = mbox_view_new(m);
	dup2(keep, 2);
	tap_is_str(describe(v), "1:0 2:8,first,word 3:0", "flags and keywords before the damage hold");
	tap_is_int(access(scratch_path(root, "postern.journal.bad"), F_OK), 0, "the damaged file is kept aside");
	mbox_view_free(&v);
	mbox_close(&m);
	/* The whole journal gone: the index still knows the UIDs. */
	m = must_mbox(s, "INBOX");
	struct err e = { 0 };
	(void)!index_save(m->dirfd, &m->st, m->j.generation, m->j.pos, &e);
	mbox_close(&m);
	unlink(scratch_path(root, JOURNAL_NAME));
	dup2(null, 2);
	m = must_mbox(s, "INBOX");
	dup2(keep, 2);
	close(keep);
	close(null);
	v = mbox_view_new(m);
	tap_is_str(describe(v), "1:0 2:8,first,word 3:0", "without a journal the index serves");
	mbox_view_free(&v);
	mbox_close(&m);
	store_close(&s);
}

/* Other things in the files' places. */
static void test_strange_files(void)
{
	static const struct { const char *name; int what; } rows[] = {
		{ "index is a link", 0 }, { "index is a FIFO", 1 }, { "index is a directory", 2 }, { "index is sparse and huge", 3 },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		static struct images im;
		const char *const root = scratch_new();
		char why[200];
		make(root, &im);
		restore(root, &im, false);
		const char *const at = scratch_path(root, INDEX_NAME);
		if (rows[i].what == 0)
			symlink("/etc/passwd", at);
		else if (rows[i].what == 1)
			mkfifo(at, 0600);
		else if (rows[i].what == 2)
			mkdir(at, 0700);
		else if (close(open(at, O_CREAT | O_WRONLY, 0600)) == 0)
			(void)!truncate(at, INT64_C(5) << 30);
		tap_ok(holds(root, &im.b, true, why), "%s: %s", rows[i].name, why);
	}
}

/* The mapped index is cut short while it is in use. */
static void test_sigbus(void)
{
	const char *const root = scratch_new();
	const int fd = open(scratch_path(root, "f"), O_RDWR | O_CREAT, 0600);
	const size_t n = 3 << 20;

	if (ftruncate(fd, (off_t)n) < 0)
		exit(93);
	char *const p = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	tap_ok(guard_add(p, n), "guarded");
	tap_ok(!guard_hit(p), "not hit");
	if (ftruncate(fd, 4096) < 0)
		exit(93);
	tap_is_int(((volatile char *)p)[n - 1], 0, "reads behind the end give zeros");
	tap_ok(guard_hit(p), "and are noticed");
	guard_del(p);
	munmap(p, n);
	close(fd);
}

static void count_lines(void *ctx, const char *line)
{
	tap_diag("%s", line);
}

static void test_verify(void)
{
	const char *const root = scratch_new();
	static struct images im;
	struct err e = { 0 };
	size_t n = 99;

	make(root, &im);
	struct store *s = must_open(root);
	tap_ok(mbox_verify(s, STR("INBOX"), count_lines, NULL, &n, &e) == 0 && n == 0, "nothing is wrong with a sound folder: %zu %s", n, e.text);
	put_file(root, "cur/1.x\033[2J.y:2,", "foreign\n");
	struct mbox *m = must_mbox(s, "INBOX");
	struct mbox_view *v = mbox_view_new(m);
	char path[400];
	snprintf(path, sizeof(path), "%s/cur/%s:2,", root, mbox_msg_basename(v, 1));
	put_file("", path, "longer than it was\n");
	put_file(root, "cur/2.x:2,", "another\n");
	tap_ok(mbox_verify(s, STR("INBOX"), count_lines, NULL, &n, &e) == 0 && n == 2, "a changed and a foreign file: %zu", n);
	tap_is_int(mbox_repair(m, &e), 0, "repair");
	tap_ok(mbox_verify(s, STR("INBOX"), count_lines, NULL, &n, &e) == 0 && n == 0, "then nothing: %zu", n);
	tap_is_int(mbox_rebuild(m, &e), 0, "rebuild");
	tap_ok(mbox_verify(s, STR("INBOX"), count_lines, NULL, &n, &e) == 0 && n == 0, "nothing: %zu", n);
	refresh_sync(m, v);
	tap_is_str(describe(v), "1:0 2:8,first,word 3:0 5:0 6:0", "all are there");
	mbox_view_free(&v);
	mbox_close(&m);
	store_close(&s);
}

/* --- an index that is mapped, not read --- */

enum { MANY = 17000 };	/* their records alone, whatever the length of the names, are more than a file that is read (index.c) */

static void append_batch(struct mbox *m, unsigned n)
{
	const struct str keyword = STR("kw");
	struct mbox_append *ap;
	uint32_t *const uids = xzalloc(n * sizeof(*uids));
	struct err e = { 0 };
	size_t got = 0;
	int r = mbox_append_begin(m, &ap, &e);

	for (unsigned i = 0; r == 0 && i < n; i++) {
		r = mbox_append_message(ap, i % 3 ? MBOX_SEEN : 0, &keyword, i % 5 == 0, 0, &e);
		if (r == 0)
			r = mbox_append_data(ap, STR("From: a@b\n\nx\n"), &e);
	}
	if (r == 0)
		r = mbox_append_commit(&ap, uids, &got, &e);
	tap_ok(r == 0 && got == n, "%u messages: %s", n, e.text);
	free(uids);
}

static void append_many(struct mbox *m)
{
	for (unsigned n = 0; n < MANY; n += MANY / 2)
		append_batch(m, MANY / 2);
}

/* All that a client may see of all messages, as one number. */
static uint64_t digest(struct mbox_view *v)
{
	struct mbox_msg m;
	struct err e = { 0 };
	uint64_t h = 0;

	for (uint32_t seq = 1; seq <= mbox_view_count(v); seq++) {
		if (mbox_msg_get(v, seq, &m, &e) < 0)
			return 0;
		const char *const base = mbox_msg_basename(v, seq);
		h = h * 31 + crc32c(crc32c(0, base, strlen(base)), &m, sizeof(m));
	}
	return h;
}

static void test_lazy(void)
{
	char *const root = xstrdup(scratch_new());
	struct store *s = must_open(root);
	struct mbox *m = must_mbox(s, "INBOX");
	struct err e = { 0 };
	size_t failed;
	unsigned wrong = 0;

	append_many(m);
	struct mbox_view *v = mbox_view_new(m);
	for (uint32_t seq = 1; seq < MANY; seq += 700)
		tap_ok(mbox_store_flags(v, &seq, 1, MBOX_ADD, MBOX_FLAGGED, NULL, 0, 0, NULL, &failed, &e) == 0, "flag");
	mbox_view_free(&v);
	mbox_close(&m);
	m = must_mbox(s, "INBOX");
	tap_ok(mbox_rebuild(m, &e) == 0, "index written");
	mbox_close(&m);
	m = must_mbox(s, "INBOX");
	/* An opening within a tick of the directory's last change lists it, which looks at all. */
	for (unsigned i = 0; i < 20 && m->st.unverified == 0; i++) {
		mbox_close(&m);
		usleep(50000);
		m = must_mbox(s, "INBOX");
	}
	v = mbox_view_new(m);
	tap_ok(m->st.unverified > 100, "a large index is not read when it is opened: %u pieces wait", m->st.unverified);
	const uint64_t right = digest(v);
	tap_ok(right != 0 && m->st.unverified == 0, "all was looked at");
	mbox_view_free(&v);
	mbox_close(&m);
	for (unsigned round = 0; round < 12; round++) {
		m = must_mbox(s, "INBOX");
		tap_ok(mbox_rebuild(m, &e) == 0, "index written anew");
		mbox_close(&m);
		const int fd = open(scratch_path(root, INDEX_NAME), O_RDWR);
		const off_t at = 256 + (off_t)(round * 47777 % (MANY * 64));
		if (round == 11)	/* many pieces at once */
			for (off_t k = 300; k < MANY * 64; k += 64 * 64)
				tap_ok(pwrite(fd, "\xff\xff\xff", 3, k) == 3, "damage");
		else
			tap_ok(pwrite(fd, "\xff\xff\xff\xff\xff\xff\xff\xff\xff", 9, at) == 9, "damage");
		close(fd);
		m = must_mbox(s, "INBOX");
		/* A change before the damaged piece is looked at. */
		v = mbox_view_new(m);
		wrong += digest(v) != right || mbox_view_count(v) != MANY;
		mbox_view_free(&v);
		mbox_close(&m);
	}
	tap_is_int(wrong, 0, "damaged records are mended from the journal");
	store_close(&s);
	free(root);
}

/* A record whose file is not there, though the directory's time says that nothing has changed: what a power cut leaves where a file system keeps no order. */
static void test_record_without_file(void)
{
	char *const root = xstrdup(scratch_new());
	struct store *s = must_open(root);
	struct mbox *m = must_mbox(s, "INBOX");
	struct timespec times[2] = { { .tv_nsec = UTIME_OMIT } };
	struct stat st;

	append_one(m, 0, NULL, "stays\n");
	const uint32_t lost = append_one(m, 0, NULL, "vanishes\n");
	struct mbox_view *v = mbox_view_new(m);
	char *const name = xstrdup(mbox_msg_basename(v, 2));
	mbox_view_free(&v);
	mbox_close(&m);
	char rel[300];
	snprintf(rel, sizeof(rel), "cur/%s:2,", name);
	tap_ok(stat(scratch_path(root, "cur"), &st) == 0 && unlink(scratch_path(root, rel)) == 0, "the file is gone");
	times[1] = st.st_mtim;
	tap_ok(utimensat(AT_FDCWD, scratch_path(root, "cur"), times, 0) == 0, "the directory looks as before");
	m = must_mbox(s, "INBOX");
	v = mbox_view_new(m);
	tap_ok(mbox_view_count(v) == 2 && read_message(v, 2) == NULL, "reading it says that it has gone");
	refresh_sync(m, v);
	tap_is_int(mbox_view_count(v), 1, "then it is no longer shown");
	tap_ok(append_one(m, 0, NULL, "after\n") > lost, "its UID is not given out again");
	mbox_view_free(&v);
	mbox_close(&m);
	store_close(&s);
	free(name);
	free(root);
}

int main(void)
{
	test_record_without_file();
	test_lazy();
	test_verify();
	test_sigbus();
	test_strange_files();
	test_prefix_is_kept();
	test_every_byte();
	return tap_done();
}
