/* All files of cur against the state, after foreign changes. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "store/sync_priv.h"

enum { AHEAD = 16 };	/* entries */

struct full {
	struct mbox *m;
	struct listing l;
	struct timespec marked;	/* cur's time, from before it was listed; tv_sec 0: none */
	struct name_table t;	/* made when it is needed */
	uint32_t next;		/* the record after the last that was found */
	unsigned char *seen;	/* per position */
	struct sync_match match;	/* of a look; seen NULL: full_find finds the records */
	bool looked, exact;	/* by a look; and what it did not find was not there */
	struct buf ops;
	struct str letters[26];
	bool clean;		/* nothing was renamed in cur meanwhile */
};

size_t sync_letter_keywords(struct mbox *m, struct str info, const struct str letters[26], const struct courier_words *more, uint16_t *ids, struct buf *ops)
{
	struct str names[26 + COURIER_WORDS_MAX];
	struct err quiet = { 0 };
	size_t n = 0, n_ids = 0;

	for (size_t i = 0; i < info.n && info.p[i] != ','; i++)
		if (info.p[i] >= 'a' && info.p[i] <= 'z' && letters[info.p[i] - 'a'].n > 0 && n < 26)
			names[n++] = letters[info.p[i] - 'a'];
	for (size_t i = 0; more && i < more->n; i++)
		names[n++] = more->v[i];
	return n > 0 && mbox_keyword_ids(m, names, n, ids, &n_ids, ops, &quiet) == 0 ? n_ids : 0;
}

/* Letters a..z of info that are not in but. */
static struct str letters_besides(struct str info, struct str but, char out[27])
{
	size_t n = 0;

	for (size_t i = 0; i < info.n && info.p[i] != ',' && n < 26; i++) {
		bool there = !ch_lower_p(info.p[i]);
		for (size_t k = 0; k < but.n && but.p[k] != ','; k++)
			there |= but.p[k] == info.p[i];
		if (!there)
			out[n++] = info.p[i];
	}
	return str_n(out, n);
}

static void full_letters(struct full *f, enum mbox_flag_op op, struct str letters, const struct range *one)
{
	uint16_t ids[26];
	const size_t n = sync_letter_keywords(f->m, letters, f->letters, NULL, ids, &f->ops);

	if (n > 0)
		op_flags(&f->ops, op, 0, ids, n, one, 1);
}

/* Somebody renamed a known file: what changed in its letters changed in the flags (three-way: ours may not be in the name yet). */
static void full_known(struct full *f, uint32_t pos, const struct entry *en)
{
	const struct rec *const r = state_rec(&f->m->st, pos);
	const struct str info = state_info(&f->m->st, r);
	const struct str odd_info = en->odd ? entry_info(en) : (struct str){ 0 };
	const struct range one = { r->uid, r->uid };

	if (en->disk == r->disk && str_eq(odd_info, info))
		return;
	/* Or we, or another process, did after it was listed: then that is written down already. */
	if (f->looked && !f->exact && !sync_is_there(f->m, en))
		return;
	op_named(&f->ops, r->uid, en->disk, (struct str){ 0 }, odd_info);
	const unsigned was = flags_of_disk(r->disk), is = flags_of_disk(en->disk);
	const unsigned added = is & ~was & ~r->flags, removed = was & ~is & r->flags;
	if (added)
		op_flags(&f->ops, MBOX_ADD, added, NULL, 0, &one, 1);
	if (removed)
		op_flags(&f->ops, MBOX_REMOVE, removed, NULL, 0, &one, 1);
	char letters[27];
	full_letters(f, MBOX_ADD, letters_besides(entry_info(en), info, letters), &one);
	full_letters(f, MBOX_REMOVE, letters_besides(info, entry_info(en), letters), &one);
}

static uint32_t full_find(struct full *f, struct str base)
{
	const struct state *const st = &f->m->st;
	uint32_t pos = match_near(st, f->next, base);

	if (pos == UINT32_MAX) {
		if (f->t.slot == NULL) {
			name_table_init(&f->t, st, 0);
			name_table_add(&f->t, UINT32_MAX);
		}
		pos = name_table_find(&f->t, base);
	}
	if (pos != UINT32_MAX)
		f->next = pos + 1;
	return pos;
}

/* Entries in their order lie anywhere in memory, and so do their names, which they tell: have those to come on their way. */
static PREFETCHES void full_ahead(const struct full *f, size_t i)
{
	if (i + AHEAD < f->l.n)
		__builtin_prefetch(f->l.v[i + AHEAD]);
	if (i + AHEAD / 2 < f->l.n) {
		const char *const name = f->l.v[i + AHEAD / 2]->name;
		__builtin_prefetch(name);
		__builtin_prefetch(name + 64);
	}
}

