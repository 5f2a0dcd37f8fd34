/* kill -9 before each system call that changes anything, of each operation: what was acknowledged is there, nothing is lost, doubled or renumbered, the
 * folder repairs itself. The operation runs in a traced child that is killed at its k-th such call, for every k. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "store/store_priv.h"
#include "store/test_ask.h"
#include "store/test_store.h"
#include "test/tap.h"

enum { CALLS_MAX = 2000, LARGE = 70000 };

/* What the child has been promised, in memory that outlives it. */
struct promise {
	volatile int done;		/* the operation returned success */
	volatile uint32_t uid[8];
};
static struct promise *promise;

struct scenario {
	const char *name;
	void (*prepare)(const char *root);
	void (*run)(const char *root);		/* in the child */
	bool (*holds)(const char *root, char why[200]);
};

/* --- looking --- */

struct look {
	struct store *s;
	struct mbox *m;
	struct mbox_view *v;
};

static void look_at(struct look *l, const char *root, const char *folder)
{
	l->s = must_open(root);
	l->m = must_mbox(l->s, folder);
	l->v = mbox_view_new(l->m);
}

static void look_end(struct look *l)
{
	mbox_view_free(&l->v);
	mbox_close(&l->m);
	store_close(&l->s);
}

/* Sequence number of the one message with this text; 0 none, UINT32_MAX twice. */
static uint32_t find(struct look *l, const char *text)
{
	uint32_t found = 0;

	for (uint32_t seq = 1; seq <= mbox_view_count(l->v); seq++) {
		const char *const t = read_message(l->v, seq);
		if (t && strcmp(t, text) == 0)
			found = found ? UINT32_MAX : seq;
	}
	return found;
}

/* Every file has a message, every message a file, UIDs ascend. */
static bool sound(struct look *l, const char *root, const char *sub, char why[200])
{
	uint32_t last = 0;
	struct mbox_status st;
	struct err e = { 0 };
	struct mbox_msg msg;
	uint64_t size = 0;
	uint32_t unseen = 0;
	char path[64];

	snprintf(path, sizeof(path), "%scur", sub);
	const size_t files = count_files(root, path);
	if (files != mbox_view_count(l->v)) {
		snprintf(why, 200, "%zu files, %u messages", files, mbox_view_count(l->v));
		return false;
	}
	for (uint32_t seq = 1; seq <= mbox_view_count(l->v); seq++) {
		if (mbox_msg_get(l->v, seq, &msg, &e) < 0 || msg.uid <= last || read_message(l->v, seq) == NULL) {
			snprintf(why, 200, "message %u: %s", seq, e.text);
			return false;
		}
		last = msg.uid;
		size += msg.size_crlf;
		unseen += !(msg.flags & MBOX_SEEN);
	}
	if (mbox_status(l->m, &st, &e) < 0 || st.messages != mbox_view_count(l->v) || st.size != size || st.unseen != unseen || st.uidnext <= last) {
		snprintf(why, 200, "counters: %u %u/%u", st.messages, st.unseen, unseen);
		return false;
	}
	return true;
}

/* --- scenarios --- */

static void prepare_some(const char *root)
{
	struct look l;

	look_at(&l, root, "INBOX");
	append_one(l.m, 0, NULL, "zero\n");
	append_one(l.m, MBOX_SEEN, "kw", "one\n");
	append_one(l.m, 0, NULL, "two\n");
	look_end(&l);
}

static bool base_holds(struct look *l, char why[200])
{
	if (find(l, "zero\n") == 1 && mbox_view_uid(l->v, 1) == 1)
		return true;
	snprintf(why, 200, "message zero is not as it was");
	return false;
}

static void run_deliver(const char *root)
{
	struct look l;

	put_new(root, "", "three\n");
	look_at(&l, root, "INBOX");
	promise->uid[0] = mbox_view_uid(l.v, find(&l, "three\n"));
	promise->done = promise->uid[0] != 0;
}

