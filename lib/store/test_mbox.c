/* A folder's life: delivery, append, flags, expunge, copy, views, other processes and other programs. */
#include <fcntl.h>
#include <glob.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "store/store_priv.h"
#include "store/test_store.h"
#include "test/tap.h"

#define MSG "From: a@b\nSubject: x\n\nbody\n"

struct seen {
	char text[1024];
};

static void on_change(void *ctx, enum mbox_change what, uint32_t seq, uint32_t uid)
{
	struct seen *const s = ctx;
	const size_t n = strlen(s->text);

	snprintf(s->text + n, sizeof(s->text) - n, "%s%c%u", n ? " " : "", what == MBOX_CH_EXPUNGE ? 'x' : what == MBOX_CH_EXISTS ? 'n' : 'f', seq);
}

static const char *changes(struct mbox_view *v, bool expunge)
{
	static struct seen s;
	static struct err e;

	s.text[0] = '\0';
	if (mbox_refresh(v->m, &e) < 0 || mbox_view_sync(v, expunge, on_change, &s, &e) < 0)
		return e.text;
	return s.text;
}

static void test_fresh(void)
{
	const char *const root = scratch_new();
	struct store *s = must_open(root);
	static const char *const def[] = { "Drafts", "Sent", "Junk", "Trash", "Archive" };
	struct arena *a = arena_new(0);
	struct store_folder *l;
	struct err e = { 0 };
	char all[512] = "";

	store_defaults(s, def, 5);
	tap_is_int(store_list(s, a, &l, &e), 0, "a fresh tree is listed");
	for (struct store_folder *f = l; f; f = f->next)
		snprintf(all + strlen(all), sizeof(all) - strlen(all), "%.*s%s%.*s ", STR_ARG(f->name), f->subscribed ? "+" : "-", STR_ARG(f->special_use));
	tap_is_str(all, "INBOX+ Archive+\\Archive Drafts+\\Drafts Junk+\\Junk Sent+\\Sent Trash+\\Trash ", "default folders are there, subscribed, with special uses");
	struct mbox *m = must_mbox(s, "inbox");
	struct mbox_status st;
	tap_is_int(mbox_status(m, &st, &e), 0, "status");
	tap_ok(st.messages == 0 && st.uidnext == 1 && st.uidvalidity > 0, "an empty INBOX");
	struct mbox *m2 = must_mbox(s, "Sent");
	struct mbox_status st2;
	tap_ok(mbox_status(m2, &st2, &e) == 0 && st2.uidvalidity != st.uidvalidity, "folders have different UIDVALIDITY");
	mbox_close(&m2);
	mbox_close(&m);
	store_close(&s);
	arena_free(&a);
}

