/* Keys in columns: what they say of each message is what its summary says, whether a file has it or not; a file that is cut, changed, of another folder or in
 * nobody's cache any more is not believed. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/num.h"
#include "store/keys_priv.h"
#include "store/summary.h"
#include "store/test_store.h"
#include "test/tap.h"

enum { EVERYTHING = MBOX_KEYS_THREAD | MBOX_KEYS_SENT | ((1 << MBOX_KEYS) - 1) };

/* --- messages --- */

static void some_text(struct buf *b, unsigned i)
{
	static const char *const subjects[] = { "Re: Hello", "hello", "", "=?utf-8?q?=C3=A4rger?=", "[list] report", "fwd: Report" };
	static const char *const people[] = { "Ann <ann@x.example>", "bob@x.example", "=?utf-8?q?J=C3=B6?= <joe@x.example>", "zoe@x.example (Zoe)" };

	buf_reset(b);
	if (i % 5)
		buf_printf(b, "Subject: %s %u\n", subjects[i % 6], i % 6 == 4 ? i : i % 3);
	buf_printf(b, "From: %s\nTo: %s\n", people[i % 4], people[i / 4 % 4]);
	if (i % 3 == 0)
		buf_printf(b, "Cc: %s\n", people[i / 3 % 4]);
	if (i % 7)
		buf_printf(b, "Date: %u Feb 1994 10:00:00 +0000\n", 1 + i * 11 % 28);
	if (i % 11)
		buf_printf(b, "Message-ID: <%u@x>\n", i % 50 == 3 ? 7 : i);
	if (i % 2)
		buf_printf(b, "References: <%u@x> <lost%u@x> <%u@x>\n", i / 2, i / 9, i / 3);
	buf_c(b, "\nbody\n");
}

static void append(struct mbox *m, unsigned from, unsigned n)
{
	struct mbox_append *ap;
	uint32_t *const uids = xzalloc(n * sizeof(*uids));
	struct err e = { 0 };
	struct buf b;
	size_t got = 0;
	int r = mbox_append_begin(m, &ap, &e);

	buf_init(&b, 10000);
	for (unsigned i = from; r == 0 && i < from + n; i++) {
		some_text(&b, i);
		if ((r = mbox_append_message(ap, 0, NULL, 0, 1000000000, &e)) == 0)
			r = mbox_append_data(ap, buf_view(&b), &e);
	}
	if (r == 0)
		r = mbox_append_commit(&ap, uids, &got, &e);
	if (r < 0 || got != n) {
		tap_diag("append: %s", e.text);
		exit(93);
	}
	buf_fini(&b);
	free(uids);
}

/* --- what the summaries say --- */

static struct str text_of(const struct mbox_summary *s, unsigned key)
{
	const struct str text[MBOX_KEYS] = { s->base_subject, s->from, s->to, s->cc, s->display_from, s->display_to };

	return text[key];
}

static int sign(int64_t n)
{
	return n < 0 ? -1 : n > 0;
}

/* Copies: what the store gives holds until the next call. */
static struct mbox_summary summary_of(struct mbox_view *v, uint32_t seq, struct arena *a)
{
	struct mbox_summary s = { 0 };
	struct err e = { 0 };

	if (mbox_summary_get(v, seq, &s, &e) < 0)
		exit(92);
	struct str *const texts[] = { &s.base_subject, &s.from, &s.to, &s.cc, &s.display_from, &s.display_to };
	for (size_t i = 0; i < ARRAY_LEN(texts); i++)
		*texts[i] = arena_str(a, *texts[i]);
	s.refs = (const unsigned char *)arena_str(a, str_n(s.refs, 8 * s.n_refs)).p;
	return s;
}

static size_t wrong_ranks(struct mbox_view *v, const struct mbox_summary *s, uint32_t i, uint32_t k)
{
	const uint32_t a = mbox_view_place(v, i), b = mbox_view_place(v, k);
	size_t wrong = 0;

	for (unsigned key = 0; key < MBOX_KEYS; key++) {
		const int64_t x = mbox_keys_rank(v->m, a, (enum mbox_key)key), y = mbox_keys_rank(v->m, b, (enum mbox_key)key);
		wrong += sign(x - y) != sign(str_cmp(text_of(&s[i], key), text_of(&s[k], key))) || (x == 0) != (text_of(&s[i], key).n == 0);
	}
	return wrong;
}

/* Numbers of hashes, as they show in the rows: one for each. */
struct seen {
	struct ids hashes;
	uint32_t *numbers;
};

static size_t wrong_id(struct seen *seen, uint32_t number, uint64_t hash)
{
	const uint32_t n = hash ? ids_number(&seen->hashes, hash) : 0;

	if ((hash == 0) != (number == 0))
		return 1;
	if (n && seen->numbers[n] == 0)
		seen->numbers[n] = number;
	return n && seen->numbers[n] != number;
}