static bool holds_deliver(const char *root, char why[200])
{
	struct look l;

	look_at(&l, root, "INBOX");
	const uint32_t seq = find(&l, "three\n");
	bool good = sound(&l, root, "", why) && base_holds(&l, why);
	if (good && (seq == UINT32_MAX || (promise->done && (seq == 0 || mbox_view_uid(l.v, seq) != promise->uid[0])))) {
		snprintf(why, 200, "delivered message at %u", seq);
		good = false;
	}
	look_end(&l);
	return good;
}

static void run_append(const char *root)
{
	struct look l;
	struct mbox_append *ap;
	struct err e = { 0 };
	const struct str kw = STR("new-word");
	uint32_t uids[2];
	size_t n;

	look_at(&l, root, "INBOX");
	if (mbox_append_begin(l.m, &ap, &e) < 0 || mbox_append_message(ap, MBOX_SEEN, &kw, 1, 5, &e) < 0 || mbox_append_data(ap, STR("three\r\n"), &e) < 0 ||
	    mbox_append_message(ap, MBOX_FLAGGED, NULL, 0, 6, &e) < 0 || mbox_append_data(ap, STR("four\n"), &e) < 0 ||
	    mbox_append_commit(&ap, uids, &n, &e) < 0)
		_exit(3);
	promise->uid[0] = uids[0];
	promise->uid[1] = uids[1];
	promise->done = 1;
	look_end(&l);
}

static bool holds_append(const char *root, char why[200])
{
	struct look l;
	struct mbox_msg msg;
	struct err e = { 0 };

	look_at(&l, root, "INBOX");
	const uint32_t three = find(&l, "three\n"), four = find(&l, "four\n");
	bool good = sound(&l, root, "", why) && base_holds(&l, why) && three != UINT32_MAX && four != UINT32_MAX;
	if (good && promise->done) {
		good = three && four && mbox_view_uid(l.v, three) == promise->uid[0] && mbox_view_uid(l.v, four) == promise->uid[1] &&
		       mbox_msg_get(l.v, three, &msg, &e) == 0 && msg.flags & MBOX_SEEN && msg.keywords[0] != 0 && mbox_msg_date(l.v, three) == 5;
		snprintf(why, 200, "appended at %u and %u", three, four);
	}
	look_end(&l);
	return good;
}

/* One by one, the last of them large. */
static void run_append_ones(const char *root)
{
	struct look l;
	char *const large = xzalloc(LARGE + 1);

	memset(large, 'x', LARGE);
	look_at(&l, root, "INBOX");
	promise->uid[0] = append_one(l.m, MBOX_SEEN, "new-word", "three\n");
	promise->uid[1] = append_one(l.m, 0, NULL, "four\n");
	promise->uid[2] = append_one(l.m, 0, NULL, large);
	free(large);
	promise->done = 1;
	look_end(&l);
}

static bool holds_append_ones(const char *root, char why[200])
{
	static const char *const texts[] = { "three\n", "four\n" };
	struct look l;

	look_at(&l, root, "INBOX");
	const uint32_t n = mbox_view_count(l.v);
	bool good = sound(&l, root, "", why) && base_holds(&l, why);
	for (unsigned i = 0; good && i < ARRAY_LEN(texts); i++) {
		const uint32_t seq = find(&l, texts[i]);
		good = seq != UINT32_MAX && (promise->uid[i] == 0 || (seq > 0 && mbox_view_uid(l.v, seq) == promise->uid[i]));
		snprintf(why, 200, "message %u at %u of %u", i, seq, n);
	}
	if (good && (promise->uid[2] ? n != 6 || mbox_view_uid(l.v, 6) != promise->uid[2] : n > 6)) {
		snprintf(why, 200, "%u messages", n);
		good = false;
	}
	look_end(&l);
	return good;
}

/* Several in one APPEND, which are not all written out, and get into cur, at once (RFC 3502: all or none of them). */
enum { MANY = 40, MANY_STEP = 9 };

static void many_text(char out[40], int i)
{
	snprintf(out, 40, "one of many: %d\n", i);
}

