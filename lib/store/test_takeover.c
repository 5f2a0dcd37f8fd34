/* Taking over a maildir that Dovecot or Courier kept. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "store/store_priv.h"
#include "store/takeover.h"
#include "store/test_store.h"
#include "test/tap.h"

static void dirs(const char *root)
{
	static const char *const names[] = { "cur", "new", "tmp" };

	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		mkdir(scratch_path(root, names[i]), 0700);
}

static void test_dovecot(void)
{
	const char *const root = scratch_new();

	dirs(root);
	put_file(root, "cur/1000000005.M1P1.h,S=4,W=5:2,Sac", "one\n");
	put_file(root, "cur/1000000001.M1P1.h:2,F", "two\n");
	put_file(root, "cur/1000000009.M1P1.h:2,T", "three\n");
	put_file(root, "cur/1000000003.M1P1.h:2,", "not in the list\n");
	put_file(root, "new/1000000002.M1P1.h", "new\n");
	put_file(root, "dovecot-keywords", "0 $Label1\n2 Work\nrubbish\n77 x\n");
	put_file(root, "dovecot-uidlist",
		 "3 V1234567890 N20 G0123456789abcdef0123456789abcdef Pformat\n"
		 "3 :gone\n"
		 "7 W6 Puidl7 O5 :1000000009.M1P1.h\n"
		 "6 :descending\n"
		 "0 :zero\n"
		 "9 Xx :1000000005.M1P1.h,S=4,W=5\n"
		 "11 :1000000001.M1P1.h:2,S\n"
		 "12 :../../etc/passwd\n"
		 "25 :1000000099.M1P1.h\n"
		 "26 :1000000009.M1P1.hcut");
	put_file(root, "subscriptions", "V\t2\n\nINBOX\nR&AOk-union\tSous\nGone\n");
	put_file(root, "dovecot-uidvalidity", "7a000000");
	put_file(root, "dovecot-uidvalidity.7a000003", "");
	mkdir(scratch_path(root, ".Sent Items"), 0700);
	dirs(scratch_path(root, ".Sent Items"));
	struct store *s = must_open(root);
	struct mbox *m = must_mbox(s, "INBOX");
	struct mbox_view *v = mbox_view_new(m);
	struct mbox_status st;
	struct err e = { 0 };
	uint8_t id[16];

	tap_is_str(describe(v), "7:4 9:8,$Label1,Work 11:2 26:0 27:0", "UIDs and keywords; what is not in the list comes after, in arrival order");
	tap_ok(mbox_status(m, &st, &e) == 0 && st.uidvalidity == 1234567890 && st.uidnext == 28, "UIDVALIDITY and next UID: %u %u", st.uidvalidity, st.uidnext);
	tap_ok(st.highestmodseq > UINT64_C(1000000000000000), "mod-sequences start above the clock's microseconds");
	tap_is_str(mbox_msg_pop3_uidl(v, 1), "uidl7", "POP3 id");
	tap_is_int(mbox_msg_pop3_order(v, 1), 5, "POP3 order");
	tap_ok(mbox_msg_pop3_uidl(v, 2) == NULL, "none");
	tap_is_str(read_message(v, 5), "not in the list\n", "content");
	mbox_id(m, id);
	tap_ok(id[0] == 0x01 && id[15] == 0xef, "the mailbox id is Dovecot's");
	tap_is_int(access(scratch_path(root, "cur/1000000005.M1P1.h,S=4,W=5:2,Sac"), F_OK), 0, "names are left alone");

	struct arena *a = arena_new(0);
	struct store_folder *l;
	char all[400] = "";
	tap_is_int(store_list(s, a, &l, &e), 0, "list");
	for (; l; l = l->next)
		snprintf(all + strlen(all), sizeof(all) - strlen(all), "%.*s%s%s%.*s|", STR_ARG(l->name), l->subscribed ? "+" : "", l->exists ? "" : "!",
			 STR_ARG(l->special_use));
	tap_is_str(all, "INBOX+|Gone+!|R\xc3\xa9union!|R\xc3\xa9union/Sous+!|Sent Items\\Sent|", "subscriptions and special uses");
	tap_is_int(store_subscribe(s, STR("Gone"), false, &e), 0, "unsubscribe");
	tap_is_int(access(scratch_path(root, "postern.subscriptions"), F_OK), 0, "our own file from now on");
	struct mbox *sent = must_mbox(s, "Sent Items");
	tap_ok(mbox_status(sent, &st, &e) == 0 && st.uidvalidity > 0x7a000003, "a fresh folder's UIDVALIDITY is above Dovecot's counter");
	mbox_close(&sent);
	/* Again from our own files. */
	mbox_view_free(&v);
	mbox_close(&m);
	unlink(scratch_path(root, INDEX_NAME));
	m = must_mbox(s, "INBOX");
	v = mbox_view_new(m);
	tap_is_str(describe(v), "7:4 9:8,$Label1,Work 11:2 26:0 27:0", "the same from the journal");
	tap_is_str(mbox_msg_pop3_uidl(v, 1), "uidl7", "POP3 id");
	mbox_view_free(&v);
	mbox_close(&m);
	store_close(&s);
	arena_free(&a);
}

