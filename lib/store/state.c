/* A folder in memory: records in UID order (those of the mapped index, then a growing tail), their names, the keyword table with its
 * interned combinations, saved POP3 ids, counters. Changed only by applying journal operations, in order; so the state after
 * applying a journal from any index is the same as from its beginning.
 *
 * A record keeps its position until the state is built anew: expunged ones become gone, new ones come last. Views build on that. */
#include <stdio.h>
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

struct str state_info(const struct state *st, const struct rec *r)
{
	const struct str s = r->info_len ? name_checked(st, r) : (struct str){ 0 };

	return str_from(s, r->name_len < s.n ? r->name_len : s.n);
}

static void name_set(struct state *st, struct rec *r, struct str base, struct str info)
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
	if (base.n > 0)
		name_set(st, to, base, info);
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

/* Each change of a keyword makes a set; those that no record has any more give their places to new ones. The numbers of the others hold. Records of the index
 * are looked at unverified: at worst a set stays. */
static void kwsets_sweep(struct state *st)
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

/* --- letters --- */

static const struct { char letter; uint8_t disk; unsigned flag; } letters[] = {	/* in the alphabet's order */
	{ 'D', DISK_D, MBOX_DRAFT }, { 'F', DISK_F, MBOX_FLAGGED }, { 'P', DISK_P, MBOX_FORWARDED },
	{ 'R', DISK_R, MBOX_ANSWERED }, { 'S', DISK_S, MBOX_SEEN }, { 'T', DISK_T, MBOX_DELETED },
};

uint8_t disk_of_flags(unsigned flags)
{
	uint8_t disk = 0;

	for (size_t i = 0; i < ARRAY_LEN(letters); i++)
		if (flags & letters[i].flag)
			disk |= letters[i].disk;
	return disk;
}

unsigned flags_of_disk(uint8_t disk)
{
	unsigned flags = 0;

	for (size_t i = 0; i < ARRAY_LEN(letters); i++)
		if (disk & letters[i].disk)
			flags |= letters[i].flag;
	return flags;
}

static uint8_t disk_of_letter(char c)
{
	for (size_t i = 0; i < ARRAY_LEN(letters); i++)
		if (letters[i].letter == c)
			return letters[i].disk;
	return 0;
}

uint8_t disk_of_info(struct str info, bool *odd_out)
{
	uint8_t disk = 0;
	char last = 0;

	*odd_out = false;
	for (size_t i = 0; i < info.n; i++) {
		const uint8_t d = info.p[i] == ',' ? 0 : disk_of_letter(info.p[i]);
		disk |= d;
		if (d == 0 || info.p[i] <= last)
			*odd_out = true;
		if (info.p[i] == ',')
			break;
		last = info.p[i];
	}
	return disk;
}

/* Our letters and the odd info's other ones, sorted; then what follows its comma. */
int disk_name(char *out, struct str base, uint8_t disk, struct str info)
{
	char flags[256];
	size_t n = 0, m;
	const ptrdiff_t comma = str_chr(info, ',');
	const struct str odd = comma < 0 ? info : str_sub(info, 0, (size_t)comma);
	const struct str rest = comma < 0 ? (struct str){ 0 } : str_from(info, (size_t)comma);

	if (disk & DISK_NOINFO) {
		if (base.n == 0 || base.n > FILE_NAME_MAX)
			return -1;
		memcpy(out, base.p, base.n);
		out[base.n] = '\0';
		return 0;
	}
	for (size_t i = 0; odd.n == 0 && i < ARRAY_LEN(letters); i++)
		if (letters[i].disk & disk)
			flags[n++] = letters[i].letter;
	for (int c = 1; odd.n > 0 && c < 256 && n < sizeof(flags) - 1; c++)
		if ((disk_of_letter((char)c) & disk) || (!disk_of_letter((char)c) && str_chr(odd, (char)c) >= 0))
			flags[n++] = (char)c;
	m = base.n + 3 + n + rest.n;
	if (base.n == 0 || m > FILE_NAME_MAX)
		return -1;
	memcpy(out, base.p, base.n);
	memcpy(out + base.n, ":2,", 3);
	memcpy(out + base.n + 3, flags, n);
	if (rest.n)
		memcpy(out + base.n + 3 + n, rest.p, rest.n);
	out[m] = '\0';
	return 0;
}

bool state_unflushed(const struct rec *r)
{
	return (r->disk & DISK_LETTERS) != disk_of_flags(r->flags);
}

