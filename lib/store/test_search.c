/* The search index: signatures and their columns, and the one promise that counts: whatever happens to its files, a message that holds a text is a candidate
 * for it. Compared with looking at every message. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/arena.h"
#include "imap/text.h"
#include "store/search_priv.h"
#include "store/test_ask.h"
#include "store/test_store.h"
#include "test/tap.h"

static uint64_t seed = 88172645463325252u;

static uint32_t rnd(uint32_t below)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (uint32_t)(seed >> 20) % below;
}

/* --- signatures --- */

static void signatures(void)
{
	static const char *const texts[] = { "", "ab", "abc", "the quick brown fox jumps over the lazy dog", "\xc3\xa4\xc3\xb6\xc3\xbc", "aaaaaaaaaaaaaaaaaaaa" };
	static struct trigrams tri;
	bool right = true;

	for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
		uint64_t bits[TRIGRAM_WORDS];
		uint16_t h[TRIGRAM_NEEDLE_MAX];
		const struct str t = str_c(texts[i]);
		trigrams_reset(&tri);
		trigram_add(&tri, t);
		const unsigned class = trigram_class(&tri);
		trigram_sign(&tri, class, bits);
		for (size_t from = 0; from < t.n; from++) {
			for (size_t n = 1; n <= t.n - from; n++) {
				const size_t k = trigram_needle(str_sub(t, from, n), h);
				right &= (k > 0) == (n >= 3);
				for (size_t x = 0; x < k; x++) {
					const size_t at = trigram_bit(h[x], trigram_bits(class));
					right &= bits[at / 64] >> (at % 64) & 1;
				}
			}
		}
	}
	tap_ok(right, "each substring of a text is in its signature");
	size_t last = 0;
	for (unsigned c = 0; trigram_bits(c) != 0; c++) {
		right &= trigram_bits(c) > last && trigram_bits(c) % 64 == 0;
		last = trigram_bits(c);
	}
	tap_ok(right && last == TRIGRAM_SPACE, "classes grow, in whole words");
}

/* Nothing of the texts before is left in a set, however many there were, and however long ago. */
static void many_texts(void)
{
	static struct trigrams tri;
	bool right = true;

	for (unsigned apart = 1; apart < 600; apart++) {
		trigrams_reset(&tri);
		trigram_add(&tri, STR("the quick brown fox jumps over the lazy dog"));
		const size_t n = tri.n;
		for (unsigned i = 1; i < apart; i++) {
			trigrams_reset(&tri);
			trigram_add(&tri, STR("pack my box"));
		}
		trigrams_reset(&tri);
		trigram_add(&tri, STR("the quick brown fox jumps over the lazy dog"));
		right &= tri.n == n && n > 30;
	}
	tap_ok(right, "a set has what its own text has");
}

static void columns(void)
{
	enum { WORDS = 3 };
	static uint64_t rows[TRIGRAM_ROWS][WORDS], cols[WORDS * 64 * TRIGRAM_ROW_WORDS];
	const uint64_t *p[TRIGRAM_ROWS];
	bool right = true;

	for (size_t i = 0; i < TRIGRAM_ROWS; i++) {
		p[i] = i % 17 == 3 ? NULL : rows[i];
		for (size_t w = 0; w < WORDS; w++)
			rows[i][w] = (uint64_t)rnd(UINT32_MAX) << 32 | rnd(UINT32_MAX);
	}
	trigram_columns(p, WORDS * 64, cols);
	for (size_t i = 0; i < TRIGRAM_ROWS; i++)
		for (size_t j = 0; j < WORDS * 64; j++)
			right &= (cols[j * TRIGRAM_ROW_WORDS + i / 64] >> (i % 64) & 1) == (p[i] ? rows[i][j / 64] >> (j % 64) & 1 : 0);
	tap_ok(right, "columns hold what the rows held");
}

/* --- the index against looking at all --- */

static const char *const words[] = { "alpha", "bravo", "charlie", "delta", "echo", "foxtrot", "golf", "hotel", "india", "juliet", "kilo", "lima", "mike",
	"=?utf-8?q?gr=C3=BCn?=", "oscar", "papa" };