static void test_delivery(void)
{
	const char *const root = scratch_new();
	struct store *s = must_open(root);
	struct mbox *m = must_mbox(s, "INBOX");
	struct mbox_view *v = mbox_view_new(m);
	struct mbox_msg msg;
	struct mbox_status st;
	struct err e = { 0 };

	put_new(root, "", MSG);
	put_new(root, "", "Subject: two\n\n.\nx");
	tap_is_str(changes(v, true), "n2", "two deliveries are seen at once");
	tap_is_str(describe(v), "1:0 2:0", "with UIDs in order");
	tap_is_int((long long)count_files(root, "new"), 0, "new is empty");
	tap_is_int((long long)count_files(root, "cur"), 2, "cur has them");
	tap_ok(mbox_msg_get(v, 1, &msg, &e) == 0 && msg.size == strlen(MSG) && msg.size_crlf == strlen(MSG) + 4, "sizes");
	tap_ok(msg.flags & MBOX_RECENT, "recent in the first view");
	struct mbox_view *v2 = mbox_view_new(m);
	tap_ok(mbox_msg_get(v2, 1, &msg, &e) == 0 && !(msg.flags & MBOX_RECENT), "not in the second");
	mbox_view_free(&v2);
	tap_is_str(read_message(v, 1), MSG, "content");
	tap_is_int(append_one(m, MBOX_SEEN | MBOX_FLAGGED, "$work", "Subject: app\r\n\r\nline\r\n"), 3, "append gives the next UID");
	tap_is_str(changes(v, true), "n3", "and is announced");
	tap_is_str(describe(v), "1:0 2:0 3:a,$work", "flags and keyword");
	tap_is_str(read_message(v, 3), "Subject: app\n\nline\n", "stored with LF");
	tap_ok(mbox_msg_get(v, 3, &msg, &e) == 0 && mbox_msg_date(v, 3) == 1000000000 && msg.size_crlf == 22, "internal date and size");
	tap_ok(mbox_status(m, &st, &e) == 0 && st.messages == 3 && st.unseen == 2 && st.size == (strlen(MSG) + 4) + 20 + 22, "status: %u %u %llu", st.messages,
	       st.unseen, (unsigned long long)st.size);
	tap_is_str(changes(v, true), "", "nothing more");
	mbox_view_free(&v);
	mbox_close(&m);
	store_close(&s);
	s = must_open(root);
	m = must_mbox(s, "INBOX");
	v = mbox_view_new(m);
	tap_is_str(describe(v), "1:0 2:0 3:a,$work", "the same after closing");
	tap_is_str(read_message(v, 3), "Subject: app\n\nline\n", "content, too");
	mbox_view_free(&v);
	mbox_close(&m);
	store_close(&s);
}

/* Many expunged files go piece by piece, few at once; none comes back. */
static void test_views(void)
{
	const char *const root = scratch_new();
	struct store *s = must_open(root);
	struct mbox *m = must_mbox(s, "INBOX");
	struct mbox_view *a, *b;
	struct err e = { 0 };

	for (int i = 0; i < 6; i++)
		append_one(m, 0, NULL, MSG);
	a = mbox_view_new(m);
	b = mbox_view_new(m);
	tap_is_int(store_flags(a, 2, MBOX_ADD, MBOX_SEEN, "Foo"), 0, "flag 2");
	tap_is_str(changes(a, true), "", "who made a change is not told");
	tap_is_str(changes(b, true), "f2", "the other view is");
	tap_is_str(describe(b), "1:0 2:8,Foo 3:0 4:0 5:0 6:0", "flags");
	tap_is_int(store_flags(b, 2, MBOX_REMOVE, 0, "foo"), 0, "remove a keyword in another case");
	tap_is_int(store_flags(b, 3, MBOX_SET, MBOX_DELETED, NULL), 0, "set");
	tap_is_str(changes(a, false), "f2 f3", "two changes");
	const uint32_t gone[] = { 2, 3, 5 };
	tap_is_int(mbox_expunge(a, gone, 3, &e), 0, "expunge");
	tap_is_str(changes(b, false), "", "expunges wait");
	tap_is_int(mbox_view_count(b), 6, "numbers hold");
	tap_ok(mbox_view_is_expunged(b, 2) && !mbox_view_is_expunged(b, 1), "is_expunged");
	tap_is_str(read_message(b, 2), MSG, "a view that was not told reads on");
	tap_is_str(changes(a, true), "x5 x3 x2", "expunges highest first");
	tap_is_str(describe(a), "1:0 4:0 6:0", "what is left");
	tap_is_int(append_one(m, 0, NULL, MSG), 7, "next UID");
	tap_is_str(changes(b, true), "x5 x3 x2 n4", "expunges, then new");
	tap_is_int((long long)count_files(root, "cur"), 4, "files went when all were told");
	tap_is_int(mbox_view_seq(b, 4), 2, "uid to seq");
	tap_is_int(mbox_view_seq(b, 5), 0, "gone uid");
	tap_is_int(mbox_view_seq_from(b, 5), 3, "first seq from uid");
	tap_is_int(mbox_view_seq_from(b, 8), 5, "behind the end");
	tap_is_int(mbox_view_uid(b, 4), 7, "seq to uid");
	tap_is_int(mbox_view_uid(b, 5), 0, "out of range");
	uint64_t since;
	struct mbox_msg msg;
	uint32_t seqs[] = { 1, 2 }, failed[2];
	size_t n_failed;
	(void)!mbox_msg_get(b, 2, &msg, &e);
	since = msg.modseq;
	store_flags(a, 2, MBOX_ADD, MBOX_FLAGGED, NULL);
	tap_ok(mbox_store_flags(b, seqs, 2, MBOX_ADD, MBOX_SEEN, NULL, 0, since, failed, &n_failed, &e) == 0 && n_failed == 1 && failed[0] == 2, "UNCHANGEDSINCE");
	mbox_view_free(&a);
	mbox_view_free(&b);
	mbox_close(&m);
	store_close(&s);
}

