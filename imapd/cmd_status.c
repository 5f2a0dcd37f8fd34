/* STATUS (RFC 3501 section 6.3.10); the items are status.def. */
#include "imap/out.h"
#include "opening.h"

enum {
#define STATUS_ITEM(id, name, field, source) ITEM_##id,
#include "status.def"
#undef STATUS_ITEM
	ITEM_MAX_,
	/* those that mbox_status does not know */
	ITEM_MAILBOXID = ITEM_MAX_,	/* RFC 8474 4.3 */
	ITEM_APPENDLIMIT,		/* RFC 7889 3 */
	ITEM_DELETED_STORAGE,		/* RFC 9208 4.1.4 */
	ITEM_ALL_
};

static const char *const names[ITEM_ALL_] = {
	[ITEM_MAILBOXID] = "MAILBOXID",
	[ITEM_APPENDLIMIT] = "APPENDLIMIT",
	[ITEM_DELETED_STORAGE] = "DELETED-STORAGE",
#define STATUS_ITEM(id, name, field, source) [ITEM_##id] = name,
#include "status.def"
#undef STATUS_ITEM
};

static uint64_t value(const struct mbox_status *st, unsigned item)
{
	switch (item) {
#define STATUS_ITEM(id, name, field, source) \
	case ITEM_##id: \
		return st->field;
#include "status.def"
#undef STATUS_ITEM
	default:
		return 0;
	}
}

int status_items_get(struct imap_lex *l, uint32_t *items_out, struct err *e)
{
	uint32_t items = 0;
	struct str word;

	if (imap_get_char(l, '(', e) < 0)
		return -1;
	while (!imap_try(l, ')')) {
		unsigned i = 0;

		while (imap_try(l, ' '))
			;
		if (imap_try(l, ')'))
			break;
		if (imap_get_atom(l, &word, e) < 0)
			return -1;
		while (i < ITEM_ALL_ && !str_case_eq(word, str_c(names[i])))
			i++;
		if (i == ITEM_ALL_)
			return err_set(e, ERR_INPUT, 0, "unknown STATUS item");
		items |= 1u << i;
	}
	if (items == 0)
		return err_set(e, ERR_INPUT, 0, "no STATUS items");
	*items_out = items;
	return 0;
}

void status_items_format(struct buf *out, uint32_t items)
{
	const char *sep = "";

	for (unsigned i = 0; i < ITEM_ALL_; i++) {
		if (!(items & 1u << i))
			continue;
		buf_printf(out, "%s%s", sep, names[i]);
		sep = " ";
	}
}

/* Bytes that an EXPUNGE would free. */
static uint64_t deleted_bytes(struct mbox *m, uint32_t deleted)
{
	struct mbox_view *v = mbox_view_peek(m);
	uint64_t bytes = 0;
	struct mbox_msg msg;

	for (uint32_t seq = 1; deleted && seq <= mbox_view_count(v); seq++) {
		if (mbox_msg_get(v, seq, &msg, NULL) < 0 || !(msg.flags & MBOX_DELETED))
			continue;
		bytes += msg.size;
		deleted--;
	}
	mbox_view_free(&v);
	return bytes;
}

static void other_items(struct client *c, struct buf *out, struct mbox *m, uint32_t items, const struct mbox_status *st, const char *sep)
{
	if (items & 1u << ITEM_MAILBOXID) {
		buf_c(out, sep);
		mailboxid_put(out, "MAILBOXID (", m, ")");
		sep = " ";
	}
	if (items & 1u << ITEM_APPENDLIMIT) {
		buf_printf(out, "%sAPPENDLIMIT %llu", sep, (unsigned long long)c->user->conf->message_size_limit);
		sep = " ";
	}
	if (items & 1u << ITEM_DELETED_STORAGE)
		buf_printf(out, "%sDELETED-STORAGE %llu", sep, (unsigned long long)((deleted_bytes(m, st->deleted) + 1023) / 1024));
}

int status_put(struct client *c, struct str name, uint32_t items, struct err *e)
{
	struct mbox_status st;
	const char *sep = "";
	struct buf *out;
	struct mbox *m;

	if (mbox_open(c->user->store, name, &m, e) < 0)
		return -1;
	if (mbox_status(m, &st, e) < 0) {
		mbox_close(&m);
		return -1;
	}
	st.unseen = mbox_unseen(m, client_reader(c));
	out = resp(c);
	buf_c(out, "* STATUS ");
	client_put_mailbox(c, out, name);
	buf_c(out, " (");
	for (unsigned i = 0; i < ITEM_MAX_; i++) {
		if (!(items & 1u << i))
			continue;
		buf_printf(out, "%s%s %llu", sep, names[i], (unsigned long long)value(&st, i));
		sep = " ";
	}
	other_items(c, out, m, items, &st, sep);
	buf_c(out, ")\r\n");
	mbox_close(&m);
	return 0;
}

static enum cmd_result opened(struct client *c, struct str name, void *ctx, struct err *e)
{
	const uint32_t *items = ctx;

	return status_put(c, name, *items, e) < 0 ? store_no(c, e, false) : CMD_OK;
}

enum cmd_result cmd_STATUS(struct client *c, struct imap_lex *l, struct err *e)
{
	uint32_t *items = ARENA_NEW(c->arena, uint32_t);
	struct str wire, name;
	enum cmd_result r;

	if (imap_get_sp(l, e) < 0 || imap_get_mailbox(l, &wire, e) < 0 || imap_get_sp(l, e) < 0 || status_items_get(l, items, e) < 0 ||
	    imap_get_end(l, e) < 0)
		return CMD_BAD;
	if ((r = name_take(c, wire, &name, e)) != CMD_OK)
		return r;
	if ((r = may(c, name, ACL_R, false, e)) != CMD_OK)
		return r;
	if (*items & 1u << ITEM_HIGHESTMODSEQ)
		condstore_enable(c);
	return opening(c, name, false, opened, items, e);
}
