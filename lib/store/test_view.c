/* A view's numbers, beside the plainest model of them: messages come and go in any order, and are told of now or later. And what is tidied up in pieces. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "store/store_priv.h"
#include "store/test_store.h"
#include "test/tap.h"

enum { FIRST = 200, ROUNDS = 60, UIDS_MAX = FIRST + ROUNDS * 8 };

/* UIDs in the order of their numbers. */
struct model {
	uint32_t uid[UIDS_MAX];
	uint32_t n;
};

static void on_change(void *ctx, enum mbox_change what, uint32_t seq, uint32_t uid)
{
	struct model *const d = ctx;

	if (what != MBOX_CH_EXPUNGE || seq == 0 || seq > d->n || d->uid[seq - 1] != uid)
		return;
	memmove(d->uid + seq - 1, d->uid + seq, (d->n - seq) * sizeof(*d->uid));
	d->n--;
}

static bool same(struct mbox_view *v, const struct model *d)
{
	bool right = mbox_view_count(v) == d->n;

	for (uint32_t seq = 1; right && seq <= d->n; seq++) {
		const uint32_t uid = d->uid[seq - 1];

		right = mbox_view_uid(v, seq) == uid && mbox_view_seq(v, uid) == seq && mbox_view_seq_from(v, uid) == seq &&
			mbox_view_seq_at(v, mbox_view_place(v, seq)) == seq;
	}
	return right;
}

/* Many at once say what one by one says, from any number on, and beyond the last place. */
static bool same_at_once(const struct mbox_view *v)
{
	const uint32_t n = mbox_view_count(v), places = mbox_view_places(v) + (uint32_t)(random_u64() % 3), seq = 1 + (uint32_t)(random_u64() % (n + 1));
	uint32_t *const some = xmalloc((n + 1) * sizeof(*some)), *const seqs = xmalloc((places + 1) * sizeof(*seqs));
	bool right = true;

	if (seq <= n)
		mbox_view_places_get(v, seq, n + 1 - seq, some);
	for (uint32_t i = seq; i <= n; i++)
		right &= some[i - seq] == mbox_view_place(v, i);
	mbox_view_seqs_get(v, places, seqs);
	for (uint32_t place = 0; place < places; place++)
		right &= seqs[place] == mbox_view_seq_at(v, place);
	free(some);
	free(seqs);
	return right;
}

/* Any messages that the view numbers, in one call. */
static void expunge_some(struct mbox_view *v, unsigned most)
{
	uint32_t seqs[UIDS_MAX];
	struct err e = { 0 };
	size_t n = 0;

	for (uint32_t seq = 1; seq <= mbox_view_count(v) && n < most; seq++)
		if (!mbox_view_is_expunged(v, seq) && random_u64() % 8 == 0)
			seqs[n++] = seq;
	if (n > 0 && mbox_expunge(v, seqs, n, &e) < 0)
		tap_ok(false, "expunge: %s", e.text);
}

static void append_some(struct mbox *m, struct model *come, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		come->uid[come->n++] = append_one(m, 0, NULL, "Subject: x\r\n\r\nx\r\n");
}

