/* A folder's first state in pieces: the same as at once, wherever it is given up or its process dies, whoever else waits for it, and whatever comes and goes meanwhile. */
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/num.h"
#include "os/crew.h"
#include "store/ahead.h"
#include "store/store_priv.h"
#include "store/test_store.h"
#include "test/tap.h"

enum {
	PLAIN = 5000,		/* more than are numbered at once */
	NEW = 150,		/* more than are moved at once */
	SPECIAL = 9,
};
static const char uidlist[] = "3 V77 N50\n5 :1500000003.M1P1.known\n9 :1600000007.M7P1.host,S=1007,W=1008\n";

/* --- a folder --- */

static const char *make_plain(const char *root)
{
	static const char *const subs[] = { "cur", "new", "tmp" };
	char rel[100];

	for (size_t i = 0; i < ARRAY_LEN(subs); i++)
		(void)mkdir(scratch_path(root, subs[i]), 0700);
	for (unsigned i = 0; i < PLAIN; i++) {
		snprintf(rel, sizeof(rel), "cur/%u.M%uP1.host,S=%u,W=%u:2,%s", 1600000000 + i * 7919 % PLAIN, i, 1000 + i, 1001 + i, i % 3 ? "S" : "");
		put_file(root, rel, "");
	}
	put_file(root, "dovecot-keywords", "0 Work\n1 $Label1\n");
	return root;
}

/* As before the first look, with what each look changes. */
static void reset(const char *root, bool dovecot)
{
	static const char *const subs[] = { ".", "cur", "new" };
	char rel[100];

	for (size_t i = 0; i < ARRAY_LEN(subs); i++) {
		DIR *const d = opendir(scratch_path(root, subs[i]));
		for (const struct dirent *de; d && (de = readdir(d)) != NULL;)
			if (i == 0 ? strncmp(de->d_name, "postern.", 8) == 0 : strstr(de->d_name, ".host,S=") == NULL && de->d_name[0] != '.')
				(void)unlinkat(dirfd(d), de->d_name, 0);
		if (d)
			closedir(d);
	}
	(void)unlink(scratch_path(root, "dovecot-uidlist"));
	if (dovecot)
		put_file(root, "dovecot-uidlist", uidlist);
	put_file(root, "cur/1500000000.M1P1.order:2,SF", "one\n");
	put_file(root, "cur/1500000001.M1P1.letters:2,Sab", "two\n");
	put_file(root, "cur/1500000002.M1P1.twin:2,", "three\n");
	put_file(root, "cur/1500000002.M1P1.twin:2,S", "four\n");
	put_file(root, "cur/1500000002.M1P1.twin:2,T", "five\n");
	put_file(root, "cur/1500000003.M1P1.known:2,", "six\n");
	put_file(root, "cur/1500000003.M1P1.known:2,F", "seven\n");
	put_file(root, "cur/1500000004.M1P1.size:2,R", "eight\n");
	put_file(root, "cur/1500000005.M1P1", "nine\n");
	put_file(root, "cur/:2,S", "nobody's\n");
	for (unsigned i = 0; i < NEW; i++) {
		snprintf(rel, sizeof(rel), "new/%u.M1P1.new", 1700000000 + i);
		put_file(root, rel, "ten\n");
	}
}

/* All that a record says, but for what each look makes anew (mod-sequences, names of twins), and what was counted later where no name told it. */
struct digest {
	uint32_t crc;		/* with UIDs */
	uint32_t sum;		/* without: twins that were renamed sort otherwise */
};

static struct digest digest(struct mbox *m)
{
	struct digest d = { 0 };
	char line[400];

	for (uint32_t pos = 0; pos < state_count(&m->st); pos++) {
		const struct rec *const r = state_rec(&m->st, pos);
		const struct str name = state_name(&m->st, r), info = state_info(&m->st, r);
		const struct kwset *const k = state_kwset_get(&m->st, r);
		const bool told = r->size >= 1000;
		int n = snprintf(line, sizeof(line), "%x %x %x %llu %llu %lld %.*s %.*s", r->flags, r->disk, r->state, (unsigned long long)r->size,
				 told ? (unsigned long long)r->size_crlf : 0, told ? (long long)r->internaldate : 0, (int)(name.n < 10 ? name.n : 10), name.p, STR_ARG(info));
		for (size_t i = 0; i < k->n; i++)
			n += snprintf(line + n, sizeof(line) - (size_t)n, " %s", m->st.keywords[k->ids[i]]);
		d.sum += crc32c(0, line, (size_t)n);
		d.crc = crc32c(crc32c(d.crc, line, (size_t)n), &r->uid, sizeof(r->uid));
	}
	return d;
}