/* half: it ends when some have come into cur. */
static void append_many(const char *root, bool half)
{
	struct look l;
	struct mbox_append *ap;
	struct err e = { 0 };
	const struct str kw = STR("new-word");
	static uint32_t uids[MANY];
	char text[40];
	int r = 0;

	look_at(&l, root, "INBOX");
	if (mbox_append_begin(l.m, &ap, &e) < 0)
		_exit(3);
	for (int i = 0; r == 0 && i < MANY; i++) {
		many_text(text, i);
		r = mbox_append_message(ap, i % 2 ? MBOX_SEEN : 0, &kw, i % 3 == 0, 5, &e);
		if (r == 0)
			r = mbox_append_data(ap, str_c(text), &e);
	}
	do
		r = r < 0 ? r : mbox_append_step(ap, MANY_STEP, uids, &e);
	while (r > 0 && !(half && count_files(root, "cur") > MANY_STEP));
	if (r < 0)
		_exit(3);
	promise->uid[0] = uids[0];
	promise->uid[1] = uids[MANY - 1];
	promise->done = 1;
	if (half)
		_exit(0);
	mbox_append_abort(&ap);
	look_end(&l);
}

static void run_append_many(const char *root)
{
	append_many(root, false);
}

static bool holds_append_many(const char *root, char why[200])
{
	struct look l;
	char text[40];
	int there = 0;

	look_at(&l, root, "INBOX");
	bool good = sound(&l, root, "", why) && base_holds(&l, why);
	for (int i = 0; good && i < MANY; i++) {
		many_text(text, i);
		const uint32_t seq = find(&l, text);
		good = seq != UINT32_MAX;
		there += seq != 0;
	}
	const size_t left = count_files(root, "tmp");
	if (good && (left > 0 || (there != MANY && (there != 0 || promise->done)) ||
		     (promise->done && (mbox_view_uid(l.v, 4) != promise->uid[0] || mbox_view_uid(l.v, 3 + MANY) != promise->uid[1])))) {
		snprintf(why, 200, "%d of %d are there, %zu files in tmp", there, MANY, left);
		good = false;
	}
	look_end(&l);
	return good;
}

static void prepare_half(const char *root)
{
	int status;

	prepare_some(root);
	const pid_t pid = fork();
	if (pid == 0)
		append_many(root, true);
	if (waitpid(pid, &status, 0) < 0 || !WIFEXITED(status) || WEXITSTATUS(status) != 0)
		exit(93);
}

static void run_look(const char *root)
{
	struct look l;

	look_at(&l, root, "INBOX");
	look_end(&l);
}

static void run_flags(const char *root)
{
	struct look l;
	struct err e = { 0 };
	const uint32_t seqs[] = { 1, 3 };
	const struct str kw = STR("w");

	look_at(&l, root, "INBOX");
	if (mbox_store_flags(l.v, seqs, 2, MBOX_ADD, MBOX_FLAGGED, &kw, 1, 0, NULL, NULL, &e) < 0)
		_exit(3);
	promise->done = 1;
	look_end(&l);		/* renames the files */
}

static bool holds_flags(const char *root, char why[200])
{
	struct look l;
	bool good;

	look_at(&l, root, "INBOX");
	const char *const d = describe(l.v);
	const bool after = strcmp(d, "1:2,w 2:8,kw 3:2,w") == 0, before = strcmp(d, "1:0 2:8,kw 3:0") == 0;
	snprintf(why, 200, "%s", d);
	good = after || (before && !promise->done);
	good = good && sound(&l, root, "", why);
	look_end(&l);
	return good;
}

static void run_expunge(const char *root)
{
	struct look l;
	struct err e = { 0 };
	const uint32_t seqs[] = { 2, 3 };

	look_at(&l, root, "INBOX");
	if (mbox_expunge(l.v, seqs, 2, &e) < 0)
		_exit(3);
	promise->done = 1;
	look_end(&l);
}

static bool holds_expunge(const char *root, char why[200])
{
	struct look l;

	look_at(&l, root, "INBOX");
	const uint32_t n = mbox_view_count(l.v);
	bool good = sound(&l, root, "", why) && base_holds(&l, why);
	if (good && n != 1 && (n != 3 || promise->done)) {
		snprintf(why, 200, "%u are left", n);
		good = false;
	}
	look_end(&l);
	return good;
}

