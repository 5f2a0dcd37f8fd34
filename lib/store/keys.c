/* Messages and their keys: rows of the file by place, and for THREAD those in memory of messages that the file does not have. */
#include <stdlib.h>
#include <unistd.h>

#include "base/num.h"
#include "store/keys_priv.h"
#include "store/summary.h"

enum { PLACES_BATCH = 8192 };

/* --- numbers for texts --- */

void texts_init(struct texts *t)
{
	*t = (struct texts){ .key = str_hash_key(), .a = arena_new(0) };
	ids_init(&t->ids, 0);
}

void texts_fini(struct texts *t)
{
	ids_fini(&t->ids);
	free(t->v);
	arena_free(&t->a);
}

uint32_t texts_number(struct texts *t, struct str text)
{
	const uint32_t before = t->ids.n, number = text.n ? ids_number(&t->ids, str_hash_by(&t->key, text)) : 0;

	if (number <= before)
		return number && str_eq(t->v[number], text) ? number : 0;
	if (number >= t->cap) {
		t->cap = t->cap * 2 + 256;
		t->v = xrealloc(t->v, t->cap * sizeof(*t->v));
	}
	t->v[number] = arena_str(t->a, text);
	return number;
}

/* --- life --- */

static uint64_t next_stamp(void)
{
	static uint64_t stamp;

	return ++stamp;
}

static void memory_init(struct keys *k)
{
	ids_init(&k->ids, 0);
	texts_init(&k->subjects);
	k->stamp = next_stamp();
}

static void memory_fini(struct keys *k)
{
	ids_fini(&k->ids);
	texts_fini(&k->subjects);
	free(k->rows);
	free(k->refs);
	k->rows = NULL;
	k->refs = NULL;
	k->n_rows = k->cap_rows = k->n_refs = k->cap_refs = 0;
}

struct keys *keys_new(void)
{
	struct keys *const k = xzalloc(sizeof(*k));

	memory_init(k);
	return k;
}

void keys_free(struct keys **kp)
{
	struct keys *const k = *kp;

	*kp = NULL;
	if (k == NULL)
		return;
	keys_writer_free(&k->writer);
	memory_fini(k);
	keys_file_close(&k->file);
	free(k->row_of);
	free(k);
}

/* Numbers in memory go on from those of the file: they go with it. */
void keys_drop(struct mbox *m, bool unlink_it)
{
	struct keys *const k = m->keys;

	if (unlink_it)
		(void)unlinkat(m->dirfd, KEYS_NAME, 0);
	keys_file_close(&k->file);
	memory_fini(k);
	memory_init(k);
	free(k->row_of);
	k->row_of = NULL;
	k->n_row_of = k->placed = k->row = k->places = 0;
	k->all_placed = k->looked = false;
}

static void rows_forget(struct keys *k)
{
	memory_fini(k);
	memory_init(k);
	for (uint32_t i = 0; i < k->n_row_of; i++)
		if (k->row_of[i] > k->file.has.rows)
			k->row_of[i] = 0;
}

void mbox_thread_done(struct mbox *m)
{
	struct keys *const k = m->keys;
	const size_t text = arena_used(k->subjects.a) + k->subjects.cap * sizeof(*k->subjects.v);

	if (text + k->cap_rows * sizeof(*k->rows) + k->cap_refs * sizeof(*k->refs) + k->ids.cap * (sizeof(*k->ids.v) + 4 * sizeof(*k->ids.slots)) > KEYS_MEMORY_MAX)
		rows_forget(k);
}

/* --- the file --- */

static void room(struct keys *k, uint32_t places)
{
	if (places <= k->n_row_of)
		return;
	const uint32_t n = places + places / 8 + 64;
	k->row_of = xrealloc(k->row_of, n * sizeof(*k->row_of));
	memset(k->row_of + k->n_row_of, 0, (n - k->n_row_of) * sizeof(*k->row_of));
	k->n_row_of = n;
}

static unsigned sections_of(unsigned what)
{
	unsigned s = 1 << KEYS_UID | (what & ((1 << MBOX_KEYS) - 1)) << KEYS_RANK;

	if (what & MBOX_KEYS_SENT)
		s |= 1 << KEYS_SENT;
	if (what & MBOX_KEYS_THREAD)
		s |= 1 << KEYS_SENT | 1 << (KEYS_RANK + MBOX_KEY_SUBJECT) | 1 << KEYS_ID | 1 << KEYS_REF_AT | 1 << KEYS_REFS | 1 << KEYS_IDS | 1 << KEYS_SLOTS |
		     1 << KEYS_SUBJECTS;
	return s;
}