static bool same(struct digest a, struct digest b)
{
	return a.crc == b.crc && a.sum == b.sum && a.sum != 0;
}

static struct store *open_tree(const char *root, unsigned crew)
{
	struct store *const s = must_open(root);

	store_crew_size(s, crew);
	return s;
}

/* Opened at once. All 0: the folder is not as it should be. */
static struct digest look(const char *root)
{
	struct store *s = open_tree(root, 1);
	struct mbox *m = must_mbox(s, "INBOX");
	struct mbox_status st;
	struct err e = { 0 };
	const bool right = mbox_status(m, &st, &e) == 0 && st.messages == PLAIN + NEW + SPECIAL && m->st.reserved > st.uidnext && count_files(root, "new") == 0 &&
			   access(scratch_path(root, "postern.journal.new"), F_OK) < 0;
	const struct digest d = digest(m);

	if (!right)
		tap_diag("%u messages, %zu in new: %s", st.messages, count_files(root, "new"), e.text);
	mbox_close(&m);
	store_close(&s);
	return right ? d : (struct digest){ 0 };
}

/* --- in pieces --- */

struct opening {
	struct store *s;
	struct mbox *m;
	int r;
	struct err e;
};

static unsigned steps(struct opening *o, unsigned max)
{
	unsigned n = 0;

	while (n < max && o->r > 0) {
		o->r = mbox_open_step(o->m, &o->e);
		n++;
	}
	return n;
}

static struct opening begin(const char *root, unsigned crew, unsigned n)
{
	struct opening o = { .s = open_tree(root, crew) };

	o.r = mbox_open_begin(o.s, STR("INBOX"), &o.m, &o.e);
	(void)steps(&o, n);
	return o;
}

static void give_up(struct opening *o)
{
	if (o->m)
		mbox_close(&o->m);
	store_close(&o->s);
}

static struct digest in_pieces(const char *root, unsigned crew, unsigned *n_out)
{
	struct opening o = begin(root, crew, 0);

	*n_out = steps(&o, UINT32_MAX);
	const struct digest d = o.r == 0 && o.m->st.messages == PLAIN + NEW + SPECIAL ? digest(o.m) : (struct digest){ 0 };
	if (o.r < 0)
		tap_diag("%s", o.e.text);
	give_up(&o);
	return d;
}

/* A process that dies there, without a word. */
static void die(const char *root, unsigned n)
{
	const pid_t pid = fork();
	int status = 0;

	if (pid == 0) {
		(void)begin(root, 1, n);
		_exit(0);
	}
	tap_ok(pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0, "a process ends after step %u", n);
}

/* After an opening that did not come to its end. */
static bool same_after(const char *root, struct digest want)
{
	const bool twins = access(scratch_path(root, "cur/1500000002.M1P1.twin:2,S"), F_OK) == 0;
	const struct digest got = look(root);

	return twins ? same(got, want) : got.sum == want.sum;
}

static void test_same(const char *root, bool dovecot)
{
	const char *const what = dovecot ? "that Dovecot knew" : "that nobody knew";
	unsigned n = 0;

	reset(root, dovecot);
	const struct digest want = look(root);
	tap_ok(want.sum != 0, "a folder %s, at once", what);
	tap_ok(same(look(root), want), "and from what was written down");
	for (unsigned crew = 1; crew <= CREW_MAX; crew++) {
		reset(root, dovecot);
		const struct digest got = in_pieces(root, crew, &n);
		tap_ok(same(got, want), "the same in %u pieces by %u", n, crew);
		tap_ok(same(look(root), want), "which is what was written down");
	}
	bool given_up = true;
	for (unsigned k = 0; k < n; k++) {
		reset(root, dovecot);
		struct opening o = begin(root, k % CREW_MAX + 1, k);
		given_up &= o.r == 1;
		give_up(&o);
		given_up &= same_after(root, want);
	}
	tap_ok(given_up, "the same where it was given up after any piece");
	for (unsigned k = 1; k < n; k += 3) {
		reset(root, dovecot);
		die(root, k);
		tap_ok(same_after(root, want), "the next one finds the same");
	}
}