static size_t wrong_thread(struct mbox_view *v, const struct mbox_summary *s, uint32_t n)
{
	struct seen seen = { .numbers = xzalloc((size_t)100 * (n + 10)) };
	struct mbox_thread_keys k, other;
	size_t wrong = 0;

	ids_init(&seen.hashes, n);
	const struct mbox_thread_numbers numbers = mbox_thread_numbers(v->m);
	for (uint32_t i = 1; i <= n; i++) {
		mbox_thread_get(v, i, &k);
		wrong += k.sent != s[i].sent || k.reply != s[i].reply || k.n_refs != s[i].n_refs || k.id > numbers.ids || k.subject > numbers.subjects;
		wrong += wrong_id(&seen, k.id, s[i].msgid);
		for (size_t r = 0; r < k.n_refs; r++)
			wrong += wrong_id(&seen, k.refs[r], summary_ref(&s[i], r));
		const uint32_t at = 1 + i * 7 % n;
		mbox_thread_get(v, at, &other);
		wrong += (k.subject == other.subject) != str_eq(s[i].base_subject, s[at].base_subject) || (k.subject == 0) != (s[i].base_subject.n == 0);
	}
	/* One number, one hash. */
	struct ids back;
	ids_init(&back, n);
	for (uint32_t i = 1; i <= seen.hashes.n; i++)
		wrong += ids_number(&back, seen.numbers[i]) != i;
	ids_fini(&back);
	ids_fini(&seen.hashes);
	free(seen.numbers);
	return wrong;
}

/* How much of what the columns say is not so. */
static size_t wrong(struct mbox *m)
{
	struct mbox_view *v = mbox_view_new(m);
	const uint32_t n = mbox_view_count(v);
	struct arena *a = arena_new(0);
	struct mbox_summary *const s = xzalloc((n + 1) * sizeof(*s));
	struct err e = { 0 };
	size_t bad = 0;

	for (uint32_t i = 1; i <= n; i++)
		s[i] = summary_of(v, i, a);
	while (mbox_keys_load(m, EVERYTHING))
		;
	uint64_t stamp;
	do {
		stamp = mbox_thread_numbers(m).stamp;
		for (uint32_t i = 1; i <= n; i++)
			bad += mbox_thread_look(v, i, &e) < 0;
	} while (stamp != mbox_thread_numbers(m).stamp);
	const uint32_t filed = mbox_view_seq_before(v, mbox_keys_places(m));
	for (uint32_t i = 1; i <= filed; i++) {
		bad += mbox_keys_sent(m, mbox_view_place(v, i)) != s[i].sent;
		bad += wrong_ranks(v, s, i, 1 + i * 13 % filed) + wrong_ranks(v, s, i, i > 1 ? i - 1 : i);
	}
	bad += n ? wrong_thread(v, s, n) : 0;
	if (!mbox_keys_intact(m))
		bad = 0;	/* and so is not used */
	free(s);
	arena_free(&a);
	mbox_view_free(&v);
	return bad;
}

static uint32_t filed(struct mbox *m)
{
	while (mbox_keys_load(m, EVERYTHING))
		;
	return mbox_keys_places(m);
}

static void write_file(struct mbox *m)
{
	m->keys->wanted = true;
	while (mbox_keys_step(m))
		;
}

static void test_rows(void)
{
	char *const root = xstrdup(scratch_new());
	struct store *s = must_open(root);
	struct mbox *m = must_mbox(s, "INBOX");
	struct err e = { 0 };

	write_file(m);
	tap_is_int((long long)wrong(m) + filed(m), 0, "an empty folder");
	append(m, 0, 300);
	tap_is_int((long long)wrong(m), 0, "without a file");
	tap_is_int(filed(m), 0, "nothing is filed");
	const uint32_t messages = m->st.messages;
	m->st.messages = KEYS_MESSAGES_MAX + 1;
	mbox_keys_want(m);
	tap_ok(!mbox_keys_wanted(m), "too large a folder has no file");
	m->st.messages = messages;
	mbox_keys_want(m);
	tap_ok(mbox_keys_wanted(m), "so many messages want a file");
	while (mbox_keys_step(m))
		;
	tap_ok(!mbox_keys_wanted(m) && filed(m) == 300, "it has all of them");
	tap_is_int((long long)wrong(m), 0, "and says of them what is so");
	mbox_close(&m);
	m = must_mbox(s, "INBOX");
	tap_ok(filed(m) == 300 && wrong(m) == 0, "the next process finds it");

	append(m, 290, 40);
	tap_ok(wrong(m) == 0 && filed(m) == 300, "messages that came since");
	mbox_keys_want(m);
	tap_ok(!mbox_keys_wanted(m), "a few do not want another file");
	struct mbox_view *v = mbox_view_new(m);
	const uint32_t gone[] = { 1, 7, 150, 299, 300, 301, 330 };
	tap_ok(mbox_expunge(v, gone, ARRAY_LEN(gone), &e) == 0, "some go");
	mbox_view_free(&v);
	tap_is_int((long long)wrong(m), 0, "the others");
	mbox_close(&m);
	m = must_mbox(s, "INBOX");
	tap_ok(wrong(m) == 0 && filed(m) == 295, "and in the next process");
	append(m, 1000, 300);
	tap_is_int((long long)wrong(m), 0, "many came");
	mbox_keys_want(m);
	tap_ok(mbox_keys_wanted(m), "they want a new file");
	mbox_close(&m);
	m = must_mbox(s, "INBOX");
	write_file(m);
	tap_ok(filed(m) == 633 && wrong(m) == 0, "which has all: %u", filed(m));
	mbox_close(&m);
	store_close(&s);
	free(root);
}