static void test_courier(void)
{
	const char *const root = scratch_new();

	dirs(root);
	put_file(root, "cur/1000000001.M1P1.h:2,S", "a\n");
	put_file(root, "cur/1000000002.M1P1.h:2,", "b\n");
	put_file(root, "cur/1000000003.M1P1.h:2,", "c\n");
	put_file(root, "courierimapuiddb", "1 2345 10\n4 1000000002.M1P1.h\n5 1000000001.M1P1.h\n6 1000000003.M1P1.h\n");
	put_file(root, "courierpop3dsizelist",
		 "/2 9 77\n1000000001.M1P1.h:2, 3 7:0\n1000000002.M1P1.h:2, 3 8:77\n1000000003.M1P1.h:2,S 3 0:0\n");
	put_file(root, "courierimapsubscribed", "INBOX\nINBOX.Work\nINBOX.R&AOk-union\nshared.x\n");
	mkdir(scratch_path(root, "courierimapkeywords"), 0700);
	put_file(root, "courierimapkeywords/:list", "Work\n$Label1\nold\n\n1000000001.M1P1.h:0 1\n1000000002.M1P1.h:2\n1000000003.M1P1.h:2 77 x\ngone:0\n");
	put_file(root, "courierimapkeywords/.100.1000000002.M1P1.h", "older\n");
	put_file(root, "courierimapkeywords/.101.1000000002.M1P1.h", "$Label1\nnew one\n");
	put_file(root, "courierimapkeywords/1000000003.M1P1.h", "");
	struct store *s = must_open(root);
	struct mbox *m = must_mbox(s, "INBOX");
	struct mbox_view *v = mbox_view_new(m);
	struct mbox_status st;
	struct err e = { 0 };

	tap_is_str(describe(v), "4:0,$Label1 5:8,$Label1,Work 6:0", "Courier's UIDs and keywords");
	tap_ok(mbox_status(m, &st, &e) == 0 && st.uidvalidity == 2345 && st.uidnext == 10, "and UIDVALIDITY");
	tap_is_str(mbox_msg_pop3_uidl(v, 2), "UID7", "POP3 id without validity");
	tap_is_str(mbox_msg_pop3_uidl(v, 1), "UID8-77", "with it");
	tap_is_str(mbox_msg_pop3_uidl(v, 3), "1000000003.M1P1.h", "by name");
	tap_is_int(mbox_msg_pop3_order(v, 2), 1, "order by position");
	struct arena *a = arena_new(0);
	struct store_folder *l;
	char all[400] = "";
	tap_is_int(store_list(s, a, &l, &e), 0, "list");
	for (; l; l = l->next)
		if (l->subscribed)
			snprintf(all + strlen(all), sizeof(all) - strlen(all), "%.*s|", STR_ARG(l->name));
	tap_is_str(all, "INBOX|R\xc3\xa9union|Work|", "subscriptions");
	arena_free(&a);
	mbox_view_free(&v);
	mbox_close(&m);
	store_close(&s);
}

static void add_name(void *ctx, struct str name)
{
	buf_printf(ctx, "%.*s|", STR_ARG(name));
}

static void test_subscriptions(void)
{
	static const struct {
		const char *text;
		char separator;
		const char *names;
	} v[] = {
		{ "V\t2\n\nINBOX\nR&AOk-union\tSous\nv1.2\tx\n", '.', "INBOX|R\xc3\xa9union/Sous|v1.2/x|" },
		{ "inbox\nWork.Clients\n# a word\nR&AOk-union\n", '.', "INBOX|Work/Clients|R\xc3\xa9union|" },
		{ "Work/Clients/v1.2\nR&AOk-union/Sous\n", '/', "Work/Clients/v1.2|R\xc3\xa9union/Sous|" },
		{ "V\t2\n\na\x01tb\tc\n../x\n\n\tx\n", '/', "" },
		{ "../../x\n/x\nx/\n", '/', "" },
		{ "", '.', "" },
	};

	for (size_t i = 0; i < ARRAY_LEN(v); i++) {
		struct buf b;
		buf_init(&b, 1000);
		takeover_subscriptions(str_c(v[i].text), v[i].separator, add_name, &b);
		tap_is_str(b.n ? b.p : "", v[i].names, "subscriptions %zu", i);
		buf_fini(&b);
	}
}

