/* Many clients of one folder in any order, against what each would believe; and the log of what has gone, for those that come back (RFC 7162). */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "store/store_priv.h"
#include "store/test_store.h"
#include "test/tap.h"

#define MSG "From: a@b\nSubject: x\n\nbody\n"

/* What a client would believe after each event, against what the folder holds. */
struct client {
	struct mbox_view *v;
	uint32_t uids[4000];
	uint32_t n;
	bool wrong;
};

static void on_event(void *ctx, enum mbox_change what, uint32_t seq, uint32_t uid)
{
	struct client *const c = ctx;

	if (what == MBOX_CH_EXPUNGE) {
		c->wrong |= seq == 0 || seq > c->n || c->uids[seq - 1] != uid;
		if (!c->wrong)
			memmove(c->uids + seq - 1, c->uids + seq, (c->n-- - seq) * sizeof(*c->uids));
	} else if (what == MBOX_CH_EXISTS) {
		c->wrong |= seq <= c->n;
		while (c->n < seq) {
			c->uids[c->n] = mbox_view_uid(c->v, c->n + 1);
			c->n++;
		}
	} else {
		c->wrong |= seq == 0 || seq > c->n || c->uids[seq - 1] != uid;
	}
}

static bool believes_right(struct client *c)
{
	if (c->wrong || c->n != mbox_view_count(c->v))
		return false;
	for (uint32_t i = 0; i < c->n; i++) {
		const uint32_t uid = mbox_view_uid(c->v, i + 1);
		if (uid != c->uids[i] || mbox_view_seq(c->v, uid) != i + 1 || mbox_view_seq_from(c->v, uid) != i + 1)
			return false;
	}
	return true;
}

static unsigned random_below(unsigned n)
{
	static uint32_t x = 12345;	/* the same every time */

	x = x * 1664525 + 1013904223;
	return (x >> 8) % n;
}

/* All that has changed, or some of it: what was told is true in any case. */
static int hear(struct client *c, struct err *e)
{
	const bool expunge = random_below(2);

	if (random_below(2))
		return mbox_view_sync(c->v, expunge, on_event, c, e);
	return mbox_view_sync_step(c->v, expunge, 1 + random_below(4), on_event, c, e);
}

static void test_model(void)
{
	const char *const root = scratch_new();
	enum { CLIENTS = 4, STEPS = 4000 };
	static struct client c[CLIENTS];
	/* Two of them look through another struct mbox, as another process would. */
	struct store *s[2] = { must_open(root), must_open(root) };
	struct mbox *m[2] = { must_mbox(s[0], "INBOX"), must_mbox(s[1], "INBOX") };
	struct err e = { 0 };
	int wrong_at = -1;

	for (int i = 0; i < CLIENTS; i++)
		c[i].v = mbox_view_new(m[i % 2]);
	for (int step = 0; step < STEPS && wrong_at < 0; step++) {
		struct client *const k = &c[random_below(CLIENTS)];
		uint32_t seqs[8];
		size_t n = 0;
		for (uint32_t seq = 1; seq <= k->n && n < 8; seq += 1 + random_below(k->n / 4 + 1))
			seqs[n++] = seq;
		switch (random_below(7)) {
		case 0:
		case 1:
			if (k->n < 3000)
				append_one(k->v->m, 0, NULL, "x\n");
			break;
		case 2:
			(void)!mbox_expunge(k->v, seqs, n, &e);
			break;
		case 3:
			(void)!mbox_store_flags(k->v, seqs, n, random_below(2) ? MBOX_ADD : MBOX_REMOVE, 1U << random_below(5), NULL, 0, 0, NULL, NULL, &e);
			break;
		case 4:
			put_new(root, "", "y\n");
			break;
		default:
			break;
		}
		struct client *const l = &c[random_below(CLIENTS)];
		if (mbox_refresh(l->v->m, &e) < 0 || hear(l, &e) < 0 || !believes_right(l))
			wrong_at = step;
		if (step % 500 == 499 && random_below(2)) {	/* a new session */
			mbox_view_free(&l->v);
			l->v = mbox_view_new(m[(l - c) % 2]);
			for (l->n = 0; l->n < mbox_view_count(l->v); l->n++)
				l->uids[l->n] = mbox_view_uid(l->v, l->n + 1);
		}
	}
	tap_is_int(wrong_at, -1, "four clients of two processes believe what is true, %d steps", STEPS);
	for (int i = 0; i < CLIENTS; i++) {
		(void)!mbox_refresh(m[i % 2], &e);
		(void)!mbox_view_sync(c[i].v, true, on_event, &c[i], &e);
	}
	bool same = true;
	for (int i = 1; i < CLIENTS; i++)
		same &= c[i].n == c[0].n && memcmp(c[i].uids, c[0].uids, c[0].n * sizeof(c[0].uids[0])) == 0;
	char *const first = xstrdup(describe(c[0].v));
	tap_ok(same && strcmp(first, describe(c[1].v)) == 0, "and the same, in the end");
	tap_is_int((long long)count_files(root, "cur"), c[0].n, "as many files");
	free(first);
	for (int i = 0; i < CLIENTS; i++)
		mbox_view_free(&c[i].v);
	for (int i = 0; i < 2; i++) {
		mbox_close(&m[i]);
		store_close(&s[i]);
	}
}

