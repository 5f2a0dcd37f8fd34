/* Readers of a shared folder: each one's \Seen is seen by nobody else, lasts, goes along with a moved message, and ends with the right to read. */
#include <stdio.h>
#include <stdlib.h>

#include "store/acl.h"
#include "store/store.h"
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

static void test_ends(void)
{
	struct arena *a = arena_new(0);
	struct acl_entry who = { 0 };
	struct err e = { 0 };

	tap_ok(acl_id_parse(a, STR("bob"), &who, &e) == 0 && store_acl_change(s, STR("INBOX"), a, &who, ACL_SET, ACL_L | ACL_R | ACL_S, &e) == 0, "bob may read");
	tap_is_str(seen_by_all(6), "", "carol may not: hers is forgotten");
	tap_is_str(seen_by_all(5), "owner bob ", "his is not");
	tap_ok(store_acl_change(s, STR("INBOX"), a, &who, ACL_SET, ACL_L, &e) == 0, "he may not any more");
	tap_is_str(seen_by_all(5), "owner ", "his, too");
	tap_is_int(mbox_unseen(m, "bob"), 6, "all is unread");
	arena_free(&a);
}

/* Nobody can fill the table of keywords by reading. */
static void test_many(void)
{
	unsigned taken = 0;
	char name[40];

	for (unsigned i = 0; i < STORE_READERS_MAX + 5; i++) {
		snprintf(name, sizeof(name), "reader%u@example.com", i);
		struct mbox_view *v = view_of(name);
		taken += change(v, 1, MBOX_ADD, MBOX_SEEN, NULL) == 0;
		mbox_view_free(&v);
	}
	tap_is_int(taken, STORE_READERS_MAX - 2, "so many readers, bob and carol included");
	struct mbox_view *owner = view_of(NULL);
	tap_is_int(change(owner, 1, MBOX_ADD, 0, "another"), 0, "there is room for keywords");
	mbox_view_free(&owner);
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
	mbox_close(&m);
	store_close(&s);
	free(root);
	scratch_remove();
	return tap_done();
}