/* Both are in the order of UIDs. 1: more to do; 0 done; -1 a message is missing in the file, which should have it. */
static int place_some(struct mbox *m)
{
	struct keys *const k = m->keys;
	const uint32_t n = state_count(&m->st), rows = k->file.has.rows, last = rows ? keys_u32(&k->file, KEYS_UID, rows - 1) : 0;

	room(k, n);
	for (unsigned i = 0; i < PLACES_BATCH && k->placed < n; i++, k->placed++) {
		const struct rec *const r = state_rec(&m->st, k->placed);

		if (r->uid > last) {
			k->places = k->placed;
			return 0;
		}
		while (k->row < rows && keys_u32(&k->file, KEYS_UID, k->row) < r->uid)
			k->row++;
		if (k->row < rows && keys_u32(&k->file, KEYS_UID, k->row) == r->uid)
			k->row_of[k->placed] = ++k->row;
		else if (!(r->state & REC_GONE))
			return -1;
	}
	k->places = k->placed;
	return k->placed < n;
}

void keys_look(struct mbox *m)
{
	struct keys *const k = m->keys;

	if (!k->looked && keys_file_open(&k->file, m))
		rows_forget(k);		/* made before there was the file */
	k->looked = true;
}

static int load_some(struct mbox *m, unsigned what)
{
	struct keys *const k = m->keys;
	int r;

	keys_look(m);
	if (k->file.p == NULL)
		return 0;
	if ((r = keys_file_verify(&k->file, sections_of(what))) == 0 && !k->all_placed && (r = place_some(m)) == 0)
		k->all_placed = true;
	return r;
}

bool mbox_keys_load(struct mbox *m, unsigned what)
{
	const int r = load_some(m, what);

	if (r < 0) {
		keys_drop(m, true);
		m->keys->looked = true;
	}
	return r > 0;
}

uint32_t mbox_keys_places(const struct mbox *m)
{
	return m->keys->all_placed ? m->keys->places : 0;
}

bool mbox_keys_intact(struct mbox *m)
{
	if (m->keys->file.p == NULL || !guard_hit(m->keys->file.p))
		return true;
	keys_drop(m, true);
	return false;
}

uint32_t keys_uncovered(const struct mbox *m)
{
	const struct keys *const k = m->keys;
	const uint32_t rows = k->file.has.rows, n = m->st.messages;

	if (k->file.p == NULL || rows == 0)
		return n;
	/* Rows whose messages have gone weigh like messages without a row. */
	const uint32_t behind = state_count(&m->st) - state_lower(&m->st, keys_u32(&k->file, KEYS_UID, rows - 1) + 1);
	return behind + (rows > 2 * (uint64_t)n ? rows : 0);
}

int64_t mbox_keys_sent(const struct mbox *m, uint32_t place)
{
	const struct keys_file *const f = &m->keys->file;
	const uint32_t row = place < m->keys->n_row_of ? m->keys->row_of[place] : 0;

	return row && row <= f->has.rows ? ((const int64_t *)(const void *)f->at[KEYS_SENT])[row - 1] : INT64_MIN;
}

uint32_t mbox_keys_rank(const struct mbox *m, uint32_t place, enum mbox_key key)
{
	const struct keys_file *const f = &m->keys->file;
	const uint32_t row = place < m->keys->n_row_of ? m->keys->row_of[place] : 0;

	return row && row <= f->has.rows ? keys_u32(f, KEYS_RANK + key, row - 1) : 0;
}

/* --- THREAD: messages that the file does not have --- */

/* The subject's rank in the file, 0: it is not there; -1: nobody can say. */
static int rank_find(struct mbox *m, struct str subject, uint32_t *out)
{
	const struct keys_file *const f = &m->keys->file;
	uint32_t lo = 1, hi = f->p ? f->has.texts[MBOX_KEY_SUBJECT] + 1 : 1;

	*out = 0;
	while (lo < hi) {
		const uint32_t mid = lo + (hi - lo) / 2, row = keys_u32(f, KEYS_SUBJECTS, mid);
		struct mbox_summary s;
		struct str blob;

		if (row >= f->has.rows || cache_peek(m, keys_u32(f, KEYS_UID, row), MBOX_CACHE_SUMMARY, &blob) != 0 || summary_parse(blob, &s) < 0)
			return -1;
		const int cmp = str_cmp(subject, s.base_subject);
		if (cmp == 0) {
			*out = mid;
			return 0;
		}
		if (cmp < 0)
			hi = mid;
		else
			lo = mid + 1;
	}
	return 0;
}

static int subject_number(struct mbox *m, struct str subject, uint32_t *out)
{
	struct keys *const k = m->keys;
	const uint32_t known = k->file.p ? k->file.has.texts[MBOX_KEY_SUBJECT] : 0;

	*out = 0;
	if (subject.n == 0)
		return 0;
	if (known && rank_find(m, subject, out) < 0)
		return -1;
	if (*out == 0 && (*out = texts_number(&k->subjects, subject)) != 0)
		*out += known;
	return 0;
}

static uint32_t id_number(struct keys *k, uint64_t id)
{
	uint32_t n = id ? ids_find(&k->file.ids, id) : 0;

	if (id && n == 0 && (n = ids_number(&k->ids, id)) != 0)
		n += k->file.has.ids;
	return n;
}

