/* Any bytes as one of a folder's files: the folder opens, what is seen can be used, and is the same after it was closed and opened again. The first
 * byte chooses the file; checksums are made right, else no mutation would ever be looked into. An index with right checksums is believed, so of a
 * forged one only this is asked: that nothing breaks but its owner's view. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/num.h"
#include "store/keys_priv.h"
#include "store/store_priv.h"
#include "store/summary.h"
#include "store/test_ask.h"
#include "test/fuzz_session.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { INPUT_MAX = 65536, JOURNAL_HEAD = 256, BATCH_HEAD = 32, INDEX_HEAD = 256, CHUNK = 4096, TEXT_MAX = 1 << 16, SUBS = 6 };
static const char *const files[] = {
	JOURNAL_NAME, INDEX_NAME, "dovecot-uidlist", "dovecot-keywords", "courierimapuiddb", CACHE_NAME, "postern.subscriptions", CACHEMAP_NAME,
	IDENT_NAME, SYNC_NAME, "postern.special", "courierpop3dsizelist", SEARCH_NAME, SEARCHLOG_NAME, KEYS_NAME,
};

static struct buf journal, ident;
static bool forged;	/* the index */
static uint64_t generation;
static unsigned char id[16];
static uint32_t uidvalidity;

#define check(good) do { if (!(good)) { (void)fprintf(stderr, "line %d: " #good "\n", __LINE__); abort(); } } while (0)

/* --- the folder as it was --- */

static void messages(void)
{
	fuzz_tree_file("cur/100.M1P1.h,S=14,W=17:2,S", "Subject: a\n\nx\n");
	fuzz_tree_file("cur/101.M2P1.h:2,ab", "Subject: b\n\ny\n");
	fuzz_tree_file("cur/102.M3P1.h,S=2,W=3:2,FT", "z\n");
	fuzz_tree_file("new/103.M4P1.h", "");
	fuzz_tree_file("tmp/x", "");
	fuzz_tree_file(".A/cur/104.M5P1.h:2,", "q\n");
	fuzz_tree_file(".A/new/105.M6P1.h", "q\n");
	fuzz_tree_file(".A/tmp/x", "");
}

static void put(const char *root, const char *name, struct str s)
{
	char path[512];

	(void)snprintf(path, sizeof path, "%s/%s", root, name);
	const int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	check(fd >= 0 && write(fd, s.p, s.n) == (ssize_t)s.n);
	close(fd);
}

static void get(const char *root, const char *name, struct buf *out)
{
	char path[512];

	(void)snprintf(path, sizeof path, "%s/%s", root, name);
	const int fd = open(path, O_RDONLY | O_CLOEXEC);
	buf_init(out, TEXT_MAX);
	const ssize_t n = fd < 0 ? -1 : read(fd, buf_room(out, TEXT_MAX - 1), TEXT_MAX - 1);
	check(n > 0);
	buf_added(out, (size_t)n);
	close(fd);
}

/* A journal of our own for the index to belong to. */
static void start(void)
{
	const char *root = fuzz_tree();
	const struct str keywords[] = { STR("kw") };
	const uint32_t seqs[] = { 1, 3 };
	size_t failed;
	struct store *s = NULL;
	struct mbox *m = NULL;
	struct err e = { 0 };

	messages();
	check(store_open(root, true, &s, &e) == 0 && mbox_open(s, STR("INBOX"), &m, &e) == 0);
	struct mbox_view *v = mbox_view_new(m);
	check(mbox_store_flags(v, seqs, 2, MBOX_ADD, MBOX_ANSWERED, keywords, 1, 0, NULL, &failed, &e) == 0);
	generation = m->j.generation;
	memcpy(id, m->st.id, sizeof id);
	uidvalidity = m->st.uidvalidity;
	mbox_view_free(&v);
	mbox_close(&m);
	store_close(&s);
	get(root, JOURNAL_NAME, &journal);
	get(root, IDENT_NAME, &ident);
}

/* --- checksums --- */

static void mend_journal(unsigned char *p, size_t n)
{
	unsigned char seed[16];

	if (n < JOURNAL_HEAD)
		return;
	memcpy(p, "PSTNJRN1", 8);
	put_le32(p + 8, 1);
	put_le32(p + 12, JOURNAL_HEAD);
	put_le32(p + 124, crc32c(0, p, 124));
	memcpy(p + 128, p, 128);
	put_le64(seed, get_le64(p + 16));
	for (size_t at = JOURNAL_HEAD; n - at >= BATCH_HEAD;) {
		unsigned char *const b = p + at;
		const size_t room = n - at - BATCH_HEAD, len = get_le32(b + 4) < room ? get_le32(b + 4) : room, pad = (8 - len % 8) % 8;
		if (len + pad > room)
			return;
		memcpy(b, "BTCH", 4);
		put_le32(b + 4, (uint32_t)len);
		memset(b + BATCH_HEAD + len, 0, pad);
		put_le64(seed + 8, at);
		put_le32(b + 28, crc32c(crc32c(crc32c(0, seed, sizeof seed), b, 28), b + BATCH_HEAD, len));
		at += BATCH_HEAD + len + pad;
	}
}

