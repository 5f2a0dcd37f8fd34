/* APPEND's target: a folder into which messages are put without looking for news there, and what is known of them at once. */
#include <fcntl.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "os/os.h"
#include "store/ahead.h"
#include "store/store_priv.h"
#include "store/summary.h"
#include "store/test_store.h"
#include "test/tap.h"

#define MSG "From: a@b\nSubject: x\n\nbody\n"
#define CRLF_MSG "From: a@b\r\nSubject: x\r\n\r\nbody\r\n"

static time_t ahead;	/* the wall clock is: seconds */

int clock_gettime(clockid_t id, struct timespec *t)
{
	const int r = (int)syscall(SYS_clock_gettime, id, t);

	if (r == 0 && id == CLOCK_REALTIME)
		t->tv_sec += ahead;
	return r;
}

static struct mbox *must_target(struct store *s, const char *name)
{
	struct err e = { 0 };
	struct mbox *m = NULL;

	if (mbox_open_target(s, str_c(name), &m, &e) < 0)
		tap_ok(false, "target %s: %s", name, e.text);
	return m;
}

/* In another process. */
static void elsewhere(const char *root, void (*fn)(struct store *s))
{
	int status = -1;
	const pid_t pid = fork();

	if (pid == 0) {
		struct store *s = must_open(root);
		store_crew_size(s, 1);	/* a child of a process with threads makes none */
		fn(s);
		store_close(&s);
		_exit(0);
	}
	waitpid(pid, &status, 0);
	tap_ok(WIFEXITED(status) && WEXITSTATUS(status) == 0, "another process did its part");
}

static void append_there(struct store *s)
{
	struct mbox *m = must_mbox(s, "Work");

	if (append_one(m, 0, NULL, MSG) == 0)
		_exit(1);
	mbox_close(&m);
}

static void make_anew(struct store *s)
{
	struct err e = { 0 };

	if (store_delete(s, STR("Work"), &e) < 0 || store_create(s, STR("Work"), (struct str){ 0 }, &e) < 0)
		_exit(1);
}

static void test_target(void)
{
	const char *const root = scratch_new();
	struct store *s = must_open(root);
	struct err e = { 0 };
	struct mbox_status st;

	tap_is_int(store_create(s, STR("Work"), (struct str){ 0 }, &e), 0, "a folder");
	struct mbox *m = must_mbox(s, "Work");
	put_new(root, ".Work", MSG);
	struct mbox *t = must_target(s, "Work");
	tap_ok(t == m, "the folder that is open is the target");
	tap_is_int((long)count_files(root, ".Work/new"), 1, "nobody looked for new mail");
	tap_is_int(append_one(t, 0, NULL, MSG), 1, "what is appended comes first");
	elsewhere(root, append_there);
	tap_is_int(append_one(t, 0, NULL, MSG), 4, "what another process did meanwhile is known: it took up the new mail, and appended");
	tap_ok(mbox_refresh(m, &e) == 0 && mbox_status(m, &st, &e) == 0 && st.messages == 4, "all are there once");
	mbox_close(&t);

	elsewhere(root, make_anew);
	t = must_target(s, "Work");
	tap_ok(t != NULL && t != m, "a folder of that name that was made meanwhile is another one");
	tap_is_int(append_one(t, 0, NULL, MSG), 1, "with UIDs of its own");
	mbox_close(&t);
	mbox_close(&m);
	tap_ok(mbox_open_target(s, STR("None"), &t, &e) < 0 && e.code == ERR_NOENT, "a target must be there");
	store_close(&s);
}

