/* Readers of a shared folder: each one's \Seen is seen by nobody else, lasts, goes along with a moved message, and ends with the right to read. */
#include <stdio.h>
#include <stdlib.h>

#include "store/acl.h"
#include "store/store_priv.h"
#include "store/test_store.h"
#include "test/tap.h"

static struct store *s;
static struct mbox *m;

static struct mbox_view *view_of(const char *reader)
{
	struct mbox_view *v = mbox_view_peek(m);

	mbox_view_reader(v, reader);
	return v;
}

static int change(struct mbox_view *v, uint32_t seq, enum mbox_flag_op op, uint32_t flags, const char *keyword)
{
	const struct str kw = keyword ? str_c(keyword) : STR("");
	struct err e = { 0 };
	size_t failed;

	return mbox_store_flags(v, &seq, 1, op, flags, &kw, keyword != NULL, 0, NULL, &failed, &e);
}

static bool seen(const char *reader, uint32_t seq)
{
	struct mbox_view *v = view_of(reader);
	struct mbox_msg msg;
	struct err e = { 0 };
	const bool is = mbox_msg_get(v, seq, &msg, &e) == 0 && (msg.flags & MBOX_SEEN);

	mbox_view_free(&v);
	return is;
}

static const char *seen_by_all(uint32_t seq)
{
	static char text[40];

	snprintf(text, sizeof(text), "%s%s%s", seen(NULL, seq) ? "owner " : "", seen("bob", seq) ? "bob " : "", seen("Carol", seq) ? "carol " : "");
	return text;
}

static unsigned changes;
static void on_change(void *ctx, enum mbox_change what, uint32_t seq, uint32_t uid)
{
	changes += what == MBOX_CH_FLAGS;
}

static unsigned told(struct mbox_view *v)
{
	struct err e = { 0 };

	changes = 0;
	return mbox_view_sync(v, true, on_change, NULL, &e) == 0 ? changes : 99;
}

static void test_apart(void)
{
	struct mbox_view *bob = view_of("bob"), *bob2 = view_of("BOB"), *carol = view_of("carol"), *owner = view_of(NULL);

	tap_is_int(change(bob, 1, MBOX_ADD, MBOX_SEEN, NULL), 0, "bob reads 1");
	tap_is_str(seen_by_all(1), "bob ", "the others have not");
	tap_is_int(told(bob), 0, "who did it is not told");
	tap_is_int(told(bob2), 1, "another connection of bob's is");
	tap_is_int(told(carol) + told(owner), 0, "nobody else");
	tap_is_int(change(owner, 1, MBOX_ADD, MBOX_SEEN | MBOX_FLAGGED, NULL), 0, "the owner reads it");
	tap_is_str(seen_by_all(1), "owner bob ", "both");
	tap_is_int(told(bob) + told(carol), 2, "a flag for all is told to all");
	tap_is_int(change(bob, 1, MBOX_REMOVE, MBOX_SEEN, NULL), 0, "bob marks it as unread");
	tap_is_str(seen_by_all(1), "owner ", "for himself");
	tap_is_int(change(carol, 2, MBOX_REMOVE, MBOX_SEEN, NULL), 0, "what was never set can be taken away");
	tap_is_int(mbox_unseen(m, NULL), 2, "unseen: the owner's");
	tap_is_int(mbox_unseen(m, "bob"), 3, "bob's");
	tap_is_int(change(bob, 3, MBOX_ADD, MBOX_SEEN, NULL), 0, "bob reads 3");
	tap_is_int(mbox_unseen(m, "bob"), 2, "bob's, then");
	mbox_view_free(&bob);
	mbox_view_free(&bob2);
	mbox_view_free(&carol);
	mbox_view_free(&owner);
}

/* FLAGS replaces all flags: but not those of others. */
static void test_set(void)
{
	struct mbox_view *bob = view_of("bob"), *carol = view_of("carol"), *owner = view_of(NULL);

	(void)!change(bob, 2, MBOX_ADD, MBOX_SEEN, NULL);
	(void)!change(carol, 2, MBOX_ADD, MBOX_SEEN, NULL);
	tap_is_int(change(owner, 2, MBOX_SET, MBOX_FLAGGED, "work"), 0, "the owner sets all flags");
	tap_is_str(seen_by_all(2), "bob carol ", "readers keep theirs");
	tap_is_str(describe(owner), "1:a 2:2,work 3:0", "the owner sees no keywords of readers");
	tap_is_int(change(carol, 2, MBOX_SET, MBOX_ANSWERED, "play"), 0, "carol sets all flags");
	tap_is_str(seen_by_all(2), "bob ", "hers is gone, his not");
	tap_is_str(describe(owner), "1:a 2:1,play 3:0", "the others are what she said");
	tap_is_int(change(carol, 2, MBOX_SET, MBOX_SEEN, NULL), 0, "and again");
	tap_is_str(seen_by_all(2), "bob carol ", "with it");
	tap_is_int(change(owner, 2, MBOX_SET, MBOX_SEEN, NULL), 0, "the owner's own");
	tap_is_int(change(carol, 2, MBOX_SET, 0, NULL), 0, "is not hers to take");
	tap_is_str(seen_by_all(2), "owner bob ", "it stays");
	mbox_view_free(&bob);
	mbox_view_free(&carol);
	mbox_view_free(&owner);
}