static const char *random_text(void)
{
	static char text[4096];
	int n = snprintf(text, sizeof(text), "From: %s@%s.example\nSubject: %s %s\nX-Odd: %s\nContent-Type: text/plain; charset=utf-8\n\n", words[rnd(13)], words[rnd(13)],
			 words[rnd(16)], words[rnd(16)], words[rnd(16)]);

	for (uint32_t k = rnd(8) ? rnd(40) : rnd(400); k > 0 && n < 3900; k--)
		n += snprintf(text + n, sizeof(text) - (size_t)n, "%s%c", words[rnd(16)], rnd(9) ? ' ' : '\n');
	return text;
}

static const char *const needles[] = { "ALPHA", "PAPA ALPHA", "GRU\xcc\x88N", "LPH", "XYZ", "OSC", "EXAMPLE", "TEXT/PLAIN", "O", "HOTEL INDIA", "DELTA\nECHO" };
enum { NEEDLES = sizeof(needles) / sizeof(*needles) };

static bool note(void *ctx, struct str folded)
{
	bool *const found = ctx;

	for (size_t i = 0; i < NEEDLES; i++)
		found[i] |= str_find(folded, str_c(needles[i])) >= 0;
	return false;
}

/* The truth about a message, for each needle and kind. */
static bool truth(struct mbox_view *v, uint32_t seq, bool found[MBOX_SEARCH_KINDS][NEEDLES])
{
	struct imap_text t;
	struct msgfile f;
	struct err e = { 0 };

	memset(found, 0, sizeof(bool[MBOX_SEARCH_KINDS][NEEDLES]));
	if (msgfile_open(&f, v, seq, false, &e) < 0)
		return false;
	imap_text_init(&t, note, found[MBOX_SEARCH_HEAD]);
	(void)imap_text_field(&t, msgfile_head(&f), STR("Subject"));
	imap_text_fini(&t);
	imap_text_init(&t, note, found[MBOX_SEARCH_TEXT]);
	(void)imap_text_part(&t, msgfile_mime(&f), true);
	imap_text_fini(&t);
	msgfile_close(&f);
	return true;
}

static void learn_all(struct mbox_view *v)
{
	struct err e = { 0 };
	struct msgfile f;

	while (!mbox_search_load(v))
		;
	for (uint32_t seq = 1; seq <= mbox_view_count(v); seq++) {
		if (mbox_search_knows(v, seq, MBOX_SEARCH_TEXT) || msgfile_open(&f, v, seq, false, &e) < 0)
			continue;
		mbox_search_learn(v, seq, &f);
		msgfile_close(&f);
	}
	mbox_search_flush(v->m);
}

struct asked {
	struct mbox_candidates *c;
	uint32_t next;
};

static bool compare(struct mbox_view *v, uint32_t seq, struct asked *q, bool is, unsigned *vain)
{
	const bool cand = q->c == NULL || mbox_search_may(q->c, v, seq);
	bool right = cand || !is;

	if (q->c) {
		right &= (q->next == seq) == cand;
		if (q->next == seq)
			q->next = mbox_search_next(q->c, v, seq + 1);
	}
	*vain += cand && !is;
	return right;
}

/* Candidates beside truth: none may be missing, and walking gives the same as asking for each. *vain: how many were candidates in vain. */
static bool all_sound(struct mbox_view *v, unsigned *vain)
{
	struct asked q[MBOX_SEARCH_KINDS][NEEDLES];
	bool found[MBOX_SEARCH_KINDS][NEEDLES], right = true;
	struct arena *a = arena_new(0);

	*vain = 0;
	while (!mbox_search_load(v))
		;
	for (unsigned kind = 0; kind < MBOX_SEARCH_KINDS; kind++) {
		for (size_t i = 0; i < NEEDLES; i++) {
			const struct str needle = str_c(needles[i]);
			q[kind][i].c = ask_at_once(v, kind, needle, a);
			q[kind][i].next = q[kind][i].c ? mbox_search_next(q[kind][i].c, v, 1) : 0;
		}
	}
	for (uint32_t seq = 1; seq <= mbox_view_count(v); seq++) {
		if (!truth(v, seq, found))
			continue;
		for (unsigned kind = 0; kind < MBOX_SEARCH_KINDS; kind++)
			for (size_t i = 0; i < NEEDLES; i++)
				right &= compare(v, seq, &q[kind][i], found[kind][i], vain);
	}
	for (unsigned kind = 0; kind < MBOX_SEARCH_KINDS; kind++)
		for (size_t i = 0; i < NEEDLES; i++)
			right &= q[kind][i].next == 0;
	arena_free(&a);
	return right;
}