/* --- damage --- */

enum { FEW = 6, IMAGE_MAX = 1 << 16 };
static char image[IMAGE_MAX];
static size_t image_n;

static void load_image(const char *root)
{
	const int fd = open(scratch_path(root, KEYS_NAME), O_RDONLY);
	const ssize_t n = read(fd, image, sizeof(image));

	image_n = n > 0 ? (size_t)n : 0;
	close(fd);
}

static void put_image(const char *root, const char *p, size_t n)
{
	const int fd = open(scratch_path(root, KEYS_NAME), O_WRONLY | O_CREAT | O_TRUNC, 0600);

	if (write(fd, p, n) != (ssize_t)n)
		exit(94);
	close(fd);
}

static struct mbox *few(struct store *s)
{
	struct mbox *m = must_mbox(s, "INBOX");

	append(m, 1, FEW);
	tap_is_int((long long)wrong(m), 0, "a few messages");
	write_file(m);
	return m;
}

static void test_every_byte(void)
{
	char *const root = xstrdup(scratch_new());
	struct store *s = must_open(root);
	struct mbox *m = few(s);
	size_t lies = 0, believed = 0;
	static char p[IMAGE_MAX];

	load_image(root);
	tap_ok(image_n > KEYS_HEAD && filed(m) == FEW, "a file of %zu bytes", image_n);
	for (size_t at = 0; at < image_n; at++) {
		memcpy(p, image, image_n);
		p[at] = (char)(p[at] ^ 1 << at % 8);
		put_image(root, p, image_n);
		keys_drop(m, false);
		lies += wrong(m);
		believed += filed(m) == FEW;
	}
	tap_ok(lies == 0 && believed < image_n / 10, "one bit turned at each byte: %zu wrong, %zu of padding", lies, believed);
	believed = 0;
	for (size_t n = 0; n < image_n; n++) {
		put_image(root, image, n);
		keys_drop(m, false);
		lies += wrong(m);
		believed += filed(m) > 0;
	}
	tap_ok(lies == 0 && believed == 0, "cut at each byte");
	put_image(root, image, image_n);
	keys_drop(m, false);
	tap_ok(filed(m) == FEW && wrong(m) == 0, "whole it is used");
	mbox_close(&m);
	store_close(&s);
	free(root);
}

/* A head with right checksums that is another folder's, another time's or another version's. */
static void test_others(void)
{
	static const struct {
		const char *name;
		size_t at;
	} cases[] = { { "magic", 3 }, { "version", 8 }, { "summaries' version", 12 }, { "mailbox id", 20 }, { "UIDVALIDITY", 32 } };
	char *const root = xstrdup(scratch_new());
	struct store *s = must_open(root);
	struct mbox *m = few(s);
	static char p[IMAGE_MAX];

	load_image(root);
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		memcpy(p, image, image_n);
		p[cases[i].at] = (char)(p[cases[i].at] + 1);
		put_le32(p + 252, crc32c(0, p, 252));
		put_image(root, p, image_n);
		keys_drop(m, false);
		tap_ok(filed(m) == 0 && wrong(m) == 0, "another %s", cases[i].name);
	}
	/* A message is there whose UID the file passes over. */
	memcpy(p, image, image_n);
	put_le32(p + KEYS_HEAD + 4, get_le32(p + KEYS_HEAD + 8));
	put_le32(p + 96, crc32c(0, p + KEYS_HEAD, 4 * FEW));
	put_le32(p + 252, crc32c(0, p, 252));
	put_image(root, p, image_n);
	keys_drop(m, false);
	tap_ok(filed(m) == 0 && wrong(m) == 0, "a message is missing in it");
	/* Not a file at all. */
	(void)unlink(scratch_path(root, KEYS_NAME));
	tap_ok(mkdir(scratch_path(root, KEYS_NAME), 0700) == 0, "a directory of that name");
	keys_drop(m, false);
	tap_ok(filed(m) == 0 && wrong(m) == 0, "is not used");
	write_file(m);
	tap_ok(filed(m) == 0 && wrong(m) == 0 && m->keys->off, "nor can a file be put there: not tried again");
	mbox_close(&m);
	store_close(&s);
	free(root);
}

