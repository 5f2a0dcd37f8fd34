/* Questions to the search index, and what it learns of a message whose file is in hand. */
#include "store/ahead_priv.h"
#include "store/search_priv.h"
#include "store/signer.h"
#include "store/summary.h"

/* --- questions --- */

enum { ASK_BLOCKS = 32, ASK_ROWS = 1024 };	/* in one piece */

struct question {
	uint16_t hashes[4 * TRIGRAM_NEEDLE_MAX];
	size_t n;
};
struct mbox_candidates {
	uint64_t *bits;		/* per position */
	uint32_t n;		/* positions; those beyond are candidates */
	/* while it is asked */
	unsigned kind;
	struct question q;
	size_t block, row;	/* those before were asked */
	uint64_t life, sealed;	/* of the index, when they were */
};

static const struct str head_fields[] = { STR("Subject"), STR("From"), STR("To"), STR("Cc"), STR("Bcc"), STR("Sender"), STR("Reply-To") };

bool mbox_search_in_head(struct str field)
{
	for (size_t i = 0; i < ARRAY_LEN(head_fields); i++)
		if (field.n == head_fields[i].n && str_case_eq(field, head_fields[i]))
			return true;
	return false;
}

static void put(struct mbox_candidates *c, uint32_t pos)
{
	if (pos < c->n)
		c->bits[pos / 64] |= UINT64_C(1) << (pos % 64);
}

static void ask_block(struct search *s, const struct state *st, const struct search_block *b, const struct question *q, struct mbox_candidates *c)
{
	const size_t bits = trigram_bits(b->class);
	uint64_t left[TRIGRAM_ROW_WORDS];
	uint32_t hint = 0;

	for (size_t i = 0; i < TRIGRAM_ROW_WORDS; i++)
		left[i] = UINT64_MAX;
	for (size_t k = 0; k < q->n; k++) {
		const uint64_t *const col =
			(const void *)grow_at(&s->file[SEARCH_BLOCKS], b->columns + trigram_bit(q->hashes[k], bits) * TRIGRAM_ROW_WORDS * 8, TRIGRAM_ROW_WORDS * 8);
		uint64_t any = 0;
		for (size_t i = 0; col && i < TRIGRAM_ROW_WORDS; i++)
			any |= left[i] &= col[i];
		if (col && any == 0)
			return;
	}
	const unsigned char *const uids = grow_at(&s->file[SEARCH_BLOCKS], b->uids, (size_t)b->n * 4);
	for (size_t i = 0; uids && i < TRIGRAM_ROW_WORDS; i++) {
		for (uint64_t w = left[i]; w; w &= w - 1) {
			const size_t row = i * 64 + (size_t)__builtin_ctzll(w);
			const uint32_t pos = row < b->n ? search_pos(st, get_le32(uids + 4 * row), &hint) : UINT32_MAX;
			put(c, pos);
		}
	}
}

static bool row_fits(struct search *s, const struct search_row *r, const struct question *q)
{
	const size_t bits = trigram_bits(r->class);
	const uint64_t *const own = search_row_bits(s, r);

	for (size_t k = 0; own && k < q->n; k++) {
		const size_t at = trigram_bit(q->hashes[k], bits);
		if (!(own[at / 64] >> (at % 64) & 1))
			return false;
	}
	return true;
}

static void question_of(struct question *q, const struct str *needles, size_t n)
{
	q->n = 0;
	for (size_t i = 0; i < n && q->n + TRIGRAM_NEEDLE_MAX <= ARRAY_LEN(q->hashes); i++)
		q->n += trigram_needle(needles[i], q->hashes + q->n);
}

/* What is known is no candidate until a block or a row says so. */
static void begin(const struct search *s, struct mbox_candidates *c)
{
	const struct search_bits *const b = &s->covered[c->kind];

	for (size_t i = 0; i <= c->n / 64; i++)
		c->bits[i] = ~(i < b->n ? b->v[i] : 0);
	c->block = c->row = 0;
	c->life = s->life;
	c->sealed = s->sealed;
}

struct mbox_candidates *mbox_search_ask_begin(struct mbox_view *v, enum mbox_search_kind kind, const struct str *needles, size_t n, struct arena *a)
{
	const struct search *const s = &v->m->search;
	struct mbox_candidates *const c = ARENA_NEW(a, struct mbox_candidates);

	if (c == NULL)
		return NULL;
	question_of(&c->q, needles, n);
	if (c->q.n == 0 || (s->n_blocks == 0 && s->n_rows == 0))
		return NULL;
	c->kind = kind;
	c->n = state_count(&v->m->st);
	if ((c->bits = ARENA_ARRAY(a, uint64_t, (size_t)c->n / 64 + 1)) == NULL)
		return NULL;
	begin(s, c);
	return c;
}

static void ask_blocks(struct search *s, const struct state *st, struct mbox_candidates *c)
{
	for (unsigned n = 0; n < ASK_BLOCKS && c->block < s->n_blocks; c->block++) {
		if (s->blocks[c->block].kind != c->kind)
			continue;
		ask_block(s, st, &s->blocks[c->block], &c->q, c);
		n++;
	}
}

