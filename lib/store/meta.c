/* Annotations of folders and of the account (IMAP METADATA, RFC 5464): a small file beside the mail, replaced as a whole.
 *
 *   postern.metadata in a folder, postern.servermeta in the root: "1 <entries>\n", then per entry "<name bytes> <value bytes>\n<name><value>\n".
 *
 * It moves with its folder and goes with it. A damaged file is refused, never overwritten. */
#include <errno.h>

#include "base/num.h"
#include "os/os.h"
#include "store/store_priv.h"

#define META_NAME "postern.metadata"
#define SERVERMETA_NAME "postern.servermeta"

static const char *file_name(bool server)
{
	return server ? SERVERMETA_NAME : META_NAME;
}

static bool number(struct str *s, char end, uint64_t max, uint64_t *out)
{
	if (num_take(s, max, out) < 0 || s->n == 0 || s->p[0] != end)
		return false;
	*s = str_from(*s, 1);
	return true;
}

int meta_parse(struct arena *a, struct str s, struct mbox_meta **list_out, struct err *e)
{
	struct mbox_meta *list = NULL, **tail = &list;
	uint64_t n, name, value;

	if (!str_starts(s, STR("1 ")))
		return err_set(e, ERR_TEMP, 0, "the file of annotations is damaged");
	s = str_from(s, 2);
	if (!number(&s, '\n', STORE_META_ENTRIES_MAX, &n))
		return err_set(e, ERR_TEMP, 0, "the file of annotations is damaged");
	while (n-- > 0) {
		struct mbox_meta *m;

		if (!number(&s, ' ', STORE_META_NAME_MAX, &name) || !number(&s, '\n', STORE_META_VALUE_MAX, &value) || s.n < name + value + 1 ||
		    s.p[name + value] != '\n' || (m = ARENA_NEW(a, struct mbox_meta)) == NULL)
			return err_set(e, ERR_TEMP, 0, "the file of annotations is damaged");
		m->name = arena_str(a, str_sub(s, 0, name));
		m->value = arena_str(a, str_sub(s, name, value));
		*tail = m;
		tail = &m->next;
		s = str_from(s, name + value + 1);
	}
	*list_out = list;
	return s.n ? err_set(e, ERR_TEMP, 0, "the file of annotations is damaged") : 0;
}

int mbox_meta_get(struct mbox *m, bool server, struct arena *a, struct mbox_meta **list_out, struct err *e)
{
	struct err one = { 0 };
	struct buf b;
	int r = 0;

	*list_out = NULL;
	buf_init(&b, STORE_META_FILE_MAX);
	if (file_read_at(m->dirfd, file_name(server), STORE_META_FILE_MAX, &b, &one) == 0)
		r = meta_parse(a, buf_view(&b), list_out, e);
	else if (one.code != ERR_NOENT && one.sys != ENOENT)
		r = err_set(e, ERR_TEMP, one.sys, "annotations: %s", one.text);
	buf_fini(&b);
	return r;
}

static size_t count(const struct mbox_meta *l)
{
	size_t n = 0;

	for (; l; l = l->next)
		n += l->value.p != NULL;
	return n;
}

/* Set or remove one entry of the list. */
static void change(struct arena *a, struct mbox_meta **list, const struct mbox_meta *to)
{
	for (; *list; list = &(*list)->next) {
		if (str_case_eq((*list)->name, to->name)) {
			(*list)->value = to->value;
			return;
		}
	}
	*list = ARENA_NEW(a, struct mbox_meta);
	**list = (struct mbox_meta){ .name = to->name, .value = to->value };
}

/* The mailbox has changed, though no message has (RFC 7162 3.2). */
static int raise_modseq(struct mbox *m, struct err *e)
{
	struct buf ops;
	int r;

	buf_init(&ops, 64);
	op_reserve(&ops, m->st.reserved);	/* as it is: the batch's mod-sequence is the news */
	r = mbox_commit(m, &ops, DURABLE_LATER, e);
	buf_fini(&ops);
	return r;
}

int mbox_meta_set(struct mbox *m, bool server, struct arena *a, const struct mbox_meta *changes, struct err *e)
{
	struct mbox_meta *list;
	struct buf b;
	int r;

	if (mbox_lock(m, e) < 0)
		return -1;
	buf_init(&b, STORE_META_FILE_MAX);
	r = mbox_meta_get(m, server, a, &list, e);
	for (; r == 0 && changes; changes = changes->next)
		change(a, &list, changes);
	if (r == 0 && count(list) > STORE_META_ENTRIES_MAX)
		r = err_set(e, ERR_LIMIT, 0, "more than %d annotations", STORE_META_ENTRIES_MAX);
	if (r == 0) {
		buf_printf(&b, "1 %zu\n", count(list));
		for (; list; list = list->next) {
			if (!list->value.p)
				continue;
			buf_printf(&b, "%zu %zu\n", list->name.n, list->value.n);
			buf_str(&b, list->name);
			buf_str(&b, list->value);
			buf_ch(&b, '\n');
		}
		r = buf_check(&b, "annotations", e);
	}
	if (r == 0 && !server)
		r = raise_modseq(m, e);
	if (r == 0)
		r = file_replace_at(m->dirfd, file_name(server), buf_view(&b), 0600, e);
	buf_fini(&b);
	mbox_unlock_folder(m);
	return r;
}