static void put_refs(struct keys *k, struct keys_row *r, const struct mbox_summary *s)
{
	if (k->n_refs + s->n_refs > k->cap_refs) {
		k->cap_refs = k->cap_refs * 2 + 1024;
		k->refs = xrealloc(k->refs, k->cap_refs * sizeof(*k->refs));
	}
	r->refs_at = k->n_refs;
	for (size_t i = 0; i < s->n_refs; i++)
		if ((k->refs[k->n_refs] = id_number(k, summary_ref(s, i))) != 0)
			k->n_refs++;
	r->n_refs = k->n_refs - r->refs_at;
}

static int row_make(struct mbox *m, struct keys_row *r, const struct mbox_summary *s)
{
	struct keys *const k = m->keys;
	char subject[SUMMARY_KEY_MAX];
	const size_t n = s->base_subject.n < sizeof(subject) ? s->base_subject.n : sizeof(subject);

	*r = (struct keys_row){ .sent = s->sent, .id = id_number(k, s->msgid), .reply = s->reply };
	put_refs(k, r, s);
	if (n)
		memcpy(subject, s->base_subject.p, n);	/* others' summaries are looked at */
	return subject_number(m, str_n(subject, n), &r->subject);
}

static struct keys_row *row_at(struct keys *k, uint32_t pos)
{
	const uint32_t rows = k->file.has.rows;

	if (pos >= k->n_row_of || k->row_of[pos] <= rows || k->row_of[pos] - rows > k->n_rows)
		return NULL;
	return &k->rows[k->row_of[pos] - rows - 1];
}

static struct keys_row *row_new(struct keys *k, uint32_t pos)
{
	room(k, pos + 1);
	if (k->n_rows == k->cap_rows) {
		k->cap_rows = k->cap_rows * 2 + 256;
		k->rows = xrealloc(k->rows, k->cap_rows * sizeof(*k->rows));
	}
	k->row_of[pos] = k->file.has.rows + ++k->n_rows;
	return &k->rows[k->n_rows - 1];
}

int mbox_thread_look(struct mbox_view *v, uint32_t seq, struct err *e)
{
	struct mbox *const m = v->m;
	struct keys *const k = m->keys;
	const uint32_t pos = view_pos(v, seq);
	struct keys_row *row = row_at(k, pos);
	struct mbox_summary s;

	if (pos == UINT32_MAX)
		return err_set(e, ERR_NOENT, 0, "no message %u", seq);
	if ((row && !row->unread) || (pos < k->n_row_of && k->row_of[pos] && !row))
		return 0;
	const int r = mbox_summary_get(v, seq, &s, e);
	if (row == NULL)
		row = row_new(k, pos);
	if (r < 0) {
		*row = (struct keys_row){ .sent = INT64_MIN, .unread = true };
		return -1;
	}
	if (row_make(m, row, &s) == 0)
		return 0;
	keys_drop(m, true);	/* the cache does not have what the file was made of */
	k->looked = true;
	return mbox_thread_look(v, seq, e);
}

static void get_filed(const struct keys_file *f, uint32_t row, struct mbox_thread_keys *out)
{
	const uint32_t id = keys_u32(f, KEYS_ID, row), from = keys_u32(f, KEYS_REF_AT, row), to = keys_u32(f, KEYS_REF_AT, row + 1);

	out->sent = ((const int64_t *)(const void *)f->at[KEYS_SENT])[row];
	out->id = id & ~(uint32_t)KEYS_REPLY;
	out->reply = id & KEYS_REPLY;
	out->subject = keys_u32(f, KEYS_RANK + MBOX_KEY_SUBJECT, row);
	if (from <= to && to <= f->has.refs) {
		out->refs = (const uint32_t *)(const void *)f->at[KEYS_REFS] + from;
		out->n_refs = to - from;
	}
}

void mbox_thread_get(struct mbox_view *v, uint32_t seq, struct mbox_thread_keys *out)
{
	struct keys *const k = v->m->keys;
	const uint32_t pos = view_pos(v, seq);
	const struct keys_row *const r = row_at(k, pos);

	*out = (struct mbox_thread_keys){ .sent = INT64_MIN };
	if (r)
		*out = (struct mbox_thread_keys){ .sent = r->sent, .id = r->id, .subject = r->subject, .reply = r->reply, .n_refs = r->n_refs,
			.refs = r->n_refs ? k->refs + r->refs_at : NULL };
	else if (pos < k->n_row_of && k->row_of[pos] && k->row_of[pos] <= k->file.has.rows)
		get_filed(&k->file, k->row_of[pos] - 1, out);
}

struct mbox_thread_numbers mbox_thread_numbers(struct mbox *m)
{
	const struct keys *const k = m->keys;

	return (struct mbox_thread_numbers){ .ids = k->file.has.ids + k->ids.n, .subjects = k->file.has.texts[MBOX_KEY_SUBJECT] + k->subjects.ids.n, .stamp = k->stamp };
}
