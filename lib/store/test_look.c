/* A look at a large folder that another program has changed, in pieces: what is found is what is there, whatever changes meanwhile and whoever asks. */
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/ahead.h"
#include "store/sync_priv.h"
#include "store/test_store.h"
#include "test/tap.h"

enum { LARGE = 10100, SMALL = 500, STEPS = 32 };	/* STEPS: no look has more, and some places are enough */

static const char *make(unsigned files)
{
	const char *const root = scratch_new();
	static const char *const subs[] = { "cur", "new", "tmp" };
	char rel[100];

	for (size_t i = 0; i < ARRAY_LEN(subs); i++)
		(void)mkdir(scratch_path(root, subs[i]), 0700);
	for (unsigned i = 0; i < files; i++) {
		snprintf(rel, sizeof(rel), "cur/%u.M%uP1.host,S=%u,W=%u:2,", 1600000000 + i, i, 1000 + i, 1001 + i);
		put_file(root, rel, "");
	}
	return root;
}

/* Another program reads the k-th message, takes one away, brings one; and sometimes one that is new. */
static void change(const char *root, unsigned k)
{
	char from[200], to[200], rel[100];

	snprintf(from, sizeof(from), "%s/cur/%u.M%uP1.host,S=%u,W=%u:2,", root, 1600000000 + 3 * k, 3 * k, 1000 + 3 * k, 1001 + 3 * k);
	snprintf(to, sizeof(to), "%sS", from);
	(void)rename(from, to);
	snprintf(from, sizeof(from), "%s/cur/%u.M%uP1.host,S=%u,W=%u:2,", root, 1600000001 + 3 * k, 3 * k + 1, 1001 + 3 * k, 1002 + 3 * k);
	(void)unlink(from);
	snprintf(rel, sizeof(rel), "cur/%u.M1P1.brought:2,F", 1610000000 + k);
	put_file(root, rel, "one\n");
	snprintf(rel, sizeof(rel), "new/%u.M1P1.new", 1620000000 + k);
	if (k % 2)
		put_file(root, rel, "two\n");
}

/* Each message has its file, each file its message, and the flags are those of the names. */
static bool right(struct mbox *m, const char *root)
{
	char name[FILE_NAME_MAX + 1];
	uint32_t n = 0;

	for (uint32_t pos = 0; pos < state_count(&m->st); pos++) {
		const struct rec *const r = state_rec(&m->st, pos);
		if (r->state & REC_GONE)
			continue;
		n++;
		if (disk_name(name, state_name(&m->st, r), r->disk, state_info(&m->st, r)) < 0 || faccessat(m->curfd, name, F_OK, 0) < 0) {
			tap_diag("no file %s", name);
			return false;
		}
		if (flags_of_disk(r->disk) != r->flags && !state_unflushed(r))
			return false;
	}
	if (n != count_files(root, "cur") || count_files(root, "new") > 0)
		tap_diag("%u messages, %zu files, %zu new", n, count_files(root, "cur"), count_files(root, "new"));
	return n == m->st.messages && n == count_files(root, "cur") && count_files(root, "new") == 0;
}

/* All messages of other are in m, and called there as in other. */
static bool keeps(const struct mbox *m, const struct mbox *other)
{
	for (uint32_t pos = 0; pos < state_count(&other->st); pos++) {
		const struct rec *const r = state_rec(&other->st, pos), *const mine = state_find(&m->st, r->uid);
		if (!(r->state & REC_GONE) && (!mine || !str_eq(state_name(&m->st, mine), state_name(&other->st, r)))) {
			tap_diag("UID %u has gone", r->uid);
			return false;
		}
	}
	return true;
}

static int finish(struct mbox *m, unsigned *n_out, struct err *e)
{
	int r;

	for (*n_out = 0; (r = mbox_refresh_step(m, e)) > 0; ++*n_out)
		;
	return r;
}

enum meanwhile { NOTHING, FOREIGN, OWN_FLAGS, OWN_NAMES, OTHER_PROCESS, AT_ONCE, WAYS };
static const char *const ways[] = { "nothing", "further changes", "flags of our own", "names of files of our own", "another process", "a refresh at once" };

static void happen(enum meanwhile what, const char *root, struct mbox *m, struct mbox *other, unsigned k, struct err *e)
{
	struct mbox_view *v;
	uint32_t seq = 50 + k, failed[1];
	size_t n_failed = 0;
	bool more;

	switch (what) {
	case FOREIGN:
		change(root, 1000 + k);
		break;
	case OWN_FLAGS:
	case OWN_NAMES:
		v = mbox_view_peek(m);
		(void)!mbox_store_flags(v, &seq, 1, MBOX_ADD, MBOX_FLAGGED, NULL, 0, 0, failed, &n_failed, e);
		mbox_view_free(&v);
		if (what == OWN_NAMES)
			(void)!mbox_flush(m, 100, &more, e);
		break;
	case OTHER_PROCESS:
		(void)!mbox_refresh(other, e);
		break;
	case AT_ONCE:
		(void)!mbox_refresh(m, e);
		break;
	default:
		break;
	}
}