static const struct {
	const char *name, *text;
	bool good;
	uint32_t uv, next;
	size_t n;
} lists[] = {
	{ "version 1", "1 5 9\n1 a\n2 b\n", true, 5, 9, 2 },
	{ "version 3", "3 V5 N1\n1 :a\n8 :b\n", true, 5, 9, 2 },
	{ "fields in any order, unknown ones", "3 N1 Zx V5 Gzz\n1 :a\n", true, 5, 2, 1 },
	{ "the same name again", "3 V5 N1\n1 :a\n2 :b\n3 :a\n", true, 5, 4, 2 },
	{ "version 2", "2 5 9\n", false, 0, 0, 0 },
	{ "no validity", "3 N1\n1 :a\n", false, 0, 0, 0 },
	{ "validity 0", "3 V0 N1\n", false, 0, 0, 0 },
	{ "next 0", "1 5 0\n", false, 0, 0, 0 },
	{ "empty", "", false, 0, 0, 0 },
	{ "highest UID", "1 5 9\n4294967294 a\n4294967295 b\n", true, 5, 4294967295, 1 },
};

static void test_parser(void)
{
	for (size_t i = 0; i < ARRAY_LEN(lists); i++) {
		struct arena *a = arena_new(0);
		struct old_list l = { 0 };
		struct err e = { 0 };
		const int r = uidlist_parse(a, str_c(lists[i].text), &l, &e);
		if (lists[i].good)
			tap_ok(r == 0 && l.uidvalidity == lists[i].uv && l.uidnext == lists[i].next && l.n == lists[i].n, "%s: %u %u %zu", lists[i].name,
			       l.uidvalidity, l.uidnext, l.n);
		else
			tap_is_int(r, -1, "%s: refused", lists[i].name);
		for (size_t cut = 0; cut < strlen(lists[i].text); cut++) {
			struct old_list part = { 0 };
			(void)!uidlist_parse(a, str_n(lists[i].text, cut), &part, &e);
		}
		arena_free(&a);
	}
}

/* 10,000 messages: no exactness, only that nothing is quadratic. */
static void test_many(void)
{
	const char *const root = scratch_new();
	enum { N = 10000 };
	char name[100];
	struct err e = { 0 };
	bool more;

	dirs(root);
	for (int i = 0; i < N; i++) {
		snprintf(name, sizeof(name), "cur/10%08d.M1P1.h,S=2,W=3:2,%s", i, i % 3 ? "S" : "");
		put_file(root, name, "x\n");
	}
	uint64_t t = clock_mono_us();
	struct store *s = must_open(root);
	struct mbox *m = must_mbox(s, "INBOX");
	struct mbox_view *v = mbox_view_new(m);
	tap_is_int(mbox_view_count(v), N, "first sight of %d messages", N);
	tap_diag("%llu ms", (unsigned long long)(clock_mono_us() - t) / 1000);
	uint32_t *seqs = xzalloc(N * 2 * sizeof(*seqs));
	for (uint32_t i = 0; i < N; i++)
		seqs[i] = i + 1;
	const struct str kw = STR("kw");
	t = clock_mono_us();
	tap_is_int(mbox_store_flags(v, seqs, N, MBOX_ADD, MBOX_FLAGGED, &kw, 1, 0, NULL, NULL, &e), 0, "a flag on all");
	tap_diag("%llu us", (unsigned long long)(clock_mono_us() - t));
	t = clock_mono_us();
	tap_ok(mbox_flush(m, N, &more, &e) == 0 && more && m->st.unflushed == 0, "all names, and the index waits");
	tap_ok(mbox_flush(m, N, &more, &e) == 0 && more, "a piece of it");
	while (more)
		if (mbox_flush(m, N, &more, &e) < 0)
			break;
	struct state st;
	uint64_t generation = m->j.generation, pos = 0;
	state_init(&st);
	tap_ok(index_load(m->dirfd, &generation, m->j.pos, &st, &pos) == 0 && pos == m->j.pos && st.messages == N, "written in pieces it is whole");
	state_fini(&st);
	tap_diag("%llu ms", (unsigned long long)(clock_mono_us() - t) / 1000);
	t = clock_thread_us();	/* others may have the processor meanwhile */
	refresh_sync(m, v);
	tap_ok(clock_thread_us() - t < 20000, "a refresh after our own renames lists nothing");
	struct mbox_msg msg;
	uint64_t sum = 0;
	t = clock_mono_us();
	for (uint32_t seq = 1; seq <= N; seq++)
		sum += mbox_msg_get(v, seq, &msg, &e) == 0 ? msg.size_crlf : 0;
	tap_is_int((long long)sum, 3 * N, "sizes");
	tap_diag("%llu us for all", (unsigned long long)(clock_mono_us() - t));
	mbox_view_free(&v);
	mbox_close(&m);
	store_close(&s);
	s = must_open(root);
	t = clock_mono_us();
	m = must_mbox(s, "INBOX");
	tap_diag("opened in %llu us", (unsigned long long)(clock_mono_us() - t));
	v = mbox_view_new(m);
	t = clock_mono_us();
	tap_ok(read_message(v, N / 2) != NULL, "a message");
	tap_diag("first body in %llu us", (unsigned long long)(clock_mono_us() - t));
	t = clock_mono_us();
	tap_is_int(mbox_expunge(v, seqs + 1000, N - 1000, &e), 0, "expunge");
	tap_diag("%llu ms", (unsigned long long)(clock_mono_us() - t) / 1000);
	refresh_sync(m, v);
	tap_is_int(mbox_view_count(v), 1000, "the rest");
	for (more = true; more;)
		tap_ok(mbox_flush(m, N, &more, &e) == 0, "what was expunged is unlinked");
	tap_is_int((long long)count_files(root, "cur"), 1000, "of files, too");
	free(seqs);
	mbox_view_free(&v);
	mbox_close(&m);
	store_close(&s);
}