/* --- POP3 --- */

static size_t pop3_lower(const struct state *st, uint32_t uid)
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
	const size_t at = pop3_lower(st, uid);

	return at < st->n_pop3 && st->pop3[at].uid == uid ? &st->pop3[at] : NULL;
}

static void apply_pop3(struct state *st, const struct op *o)
{
	struct rec *const r = state_find(st, o->uid);
	const size_t at = pop3_lower(st, o->uid);

	if (r == NULL)
		return;
	if (at == st->n_pop3 || st->pop3[at].uid != o->uid) {
		if (st->n_pop3 == st->cap_pop3) {
			st->cap_pop3 = st->cap_pop3 * 2 + 16;
			st->pop3 = xrealloc(st->pop3, st->cap_pop3 * sizeof(*st->pop3));
		}
		memmove(st->pop3 + at + 1, st->pop3 + at, (st->n_pop3 - at) * sizeof(*st->pop3));
		st->pop3[at] = (struct pop3_info){ .uid = o->uid };
		st->n_pop3++;
	}
	free(st->pop3[at].uidl);
	st->pop3[at].uidl = o->text.n ? xstrndup(o->text.p, o->text.n) : NULL;
	st->pop3[at].order = o->number;
	r->state |= REC_POP3;
}

/* --- counters --- */

static void count(struct state *st, const struct rec *r, int by)
{
	const uint32_t d = (uint32_t)by;

	if (r->state & REC_GONE) {
		if (r->state & REC_ZOMBIE)
			st->zombies += d;
		return;
	}
	st->messages += d;
	if (!(r->flags & MBOX_SEEN))
		st->unseen += d;
	if (r->flags & MBOX_DELETED)
		st->deleted += d;
	if (state_unflushed(r))
		st->unflushed += d;
	if (r->size_crlf == UINT64_MAX)
		st->unknown_sizes += d;
	else
		st->size_crlf += by > 0 ? r->size_crlf : -r->size_crlf;
}

static void tell(struct state *st, enum applied what, uint32_t pos)
{
	if (st->applied)
		st->applied(st->applied_ctx, what, pos);
}

/* --- applying --- */

static struct rec *tail_add(struct state *st)
{
	if (st->n_tail == st->cap_tail) {
		st->cap_tail = st->cap_tail * 2 + 64;
		st->tail = xrealloc(st->tail, st->cap_tail * sizeof(*st->tail));
	}
	struct rec *const r = &st->tail[st->n_tail++];
	*r = (struct rec){ 0 };
	return r;
}

/* Keywords whose naming was lost with a damaged batch are left out. */
static size_t ids_read(const struct op *o, uint16_t *ids, const struct state *st)
{
	size_t n = 0;

	for (size_t i = 0; i < o->n_ids; i++) {
		ids[n] = (uint16_t)(o->ids[2 * i] | o->ids[2 * i + 1] << 8);
		if (ids[n] < st->n_keywords)
			n++;
	}
	return n;
}

static int kwset_of(struct state *st, const struct op *o, uint32_t *out, struct err *e)
{
	uint16_t ids[STORE_KEYWORDS_MAX];

	return state_kwset(st, ids, ids_read(o, ids, st), out, e);
}

static int apply_assign(struct state *st, const struct op *o, uint64_t modseq, struct err *e)
{
	const struct assign *const a = &o->assign;
	const uint32_t n = state_count(st);
	uint32_t kwset = 0;

	if (a->uid == 0 || a->uid > UID_MAX || (n > 0 && a->uid <= state_rec(st, n - 1)->uid))
		return err_set(e, ERR_INPUT, 0, "journal: UID %u out of order", a->uid);
	if (o->n_ids > 0 && kwset_of(st, o, &kwset, e) < 0)
		return -1;
	struct rec *const r = tail_add(st);
	r->uid = a->uid;
	r->flags = (uint16_t)(a->flags & ~(unsigned)MBOX_RECENT);
	r->disk = a->disk;
	r->modseq = a->modseq ? a->modseq : modseq;
	r->internaldate = a->internaldate;
	r->savedate = a->savedate;
	r->size = a->size;
	r->size_crlf = a->size_crlf;
	r->kwset = kwset;
	if (a->info.n)
		r->state |= REC_ODD;
	name_set(st, r, a->base, a->info);
	count(st, r, 1);
	if (a->uid >= st->uidnext)
		st->uidnext = a->uid + 1;
	st->members++;
	tell(st, APPLIED_NEW, n);
	return 0;
}