/* Messages that stay in memory, and one that does not: what is computed at arrival is the same. */
static void test_known_at_once(void)
{
	struct store *s = must_open(scratch_new());
	struct mbox *m = must_mbox(s, "INBOX");
	struct buf large;

	buf_init(&large, 1 << 20);
	buf_c(&large, CRLF_MSG);
	while (large.n < 200000)
		buf_c(&large, "a line that makes it large\r\n");
	for (unsigned round = 0; round < 2; round++) {
		const uint32_t uid = append_one(m, 0, NULL, round ? large.p : CRLF_MSG);
		struct mbox_summary sum;
		struct str blob = { 0 };
		tap_is_int(uid, round + 1, "a message %s", round ? "that goes through a file" : "in memory");
		tap_is_int(cache_peek(m, uid, MBOX_CACHE_SUMMARY, &blob), 0, "its summary is there");
		tap_ok(summary_parse(blob, &sum) == 0 && str_eq(sum.base_subject, STR("X")), "of what was appended");
		tap_is_int(cache_peek(m, uid, MBOX_CACHE_BODYSTRUCTURE, &blob), 0, "and its structure");
	}
	buf_fini(&large);
	mbox_close(&m);
	store_close(&s);
}

/* Seconds by which the file of a message, appended with this date (0: none), is younger than it should be. */
static int64_t age_of_file(struct mbox *m, int64_t date)
{
	struct mbox_append *ap = NULL;
	struct err e = { 0 };
	struct stat st;
	uint32_t uid;
	size_t n;

	if (mbox_append_begin(m, &ap, &e) < 0 || mbox_append_message(ap, 0, NULL, 0, date, &e) < 0 || mbox_append_data(ap, STR(CRLF_MSG), &e) < 0 ||
	    mbox_append_commit(&ap, &uid, &n, &e) < 0)
		return INT64_MAX;
	CLEANUP_FD int fd = -1;
	if (message_open_pos(m, state_count(&m->st) - 1, &fd, &st) < 0)
		return INT64_MAX;
	return (int64_t)st.st_mtime - state_rec(&m->st, state_count(&m->st) - 1)->internaldate;
}

static void test_times(void)
{
	struct store *s = must_open(scratch_new());
	struct mbox *m = must_mbox(s, "INBOX");
	const int64_t late = age_of_file(m, 0);

	tap_ok(late >= -2 && late <= 2, "a message without a date: its file says when it came");
	tap_is_int(age_of_file(m, 1000000000), 0, "with a date: its file has that");
	mbox_close(&m);
	store_close(&s);
}

/* Many small messages at once: not all of them wait in memory for the last. Those that do not have no name meanwhile that recovery would take for a complete one. */
static void test_memory(void)
{
	enum { MANY = 400, BYTES = 60000 };
	const char *const root = scratch_new();
	struct store *s = must_open(root);
	struct mbox *m = must_mbox(s, "INBOX");
	struct mbox_append *ap = NULL;
	struct err e = { 0 };
	uint32_t uids[MANY];
	struct buf text;
	size_t n = 0;
	int r;

	buf_init(&text, 2 * BYTES);
	buf_c(&text, CRLF_MSG);
	while (text.n < BYTES)
		buf_c(&text, "a line of text\r\n");
	r = mbox_append_begin(m, &ap, &e);
	const size_t before = mallinfo2().uordblks;
	for (unsigned i = 0; r == 0 && i < MANY; i++)
		if ((r = mbox_append_message(ap, 0, NULL, 0, 0, &e)) == 0)
			r = mbox_append_data(ap, buf_view(&text), &e);
	const size_t grown = mallinfo2().uordblks - before;
	tap_ok(r == 0 && grown < 8 << 20, "%d messages of %d bytes: %zu KB of memory", MANY, BYTES, grown >> 10);
	CLEANUP_FD int dirfd = -1;
	r = maildir_open(root, false, &dirfd, &e);
	tap_ok(r == 0 && maildir_recover(dirfd, &e) == 0 && count_files(root, "new") == 0, "none of them could be taken for a complete one");
	tap_is_int(mbox_append_commit(&ap, uids, &n, &e), 0, "they are appended");
	tap_ok(n == MANY && count_files(root, "cur") == MANY && count_files(root, "tmp") == 0, "all of them");
	struct mbox_view *v = mbox_view_new(m);
	const char *const last = read_message(v, MANY);
	tap_ok(mbox_view_count(v) == MANY && last && strlen(last) < text.n && strstr(last, "a line of text\na line of text\n"), "as they are");
	mbox_view_free(&v);
	buf_fini(&text);
	mbox_close(&m);
	store_close(&s);
}