/* No room for the journal: refused, nothing half done; with room again all goes on. */
static const char *vanished(struct mbox *m, uint64_t since)
{
	static char text[1024];
	struct arena *a = arena_new(0);
	struct mbox_range *r;
	size_t n;

	snprintf(text, sizeof(text), "%s", mbox_vanished(m, since, a, &r, &n) != 0 ? "-" : "");
	for (size_t i = 0; i < n && i < 50; i++) {
		const size_t at = strlen(text);
		snprintf(text + at, sizeof(text) - at, "%s%u", at ? " " : "", r[i].first);
		if (r[i].last != r[i].first)
			snprintf(text + strlen(text), sizeof(text) - strlen(text), "-%u", r[i].last);
	}
	arena_free(&a);
	return text;
}

static uint64_t modseq_now(struct mbox *m)
{
	struct mbox_status st;
	struct err e = { 0 };

	return mbox_status(m, &st, &e) == 0 ? st.highestmodseq : 0;
}

static struct mbox *expunge_some(struct mbox *m, struct store **s, const char *root, uint32_t from, uint32_t to)
{
	struct mbox_view *v = mbox_view_new(m);
	struct err e = { 0 };
	uint32_t seqs[16];
	size_t n = 0;

	for (uint32_t uid = from; uid <= to; uid++)
		seqs[n++] = mbox_view_seq(v, uid);
	tap_is_int(mbox_expunge(v, seqs, n, &e), 0, "expunge %u to %u", from, to);
	mbox_view_free(&v);
	mbox_close(&m);
	store_close(s);
	*s = must_open(root);
	return must_mbox(*s, "INBOX");
}

/* The log outlives the process, an index, a rewritten journal; and it is bounded. */
static void test_vanished(void)
{
	const char *const root = scratch_new();
	struct store *s = must_open(root);
	struct mbox *m = must_mbox(s, "INBOX");
	struct err e = { 0 };

	const uint64_t begin = modseq_now(m);
	for (int i = 0; i < 8; i++)
		append_one(m, 0, NULL, MSG);
	const uint64_t before = modseq_now(m);
	tap_is_str(vanished(m, before), "", "nothing went yet");
	tap_is_str(vanished(m, begin - 1), "-", "the folder is younger than that");
	m = expunge_some(m, &s, root, 2, 4);
	tap_is_str(vanished(m, before), "2-4", "from the journal");
	const uint64_t between = modseq_now(m);
	m = expunge_some(m, &s, root, 7, 7);
	tap_is_str(vanished(m, between), "7", "after the second mod-sequence");
	tap_is_str(vanished(m, begin), "2-4 7", "all");
	tap_ok(index_save(m->dirfd, &m->st, m->j.generation, m->j.pos, &e) == 0, "index");
	m = expunge_some(m, &s, root, 8, 8);
	tap_is_str(vanished(m, before), "2-4 7 8", "from index and journal");
	tap_ok(mbox_lock(m, &e) == 0 && mbox_replace_journal(m, false, &e) == 0, "the journal is written anew");
	mbox_unlock_folder(m);
	m = expunge_some(m, &s, root, 1, 1);
	tap_is_str(vanished(m, before), "2-4 7 8 1", "from a rewritten journal");
	tap_is_str(vanished(m, between), "7 8 1", "with its mod-sequences");
	tap_is_str(vanished(m, begin - 1), "-", "and its beginning");
	for (uint32_t i = 0; i < GONE_MAX; i++)
		state_gone_add(&m->st, modseq_now(m) + 1 + i, (struct range){ 100 + i, 100 + i });
	tap_ok(m->st.n_gone <= GONE_MAX, "the log is bounded");
	tap_is_str(vanished(m, between), "-", "what was forgotten is not claimed to be known");
	tap_is_str(vanished(m, modseq_now(m) + GONE_MAX - 1), "32867", "the youngest is");
	mbox_close(&m);
	store_close(&s);
}

/* A look changes nothing in the folder; still the next process must not take the same mail for recent. */

int main(void)
{
	test_model();
	test_vanished();
	return tap_done();
}
