/* What moves say of messages: which moves do, that the last word counts, and that the queue has its limits. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "store/test_store.h"
#include "store/train.h"
#include "store/trainqueue.h"
#include "test/tap.h"

static void test_names(void)
{
	static const char *const wrong[] = { "", "0123456789abcdef", "0123456789abcdef.0123456789abcdef", "0123456789abcdef.0123456789abcdef.",
		"0123456789abcdef.0123456789abcdef.spam ", "0123456789ABCDEF.0123456789abcdef.spam", "0123456789abcdef-0123456789abcdef.spam",
		"0123456789abcdeg.0123456789abcdef.ham", ".", "..", "x" };
	const struct train_entry t = { .stamp = 0x0123456789abcdef, .inode = UINT64_MAX, .spam = true };
	struct train_entry back = { 0 };
	char name[TRAIN_NAME_SIZE];

	train_name_format(&t, name);
	tap_is_str(name, "0123456789abcdef.ffffffffffffffff.spam", "a name says all");
	tap_ok(train_name_parse(name, &back) && back.stamp == t.stamp && back.inode == t.inode && back.spam, "and is read back");
	for (size_t i = 0; i < ARRAY_LEN(wrong); i++)
		tap_ok(!train_name_parse(wrong[i], &back), "\"%s\" is no name of ours", wrong[i]);
}

static void test_moves(struct store *s)
{
	static const struct {
		const char *from, *to;
		enum train_as as;
	} cases[] = {
		{ "INBOX", "Junk", TRAIN_SPAM },  { "Junk", "INBOX", TRAIN_HAM },     { "Junk", "Archive", TRAIN_HAM },	   { "Junk", "Trash", TRAIN_NOTHING },
		{ "Trash", "Junk", TRAIN_SPAM },  { "INBOX", "Trash", TRAIN_NOTHING }, { "Junk", "Junk", TRAIN_NOTHING }, { "INBOX", "Work", TRAIN_NOTHING },
		{ "Junk", "nowhere", TRAIN_HAM }, { "Work/Junk", "INBOX", TRAIN_NOTHING },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		enum train_as as = TRAIN_NOTHING;
		struct err e = { 0 };

		tap_ok(train_of_move(s, str_c(cases[i].from), str_c(cases[i].to), &as, &e) == 0 && as == cases[i].as, "from %s to %s (%s)", cases[i].from, cases[i].to, e.text);
	}
}

static struct train_entry entries[TRAIN_QUEUE_MAX + 50];

static size_t queue(const char *root)
{
	struct err e = { 0 };
	size_t n = 0;
	const int rootfd = open(root, O_RDONLY | O_DIRECTORY), dir = train_queue_open(rootfd, false, &e);

	if (dir >= 0 && train_queue_read(dir, entries, ARRAY_LEN(entries), &n, &e) < 0)
		tap_diag("%s", e.text);
	close(dir);
	close(rootfd);
	return n;
}

static size_t train(struct mbox *m, uint32_t from, uint32_t to, bool spam)
{
	struct mbox_view *v = mbox_view_peek(m);
	uint32_t seqs[TRAIN_QUEUE_MAX + 50];
	struct err e = { 0 };
	size_t n = 0, queued = 0;

	for (uint32_t uid = from; uid <= to; uid++)
		seqs[n++] = mbox_view_seq(v, uid);
	if (mbox_train(v, seqs, n, spam, &queued, &e) < 0)
		tap_diag("%s", e.text);
	mbox_view_free(&v);
	return queued;
}

static void test_queue(const char *root, struct store *s)
{
	struct mbox *m = must_mbox(s, "INBOX");
	struct err e = { 0 };
	char text[100];

	for (unsigned i = 0; i < TRAIN_QUEUE_MAX + 40; i++) {
		snprintf(text, sizeof(text), "Subject: %u\r\n\r\nbody\r\n", i);
		append_one(m, i % 2 ? MBOX_SEEN : 0, NULL, text);
	}
	tap_is_int((long)queue(root), 0, "nothing has been said yet");
	tap_is_int((long)train(m, 1, 3, true), 3, "three are spam");
	tap_is_int((long)queue(root), 3, "and are queued");
	tap_ok(entries[0].spam && entries[0].stamp < entries[1].stamp && entries[1].stamp < entries[2].stamp && entries[0].bytes > 10, "in order");
	tap_is_int((long)train(m, 1, 3, true), 0, "to say it again says nothing");
	tap_is_int((long)train(m, 2, 2, false), 1, "one is not, after all");
	tap_is_int((long)queue(root), 3, "which takes the place of what was said first");
	tap_ok(!entries[2].spam && entries[0].spam && entries[1].spam, "and comes last");

	const int rootfd = open(root, O_RDONLY | O_DIRECTORY), dir = train_queue_open(rootfd, false, &e);
	put_file(root, TRAIN_DIR "/other", "x");
	tap_ok(train_queue_drop(dir, entries[1].stamp, &e) == 0 && queue(root) == 1 && !entries[0].spam, "what was learned goes");
	tap_ok(faccessat(dir, "other", F_OK, 0) == 0, "what is nobody's stays");
	tap_ok(train_queue_read(dir, entries, 0, &(size_t){ 0 }, &e) == 0, "none may be wanted");

	struct mbox_view *v = mbox_view_peek(m);
	tap_ok(mbox_expunge(v, (uint32_t[]){ 2 }, 1, &e) == 0, "the message leaves its folder");
	mbox_view_free(&v);
	char name[TRAIN_NAME_SIZE];
	train_name_format(&entries[0], name);
	tap_ok(queue(root) == 1 && faccessat(dir, name, R_OK, 0) == 0, "and is still there to be learned");

	tap_is_int((long)train(m, 3, TRAIN_QUEUE_MAX + 40, true), TRAIN_QUEUE_MAX - 1, "the queue has an end");
	tap_is_int((long)queue(root), TRAIN_QUEUE_MAX, "in all");
	tap_is_int((long)train(m, 3, TRAIN_QUEUE_MAX + 40, true), 0, "and stays at it");
	char old[80];
	snprintf(old, sizeof(old), TRAIN_DIR "/%016x.%016x.ham", 77, 77);
	tap_ok(train_queue_drop(dir, UINT64_MAX, &e) == 0 && queue(root) == 0, "it can be emptied");
	put_file(root, old, "x");
	tap_ok(queue(root) == 1 && train(m, 3, 3, true) == 1 && queue(root) == 1 && entries[0].spam, "what nobody has learned for a month is forgotten");
	(void)!train_queue_drop(dir, UINT64_MAX, &e);
	close(dir);
	close(rootfd);
	mbox_close(&m);
}

static void test_large(const char *root, struct store *s)
{
	struct mbox *m = must_mbox(s, "INBOX");
	const size_t n = TRAIN_MESSAGE_MAX + 1000, part = 3 << 20;
	char *text = malloc(n + 1);

	for (size_t i = 0; i < n; i++)
		text[i] = i % 70 == 69 ? '\n' : 'x';
	text[n] = '\0';
	const uint32_t large = append_one(m, 0, NULL, text);
	tap_is_int((long)train(m, large, large, true), 0, "a message that is too large teaches nothing");
	text[part] = '\0';
	uint32_t first = 0, last = 0;
	for (unsigned i = 0; i < TRAIN_BYTES_MAX / (3 << 20) + 2; i++) {
		last = append_one(m, 0, NULL, text);
		first = first ? first : last;
	}
	(void)train(m, first, last, true);
	const size_t have = queue(root);
	uint64_t bytes = 0;
	for (size_t i = 0; i < have; i++)
		bytes += entries[i].bytes;
	tap_ok(have == TRAIN_BYTES_MAX / (3 << 20) && bytes <= TRAIN_BYTES_MAX, "bytes are limited, too (%zu messages)", have);
	free(text);
	mbox_close(&m);
}

int main(void)
{
	const char *root = scratch_new();
	char *kept = strdup(root);
	static const char *const folders[] = { "Junk", "Trash", "Archive", "Work", "Work/Junk" };
	struct store *s = must_open(kept);
	struct err e = { 0 };

	for (size_t i = 0; i < ARRAY_LEN(folders); i++)
		if (store_create(s, str_c(folders[i]), STR(""), &e) < 0)
			tap_diag("%s", e.text);
	test_names();
	test_moves(s);
	test_queue(kept, s);
	test_large(kept, s);
	store_close(&s);
	free(kept);
	scratch_remove();
	return tap_done();
}