static void test_meanwhile(const char *root, enum meanwhile what, unsigned *k)
{
	struct store *s = must_open(root), *s2 = must_open(root);
	store_crew_size(s, what % 3 + 1);
	struct mbox *m = must_mbox(s, "INBOX"), *other = must_mbox(s2, "INBOX");
	struct err e = { 0 };
	bool good = true;
	unsigned most = 0, left = 0;

	for (unsigned stop = 0; stop <= STEPS; stop++) {
		change(root, ++*k);
		unsigned n = 0;
		int r = 1;
		while (n < stop && (r = mbox_refresh_step(m, &e)) > 0)
			n++;
		happen(what, root, m, other, *k, &e);
		good &= r >= 0 && finish(m, &left, &e) == 0 && right(m, root) && (what != OTHER_PROCESS || keeps(m, other));
		most = n + left > most ? n + left : most;
	}
	tap_ok(good, "%s meanwhile: %s", ways[what], e.text);
	if (what == NOTHING)
		tap_ok(most > 3 && most <= STEPS, "a large folder is looked at in %u pieces", most);
	change(root, ++*k);	/* given up in the midst */
	(void)!mbox_refresh_step(m, &e);
	mbox_close(&m);
	good = mbox_refresh(other, &e) == 0 && right(other, root);
	tap_ok(good, "the next one finds all when a look was given up");
	mbox_close(&other);
	store_close(&s);
	store_close(&s2);
}

/* Another program brings, renames and removes files for as long as anybody looks: what is there is found, what has gone is found when it rests, and nobody lists cur at once. */
static void test_restless(void)
{
	enum { MAX = 200 };
	const char *const root = make(LARGE);
	struct store *s = must_open(root);
	struct mbox *m = must_mbox(s, "INBOX");
	struct err e = { 0 };
	unsigned n = 0, left;
	int r;

	do
		change(root, 2 * ++n);
	while ((r = mbox_refresh_step(m, &e)) > 0 && n < MAX);
	const struct rec *const gone = state_find(&m->st, 8), *const brought = state_find(&m->st, LARGE + 1), *const named = state_find(&m->st, 7);
	tap_ok(r == 0 && mbox_unsure(m), "%u changes, one at each step: %s", n, e.text);
	tap_ok(brought && named && named->flags == MBOX_SEEN && gone && m->st.messages > LARGE, "what came is there, what was renamed, too");
	tap_ok(mbox_refresh(m, &e) == 0 && mbox_unsure(m) && state_find(&m->st, 8), "who asks at once is not kept waiting");
	while (mbox_unsure(m) && finish(m, &left, &e) == 0)
		;
	tap_ok(right(m, root) && !mbox_unsure(m), "when nothing changes any more all is found: %s", e.text);
	for (uint32_t uid = LARGE + 1, k = 1; k <= n; k++, uid++)
		r |= state_find(&m->st, uid) == NULL;
	tap_ok(r == 0 && m->st.uidnext == LARGE + n + 1, "each new file has one UID");
	do
		change(root, 2 * ++n);
	while (mbox_refresh_step(m, &e) > 0 && n < MAX);
	struct store *s2 = must_open(root);
	struct mbox *other = must_mbox(s2, "INBOX");
	tap_ok(mbox_unsure(m) && right(other, root) && finish(m, &left, &e) == 0 && left == 0 && !mbox_unsure(m) && right(m, root), "or what another process found: %s", e.text);
	mbox_close(&other);
	store_close(&s2);
	mbox_close(&m);
	store_close(&s);
}

/* Gives the message a flag, and its file the letter. */
static void flag(struct mbox *m, uint32_t uid, struct err *e)
{
	struct mbox_view *v = mbox_view_peek(m);
	uint32_t seq = 1;
	bool more = true;

	while (seq < mbox_view_count(v) && mbox_view_uid(v, seq) < uid)
		seq++;
	tap_ok(mbox_view_uid(v, seq) == uid && mbox_store_flags(v, &seq, 1, MBOX_ADD, MBOX_FLAGGED, NULL, 0, 0, NULL, NULL, e) == 0, "UID %u is flagged", uid);
	while (more && mbox_flush(m, 100, &more, e) == 0)
		;
	mbox_view_free(&v);
}

/* The same while flags are changed by us, or by another process: what had been listed before is not what is there. */
static void test_restless_flags(bool ours)
{
	const char *const root = make(LARGE);
	struct store *s = must_open(root), *s2 = must_open(root);
	struct mbox *m = must_mbox(s, "INBOX"), *other = must_mbox(s2, "INBOX");
	struct err e = { 0 };
	unsigned n = 0, left, lost = 0;

	for (unsigned stop = 1; stop < STEPS; stop++) {
		const uint32_t uid = 3 * (1000 + stop);
		unsigned steps = 0;
		do {
			change(root, ++n);
			if (++steps == stop)
				flag(ours ? m : other, uid, &e);
		} while (mbox_refresh_step(m, &e) > 0);
		const struct rec *const r = state_find(&m->st, uid);
		lost += steps >= stop && (!r || (r->state & REC_GONE) || !(r->flags & MBOX_FLAGGED));
		while (mbox_unsure(m) && finish(m, &left, &e) == 0)
			;
		if (steps < stop)
			break;
	}
	tap_ok(lost == 0, "flags that %s set meanwhile are kept: %u lost", ours ? "we" : "another process", lost);
	tap_ok(right(m, root), "and the files are called so");
	mbox_close(&other);
	store_close(&s2);
	mbox_close(&m);
	store_close(&s);
}