static void prepare_two(const char *root)
{
	struct store *s;
	struct err e = { 0 };

	prepare_some(root);
	s = must_open(root);
	if (store_create(s, STR("Other"), STR(""), &e) < 0)
		exit(92);
	store_close(&s);
}

static void run_move(const char *root)
{
	struct look l;
	struct err e = { 0 };
	const uint32_t seqs[] = { 2, 3 };
	uint32_t uids[2];

	look_at(&l, root, "INBOX");
	struct mbox *d = must_mbox(l.s, "Other");
	if (mbox_copy(l.v, seqs, 2, d, true, uids, &e) < 0)
		_exit(3);
	promise->done = 1;
	mbox_close(&d);
	look_end(&l);
}

static bool holds_move(const char *root, char why[200])
{
	struct look a, b;
	bool good;

	look_at(&a, root, "INBOX");
	look_at(&b, root, "Other");
	const uint32_t from = find(&a, "two\n"), to = find(&b, "two\n");
	good = sound(&a, root, "", why) && sound(&b, root, ".Other/", why) && base_holds(&a, why);
	if (good && (from == UINT32_MAX || to == UINT32_MAX || (!from && !to) || (promise->done && (from || !to)))) {
		snprintf(why, 200, "message two at %u and %u", from, to);
		good = false;
	}
	look_end(&a);
	look_end(&b);
	return good;
}

static void prepare_texts(const char *root)
{
	struct look l;

	look_at(&l, root, "INBOX");
	append_one(l.m, 0, NULL, "Subject: a\n\nthe word is zero\n");
	append_one(l.m, 0, NULL, "Subject: b\n\nthe word is one\n");
	append_one(l.m, 0, NULL, "Subject: c\n\nthe word is two\n");
	look_end(&l);
}

/* What is learned for searching is disposable: whatever is left of it hides no message. */
static void run_learn(const char *root)
{
	struct look l;
	struct err e = { 0 };
	struct msgfile f;

	look_at(&l, root, "INBOX");
	for (uint32_t seq = 1; seq <= mbox_view_count(l.v); seq++) {
		while (!mbox_search_load(l.v))
			;
		if (msgfile_open(&f, l.v, seq, false, &e) < 0)
			_exit(3);
		mbox_search_learn(l.v, seq, &f);
		msgfile_close(&f);
		mbox_search_flush(l.m);
	}
	promise->done = 1;
	look_end(&l);
}

static bool may_hold(struct look *l, const char *word, uint32_t seq)
{
	struct arena *a = arena_new(0);
	const struct str needle = str_c(word);

	while (!mbox_search_load(l->v))
		;
	const struct mbox_candidates *const c = ask_at_once(l->v, MBOX_SEARCH_TEXT, needle, a);
	const bool may = c == NULL || (mbox_search_may(c, l->v, seq) && mbox_search_next(c, l->v, seq) == seq);

	arena_free(&a);
	return may;
}

static bool holds_learn(const char *root, char why[200])
{
	struct look l;

	look_at(&l, root, "INBOX");
	bool good = sound(&l, root, "", why);
	for (int turn = 0; good && turn < 2; turn++) {	/* as it was left, and when all has been learned */
		good = may_hold(&l, "ZERO", 1) && may_hold(&l, "ONE", 2) && may_hold(&l, "TWO", 3);
		if (!good)
			snprintf(why, 200, "a message is hidden in turn %d", turn);
		run_learn(root);
	}
	look_end(&l);
	return good;
}

/* A journal that is long enough to be written anew when nothing else is to do. */
static void prepare_long(const char *root)
{
	const uint32_t seq = 2;
	struct look l;
	struct err e = { 0 };

	prepare_some(root);
	look_at(&l, root, "INBOX");
	for (int i = 0; !mbox_journal_due(l.m) && i < 10000; i++)
		if (mbox_store_flags(l.v, &seq, 1, i % 2 ? MBOX_REMOVE : MBOX_ADD, MBOX_ANSWERED, NULL, 0, 0, NULL, NULL, &e) < 0)
			exit(91);
	look_end(&l);
}