static void test_copy(void)
{
	const char *const root = scratch_new();
	struct store *s = must_open(root);
	struct mbox *m = must_mbox(s, "INBOX"), *d;
	struct mbox_view *v, *dv;
	struct err e = { 0 };
	uint32_t uids[3];
	const uint32_t seqs[] = { 1, 3 };

	tap_is_int(store_create(s, STR("Wörk/a.b"), STR(""), &e), 0, "create below a missing parent");
	tap_is_int(store_create(s, STR("Wörk"), STR(""), &e), -1, "the parent came with it");
	d = must_mbox(s, "Wörk/a.b");
	append_one(d, 0, "other", MSG);
	append_one(m, MBOX_SEEN, "mine", "one\n");
	append_one(m, 0, NULL, "two\n");
	append_one(m, MBOX_ANSWERED, "other", "three\n");
	v = mbox_view_new(m);
	tap_is_int(mbox_copy(v, seqs, 2, d, false, uids, &e), 0, "copy");
	tap_ok(uids[0] == 2 && uids[1] == 3, "UIDs in order");
	dv = mbox_view_new(d);
	tap_is_str(describe(dv), "1:0,other 2:8,mine 3:1,other", "keywords go by name");
	tap_is_str(read_message(dv, 3), "three\n", "content");
	tap_is_int(mbox_copy(v, seqs, 2, d, true, uids, &e), 0, "move");
	tap_is_str(changes(v, true), "x3 x1", "the source loses them");
	tap_is_str(changes(dv, true), "n5", "the target has them");
	tap_is_int(mbox_copy(v, seqs, 1, m, false, uids, &e), 0, "copy into the same folder");
	tap_is_str(changes(v, true), "n2", "announced");
	tap_is_str(describe(v), "2:0 4:0", "with a new UID");
	mbox_view_free(&v);
	mbox_view_free(&dv);
	mbox_close(&m);
	mbox_close(&d);
	store_close(&s);
}

