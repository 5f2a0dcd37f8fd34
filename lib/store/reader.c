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
	v->reader_looked = SIZE_MAX;
}

void mbox_view_readers(struct mbox_view *v)
{
	v->all_readers = true;
}

/* Numbers of keywords hold, but for a state that another process has made anew. */
int view_reader(struct mbox_view *v)
{
	const struct state *const st = &v->m->st;
	const bool known = v->reader_id >= 0 ? (size_t)v->reader_id < st->n_keywords && strcmp(st->keywords[v->reader_id], v->reader) == 0
					     : v->reader_looked == st->n_keywords;

	if (!known) {
		v->reader_id = state_keyword(st, str_c(v->reader));
		v->reader_looked = st->n_keywords;
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
		const uint16_t id = k->ids[i];
		if (id == own)
			out->flags |= MBOX_SEEN;
		else if (id < st->n_keywords && (v->all_readers || !mbox_keyword_hidden(st->keywords[id])))
			out->keywords[id / 64] |= UINT64_C(1) << (id % 64);
	}
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

int reader_room(const struct mbox *m, struct err *e)
{
	size_t n = 0;

	for (size_t i = 0; i < m->st.n_keywords; i++)
		n += mbox_keyword_hidden(m->st.keywords[i]);
	return n < STORE_READERS_MAX ? 0 : err_set(e, ERR_LIMIT, 0, "more than %d readers of the folder", STORE_READERS_MAX);
}

/* --- who is a reader no more --- */

static bool has_any(const struct state *st, uint16_t id)
{
	for (uint32_t pos = 0; pos < state_count(st); pos++) {
		const struct rec *const r = state_rec(st, pos);
		if (!(r->state & REC_GONE) && has_keyword(st, r, id))
			return true;
	}
	return false;
}

int mbox_readers_prune(struct mbox *m, const struct acl_entry *list, struct err *e)
{
	static const struct range all = { 1, UID_MAX };
	uint16_t ids[STORE_KEYWORDS_MAX];
	struct buf ops;
	size_t n = 0;
	int r = 0;

	if (mbox_lock(m, e) < 0)
		return -1;
	for (size_t i = 0; i < m->st.n_keywords; i++) {
		const char *const name = m->st.keywords[i];
		if (mbox_keyword_hidden(name) && !(acl_rights_of(list, str_c(name + sizeof(MARK) - 1)) & ACL_R) && has_any(&m->st, (uint16_t)i))
			ids[n++] = (uint16_t)i;
	}
	buf_init(&ops, BATCH_MAX);
	for (size_t i = 0; i < n; i++)
		op_flags(&ops, MBOX_REMOVE, 0, &ids[i], 1, &all, 1);
	if (n > 0)
		r = mbox_commit(m, &ops, DURABLE_NOW, e);
	buf_fini(&ops);
	mbox_unlock_folder(m);
	return r;
}