static void run_rewrite(const char *root)
{
	struct look l;
	struct err e = { 0 };
	bool more = true;

	look_at(&l, root, "INBOX");
	while (more)
		if (mbox_flush(l.m, 100, &more, &e) < 0)
			_exit(3);
	if (mbox_journal_due(l.m))
		_exit(4);
	promise->done = 1;
	look_end(&l);
}

static bool holds_rewrite(const char *root, char why[200])
{
	struct look l;

	look_at(&l, root, "INBOX");
	const bool good = sound(&l, root, "", why) && base_holds(&l, why) && find(&l, "one\n") == 2 && mbox_view_uid(l.v, 2) == 2 && find(&l, "two\n") == 3;
	look_end(&l);
	return good;
}

static void run_folders(const char *root)
{
	struct store *s = must_open(root);
	struct err e = { 0 };

	if (store_create(s, STR("A/B"), STR("\\Archive"), &e) < 0 || store_rename(s, STR("A"), STR("C"), &e) < 0 || store_delete(s, STR("C/B"), &e) < 0 ||
	    store_subscribe(s, STR("C"), true, &e) < 0)
		_exit(3);
	promise->done = 1;
	store_close(&s);
}

static bool holds_folders(const char *root, char why[200])
{
	struct look l;
	struct err e = { 0 };
	struct store_folder *f;
	struct arena *a = arena_new(0);
	bool good, c = false;

	look_at(&l, root, "INBOX");
	good = sound(&l, root, "", why) && base_holds(&l, why) && store_list(l.s, a, &f, &e) == 0;
	for (; good && f; f = f->next) {
		struct mbox_status st;
		c |= str_eq(f->name, STR("C")) && f->subscribed;
		if (f->exists && store_status(l.s, f->name, &st, &e) < 0) {
			snprintf(why, 200, "%.*s: %.100s", STR_ARG(f->name), e.text);
			good = false;
		}
	}
	good = good && (c || !promise->done);
	look_end(&l);
	arena_free(&a);
	return good;
}

static void prepare_old(const char *root)
{
	static const char *const names[] = { "cur", "new", "tmp" };

	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		mkdir(scratch_path(root, names[i]), 0700);
	put_file(root, "cur/1000000001.M1P1.h:2,", "zero\n");
	put_file(root, "cur/1000000002.M1P1.h:2,S", "one\n");
	put_file(root, "new/1000000003.M1P1.h", "two\n");
	put_file(root, "dovecot-uidlist", "3 V77 N50\n7 :1000000001.M1P1.h\n9 :1000000002.M1P1.h\n");
}

static void run_takeover(const char *root)
{
	struct look l;

	look_at(&l, root, "INBOX");
	promise->done = 1;
	promise->uid[0] = mbox_view_uid(l.v, 3);
	look_end(&l);
}

static bool holds_takeover(const char *root, char why[200])
{
	struct look l;
	struct mbox_status st;
	struct err e = { 0 };

	look_at(&l, root, "INBOX");
	bool good = sound(&l, root, "", why) && mbox_status(l.m, &st, &e) == 0 && st.uidvalidity == 77 && find(&l, "zero\n") == 1 &&
		    mbox_view_uid(l.v, 1) == 7 && find(&l, "one\n") == 2 && mbox_view_uid(l.v, 2) == 9 && find(&l, "two\n") == 3 && mbox_view_uid(l.v, 3) >= 50;
	if (good && promise->uid[0])
		good = mbox_view_uid(l.v, 3) == promise->uid[0];
	snprintf(why, 200, "%s", describe(l.v));
	look_end(&l);
	return good;
}

static const struct scenario scenarios[] = {
	{ "first delivery", NULL, run_deliver, NULL },
	{ "delivery", prepare_some, run_deliver, holds_deliver },
	{ "appends of one", prepare_some, run_append_ones, holds_append_ones },
	{ "append of two", prepare_some, run_append, holds_append },
	{ "append of many", prepare_some, run_append_many, holds_append_many },
	{ "what an append of many has left", prepare_half, run_look, holds_append_many },
	{ "flags and their way into names", prepare_some, run_flags, holds_flags },
	{ "expunge", prepare_some, run_expunge, holds_expunge },
	{ "move", prepare_two, run_move, holds_move },
	{ "a journal written anew in pieces", prepare_long, run_rewrite, holds_rewrite },
	{ "learning for searches", prepare_texts, run_learn, holds_learn },
	{ "folders", prepare_some, run_folders, holds_folders },
	{ "takeover", prepare_old, run_takeover, holds_takeover },
};