static void test_copies(void)
{
	struct mbox_view *bob = view_of("bob"), *owner = view_of(NULL);
	const uint32_t two = 2;
	struct err e = { 0 };
	uint32_t uid;

	tap_is_int(mbox_copy(bob, &two, 1, m, false, &uid, &e), 0, "bob copies");
	tap_is_str(seen_by_all(4), "bob ", "the copy is new to all others");
	tap_is_int(mbox_copy(owner, &two, 1, m, false, &uid, &e), 0, "the owner copies");
	tap_is_str(seen_by_all(5), "owner ", "likewise");
	tap_is_int(mbox_copy(bob, &two, 1, m, true, &uid, &e), 0, "bob moves");
	tap_is_str(seen_by_all(5), "owner bob ", "nothing is new to anybody");
	mbox_view_free(&bob);
	mbox_view_free(&owner);
}

static void test_append(void)
{
	struct mbox_append *ap;
	struct err e = { 0 };
	uint32_t uid;
	size_t n;

	tap_is_int(mbox_append_begin(m, &ap, &e), 0, "append");
	mbox_append_reader(ap, "carol");
	tap_is_int(mbox_append_message(ap, MBOX_SEEN, NULL, 0, 0, &e), 0, "by carol, as read");
	tap_ok(mbox_append_data(ap, STR("Subject: x\r\n\r\nx\r\n"), &e) == 0 && mbox_append_commit(&ap, &uid, &n, &e) == 0, "done");
	tap_is_str(seen_by_all(6), "carol ", "she has read it");
}

static void test_lasts(const char *root)
{
	mbox_close(&m);
	store_close(&s);
	s = must_open(root);
	m = must_mbox(s, "INBOX");
	tap_is_str(seen_by_all(6), "carol ", "after opening anew");
}

static uint64_t modseq_of(uint32_t seq)
{
	struct mbox_view *v = view_of(NULL);
	struct mbox_msg msg = { .modseq = 0 };
	struct err e = { 0 };

	(void)!mbox_msg_get(v, seq, &msg, &e);
	mbox_view_free(&v);
	return msg.modseq;
}

static void test_ends(void)
{
	const uint64_t read_by_both = modseq_of(5), read_by_carol = modseq_of(6), untouched = modseq_of(1);
	struct arena *a = arena_new(0);
	struct acl_entry who = { 0 };
	struct err e = { 0 };

	tap_ok(acl_id_parse(a, STR("bob"), &who, &e) == 0 && store_acl_change(s, STR("INBOX"), a, &who, ACL_SET, ACL_L | ACL_R | ACL_S, &e) == 0, "bob may read");
	tap_is_str(seen_by_all(6), "", "carol may not: hers is forgotten");
	tap_is_str(seen_by_all(5), "owner bob ", "his is not");
	tap_ok(store_acl_change(s, STR("INBOX"), a, &who, ACL_SET, ACL_L, &e) == 0, "he may not any more");
	tap_is_str(seen_by_all(5), "owner ", "his, too");
	tap_ok(modseq_of(5) > read_by_both && modseq_of(6) > read_by_carol, "what they had read has changed");
	tap_ok(modseq_of(1) == untouched && untouched > 0, "and nothing else");
	tap_is_int(mbox_unseen(m, "bob"), 6, "all is unread");
	arena_free(&a);
}