/* Others of the process want it, too: one who waits for a piece at a time, and one who does not. */
static void test_others(const char *root)
{
	bool right = true;
	unsigned n = 0;

	reset(root, false);
	(void)in_pieces(root, 1, &n);
	for (unsigned k = 0; k < n; k++) {
		reset(root, false);
		struct opening o = begin(root, 2, k);
		struct mbox *second, *third;
		uint64_t done, goal;
		right &= mbox_open_begin(o.s, STR("INBOX"), &second, &o.e) >= 0 && second == o.m;
		mbox_open_progress(o.m, &done, &goal);
		right &= done <= goal && goal <= PLAIN + NEW + SPECIAL + 1;
		if (k % 2)	/* who began it leaves */
			mbox_close(&o.m);
		right &= mbox_open(o.s, STR("INBOX"), &third, &o.e) == 0 && third == second && third->st.messages == PLAIN + NEW + SPECIAL;
		right &= mbox_open_step(second, &o.e) == 0;
		mbox_open_progress(second, &done, &goal);
		right &= goal == 0;
		mbox_close(&second);
		mbox_close(&third);
		give_up(&o);
	}
	tap_ok(right, "others who want the folder have it opened, after each of %u pieces", n);
}

/* Deliveries, and another program's changes. */
static void test_meanwhile(const char *root)
{
	static const char delivered[] = "new/1800000000.M1P1.late";
	bool right = true;
	unsigned n = 0;

	reset(root, true);
	(void)in_pieces(root, 1, &n);
	for (unsigned k = 0; k < n; k++) {
		reset(root, true);
		struct opening o = begin(root, 2, k);
		put_file(root, delivered, "late\n");
		(void)unlink(scratch_path(root, "cur/1500000005.M1P1"));
		(void)rename(scratch_path(root, "cur/1500000004.M1P1.size:2,R"), scratch_path(root, "cur/1500000004.M1P1.size:2,RS"));
		put_file(root, "cur/1500000006.M1P1.more:2,", "more\n");
		(void)steps(&o, UINT32_MAX);
		right &= o.r == 0 && mbox_refresh(o.m, &o.e) == 0 && o.m->st.messages == PLAIN + NEW + SPECIAL + 1;
		if (!right)
			tap_diag("piece %u: %d, %u messages, %s", k, o.r, o.m->st.messages, o.e.text);
		for (uint32_t pos = 0; o.r == 0 && pos < state_count(&o.m->st); pos++) {
			const struct rec *const r = state_rec(&o.m->st, pos);
			const struct str name = state_name(&o.m->st, r);
			right &= !str_eq(name, STR("1500000005.M1P1")) || r->state & REC_GONE;
			right &= !str_eq(name, STR("1500000004.M1P1.size")) || r->state & REC_GONE || r->flags & MBOX_SEEN;
		}
		give_up(&o);
		(void)unlink(scratch_path(root, delivered));
	}
	tap_ok(right, "what came, went and was renamed meanwhile is seen, after each of %u pieces", n);
}

static void rename_plain(const char *root, bool back)
{
	char from[100], to[104];

	for (unsigned i = 0; i < PLAIN; i++) {
		if (i % 3 == 0)
			continue;
		snprintf(from, sizeof(from), "cur/%u.M%uP1.host,S=%u,W=%u:2,S", 1600000000 + i * 7919 % PLAIN, i, 1000 + i, 1001 + i);
		snprintf(to, sizeof(to), "%.*sFS", (int)strlen(from) - 1, from);
		(void)rename(scratch_path(root, back ? to : from), scratch_path(root, back ? from : to));
	}
}