static void append_many(struct mbox *m, unsigned n)
{
	struct mbox_append *ap;
	uint32_t *const uids = xzalloc(n * sizeof(*uids));
	struct err e = { 0 };
	size_t got;

	tap_ok(mbox_append_begin(m, &ap, &e) == 0, "append begins");
	for (unsigned i = 0; i < n; i++)
		if (mbox_append_message(ap, 0, NULL, 0, 0, &e) < 0 || mbox_append_data(ap, str_c(random_text()), &e) < 0)
			tap_ok(false, "append: %s", e.text);
	tap_ok(mbox_append_commit(&ap, uids, &got, &e) == 0, "append: %s", e.text);
	free(uids);
}

/* --- in pieces --- */

/* One message is learned. Returns how many things were written for that. */
static unsigned learn_one(struct mbox_view *v, uint32_t seq)
{
	const struct search *const s = &v->m->search;
	const uint64_t sealed = s->sealed;
	const size_t waited = s->pending.n;
	const ino_t ino = s->ino[SEARCH_LOG];
	struct err e = { 0 };
	struct msgfile f;

	if (msgfile_open(&f, v, seq, false, &e) < 0)
		return 0;
	mbox_search_learn(v, seq, &f);
	msgfile_close(&f);
	return (unsigned)(s->sealed - sealed) + (ino != 0 && s->ino[SEARCH_LOG] != ino) + (waited > 1 << 16 && s->pending.n < waited);
}

/* Questions that are asked in pieces, between which messages are learned, rows become blocks, and the index is closed: what it says in the end is sound. And of what there is to
 * write one thing is done at a time. */
static void in_pieces(void)
{
	enum { MANY = 4000, EACH = 40 };
	static bool found[MANY + 1][MBOX_SEARCH_KINDS][NEEDLES];
	char *const root = xstrdup(scratch_new());
	struct store *s = must_open(root);
	struct mbox *m = must_mbox(s, "INBOX");
	unsigned wrong = 0, most = 0, asked = 0;
	uint32_t next = 1;

	append_many(m, MANY);
	struct mbox_view *v = mbox_view_new(m);
	for (uint32_t seq = 1; seq <= MANY; seq++)
		(void)truth(v, seq, found[seq]);
	for (; next <= MANY; asked++) {
		const unsigned kind = rnd(MBOX_SEARCH_KINDS), i = rnd(NEEDLES);
		const struct str needle = str_c(needles[i]);
		struct arena *a = arena_new(0);
		struct mbox_candidates *const c = mbox_search_ask_begin(v, kind, &needle, 1, a);
		bool more = true;

		while (more) {
			for (unsigned k = 0; k < EACH && next <= MANY; k++) {
				const unsigned n = learn_one(v, next++);
				most = n > most ? n : most;
			}
			if (rnd(60) == 0) {
				mbox_search_flush(m);
				search_close(&m->search);	/* as where another process has replaced it */
			}
			more = c && mbox_search_ask_step(v, c);
		}
		for (uint32_t seq = 1; seq <= MANY; seq++)
			wrong += c && found[seq][kind][i] && !mbox_search_may(c, v, seq);
		arena_free(&a);
	}
	tap_is_int(wrong, 0, "what is asked in pieces while the index changes misses nothing (%u questions)", asked);
	while (!mbox_search_load(v))
		;
	tap_ok(most <= 2 && m->search.n_blocks > 0, "one thing is written for a signature, and a message has two: %u", most);
	mbox_view_free(&v);
	mbox_close(&m);
	store_close(&s);
	free(root);
}

static void expunge_some(struct mbox_view *v)
{
	uint32_t seqs[64];
	size_t n = 0;
	struct err e = { 0 };

	for (uint32_t seq = 1; seq <= mbox_view_count(v) && n < ARRAY_LEN(seqs); seq += 1 + rnd(20))
		seqs[n++] = seq;
	tap_ok(mbox_expunge(v, seqs, n, &e) == 0 && mbox_view_sync(v, true, NULL, NULL, &e) == 0, "expunge: %s", e.text);
}

