/* A folder's first state: it has no journal, and all of its files are numbered, as another server did where that is known. In pieces of a few milliseconds, each of which
 * leaves something that the next one can go on from, so that a process can serve others between them:
 *
 *   new     what is in new/ moves to cur/
 *   list    the files of cur/, several threads at once (listing.h)
 *   match   with what another server called them
 *   sort    by UID, by arrival
 *   number  each becomes a record and a line of the journal
 *   twins   files of a base name that was taken
 *   pop3    ids and order that another server gave POP3 clients
 *   end     UIDVALIDITY, the journal under its name, the second copy: all of it, or nothing
 *
 * The folder's lock is held from the beginning to the end. Before the end nothing is anywhere that another process would take for a state: who is killed leaves files that
 * have moved from new/ to cur/, and a journal without its name, which the next writer of one removes. */
#include <stdlib.h>

#include "base/clock.h"
#include "os/os.h"
#include "store/sync_priv.h"

enum {
	WORK = 1024,		/* of a step, a millisecond: an entry is 1 of them, */
	ASKED = 32,		/* one whose file must be looked at so many, */
	RENAMED = 256,		/* and a renamed one */
	NEW_FILES = 64,		/* that move at once */
	POP3_IDS = 4096,
	AHEAD = 40,		/* entries in their order lie anywhere in memory: those to come are had on their way, */
	NAME_AHEAD = 20,		/* and their names, which the entries tell */
};

enum phase { FIRST_NEW, FIRST_LIST, FIRST_MATCH, FIRST_SORT, FIRST_NUMBER, FIRST_TWINS, FIRST_POP3, FIRST_END };

struct sync_first {
	struct mbox *m;
	enum phase phase;
	struct arena *a;	/* what old points into */
	struct old_list old;
	struct old_table by_base;
	struct listing l;
	struct str letters[26];
	struct map *courier;	/* its keywords by base name; NULL none */
	struct buf ops;		/* that name keywords */
	struct journal_writer *w;	/* NULL: who asked for the state writes it */
	struct timespec marked;
	int64_t now;
	size_t at, twins;	/* in the listing, or in old; twins: so many, at its front */
	const struct entry *last;	/* that was numbered */
	uint32_t uid;		/* the next one */
	bool known;		/* the identity was there before */
};

/* --- what another server called them --- */

void old_table_init(struct old_table *t, const struct old_list *old)
{
	size_t n = 16;

	while (n < old->n * 2)
		n *= 2;
	*t = (struct old_table){ .old = old, .slot = xzalloc(n * sizeof(*t->slot)), .mask = n - 1 };
	for (size_t i = 0; i < old->n; i++) {
		size_t at = (size_t)str_hash(old->v[i].base) & t->mask;
		while (t->slot[at])
			at = (at + 1) & t->mask;
		t->slot[at] = (uint32_t)i + 1;
	}
}

void old_table_fini(struct old_table *t)
{
	free(t->slot);
	t->slot = NULL;
}

void old_table_match(const struct old_table *t, struct entry *en)
{
	for (size_t at = (size_t)str_hash(entry_base(en)) & t->mask; t->slot[at]; at = (at + 1) & t->mask) {
		const struct old_msg *const got = &t->old->v[t->slot[at] - 1];
		if (!str_eq(got->base, entry_base(en)))
			continue;
		en->uid = got->uid;
		if (got->size_crlf != UINT64_MAX && en->told_crlf == UINT64_MAX)
			en->told_crlf = got->size_crlf;
		return;
	}
}

static bool match(struct sync_first *f)
{
	if (f->at == 0)
		old_table_init(&f->by_base, &f->old);
	for (unsigned k = 0; k < WORK && f->at < f->l.n; k++)
		old_table_match(&f->by_base, f->l.v[f->at++]);
	if (f->at < f->l.n)
		return true;
	old_table_fini(&f->by_base);
	listing_changed(&f->l);
	return false;
}

/* --- numbers --- */

/* Keywords that are new to the folder are named first. */
static int keywords(struct sync_first *f, const struct entry *en, uint16_t *ids, size_t *n_out, struct err *e)
{
	struct state *const st = &f->m->st;

	*n_out = sync_letter_keywords(f->m, entry_info(en), f->letters, f->courier ? map_get(f->courier, entry_base(en)) : NULL, ids, &f->ops);
	if (f->ops.n == 0)
		return 0;
	int r = buf_check(&f->ops, "keywords of the folder", e);
	if (r == 0)
		r = state_apply(st, buf_view(&f->ops), st->modseq, e);
	if (r == 0 && f->w)
		r = journal_put(f->w, buf_view(&f->ops), e);
	mbox_pending_clear(f->m);
	buf_reset(&f->ops);
	return r;
}

static int put(struct sync_first *f, const struct entry *en, const uint16_t *ids, size_t n_ids, struct err *e)
{
	/* Known UIDs come first, and all lie below the next one. */
	const uint32_t uid = en->uid ? en->uid : f->uid;

	if (uid > UID_MAX)
		return err_set(e, ERR_LIMIT, 0, "no UID is left in this folder");
	if (uid >= f->uid)
		f->uid = uid + 1;
	struct assign a = sync_assign(en, entry_base(en), uid, f->now);
	a.kw = ids;
	a.n_kw = n_ids;
	if (state_assign(&f->m->st, &a, f->m->st.modseq, e) < 0)
		return -1;
	return f->w ? journal_put_assign(f->w, &a, e) : 0;
}

