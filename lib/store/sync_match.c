/* Files of a listing and the records that have their base names. A look at a large folder finds them before the folder is locked, in pieces: positions of records hold, and
 * what was listed is what is there while cur is as it was then; after that only what is proven under the lock is used (sync_look.c). Most files are called as is known: of
 * those nothing is left but that they are there.
 *
 * Another process may write down names of these files meanwhile, of what it found before cur was given its time. Records that came are looked at again for files that had none;
 * where a record's name has changed, all is found anew, under the lock. */
#include <stdlib.h>

#include "store/sync_priv.h"

enum {
	NEAR = 4,		/* records */
	ENTRIES = 4096,		/* that are looked at in one piece, */
	RECORDS = 8192,		/* or put into the table, or asked whether they have a file */
	MISSING = 1024,		/* for so many more there is room, when there is none left */
};

/* --- base names to positions, open addressing --- */

void name_table_init(struct name_table *t, const struct state *st, uint32_t from)
{
	size_t n = 16;

	while (n < (size_t)(state_count(st) - from) * 2)
		n *= 2;
	*t = (struct name_table){ .st = st, .slot = xzalloc(n * sizeof(*t->slot)), .mask = n - 1, .n = state_count(st), .at = from };
}

bool name_table_add(struct name_table *t, uint32_t work)
{
	for (; t->at < t->n && work > 0; t->at++, work--) {
		const struct rec *const r = state_rec(t->st, t->at);
		if ((r->state & REC_GONE) && !(r->state & REC_ZOMBIE))
			continue;
		const struct str name = state_name(t->st, r);
		if (name.n == 0)
			continue;
		size_t at = (size_t)str_hash(name) & t->mask;
		while (t->slot[at])
			at = (at + 1) & t->mask;
		t->slot[at] = t->at + 1;
	}
	return t->at < t->n;
}

uint32_t name_table_find(const struct name_table *t, struct str base)
{
	for (size_t at = (size_t)str_hash(base) & t->mask; t->slot[at]; at = (at + 1) & t->mask)
		if (str_eq(state_name(t->st, state_rec(t->st, t->slot[at] - 1)), base))
			return t->slot[at] - 1;
	return UINT32_MAX;
}

void name_table_fini(struct name_table *t)
{
	free(t->slot);
	t->slot = NULL;
}

/* Files in the order of their arrival are mostly in that of their UIDs: then it is the next record, but for those whose files have gone. */
uint32_t match_near(const struct state *st, uint32_t next, struct str base)
{
	const uint32_t n = state_count(st), near = n - next < NEAR ? n : next + NEAR;

	for (uint32_t pos = next; pos < near; pos++) {
		const struct rec *const r = state_rec(st, pos);
		if ((r->state & (REC_GONE | REC_ZOMBIE)) != REC_GONE && state_name_is(st, r, base))
			return pos;
	}
	return UINT32_MAX;
}

/* --- in pieces --- */

/* Those of one base name are neighbours, and it takes all of them to tell what they are. */
static bool has_twin(const struct listing *l, size_t i)
{
	const struct entry *const en = l->v[i], *const next = i + 1 < l->n ? l->v[i + 1] : NULL;

	return next && en->secs == next->secs && en->usecs == next->usecs && str_eq(entry_base(en), entry_base(next));
}

/* The file is called as the record says. */
static bool is_known(const struct state *st, uint32_t pos, const struct entry *en)
{
	const struct rec *const r = state_rec(st, pos);

	return !(r->state & REC_GONE) && !en->odd && r->info_len == 0 && en->disk == r->disk;
}

static void leave(struct sync_match *k, struct entry *en, uint32_t pos)
{
	k->far |= pos == UINT32_MAX;
	k->where[k->n_left] = pos;
	k->left[k->n_left++] = en;
}

static bool near_some(struct sync_match *k, const struct state *st, const struct listing *l)
{
	const size_t end = l->n - k->at < ENTRIES ? l->n : k->at + ENTRIES;

	for (; k->at < end; k->at++) {
		struct entry *const en = l->v[k->at];
		const uint32_t pos = match_near(st, k->next, entry_base(en));

		if (pos != UINT32_MAX)
			k->next = pos + 1;
		if (pos < k->n && !k->seen[pos] && is_known(st, pos, en) && !has_twin(l, k->at))
			k->seen[pos] = 1;
		else
			leave(k, en, pos);
	}
	return k->at < l->n;
}

static bool far_some(struct sync_match *k)
{
	const size_t end = k->n_left - k->at < ENTRIES ? k->n_left : k->at + ENTRIES;

	for (; k->at < end; k->at++)
		if (k->where[k->at] == UINT32_MAX)
			k->where[k->at] = name_table_find(&k->t, entry_base(k->left[k->at]));
	return k->at < k->n_left;
}

static void missing_add(struct sync_match *k, uint32_t pos)
{
	if (k->n_missing % MISSING == 0)
		k->missing = xrealloc(k->missing, (k->n_missing + MISSING) * sizeof(*k->missing));
	k->missing[k->n_missing++] = pos;
}

static bool missing_some(struct sync_match *k, const struct state *st)
{
	const uint32_t end = k->n - k->checked < RECORDS ? k->n : k->checked + RECORDS;

	for (; k->checked < end; k->checked++)
		if (!k->seen[k->checked] && !(state_rec(st, k->checked)->state & REC_GONE))
			missing_add(k, k->checked);
	return k->checked < k->n;
}

static void begin(struct sync_match *k, const struct state *st, const struct listing *l)
{
	k->n = state_count(st);
	k->renames = st->renames;
	k->seen = xzalloc((size_t)k->n + 1);
	k->where = xmalloc((l->n + 1) * sizeof(*k->where));
	k->left = xmalloc((l->n + 1) * sizeof(struct entry *));
}

bool sync_match_step(struct sync_match *k, const struct state *st, const struct listing *l)
{
	if (!k->seen)
		begin(k, st, l);
	if (!k->apart) {
		if (near_some(k, st, l))
			return true;
		k->apart = true;
		k->at = 0;
		if (k->far)
			name_table_init(&k->t, st, 0);
		return true;
	}
	if (k->far) {
		k->far = name_table_add(&k->t, RECORDS) || far_some(k);
		return true;
	}
	name_table_fini(&k->t);
	return missing_some(k, st);
}

bool sync_match_names_same(const struct sync_match *k, const struct state *st)
{
	return k->renames == st->renames;
}

void sync_match_late(struct sync_match *k, const struct state *st)
{
	if (state_count(st) == k->n)
		return;
	name_table_init(&k->t, st, k->n);
	(void)name_table_add(&k->t, UINT32_MAX);
	for (size_t i = 0; i < k->n_left; i++)
		if (k->where[i] == UINT32_MAX)
			k->where[i] = name_table_find(&k->t, entry_base(k->left[i]));
	name_table_fini(&k->t);
}

void sync_match_fini(struct sync_match *k)
{
	name_table_fini(&k->t);
	free(k->left);
	free(k->where);
	free(k->seen);
	free(k->missing);
	*k = (struct sync_match){ 0 };
}