static int kwset_change(struct state *st, struct rec *r, enum mbox_flag_op mode, const uint16_t *ids, size_t n, struct err *e)
{
	const struct kwset *const old = state_kwset_get(st, r);
	uint16_t all[2 * STORE_KEYWORDS_MAX];
	size_t k = 0;

	if (mode == MBOX_SET || n == 0)
		return mode == MBOX_SET ? state_kwset(st, ids, n, &r->kwset, e) : 0;
	for (size_t i = 0; i < old->n; i++) {
		bool named = false;
		for (size_t j = 0; j < n && !named; j++)
			named = ids[j] == old->ids[i];
		if (!named)
			all[k++] = old->ids[i];
	}
	if (mode == MBOX_ADD)
		for (size_t j = 0; j < n; j++)
			all[k++] = ids[j];
	return state_kwset(st, all, k, &r->kwset, e);
}

struct range_walk {
	const struct op *o;
	size_t i;
	uint32_t pos, last;
	bool inside;
};

/* Next record that is not gone and lies in the operation's ranges. */
static struct rec *range_next(struct state *st, struct range_walk *w, uint32_t *pos_out, bool gone_too)
{
	const uint32_t n = state_count(st);

	for (;;) {
		if (!w->inside) {
			if (w->i == w->o->n_ranges)
				return NULL;
			w->pos = state_lower(st, get_le32(w->o->ranges + 8 * w->i));
			w->last = get_le32(w->o->ranges + 8 * w->i + 4);
			w->i++;
			w->inside = true;
		}
		if (w->pos >= n || state_rec(st, w->pos)->uid > w->last) {
			w->inside = false;
			continue;
		}
		struct rec *const r = state_rec(st, w->pos);
		*pos_out = w->pos++;
		if (gone_too || !(r->state & REC_GONE))
			return r;
	}
}

static int apply_flags(struct state *st, const struct op *o, uint64_t modseq, struct err *e)
{
	struct range_walk w = { .o = o };
	uint16_t ids[STORE_KEYWORDS_MAX];
	const uint16_t flags = (uint16_t)(o->flags & ~(unsigned)MBOX_RECENT);
	struct rec *r;
	uint32_t pos;

	const size_t n_ids = ids_read(o, ids, st);
	const bool reader = n_ids == 1 && flags == 0 && o->mode != MBOX_SET && state_is_hidden(st, ids[0]);
	while ((r = range_next(st, &w, &pos, false)) != NULL) {
		if (kwset_change(st, r, o->mode, ids, n_ids, e) < 0)
			return -1;
		count(st, r, -1);
		if (o->mode == MBOX_SET)
			r->flags = flags;
		else if (o->mode == MBOX_ADD)
			r->flags |= flags;
		else
			r->flags = (uint16_t)(r->flags & ~flags);
		r->modseq = modseq;
		count(st, r, 1);
		tell(st, reader ? APPLIED_READER + ids[0] : APPLIED_FLAGS, pos);
	}
	return 0;
}

/* The oldest half goes when there is no room: the floor rises to the youngest mod-sequence that was forgotten. */
static void gone_trim(struct state *st)
{
	const size_t drop = st->n_gone / 2;

	for (size_t i = 0; i < drop; i++)
		if (st->gone[i].modseq > st->gone_floor)
			st->gone_floor = st->gone[i].modseq;
	st->n_gone -= drop;
	memmove(st->gone, st->gone + drop, st->n_gone * sizeof(*st->gone));
}

void state_gone_add(struct state *st, uint64_t modseq, struct range uids)
{
	if (st->n_gone == GONE_MAX)
		gone_trim(st);
	if (st->n_gone == st->cap_gone) {
		st->cap_gone = st->cap_gone * 2 + 16;
		st->gone = xrealloc(st->gone, st->cap_gone * sizeof(*st->gone));
	}
	st->gone[st->n_gone++] = (struct gone){ modseq, uids };
}

static void apply_vanished(struct state *st, const struct op *o)
{
	if (o->n_ranges == 0)
		st->gone_floor = o->modseq;
	for (size_t i = 0; i < o->n_ranges; i++) {
		const struct range r = { get_le32(o->ranges + 8 * i), get_le32(o->ranges + 8 * i + 4) };
		if (r.first > 0 && r.first <= r.last)
			state_gone_add(st, o->modseq, r);
	}
}

