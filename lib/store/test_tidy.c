/* What is tidied up behind changes: files of messages that have gone, the journal written anew. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "store/store_priv.h"
#include "store/test_store.h"
#include "test/tap.h"

#define MSG "From: a@b\nSubject: x\n\nbody\n"

static void test_reaping(void)
{
	char *const root = xstrdup(scratch_new());
	struct store *s = must_open(root);
	struct mbox *m = must_mbox(s, "INBOX");
	uint32_t seqs[60];
	struct err e = { 0 };
	bool more = true;

	for (size_t i = 0; i < 80; i++)
		append_one(m, 0, NULL, "From: a@b\n\nx\n");
	struct mbox_view *v = mbox_view_new(m);
	for (uint32_t i = 0; i < 60; i++)
		seqs[i] = i + 1;
	tap_ok(mbox_expunge(v, seqs, 60, &e) == 0 && mbox_view_sync(v, true, NULL, NULL, &e) == 0, "60 of 80 expunged: %s", e.text);
	tap_is_int((long long)count_files(root, "cur"), 80, "their files wait");
	tap_ok(mbox_untidy(m), "and it is known");
	tap_ok(mbox_flush(m, 4, &more, &e) == 0 && more, "a piece of them");
	tap_is_int((long long)count_files(root, "cur"), 76, "is unlinked");
	while (more && mbox_flush(m, 4, &more, &e) == 0)
		;
	tap_is_int((long long)count_files(root, "cur"), 20, "then all");
	tap_ok(!mbox_untidy(m) && mbox_view_count(v) == 20, "20 messages are left");
	tap_ok(mbox_expunge(v, seqs, 5, &e) == 0, "five more: %s", e.text);
	tap_is_int((long long)count_files(root, "cur"), 15, "few go at once");
	/* Another program names one anew, and removes one, while they wait. */
	char from[2][600], to[700];
	tap_ok(mbox_view_sync(v, true, NULL, NULL, &e) == 0 && mbox_view_count(v) == 15, "15 are left");
	struct mbox_view *other = mbox_view_new(m);
	for (uint32_t i = 0; i < 2; i++)
		snprintf(from[i], sizeof(from[i]), "%s/cur/%s:2,", root, mbox_msg_basename(v, i + 1));
	snprintf(to, sizeof(to), "%sR", from[0]);
	tap_ok(mbox_expunge(v, seqs, 3, &e) == 0 && count_files(root, "cur") == 15, "three that another connection sees: %s", e.text);
	tap_ok(rename(from[0], to) == 0 && unlink(from[1]) == 0, "a foreign program renames one and removes one");
	mbox_view_free(&other);
	tap_ok(mbox_view_sync(v, true, NULL, NULL, &e) == 0 && mbox_flush(m, 100, &more, &e) == 0 && !mbox_untidy(m), "their time has come");
	tap_is_int((long long)count_files(root, "cur"), 12, "what was renamed has gone as well");
	tap_ok(mbox_refresh(m, &e) == 0 && mbox_view_sync(v, true, NULL, NULL, &e) == 0 && mbox_view_count(v) == 12, "and does not come back: %u", mbox_view_count(v));
	mbox_view_free(&v);
	mbox_close(&m);
	store_close(&s);
	free(root);
}

/* Flags of every other message, so that each change is long. */
static int toggle(struct mbox_view *v, enum mbox_flag_op op)
{
	uint32_t *const seqs = xzalloc((mbox_view_count(v) + 1) * sizeof(*seqs));
	struct err e = { 0 };
	size_t n = 0;

	for (uint32_t seq = 1; seq <= mbox_view_count(v); seq += 2)
		seqs[n++] = seq;
	const int r = mbox_store_flags(v, seqs, n, op, MBOX_ANSWERED, NULL, 0, 0, NULL, NULL, &e);

	free(seqs);
	return r;
}