/* Files that have no UID yet, in order. */
static int full_number(struct full *f, struct err *e)
{
	struct mbox *const m = f->m;
	const int64_t now = clock_wall();
	uint16_t ids[26 + COURIER_WORDS_MAX];
	uint32_t uid;
	size_t n = 0;

	/* Entries to number were moved to the front by full_walk (f->l.n of them). */
	for (size_t i = 0; i < f->l.n; i++) {
		struct entry *const en = f->l.v[i];
		if (entry_look(en, m->curfd))
			f->l.v[n++] = en;
	}
	f->l.n = n;
	listing_sort(&f->l);
	uid = m->st.uidnext;
	for (size_t i = 0; i < n; i++)	/* UIDs that Dovecot gave after us come before fresh ones */
		uid = f->l.v[i]->uid >= uid ? f->l.v[i]->uid + 1 : uid;
	if (n > 0 && mbox_reserve(m, n + (uid - m->st.uidnext), e) < 0)
		return -1;
	for (size_t i = 0; i < n; i++) {
		const struct entry *const en = f->l.v[i];
		/* Known UIDs come first, and all lie below the next one. */
		if (en->uid == 0 && uid > UID_MAX)
			return err_set(e, ERR_LIMIT, 0, "no UID is left in this folder");
		struct assign a = sync_assign(en, entry_base(en), en->uid ? en->uid : uid++, now);
		a.kw = ids;
		a.n_kw = en->odd ? sync_letter_keywords(m, entry_info(en), f->letters, NULL, ids, &f->ops) : 0;
		op_assign(&f->ops, &a);
	}
	return 0;
}

/* A file of a message that is known already, the first one with its name. */
static bool full_takes(struct full *f, uint32_t pos, const struct entry *en)
{
	if (pos == UINT32_MAX || f->seen[pos])
		return false;
	f->seen[pos] = 1;
	if (state_rec(&f->m->st, pos)->state & REC_GONE) {	/* expunged, and still here */
		(void)unlinkat(f->m->curfd, en->name, 0);
		f->clean = false;
	} else {
		full_known(f, pos, en);
	}
	return true;
}

/* Those of one base name are neighbours: a second one, of the same as last (NULL: none)? Then it is another message, and gets a name of its own. */
static bool full_twin(struct full *f, const struct entry *last, struct entry *en)
{
	if (last && str_eq(entry_base(last), entry_base(en)) && !sync_is_there(f->m, last))
		return false;
	return sync_twin(f->m, f->l.a, en);
}

/* Compare each file with the state; what is new stays in f->l. */
static void full_walk(struct full *f)
{
	struct map *fresh = map_new();
	const struct entry *last = NULL;
	size_t n = 0;

	listing_sort(&f->l);
	for (size_t i = 0; i < f->l.n; i++) {
		full_ahead(f, i);
		struct entry *const en = f->l.v[i];
		if (sync_straighten(f->m, f->l.a, en))
			f->clean = false;
		const struct str base = entry_base(en);
		const uint32_t pos = f->match.seen ? f->match.where[i] : full_find(f, base);
		const bool taken = full_takes(f, pos, en);
		if (taken)
			last = en;
		if (taken || base.n == 0)
			continue;
		if (pos != UINT32_MAX || map_get(fresh, base) != NULL) {
			if (!full_twin(f, last, en))
				continue;
			f->clean = false;
		}
		last = en;
		(void)map_set(fresh, entry_base(en), f);
		f->l.v[n++] = en;
	}
	f->l.n = n;
	map_free(&fresh);
}

/* Has nobody, we included, changed cur since before it was listed? Then what was told is what is there. */
static bool full_exact(const struct full *f)
{
	struct timespec now;

	return f->marked.tv_sec != 0 && f->clean && sync_dir_time(f->m->curfd, &now) == 0 && sync_same_time(&f->marked, &now);
}

/* Look for what seems gone once more. */
static int full_again(struct full *f, struct err *e)
{
	struct listing again = { 0 };
	const int r = listing_read(&again, f->m->curfd, SIZE_MAX, store_crew(f->m->s), e);

	for (size_t i = 0; r == 0 && i < again.n; i++)
		(void)full_takes(f, full_find(f, entry_base(again.v[i])), again.v[i]);
	listing_fini(&again);
	return r;
}

/* The next message without a file from the *at_io-th candidate on, which are those that a look left, and all records that came since. */
static bool full_lacks(const struct full *f, uint32_t *at_io, uint32_t *pos_out)
{
	const struct sync_match *const k = &f->match;

	for (;; ++*at_io) {
		const uint32_t pos = *at_io < k->n_missing ? k->missing[*at_io] : k->n + (*at_io - k->n_missing);
		if (pos >= state_count(&f->m->st))
			return false;
		if (f->seen[pos] || (state_rec(&f->m->st, pos)->state & REC_GONE))
			continue;
		*pos_out = pos;
		++*at_io;
		return true;
	}
}