static void apply_expunge(struct state *st, const struct op *o, uint64_t modseq)
{
	struct range_walk w = { .o = o };
	struct range run = { 0 };
	struct rec *r;
	uint32_t pos, last = 0;

	while ((r = range_next(st, &w, &pos, false)) != NULL) {
		count(st, r, -1);
		r->state |= REC_GONE | REC_ZOMBIE;
		r->modseq = modseq;
		count(st, r, 1);
		/* Neighbours make one range: no UID between them has a message. */
		if (run.first && pos != last + 1) {
			state_gone_add(st, modseq, run);
			run.first = 0;
		}
		run = (struct range){ run.first ? run.first : r->uid, r->uid };
		last = pos;
		st->members++;
		tell(st, APPLIED_GONE, pos);
	}
	if (run.first)
		state_gone_add(st, modseq, run);
}

static void apply_done(struct state *st, const struct op *o)
{
	struct range_walk w = { .o = o };
	struct rec *r;
	uint32_t pos;

	while ((r = range_next(st, &w, &pos, true)) != NULL) {
		if (!(r->state & REC_ZOMBIE))
			continue;
		count(st, r, -1);
		r->state &= (uint8_t)~REC_ZOMBIE;
		count(st, r, 1);
	}
}

static int apply_keyword(struct state *st, const struct op *o, struct err *e)
{
	if (o->number < st->n_keywords && str_eq(str_c(st->keywords[o->number]), o->text))
		return 0;
	if (o->number < st->n_keywords)
		return err_set(e, ERR_INPUT, 0, "journal: keyword %u named twice", o->number);
	while (st->n_keywords < o->number) {	/* lost with a damaged batch: the numbers of the others must hold */
		char lost[24];
		snprintf(lost, sizeof(lost), "$Lost%zu", st->n_keywords);
		state_keyword_add(st, str_c(lost));
	}
	state_keyword_add(st, o->text);
	return 0;
}

static void apply_named(struct state *st, const struct op *o)
{
	struct rec *const r = state_find(st, o->uid);
	char base[FILE_NAME_MAX + 1];

	if (r == NULL)
		return;
	struct str name = o->assign.base;
	if (name.n == 0) {	/* the names may move while one is added: copy */
		name = state_name(st, r);
		if (name.n == 0)
			return;
		memcpy(base, name.p, name.n);
		name.p = base;
	}
	count(st, r, -1);
	r->disk = o->assign.disk;
	if (o->assign.base.n > 0 || o->assign.info.n > 0 || r->info_len > 0)
		name_set(st, r, name, o->assign.info);
	r->state = (uint8_t)(o->assign.info.n ? r->state | REC_ODD : r->state & ~REC_ODD);
	count(st, r, 1);
}

static void apply_sizes(struct state *st, const struct op *o)
{
	struct rec *const r = state_find(st, o->uid);

	if (r == NULL)
		return;
	count(st, r, -1);
	r->size = o->size;
	r->size_crlf = o->size_crlf;
	count(st, r, 1);
	st->members++;
}

static int apply_one(struct state *st, const struct op *o, uint64_t modseq, struct err *e)
{
	switch (o->kind) {
	case OP_ASSIGN:
		return apply_assign(st, o, modseq, e);
	case OP_FLAGS:
		return apply_flags(st, o, modseq, e);
	case OP_KEYWORD:
		return apply_keyword(st, o, e);
	case OP_EXPUNGE:
		apply_expunge(st, o, modseq);
		return 0;
	case OP_DONE:
		apply_done(st, o);
		return 0;
	case OP_NAMED:
		apply_named(st, o);
		return 0;
	case OP_SIZES:
		apply_sizes(st, o);
		return 0;
	case OP_RESERVE:
		if (o->uid > st->reserved)
			st->reserved = o->uid;
		return 0;
	case OP_POP3:
		apply_pop3(st, o);
		return 0;
	case OP_VANISHED:
		apply_vanished(st, o);
		return 0;
	}
	return err_set(e, ERR_BUG, 0, "journal: operation %d", o->kind);
}

int state_apply(struct state *st, struct str ops, uint64_t modseq, struct err *e)
{
	struct op o;

	if (modseq > st->modseq)
		st->modseq = modseq;
	if (map_count(st->kwset_by_ids) >= st->sweep_at)
		kwsets_sweep(st);
	while (ops.n > 0)
		if (op_next(&ops, &o, e) < 0 || apply_one(st, &o, modseq, e) < 0)
			return -1;
	return 0;
}