static int put_with_keywords(struct sync_first *f, const struct entry *en, struct err *e)
{
	uint16_t ids[26 + COURIER_WORDS_MAX];
	size_t n;

	return keywords(f, en, ids, &n, e) < 0 ? -1 : put(f, en, ids, n, e);
}

/* *work: what it took. */
static int number_one(struct sync_first *f, struct entry *en, unsigned *work, struct err *e)
{
	if (!entry_believe(en, f->m->curfd))
		return 0;
	f->last = en;
	*work += en->mtime == DATE_UNKNOWN ? 1 : ASKED;
	return en->odd || f->courier ? put_with_keywords(f, en, e) : put(f, en, NULL, 0, e);
}

/* Those of one base name are neighbours, and sort alike. */
static bool is_twin(const struct sync_first *f, const struct entry *en)
{
	return f->last && f->last->secs == en->secs && f->last->usecs == en->usecs && str_eq(entry_base(f->last), entry_base(en));
}

static PREFETCHES void look_ahead(const struct listing *l, size_t i)
{
	if (i + AHEAD < l->n) {
		const char *const en = (const char *)l->v[i + AHEAD];
		__builtin_prefetch(en);
	}
	if (i + NAME_AHEAD < l->n) {
		const char *const name = l->v[i + NAME_AHEAD]->name;
		__builtin_prefetch(name);
		__builtin_prefetch(name + 64);
	}
}

/* 1: more is left. */
static int number(struct sync_first *f, struct err *e)
{
	struct listing *const l = &f->l;
	unsigned work = 0;

	for (; f->at < l->n && work < WORK; f->at++) {
		look_ahead(l, f->at);
		struct entry *const en = l->v[f->at];
		if (en->odd && sync_straighten(f->m, l->a, en))
			work += RENAMED;
		if (en->base_n == 0)
			continue;
		if (is_twin(f, en)) {
			work += ASKED;
			if (sync_is_there(f->m, f->last))
				l->v[f->twins++] = en;	/* where one was that has been seen to */
			continue;
		}
		if (number_one(f, en, &work, e) < 0)
			return -1;
	}
	return f->at < l->n;
}

/* Another message each, in whatever order: nobody knew them. */
static int twins(struct sync_first *f, struct err *e)
{
	unsigned work = 0;

	for (; f->at < f->twins && work < WORK; f->at++) {
		struct entry *const en = f->l.v[f->at];
		work += RENAMED;
		en->uid = 0;
		if (sync_twin(f->m, f->l.a, en) && number_one(f, en, &work, e) < 0)
			return -1;
	}
	return f->at < f->twins;
}

/* --- phases --- */

static int list_begin(struct sync_first *f, struct err *e)
{
	struct mbox *const m = f->m;

	/* So that the listing for the first state is not repeated at once. */
	if (sync_mark(m, &f->marked) < 0)
		f->marked.tv_sec = 0;
	return listing_begin(&f->l, m->curfd, SIZE_MAX, store_crew(m->s), e);
}

static int listed(struct sync_first *f, struct err *e)
{
	struct mbox *const m = f->m;

	takeover_keywords(m->dirfd, f->l.a, f->letters);
	f->courier = courier_keywords(m->dirfd, f->l.a);
	f->now = clock_wall();
	f->uid = m->st.uidnext;
	state_room(&m->st, (uint32_t)f->l.n, f->l.name_bytes);
	if (f->known)
		return 0;
	if (journal_begin(&m->j, m->dirfd, &m->st, &f->w, e) < 0)
		return -1;
	journal_helped(f->w, store_crew(m->s));
	return 0;
}

static int new_files(struct sync_first *f, struct err *e)
{
	size_t moved;
	bool more;

	if (sync_take_new(f->m, NEW_FILES, &moved, &more, e) < 0)
		return -1;
	return more && moved > 0;
}

static int pop3(struct sync_first *f, struct err *e)
{
	const struct old_list *const old = &f->old;
	const size_t end = old->n - f->at < POP3_IDS ? old->n : f->at + POP3_IDS;

	for (; f->at < end; f->at++)
		if (old->v[f->at].uidl.n > 0 || old->v[f->at].order > 0)
			op_pop3(&f->ops, old->v[f->at].uid, old->v[f->at].order, old->v[f->at].uidl);
	if (buf_check(&f->ops, "POP3's ids", e) < 0 || state_apply(&f->m->st, buf_view(&f->ops), f->m->st.modseq, e) < 0)
		return -1;
	buf_reset(&f->ops);	/* the journal takes them from the state */
	return f->at < old->n;
}

