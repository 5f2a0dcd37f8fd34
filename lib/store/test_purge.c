/* Files of deleted folders: they go in pieces of any size, also those that a crash has left, and nothing else goes. */
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "os/crew.h"
#include "store/ahead.h"
#include "store/store_priv.h"
#include "store/test_store.h"
#include "test/tap.h"

enum { FILES = 40 };
#define GONE "..postern.gone.0123456789abcdef"

static int removals, elsewhere;	/* of directories named cur, and how many of them on other threads */

int unlinkat(int fd, const char *name, int flags)
{
	if ((flags & AT_REMOVEDIR) && strcmp(name, "cur") == 0) {
		removals++;
		elsewhere += crew_inside();
	}
	return (int)syscall(SYS_unlinkat, fd, name, flags);
}

static void fill_with(const char *root, const char *folder, int files)
{
	char rel[100];

	for (int i = 0; i < files; i++) {
		snprintf(rel, sizeof(rel), "%s/cur/%d.M1P1.h:2,S", folder, i);
		put_file(root, rel, "x\n");
	}
}

static void fill(const char *root, const char *folder)
{
	fill_with(root, folder, FILES);
}

static bool there(const char *root, const char *rel)
{
	struct stat st;

	return lstat(scratch_path(root, rel), &st) == 0;
}

static void test_in_pieces(void)
{
	const char *const root = scratch_new();
	struct store *s = must_open(root);
	struct err e = { 0 };
	unsigned pieces = 0;

	tap_is_int(store_create(s, STR("A"), (struct str){ 0 }, &e), 0, "a folder");
	tap_is_int(store_create(s, STR("B"), (struct str){ 0 }, &e), 0, "another");
	fill(root, ".A");
	fill(root, ".B");
	tap_ok(!store_purge_due(s) && !store_purge(s, 1000), "nothing to remove");
	tap_is_int(store_delete(s, STR("A"), &e), 0, "deleted");
	tap_ok(store_purge_due(s), "its files are there");
	while (store_purge(s, 7) && pieces < 1000)
		if (++pieces == 3)	/* one more in the middle of the walk */
			tap_is_int(store_delete(s, STR("B"), &e), 0, "and the other one");
	tap_ok(pieces >= 2 * FILES / 7 && pieces < 40, "in pieces: %u", pieces);
	tap_ok(!store_purge_due(s) && !store_purge(s, 1), "nothing is left");
	store_close(&s);
	s = must_open(root);
	tap_ok(!store_purge_due(s), "not for the next process either");
	store_close(&s);
}

static void test_after_a_crash(void)
{
	const char *const root = scratch_new();
	struct store *s = must_open(root);

	store_close(&s);
	put_file(root, "cur/1.M1P1.h:2,S", "kept\n");
	tap_is_int(mkdir(scratch_path(root, GONE), 0700), 0, "a deleted folder, half removed");
	tap_is_int(mkdir(scratch_path(root, GONE "/cur"), 0700), 0, "its cur");
	fill(root, GONE);
	/* What somebody else has put there. */
	tap_is_int(symlink("../../cur", scratch_path(root, GONE "/cur/link")), 0, "a link to the inbox");
	tap_is_int(symlink("../cur", scratch_path(root, GONE "/new")), 0, "another, for a directory");
	s = must_open(root);
	tap_ok(store_purge_due(s), "is seen");
	tap_ok(store_purge(s, 5), "begun");
	store_close(&s);	/* in the middle */
	s = must_open(root);
	tap_ok(store_purge_due(s), "seen by the next process");
	tap_ok(!store_purge(s, 1000), "all of it");
	tap_ok(!there(root, GONE), "has gone");
	tap_ok(there(root, "cur/1.M1P1.h:2,S"), "and nothing else");
	store_close(&s);
}