/* What other programs do to cur. */
static void test_foreign(void)
{
	const char *const root = scratch_new();
	struct store *s = must_open(root);
	struct mbox *m = must_mbox(s, "INBOX");
	struct mbox_view *v;
	struct err e = { 0 };
	bool more;

	for (int i = 0; i < 3; i++)
		append_one(m, 0, NULL, MSG);
	v = mbox_view_new(m);
	char base[300], from[600], to[600];
	snprintf(base, sizeof(base), "%s", mbox_msg_basename(v, 2));
	snprintf(from, sizeof(from), "%s/cur/%s:2,", root, base);
	snprintf(to, sizeof(to), "%s/cur/%s:2,RSz,x", root, base);
	store_flags(v, 2, MBOX_ADD, MBOX_FLAGGED, NULL);
	tap_is_int(rename(from, to), 0, "a foreign program sets flags");
	tap_is_str(changes(v, true), "f2", "seen");
	tap_is_str(describe(v), "1:0 2:b 3:0", "merged with ours that is not in the name yet");
	tap_is_int(mbox_flush(m, 100, &more, &e), 0, "flush");
	snprintf(to, sizeof(to), "%s/cur/%s:2,FRSz,x", root, base);
	tap_is_int(access(to, F_OK), 0, "odd letters and what follows the comma are kept");
	const struct timespec before = m->cur_seen;
	tap_is_str(changes(v, true), "", "our own rename is not foreign");
	tap_ok(before.tv_sec != 0 && before.tv_nsec == m->cur_seen.tv_nsec, "and lists nothing");
	tap_is_int(store_flags(v, 2, MBOX_ADD, MBOX_DRAFT, NULL), 0, "a flag of ours");
	memcpy(from, to, sizeof(from));
	snprintf(to, sizeof(to), "%s/cur/%s:2,Sz,x", root, base);
	tap_is_int(rename(from, to), 0, "a foreign program takes others away before it reaches the name");
	for (more = true; more;)
		if (mbox_flush(m, 100, &more, &e) < 0)
			break;
	tap_is_str(changes(v, true), "f2", "flush finds that");
	tap_is_str(describe(v), "1:0 2:18 3:0", "ours stays, and theirs are gone");
	snprintf(to, sizeof(to), "%s/cur/%s:2,DSz,x", root, base);
	tap_is_int(access(to, F_OK), 0, "the name has it all");
	tap_is_int(unlink(to), 0, "a foreign program removes it");
	tap_is_str(changes(v, true), "x2", "gone");
	put_file(root, "cur/1.M2P3.host:2,S", "x\ny\n");
	put_file(root, "cur/1.M1P3.host", "x\ny");
	put_file(root, "cur/.hidden", "x");
	mkdir(scratch_path(root, "cur/dir"), 0700);
	mkfifo(scratch_path(root, "cur/fifo"), 0600);
	symlink("/etc/passwd", scratch_path(root, "cur/link"));
	tap_is_str(changes(v, true), "n4", "foreign additions are taken up, but for what is no file");
	tap_is_str(describe(v), "1:0 3:0 4:0 5:8", "in arrival order");
	struct mbox_msg msg;
	tap_ok(mbox_msg_get(v, 4, &msg, &e) == 0 && msg.size_crlf == 6, "CRLF size is counted: %llu", (unsigned long long)msg.size_crlf);
	rename(scratch_path(root, "cur/1.M1P3.host"), scratch_path(root, "cur/1.M1P3.host:2,Fz"));
	tap_is_str(read_message(v, 3), "x\ny", "a foreign rename is followed when the file is opened");
	/* A twin of a base name. */
	put_file(root, "cur/1.M1P3.host:2,RSz", "twin\n");
	tap_is_str(changes(v, true), "n5 f3", "a twin is a message of its own");
	glob_t found = { 0 };
	tap_ok(glob(scratch_path(root, "cur/*:2,*z"), 0, NULL, &found) == 0 && found.gl_pathc == 2, "both keep odd letters, whichever was named anew");
	globfree(&found);
	tap_is_str(changes(v, true), "", "settled");
	tap_is_int((long long)mbox_view_count(v), 5, "five");
	tap_is_str(read_message(v, 5) ? "read" : "lost", "read", "it is readable");
	mbox_view_free(&v);
	mbox_close(&m);
	store_close(&s);
}

