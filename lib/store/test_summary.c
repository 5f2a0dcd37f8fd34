/* Summaries: what is computed of a header, what the cache keeps of it for the next process, and what becomes of it when its files are cut, changed or lost. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/arena.h"
#include "store/store_priv.h"
#include "store/summary.h"
#include "store/test_store.h"
#include "test/tap.h"

static struct buf built;

static struct mbox_summary of(const char *head)
{
	struct arena *a = arena_new(0);
	struct mbox_summary s = { 0 };

	buf_reset(&built);
	summary_build(&built, a, str_c(head));
	tap_ok(summary_parse(buf_view(&built), &s) == 0, "a built summary is read back");
	arena_free(&a);
	return s;
}

static void keys(void)
{
	static const struct {
		const char *name, *head, *subject, *from, *display_from;
		bool reply;
	} cases[] = {
		{ "plain", "From: Ann Lee <ann@x.example>\nSubject: Hello\n", "HELLO", "ANN", "ANN LEE", false },
		{ "a reply in encoded words", "Subject: =?utf-8?q?Re:_Hallo?= Welt\nFrom: bob@x.example\n", "HALLO WELT", "BOB", "BOB@X.EXAMPLE", true },
		{ "nothing at all", "X: y\n", "", "", "", false },
		{ "an encoded name", "From: =?iso-8859-1?q?J=FCrg?= <j@x.example>\n", "", "J", "JU\xcc\x88RG", false },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		const struct mbox_summary s = of(cases[i].head);
		tap_is_mem(s.base_subject, str_c(cases[i].subject), "%s: base subject", cases[i].name);
		tap_is_mem(s.from, str_c(cases[i].from), "%s: from", cases[i].name);
		tap_is_mem(s.display_from, str_c(cases[i].display_from), "%s: display name", cases[i].name);
		tap_is_int(s.reply, cases[i].reply, "%s: reply", cases[i].name);
	}
}

static void dates(void)
{
	const struct mbox_summary s = of("Date: Mon, 7 Feb 1994 21:52:25 -0800\n"), none = of("Date: gestern\n");

	tap_is_int(s.sent, 760686745, "the date in UTC");
	tap_is_int(s.zone, -480, "its zone");
	tap_ok(none.sent == INT64_MIN, "a date that is none");
}

static void threads(void)
{
	const uint64_t one = of("Message-ID: <one@x>\n").msgid, quoted = of("Message-ID: <\"one\"@x>\n").msgid, two = of("Message-ID: <two@x>\n").msgid;
	struct mbox_summary s = of("Message-ID: <two@x>\nReferences: <zero@x>\n <one@x> junk <one@x>\nIn-Reply-To: <other@x>\n");

	tap_ok(one != 0 && one != two, "ids differ");
	tap_ok(one == quoted, "quoting makes no other id");
	tap_ok(s.msgid == two && s.n_refs == 2 && summary_ref(&s, 1) == one, "references in order, repeated ones once");
	s = of("In-Reply-To: Your message <one@x> of <two@x>\n");
	tap_ok(s.n_refs == 1 && summary_ref(&s, 0) == one, "without References the first id of In-Reply-To");
	tap_is_int((long long)of("Message-ID: no id\n").msgid, 0, "no id");
}

static void fields(void)
{
	const struct mbox_summary s = of("Received: by x\n\tfor y\nSubject: a\n b\nX-Other: no\nTo: c@d\n");

	tap_is_mem(s.fields, STR("Subject: a\n b\nTo: c@d\n"), "the fields that clients ask for, as they are");
	tap_ok(summary_keeps(STR("SUBJECT")) && !summary_keeps(STR("Received")), "which those are");
	char big[3 * SUMMARY_FIELDS_MAX];
	memset(big, 'x', sizeof(big));
	memcpy(big, "To: ", 4);
	memcpy(big + sizeof(big) - 2, "\n", 2);
	tap_ok(of(big).fields.p == NULL, "a header beyond the limit is not kept");
}

/* --- the cache --- */

static const char text[] = "From: a@b.example\nSubject: cached\n\nbody\n";

static bool cached(struct mbox *m)
{
	struct mbox_view *v = mbox_view_new(m);
	struct mbox_summary s;
	const bool r = mbox_summary_peek(v, 1, &s) == 0 && str_eq(s.base_subject, STR("CACHED"));

	mbox_view_free(&v);
	return r;
}

static void make_one(struct mbox *m)
{
	struct mbox_view *v = mbox_view_new(m);
	struct mbox_summary s;
	struct err e = { 0 };

	tap_ok(mbox_summary_get(v, 1, &s, &e) == 0 && str_eq(s.base_subject, STR("CACHED")), "made at first sight");
	mbox_view_free(&v);
}