/* For other processes, too: they tell nothing. */
static struct mbox_append *append_begun(struct mbox *m, unsigned n, struct err *e)
{
	struct mbox_append *ap = NULL;
	int r = mbox_append_begin(m, &ap, e);

	for (unsigned i = 0; r == 0 && i < n; i++)
		if ((r = mbox_append_message(ap, 0, NULL, 0, 0, e)) == 0)
			r = mbox_append_data(ap, STR(CRLF_MSG), e);
	return ap;
}

static struct mbox_append *append_of(struct mbox *m, unsigned n)
{
	struct err e = { 0 };
	struct mbox_append *const ap = append_begun(m, n, &e);

	tap_ok(e.code == ERR_NONE, "%u messages: %s", n, e.text);
	return ap;
}

static uint32_t messages_of(struct mbox *m)
{
	struct mbox_status st = { 0 };
	struct err e = { 0 };

	return mbox_status(m, &st, &e) == 0 ? st.messages : UINT32_MAX;
}

enum { MANY = 100, PIECE = 30, LOTS = 300 };	/* LOTS: more than an opening moves */

static bool all_read(struct mbox *m)
{
	struct mbox_view *v = mbox_view_new(m);
	uint32_t good = 0;

	for (uint32_t seq = 1; seq <= mbox_view_count(v); seq++) {
		const char *const text = read_message(v, seq);
		good += text != NULL && strcmp(text, MSG) == 0;
	}
	const bool all = good == mbox_view_count(v);

	mbox_view_free(&v);
	return all;
}

/* Until all are numbered and so many of their files have come into cur. */
static int steps_until(struct mbox_append *ap, const char *root, size_t in_cur, uint32_t *uids)
{
	struct err e = { 0 };
	int r = 1;

	while (r > 0 && count_files(root, "cur") < in_cur)
		r = mbox_append_step(ap, PIECE, uids, &e);
	return r;
}

static void look_there(struct store *s)
{
	struct mbox *m = must_mbox(s, "INBOX");

	if (!all_read(m))
		_exit(1);
	mbox_close(&m);
}

static void find_none_there(struct store *s)
{
	struct mbox *m = must_mbox(s, "INBOX");

	if (messages_of(m) != 0)
		_exit(1);
	mbox_close(&m);
}

/* All are there or none, also while their files are on their way. */
static void test_pieces(void)
{
	const char *const root = scratch_new();
	struct store *s = must_open(root);
	struct mbox *m = must_mbox(s, "INBOX");
	uint32_t uids[MANY], one;
	struct err e = { 0 };
	bool ascending = true, more;
	size_t n;

	struct mbox_append *ap = append_of(m, MANY), *other;
	while (count_files(root, "tmp") < MANY / 2)
		tap_ok(mbox_append_step(ap, PIECE, uids, &e) == 1, "some are written out");
	elsewhere(root, find_none_there);
	tap_ok(messages_of(m) == 0, "none is there");
	mbox_append_abort(&ap);
	tap_ok(messages_of(m) == 0 && count_files(root, "tmp") == 0, "given up: none");

	ap = append_of(m, MANY);
	while (count_files(root, "tmp") < MANY)
		tap_ok(mbox_append_step(ap, PIECE, uids, &e) == 1, "they are written out");
	elsewhere(root, find_none_there);
	tap_is_int(steps_until(ap, root, 1, uids), 1, "a piece of their files has come");
	tap_ok(count_files(root, "cur") == PIECE && count_files(root, "tmp") == MANY - PIECE, "the others stand in tmp");
	tap_ok(messages_of(m) == MANY && all_read(m), "all are there, and can be read");
	other = append_of(m, 1);
	tap_ok(mbox_append_commit(&other, &one, &n, &e) == 0 && one > uids[MANY - 1], "another one comes between");
	elsewhere(root, look_there);
	tap_is_int(mbox_append_step(ap, MANY, uids, &e), 0, "another process has moved the rest");
	mbox_append_abort(&ap);
	for (unsigned i = 1; i < MANY; i++)
		ascending &= uids[i] > uids[i - 1];
	tap_ok(ascending && count_files(root, "cur") == MANY + 1 && count_files(root, "tmp") == 0, "all have come into cur, and their numbers ascend");
	while (mbox_flush(m, 100, &more, &e) == 0 && more)
		;
	tap_ok(!mbox_untidy(m) && messages_of(m) == MANY + 1 && all_read(m), "nothing is left to do");
	mbox_close(&m);
	store_close(&s);
}