static uint64_t part(unsigned char *p, size_t at, size_t n)
{
	const uint64_t off = get_le64(p + at) % (n - INDEX_HEAD + 1) + INDEX_HEAD;

	put_le64(p + at, get_le64(p + at) >= INDEX_HEAD && get_le64(p + at) <= n ? get_le64(p + at) : off);
	return get_le64(p + at);
}

static void mend_index(unsigned char *p, size_t n)
{
	if (n < INDEX_HEAD)
		return;
	memcpy(p, "PSTNIDX1", 8);
	put_le32(p + 8, 1);
	put_le32(p + 12, sizeof(struct rec));
	put_le64(p + 16, generation);
	memcpy(p + 32, id, sizeof id);
	if (get_le64(p + 24) > journal.n || get_le64(p + 24) < JOURNAL_HEAD)
		put_le64(p + 24, journal.n);
	put_le32(p + 60, get_le32(p + 60) % ((uint32_t)((n - INDEX_HEAD) / sizeof(struct rec)) + 1));
	const size_t bytes = get_le32(p + 60) * sizeof(struct rec), chunks = (bytes + CHUNK - 1) / CHUNK;
	const uint64_t names = part(p, 152, n), meta = part(p, 120, n), table = part(p, 144, n);

	if (get_le64(p + 160) > n - names)
		put_le64(p + 160, n - names);
	if (get_le64(p + 128) > n - meta)
		put_le64(p + 128, n - meta);
	/* Records' names where they lie within. */
	for (size_t at = INDEX_HEAD; at < INDEX_HEAD + bytes; at += sizeof(struct rec)) {
		struct rec r;
		memcpy(&r, p + at, sizeof r);
		const uint64_t off = rec_name_off(&r), len = (uint64_t)r.name_len + r.info_len;
		if (off <= get_le64(p + 160) && len <= get_le64(p + 160) - off)
			r.name_crc = crc32c(0, p + names + off, len);
		memcpy(p + at, &r, sizeof r);
	}
	if (chunks * 4 > n - table)
		return;
	for (size_t i = 0; i < chunks; i++)
		put_le32(p + table + 4 * i, crc32c(0, p + INDEX_HEAD + i * CHUNK, bytes - i * CHUNK < CHUNK ? bytes - i * CHUNK : CHUNK));
	put_le32(p + 116, crc32c(0, p + table, chunks * 4));
	put_le32(p + 136, crc32c(0, p + meta, get_le64(p + 128)));
	put_le32(p + 252, crc32c(0, p, 252));
}

/* --- use --- */

static void describe(struct mbox *m, struct mbox_view *v, struct buf *out)
{
	size_t n_names;
	const char *const *names = mbox_keywords(m, &n_names);
	struct err e = { 0 };
	struct mbox_status st;

	check(mbox_status(m, &st, &e) == 0 && (st.uidvalidity > 0 || forged));
	buf_printf(out, "%u: ", st.uidvalidity);
	for (uint32_t seq = 1; seq <= mbox_view_count(v); seq++) {
		struct mbox_msg msg;
		if (forged) {
			(void)!mbox_msg_get(v, seq, &msg, &e);
			(void)!mbox_msg_basename(v, seq);
			(void)!mbox_msg_pop3_uidl(v, seq);
			(void)!mbox_msg_pop3_order(v, seq);
			continue;
		}
		check(mbox_msg_get(v, seq, &msg, &e) == 0);
		check(msg.uid > 0 && msg.uid < st.uidnext && msg.uid == mbox_view_uid(v, seq) && mbox_view_seq(v, msg.uid) == seq);
		check(seq == 1 || msg.uid > mbox_view_uid(v, seq - 1));
		buf_printf(out, "%u=%s:%x", msg.uid, mbox_msg_basename(v, seq), msg.flags & ~(unsigned)MBOX_RECENT);
		for (size_t k = 0; k < STORE_KEYWORDS_MAX; k++)
			if (msg.keywords[k / 64] >> k % 64 & 1) {
				check(k < n_names);
				buf_printf(out, ",%s", names[k]);
			}
		const char *uidl = mbox_msg_pop3_uidl(v, seq);
		buf_printf(out, ";%s;%u ", uidl ? uidl : "", mbox_msg_pop3_order(v, seq));
	}
}

