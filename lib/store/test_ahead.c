/* Walks whose messages are looked at ahead by a crew of four, of two, and by nobody: the same answers, whatever has become of the files meanwhile. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "imap/structure.h"
#include "store/ahead_priv.h"
#include "store/msgfile.h"
#include "store/summary.h"
#include "store/test_store.h"
#include "test/tap.h"

enum { MESSAGES = 700, FIRST_DATE = 1500000000, LARGE = 200000, LARGE_ONES = 4, MIDDLE = 60000, TEXT_MAX = 1 << 23, CREW_FOUR = 4, AT_ONCE = 64 };

static size_t sizes[MESSAGES];

static const char *name_of(unsigned i, const char *letters)
{
	static char name[2][100];
	static unsigned turn;

	turn ^= 1;
	if (i % 2)	/* the others are looked at when they are numbered */
		snprintf(name[turn], sizeof(name[turn]), "cur/%u.M1P1.h,S=%zu:2,%s", 1000000000 + i, sizes[i], letters);
	else
		snprintf(name[turn], sizeof(name[turn]), "cur/%u.M1P1.h:2,%s", 1000000000 + i, letters);
	return name[turn];
}

static void fill(struct buf *b, const char *line, size_t bytes)
{
	for (const size_t end = b->n + bytes; b->n < end;)
		buf_c(b, line);
}

static const char *text_of(struct buf *b, unsigned i)
{
	static const char *const subjects[] = { "plain", "=?iso-8859-1?Q?gr=FC=DFe?=", "=?utf-8?B?w6TDtsO8?=", "=?koi8-r?B?8NLJ18XU?=", "Re: [list] Fwd: twice" };

	buf_reset(b);
	if (i % 97 == 5)	/* an empty file */
		return "";
	buf_printf(b, "Date: Mon, %u Jan 2024 10:%02u:00 +0%u00\nFrom: \"Name %u\" <from%u@example.org>\nTo: to%u@example.org\nSubject: %s %u\nMessage-ID: <m%u@x>\n",
		   1 + i % 28, i % 60, i % 10, i, i % 50, i % 7, subjects[i % ARRAY_LEN(subjects)], i, i);
	if (i > 0)
		buf_printf(b, "References: <m%u@x>\n", i / 2);
	if (i % 101 == 7)
		fill(b, "X-Long: 0123456789012345678901234567890123456789\n", MIDDLE);
	if (i % 3 == 0)
		buf_printf(b, "Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: text/plain; charset=iso-8859-15\n"
			      "Content-Transfer-Encoding: quoted-printable\n\nw=F6rter%u\n--b\nContent-Type: message/rfc822\n\nSubject: inner %u\n\nwithin\n--b--\n", i, i);
	else
		buf_printf(b, "\nword%u and more\n", i);
	if (i % 89 == 3)
		fill(b, "0123456789 012345678901234567890123456789\n", i % 2 ? LARGE : MIDDLE);
	return b->p;
}

/* Each file has a time of its own, whenever it was made. */
static void date(const char *root, unsigned i)
{
	const struct timespec then[2] = { { .tv_sec = FIRST_DATE + i }, { .tv_sec = FIRST_DATE + i } };

	(void)!utimensat(AT_FDCWD, scratch_path(root, name_of(i, "S")), then, AT_SYMLINK_NOFOLLOW);
}

/* What others do to the files after the folder was numbered. */
static void meddle(const char *root, unsigned i)
{
	char was[600], is[600];

	snprintf(was, sizeof(was), "%s", scratch_path(root, name_of(i, "S")));
	snprintf(is, sizeof(is), "%s", scratch_path(root, name_of(i, "FS")));
	switch (i % 60) {
	case 11:
		(void)unlink(was);
		break;
	case 21:
		(void)!rename(was, is);
		break;
	case 31:
		put_file(root, name_of(i, "S"), "Subject: another text\n\nlonger, or shorter, than it was when it was numbered\n");
		break;
	case 41:
		(void)unlink(was);
		(void)!mkfifo(was, 0600);
		break;
	case 51:
		(void)unlink(was);
		(void)!symlink("../elsewhere", was);
		break;
	}
	date(root, i);
}

static void meddle_with_all(const char *root)
{
	for (unsigned i = 0; i < MESSAGES; i++)
		meddle(root, i);
}

static void each_file(const char *root, void (*fn)(int fd))
{
	for (unsigned i = 0; i < MESSAGES; i++) {
		const int fd = open(scratch_path(root, name_of(i, "S")), O_RDONLY | O_CLOEXEC);
		if (fd < 0)
			exit(93);
		fn(fd);
		(void)close(fd);
	}
}