/* The cache was begun anew: what a new message's subject is compared with is gone. */
static void test_lost_cache(void)
{
	char *const root = xstrdup(scratch_new());
	struct store *s = must_open(root);
	struct mbox *m = few(s);
	struct err e = { 0 };

	mbox_close(&m);
	(void)unlink(scratch_path(root, CACHE_NAME));
	(void)unlink(scratch_path(root, CACHEMAP_NAME));
	m = must_mbox(s, "INBOX");
	append(m, 4, 1);
	while (mbox_keys_load(m, MBOX_KEYS_THREAD))
		;
	struct mbox_view *v = mbox_view_new(m);
	tap_ok(mbox_thread_look(v, FEW + 1, &e) == 0, "a new message without the others' summaries");
	tap_is_int(mbox_keys_places(m), 0, "the file is given up");
	mbox_view_free(&v);
	tap_is_int((long long)wrong(m), 0, "and all is said without it");
	tap_ok(mbox_rebuild(m, &e) == 0 && access(scratch_path(root, KEYS_NAME), F_OK) != 0, "a rebuild throws it away");
	mbox_close(&m);
	store_close(&s);
	free(root);
}

/* --- writing --- */

static void test_interrupted(void)
{
	char *const root = xstrdup(scratch_new());
	struct store *s = must_open(root), *s2 = must_open(root);
	struct mbox *m = few(s), *m2;
	size_t lies = 0;

	/* The writer is left alone after each of its steps, as a process that is killed leaves it. */
	append(m, 20, 3);
	lies += wrong(m);
	for (unsigned steps = 1; m->keys->file.has.rows == FEW && steps < 1000; steps++) {
		m->keys->wanted = true;
		for (unsigned i = 0; i < steps && mbox_keys_step(m); i++)
			;
		keys_writer_free(&m->keys->writer);
		keys_drop(m, false);
		lies += wrong(m);
	}
	tap_ok(lies == 0 && filed(m) == FEW + 3, "a killed writer leaves the old file, or the new one");
	tap_ok(access(scratch_path(root, KEYS_NEW), F_OK) != 0, "and the next one clears up");
	/* Two at once. */
	m2 = must_mbox(s2, "INBOX");
	lies += wrong(m2);
	append(m, 30, 3);
	tap_ok(mbox_refresh(m2, &(struct err){ 0 }) == 0 && wrong(m) + wrong(m2) == 0, "another process");
	m->keys->wanted = m2->keys->wanted = true;
	for (bool more = true; more;) {
		more = mbox_keys_step(m);
		more |= mbox_keys_step(m2);
	}
	tap_ok(wrong(m) + wrong(m2) + lies == 0, "two make it at once");
	keys_drop(m, false);
	tap_ok(filed(m) == FEW + 6 && wrong(m) == 0, "one of them has made it");
	mbox_close(&m);
	mbox_close(&m2);
	store_close(&s);
	store_close(&s2);
	free(root);
}

/* A large file is mapped: whoever cuts it short while it is used changes no answer. */
static void test_cut_while_mapped(void)
{
	enum { MANY = 16000 };
	char *const root = xstrdup(scratch_new());
	struct store *s = must_open(root);
	struct mbox *m = must_mbox(s, "INBOX");
	struct stat st;

	append(m, 0, MANY / 2);
	append(m, MANY / 2, MANY / 2);
	tap_is_int((long long)wrong(m), 0, "many messages");
	write_file(m);
	const bool there = stat(scratch_path(root, KEYS_NAME), &st) == 0;
	tap_ok(there && st.st_size > 1 << 20 && filed(m) == MANY, "a file of %lld bytes", there ? (long long)st.st_size : -1);
	tap_ok(truncate(scratch_path(root, KEYS_NAME), KEYS_HEAD) == 0, "cut");
	tap_is_int((long long)wrong(m), 0, "nothing wrong is said");
	tap_is_int(filed(m), 0, "it is used no more");
	tap_is_int((long long)wrong(m), 0, "without it");
	mbox_close(&m);
	store_close(&s);
	free(root);
}

int main(void)
{
	test_rows();
	test_every_byte();
	test_others();
	test_lost_cache();
	test_interrupted();
	test_cut_while_mapped();
	return tap_done();
}