/* While files stand in tmp: flags, copies, expunges, a listing, and a connection that ends. */
static void test_on_their_way(void)
{
	const char *const root = scratch_new();
	struct store *s = must_open(root);
	struct mbox *m = must_mbox(s, "INBOX");
	struct err e = { 0 };
	uint32_t uids[MANY], copies[MANY], seqs[MANY];
	size_t failed;
	bool more = true;
	int rounds = 0;

	tap_is_int(store_create(s, STR("Work"), (struct str){ 0 }, &e), 0, "a folder");
	struct mbox *work = must_mbox(s, "Work");
	struct mbox_append *ap = append_of(m, MANY);
	tap_is_int(steps_until(ap, root, 1, uids), 1, "a piece of their files has come");
	struct mbox_view *v = mbox_view_new(m);
	for (uint32_t i = 0; i < MANY; i++)
		seqs[i] = i + 1;
	tap_is_int(mbox_copy(v, seqs, MANY, work, false, copies, &e), 0, "all are copied");
	tap_ok(messages_of(work) == MANY && all_read(work), "and read there");
	tap_is_int(mbox_store_flags(v, seqs + 90, 5, MBOX_ADD, MBOX_FLAGGED, NULL, 0, 0, NULL, &failed, &e), 0, "some are flagged");
	tap_is_int(mbox_expunge(v, seqs + 95, 5, &e), 0, "some are expunged");
	put_file(root, "cur/1000000001.foreign:2,", MSG);
	tap_ok(mbox_refresh(m, &e) == 0 && messages_of(m) == MANY - 5 + 1 && all_read(m), "another program's file is found, and none is missed");
	mbox_append_abort(&ap);
	mbox_view_free(&v);
	for (; more && rounds < 100; rounds++)
		if (mbox_flush(m, 20, &more, &e) < 0)
			break;
	tap_ok(!more && rounds > 3, "what was left is tidied up in pieces");
	tap_ok(count_files(root, "tmp") == 0 && count_files(root, "cur") == MANY - 5 + 1, "all files are in cur");
	mbox_close(&m);
	m = must_mbox(s, "INBOX");
	tap_ok(messages_of(m) == MANY - 5 + 1 && all_read(m), "so it is when the folder is opened again");
	mbox_close(&m);
	mbox_close(&work);
	store_close(&s);
}

/* The folder's own files are lost, and with them what says that the messages were promised. */
static void test_without_a_journal(void)
{
	static const char *const own[] = { "postern.journal", "postern.index", "postern.uidvalidity" };
	const char *const root = scratch_new();
	struct store *s = must_open(root);
	/* Of others that were never promised: named, not yet written. */
	static const char *const unfilled[] = { "tmp/1700000000.M1P1.host,S=38,W=42" MAILDIR_TOGETHER, "tmp/1700000000.M2P1.host,S=38,W=42" MAILDIR_TOGETHER };
	struct mbox *m = must_mbox(s, "INBOX");
	uint32_t uids[MANY];

	struct mbox_append *ap = append_of(m, MANY);
	tap_is_int(steps_until(ap, root, 1, uids), 1, "a piece of their files has come");
	mbox_append_abort(&ap);
	mbox_leave(&m);
	tap_ok(count_files(root, "tmp") == MANY - PIECE, "the others stand in tmp");
	for (unsigned i = 0; i < ARRAY_LEN(unfilled); i++)
		put_file(root, unfilled[i], i == 0 ? "" : "Subject: cut");
	for (size_t i = 0; i < sizeof(own) / sizeof(*own); i++)
		(void)unlink(scratch_path(root, own[i]));
	m = must_mbox(s, "INBOX");
	tap_ok(messages_of(m) == MANY && all_read(m) && count_files(root, "tmp") == 0, "what is whole is new mail: %u", messages_of(m));
	mbox_close(&m);
	store_close(&s);
}

