/* A file that was numbered and stands in new again (a power cut took its way to cur back, or somebody moved it) keeps its UID, also where the clock was set back meanwhile. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "store/store_priv.h"
#include "store/test_store.h"
#include "test/tap.h"

enum { DAY = 86400, LATER = 50, ROUNDS = 2 };

/* A message that was numbered at that time. */
static void number(struct mbox *m, const char *root, const char *base, int64_t savedate)
{
	struct err e = { 0 };
	struct buf ops;
	char rel[100];

	snprintf(rel, sizeof(rel), "cur/%s:2,", base);
	put_file(root, rel, "x\n");
	buf_init(&ops, BATCH_MAX);
	if (mbox_lock(m, &e) < 0)
		exit(99);
	const struct assign a = { .uid = m->st.uidnext, .base = str_c(base), .internaldate = savedate, .savedate = savedate, .size = 2, .size_crlf = 3 };
	op_assign(&ops, &a);
	if (mbox_commit(m, &ops, DURABLE_NOW, &e) < 0)
		exit(99);
	mbox_unlock_folder(m);
	buf_fini(&ops);
}

/* As if cur had never had it: it has its time again. */
static void back_to_new(struct mbox *m, const char *root, const char *base)
{
	char from[200], to[200];
	struct stat st = { 0 };

	snprintf(from, sizeof(from), "%s/cur/%s:2,", root, base);
	snprintf(to, sizeof(to), "%s/new/%s", root, base);
	tap_ok(fstat(m->curfd, &st) == 0 && rename(from, to) == 0 && futimens(m->curfd, (struct timespec[2]){ st.st_atim, st.st_mtim }) == 0, "a file stands in new again");
}

static bool has_uid(struct mbox *m, uint32_t uid, const char *base)
{
	const struct rec *const r = state_find(&m->st, uid);

	return r && str_eq(state_name(&m->st, r), str_c(base));
}

/* named, and numbered so many seconds after that; then others, by a clock that is behind by so much; now is so many seconds after the name was made. */
static const struct {
	const char *name;
	int64_t numbered, others, now;
} cases[] = {
	{ "no clock was ever set", 1, 2, 1000 },
	{ "set back after it was numbered, and so it is now", 1, 2 - 2 * DAY, 1000 - 2 * DAY },
	{ "set back after it was numbered", 1, 2 - 2 * DAY, 3 * DAY },
	{ "set back before it was numbered", 1 - 2 * DAY, 2 - 2 * DAY, 3 * DAY },
	{ "set back before it was numbered, and so it is now", 1 - 2 * DAY, 2 - 2 * DAY, 1000 - 2 * DAY },
};

static void test_case(size_t i)
{
	const char *const root = scratch_new();
	struct store *s = must_open(root);
	struct mbox *m = must_mbox(s, "INBOX");
	struct err e = { 0 };
	const int64_t named = clock_wall() - cases[i].now;
	char base[100], other[100];

	tap_diag("%s", cases[i].name);
	snprintf(base, sizeof(base), "%lld.M1P1.host", (long long)named);
	number(m, root, base, named + cases[i].numbered);
	for (int k = 0; k < LATER; k++) {
		snprintf(other, sizeof(other), "%lld.M%dP1.host", (long long)(named + cases[i].others + k), k + 2);
		number(m, root, other, named + cases[i].others + k);
	}
	for (int round = 0; round < ROUNDS; round++) {	/* with what the journal tells; then with what the index does */
		tap_ok(mbox_refresh(m, &e) == 0 && m->st.messages == LATER + 1, "all are there: %s", e.text);
		back_to_new(m, root, base);
		tap_ok(mbox_refresh(m, &e) == 0 && m->st.messages == LATER + 1 && m->st.uidnext == LATER + 2 && has_uid(m, 1, base), "and has its UID: %s", e.text);
		tap_is_int(index_save(m->dirfd, &m->st, m->j.generation, m->j.pos, &e), 0, "index");
		mbox_close(&m);
		m = must_mbox(s, "INBOX");
		tap_is_int(m->st.n_map, LATER + 1, "and opened again");
	}
	mbox_close(&m);
	store_close(&s);
}

/* An index that does not say how the clock went. */
static void test_not_known(void)
{
	const char *const root = scratch_new();
	struct store *s = must_open(root);
	struct mbox *m = must_mbox(s, "INBOX");

	number(m, root, "1000000.M1P1.host", 1000000);
	number(m, root, "1000001.M1P1.host", 999001);
	number(m, root, "1000001.M2P1.host", 1000002);
	number(m, root, "99999999999999.M1P1.host", 1000003);	/* no time */
	tap_is_int(m->st.setback, 1000, "what the journal tells");
	m->st.setback = INT64_MAX;
	tap_is_int(state_setback(&m->st), 1000, "and the records");
	mbox_close(&m);
	store_close(&s);
}

int main(void)
{
	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		test_case(i);
	test_not_known();
	return tap_done();
}
