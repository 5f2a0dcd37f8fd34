/* A disk that fails while messages are appended, at each call that makes them durable, and once more when what was begun is taken back: what was not acknowledged is
 * nowhere, what was is whole, for this process, another session and who opens the folder next; and the next message gets a UID of its own. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "os/os.h"
#include "store/store_priv.h"
#include "store/test_store.h"
#include "test/tap.h"

#define MSG "From: a@b\nSubject: x\n\nbody\n"
#define OTHER "From: a@b\nSubject: x\n\nanother body, and a longer one\n"

enum { NTH_MAX = 6, PARTS = 3 };
static const enum fault { NONE, START, WAIT, SYNC, DATA_SYNC, RENAME, TIMES, WRITE, FAULTS } faults[] = { START, WAIT, SYNC, DATA_SYNC, RENAME, TIMES, WRITE };
static const char *const fault_names[FAULTS] = { "none", "sync_file_range", "its wait", "fsync", "fdatasync", "rename", "futimens", "pwrite" };

static struct {
	enum fault which;
	int left;		/* calls until it fails */
	bool twice;		/* nothing can be cut off afterwards */
	bool failed;
} disk;

static bool fails(enum fault which)
{
	if (disk.failed || which != disk.which || --disk.left > 0)
		return false;
	errno = EIO;
	return disk.failed = true;
}

int sync_file_range(int fd, off_t from, off_t n, unsigned flags)
{
	return fails(flags == SYNC_FILE_RANGE_WRITE ? START : WAIT) ? -1 : (int)syscall(SYS_sync_file_range, fd, from, n, flags);
}

int fsync(int fd)
{
	return fails(SYNC) ? -1 : (int)syscall(SYS_fsync, fd);
}

int fdatasync(int fd)
{
	return fails(DATA_SYNC) ? -1 : (int)syscall(SYS_fdatasync, fd);
}

int renameat2(int from, const char *old, int to, const char *new, unsigned flags)
{
	return fails(RENAME) ? -1 : (int)syscall(SYS_renameat2, from, old, to, new, flags);
}

int futimens(int fd, const struct timespec ts[2])
{
	return fails(TIMES) ? -1 : (int)syscall(SYS_utimensat, fd, NULL, ts, 0);
}

ssize_t pwrite(int fd, const void *p, size_t n, off_t at)
{
	return fails(WRITE) ? -1 : syscall(SYS_pwrite64, fd, p, n, at);
}

int ftruncate(int fd, off_t n)
{
	errno = EIO;
	return disk.failed && disk.twice ? -1 : (int)syscall(SYS_ftruncate, fd, n);
}

/* How many were acknowledged: all of them or none. */
static size_t append(struct mbox *m, size_t count, uint32_t uids[PARTS])
{
	struct mbox_append *ap;
	struct err e = { 0 };
	size_t n;

	if (mbox_append_begin(m, &ap, &e) < 0)
		return 0;
	for (size_t i = 0; i < count; i++) {
		if (mbox_append_message(ap, 0, NULL, 0, 1000000000, &e) < 0 || mbox_append_data(ap, STR(OTHER), &e) < 0) {
			mbox_append_abort(&ap);
			return 0;
		}
	}
	return mbox_append_commit(&ap, uids, &n, &e) < 0 ? 0 : n;
}

static bool all_whole(struct mbox *m, uint32_t count)
{
	struct err e = { 0 };
	struct mbox_view *v = mbox_view_new(m);
	bool good = mbox_refresh(m, &e) == 0 && mbox_view_sync(v, true, NULL, NULL, &e) == 0 && mbox_view_count(v) == count;

	for (uint32_t seq = 1; good && seq <= count; seq++) {
		const char *const text = read_message(v, seq);
		good = text && strcmp(text, seq == 1 ? MSG : OTHER) == 0;
	}
	mbox_view_free(&v);
	return good;
}

static bool opened_whole(const char *root, uint32_t count)
{
	struct store *s = must_open(root);
	struct mbox *m = must_mbox(s, "INBOX");
	const bool good = all_whole(m, count);

	mbox_close(&m);
	store_close(&s);
	return good;
}

/* Did the disk fail? *good_out: and was nothing wrong. */
static bool run(enum fault which, int nth, bool twice, size_t count, bool *good_out)
{
	const char *const root = scratch_on_disk();
	struct store *s = must_open(root), *other = must_open(root);
	struct mbox *m = must_mbox(s, "INBOX"), *theirs = must_mbox(other, "INBOX");
	uint32_t uids[PARTS] = { 0 }, next[PARTS] = { 0 };

	*good_out = append_one(m, 0, NULL, MSG) == 1 && all_whole(theirs, 1);
	disk.which = which;
	disk.left = nth;
	disk.twice = twice;
	disk.failed = false;
	const size_t told = append(m, count, uids);
	const bool failed = disk.failed;
	disk.which = NONE;
	disk.failed = false;
	const uint32_t there = 1 + (uint32_t)told;
	*good_out &= (told == 0 || told == count) && opened_whole(root, there) && all_whole(theirs, there) && all_whole(m, there);
	*good_out &= append(m, 1, next) == 1 && next[0] > 1 + told && all_whole(theirs, there + 1) && opened_whole(root, there + 1);
	*good_out &= append(theirs, 1, uids) == 1 && uids[0] > next[0] && all_whole(m, there + 2) && opened_whole(root, there + 2);
	mbox_close(&m);
	mbox_close(&theirs);
	store_close(&s);
	store_close(&other);
	scratch_drop(root);
	return failed;
}

static void test_each(bool each_directory)
{
	unsigned hit = 0;

	maildir_sync_directories(each_directory);
	for (size_t i = 0; i < ARRAY_LEN(faults); i++) {
		for (unsigned how = 0; how < 4; how++) {
			const size_t count = how & 2 ? PARTS : 1;
			bool good = true;
			for (int nth = 1; nth <= NTH_MAX && run(faults[i], nth, how & 1, count, &good); nth++) {
				hit++;
				if (!good)
					tap_ok(false, "call %d of %s fails%s, %zu messages", nth, fault_names[faults[i]], how & 1 ? ", and taking back" : "", count);
			}
		}
	}
	tap_ok(hit >= 20, "%u failures", hit);
}

int main(void)
{
	test_each(false);
	test_each(true);
	return tap_done();
}