/* Forged signatures give wrong answers, but they give them, and about messages that are there. */
static void search(struct mbox *m, struct mbox_view *v, struct arena *a)
{
	static const struct str needles[] = { { "HELLO", 5 }, { "ab", 2 }, { "SUBJECT", 7 } };
	struct msgfile f;
	struct err e = { 0 };

	while (!mbox_search_load(v))
		;
	for (unsigned kind = 0; kind < MBOX_SEARCH_KINDS; kind++) {
		for (size_t i = 0; i < ARRAY_LEN(needles); i++) {
			struct mbox_candidates *const c = ask_at_once(v, kind, needles[i], a);
			uint32_t last = 0;
			for (uint32_t seq = c ? mbox_search_next(c, v, 1) : 0; seq != 0; seq = mbox_search_next(c, v, seq + 1)) {
				check(seq > last && seq <= mbox_view_count(v));
				last = seq;
			}
		}
	}
	for (uint32_t seq = 1; seq <= mbox_view_count(v) && seq < 10; seq++) {
		if (msgfile_open(&f, v, seq, false, &e) == 0) {
			mbox_search_learn(v, seq, &f);
			msgfile_close(&f);
		}
	}
	mbox_search_flush(m);
}

/* Checksums as they should be, lengths within the file: what lies behind them is looked at. */
static void mend_search(unsigned char *p, size_t n)
{
	if (n < 64)
		return;
	memset(p, 0, 64);
	memcpy(p, "PSTNSRC1", 8);
	memcpy(p + 8, id, 16);
	for (size_t off = 64; n - off >= 32;) {
		const size_t left = n - off - 32;
		size_t bytes = get_le32(p + off + 8);
		if (bytes > left)
			bytes = left;
		bytes &= ~(size_t)7;
		memcpy(p + off, "PSRC", 4);
		put_le32(p + off + 8, (uint32_t)bytes);
		put_le32(p + off + 28, crc32c(crc32c(crc32c(0, id, 16), p + off, 28), p + off + 32, bytes));
		off += 32 + bytes;
	}
}

/* Counts that the input has room for, checksums as they should be: the numbers in the columns are looked at. */
static void mend_keys(struct buf *b)
{
	static const uint32_t most[] = { 8, 16, 5, 16, 8, 8, 8, 8, 8, 8 };
	struct keys_counts c;
	size_t bytes[KEYS_SECTIONS], at = KEYS_HEAD;

	while (b->n < KEYS_HEAD)
		buf_ch(b, 0);
	memcpy(b->p, keys_magic, 8);
	put_le32(b->p + 8, KEYS_VERSION);
	put_le32(b->p + 12, SUMMARY_VERSION);
	memcpy(b->p + 16, id, sizeof id);
	put_le32(b->p + 32, uidvalidity);
	for (size_t i = 0; i < ARRAY_LEN(most); i++)
		put_le32(b->p + 36 + 4 * i, get_le32(b->p + 36 + 4 * i) % most[i]);
	c = (struct keys_counts){ .rows = get_le32(b->p + 36), .ids = get_le32(b->p + 40), .bits = get_le32(b->p + 44), .refs = get_le32(b->p + 48),
		.texts = { get_le32(b->p + 52) } };
	keys_sizes(&c, bytes);
	for (unsigned s = 0; s < KEYS_SECTIONS; s++) {
		const size_t end = at + (bytes[s] + 7) / 8 * 8;
		while (b->n < end)
			buf_ch(b, 0);
		put_le32(b->p + 96 + 4 * s, crc32c(0, b->p + at, bytes[s]));
		at = end;
	}
	buf_cut(b, at);
	put_le32(b->p + 252, crc32c(0, b->p, 252));
}