/* Renamed behind the listing's back to where it still comes by, a file is told twice, and is one message. */
static void test_renamed(void)
{
	const char *const root = make_plain(scratch_on_disk());
	struct err e = { 0 };
	uint64_t done, goal = 0;
	bool right = true;
	unsigned k = 0;

	for (; goal == 0; k++) {	/* it is known when all are listed */
		reset(root, false);
		struct opening o = begin(root, 1, k);
		mbox_open_progress(o.m, &done, &goal);
		rename_plain(root, k % 2);
		(void)steps(&o, UINT32_MAX);
		right &= o.r == 0 && mbox_refresh(o.m, &e) == 0 && o.m->st.messages == PLAIN + NEW + SPECIAL && o.m->st.uidnext == PLAIN + NEW + SPECIAL + 1;
		if (!right)
			tap_diag("piece %u: %d, %u messages, next UID %u", k, o.r, o.m->st.messages, o.m->st.uidnext);
		give_up(&o);
	}
	tap_ok(right, "files that are renamed while they are listed are numbered once each, after each of %u pieces", k);
}

/* A process that is opening Work in pieces, and then wants the inbox. */
static void other_process(const char *root, int said[2], int told[2])
{
	struct opening o = { .s = open_tree(root, 1) };	/* no thread in a child of one that had some */
	struct mbox *m;
	char c = 'x';

	o.r = mbox_open_begin(o.s, STR("Work"), &o.m, &o.e);
	close(said[0]);
	close(told[1]);
	const bool met = o.r == 1 && write(said[1], &c, 1) == 1 && read(told[0], &c, 1) == 1;
	_exit(met && mbox_open(o.s, STR("INBOX"), &m, &o.e) == 0 && steps(&o, UINT32_MAX) > 0 && o.r == 0 ? 0 : 1);
}

static void test_each_other(void)
{
	const char *const root = scratch_new();
	struct opening o = { .s = must_open(root) };
	int said[2], told[2], status = 0;
	struct mbox *m = NULL;
	char c = 'x';

	tap_ok(store_create(o.s, STR("Work"), (struct str){ 0 }, &o.e) == 0 && pipe(said) == 0 && pipe(told) == 0, "another folder");
	static const char *const files[] = { "postern.journal", "postern.uidvalidity", ".Work/postern.journal", ".Work/postern.uidvalidity" };
	for (size_t i = 0; i < ARRAY_LEN(files); i++)
		(void)unlink(scratch_path(root, files[i]));
	const pid_t pid = fork();
	if (pid == 0)
		other_process(root, said, told);
	close(said[1]);
	close(told[0]);
	o.r = mbox_open_begin(o.s, STR("INBOX"), &o.m, &o.e);
	tap_ok(o.r == 1 && read(said[0], &c, 1) == 1 && write(told[1], &c, 1) == 1, "two processes open a folder each");
	tap_is_int(mbox_open(o.s, STR("Work"), &m, &o.e), 0, "one has the other's: %s", o.e.text);
	tap_ok(steps(&o, UINT32_MAX) > 0 && o.r == 0, "and its own");
	close(said[0]);
	close(told[1]);
	tap_ok(waitpid(pid, &status, 0) == pid && status == 0, "the other, too");
	if (m)
		mbox_close(&m);
	give_up(&o);
}

static void test_deleted(void)
{
	const char *const root = scratch_new();
	struct store *s = must_open(root);
	struct mbox *m = NULL;
	struct err e = { 0 };

	tap_is_int(store_create(s, STR("Work"), (struct str){ 0 }, &e), 0, "a folder");
	(void)unlink(scratch_path(root, ".Work/postern.journal"));
	(void)unlink(scratch_path(root, ".Work/postern.uidvalidity"));
	tap_is_int(mbox_open_begin(s, STR("Work"), &m, &e), 1, "being opened");
	tap_is_int(store_delete(s, STR("Work"), &e), 0, "deleted: %s", e.text);
	tap_is_int(mbox_open_step(m, &e), -1, "cannot be opened further");
	tap_is_int(e.code, ERR_NOENT, "since it is not there");
	mbox_close(&m);
	store_close(&s);
}

