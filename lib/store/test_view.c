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

int main(void)
{
	test_journal();
	test_tidying();
	for (unsigned i = 0; i < 5; i++)
		test_numbers();
	scratch_remove();
	return tap_done();
}