/* A power cut may set the clock back, too: what comes first afterwards is then older than the names of what was promised before. */
static void test_clock_set_back(void)
{
	const char *const root = scratch_new();
	struct store *s = must_open(root);
	struct mbox *m = must_mbox(s, "INBOX");
	uint32_t uids[LOTS];

	ahead = (time_t)10 * 86400;
	struct mbox_append *ap = append_of(m, LOTS);
	tap_is_int(steps_until(ap, root, 1, uids), 1, "a piece of their files has come");
	mbox_append_abort(&ap);
	mbox_leave(&m);
	ahead = 0;
	tap_ok(count_files(root, "tmp") == LOTS - PIECE, "the others stand in tmp");
	put_file(root, "new/1000000002.other", MSG);
	m = must_mbox(s, "INBOX");
	tap_ok(messages_of(m) == LOTS + 1 && all_read(m), "all are there, and a new one: %u", messages_of(m));
	mbox_close(&m);
	m = must_mbox(s, "INBOX");
	tap_ok(messages_of(m) == LOTS + 1 && all_read(m), "and when it is opened again: %u", messages_of(m));
	mbox_close(&m);
	store_close(&s);
}

/* As a power cut leaves the last message where its record was durable and its name in cur not: in tmp, with these bytes. cur looks as it was accounted for. */
static void cut_last(const char *root, struct mbox *m, const char *bytes, size_t n)
{
	const struct rec *const r = state_rec(&m->st, state_count(&m->st) - 1);
	char name[FILE_NAME_MAX + 1], cur[FILE_NAME_MAX + 8], tmp[TOGETHER_PATH_MAX];
	struct stat st = { 0 };

	if (disk_name(name, state_name(&m->st, r), r->disk, (struct str){ 0 }) < 0 || together_path(&m->st, r, tmp) < 0)
		exit(90);
	snprintf(cur, sizeof(cur), "cur/%s", name);
	(void)fstat(m->curfd, &st);
	if (renameat(m->dirfd, cur, m->dirfd, tmp) < 0)
		exit(91);
	if (bytes) {
		CLEANUP_FD int fd = open(scratch_path(root, tmp), O_WRONLY | O_TRUNC);
		if (write(fd, bytes, n) != (ssize_t)n)
			exit(92);
	}
	const struct timespec ts[2] = { { .tv_nsec = UTIME_OMIT }, st.st_mtim };
	(void)futimens(m->curfd, ts);
}

/* A record may be durable before its file is in cur, or is written. */
static void test_cut_in_between(void)
{
	static const char zeros[sizeof(MSG) - 1];
	static const struct {
		const char *what, *bytes;
		size_t n;
		bool whole;
	} cases[] = {
		{ "whole", NULL, 0, true }, { "empty", "", 0, false }, { "cut short", MSG, sizeof(MSG) / 2, false }, { "of the right length, without its bytes", zeros, sizeof(zeros), false },
	};

	for (unsigned i = 0; i < ARRAY_LEN(cases); i++) {
		const char *const root = scratch_new();
		struct store *s = must_open(root);
		struct mbox *m = must_mbox(s, "INBOX");
		const bool both = append_one(m, 0, NULL, MSG) == 1 && append_one(m, MBOX_SEEN, NULL, MSG) == 2;
		cut_last(root, m, cases[i].bytes, cases[i].n);
		mbox_leave(&m);
		m = must_mbox(s, "INBOX");
		tap_ok(both && messages_of(m) == (cases[i].whole ? 2 : 1) && all_read(m), "a file that is %s: %u messages", cases[i].what, messages_of(m));
		tap_ok(count_files(root, "cur") == messages_of(m) && count_files(root, "new") == 0, "which have a file each");
		tap_is_int((long)count_files(root, "tmp"), !cases[i].whole, "and what is no message waits to be swept");
		tap_is_int(append_one(m, 0, NULL, MSG), 3, "its UID is not given again");
		mbox_close(&m);
		store_close(&s);
	}
}

