/* A look at a large folder that another program has changed, in pieces: what is found is what is there, whatever changes meanwhile and whoever asks. */
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/ahead.h"
#include "store/store_priv.h"
#include "store/test_store.h"
#include "test/tap.h"

enum { LARGE = 10100, SMALL = 500, STEPS = 16 };	/* STEPS: no look has more, and some places are enough */

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
		good &= r >= 0 && finish(m, &left, &e) == 0 && right(m, root);
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
	return tap_done();
}