static void to_disk(int fd)
{
	(void)sync_file_range(fd, 0, 0, SYNC_FILE_RANGE_WRITE);
}

static void from_memory(int fd)
{
	(void)sync_file_range(fd, 0, 0, SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER);
	(void)posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
}

/* They are on the disk alone. */
static void forget_all(const char *root)
{
	each_file(root, to_disk);
	each_file(root, from_memory);
}

/* --- walks: what is asked of each message, and what is said to be asked --- */

struct walk {
	const char *what;
	unsigned ahead, step;
	void (*ask)(struct mbox_view *v, uint32_t seq, struct buf *out);
};
struct walking {
	const struct walk *w;
	struct mbox_view *v;
	uint32_t furthest;	/* that it was asked for */
};

static unsigned next(void *ctx, uint32_t *seq)
{
	struct walking *const g = ctx;

	while (*seq <= mbox_view_count(g->v) && *seq % g->w->step != 0)
		++*seq;
	if (*seq > mbox_view_count(g->v))
		*seq = 0;
	g->furthest = *seq > g->furthest ? *seq : g->furthest;
	return *seq ? g->w->ahead : 0;
}

static void ask_summary(struct mbox_view *v, uint32_t seq, struct buf *out)
{
	struct mbox_summary s;
	struct err e = { 0 };

	if (mbox_summary_get(v, seq, &s, &e) < 0) {
		buf_printf(out, "error %d", e.code);
		return;
	}
	buf_str(out, s.envelope);
	buf_str(out, s.base_subject);
	buf_printf(out, " %lld %zu", (long long)s.sent, s.n_refs);
}

static void ask_structure(struct mbox_view *v, uint32_t seq, struct buf *out)
{
	struct arena *a = arena_new(0);
	struct err e = { 0 };
	struct msgfile f;
	struct str blob;
	struct buf b;

	buf_init(&b, 1 << 20);
	if (mbox_cache_get(v, seq, MBOX_CACHE_BODYSTRUCTURE, a, &blob) == 0) {
		buf_str(out, blob);
	} else if (msgfile_open(&f, v, seq, false, &e) == 0) {
		structure_pack(&b, a, msgfile_mime(&f));
		buf_str(out, buf_view(&b));
		msgfile_close(&f);
	} else {
		buf_printf(out, "error %d", e.code);
	}
	buf_fini(&b);
	arena_free(&a);
}

static void ask_head(struct mbox_view *v, uint32_t seq, struct buf *out)
{
	struct err e = { 0 };
	struct msgfile f;

	if (msgfile_read(&f, v, seq, true, &e) < 0) {
		buf_printf(out, "error %d", e.code);
		return;
	}
	mbox_search_learn_head(v, seq, msgfile_head(&f));
	buf_str(out, msgfile_head(&f));
	buf_printf(out, "%d", mbox_search_knows(v, seq, MBOX_SEARCH_HEAD));
	msgfile_close(&f);
}

static void ask_text(struct mbox_view *v, uint32_t seq, struct buf *out)
{
	static const struct str words[] = { STR("word12"), STR("within"), STR("nowhere") };
	struct err e = { 0 };
	struct msgfile f;

	if (msgfile_read(&f, v, seq, false, &e) < 0) {
		buf_printf(out, "error %d", e.code);
		return;
	}
	mbox_search_learn(v, seq, &f);
	for (size_t i = 0; i < ARRAY_LEN(words); i++)
		buf_printf(out, "%d", mbox_search_learned(v, seq, MBOX_SEARCH_TEXT, &words[i], 1));
	buf_printf(out, " %zu %u", f.text.n, crc32c(0, f.text.p, f.text.n));
	msgfile_close(&f);
}

static void ask_date(struct mbox_view *v, uint32_t seq, struct buf *out)
{
	const long long date = mbox_msg_date(v, seq);

	buf_printf(out, "%lld", date < FIRST_DATE + MESSAGES ? date : 0);	/* of a file that has gone: when it was numbered */
}

static void ask_page(struct mbox_view *v, uint32_t seq, struct buf *out)
{
	ask_date(v, seq, out);
	ask_summary(v, seq, out);
	ask_structure(v, seq, out);
}

static const struct walk walks[] = {
	{ "summaries", MBOX_AHEAD_SUMMARY, 1, ask_summary },
	{ "body structures", MBOX_AHEAD_STRUCTURE, 1, ask_structure },
	{ "headers", MBOX_AHEAD_HEAD, 1, ask_head },
	{ "texts", MBOX_AHEAD_TEXT, 1, ask_text },
	{ "dates", MBOX_AHEAD_DATE, 1, ask_date },
	{ "a page of all", MBOX_AHEAD_DATE | MBOX_AHEAD_SUMMARY | MBOX_AHEAD_STRUCTURE, 1, ask_page },
	{ "each third one", MBOX_AHEAD_SUMMARY, 3, ask_summary },
	{ "summaries, and structures where there are some", MBOX_AHEAD_SUMMARY, 1, ask_page },
};