/* --- killing --- */

/* Calls that change files; being killed before another is being killed before the next of these. */
static bool changes_files(pid_t pid)
{
	static const long calls[] = { SYS_write, SYS_pwrite64, SYS_openat, SYS_renameat, SYS_renameat2, SYS_linkat, SYS_unlinkat, SYS_mkdirat, SYS_fsync,
		SYS_fdatasync, SYS_utimensat, SYS_ftruncate, SYS_exit_group };
	struct __ptrace_syscall_info info = { 0 };

	if (ptrace(PTRACE_GET_SYSCALL_INFO, pid, sizeof(info), &info) <= 0)
		return true;
	if (info.op != PTRACE_SYSCALL_INFO_ENTRY)
		return false;
	for (size_t i = 0; i < ARRAY_LEN(calls); i++)
		if ((long)info.entry.nr == calls[i])
			return calls[i] != SYS_openat || (info.entry.args[2] & O_CREAT);
	return false;
}

/* Run it, killed at the k-th call. 1: it came to its end before, 0: killed, -1: it cannot be traced. */
static int run_killed(const struct scenario *sc, const char *root, int k)
{
	int status;
	const pid_t pid = fork();

	if (pid == 0) {
		if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) < 0)
			_exit(77);
		(void)raise(SIGSTOP);
		sc->run(root);
		_exit(0);
	}
	if (waitpid(pid, &status, 0) < 0 || !WIFSTOPPED(status))
		return -1;
	(void)ptrace(PTRACE_SETOPTIONS, pid, NULL, PTRACE_O_EXITKILL | PTRACE_O_TRACESYSGOOD);
	for (int calls = 0;;) {
		if (calls == k) {
			(void)kill(pid, SIGKILL);
			(void)waitpid(pid, &status, 0);
			return 0;
		}
		if (ptrace(PTRACE_SYSCALL, pid, NULL, NULL) < 0 || waitpid(pid, &status, 0) < 0)
			return -1;
		if (WIFEXITED(status))
			return WEXITSTATUS(status) == 0 ? 1 : -1;
		if (WIFSIGNALED(status))
			return -1;
		calls += changes_files(pid);
	}
}

static bool first_holds(const char *root, char why[200])
{
	struct look l;

	look_at(&l, root, "INBOX");
	const uint32_t seq = find(&l, "three\n");
	bool good = sound(&l, root, "", why) && seq != UINT32_MAX && (!promise->done || (seq != 0 && mbox_view_uid(l.v, seq) == promise->uid[0]));
	look_end(&l);
	return good;
}

static void test_scenario(const struct scenario *sc)
{
	char why[200] = "", first[200] = "";
	int bad = 0, k, where = 0, r = 0;

	for (k = 1; k < CALLS_MAX && r == 0; k++) {
		const char *const root = scratch_new();
		memset(promise, 0, sizeof(*promise));
		if (sc->prepare)
			sc->prepare(root);
		r = run_killed(sc, root, k);
		if (r < 0)
			break;
		if (!(sc->holds ? sc->holds : first_holds)(root, why) && bad++ == 0) {
			where = k;
			memcpy(first, why, sizeof(first));
		}
		scratch_drop(root);
	}
	if (r < 0 && k == 1) {
		tap_skip(1, "no tracing here");
		return;
	}
	tap_ok(r == 1 && bad == 0, "%s: killed before each of %d calls (%d bad, first at %d: %s)", sc->name, k, bad, where, first);
}

int main(void)
{
	promise = mmap(NULL, sizeof(*promise), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	for (size_t i = 0; i < ARRAY_LEN(scenarios); i++)
		test_scenario(&scenarios[i]);
	return tap_done();
}