/* Nobody can fill the table of keywords by reading: who comes too late has everything unread, and can do all else. */
static void test_many(void)
{
	struct mbox_append *ap;
	struct err e = { 0 };
	unsigned taken = 0, failed = 0;
	char name[400];
	uint32_t uid;
	size_t n;

	for (unsigned i = 0; i < STORE_READERS_MAX + 5; i++) {
		snprintf(name, sizeof(name), "reader%u@example.com", i);
		struct mbox_view *v = view_of(name);
		failed += change(v, 1, MBOX_ADD, MBOX_SEEN, NULL) != 0;
		mbox_view_free(&v);
		taken += seen(name, 1);
	}
	tap_is_int(taken, STORE_READERS_MAX - 2, "so many readers, bob and carol included");
	tap_is_int(failed, 0, "none is refused");
	struct mbox_view *late = view_of(name), *owner = view_of(NULL);
	tap_is_int(change(late, 1, MBOX_SET, MBOX_SEEN | MBOX_ANSWERED, NULL), 0, "a late one sets flags");
	tap_ok(!seen(name, 1) && strstr(describe(owner), "1:9 "), "but for that: %s", describe(owner));
	tap_ok(mbox_append_begin(m, &ap, &e) == 0, "and appends");
	mbox_append_reader(ap, name);
	tap_ok(mbox_append_message(ap, MBOX_SEEN, NULL, 0, 0, &e) == 0 && mbox_append_data(ap, STR("Subject: x\r\n\r\nx\r\n"), &e) == 0 &&
	       mbox_append_commit(&ap, &uid, &n, &e) == 0, "%s", e.text);
	memset(name, 'x', 255);
	name[255] = '\0';
	struct mbox_view *longest = view_of(name);
	tap_ok(change(longest, 1, MBOX_ADD, MBOX_SEEN, NULL) == 0 && !seen(name, 1), "a name too long for a keyword, likewise");
	mbox_view_free(&late);
	mbox_view_free(&longest);
	tap_is_int(change(owner, 1, MBOX_ADD, 0, "another"), 0, "there is room for keywords");
	mbox_view_free(&owner);
}

enum { MESSAGES = 300, READERS = 30, TIMES = 300 };
static bool has[READERS][MESSAGES];

static struct mbox_view *view_of_number(unsigned who)
{
	char name[20];

	snprintf(name, sizeof(name), "r%u", who);
	return view_of(name);
}

static unsigned wrong_ones(void)
{
	struct err e = { 0 };
	unsigned wrong = 0;

	for (unsigned who = 0; who < READERS; who++) {
		struct mbox_view *v = view_of_number(who);
		for (uint32_t seq = 1; seq <= MESSAGES; seq++) {
			struct mbox_msg msg;
			wrong += mbox_msg_get(v, seq, &msg, &e) != 0 || !!(msg.flags & MBOX_SEEN) != has[who][seq - 1];
		}
		mbox_view_free(&v);
	}
	return wrong;
}

/* Each reader in turn reads a quarter of the messages, or marks it as unread. */
static unsigned read_at_random(void)
{
	struct err e = { 0 };
	unsigned failed = 0;
	uint32_t x = 1;

	for (unsigned i = 0; i < TIMES; i++) {
		uint32_t seqs[MESSAGES], n = 0;
		const bool add = i / READERS % 3 != 1;
		struct mbox_view *v = view_of_number(i % READERS);
		size_t n_failed;
		for (uint32_t seq = 1; seq <= MESSAGES; seq++)
			if ((x = x * 1103515245u + 12345u) >> 30 == 0) {
				seqs[n++] = seq;
				has[i % READERS][seq - 1] = add;
			}
		failed += mbox_store_flags(v, seqs, n, add ? MBOX_ADD : MBOX_REMOVE, MBOX_SEEN, NULL, 0, 0, NULL, &n_failed, &e) != 0;
		mbox_view_free(&v);
	}
	return failed;
}

/* Whoever reads in whatever order: sets of keywords that no message has any more do not stay. */
static void test_sets_do_not_gather(const char *root)
{
	struct err e = { 0 };
	bool more = true;

	mbox_close(&m);
	tap_is_int(store_create(s, STR("Many"), STR(""), &e), 0, "a folder");
	m = must_mbox(s, "Many");
	for (int i = 0; i < MESSAGES; i++)
		append_one(m, 0, NULL, "Subject: x\n\nx\n");
	tap_is_int(read_at_random(), 0, "read at random");
	tap_is_int(wrong_ones(), 0, "each has what was said last");
	tap_ok(m->st.sweeps > 0, "%llu sweeps", (unsigned long long)m->st.sweeps);
	tap_ok(m->st.n_kwsets <= 3 * MESSAGES + KWSETS_SWEEP, "%zu sets for %d messages", m->st.n_kwsets, MESSAGES);
	while (more)
		tap_ok(mbox_flush(m, 1000, &more, &e) == 0, "flush");
	mbox_close(&m);
	store_close(&s);
	s = must_open(root);
	m = must_mbox(s, "Many");
	tap_ok(m->st.n_map == MESSAGES, "%u messages in the index", m->st.n_map);
	tap_is_int(wrong_ones(), 0, "after opening anew, too");
	tap_ok(m->st.n_kwsets <= MESSAGES + 1, "%zu sets in the index", m->st.n_kwsets);
}

int main(void)
{
	char *root = strdup(scratch_new());

	s = must_open(root);
	m = must_mbox(s, "INBOX");
	for (int i = 0; i < 3; i++)
		append_one(m, 0, NULL, "Subject: x\n\nx\n");
	test_apart();
	test_set();
	test_copies();
	test_append();
	test_lasts(root);
	test_ends();
	test_many();
	test_sets_do_not_gather(root);
	mbox_close(&m);
	store_close(&s);
	free(root);
	scratch_remove();
	return tap_done();
}