static void test_processes(void)
{
	const char *const root = scratch_new();
	struct store *s = must_open(root);
	struct mbox *m = must_mbox(s, "INBOX");
	struct mbox_view *v = mbox_view_new(m);
	enum { N = 4, EACH = 25 };
	int status, good = 0;
	struct err e = { 0 };

	for (int k = 0; k < N; k++) {
		if (fork() != 0)
			continue;
		struct store *cs = must_open(root);
		struct mbox *cm = must_mbox(cs, "INBOX");
		struct mbox_view *cv = mbox_view_new(cm);
		int bad = 0;
		for (int i = 0; i < EACH; i++) {
			const uint32_t uid = append_one(cm, 0, NULL, MSG);
			struct err ce = { 0 };
			bad += uid == 0 || mbox_refresh(cm, &ce) < 0 || mbox_view_sync(cv, true, NULL, NULL, &ce) < 0;
			bad += store_flags(cv, mbox_view_seq(cv, uid), MBOX_ADD, MBOX_SEEN, "kw") < 0;
			if (i % 5 == 4)
				put_new(root, "", MSG);
		}
		mbox_view_free(&cv);
		mbox_close(&cm);
		store_close(&cs);
		_exit(bad ? 1 : 0);
	}
	for (int k = 0; k < N; k++)
		good += wait(&status) > 0 && WIFEXITED(status) && WEXITSTATUS(status) == 0;
	tap_is_int(good, N, "all writers succeeded");
	refresh_sync(m, v);
	tap_is_int(mbox_view_count(v), N * EACH + N * EACH / 5, "everything is there once");
	uint32_t last = 0, ascending = 1, seen = 0, readable = 0;
	for (uint32_t seq = 1; seq <= mbox_view_count(v); seq++) {
		struct mbox_msg msg;
		if (mbox_msg_get(v, seq, &msg, &e) < 0)
			continue;
		ascending &= msg.uid > last;
		last = msg.uid;
		seen += (msg.flags & MBOX_SEEN) && (msg.keywords[0] & 1);
		readable += read_message(v, seq) != NULL;
	}
	tap_ok(ascending, "UIDs ascend");
	tap_is_int(seen, N * EACH, "all flags are there");
	tap_is_int(readable, mbox_view_count(v), "all can be read");
	mbox_view_free(&v);
	mbox_close(&m);
	store_close(&s);
}

/* Its name does not say how long it is on the wire, and it cannot be counted any more. */
static void test_gone_uncounted(void)
{
	const char *const root = scratch_new();
	struct store *s = must_open(root);
	struct mbox *m = must_mbox(s, "INBOX");
	struct err e = { 0 };
	struct mbox_msg msg;

	put_file(root, "cur/1700000000.M1P1.other:2,S", MSG);
	tap_is_int(mbox_refresh(m, &e), 0, "a file of another program is taken up");
	struct mbox_view *v = mbox_view_new(m);
	tap_is_int(unlink(scratch_path(root, "cur/1700000000.M1P1.other:2,S")), 0, "and removed by it");
	tap_is_int(mbox_msg_get(v, 1, &msg, NULL), 0, "who wants no reason is told what is known");
	tap_ok(msg.uid == 1 && (msg.flags & MBOX_SEEN) && msg.size_crlf == strlen(MSG), "of the message");
	mbox_view_free(&v);
	mbox_close(&m);
	store_close(&s);
}

static void test_no_room(void)
{
	const char *const root = scratch_new();
	struct store *s = must_open(root);
	struct mbox *m = must_mbox(s, "INBOX");
	struct mbox_view *v;
	struct rlimit old, tight;

	append_one(m, 0, NULL, MSG);
	append_one(m, 0, NULL, MSG);
	v = mbox_view_new(m);
	(void)signal(SIGXFSZ, SIG_IGN);
	getrlimit(RLIMIT_FSIZE, &old);
	tight = old;
	tight.rlim_cur = m->j.pos + 20;
	setrlimit(RLIMIT_FSIZE, &tight);
	tap_is_int(append_one(m, 0, NULL, MSG), 0, "append is refused");
	tap_is_int(store_flags(v, 1, MBOX_ADD, MBOX_SEEN, NULL), -1, "flags are");
	put_new(root, "", MSG);
	tap_is_str(changes(v, true), "", "new mail waits, and the folder can be read");
	tap_is_str(read_message(v, 1), MSG, "read");
	setrlimit(RLIMIT_FSIZE, &old);
	tap_is_str(changes(v, true), "n3", "with room again it comes");
	tap_is_int(append_one(m, 0, NULL, MSG), 4, "append works");
	tap_is_int(store_flags(v, 1, MBOX_ADD, MBOX_SEEN, NULL), 0, "flags do");
	tap_is_str(changes(v, true), "n4", "announced");
	tap_is_str(describe(v), "1:8 2:0 3:0 4:0", "nothing twice, nothing lost");
	tap_is_int((long long)count_files(root, "cur"), 4, "no file too many");
	mbox_view_free(&v);
	mbox_close(&m);
	store_close(&s);
}