/* A file that is renamed while a directory is listed may be missed. */
static int full_missing(struct full *f, struct err *e)
{
	uint32_t at = 0, pos;

	if ((f->looked && !f->exact) || !full_lacks(f, &at, &pos))
		return 0;
	if (!(f->m->exact_times && (f->looked || full_exact(f))) && full_again(f, e) < 0)
		return -1;
	struct map *in_tmp = together_names(f->m, f->l.a, e);
	if (!in_tmp)
		return -1;
	for (at = 0; full_lacks(f, &at, &pos);) {
		const struct rec *const rec = state_rec(&f->m->st, pos);
		if (map_get(in_tmp, state_name(&f->m->st, rec))) {
			f->m->in_tmp = true;
			continue;
		}
		const struct range one = { rec->uid, rec->uid };
		op_ranges(&f->ops, OP_EXPUNGE, &one, 1);
		op_ranges(&f->ops, OP_DONE, &one, 1);
	}
	map_free(&in_tmp);
	return 0;
}

/* What a look has left of the listing, if the names that it knew are still the records'. */
static void full_looked(struct full *f)
{
	struct sync_match *const k = &f->match;

	if (!sync_match_names_same(k, &f->m->st)) {
		sync_match_fini(k);
		return;
	}
	sync_match_late(k, &f->m->st);
	memcpy(f->seen, k->seen, k->n);
	free(f->l.v);
	f->l.v = k->left;
	f->l.n = k->n_left;
	k->left = NULL;
}

static int full_read(struct full *f, struct mbox *m, struct err *e)
{
	f->m = m;
	buf_init(&f->ops, BATCH_MAX);
	f->seen = xzalloc((size_t)state_count(&m->st) + 1);
	f->looked = sync_look_take(m, &f->l, &f->marked, &f->match, &f->exact);
	if (f->looked) {
		full_looked(f);
	} else {
		if (sync_mark(m, &f->marked) < 0)
			f->marked.tv_sec = 0;
		m->unsure_ms = 0;
		if (listing_read(&f->l, m->curfd, SIZE_MAX, store_crew(m->s), e) < 0)
			return -1;
	}
	takeover_keywords(m->dirfd, f->l.a, f->letters);
	return 0;
}

static void full_fini(struct full *f)
{
	listing_fini(&f->l);
	name_table_fini(&f->t);
	sync_match_fini(&f->match);
	free(f->seen);
	buf_fini(&f->ops);
}

/* New files that Dovecot numbered after the folder was given back to it: those UIDs, where they are above all of ours. */
static int full_given(struct full *f, struct arena *a, struct err *e)
{
	struct old_list old = { 0 };
	size_t n = 0;

	if (f->l.n == 0)
		return 0;
	const int r = takeover_read(f->m, a, &old, e);
	if (r != 0)
		return r < 0 ? -1 : 0;
	if (old.uidvalidity != f->m->st.uidvalidity)
		return 0;
	for (size_t i = 0; i < old.n; i++)
		if (old.v[i].uid >= f->m->st.uidnext)
			old.v[n++] = old.v[i];
	old.n = n;
	struct old_table by_base;
	old_table_init(&by_base, &old);
	for (size_t i = 0; i < f->l.n; i++)
		old_table_match(&by_base, f->l.v[i]);
	old_table_fini(&by_base);
	listing_changed(&f->l);
	return 0;
}

int sync_cur(struct mbox *m, struct err *e)
{
	struct full f = { .clean = true };
	struct arena *a = arena_new(0);
	int r = full_read(&f, m, e);

	if (r == 0) {
		full_walk(&f);
		r = full_missing(&f, e);
	}
	if (r == 0)
		r = full_given(&f, a, e);
	if (r == 0)
		r = full_number(&f, e);
	if (r == 0 && buf_check(&f.ops, "changes in the folder", e) < 0)
		r = -1;
	const uint32_t messages = m->st.messages, uidnext = m->st.uidnext;
	if (r == 0 && f.ops.n > 0)
		r = mbox_commit(m, &f.ops, DURABLE_NOW, e);
	if (m->st.messages != messages || m->st.uidnext != uidnext)
		store_quota_forget(m->s);
	if (r == 0) {
		/* Changed while it was listed, by us or by others: look again next time. */
		m->cur_seen = full_exact(&f) ? f.marked : (struct timespec){ 0 };
		sync_record(m);
	}
	full_fini(&f);
	arena_free(&a);
	return r;
}
