/* Files of a listing and the records that have their base names. A look at a large folder finds them before the folder is locked, in pieces; positions of records hold, and
 * what was listed is used only while cur is as it was then. Most files are called as is known: of those nothing is left but that they are there. */
#include <stdlib.h>

#include "store/sync_priv.h"

enum {
	NEAR = 4,		/* records */
	ENTRIES = 4096,		/* that are looked at in one piece, */
	RECORDS = 8192,		/* or put into the table */
};

/* --- base names to positions, open addressing --- */

void name_table_init(struct name_table *t, const struct state *st)
{
	size_t n = 16;

	while (n < (size_t)state_count(st) * 2)
		n *= 2;
	*t = (struct name_table){ .st = st, .slot = xzalloc(n * sizeof(*t->slot)), .mask = n - 1, .n = state_count(st) };
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

/* The file is called as the record says, and is the first one of that name. */
static bool is_known(const struct sync_match *k, const struct state *st, uint32_t pos, const struct entry *en)
{
	const struct rec *const r = state_rec(st, pos);

	return !k->seen[pos] && !(r->state & REC_GONE) && !en->odd && r->info_len == 0 && en->disk == r->disk;
}

static bool near_some(struct sync_match *k, const struct state *st, struct listing *l)
{
	const size_t end = l->n - k->at < ENTRIES ? l->n : k->at + ENTRIES;

	for (; k->at < end; k->at++) {
		struct entry *const en = l->v[k->at];
		const uint32_t pos = match_near(st, k->next, entry_base(en));

		if (pos != UINT32_MAX)
			k->next = pos + 1;
		if (pos != UINT32_MAX && pos < k->n && is_known(k, st, pos, en)) {
			k->seen[pos] = 1;
			continue;
		}
		k->far |= pos == UINT32_MAX;
		k->where[k->kept] = pos;
		l->v[k->kept++] = en;
	}
	return k->at < l->n;
}

static bool far_some(struct sync_match *k, const struct listing *l)
{
	const size_t end = l->n - k->at < ENTRIES ? l->n : k->at + ENTRIES;

	for (; k->at < end; k->at++)
		if (k->where[k->at] == UINT32_MAX)
			k->where[k->at] = name_table_find(&k->t, entry_base(l->v[k->at]));
	return k->at < l->n;
}

bool sync_match_step(struct sync_match *k, const struct state *st, struct listing *l)
{
	if (!k->seen) {
		k->n = state_count(st);
		k->seen = xzalloc((size_t)k->n + 1);
		k->where = xmalloc((l->n + 1) * sizeof(*k->where));
	}
	if (!k->left) {
		if (near_some(k, st, l))
			return true;
		l->n = k->kept;
		k->left = true;
		k->at = 0;
		if (k->far)
			name_table_init(&k->t, st);
		return k->far;
	}
	if (!k->far || name_table_add(&k->t, RECORDS))
		return k->far;
	if (far_some(k, l))
		return true;
	name_table_fini(&k->t);
	k->far = false;
	return false;
}

void sync_match_fini(struct sync_match *k)
{
	name_table_fini(&k->t);
	free(k->seen);
	free(k->where);
	*k = (struct sync_match){ 0 };
}
