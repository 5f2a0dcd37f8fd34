/* A message's file read with and without asking what it is: the same text, also where the file is not what the folder thinks it is. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/msgfile.h"
#include "store/store_priv.h"
#include "store/test_store.h"
#include "test/tap.h"

enum { HEAD_BYTES = 40000, LARGE_BYTES = 300000 };
#define SMALL "Subject: x\n\nbody\n"

static char *long_text(const char *start, const char *line, size_t bytes, const char *end)
{
	char *const s = malloc(bytes + 200);
	size_t n = 0;

	if (s == NULL)
		exit(94);
	for (n = (size_t)sprintf(s, "%s", start); n < bytes;)
		n += (size_t)sprintf(s + n, "%s", line);
	sprintf(s + n, "%s", end);
	return s;
}

/* Both ways of the whole, and of the header. text NULL: there is none. */
static void is_read(struct mbox_view *v, uint32_t seq, const char *text, const char *what)
{
	const size_t n = text ? strlen(text) : 0;
	struct err e = { 0 };
	struct msgfile f;

	for (int head = 0; head < 2; head++) {
		for (int quick = 0; quick < 2; quick++) {
			const int r = quick ? msgfile_read(&f, v, seq, head, &e) : msgfile_open(&f, v, seq, head, &e);
			const char *const body = text ? strstr(text, "\n\n") : NULL;
			const bool right = text == NULL ? r < 0
				: r == 0 && msgfile_is_open(&f) && (head && f.head_only ? f.text.n <= n && body && f.text.n >= (size_t)(body - text) + 2 : f.text.n == n) &&
				  memcmp(f.text.p, text, f.text.n) == 0;
			tap_ok(right, "%s%s%s", what, head ? ", header" : "", quick ? ", quickly" : "");
			if (r == 0)
				msgfile_close(&f);
		}
	}
}

static void test_lengths(void)
{
	const char *const root = scratch_new();
	struct store *s = must_open(root);
	struct mbox *m = must_mbox(s, "INBOX");
	char *const head = long_text("Subject: x\n", "X-Long: 0123456789012345678901234567890123456789\n", HEAD_BYTES, "\nbody\n");
	char *const large = long_text("Subject: x\n\n", "0123456789012345678901234567890123456789\n", LARGE_BYTES, "end\n");
	char *const middle = long_text("Subject: x\n\n", "0123456789012345678901234567890123456789\n", HEAD_BYTES, "end\n");
	const char *const texts[] = { SMALL, "", head, large, middle };

	for (size_t i = 0; i < ARRAY_LEN(texts); i++)
		put_new(root, "", texts[i]);
	struct mbox_view *v = mbox_view_new(m);
	refresh_sync(m, v);
	tap_is_int(mbox_view_count(v), ARRAY_LEN(texts), "all are there");
	is_read(v, 1, SMALL, "a small one");
	is_read(v, 2, "", "an empty one");
	is_read(v, 3, head, "a long header");
	is_read(v, 4, large, "a large one");
	is_read(v, 5, middle, "longer than a header may be at first");
	mbox_view_free(&v);
	mbox_close(&m);
	store_close(&s);
	free(head);
	free(large);
	free(middle);
}

/* --- the header alone, of many files --- */

static int file_of(const char *root, const char *name, const char *text)
{
	put_file(root, name, text);
	return open(scratch_path(root, name), O_RDONLY | O_CLOEXEC);
}

/* Is exactly its header found, in no more than most bytes of it? size: as it is thought to be. */
static bool header_in(int fd, const char *text, size_t size, size_t *usual, size_t most)
{
	char *const room = malloc(msgfile_room(size, true));
	const char *const body = strstr(text, "\n\n");
	size_t head_n = 0;
	struct str got;
	bool part;

	if (room == NULL)
		exit(94);
	const bool right = msgfile_head_bytes(fd, size, usual, room, &got, &part, &head_n) && got.n <= most && part == (got.n < strlen(text)) &&
		memcmp(got.p, text, got.n) == 0 && head_n <= got.n && head_n == (body ? (size_t)(body - text) + 2 : got.n);
	free(room);
	return right;
}