/* A large directory is removed while the loop does other things, where there is a thread for it; else all the same. */
static void test_large(unsigned crew)
{
	enum { MANY = 8300, PIECE = 1000 };
	const char *const root = scratch_new();
	struct store *s = must_open(root);
	struct err e = { 0 };
	unsigned pieces = 0;

	store_crew_size(s, crew);
	tap_is_int(store_create(s, STR("A"), (struct str){ 0 }, &e), 0, "a folder");
	fill_with(root, ".A", MANY);
	tap_is_int(store_delete(s, STR("A"), &e), 0, "deleted");
	removals = elsewhere = 0;
	while (store_purge(s, PIECE))
		pieces++;
	tap_ok(pieces >= MANY / PIECE && removals == 1 && elsewhere == (crew > 1), "of %u who work: %u pieces, %d on another thread", crew, pieces, elsewhere);
	store_close(&s);
	s = must_open(root);
	tap_ok(!store_purge_due(s), "nothing is left");
	store_close(&s);
}

/* Ended while it is being removed, or done at once. */
static void test_large_ends(bool now)
{
	enum { MANY = 8300 };
	const char *const root = scratch_new();
	struct store *s = must_open(root);
	struct err e = { 0 };

	store_crew_size(s, 2);
	tap_is_int(store_create(s, STR("A"), (struct str){ 0 }, &e), 0, "a folder");
	fill_with(root, ".A", MANY);
	tap_is_int(store_delete(s, STR("A"), &e), 0, "deleted");
	removals = 0;
	while (removals == 0 && store_purge(s, now ? UINT_MAX : 10))
		;
	store_close(&s);
	s = must_open(root);
	tap_ok(!store_purge(s, UINT_MAX) && removals == 1, "a large one is removed %s", now ? "at once" : "also when the store is closed meanwhile");
	store_close(&s);
}

/* Deeper than any folder of ours is: it stays, and nobody waits for it. */
static void test_too_deep(void)
{
	const char *const root = scratch_new();
	struct store *s = must_open(root);
	char rel[200] = GONE;

	for (int i = 0; i < 8; i++) {
		tap_is_int(mkdir(scratch_path(root, rel), 0700), 0, "deeper");
		snprintf(rel + strlen(rel), sizeof(rel) - strlen(rel), "/d");
	}
	store_close(&s);
	s = must_open(root);
	tap_ok(store_purge_due(s) && !store_purge(s, 1000), "the walk ends");
	tap_ok(there(root, GONE "/d/d/d/d"), "what is too deep stays");
	store_close(&s);
}

/* A delete that fails has renamed the folder, and its files are removed: who has it open must not add to it. */
static void test_not_synced(void)
{
	const char *const root = scratch_new();
	struct store *s = must_open(root);
	struct mbox_append *ap = NULL;
	struct err e = { 0 };
	struct mbox *m;
	uint32_t uid;
	size_t n;

	tap_is_int(store_create(s, STR("A"), (struct str){ 0 }, &e), 0, "a folder");
	tap_is_int(mbox_open(s, STR("A"), &m, &e), 0, "open");
	tap_is_int(mbox_append_begin(m, &ap, &e), 0, "a message comes");
	tap_is_int(mbox_append_message(ap, 0, NULL, 0, 0, &e), 0, "begun");
	tap_is_int(mbox_append_data(ap, STR("x\n"), &e), 0, "its text");
	/* Files are made and renamed through a descriptor of the path alone, and it cannot be synced. */
	const int path = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC), kept = dup(s->rootfd);

	tap_ok(path >= 0 && kept >= 0 && dup2(path, s->rootfd) >= 0, "no sync from here");
	tap_is_int(store_delete(s, STR("A"), &e), -1, "not deleted for certain");
	tap_ok(!there(root, ".A"), "but renamed");
	tap_ok(dup2(kept, s->rootfd) >= 0, "the disk is well again");
	close(path);
	close(kept);
	tap_is_int(mbox_append_commit(&ap, &uid, &n, &e), -1, "the message is not acknowledged");
	mbox_append_abort(&ap);
	mbox_close(&m);
	store_close(&s);
}

int main(void)
{
	test_not_synced();
	test_in_pieces();
	test_after_a_crash();
	test_too_deep();
	test_large(1);
	test_large(2);
	test_large_ends(false);
	test_large_ends(true);
	return tap_done();
}