static void ask_rows(struct search *s, const struct state *st, struct mbox_candidates *c)
{
	uint32_t hint = 0;

	for (unsigned n = 0; n < ASK_ROWS && c->row < s->n_rows; n++, c->row++) {
		const struct search_row *const r = &s->rows[c->row];
		if (r->kind == c->kind && row_fits(s, r, &c->q))
			put(c, search_pos(st, r->uid, &hint));
	}
}

bool mbox_search_ask_step(struct mbox_view *v, struct mbox_candidates *c)
{
	struct search *const s = &v->m->search;

	if (c->life != s->life) {	/* another index, or none: then all are candidates */
		if (!mbox_search_load(v))
			return true;
		begin(s, c);
	}
	if (c->sealed != s->sealed) {	/* rows became a block, and others have moved up */
		c->sealed = s->sealed;
		c->row = 0;
	}
	if (c->block < s->n_blocks)
		ask_blocks(s, &v->m->st, c);
	else
		ask_rows(s, &v->m->st, c);
	if (grow_hit(&s->file[SEARCH_BLOCKS]) || grow_hit(&s->file[SEARCH_LOG])) {	/* cut short under us: what was read is not true */
		search_drop(v->m);
		return true;
	}
	return c->block < s->n_blocks || c->row < s->n_rows;
}

static bool may(const struct mbox_candidates *c, uint32_t pos)
{
	return pos >= c->n || (c->bits[pos / 64] >> (pos % 64) & 1);
}

bool mbox_search_may(const struct mbox_candidates *c, const struct mbox_view *v, uint32_t seq)
{
	return may(c, view_pos(v, seq));
}

uint32_t mbox_search_next(const struct mbox_candidates *c, const struct mbox_view *v, uint32_t seq)
{
	uint32_t pos = view_pos(v, seq);

	while (pos < v->limit) {
		const uint64_t w = pos < c->n ? c->bits[pos / 64] >> (pos % 64) : 1;
		if (w == 0) {
			pos = (pos / 64 + 1) * 64;
			continue;
		}
		pos += (uint32_t)__builtin_ctzll(w);
		if (pos < v->limit && (seq = view_seq(v, pos)) != 0)
			return seq;
		pos++;
	}
	return 0;
}

void mbox_search_and(struct mbox_candidates *c, const struct mbox_candidates *other)
{
	for (size_t i = 0; i <= c->n / 64; i++)
		c->bits[i] &= i <= other->n / 64 ? other->bits[i] : UINT64_MAX;
}

/* --- learning --- */

/* Kept from message to message. */
static struct signer *signer(struct search *s)
{
	if (s->signer == NULL)
		s->signer = signer_new();
	return s->signer;
}

static void learn_head(struct mbox *m, uint32_t pos, struct str head)
{
	if (search_covers(&m->search, MBOX_SEARCH_HEAD, pos))
		return;
	search_add(m, pos, MBOX_SEARCH_HEAD, signer_head(signer(&m->search), head));
}

static void learn_text(struct mbox *m, uint32_t pos, struct msgfile *f)
{
	struct signer *const s = signer(&m->search);

	search_add(m, pos, MBOX_SEARCH_TEXT, signer_text(s, msgfile_head(f), msgfile_mime(f)));
	if (m->search.signer)	/* it has not been closed meanwhile */
		signer_rest(s);
}

bool mbox_search_knows(const struct mbox_view *v, uint32_t seq, enum mbox_search_kind kind)
{
	return search_covers(&v->m->search, kind, view_pos(v, seq));
}

void search_learn(struct mbox *m, uint32_t pos, struct msgfile *f)
{
	learn_head(m, pos, msgfile_head(f));
	if (!f->head_only && !search_covers(&m->search, MBOX_SEARCH_TEXT, pos))
		learn_text(m, pos, f);
}

bool mbox_search_learned(struct mbox_view *v, uint32_t seq, enum mbox_search_kind kind, const struct str *needles, size_t n)
{
	struct search *const s = &v->m->search;
	const struct search_row *const last = s->n_rows > 0 ? &s->rows[s->n_rows - 1] : NULL;
	struct question q;

	if (last == NULL || last->kind != kind || last->uid != mbox_view_uid(v, seq))
		return true;
	question_of(&q, needles, n);
	return row_fits(s, last, &q);
}

/* What the crew has signed of it (ahead.h). */
static void learn_signed(struct mbox_view *v, uint32_t seq, uint32_t pos)
{
	const struct ahead_item *const it = ahead_had(v, seq);

	for (unsigned kind = 0; it && kind < MBOX_SEARCH_KINDS; kind++)
		if (it->signature[kind].bits.n > 0 && !search_covers(&v->m->search, kind, pos))
			search_add_signed(v->m, pos, kind, it->signature[kind].class, buf_view(&it->signature[kind].bits));
}

void mbox_search_learn(struct mbox_view *v, uint32_t seq, struct msgfile *f)
{
	const uint32_t pos = view_pos(v, seq);

	if (pos == UINT32_MAX || !msgfile_is_open(f))
		return;
	learn_signed(v, seq, pos);
	search_learn(v->m, pos, f);
}

void mbox_search_learn_head(struct mbox_view *v, uint32_t seq, struct str head)
{
	const uint32_t pos = view_pos(v, seq);

	if (pos == UINT32_MAX)
		return;
	learn_signed(v, seq, pos);
	learn_head(v->m, pos, head);
}