/* So much is read as was needed before, and no header is cut for that. */
static void test_usual(void)
{
	static const char line[] = "X-Long: 0123456789012345678901234567890123456789\n";
	const char *const root = scratch_new();
	char *const small = long_text("Subject: x\n\n", "0123456789012345678901234567890123456789\n", 9000, "end\n");
	char *const wide = long_text("Subject: x\n", line, 6000, "\nbody, of which there is more\n");
	char *const bare = long_text("Subject: x\n", line, 3000, "");
	const int fds[] = { file_of(root, "small", small), file_of(root, "wide", wide), file_of(root, "bare", bare), file_of(root, "short", SMALL), file_of(root, "empty", "") };
	size_t usual = 0;

	tap_ok(header_in(fds[0], small, strlen(small), &usual, 1024), "a short header needs no more than its beginning");
	tap_ok(header_in(fds[1], wide, strlen(wide), &usual, strlen(wide)), "a longer one is read all the same");
	tap_ok(usual > 6000, "and is how long headers are");
	tap_ok(header_in(fds[0], small, strlen(small), &usual, 6400) && header_in(fds[1], wide, strlen(wide), &usual, 6400), "so long the next ones may be");
	for (int i = 0; i < 2000; i++)
		if (!header_in(fds[0], small, strlen(small), &usual, 6400))
			tap_ok(false, "short headers");
	tap_ok(usual < 1500, "many short ones, and it is forgotten");
	tap_ok(header_in(fds[2], bare, strlen(bare), &usual, strlen(bare)), "a message that is only a header");
	tap_ok(header_in(fds[3], SMALL, strlen(SMALL), &usual, strlen(SMALL)), "one shorter than what is read");
	tap_ok(header_in(fds[4], "", 0, &usual, 0), "an empty one");
	for (size_t n = 1018; n < 1030; n++) {	/* its end on either side of the first read's */
		char *const text = long_text("X: ", "x", n, "\n\nbody\n"), name[20];
		snprintf(name, sizeof(name), "n%zu", n);
		const int fd = file_of(root, name, text);
		size_t none = 0;
		tap_ok(header_in(fd, text, strlen(text), &none, strlen(text)), "a header of %zu bytes", n + 2);
		(void)close(fd);
		free(text);
	}
	const size_t was = usual;
	tap_ok(!header_in(fds[2], bare, strlen(bare) + 1, &usual, SIZE_MAX) && !header_in(fds[3], SMALL, 2000, &usual, SIZE_MAX) && usual == was,
	       "a file that is not as long as it was thought to be is not believed");
	for (size_t i = 0; i < ARRAY_LEN(fds); i++)
		(void)close(fds[i]);
	free(small);
	free(wide);
	free(bare);
}

/* The folder was numbered when the files were other ones. */
static void test_changed(void)
{
	static const char *const names[] = { "cur/1000000001.M1P1.h:2,S", "cur/1000000002.M1P1.h:2,S", "cur/1000000003.M1P1.h:2,S", "cur/1000000004.M1P1.h:2,S",
		"cur/1000000005.M1P1.h,S=5:2,S" };
	const char *const root = scratch_new();
	struct store *s = must_open(root);

	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		put_file(root, names[i], SMALL);
	struct mbox *m = must_mbox(s, "INBOX");
	struct mbox_view *v = mbox_view_new(m);
	tap_is_int(mbox_view_count(v), ARRAY_LEN(names), "of all");
	put_file(root, names[0], "Subject: x\n\nlonger than it was\n");
	put_file(root, names[1], "S: x\n\n.\n");
	for (size_t i = 2; i < 4; i++)
		tap_is_int(unlink(scratch_path(root, names[i])), 0, "removed");
	tap_is_int(mkfifo(scratch_path(root, names[2]), 0600), 0, "a FIFO in its place");
	put_file(root, "elsewhere", SMALL);
	tap_is_int(symlink("../elsewhere", scratch_path(root, names[3])), 0, "a link in its place");
	is_read(v, 1, "Subject: x\n\nlonger than it was\n", "a file that has grown");
	is_read(v, 2, "S: x\n\n.\n", "one that has shrunk");
	is_read(v, 5, SMALL, "one whose name lies");
	is_read(v, 3, NULL, "a FIFO");
	is_read(v, 4, NULL, "a link");
	mbox_view_free(&v);
	mbox_close(&m);
	store_close(&s);
}

/* The first read of a file would make its inode dirty. */
static void test_time_of_access(void)
{
	const struct timespec then[2] = { { .tv_sec = 1000 }, { .tv_sec = 2000 } };
	const char *const root = scratch_new();
	struct store *s = must_open(root);
	struct err e = { 0 };
	struct msgfile f;
	struct stat st;

	put_file(root, "cur/1000000001.M1P1.h:2,S", SMALL);
	struct mbox *m = must_mbox(s, "INBOX");
	struct mbox_view *v = mbox_view_new(m);
	for (int quick = 0; quick < 2; quick++) {
		tap_is_int(utimensat(AT_FDCWD, scratch_path(root, "cur/1000000001.M1P1.h:2,S"), then, 0), 0, "its times are of long ago");
		tap_is_int(quick ? msgfile_read(&f, v, 1, false, &e) : msgfile_open(&f, v, 1, false, &e), 0, "it is read");
		msgfile_close(&f);
		(void)stat(scratch_path(root, "cur/1000000001.M1P1.h:2,S"), &st);
		tap_is_int(st.st_atim.tv_sec, 1000, "reading a message leaves its time of access alone");
	}
	mbox_view_free(&v);
	mbox_close(&m);
	store_close(&s);
}

int main(void)
{
	test_lengths();
	test_usual();
	test_changed();
	test_time_of_access();
	scratch_remove();
	return tap_done();
}
