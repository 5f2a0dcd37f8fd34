/* A folder in memory: records in UID order (those of the mapped index, then a growing tail), their names, the keyword table with its
 * interned combinations, saved POP3 ids, counters. Changed only by applying journal operations (state_apply.c), in order; so the state after
 * applying a journal from any index is the same as from its beginning.
 *
 * A record keeps its position until the state is built anew: expunged ones become gone, new ones come last. Views build on that. */
#include <stdlib.h>
#include <sys/mman.h>

#include "base/num.h"
#include "store/store_priv.h"

void state_init(struct state *st)
{
	*st = (struct state){ .uidnext = 1, .reserved = 1, .members = 1 };
	st->kwset_by_ids = map_new();
	st->kwsets = xzalloc(8 * sizeof(*st->kwsets));
	st->n_kwsets = 1;
	st->sweep_at = KWSETS_SWEEP;
}

void state_fini(struct state *st)
{
	if (st->mapping) {
		guard_del(st->mapping);
		munmap(st->mapping, st->mapping_n);
	}
	free(st->chunks_ok);
	free(st->tail);
	free(st->names);
	for (size_t i = 0; i < st->n_keywords; i++)
		free(st->keywords[i]);
	for (size_t i = 0; i < st->n_kwsets; i++)
		free(st->kwsets[i].ids);
	free(st->kwsets);
	free(st->free_kwsets);
	map_free(&st->kwset_by_ids);
	for (size_t i = 0; i < st->n_pop3; i++)
		free(st->pop3[i].uidl);
	free(st->pop3);
	free(st->gone);
	*st = (struct state){ 0 };
}

/* --- records of the index --- */

static uint32_t chunk_records(const struct state *st, uint32_t chunk)
{
	const uint32_t left = st->n_map - chunk * STATE_CHUNK;

	return left < STATE_CHUNK ? left : STATE_CHUNK;
}

/* Nothing can be had of it: its messages are gone until the folder is opened again, without this index. */
static void chunk_lost(struct state *st, uint32_t chunk)
{
	struct rec *const r = st->map + chunk * STATE_CHUNK;
	const uint32_t uid = chunk > 0 ? r[-1].uid : 0;

	for (uint32_t i = 0; i < chunk_records(st, chunk); i++)
		r[i] = (struct rec){ .uid = uid, .state = REC_GONE };
	st->damaged = true;
}

void state_verify(const struct state *cst, uint32_t chunk)
{
	struct state *const st = (struct state *)(uintptr_t)cst;	/* what a look makes sure of is no change */
	const struct rec *const r = st->map + chunk * STATE_CHUNK;

	st->chunks_ok[chunk / 64] |= UINT64_C(1) << (chunk % 64);
	st->unverified--;
	if (crc32c(0, r, chunk_records(st, chunk) * sizeof(*r)) == get_le32(st->chunk_crcs + 4 * chunk))
		return;
	if (st->mend == NULL || st->mend(st->mend_ctx, chunk) < 0)
		chunk_lost(st, chunk);
}

void state_verify_all(const struct state *st)
{
	for (uint32_t chunk = 0; st->unverified > 0 && chunk * STATE_CHUNK < st->n_map; chunk++)
		(void)state_rec(st, chunk * STATE_CHUNK);
}