/* What another process finds of a change and writes down after the look has begun and cur has got its time: as if it had listed cur before. */
enum late { NUMBERED, NAMED, LATE_WAYS };
static const char *const late_ways[] = { "numbered files", "named one, and somebody took that back" };

static void happen_late(enum late what, const char *root, struct mbox *other, struct err *e)
{
	const char *const name = "cur/1600000000.M0P1.host,S=1000,W=1001:2,";
	char was[200], is[200];
	bool more;

	if (what == NUMBERED) {
		(void)!mbox_refresh(other, e);
		return;
	}
	struct mbox_view *v = mbox_view_peek(other);
	const uint32_t first = 1;
	(void)!mbox_store_flags(v, &first, 1, MBOX_ADD, MBOX_FLAGGED, NULL, 0, 0, NULL, NULL, e);
	(void)!mbox_flush(other, 100, &more, e);
	mbox_view_free(&v);
	snprintf(was, sizeof(was), "%s/%s", root, name);
	snprintf(is, sizeof(is), "%sF", was);
	tap_ok(rename(is, was) == 0, "the file had been given its letter");
}

static void test_late(enum late what)
{
	const char *const root = make(LARGE);
	struct store *s = must_open(root), *s2 = must_open(root);
	struct mbox *m = must_mbox(s, "INBOX"), *other = must_mbox(s2, "INBOX");
	struct err e = { 0 };
	struct stat st;

	put_file(root, "cur/1610000000.M1P1.brought:2,F", "one\n");
	while (sync_look_step(m))
		;
	tap_ok(m->look && fstat(m->curfd, &st) == 0, "a look is over");
	happen_late(what, root, other, &e);
	tap_ok(futimens(m->curfd, (struct timespec[2]){ st.st_atim, st.st_mtim }) == 0 && sync_look_holds(m), "and holds");
	tap_ok(mbox_refresh(m, &e) == 0 && right(m, root) && (what == NAMED || keeps(m, other)), "when another process has %s: %s", late_ways[what], e.text);
	mbox_close(&m);
	mbox_close(&other);
	store_close(&s);
	store_close(&s2);
}

/* What is left for the one piece under the lock: the files that are not called as is known, however many others there are. */
static void test_match(void)
{
	enum { CHANGES = 5 };
	const char *const root = make(LARGE);
	struct store *s = must_open(root);
	struct mbox *m = must_mbox(s, "INBOX");
	struct listing l = { 0 };
	struct sync_match k = { 0 };
	struct err e = { 0 };
	unsigned steps = 1, known = 0, fresh = 0, seen = 0;

	for (unsigned i = 0; i < CHANGES; i++)
		change(root, 2 * i);
	tap_ok(listing_read(&l, m->curfd, SIZE_MAX, NULL, &e) == 0 && l.n == LARGE, "one comes for each that goes: %s", e.text);
	listing_sort(&l);
	while (sync_match_step(&k, &m->st, &l))
		steps++;
	for (size_t i = 0; i < k.n_left; i++) {
		const uint32_t pos = k.where[i];
		fresh += pos == UINT32_MAX;
		known += pos != UINT32_MAX && str_eq(state_name(&m->st, state_rec(&m->st, pos)), entry_base(k.left[i]));
	}
	for (uint32_t pos = 0; pos < k.n; pos++)
		seen += k.seen[pos];
	tap_ok(k.n_left == 2 * CHANGES && known == CHANGES && fresh == CHANGES, "of which %u were renamed and %u brought are left, in %u steps", known, fresh, steps);
	tap_ok(seen == LARGE - 2 * CHANGES && k.n_missing == 2 * CHANGES && steps > 3, "the other %u are there, %u are to be looked for", seen, k.n_missing);
	sync_match_fini(&k);
	listing_fini(&l);
	mbox_close(&m);
	store_close(&s);
}

int main(void)
{
	struct err e = { 0 };
	const char *const large = make(LARGE);
	unsigned k = 0, n;

	for (enum meanwhile what = NOTHING; what < WAYS; what++)
		test_meanwhile(large, what, &k);
	const char *const small = make(SMALL);
	struct store *s = must_open(small);
	struct mbox *m = must_mbox(s, "INBOX");
	change(small, 1);
	tap_ok(finish(m, &n, &e) == 0 && n == 0 && right(m, small), "a small folder is refreshed at once");
	mbox_close(&m);
	store_close(&s);
	test_restless();
	test_restless_flags(true);
	test_restless_flags(false);
	for (enum late what = NUMBERED; what < LATE_WAYS; what++)
		test_late(what);
	test_match();
	return tap_done();
}
