/* The maildrop: INBOX as it was at login. Its messages stay numbered and readable until the end, whatever other sessions do (RFC 1939 5); marks are kept
 * here, and only QUIT carries them out: one journal record removes all marked messages or none. */
#include <stdio.h>
#include <stdlib.h>

#include "base/arena.h"
#include "log/log.h"
#include "session.h"

/* Messages with a saved order (Dovecot's O) first, by it; the others by UID, as they stand. */
struct ordered {
	uint32_t seq, order;
};

static int order_cmp(const void *pa, const void *pb)
{
	const struct ordered *const a = pa, *const b = pb;

	if (a->order != b->order)
		return a->order == 0 ? 1 : b->order == 0 ? -1 : a->order < b->order ? -1 : 1;
	return a->seq < b->seq ? -1 : 1;
}

/* Where no message has an order of its own the numbers are the view's: a hundred thousand are not looked at for that. */
static void number(struct client *c)
{
	if (!mbox_pop3_any(c->m))
		return;
	struct ordered *const v = xzalloc(((size_t)c->n + 1) * sizeof(*v));

	for (uint32_t i = 0; i < c->n; i++)
		v[i] = (struct ordered){ i + 1, mbox_msg_pop3_order(c->v, i + 1) };
	qsort(v, c->n, sizeof(*v), order_cmp);
	c->seqs = xzalloc(((size_t)c->n + 1) * sizeof(*c->seqs));
	for (uint32_t i = 0; i < c->n; i++)
		c->seqs[i] = v[i].seq;
	free(v);
}

/* The sizes' sum is known without a look at each message. */
static int measure(struct client *c, struct err *e)
{
	struct mbox_status st;

	if (mbox_status(c->m, &st, e) < 0)
		return -1;
	c->octets = st.size;
	return 0;
}

int drop_size(struct client *c, uint32_t index, uint64_t *out, struct err *e)
{
	uint64_t size = 0;

	if (c->sizes[index] == 0) {
		struct err one = { 0 };
		/* A file that another program has removed counts nothing, and is not in the sum. */
		if (mbox_msg_size(c->v, drop_seq(c, index), &size, &one) < 0 && one.code != ERR_NOENT) {
			*e = one;
			return -1;
		}
		c->sizes[index] = size + 1;
	}
	*out = c->sizes[index] - 1;
	return 0;
}

int drop_open(struct client *c, struct err *e)
{
	if (mbox_open(c->user->store, STR("INBOX"), &c->m, e) < 0)
		return -1;
	if (mbox_lock_exclusive(c->m, e) < 0) {
		mbox_close(&c->m);
		return -1;
	}
	c->v = mbox_view_new(c->m);
	c->n = c->left = mbox_view_count(c->v);
	c->sizes = xzalloc(((size_t)c->n + 1) * sizeof(*c->sizes));
	c->marks = xzalloc((size_t)c->n + 1);
	number(c);
	if (measure(c, e) < 0) {
		drop_close(c);
		return e->code == ERR_LIMIT ? err_set(e, ERR_TEMP, 0, "%s", "too many open files") : -1;
	}
	return 0;
}

void drop_close(struct client *c)
{
	mbox_view_free(&c->v);
	if (c->m)
		mbox_unlock(c->m);
	mbox_close(&c->m);
}

/* Sequence numbers, ascending whatever the POP3 order is, of the messages whose marks are these. */
static size_t marked(const struct client *c, unsigned mask, unsigned marks, uint32_t *seqs)
{
	unsigned char *const by_seq = xzalloc((size_t)c->n + 2);
	size_t n = 0;

	for (uint32_t i = 0; i < c->n; i++)
		by_seq[drop_seq(c, i)] = (c->marks[i] & mask) == marks;
	for (uint32_t seq = 1; seq <= c->n; seq++)
		if (by_seq[seq])
			seqs[n++] = seq;
	free(by_seq);
	return n;
}

int drop_update(struct client *c, struct err *e)
{
	if (c->left == c->n && c->n_retr == 0)	/* nothing is marked */
		return 0;
	uint32_t *const seqs = xzalloc(((size_t)c->n + 1) * sizeof(*seqs));
	struct err seen = { 0 };
	size_t n = c->user->conf->pop3_mark_seen ? marked(c, DROP_DELETED | DROP_READ, DROP_READ, seqs) : 0;
	int r;

	/* No promise of POP3's: a failure is not the client's business. */
	if (n > 0 && mbox_store_flags(c->v, seqs, n, MBOX_ADD, MBOX_SEEN, NULL, 0, 0, NULL, NULL, &seen) < 0)
		log_warning("pop3(%s): marking as read: %s", c->user->name, seen.text);
	n = marked(c, DROP_DELETED, DROP_DELETED, seqs);
	r = n > 0 ? mbox_expunge(c->v, seqs, n, e) : 0;
	free(seqs);
	return r;
}

/* --- UIDL --- */

void drop_uidl(struct client *c, const struct uidl_form *form, uint32_t index, struct buf *out)
{
	const uint32_t seq = drop_seq(c, index);
	const char *const saved = mbox_msg_pop3_uidl(c->v, seq);
	const char *const format = c->user->conf->pop3_uidl_format;

	if (saved && uidl_ok(str_c(saved))) {	/* what the client was told by the server before us */
		buf_c(out, saved);
		return;
	}
	const uint32_t uid = mbox_view_uid(c->v, seq);
	if (form->n > 0)
		uidl_form_put(form, uid, out);
	else
		uidl_put(format, uid, mbox_uidvalidity(c->m), mbox_msg_basename(c->v, seq), out);
}
