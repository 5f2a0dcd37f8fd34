/* maildirsize: what is read, what is believed, and that the sum follows every way in which mail comes and goes without a folder being listed. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "os/os.h"
#include "store/store_priv.h"
#include "store/test_store.h"
#include "test/tap.h"

static void test_parse(void)
{
	static const struct {
		const char *name, *text;
		int r;
		uint64_t bytes, count;
		int64_t sum, n;
	} cases[] = {
		{ "Dovecot's", "1000S,50C\n300 3\n-100 -1\n", 0, 1000, 50, 200, 2 },
		{ "Courier's, padded", "1000S\n         300   3\n        -100  -1\n", 0, 1000, 0, 200, 2 },
		{ "messages only", "7C\n0 0\n", 0, 0, 7, 0, 0 },
		{ "no limit", "0S\n5 1\n", 0, 0, 0, 5, 1 },
		{ "empty", "", -1, 0, 0, 0, 0 },
		{ "no sum", "1000S\n", -1, 0, 0, 0, 0 },
		{ "cut short", "1000S\n300 3", -1, 0, 0, 0, 0 },
		{ "another unit", "1000X\n300 3\n", -1, 0, 0, 0, 0 },
		{ "no number of messages", "1000S\n300\n", -1, 0, 0, 0, 0 },
		{ "too large", "1000S\n9223372036854775807 1\n9223372036854775807 1\n", -1, 0, 0, 0, 0 },
		{ "garbage after", "1000S\n1 1 x\n", -1, 0, 0, 0, 0 },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct quota_file f = { 0 };
		const int r = quota_parse(str_c(cases[i].text), &f);
		tap_ok(r == cases[i].r && f.limits.bytes == cases[i].bytes && f.limits.count == cases[i].count && f.bytes == cases[i].sum &&
		       f.count == cases[i].n, "%s", cases[i].name);
	}
}

static const char *use_of(const char *root)
{
	static char out[64];
	struct quota_file f;
	struct err e = { 0 };
	struct buf b;
	const int fd = open(root, O_RDONLY | O_DIRECTORY);

	buf_init(&b, 65536);
	if (file_read_at(fd, "maildirsize", 60000, &b, &e) == 0 && quota_parse(buf_view(&b), &f) == 0)
		snprintf(out, sizeof(out), "%lld %lld", (long long)f.bytes, (long long)f.count);
	else
		snprintf(out, sizeof(out), "none");
	buf_fini(&b);
	close(fd);
	return out;
}

static struct store *limited(const char *root, uint64_t bytes, uint64_t count)
{
	struct store *const s = must_open(root);

	store_quota_limits(s, &(struct quota){ bytes, count });
	return s;
}

static void test_every_way(void)
{
	const char *const root = scratch_new();
	struct store *s = limited(root, 100, 6);
	struct mbox *m = must_mbox(s, "INBOX");
	struct quota use;
	struct err e = { 0 };
	uint32_t uids[4];

	tap_ok(store_quota_use(s, &use, &e) == 0 && use.bytes == 0 && use.count == 0, "empty");
	tap_ok(append_one(m, 0, NULL, "0123456789\n") == 1 && append_one(m, 0, NULL, "0123456789\n") == 2, "two");
	tap_is_str(use_of(root), "22 2", "appended");
	struct mbox_view *v = mbox_view_new(m);
	tap_is_int(store_create(s, STR("Work"), (struct str){ 0 }, &e), 0, "a folder");
	struct mbox *w = must_mbox(s, "Work");
	tap_is_int(mbox_copy(v, (uint32_t[]){ 1, 2 }, 2, w, false, uids, &e), 0, "copy");
	tap_is_str(use_of(root), "44 4", "a copy counts, although it is a link");
	tap_is_int(mbox_copy(v, (uint32_t[]){ 1 }, 1, w, true, uids, &e), 0, "move");
	tap_is_str(use_of(root), "44 4", "a move changes nothing");
	tap_is_int(mbox_view_sync(v, true, NULL, NULL, &e), 0, "sync");
	tap_is_int(mbox_expunge(v, (uint32_t[]){ 1 }, 1, &e), 0, "expunge");
	tap_is_str(use_of(root), "33 3", "expunged");
	tap_is_int(append_one(m, 0, NULL, "00000000001111111111222222222233333333334444444444555555555566666666667"), 0, "too many bytes");
	tap_ok(append_one(m, 0, NULL, "1") && append_one(m, 0, NULL, "2") && append_one(m, 0, NULL, "3"), "up to the number of messages");
	tap_is_int(append_one(m, 0, NULL, "4"), 0, "too many messages");
	tap_is_int(store_quota_check(s, 1, 1, &e), -1, "and it is said beforehand");
	tap_is_int(e.code, ERR_QUOTA, "as what it is");
	err_clear(&e);
	refresh_sync(m, v);
	tap_is_int(mbox_copy(v, (uint32_t[]){ 1 }, 1, w, false, uids, &e), -1, "no copy either");
	tap_is_int(mbox_copy(v, (uint32_t[]){ 1 }, 1, w, true, uids, &e), 0, "but a move");
	mbox_close(&w);
	tap_is_int(store_delete(s, STR("Work"), &e), 0, "the folder is deleted");
	tap_ok(store_quota_use(s, &use, &e) == 0 && use.bytes == 2 && use.count == 2, "and counted no more, though its files are there");
	tap_ok(store_purge(s, 1) && !store_purge(s, 100) && !store_purge(s, 100), "they go in pieces");
	tap_ok(store_quota_use(s, &use, &e) == 0 && use.bytes == 2 && use.count == 2, "which changes nothing");
	mbox_view_free(&v);
	mbox_close(&m);
	store_close(&s);
}

static void test_foreign_changes(void)
{
	const char *const root = scratch_new();
	struct store *s = limited(root, 100, 0);
	struct mbox *m = must_mbox(s, "INBOX");
	struct quota use;
	struct err e = { 0 };

	append_one(m, 0, NULL, "0123456789\n");
	put_file(root, "new/1000000001.M1P1.other", "0123456789\n");
	tap_is_int(mbox_refresh(m, &e), 0, "another program brought mail");
	tap_ok(store_quota_use(s, &use, &e) == 0 && use.bytes == 22 && use.count == 2, "it is counted: %llu %llu", (unsigned long long)use.bytes,
	       (unsigned long long)use.count);
	put_file(root, "maildirsize", "100S\n-5 1\n");
	tap_ok(store_quota_use(s, &use, &e) == 0 && use.bytes == 22, "a negative sum is not believed");
	put_file(root, "maildirsize", "100S\n22 2\n70 1\n");
	tap_ok(store_quota_use(s, &use, &e) == 0 && use.bytes == 92, "a line of another program's is");
	tap_is_int(store_quota_check(s, 20, 1, &e), 0, "but not that it is full");
	put_file(root, "maildirsize", "55S\n22 2\n");
	tap_ok(store_quota_use(s, &use, &e) == 0 && use.bytes == 22, "other limits: the sum holds");
	tap_is_str(use_of(root), "22 2", "written anew");
	mbox_close(&m);
	store_close(&s);
}

static void test_summed_up(void)
{
	const char *const root = scratch_new();
	const struct quota limits = { 1 << 30, 0 };
	struct quota use;
	struct err e = { 0 };
	struct stat st;
	int fd;

	if (maildir_open(root, true, &fd, &e) < 0)
		return;
	tap_is_int(quota_use(fd, &limits, &use, &e), 0, "counted");
	/* Were the folders listed again, the sum would be what is in them: nothing. */
	for (int i = 0; i < 2000; i++)
		quota_add(fd, &limits, 1000 + i, 1);
	tap_ok(stat(scratch_path(root, "maildirsize"), &st) == 0 && st.st_size < QUOTA_FILE_MAX, "the file stays small: %lld", (long long)st.st_size);
	tap_ok(quota_use(fd, &limits, &use, &e) == 0 && use.bytes == 3999000 && use.count == 2000, "nothing was lost, and no folder listed");
	close(fd);
}