uint32_t state_lower(const struct state *st, uint32_t uid)
{
	uint32_t lo = 0, hi = state_count(st);

	while (lo < hi) {
		const uint32_t mid = lo + (hi - lo) / 2;
		if (state_rec(st, mid)->uid < uid)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

struct rec *state_find(const struct state *st, uint32_t uid)
{
	const uint32_t pos = state_lower(st, uid);
	struct rec *r;

	if (pos >= state_count(st) || (r = state_rec(st, pos))->uid != uid || (r->state & REC_GONE))
		return NULL;
	return r;
}

/* --- names --- */

static struct str name_bytes(const struct state *st, const struct rec *r)
{
	const size_t n = (size_t)r->name_len + r->info_len;

	const uint64_t off = rec_name_off(r);

	if (off < st->map_names_n)
		return n <= st->map_names_n - off ? str_n(st->map_names + off, n) : (struct str){ 0 };
	const uint64_t at = off - st->map_names_n;
	return at <= st->names_n && n <= st->names_n - at ? str_n(st->names + at, n) : (struct str){ 0 };
}

/* The bytes are checked each time: those of the index were never read as a whole. */
static struct str name_checked(const struct state *st, const struct rec *r)
{
	const struct str s = name_bytes(st, r);

	return s.n > 0 && crc32c(0, s.p, s.n) == r->name_crc ? s : (struct str){ 0 };
}

struct str state_name(const struct state *st, const struct rec *r)
{
	const struct str s = name_checked(st, r);

	return str_sub(s, 0, r->name_len);
}

bool state_name_is(const struct state *st, const struct rec *r, struct str base)
{
	const struct str s = name_bytes(st, r);

	return base.n > 0 && r->name_len == base.n && s.n >= base.n && memcmp(s.p, base.p, base.n) == 0;
}

struct str state_info(const struct state *st, const struct rec *r)
{
	const struct str s = r->info_len ? name_checked(st, r) : (struct str){ 0 };

	return str_from(s, r->name_len < s.n ? r->name_len : s.n);
}

/* A number that lies further ahead is no time. */
enum { AHEAD_MAX_S = 10 * 366 * 86400 };

static void note_clock(struct state *st, const struct rec *r, struct str base)
{
	const int64_t saved = r->savedate > 0 ? r->savedate : 0;
	uint64_t named;

	if (num_take(&base, INT64_MAX, &named) == 0 && (int64_t)named > st->named_last && (int64_t)named - AHEAD_MAX_S < saved)
		st->named_last = (int64_t)named;
	if (st->named_last - saved > st->setback)
		st->setback = st->named_last - saved;
}

int64_t state_setback(struct state *st)
{
	if (st->setback == INT64_MAX) {
		st->named_last = st->setback = 0;
		for (uint32_t pos = 0; pos < state_count(st); pos++)
			note_clock(st, state_rec(st, pos), state_name(st, state_rec(st, pos)));
	}
	return st->setback;
}

/* r->savedate is set. */
void state_name_set(struct state *st, struct rec *r, struct str base, struct str info)
{
	const size_t n = base.n + info.n;

	if (st->names_n + n > st->names_cap) {
		st->names_cap = (st->names_cap + n) * 2 + 4096;
		st->names = xrealloc(st->names, st->names_cap);
	}
	memcpy(st->names + st->names_n, base.p, base.n);
	if (info.n)
		memcpy(st->names + st->names_n + base.n, info.p, info.n);
	rec_name_off_set(r, st->map_names_n + st->names_n);
	r->name_len = (uint8_t)base.n;
	r->info_len = (uint8_t)info.n;
	r->name_crc = crc32c(0, st->names + st->names_n, n);
	st->names_n += n;
	note_clock(st, r, base);
}

int state_take(struct state *st, uint32_t pos, const struct state *from, const struct rec *r, struct err *e)
{
	const struct kwset *const k = state_kwset_get(from, r);
	struct rec *const to = state_rec(st, pos);
	const struct str base = state_name(from, r), info = state_info(from, r);
	uint32_t kwset;

	if (state_kwset(st, k->ids, k->n, &kwset, e) < 0)
		return -1;
	*to = *r;
	to->kwset = kwset;
	st->renames++;
	if (base.n > 0)
		state_name_set(st, to, base, info);
	return 0;
}

/* --- keyword sets --- */

static int kwset_cmp(const void *a, const void *b)
{
	const uint16_t x = *(const uint16_t *)a, y = *(const uint16_t *)b;

	return x < y ? -1 : x > y;
}

static int kwset_place(struct state *st, uint32_t *out, struct err *e)
{
	if (st->n_free_kwsets > 0) {
		*out = st->free_kwsets[--st->n_free_kwsets];
		return 0;
	}
	if (st->n_kwsets >= KWSETS_MAX)
		return err_set(e, ERR_LIMIT, 0, "more than %d combinations of keywords in the folder", KWSETS_MAX);
	if ((st->n_kwsets & (st->n_kwsets - 1)) == 0 && st->n_kwsets >= 8)
		st->kwsets = xrealloc(st->kwsets, st->n_kwsets * 2 * sizeof(*st->kwsets));
	*out = (uint32_t)st->n_kwsets++;
	return 0;
}

static int kwset_make(struct state *st, const uint16_t *ids, size_t n, uint32_t *out, struct err *e)
{
	uint16_t sorted[STORE_KEYWORDS_MAX];
	size_t k = 0;
	void *have;

	if (n > STORE_KEYWORDS_MAX)
		return err_set(e, ERR_LIMIT, 0, "too many keywords");
	memcpy(sorted, ids, n * sizeof(*ids));
	if (n > 1)
		qsort(sorted, n, sizeof(*sorted), kwset_cmp);
	for (size_t i = 0; i < n; i++)
		if (k == 0 || sorted[i] != sorted[k - 1])
			sorted[k++] = sorted[i];
	const struct str key = str_n(sorted, k * sizeof(*sorted));
	if ((have = map_get(st->kwset_by_ids, key)) != NULL) {
		*out = (uint32_t)(uintptr_t)have;
		return 0;
	}
	if (kwset_place(st, out, e) < 0)
		return -1;
	struct kwset *const set = &st->kwsets[*out];
	set->n = (uint16_t)k;
	set->ids = xmalloc(key.n);
	memcpy(set->ids, sorted, key.n);
	(void)map_set(st->kwset_by_ids, key, (void *)(uintptr_t)*out);
	return 0;
}

/* Records of the index are looked at unverified: at worst a set stays. */
void state_kwsets_sweep(struct state *st)
{
	bool *const used = xzalloc(st->n_kwsets * sizeof(*used));

	for (uint32_t pos = 0; pos < state_count(st); pos++) {
		const uint32_t set = pos < st->n_map ? st->map[pos].kwset : st->tail[pos - st->n_map].kwset;
		if (set < st->n_kwsets)
			used[set] = true;
	}
	st->free_kwsets = xrealloc(st->free_kwsets, st->n_kwsets * sizeof(*st->free_kwsets));
	for (size_t i = 1; i < st->n_kwsets; i++) {
		struct kwset *const set = &st->kwsets[i];
		if (used[i] || set->ids == NULL)
			continue;
		(void)map_del(st->kwset_by_ids, str_n(set->ids, set->n * sizeof(*set->ids)));
		free(set->ids);
		*set = (struct kwset){ 0 };
		st->free_kwsets[st->n_free_kwsets++] = (uint32_t)i;
	}
	free(used);
	st->sweep_at = 2 * map_count(st->kwset_by_ids) + KWSETS_SWEEP;
	st->sweeps++;
}

int state_kwset(struct state *st, const uint16_t *ids, size_t n, uint32_t *out, struct err *e)
{
	*out = 0;
	return n > 0 ? kwset_make(st, ids, n, out, e) : 0;
}

const struct kwset *state_kwset_get(const struct state *st, const struct rec *r)
{
	return &st->kwsets[r->kwset < st->n_kwsets ? r->kwset : 0];
}

int state_keyword(const struct state *st, struct str name)
{
	for (size_t i = 0; i < st->n_keywords; i++)
		if (str_case_eq(str_c(st->keywords[i]), name))
			return (int)i;
	return -1;
}

void state_keyword_add(struct state *st, struct str name)
{
	static uint64_t stamp;
	const size_t id = st->n_keywords++;

	st->keywords[id] = xstrndup(name.p, name.n);
	st->keywords_stamp = ++stamp;
	if (keyword_hidden(name)) {
		st->hidden[id / 64] |= UINT64_C(1) << (id % 64);
		st->n_hidden++;
	}
}

bool keyword_hidden(struct str name)
{
	return str_starts(name, STR(KEYWORD_HIDDEN));
}

bool mbox_keyword_hidden(const char *name)
{
	return keyword_hidden(str_c(name));
}

/* --- POP3 --- */

size_t state_pop3_lower(const struct state *st, uint32_t uid)
{
	size_t lo = 0, hi = st->n_pop3;

	while (lo < hi) {
		const size_t mid = lo + (hi - lo) / 2;
		if (st->pop3[mid].uid < uid)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

const struct pop3_info *state_pop3(const struct state *st, uint32_t uid)
{
	const size_t at = state_pop3_lower(st, uid);

	return at < st->n_pop3 && st->pop3[at].uid == uid ? &st->pop3[at] : NULL;
}