static void test_watch(void)
{
	const char *const root = scratch_new();
	struct store *s = must_open(root);
	struct mbox *m = must_mbox(s, "INBOX");
	struct mbox_view *v = mbox_view_new(m);
	const int fd = mbox_watch_fd(m);
	char c;

	tap_ok(fd >= 0, "there is a watch");
	mbox_watch_clear(m);
	tap_ok(read(fd, &c, 0) <= 0, "quiet");
	put_new(root, "", MSG);
	fd_set set;
	FD_ZERO(&set);
	FD_SET(fd, &set);
	tap_is_int(select(fd + 1, &set, NULL, NULL, &(struct timeval){ .tv_sec = 2 }), 1, "a delivery makes it readable");
	const uint64_t t = clock_mono_us();
	mbox_watch_clear(m);
	tap_is_str(changes(v, true), "n1", "and is found");
	tap_diag("delivery seen in %llu us", (unsigned long long)(clock_mono_us() - t));
	mbox_view_free(&v);
	mbox_close(&m);
	store_close(&s);
}

/* "5 2-3": what went after that mod-sequence, "-": the log does not reach back. */
static void test_recent_once(void)
{
	char *const root = xstrdup(scratch_new());
	struct store *s = must_open(root);

	mkdir(scratch_path(root, "cur"), 0700);
	mkdir(scratch_path(root, "new"), 0700);
	mkdir(scratch_path(root, "tmp"), 0700);
	put_file(root, "cur/1700000000.M1P1.h,S=2,W=3:2,", "x\n");
	for (unsigned round = 0; round < 2; round++) {
		struct mbox *m = must_mbox(s, "INBOX");
		struct mbox_view *v = mbox_view_new(m);
		tap_is_int(mbox_view_recent(v), round == 0, "recent at look %u", round);
		mbox_view_free(&v);
		mbox_close(&m);
	}
	store_close(&s);
	free(root);
}

/* Names as no program should write them: letters out of their order, or twice. */
static void test_odd_letters(void)
{
	static const char *const names[] = { "1.M1P1.h:2,SR", "2.M1P1.h:2,SS", "3.M1P1.h:2,zSF,x=1", "4.M1P1.h:2,S," }, *const text[] = { "one", "two", "three", "four" };
	char *const root = xstrdup(scratch_new());
	struct store *s = must_open(root);
	struct mbox *m = must_mbox(s, "INBOX");
	char path[100];
	bool more = true;
	struct err e = { 0 };

	mbox_close(&m);
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		snprintf(path, sizeof(path), "cur/%s", names[i]);
		put_file(root, path, text[i]);
	}
	m = must_mbox(s, "INBOX");
	struct mbox_view *v = mbox_view_new(m);
	tap_is_str(describe(v), "1:9 2:8 3:a 4:8", "their flags");
	for (uint32_t i = 0; i < ARRAY_LEN(names); i++)
		tap_is_str(read_message(v, i + 1), text[i], "%s", names[i]);
	rename(scratch_path(root, "cur/1.M1P1.h:2,RS"), scratch_path(root, "cur/1.M1P1.h:2,TSR"));
	tap_is_str(read_message(v, 1), "one", "a known one");
	tap_is_str(changes(v, true), "f1", "a flag more");
	store_flags(v, 3, MBOX_REMOVE, MBOX_SEEN, NULL);
	while (more && mbox_flush(m, 100, &more, &e) == 0)
		;
	tap_is_str(read_message(v, 3), "three", "and after a flag has changed");
	tap_is_int(access(scratch_path(root, "cur/3.M1P1.h:2,Fz,x=1"), F_OK), 0, "which its name has");
	mbox_view_free(&v);
	mbox_close(&m);
	store_close(&s);
	free(root);
}