/* The disk is full: nothing is left behind, and it is opened when there is room. */
static void test_full(const char *root)
{
	struct rlimit all, little;
	unsigned n = 0;

	reset(root, false);
	const struct digest want = look(root);
	reset(root, false);
	getrlimit(RLIMIT_FSIZE, &all);
	little = all;
	little.rlim_cur = 100000;
	setrlimit(RLIMIT_FSIZE, &little);
	struct opening o = begin(root, 1, 0);
	n = steps(&o, UINT32_MAX);
	tap_ok(o.r < 0 && o.e.code == ERR_QUOTA, "no room for the journal, after %u pieces: %s", n, o.e.text);
	tap_ok(access(scratch_path(root, "postern.journal.new"), F_OK) < 0 && access(scratch_path(root, "postern.journal"), F_OK) < 0, "no journal is there");
	setrlimit(RLIMIT_FSIZE, &all);
	o.r = 1;
	(void)steps(&o, UINT32_MAX);
	tap_ok(o.r == 0 && digest(o.m).sum == want.sum, "tried again, with room: %s", o.e.text);
	give_up(&o);
}

/* A journal of some pieces, without an index. Returns where the index was. */
static const char *make_long(const char *root)
{
	static uint32_t seqs[PLAIN];
	struct store *s = must_open(root);
	struct mbox *m = must_mbox(s, "INBOX");
	struct mbox_view *v = mbox_view_new(m);
	struct err e = { 0 };

	for (uint32_t i = 0; i < PLAIN / 2; i++)
		seqs[i] = 2 * i + 1;
	for (int i = 0; m->j.pos < 4 << 20; i++)
		if (mbox_store_flags(v, seqs, PLAIN / 2, i % 2 ? MBOX_REMOVE : MBOX_ADD, MBOX_DRAFT, NULL, 0, 0, NULL, NULL, &e) < 0)
			break;
	tap_ok(m->j.pos >= 4 << 20, "a journal of %llu KB: %s", (unsigned long long)m->j.pos >> 10, e.text);
	mbox_view_free(&v);
	mbox_close(&m);
	store_close(&s);
	return scratch_path(root, "postern.index");
}

/* The index is lost, and the journal is read in pieces, whoever gives it up or waits for it. */
static void test_lost_index(const char *root)
{
	char index[600];
	unsigned n = 0;

	reset(root, false);
	snprintf(index, sizeof(index), "%s", make_long(root));
	const struct digest want = look(root);
	(void)unlink(index);
	tap_ok(same(in_pieces(root, 1, &n), want) && n >= 3, "read in %u pieces, it is the same", n);
	for (unsigned k = 0; k < 3; k++) {
		(void)unlink(index);
		struct opening o = begin(root, 1, k);
		struct mbox *second;
		tap_ok(o.r == 1, "after %u pieces more is left", k + 1);
		if (k > 0) {
			tap_ok(mbox_open(o.s, STR("INBOX"), &second, &o.e) == 0 && second == o.m && same(digest(second), want), "another one has it all at once: %s", o.e.text);
			mbox_close(&second);
		}
		give_up(&o);
		tap_ok(same(look(root), want), "given up then, it is the same");
		(void)unlink(index);
		die(root, k);
		tap_ok(same(look(root), want), "and where the process died");
	}
}

/* Whoever comes next has room: what is there is not copied. */
static void test_room(void)
{
	const char *const root = scratch_new();
	struct store *s = must_open(root);
	char rel[100];

	for (unsigned i = 0; i < 100; i++) {
		snprintf(rel, sizeof(rel), "cur/%u.M%uP1.host,S=2,W=3:2,", 1600000000 + i, i);
		put_file(root, rel, "x\n");
	}
	struct mbox *m = must_mbox(s, "INBOX");
	const uint32_t records = m->st.cap_tail;
	const size_t names = m->st.names_cap;

	tap_ok(m->st.n_tail == 100 && append_one(m, 0, NULL, "y\n") == 101 && m->st.cap_tail == records && m->st.names_cap == names, "the first after it finds room");
	mbox_close(&m);
	store_close(&s);
}

int main(void)
{
	signal(SIGXFSZ, SIG_IGN);
	const char *const root = make_plain(scratch_new());

	test_same(root, false);
	test_same(root, true);
	test_others(root);
	test_meanwhile(root);
	test_renamed();
	test_deleted();
	test_room();
	test_each_other();
	test_full(root);
	test_lost_index(root);
	return tap_done();
}