static char *file_text(const char *root, const char *name)
{
	static char text[2000];
	FILE *const f = fopen(scratch_path(root, name), "re");
	const size_t n = f ? fread(text, 1, sizeof(text) - 1, f) : 0;

	text[n] = '\0';
	if (f)
		(void)fclose(f);
	return text;
}

/* Handed back to Dovecot, changed there, and looked at again. */
static void test_there_and_back(void)
{
	const char *const root = scratch_new();
	struct store *s = must_open(root);
	struct mbox *m = must_mbox(s, "INBOX");
	struct err e = { 0 };
	char from[600], to[600], list[2000];
	unsigned lost = 7;

	append_one(m, MBOX_SEEN, "Fresh", "one\n");
	append_one(m, 0, NULL, "two\n");
	struct mbox_view *v = mbox_view_new(m);
	tap_is_int(mbox_store_flags(v, (uint32_t[]){ 1 }, 1, MBOX_ADD, MBOX_FLAGGED, &STR("Other"), 1, 0, NULL, NULL, &e), 0, "another keyword");
	tap_is_int(mbox_handback(m, &lost, &e), 0, "handed back: %s", e.text);
	tap_is_int(lost, 0, "nothing is lost");
	tap_is_str(file_text(root, "dovecot-keywords"), "0 Fresh\n1 Other\n", "keywords");
	tap_is_int(access(scratch_path(root, "dovecot-uidlist.lock"), F_OK), -1, "no lock is left");
	snprintf(from, sizeof(from), "%s/cur/%s:2,FSab", root, mbox_msg_basename(v, 1));
	tap_is_int(access(from, F_OK), 0, "letters in the name");
	/* There: a keyword goes, a new one and a flag come; a message arrives, and gets a UID well above. */
	snprintf(to, sizeof(to), "%s/cur/%s:2,FRSbc", root, mbox_msg_basename(v, 1));
	tap_is_int(rename(from, to), 0, "renamed");
	put_file(root, "dovecot-keywords", "0 Fresh\n1 Other\n2 There\n");
	put_file(root, "cur/1000000000.M1P1.there:2,c", "three\n");
	snprintf(list, sizeof(list), "%s9 :1000000000.M1P1.there\n", file_text(root, "dovecot-uidlist"));
	put_file(root, "dovecot-uidlist", list);
	mbox_view_free(&v);
	mbox_close(&m);
	store_close(&s);
	s = must_open(root);
	m = must_mbox(s, "INBOX");
	v = mbox_view_new(m);
	tap_is_str(describe(v), "1:b,Other,There 2:0 9:0,There", "keywords, flags and UIDs of Dovecot");
	append_one(m, 0, NULL, "four\n");
	refresh_sync(m, v);
	tap_is_str(describe(v), "1:b,Other,There 2:0 9:0,There 10:0", "and on from there");
	mbox_view_free(&v);
	mbox_close(&m);
	store_close(&s);
}

int main(void)
{
	test_there_and_back();
	test_dovecot();
	test_courier();
	test_parser();
	test_subscriptions();
	test_many();
	return tap_done();
}