static int identity(struct sync_first *f, struct err *e)
{
	struct state *const st = &f->m->st;
	uint32_t uidvalidity = f->old.uidvalidity;

	if ((uidvalidity ? root_uidvalidity_seen(f->m->s, uidvalidity, e) : root_uidvalidity(f->m->s, &uidvalidity, e)) < 0)
		return -1;
	st->uidvalidity = uidvalidity;
	st->reserved = st->uidnext > UID_MAX - UID_RESERVE ? UID_MAX : st->uidnext + UID_RESERVE;
	return 0;
}

/* The journal first: a second copy alone would be taken for a folder that lost its journal. */
static int write_down(struct sync_first *f, struct err *e)
{
	struct mbox *const m = f->m;
	struct timespec after = { 0 };

	if (identity(f, e) < 0)
		return -1;
	op_reserve(&f->ops, m->st.reserved);
	if (journal_put(f->w, buf_view(&f->ops), e) < 0 || journal_rest(f->w, e) < 0 || journal_take(&f->w, &m->j, false, e) < 0 || ident_write(m, e) < 0)
		return -1;
	const bool same = f->marked.tv_sec != 0 && sync_dir_time(m->curfd, &after) == 0 && sync_same_time(&f->marked, &after);
	m->cur_seen = same ? f->marked : (struct timespec){ 0 };
	/* Mail that another server knew is not recent. */
	m->recent_uid = f->old.n > 0 ? f->old.uidnext : 1;
	sync_record(m);
	return 0;
}

static int end(struct sync_first *f, struct err *e)
{
	if (f->known)
		return 0;
	sync_group_begin(f->m->dirfd);
	const int r = write_down(f, e);
	return sync_group_end(f->m->dirfd, "folder", r, e);
}

/* One piece of the phase. 1: more of it is left. */
static int piece(struct sync_first *f, struct err *e)
{
	int r;

	switch (f->phase) {
	case FIRST_NEW:
		return (r = new_files(f, e)) == 0 ? list_begin(f, e) : r;
	case FIRST_LIST:
		return (r = listing_step(&f->l, e)) == 0 ? listed(f, e) : r;
	case FIRST_MATCH:
		return f->old.n > 0 && match(f);
	case FIRST_SORT:
		return listing_sort_step(&f->l);
	case FIRST_NUMBER:
		return number(f, e);
	case FIRST_TWINS:
		return twins(f, e);
	case FIRST_POP3:
		return pop3(f, e);
	case FIRST_END:
		return end(f, e);
	}
	return err_set(e, ERR_BUG, 0, "phase %d", (int)f->phase);
}

int sync_first_step(struct sync_first *f, struct err *e)
{
	if (f->m->gone)
		return err_set(e, ERR_NOENT, 0, "the folder has been deleted");
	const int r = piece(f, e);

	if (r != 0)
		return r;
	f->at = 0;
	if (f->phase == FIRST_END)
		return 0;
	f->phase++;
	return 1;
}

void sync_first_progress(const struct sync_first *f, uint64_t *done_out, uint64_t *goal_out)
{
	*goal_out = f->phase > FIRST_LIST ? f->l.n : 0;
	*done_out = f->phase == FIRST_NUMBER ? f->at : f->phase > FIRST_NUMBER ? f->l.n : 0;
}

static struct sync_first *first_new(struct mbox *m)
{
	struct sync_first *const f = xzalloc(sizeof(*f));

	f->m = m;
	f->a = arena_new(0);
	buf_init(&f->ops, BATCH_MAX);
	return f;
}

int sync_first_begin(struct mbox *m, struct sync_first **out, struct err *e)
{
	struct sync_first *f = first_new(m);
	const int r = takeover_read(m, f->a, &f->old, e);

	if (r < 0) {
		sync_first_free(&f);
		return -1;
	}
	if (r == 1)
		f->old = (struct old_list){ .uidnext = 1 };
	m->st.uidnext = f->old.uidnext;
	/* Above whatever another server's clients have seen, and above our own earlier values. */
	m->st.modseq = m->st.gone_floor = clock_wall_us();
	if (f->old.has_id)
		memcpy(m->st.id, f->old.id, sizeof(m->st.id));
	else
		random_bytes(m->st.id, sizeof(m->st.id));
	*out = f;
	return 0;
}

void sync_first_free(struct sync_first **fp)
{
	struct sync_first *const f = *fp;

	*fp = NULL;
	if (f == NULL)
		return;
	journal_abort(&f->w, true);
	mbox_pending_clear(f->m);
	listing_fini(&f->l);
	old_table_fini(&f->by_base);
	map_free(&f->courier);
	buf_fini(&f->ops);
	arena_free(&f->a);
	free(f);
}

/* The journal is lost, the identity is known (m->st): what another server left behind still tells the UIDs of the mail it knew. 1: it does not. */
int sync_again(struct mbox *m, struct err *e)
{
	struct sync_first *f = first_new(m);
	int r = takeover_read(m, f->a, &f->old, e);

	if (r == 0 && f->old.uidvalidity != m->st.uidvalidity)
		r = 1;
	if (r == 0) {
		f->known = true;
		r = list_begin(f, e);
		f->phase = FIRST_LIST;
		while (r == 0 && (r = sync_first_step(f, e)) > 0)
			r = 0;
	}
	sync_first_free(&f);
	return r;
}