/* by: makes the changes, and is told after each round; late is told of expunges now and then. */
static void test_numbers(void)
{
	struct store *s = must_open(scratch_new());
	struct mbox *m = must_mbox(s, "INBOX");
	static struct model by_model, late_model, come;
	struct err e = { 0 };
	unsigned wrong = 0;

	by_model.n = 0;
	append_some(m, &by_model, FIRST);
	late_model = by_model;
	struct mbox_view *by = mbox_view_new(m), *late = mbox_view_new(m);
	for (unsigned round = 0; round < ROUNDS; round++) {
		const bool tell = random_u64() % 3 == 0;

		come.n = 0;
		append_some(m, &come, (unsigned)(random_u64() % 8));
		expunge_some(by, 1 + (unsigned)(random_u64() % 30));
		if (mbox_view_sync(by, true, on_change, &by_model, &e) < 0 || mbox_view_sync(late, tell, on_change, &late_model, &e) < 0)
			tap_ok(false, "sync: %s", e.text);
		memcpy(by_model.uid + by_model.n, come.uid, come.n * sizeof(*come.uid));
		by_model.n += come.n;
		memcpy(late_model.uid + late_model.n, come.uid, come.n * sizeof(*come.uid));
		late_model.n += come.n;
		wrong += !same(by, &by_model) || !same(late, &late_model) || !same_at_once(by) || !same_at_once(late);
		struct mbox_view *fresh = mbox_view_peek(m);
		wrong += !same(fresh, &by_model);
		mbox_view_free(&fresh);
		if (round % 4 == 0) {	/* what it knows of messages that have gone serves the next one */
			mbox_view_free(&by);
			by = mbox_view_new(m);
		}
	}
	tap_is_int(wrong, 0, "numbers are the model's after each of %d rounds", ROUNDS);
	tap_ok(mbox_view_sync(late, true, on_change, &late_model, &e) == 0 && same(late, &late_model) && late_model.n == by_model.n &&
	       memcmp(late_model.uid, by_model.uid, by_model.n * sizeof(*by_model.uid)) == 0, "and in the end those of the other view (%u)", by_model.n);
	mbox_view_free(&by);
	mbox_view_free(&late);
	mbox_close(&m);
	store_close(&s);
}

/* One piece of tidying up. True: there may be more. */
static bool tidy(struct mbox *m)
{
	struct err e = { 0 };
	bool more = false;

	return mbox_flush(m, 20, &more, &e) == 0 && more;
}

static void flag(struct mbox_view *v, uint32_t first, uint32_t last, enum mbox_flag_op op)
{
	struct err e = { 0 };
	uint32_t failed;
	size_t n;

	for (uint32_t seq = first; seq <= last; seq++)
		if (mbox_store_flags(v, &seq, 1, op, MBOX_FLAGGED, NULL, 0, 0, &failed, &n, &e) < 0)
			tap_ok(false, "flag: %s", e.text);
}

/* A piece goes on where the last one ended, but misses nothing that changes behind it. */
static void test_tidying(void)
{
	static struct model d;
	const char *const root = scratch_new();
	struct store *s = must_open(root);
	struct mbox *m = must_mbox(s, "INBOX");
	struct err e = { 0 };
	uint32_t seqs[150];

	append_some(m, &d, 300);
	struct mbox_view *v = mbox_view_new(m), *late = mbox_view_new(m);
	flag(v, 1, 200, MBOX_ADD);
	tap_ok(tidy(m) && tidy(m), "two pieces of names");
	tap_is_int(m->st.unflushed, 160, "so many are left");
	flag(v, 1, 10, MBOX_REMOVE);	/* one for each that is done: as many are left as the walk knows of, */
	flag(v, 150, 159, MBOX_REMOVE);	/* but others */
	tap_is_int(m->st.unflushed, 160, "others have changed");
	while (tidy(m))
		;
	tap_is_int(m->st.unflushed, 0, "all names are right in the end");
	for (uint32_t i = 0; i < 150; i++)
		seqs[i] = 2 * i + 1;
	tap_ok(mbox_expunge(v, seqs, 150, &e) == 0 && mbox_view_sync(v, true, NULL, NULL, &e) == 0, "every second one goes");
	while (tidy(m))
		;
	tap_is_int((long long)count_files(root, "cur"), 300, "its file stays while a view has not been told");
	tap_ok(mbox_view_sync(late, true, NULL, NULL, &e) == 0 && tidy(m) && count_files(root, "cur") == 280, "then twenty go at a time");
	seqs[0] = mbox_view_count(v);
	tap_ok(mbox_expunge(v, seqs, 1, &e) == 0 && mbox_view_sync(v, true, NULL, NULL, &e) == 0 && mbox_view_sync(late, true, NULL, NULL, &e) == 0, "another one");
	while (tidy(m))
		;
	tap_is_int((long long)count_files(root, "cur"), 149, "none is left");
	mbox_view_free(&v);
	mbox_view_free(&late);
	mbox_close(&m);
	store_close(&s);
}