static void damage(const char *root, const char *file, off_t at, const char *name)
{
	char *const path = scratch_path(root, file);
	const int fd = open(path, O_RDWR);
	char c;

	tap_ok(fd >= 0 && pread(fd, &c, 1, at) == 1, "%s: there is something to damage", name);
	c = (char)~c;
	tap_ok(pwrite(fd, &c, 1, at) == 1, "%s: damaged", name);
	close(fd);
}

/* What arrives is looked at when it does. */
static void arrival(void)
{
	char *const root = xstrdup(scratch_new());
	struct store *s = must_open(root);
	struct mbox *m = must_mbox(s, "INBOX");
	struct mbox_summary sum;
	struct arena *a = arena_new(0);
	struct err e = { 0 };
	struct str blob;

	append_one(m, 0, NULL, text);
	put_new(root, "", text);
	tap_ok(mbox_refresh(m, &e) == 0, "refresh");
	struct mbox_view *v = mbox_view_new(m);
	tap_is_int(mbox_view_count(v), 2, "one appended, one delivered");
	for (uint32_t seq = 1; seq <= 2; seq++) {
		tap_ok(mbox_summary_peek(v, seq, &sum) == 0 && str_eq(sum.base_subject, STR("CACHED")), "message %u has its summary", seq);
		tap_ok(mbox_cache_get(v, seq, MBOX_CACHE_BODYSTRUCTURE, a, &blob) == 0, "and its structure");
	}
	mbox_view_free(&v);
	mbox_close(&m);
	arena_free(&a);
	store_close(&s);
	free(root);
}

static void kept(void)
{
	char *const root = xstrdup(scratch_new());
	struct store *s = must_open(root);
	struct mbox *m = must_mbox(s, "INBOX");

	append_one(m, 0, NULL, text);
	tap_ok(cached(m), "known at once");
	tap_ok(mbox_rebuild(m, &(struct err){ 0 }) == 0 && !cached(m), "forgotten");
	make_one(m);
	mbox_close(&m);
	m = must_mbox(s, "INBOX");
	tap_ok(cached(m), "known when the folder is opened again");
	mbox_close(&m);
	damage(root, CACHE_NAME, 64 + 32 + 60, "blob");
	m = must_mbox(s, "INBOX");
	tap_ok(!cached(m), "a changed blob is not believed");
	make_one(m);
	mbox_close(&m);
	m = must_mbox(s, "INBOX");
	tap_ok(cached(m), "and made again");
	tap_ok(truncate(scratch_path(root, CACHE_NAME), 64) == 0 && !cached(m), "cut under us");
	make_one(m);
	mbox_close(&m);
	damage(root, CACHEMAP_NAME, 0, "map");
	m = must_mbox(s, "INBOX");
	tap_ok(!cached(m), "another map is not used");
	make_one(m);
	mbox_close(&m);
	m = must_mbox(s, "INBOX");
	tap_ok(cached(m), "a new cache is made");
	mbox_close(&m);
	store_close(&s);
	free(root);
}

/* Two processes that put at once: what each reads is right, whoever came first. */
static void two(void)
{
	char *const root = xstrdup(scratch_new());
	struct store *s = must_open(root), *s2 = must_open(root);
	struct mbox *m = must_mbox(s, "INBOX");

	for (int i = 0; i < 50; i++)
		append_one(m, 0, NULL, text);
	tap_ok(mbox_rebuild(m, &(struct err){ 0 }) == 0, "nothing is known");
	struct mbox *m2 = must_mbox(s2, "INBOX");
	struct mbox_view *v = mbox_view_new(m), *v2 = mbox_view_new(m2);
	struct mbox_summary sum;
	struct err e = { 0 };
	bool right = true;
	for (uint32_t seq = 1; seq <= 50; seq++) {
		right &= mbox_summary_get(v, seq, &sum, &e) == 0;
		right &= mbox_summary_get(v2, 51 - seq, &sum, &e) == 0;
		if (seq % 7 == 0)
			mbox_cache_flush(m);
		if (seq % 5 == 0)
			mbox_cache_flush(m2);
	}
	for (uint32_t seq = 1; seq <= 50; seq++)
		right &= mbox_summary_peek(v, seq, &sum) == 0 && mbox_summary_peek(v2, seq, &sum) == 0 && str_eq(sum.base_subject, STR("CACHED"));
	tap_ok(right, "two processes, one cache");
	mbox_view_free(&v);
	mbox_view_free(&v2);
	mbox_close(&m);
	mbox_close(&m2);
	store_close(&s);
	store_close(&s2);
	free(root);
}

int main(void)
{
	buf_init(&built, 1 << 20);
	keys();
	dates();
	threads();
	fields();
	arrival();
	kept();
	two();
	buf_fini(&built);
	return tap_done();
}