/* All that a walk says, in a folder of its own. skip: it passes over so many of each ten that it was said to ask. used_out: answers that were there before they were
 * asked for. */
static void run(const struct walk *w, unsigned crew, unsigned skip, void (*meanwhile)(const char *root), struct buf *out, size_t *used_out, size_t *large_out)
{
	const char *const root = meanwhile == forget_all ? scratch_on_disk() : scratch_new();
	struct store *s = must_open(root);
	struct buf text;

	buf_init(&text, 1 << 20);
	put_file(root, "elsewhere", "Subject: not here\n\nx\n");
	for (unsigned i = 0; i < MESSAGES; i++) {
		put_file(root, name_of(i, "S"), text_of(&text, i));
		date(root, i);
	}
	buf_fini(&text);
	store_crew_size(s, crew);
	struct mbox *m = must_mbox(s, "INBOX");
	struct mbox_view *v = mbox_view_new(m);
	tap_is_int(mbox_view_count(v), MESSAGES, "the folder is there");
	if (meanwhile)
		meanwhile(root);
	while (!mbox_search_load(v))
		;
	struct walking g = { .w = w, .v = v };
	*used_out = *large_out = 0;
	mbox_ahead_begin(v, w->ahead, next, &g);
	for (uint32_t seq = 1; seq <= MESSAGES; seq++) {
		if (seq % w->step != 0 || seq % 10 < skip || mbox_view_is_expunged(v, seq))
			continue;
		buf_printf(out, "%u ", seq);
		w->ask(v, seq, out);
		buf_ch(out, '\n');
		*used_out += ahead_had(v, seq) != NULL;
		*large_out += ahead_had(v, seq) != NULL && sizes[seq - 1] > LARGE;
	}
	mbox_ahead_end(v);
	mbox_view_free(&v);
	mbox_close(&m);
	store_close(&s);
	scratch_drop(root);
}

static void test_walk(const struct walk *w, unsigned skip, void (*meanwhile)(const char *root))
{
	static const unsigned crews[] = { 1, 2, CREW_FOUR };
	struct buf out[ARRAY_LEN(crews)];
	size_t used, large;

	for (size_t i = 0; i < ARRAY_LEN(crews); i++) {
		buf_init(&out[i], TEXT_MAX);
		run(w, crews[i], skip, meanwhile == forget_all && crews[i] == 1 ? NULL : meanwhile, &out[i], &used, &large);
		if (crews[i] == 1)
			tap_is_int((long long)used, 0, "%s: nobody looks ahead on one processor", w->what);
		else if (skip == 0)
			tap_ok(used > MESSAGES / w->step / 3, "%s: many are there before they are asked for, by a crew of %u (%zu)", w->what, crews[i],
			       used);
		else
			tap_ok(used < MESSAGES / 2 && large == 0, "%s: a walk that needs few is not looked at ahead for long (%zu)", w->what, used);
		if (crews[i] > 1 && skip == 0 && meanwhile != meddle_with_all && w->step == 1)
			tap_is_int((long long)large, LARGE_ONES, "%s: large ones too", w->what);
		tap_ok(!buf_failed(&out[i]) && str_eq(buf_view(&out[i]), buf_view(&out[0])), "%s%s: a crew of %u says the same", w->what,
		       meanwhile == meddle_with_all ? ", files changed" : meanwhile ? ", files not in memory" : "", crews[i]);
	}
	for (size_t i = 0; i < ARRAY_LEN(crews); i++)
		buf_fini(&out[i]);
}

