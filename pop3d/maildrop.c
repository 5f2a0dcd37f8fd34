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

static void number(struct client *c)
{
	struct ordered *const v = xzalloc(((size_t)c->n + 1) * sizeof(*v));
	bool any = false;

	for (uint32_t i = 0; i < c->n; i++) {
		v[i] = (struct ordered){ i + 1, mbox_msg_pop3_order(c->v, i + 1) };
		any |= v[i].order != 0;
	}
	if (any)
		qsort(v, c->n, sizeof(*v), order_cmp);
	for (uint32_t i = 0; i < c->n; i++)
		c->seqs[i] = v[i].seq;
	free(v);
}

static int measure(struct client *c, struct err *e)
{
	for (uint32_t i = 0; i < c->n; i++) {
		if (mbox_msg_size(c->v, c->seqs[i], &c->sizes[i], e) < 0)
			return -1;
		c->octets += c->sizes[i];
	}
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
	c->octets = 0;
	c->seqs = xzalloc(((size_t)c->n + 1) * sizeof(*c->seqs));
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
		by_seq[c->seqs[i]] = (c->marks[i] & mask) == marks;
	for (uint32_t seq = 1; seq <= c->n; seq++)
		if (by_seq[seq])
			seqs[n++] = seq;
	free(by_seq);
	return n;
}

int drop_update(struct client *c, struct err *e)
{
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

/* Hexadecimal in lower case, as Dovecot's. Not printf: a hundred thousand ids are made before a client's first look. */
static void put_number(struct buf *out, uint32_t v, unsigned base, unsigned width, char pad)
{
	char digits[10];
	unsigned n = 0;

	do
		digits[n++] = "0123456789abcdef"[v % base];
	while ((v /= base) > 0);
	for (; width > n; width--)
		buf_ch(out, pad);
	while (n > 0)
		buf_ch(out, digits[--n]);
}

/* One %-item at *f (behind the '%'): optional 0 and width, X or L or U, then u v f. -1: not known. */
static int format_item(const char **f, uint32_t uid, uint32_t uidvalidity, const char *base, struct buf *out)
{
	unsigned width = 0;
	bool zero = false, hex = false;

	if (**f == '0') {
		zero = true;
		(*f)++;
	}
	while (ch_digit(**f) && width < 100)
		width = width * 10 + (unsigned)(*(*f)++ - '0');
	if (**f == 'X') {
		hex = true;
		(*f)++;
	}
	const char k = *(*f)++;
	if (width >= 100)
		return -1;
	if (k == '%') {
		buf_ch(out, '%');
		return 0;
	}
	if (k == 'f') {
		buf_c(out, base);
		return 0;
	}
	if (k != 'u' && k != 'v')
		return -1;
	const uint32_t n = k == 'u' ? uid : uidvalidity;
	put_number(out, n, hex ? 16 : 10, width, zero ? '0' : ' ');
	return 0;
}

int uidl_format(const char *format, uint32_t uid, uint32_t uidvalidity, const char *base, struct buf *out)
{
	for (const char *f = format; *f;) {
		if (*f != '%')
			buf_ch(out, *f++);
		else if (f++, format_item(&f, uid, uidvalidity, base, out) < 0)
			return -1;
	}
	return buf_failed(out) || out->n == 0 ? -1 : 0;
}

static bool uidl_ok(struct str s)
{
	if (s.n == 0 || s.n > 70)
		return false;
	for (size_t i = 0; i < s.n; i++)
		if (s.p[i] <= 0x20 || s.p[i] >= 0x7f)
			return false;
	return true;
}

void drop_uidl(struct client *c, uint32_t index, struct buf *out)
{
	const uint32_t seq = c->seqs[index];
	const char *const saved = mbox_msg_pop3_uidl(c->v, seq);
	const char *const format = c->user->conf->pop3_uidl_format;
	const size_t before = out->n;

	if (saved && uidl_ok(str_c(saved))) {	/* what the client was told by the server before us */
		buf_c(out, saved);
		return;
	}
	const uint32_t uidvalidity = mbox_uidvalidity(c->m);
	const uint32_t uid = mbox_view_uid(c->v, seq);
	const int r = uidl_format(format, uid, uidvalidity, strchr(format, 'f') ? mbox_msg_basename(c->v, seq) : "", out);
	/* A file name may be too long, or hold bytes that no UIDL may; then the plain form. */
	if (r < 0 || !uidl_ok(str_from(buf_view(out), before))) {
		buf_cut(out, before);
		buf_printf(out, "%08x%08x", uid, uidvalidity);
	}
}