static void test_writers_at_once(void)
{
	const char *const root = scratch_new();
	const struct quota limits = { 1 << 30, 0 };
	struct quota use;
	struct err e = { 0 };
	int fd, status;

	if (maildir_open(root, true, &fd, &e) < 0 || quota_use(fd, &limits, &use, &e) < 0)
		return;
	for (int k = 0; k < 4; k++) {
		if (fork() != 0)
			continue;
		for (int i = 0; i < 1500; i++)
			quota_add(fd, &limits, 1000, 1);
		_exit(0);
	}
	for (int k = 0; k < 4; k++)
		(void)wait(&status);
	tap_ok(quota_use(fd, &limits, &use, &e) == 0 && use.bytes == 6000000 && use.count == 6000, "four writers: %llu %llu", (unsigned long long)use.bytes,
	       (unsigned long long)use.count);
	close(fd);
}

static void test_warnings(void)
{
	static const unsigned levels[] = { 95, 80 };
	const char *const root = scratch_new();
	const struct quota limits = { 100, 0 };
	struct quota use;
	struct err e = { 0 };
	unsigned level;
	int fd;

	if (maildir_open(root, true, &fd, &e) < 0 || quota_use(fd, &limits, &use, &e) < 0)
		return;
	const struct { int64_t add; unsigned level; } steps[] = { { 79, 0 }, { 1, 80 }, { 1, 0 }, { 14, 95 }, { 5, 0 }, { -30, 0 }, { 15, 80 }, { -70, 0 }, { 90, 95 } };
	for (size_t i = 0; i < ARRAY_LEN(steps); i++) {
		quota_add(fd, &limits, steps[i].add, 1);
		tap_ok(quota_warn_level(fd, &limits, levels, 2, &level, &e) == 0 && level == steps[i].level, "step %zu: %u", i, level);
	}
	close(fd);
}

int main(void)
{
	test_parse();
	test_every_way();
	test_foreign_changes();
	test_summed_up();
	test_writers_at_once();
	test_warnings();
	return tap_done();
}