static size_t threads(void)
{
	return count_files("/proc/self", "task");
}

/* Message i of a row: all have other lengths. */
static void text_of(struct buf *out, unsigned i, const char *eol)
{
	buf_reset(out);
	buf_printf(out, "Subject: %u%s%s", i, eol, eol);
	for (unsigned k = 0; k < i; k++)
		buf_printf(out, "%u%s", k, eol);
}

/* The same, whoever writes them out. */
static void test_crews(unsigned size)
{
	const char *const root = scratch_new();
	struct store *s = must_open(root);
	struct mbox_append *ap = NULL;
	struct err e = { 0 };
	struct buf text;
	uint32_t uids[MANY];
	unsigned good = 0;
	size_t n = 0;

	store_crew_size(s, size);
	struct mbox *m = must_mbox(s, "INBOX");
	buf_init(&text, 4096);
	int r = mbox_append_begin(m, &ap, &e);
	for (unsigned i = 0; r == 0 && i < MANY; i++) {
		text_of(&text, i, "\r\n");
		if ((r = mbox_append_message(ap, 0, NULL, 0, 0, &e)) == 0)
			r = mbox_append_data(ap, buf_view(&text), &e);
	}
	const size_t before = threads();
	tap_ok(r == 0 && mbox_append_commit(&ap, uids, &n, &e) == 0 && n == MANY, "a crew of %u: all are there: %s", size, e.text);
	tap_is_int(threads() > before, size > 1, "the loop has help, or has not");
	struct mbox_view *v = mbox_view_new(m);
	for (unsigned i = 0; i < mbox_view_count(v); i++) {
		text_of(&text, i, "\n");
		const char *const t = read_message(v, i + 1);
		good += t && str_eq(str_c(t), buf_view(&text)) && mbox_view_uid(v, i + 1) == uids[i];
	}
	tap_is_int(good, MANY, "each as it is, in their order");
	mbox_view_free(&v);
	buf_fini(&text);
	mbox_close(&m);
	store_close(&s);
}

/* One message of many cannot be written: there is none. */
static void test_one_fails(void)
{
	const struct rlimit small = { .rlim_cur = 2000, .rlim_max = RLIM_INFINITY };
	const char *const root = scratch_new();
	struct store *s = must_open(root);
	struct mbox *m = must_mbox(s, "INBOX");
	struct rlimit was;
	uint32_t uids[MANY];
	struct err e = { 0 };
	char line[3001];
	int r = 1;

	memset(line, 'x', sizeof(line));
	struct mbox_append *ap = append_of(m, 13), *long_one = NULL, *rest = append_of(m, 20);
	tap_ok(mbox_append_begin(m, &long_one, &e) == 0 && mbox_append_message(long_one, 0, NULL, 0, 0, &e) == 0 &&
	       mbox_append_data(long_one, str_n(line, sizeof(line)), &e) == 0, "a long one");
	tap_ok(mbox_append_join(ap, &long_one, &e) == 0 && mbox_append_join(ap, &rest, &e) == 0, "in the midst of them");
	getrlimit(RLIMIT_FSIZE, &was);
	signal(SIGXFSZ, SIG_IGN);
	tap_is_int(setrlimit(RLIMIT_FSIZE, &small), 0, "no file may become so long");
	while (r > 0)
		r = mbox_append_step(ap, PIECE, uids, &e);
	setrlimit(RLIMIT_FSIZE, &was);
	tap_ok(r < 0 && e.code == ERR_QUOTA, "that is said: %s", e.text);
	mbox_append_abort(&ap);
	tap_ok(messages_of(m) == 0 && count_files(root, "tmp") == 0 && count_files(root, "cur") == 0, "none of them is there");
	mbox_close(&m);
	store_close(&s);
}