static void whole_life(void)
{
	char *const root = xstrdup(scratch_new());
	struct store *s = must_open(root);
	struct mbox *m = must_mbox(s, "INBOX");
	unsigned vain;

	append_many(m, 300);
	struct mbox_view *v = mbox_view_new(m);
	tap_ok(all_sound(v, &vain), "nothing is known: all are candidates");
	learn_all(v);
	tap_ok(all_sound(v, &vain), "300 messages in the log: no hit is missed");
	append_many(m, 80);
	struct err e = { 0 };
	tap_ok(mbox_view_sync(v, true, NULL, NULL, &e) == 0 && all_sound(v, &vain), "new ones, learned or not, are no less sound");
	tap_ok(mbox_search_knows(v, 301, MBOX_SEARCH_TEXT) && !mbox_search_knows(v, 380, MBOX_SEARCH_TEXT), "some are learned when they arrive");
	expunge_some(v);
	tap_ok(all_sound(v, &vain), "after expunges");
	append_many(m, 4000);
	tap_ok(mbox_view_sync(v, true, NULL, NULL, &e) == 0, "sync");
	learn_all(v);
	tap_ok(m->search.n_blocks > 0, "blocks were sealed (%zu)", m->search.n_blocks);
	tap_ok(all_sound(v, &vain), "4,000 messages in blocks and log: no hit is missed");
	/* "O" alone is no needle: all are candidates, twice; the rest must be few. */
	const unsigned short_needle = vain;
	tap_ok(short_needle < 3 * mbox_view_count(v), "few candidates in vain: %u of %u", short_needle, 22 * mbox_view_count(v));
	mbox_view_free(&v);
	mbox_close(&m);
	m = must_mbox(s, "INBOX");
	v = mbox_view_new(m);
	while (!mbox_search_load(v))
		;
	bool known = true;
	for (uint32_t seq = 1; seq <= mbox_view_count(v); seq++)
		known &= mbox_search_knows(v, seq, MBOX_SEARCH_TEXT) && mbox_search_knows(v, seq, MBOX_SEARCH_HEAD);
	tap_ok(known, "all is known when the folder is opened again");
	tap_ok(all_sound(v, &vain), "and right");
	mbox_view_free(&v);
	mbox_close(&m);
	store_close(&s);
	free(root);
}

/* Most messages go: their blocks, too, at the next loading, and what is left is right and known. */
static void compacted(void)
{
	char *const root = xstrdup(scratch_new());
	struct store *s = must_open(root);
	struct mbox *m = must_mbox(s, "INBOX");
	struct err e = { 0 };
	struct stat before, after;
	unsigned vain;

	append_many(m, 9000);
	struct mbox_view *v = mbox_view_new(m), *v2;
	learn_all(v);
	struct store *s2 = must_open(root);
	struct mbox *m2 = must_mbox(s2, "INBOX");
	v2 = mbox_view_new(m2);
	tap_ok(all_sound(v2, &vain), "another process has it open");
	uint32_t *const seqs = xzalloc(9000 * sizeof(*seqs));
	size_t n = 0;
	for (uint32_t seq = 1; seq <= 9000; seq++)
		if (seq <= 8000 || seq % 7 == 0)
			seqs[n++] = seq;
	tap_ok(mbox_expunge(v, seqs, n, &e) == 0 && mbox_view_sync(v, true, NULL, NULL, &e) == 0, "most messages go: %s", e.text);
	free(seqs);
	tap_ok(stat(scratch_path(root, SEARCH_NAME), &before) == 0, "blocks are there");
	mbox_view_free(&v);
	mbox_close(&m);
	m = must_mbox(s, "INBOX");
	v = mbox_view_new(m);
	tap_ok(all_sound(v, &vain), "no hit is missed by the one who wrote the new file");
	tap_ok(stat(scratch_path(root, SEARCH_NAME), &after) == 0 && after.st_ino != before.st_ino && after.st_size < before.st_size / 2, "it is smaller: %lld, was %lld",
	       (long long)after.st_size, (long long)before.st_size);
	refresh_sync(m2, v2);
	tap_ok(all_sound(v2, &vain), "nor by the other");
	learn_all(v);
	learn_all(v2);
	tap_ok(all_sound(v, &vain) && all_sound(v2, &vain), "what had gone with the dead is learned again");
	mbox_view_free(&v);
	mbox_view_free(&v2);
	mbox_close(&m);
	mbox_close(&m2);
	store_close(&s);
	store_close(&s2);
	free(root);
}