/* Forged columns give wrong orders; nothing else of theirs is believed. Then a file is made. */
static void keys(struct mbox *m, struct mbox_view *v)
{
	struct mbox_thread_keys k;
	struct err e = { 0 };
	uint64_t sink = 0;

	while (mbox_keys_load(m, MBOX_KEYS_THREAD | MBOX_KEYS_SENT | ((1 << MBOX_KEYS) - 1)))
		;
	check(mbox_keys_places(m) <= mbox_view_places(v));
	for (uint32_t place = 0; place < mbox_keys_places(m); place++) {
		sink += (uint64_t)mbox_keys_sent(m, place);
		for (unsigned key = 0; key < MBOX_KEYS; key++)
			sink += mbox_keys_rank(m, place, (enum mbox_key)key);
	}
	for (uint32_t seq = 1; seq <= mbox_view_count(v); seq++) {
		(void)!mbox_thread_look(v, seq, &e);
		mbox_thread_get(v, seq, &k);
		for (size_t i = 0; i < k.n_refs; i++)
			sink += k.refs[i];
	}
	check(mbox_keys_intact(m));
	m->keys->wanted = true;
	while (mbox_keys_step(m))
		;
	__asm__ volatile("" : : "r"(sink));	/* read for good */
}

static void use(struct store *s, struct mbox *m, struct mbox_view *v)
{
	const struct str keywords[] = { STR("new"), STR("kw") };
	struct arena *a = arena_new(0);
	struct store_folder *list;
	struct err e = { 0 };
	struct mbox_summary sum;
	struct str blob;
	size_t failed;

	for (uint32_t seq = 1; seq <= mbox_view_count(v) && seq < 10; seq++) {
		int fd = -1;
		if (mbox_msg_open(v, seq, &fd, &e) == 0)
			close(fd);
		else
			err_clear(&e);
		for (uint32_t kind = 1; kind <= 8; kind++)
			(void)!mbox_cache_get(v, seq, kind, a, &blob);
		mbox_cache_put(v, seq, 1, STR("blob"));
		if (mbox_summary_get(v, seq, &sum, &e) < 0)
			err_clear(&e);
	}
	mbox_cache_flush(m);
	search(m, v, a);
	keys(m, v);
	const uint32_t first = 1, last = mbox_view_count(v);
	if (last > 0) {
		(void)!mbox_store_flags(v, &first, 1, MBOX_ADD, MBOX_FLAGGED, keywords, 2, 0, NULL, &failed, &e);
		err_clear(&e);
		(void)!mbox_expunge(v, &last, 1, &e);
		err_clear(&e);
	}
	check(store_list(s, a, &list, &e) == 0);
	arena_free(&a);
}

static void nothing(void *ctx, enum mbox_change what, uint32_t seq, uint32_t uid)
{
}

/* Open, look; after that change something. False: it cannot be opened. */
static bool round_trip(const char *root, bool change, struct buf *out)
{
	struct store *s = NULL;
	struct mbox *m = NULL;
	struct err e = { 0 };

	if (store_open(root, true, &s, &e) < 0)
		return false;
	if (mbox_open(s, STR("INBOX"), &m, &e) < 0) {
		store_close(&s);
		return false;
	}
	struct mbox_view *v = mbox_view_new(m);
	check((mbox_refresh(m, &e) == 0 && mbox_view_sync(v, true, nothing, NULL, &e) == 0) || forged);
	if (change) {
		use(s, m, v);
		check(mbox_view_sync(v, true, nothing, NULL, &e) == 0 || forged);
	}
	describe(m, v, out);
	mbox_view_free(&v);
	mbox_close(&m);
	store_close(&s);
	return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct buf in, first, second;

	if (size < 1 || size > INPUT_MAX)
		return 0;
	fuzz_log_mute();
	if (!journal.p)
		start();
	const size_t which = data[0] % ARRAY_LEN(files);
	forged = which == 1;
	const char *root = fuzz_tree();
	messages();
	buf_init(&in, INPUT_MAX);
	buf_init(&first, 1 << 20);
	buf_init(&second, 1 << 20);
	buf_mem(&in, data + 1, size - 1);
	buf_c(&in, "");
	if (which == 0) {
		mend_journal((unsigned char *)in.p, in.n);
	} else if (strcmp(files[which], CACHE_NAME) == 0 || which == 1 || which > SUBS) {
		put(root, JOURNAL_NAME, buf_view(&journal));
		put(root, IDENT_NAME, buf_view(&ident));
	}
	if (strcmp(files[which], SEARCH_NAME) == 0 || strcmp(files[which], SEARCHLOG_NAME) == 0)
		mend_search((unsigned char *)in.p, in.n);
	if (strcmp(files[which], KEYS_NAME) == 0)
		mend_keys(&in);
	if (which == 1)
		mend_index((unsigned char *)in.p, in.n);
	put(root, files[which], buf_view(&in));
	if (round_trip(root, true, &first)) {
		check(round_trip(root, false, &second));
		check(str_eq(buf_view(&first), buf_view(&second)) || forged);
	}
	buf_fini(&in);
	buf_fini(&first);
	buf_fini(&second);
	return 0;
}