/* A journal that is mostly the past is written anew in pieces; a change in between makes them begin again, and is not lost. */
static void test_rewriting(void)
{
	char *const root = xstrdup(scratch_new());
	struct store *s = must_open(root), *s2 = must_open(root);
	struct mbox *m = must_mbox(s, "INBOX");
	struct err e = { 0 };
	bool more = true, due = false;
	unsigned pieces = 0;

	struct mbox_append *ap;
	uint32_t *const uids = xzalloc(9000 * sizeof(*uids));
	size_t got = 0;
	tap_ok(mbox_append_begin(m, &ap, &e) == 0, "append");
	for (int i = 0; i < 9000; i++)
		if (mbox_append_message(ap, 0, NULL, 0, 0, &e) < 0 || mbox_append_data(ap, STR(MSG), &e) < 0)
			break;
	tap_ok(mbox_append_commit(&ap, uids, &got, &e) == 0 && got == 9000, "9,000 messages: %s", e.text);
	free(uids);
	struct mbox_view *v = mbox_view_new(m);
	for (int i = 0; i < 200 && !due; i++) {
		if (toggle(v, i % 2 ? MBOX_REMOVE : MBOX_ADD) < 0)
			break;
		due = mbox_journal_due(m);
	}
	const uint64_t before = m->j.pos, generation = m->j.generation;
	tap_ok(due && mbox_untidy(m), "the journal is long: %llu bytes", (unsigned long long)before);
	/* Names first, as always. */
	while (m->st.unflushed > 0 && mbox_flush(m, 100000, &more, &e) == 0)
		;
	tap_ok(mbox_flush(m, 100, &more, &e) == 0 && more && !m->rewriting, "it waits until nothing happens");
	tap_ok(mbox_flush(m, 100, &more, &e) == 0 && more && m->rewriting && m->j.generation == generation, "a piece, and the old journal still counts");
	tap_is_int(store_flags(v, 2, MBOX_ADD, MBOX_FLAGGED, "between"), 0, "a change in between");
	struct mbox *m2 = must_mbox(s2, "INBOX");
	struct mbox_view *v2 = mbox_view_new(m2);
	tap_is_int(store_flags(v2, 4, MBOX_ADD, MBOX_DRAFT, NULL), 0, "and one of another process");
	refresh_sync(m, v);
	for (more = true; more && pieces < 1000; pieces++)
		if (mbox_flush(m, 100000, &more, &e) < 0)
			break;
	tap_ok(m->j.generation != generation && m->j.pos < before / 2 && !m->rewriting, "then it is new, and short: %llu bytes", (unsigned long long)m->j.pos);
	refresh_sync(m2, v2);
	struct mbox *m3;
	struct store *s3 = must_open(root);
	m3 = must_mbox(s3, "INBOX");
	struct mbox_view *v3 = mbox_view_new(m3);
	struct mbox_view *const all[] = { v, v2, v3 };
	for (size_t i = 0; i < ARRAY_LEN(all); i++) {
		struct mbox_msg two, four;
		tap_ok(mbox_msg_get(all[i], 2, &two, &e) == 0 && mbox_msg_get(all[i], 4, &four, &e) == 0 && (two.flags & MBOX_FLAGGED) && two.keywords[0] == 1 &&
			       (four.flags & MBOX_DRAFT) && mbox_view_count(all[i]) == 9000,
		       "nothing is lost (%zu)", i);
	}
	tap_is_int(store_flags(v3, 6, MBOX_ADD, MBOX_SEEN, NULL), 0, "and it goes on");
	refresh_sync(m, v);
	struct mbox_msg six;
	tap_ok(mbox_msg_get(v, 6, &six, &e) == 0 && (six.flags & MBOX_SEEN), "for all");
	for (size_t i = 0; i < ARRAY_LEN(all); i++) {
		struct mbox_view *one = all[i];
		mbox_view_free(&one);
	}
	mbox_close(&m);
	mbox_close(&m2);
	mbox_close(&m3);
	store_close(&s);
	store_close(&s2);
	store_close(&s3);
	free(root);
}

int main(void)
{
	test_reaping();
	test_rewriting();
	return tap_done();
}