/* --- the quota, which is counted anew while some stand in tmp --- */

static const struct quota quota_limits = { 1 << 20, 0 };
enum { MSG_BYTES = sizeof(MSG) - 1 };

static void write_and_end_there(struct store *s)
{
	struct mbox *m = must_mbox(s, "INBOX");
	uint32_t uids[MANY];
	struct err e = { 0 };

	struct mbox_append *ap = append_begun(m, MANY, &e);
	for (size_t before = count_files(s->root, "tmp"); count_files(s->root, "tmp") < before + MANY;)
		if (mbox_append_step(ap, PIECE, uids, &e) <= 0)
			_exit(1);
	_exit(0);
}

static void begin_and_end_there(struct store *s)
{
	struct mbox *m = must_mbox(s, "INBOX");
	uint32_t uids[MANY];
	struct err e = { 0 };

	store_quota_limits(s, &quota_limits);
	struct mbox_append *ap = append_begun(m, MANY, &e);
	while (m->st.messages < 2 * MANY)
		if (mbox_append_step(ap, PIECE, uids, &e) <= 0)
			_exit(1);
	_exit(mbox_append_step(ap, PIECE, uids, &e) == 1 ? 0 : 1);
}

static bool uses(struct store *s, size_t messages)
{
	struct quota use = { 0 };
	struct err e = { 0 };

	if (store_quota_use(s, &use, &e) == 0 && use.bytes == messages * MSG_BYTES && use.count == messages)
		return true;
	tap_diag("%llu bytes, %llu messages", (unsigned long long)use.bytes, (unsigned long long)use.count);
	return false;
}

static void test_quota_counted(void)
{
	const char *const root = scratch_new();
	struct store *s = must_open(root);
	struct mbox *m = must_mbox(s, "INBOX");
	uint32_t uids[MANY];
	struct err e = { 0 };

	store_quota_limits(s, &quota_limits);
	struct mbox_append *ap = append_of(m, MANY);
	tap_is_int(steps_until(ap, root, 1, uids), 1, "a piece of their files has come");
	store_quota_forget(s);
	tap_ok(uses(s, PIECE) && access(scratch_path(root, "maildirsize"), F_OK) < 0, "the others are not counted, and that sum is not kept");
	while (mbox_append_step(ap, PIECE, uids, &e) > 0)
		;
	mbox_append_abort(&ap);
	tap_ok(uses(s, MANY) && access(scratch_path(root, "maildirsize"), F_OK) == 0, "when all have come they are counted, and the sum is kept");
	elsewhere(root, begin_and_end_there);
	tap_is_int((long)count_files(root, "tmp"), MANY - PIECE, "the files of one that was killed stand in tmp");
	store_quota_forget(s);
	tap_ok(uses(s, 2 * MANY), "and are counted");
	tap_ok(mbox_refresh(m, &e) == 0 && messages_of(m) == 2 * MANY && uses(s, 2 * MANY), "when they have come, too");
	mbox_close(&m);
	tap_ok(uses(s, 2 * MANY), "and when all is tidied up");
	elsewhere(root, write_and_end_there);
	store_quota_forget(s);
	tap_ok(uses(s, 3 * MANY), "those of one that was killed before it had promised anything are counted,");
	m = must_mbox(s, "INBOX");
	tap_ok(messages_of(m) == 2 * MANY && count_files(root, "tmp") == 0 && uses(s, 2 * MANY), "until they are tidied up");
	mbox_close(&m);
	store_close(&s);
}

int main(void)
{
	test_target();
	test_known_at_once();
	test_times();
	test_memory();
	test_pieces();
	test_quota_counted();
	test_on_their_way();
	test_without_a_journal();
	test_clock_set_back();
	test_cut_in_between();
	test_crews(1);
	test_crews(4);
	test_one_fails();
	return tap_done();
}