/* All messages are expunged, and their files still there: the journal has them, too, and is no longer than a new one would be. */
static void test_journal(void)
{
	enum { MANY = 6000 };
	struct store *s = must_open(scratch_new());
	struct mbox *m = must_mbox(s, "INBOX");
	struct err e = { 0 };
	uint32_t *const seqs = xmalloc(MANY * sizeof(*seqs));
	unsigned anew = 0;

	for (uint32_t i = 0; i < MANY; i++) {
		(void)append_one(m, 0, NULL, "Subject: x\r\n\r\nx\r\n");
		seqs[i] = i + 1;
	}
	struct mbox_view *v = mbox_view_new(m);
	tap_ok(mbox_expunge(v, seqs, MANY, &e) == 0 && mbox_view_sync(v, true, NULL, NULL, &e) == 0, "all go");
	for (unsigned i = 0; i < 50; i++) {
		const uint64_t was = m->j.generation;

		(void)tidy(m);
		anew += m->j.generation != was;
	}
	tap_ok(m->st.zombies == MANY - 50 * 20 && anew <= 1, "50 pieces of tidying up: a new journal %u times", anew);
	free(seqs);
	mbox_view_free(&v);
	mbox_close(&m);
	store_close(&s);
}

/* --- telling in pieces --- */

enum { MANY = 2000, PIECE = 100, TIMES = 17 };	/* changes: more than the folder's list takes */

struct heard {
	struct mbox_view *v;
	unsigned flags, gone, exists, now;	/* now: in this piece */
	uint32_t last;
	bool wrong;
};

static void hear(void *ctx, enum mbox_change what, uint32_t seq, uint32_t uid)
{
	struct heard *const h = ctx;

	h->now++;
	h->flags += what == MBOX_CH_FLAGS;
	h->gone += what == MBOX_CH_EXPUNGE;
	h->exists += what == MBOX_CH_EXISTS;
	if (what == MBOX_CH_FLAGS)
		h->wrong |= seq <= h->last || mbox_view_uid(h->v, seq) != uid;
	if (what == MBOX_CH_EXPUNGE)
		h->wrong |= h->last && seq >= h->last;
	if (what != MBOX_CH_EXISTS)
		h->last = seq;
}

/* To the end. Returns how many pieces it took. */
static unsigned hear_all(struct heard *h, bool expunge)
{
	struct err e = { 0 };
	unsigned n = 0;
	int r = 1;

	h->last = 0;
	for (; r > 0; n++) {
		h->now = 0;
		r = mbox_view_sync_step(h->v, expunge, PIECE, hear, h, &e);
		h->wrong |= h->now > PIECE + 1;		/* and one EXISTS */
	}
	return r == 0 ? n : 0;
}

static void flag_all(struct mbox_view *v, const uint32_t *seqs, size_t n, enum mbox_flag_op op)
{
	struct err e = { 0 };
	size_t n_failed;

	if (mbox_store_flags(v, seqs, n, op, MBOX_FLAGGED, NULL, 0, 0, NULL, &n_failed, &e) < 0)
		tap_ok(false, "flags: %s", e.text);
}