/* Files that are still wanted: who looks for them looks at some records at a time, and not for ever. */
static void test_reaping_far(void)
{
	enum { FILES = 20000, GONE = 100 };
	const char *const root = scratch_new();
	struct store *s = must_open(root);
	char rel[100];
	uint32_t seqs[GONE];
	struct err e = { 0 };
	unsigned steps = 0;

	for (unsigned i = 0; i < FILES; i++) {
		snprintf(rel, sizeof(rel), "cur/%u.M%uP1.host,S=2,W=3:2,", 1600000000 + i, i);
		put_file(root, rel, "");
	}
	for (uint32_t i = 0; i < GONE; i++)
		seqs[i] = i + 1;
	struct mbox *m = must_mbox(s, "INBOX");
	struct mbox_view *v = mbox_view_new(m), *other = mbox_view_new(m);
	tap_ok(mbox_expunge(v, seqs, GONE, &e) == 0 && mbox_view_sync(v, true, NULL, NULL, &e) == 0, "the first are expunged: %s", e.text);
	while (mbox_reap_step(m, 10) && m->reaping.passed > 0)
		steps++;
	tap_ok(steps > 1 && m->st.zombies == GONE, "another connection sees them: looked for in %u pieces more", steps);
	mbox_view_free(&other);
	for (steps = 0; mbox_reap_step(m, 10) && steps < 1000; steps++)
		;
	tap_ok(m->st.zombies == 0 && steps >= GONE / 10 && steps < 30, "then they go, in %u pieces", steps);
	tap_is_int((long long)count_files(root, "cur"), FILES - GONE, "the others are there");
	mbox_view_free(&v);
	mbox_close(&m);
	store_close(&s);
}

/* Names and the index are written in pieces while others may have their turn; the closing itself finds nothing to do. */
static void test_leaving(void)
{
	enum { FILES = 300, PIECE = 50 };
	const char *const root = scratch_new();
	struct store *s = must_open(root);
	char rel[100];
	uint32_t seqs[FILES];
	struct err e = { 0 };
	struct stat before = { 0 }, after = { 0 };
	unsigned steps = 0, seen = 0;

	for (unsigned i = 0; i < FILES; i++) {
		snprintf(rel, sizeof(rel), "new/%u.M%uP1.host", 1600000000 + i, i);
		put_file(root, rel, MSG);
		seqs[i] = i + 1;
	}
	struct mbox *m = must_mbox(s, "INBOX");
	struct mbox_view *v = mbox_view_new(m);
	tap_ok(mbox_store_flags(v, seqs, FILES, MBOX_ADD, MBOX_SEEN, NULL, 0, 0, NULL, NULL, &e) == 0, "flags: %s", e.text);
	tap_ok(!mbox_leaving(m, PIECE) && m->st.unflushed == FILES, "nothing is done while somebody looks");
	mbox_view_free(&v);
	while (mbox_leaving(m, PIECE))
		steps++;
	tap_ok(steps >= FILES / PIECE - 1 && m->st.unflushed == 0, "%u pieces and one", steps);
	tap_is_int(stat(scratch_path(root, INDEX_NAME), &before), 0, "the index is there");
	mbox_close(&m);
	tap_ok(stat(scratch_path(root, INDEX_NAME), &after) == 0 && before.st_ino == after.st_ino, "and is not written again");
	m = must_mbox(s, "INBOX");
	for (uint32_t pos = 0; pos < m->st.n_map; pos++)
		seen += state_rec(&m->st, pos)->disk == DISK_S;
	tap_is_int(seen, FILES, "it has all");
	mbox_close(&m);
	store_close(&s);
}

int main(void)
{
	test_leaving();
	test_reaping_far();
	test_fresh();
	test_recent_once();
	test_delivery();
	test_views();
	test_copy();
	test_foreign();
	test_gone_uncounted();
	test_odd_letters();
	test_processes();
	test_no_room();
	test_watch();
	return tap_done();
}
