/* Readers of a shared folder, each with a \Seen of their own. It is a keyword of the folder that no client can name, "(seen)" and the reader's name: so it is
 * as durable as any flag, goes with the message, has mod-sequences and reaches all processes. A view of a reader shows it as \Seen (view_shown) and changes
 * it when \Seen is changed (flags.c); other views are not told of it. */
#include <stdlib.h>
#include <string.h>

#include "store/acl.h"
#include "store/store_priv.h"

static const char MARK[] = KEYWORD_HIDDEN;

char *reader_keyword(const char *reader)
{
	const size_t n = strlen(reader);
	char *const name = xmalloc(sizeof(MARK) + n);

	memcpy(name, MARK, sizeof(MARK) - 1);
	for (size_t i = 0; i <= n; i++)
		name[sizeof(MARK) - 1 + i] = ch_lower(reader[i]);
	return name;
}

void mbox_view_reader(struct mbox_view *v, const char *reader)
{
	free(v->reader);
	v->reader = reader ? reader_keyword(reader) : NULL;
	v->reader_id = -1;
	v->reader_stamp = UINT64_MAX;
}

void mbox_view_readers(struct mbox_view *v)
{
	v->all_readers = true;
}

int view_reader(struct mbox_view *v)
{
	const struct state *const st = &v->m->st;

	if (v->reader_stamp != st->keywords_stamp) {
		v->reader_id = state_keyword(st, str_c(v->reader));
		v->reader_stamp = st->keywords_stamp;
	}
	return v->reader_id;
}

static bool has_keyword(const struct state *st, const struct rec *r, int id)
{
	const struct kwset *const k = state_kwset_get(st, r);

	for (size_t i = 0; i < k->n; i++)
		if (k->ids[i] == id)
			return true;
	return false;
}

void view_shown(struct mbox_view *v, const struct rec *r, struct mbox_msg *out)
{
	const struct state *const st = &v->m->st;
	const struct kwset *const k = state_kwset_get(st, r);
	const int own = v->reader ? view_reader(v) : -1;

	out->flags = r->flags;
	if (v->reader)
		out->flags &= ~(uint32_t)MBOX_SEEN;
	memset(out->keywords, 0, sizeof(out->keywords));
	for (size_t i = 0; i < k->n; i++) {
		out->keywords[k->ids[i] / 64] |= UINT64_C(1) << (k->ids[i] % 64);
		if (k->ids[i] == own)
			out->flags |= MBOX_SEEN;
	}
	for (size_t w = 0; st->n_hidden > 0 && !v->all_readers && w < ARRAY_LEN(out->keywords); w++)
		out->keywords[w] &= ~st->hidden[w];
}

uint32_t mbox_unseen(struct mbox *m, const char *reader)
{
	uint32_t n = 0;

	if (!reader)
		return m->st.unseen;
	char *const name = reader_keyword(reader);
	const int id = state_keyword(&m->st, str_c(name));

	free(name);
	if (id < 0)
		return m->st.messages;
	for (uint32_t pos = 0; pos < state_count(&m->st); pos++) {
		const struct rec *const r = state_rec(&m->st, pos);
		n += !(r->state & REC_GONE) && !has_keyword(&m->st, r, id);
	}
	return n;
}

bool reader_room(const struct mbox *m, struct str keyword)
{
	size_t n = m->st.n_hidden;

	for (size_t i = 0; i < m->n_pending_kw; i++)
		n += mbox_keyword_hidden(m->pending_kw[i]);
	return n < STORE_READERS_MAX && keyword.n <= STORE_KEYWORD_NAME_MAX && m->st.n_keywords + m->n_pending_kw < STORE_KEYWORDS_MAX;
}

/* --- who is a reader no more --- */

/* Only messages that bear it change. */
static void forget(const struct state *st, uint16_t id, struct buf *ops)
{
	struct ranges rs = { 0 };

	for (uint32_t pos = 0; pos < state_count(st); pos++) {
		const struct rec *const r = state_rec(st, pos);
		if (!(r->state & REC_GONE) && has_keyword(st, r, id))
			ranges_add(&rs, pos, r->uid);
	}
	if (rs.n > 0)
		op_flags(ops, MBOX_REMOVE, 0, &id, 1, rs.v, rs.n);
	free(rs.v);
}

int mbox_readers_prune(struct mbox *m, const struct acl_entry *list, struct err *e)
{
	struct buf ops;
	int r = 0;

	if (mbox_lock(m, e) < 0)
		return -1;
	buf_init(&ops, BATCH_MAX);
	for (size_t i = 0; m->st.n_hidden > 0 && i < m->st.n_keywords; i++)
		if (state_is_hidden(&m->st, i) && !(acl_rights_of(list, str_c(m->st.keywords[i] + sizeof(MARK) - 1)) & ACL_R))
			forget(&m->st, (uint16_t)i, &ops);
	if (ops.n > 0)
		r = mbox_commit(m, &ops, DURABLE_NOW, e);
	buf_fini(&ops);
	mbox_unlock_folder(m);
	return r;
}