/* Each change is told once, however often it was made, some at a time; what happens between two pieces is told with the rest. */
static void test_pieces(void)
{
	struct store *s = must_open(scratch_new());
	struct mbox *m = must_mbox(s, "INBOX");
	uint32_t *const seqs = xmalloc(MANY * sizeof(*seqs));
	struct err e = { 0 };
	size_t most = 0;

	for (uint32_t i = 0; i < MANY; i++) {
		(void)append_one(m, 0, NULL, "Subject: x\r\n\r\nx\r\n");
		seqs[i] = i + 1;
	}
	struct mbox_view *by = mbox_view_new(m), *told = mbox_view_new(m);
	struct heard h = { .v = told };
	for (unsigned i = 0; i < TIMES; i++) {
		flag_all(by, seqs, MANY, i % 2 ? MBOX_REMOVE : MBOX_ADD);
		most = m->n_changes > most ? m->n_changes : most;
	}
	tap_ok((size_t)MANY * TIMES > CHANGES_MAX && most <= CHANGES_MAX, "however much is changed, the list of changes has an end: %zu of %d", most, MANY * TIMES);
	tap_ok(mbox_view_sync_step(told, true, PIECE, hear, &h, &e) == 1 && h.flags == PIECE && mbox_view_stamp(told) == 0, "a piece is told, and more is left");
	flag_all(by, seqs, 1, MBOX_REMOVE);	/* the first, which was told of */
	flag_all(by, seqs + MANY - 1, 1, MBOX_REMOVE);
	tap_is_int(hear_all(&h, true), MANY / PIECE, "the rest, and what has changed behind it, in pieces");
	tap_ok(h.flags == MANY + 1 && !h.wrong && mbox_view_stamp(told) != 0, "each flag once, in order: %u", h.flags);

	h = (struct heard){ .v = told };
	tap_ok(mbox_expunge(by, seqs, MANY / 2, &e) == 0, "half of them go: %s", e.text);
	(void)append_one(m, 0, NULL, "Subject: new\r\n\r\nx\r\n");
	flag_all(by, seqs + MANY / 2, MANY / 2, MBOX_REMOVE);	/* the last has none */
	tap_ok(hear_all(&h, false) == MANY / 2 / PIECE && h.gone == 0 && h.exists == 1 && h.flags == MANY / 2 - 1 && !h.wrong, "while numbers are in use none goes");
	tap_ok(mbox_view_sync_step(told, true, PIECE, hear, &h, &e) == 1 && h.gone == PIECE && mbox_view_count(told) == MANY + 1 - PIECE, "then they go in pieces");
	tap_ok(mbox_view_uid(told, MANY / 2 - PIECE + 1) == mbox_view_uid(by, MANY / 2 + 1) && mbox_view_uid(told, MANY / 2 - PIECE) == mbox_view_uid(by, MANY / 2 - PIECE),
	       "between two of them the numbers are what was told");
	tap_ok(hear_all(&h, true) == MANY / 2 / PIECE - 1 && h.gone == MANY / 2 && !h.wrong && mbox_view_count(told) == MANY / 2 + 1, "all of them, highest first: %u", h.gone);
	free(seqs);
	mbox_view_free(&by);
	mbox_view_free(&told);
	mbox_close(&m);
	store_close(&s);
}

/* Against the plainest set there is. */
static void test_marks(void)
{
	enum { PLACES = 700 };
	bool there[PLACES + 1] = { false };
	struct marks s = { 0 };
	unsigned wrong = 0;

	for (unsigned round = 0; round < 4000; round++) {
		const uint32_t at = (uint32_t)(random_u64() % PLACES), put = (uint32_t)(random_u64() % PLACES);
		uint32_t next = at, last = at, n = 0, got = PLACES;

		marks_put(&s, put);
		there[put] = true;
		while (next < PLACES && !there[next])
			next++;
		wrong += marks_next(&s, at, &got) != (next < PLACES) || (next < PLACES && got != next);
		while (last > 0 && !there[last - 1])
			last--;
		wrong += marks_last(&s, at, &got) != (last > 0) || (last > 0 && got != last - 1);
		if (next < PLACES && round % 3) {
			marks_take(&s, next);
			there[next] = false;
		}
		if (round % 500 == 0) {
			marks_cut(&s, at);
			memset(there + at, 0, (PLACES - at) * sizeof(*there));
		}
		for (uint32_t i = 0; i < PLACES; i++)
			n += there[i];
		wrong += s.n != n || (n == 0) != (s.v == NULL);
	}
	tap_is_int(wrong, 0, "marks are those of the plain set");
	marks_fini(&s);
}

int main(void)
{
	test_marks();
	test_pieces();
	test_journal();
	test_tidying();
	for (unsigned i = 0; i < 5; i++)
		test_numbers();
	scratch_remove();
	return tap_done();
}