static void ignore(void *ctx, const char *line)
{
	(void)ctx;
	(void)line;
}

/* Each damage: the answers stay sound, and what was lost is learned again. */
static void damaged(void)
{
	static const char *const files[] = { SEARCH_NAME, SEARCHLOG_NAME };
	char *const root = xstrdup(scratch_new());
	struct store *s = must_open(root);
	struct mbox *m = must_mbox(s, "INBOX");
	struct mbox_view *v;
	unsigned vain, wrong = 0, unseen = 0;
	struct stat st;

	append_many(m, 1100);
	v = mbox_view_new(m);
	learn_all(v);
	mbox_view_free(&v);
	mbox_close(&m);
	for (int round = 0; round < 24; round++) {
		const char *const path = scratch_path(root, files[round % 2]);
		const int fd = open(path, O_RDWR);
		tap_ok(fd >= 0 && fstat(fd, &st) == 0 && st.st_size > 0, "round %d: the file is there", round);
		const off_t at = (off_t)(rnd(rnd(2) ? UINT32_MAX : 200) % (uint32_t)st.st_size);
		char junk[3];
		tap_ok(pread(fd, junk, sizeof(junk), at) > 0, "read");
		for (size_t k = 0; k < sizeof(junk); k++)
			junk[k] = (char)(junk[k] ^ (char)(1 + rnd(255)));
		const int how = round / 2 % 3;
		if (how == 0 ? pwrite(fd, junk, sizeof(junk), at) < 0 : how == 1 ? ftruncate(fd, at) < 0 : unlink(path) < 0)
			tap_ok(false, "damage");
		close(fd);
		struct err e = { 0 };
		size_t problems = 0;
		if (how == 0 && (mbox_verify(s, STR("INBOX"), ignore, NULL, &problems, &e) < 0 || problems == 0))
			unseen++;
		m = must_mbox(s, "INBOX");
		v = mbox_view_new(m);
		wrong += !all_sound(v, &vain);
		learn_all(v);
		wrong += !all_sound(v, &vain);
		/* Cut short while it is mapped. */
		if (round == 20 && truncate(path, 100) == 0)
			wrong += !all_sound(v, &vain);
		mbox_view_free(&v);
		mbox_close(&m);
	}
	tap_is_int(unseen, 0, "changed bytes are found by a check");
	tap_is_int(wrong, 0, "no damage makes an answer miss a message");
	store_close(&s);
	free(root);
}

static void two_processes(void)
{
	char *const root = xstrdup(scratch_new());
	struct store *s1 = must_open(root), *s2 = must_open(root);
	struct mbox *m1 = must_mbox(s1, "INBOX");
	unsigned vain;

	append_many(m1, 1500);
	struct mbox *m2 = must_mbox(s2, "INBOX");
	struct mbox_view *v1 = mbox_view_new(m1), *v2 = mbox_view_new(m2);
	struct err e = { 0 };
	struct msgfile f;
	for (uint32_t seq = 1; seq <= 1500; seq++) {
		struct mbox_view *const v = rnd(2) ? v1 : v2;
		if (msgfile_open(&f, v, seq, false, &e) == 0) {
			mbox_search_learn(v, seq, &f);
			msgfile_close(&f);
		}
		if (rnd(100) == 0)
			mbox_search_flush(v->m);
	}
	mbox_search_flush(m1);
	mbox_search_flush(m2);
	tap_ok(all_sound(v1, &vain) && all_sound(v2, &vain), "two processes learn at once");
	size_t known = 0;
	while (!mbox_search_load(v1))
		;
	for (uint32_t seq = 1; seq <= 1500; seq++)
		known += mbox_search_knows(v1, seq, MBOX_SEARCH_TEXT);
	tap_is_int((long long)known, 1500, "each knows what the other learned");
	mbox_view_free(&v1);
	mbox_view_free(&v2);
	mbox_close(&m1);
	mbox_close(&m2);
	store_close(&s1);
	store_close(&s2);
	free(root);
}

int main(void)
{
	signatures();
	many_texts();
	columns();
	whole_life();
	in_pieces();
	compacted();
	damaged();
	two_processes();
	return tap_done();
}