/* Short walks wake nobody; a walk that is left in the middle, or whose folder goes on to be used by a second view, leaves nothing behind. */
static void test_ends(void)
{
	const char *const root = scratch_new();
	struct store *s = must_open(root);
	struct buf text, out;

	buf_init(&text, 1 << 20);
	buf_init(&out, TEXT_MAX);
	for (unsigned i = 0; i < MESSAGES; i++) {
		put_file(root, name_of(i, "S"), text_of(&text, i));
		date(root, i);
	}
	store_crew_size(s, CREW_FOUR);
	struct mbox *m = must_mbox(s, "INBOX");
	struct mbox_view *v = mbox_view_new(m), *w = mbox_view_new(m);
	struct walking g = { .w = &walks[0], .v = v }, h = { .w = &walks[3], .v = w };

	mbox_ahead_begin(v, g.w->ahead, next, &g);
	ask_summary(v, MESSAGES - 5, &out);
	tap_ok(ahead_had(v, MESSAGES - 5) == NULL, "five messages are not worth a thread");
	mbox_ahead_begin(w, h.w->ahead, next, &h);
	ask_text(w, 1, &out);
	tap_ok(h.furthest >= 3 * AT_ONCE, "the crew has two batches to do when the walk begins with one (%u messages)", h.furthest);
	mbox_ahead_begin(v, g.w->ahead, next, &g);
	mbox_ahead_begin(w, h.w->ahead, next, &h);
	for (uint32_t seq = 10; seq < 200; seq++) {
		ask_summary(v, seq, &out);
		ask_text(w, seq, &out);
	}
	tap_ok(ahead_had(v, 199) != NULL && ahead_had(w, 199) != NULL, "two walks at once");
	ask_summary(v, 500, &out);
	tap_ok(ahead_had(v, 500) != NULL, "a walk that jumps");
	ask_summary(v, 20, &out);
	tap_ok(ahead_had(v, 20) == NULL, "and one that goes back is done without");
	mbox_view_free(&v);
	mbox_view_free(&w);
	mbox_close(&m);
	store_close(&s);
	buf_fini(&text);
	buf_fini(&out);
}

/* What a walk is asked about the next messages brings the folder up to date: another process has put many there, and the records of all move. */
static unsigned next_counted(void *ctx, uint32_t *seq)
{
	struct mbox_view *const v = ctx;
	struct mbox_msg msg;

	*seq = *seq <= mbox_view_count(v) ? *seq : 0;
	return *seq && mbox_msg_get(v, *seq, &msg, NULL) == 0 ? MBOX_AHEAD_DATE : 0;
}

static void put_many(const char *root)
{
	static uint32_t uids[MESSAGES];
	struct store *s = must_open(root);
	struct mbox *m = must_mbox(s, "INBOX");
	struct mbox_append *ap = NULL;
	struct err e = { 0 };
	size_t n;
	int r = mbox_append_begin(m, &ap, &e);

	for (unsigned i = 0; r == 0 && i < MESSAGES; i++)
		if ((r = mbox_append_message(ap, 0, NULL, 0, 0, &e)) == 0)
			r = mbox_append_data(ap, STR("Subject: x\n\nx\n"), &e);
	if (r < 0 || mbox_append_commit(&ap, uids, &n, &e) < 0)
		_exit(1);
	mbox_close(&m);
	store_close(&s);
}

static void test_growing(void)
{
	enum { OLD = 100 };
	const char *const root = scratch_new();
	struct store *s = must_open(root);
	struct buf text;
	unsigned wrong = 0;
	int status = -1;

	buf_init(&text, 1 << 20);
	for (unsigned i = 1; i < 2 * OLD; i += 2) {
		put_file(root, name_of(i, "S"), text_of(&text, i));
		date(root, i);
	}
	buf_fini(&text);
	store_crew_size(s, CREW_FOUR);
	struct mbox *m = must_mbox(s, "INBOX");
	struct mbox_view *v = mbox_view_new(m);
	const pid_t pid = fork();
	if (pid == 0) {
		put_many(root);
		_exit(0);
	}
	tap_ok(waitpid(pid, &status, 0) == pid && status == 0, "another process puts many messages there");
	mbox_ahead_begin(v, MBOX_AHEAD_DATE, next_counted, v);
	for (uint32_t seq = 1; seq <= OLD; seq++)
		wrong += mbox_msg_date(v, seq) != FIRST_DATE + 2 * (int64_t)seq - 1;
	tap_is_int(wrong, 0, "dates, while the folder grows");
	mbox_ahead_end(v);
	for (uint32_t seq = 1; seq <= OLD; seq++)
		wrong += mbox_msg_date(v, seq) != FIRST_DATE + 2 * (int64_t)seq - 1;
	tap_is_int(wrong, 0, "and they stay");
	mbox_view_free(&v);
	mbox_close(&m);
	store_close(&s);
}

int main(void)
{
	struct buf text;

	buf_init(&text, 1 << 20);
	for (unsigned i = 0; i < MESSAGES; i++)
		sizes[i] = strlen(text_of(&text, i));
	buf_fini(&text);
	for (size_t i = 0; i < ARRAY_LEN(walks); i++) {
		test_walk(&walks[i], 0, NULL);
		test_walk(&walks[i], 0, meddle_with_all);
	}
	test_walk(&walks[7], 0, forget_all);
	test_walk(&walks[0], 8, NULL);
	test_ends();
	test_growing();
	scratch_remove();
	return tap_done();
}
