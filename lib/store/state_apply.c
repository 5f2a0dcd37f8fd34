/* Journal operations become the state's records, counters and tables: the only way in which a folder in memory changes. */
#include <stdio.h>
#include <stdlib.h>

#include "base/num.h"
#include "store/store_priv.h"

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

/* And for a quarter more, which takes no memory until they come: else the first one would have all of them copied. */
void state_room(struct state *st, uint32_t records, size_t names)
{
	records += records / 4;
	names += names / 4;
	st->cap_tail = st->n_tail + records;
	st->tail = xrealloc(st->tail, (size_t)st->cap_tail * sizeof(*st->tail));
	st->names_cap = st->names_n + names;
	st->names = xrealloc(st->names, st->names_cap);
	memory_large(st->tail, (size_t)st->cap_tail * sizeof(*st->tail));
	memory_large(st->names, st->names_cap);
}

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

int state_assign(struct state *st, const struct assign *a, uint64_t modseq, struct err *e)
{
	const uint32_t n = state_count(st);
	uint32_t kwset = 0;

	if (a->uid == 0 || a->uid > UID_MAX || (n > 0 && a->uid <= state_rec(st, n - 1)->uid))
		return err_set(e, ERR_INPUT, 0, "journal: UID %u out of order", a->uid);
	if (a->n_kw > 0 && state_kwset(st, a->kw, a->n_kw, &kwset, e) < 0)
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
	state_name_set(st, r, a->base, a->info);
	count(st, r, 1);
	if (a->uid >= st->uidnext)
		st->uidnext = a->uid + 1;
	st->members++;
	tell(st, APPLIED_NEW, n);
	return 0;
}

static int assign_with_keywords(struct state *st, const struct op *o, uint64_t modseq, struct err *e)
{
	uint16_t ids[STORE_KEYWORDS_MAX];
	struct assign a = o->assign;

	a.kw = ids;
	a.n_kw = ids_read(o, ids, st);
	return state_assign(st, &a, modseq, e);
}

static int apply_assign(struct state *st, const struct op *o, uint64_t modseq, struct err *e)
{
	return o->n_ids > 0 ? assign_with_keywords(st, o, modseq, e) : state_assign(st, &o->assign, modseq, e);
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
		state_name_set(st, r, name, o->assign.info);
	r->state = (uint8_t)(o->assign.info.n ? r->state | REC_ODD : r->state & ~REC_ODD);
	st->renames++;
	if (o->assign.base.n > 0)
		st->setback = INT64_MAX;	/* those behind it were numbered with another name before them */
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

static void apply_pop3(struct state *st, const struct op *o)
{
	struct rec *const r = state_find(st, o->uid);
	const size_t at = state_pop3_lower(st, o->uid);

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
		state_kwsets_sweep(st);
	while (ops.n > 0)
		if (op_next(&ops, &o, e) < 0 || apply_one(st, &o, modseq, e) < 0)
			return -1;
	return 0;
}
