/* The journal behind a message's content: records of { magic, type, length, CRC-32C } and a payload of counted strings and 64-bit numbers. The
 * checksum starts from the queue id and the record's number, so that a record of another file, or one out of its place, is none. A reader
 * stops at the first bad record. Pure: bytes in, message out.
 */
#include <string.h>
#include <sys/types.h>

#include "base/clock.h"
#include "base/num.h"
#include "spool/spool.h"

enum {
	REC_MAGIC = 0x314a6f50,		/* "PoJ1" */
	REC_HEAD = 16,
	JOURNAL_VERSION = 1,
};

enum rec_type {
	REC_ENVELOPE = 1,	/* first */
	REC_RCPT,		/* the next recipient */
	REC_COMMIT,		/* all of the above was written */
	REC_STATUS,		/* what happened to recipient k */
	REC_TRY,		/* schedule */
	REC_DSN,		/* RET, ENVID; only when given */
	REC_NOTIFY,		/* NOTIFY, ORCPT of recipient k; only when given */
	REC_QUARANTINE,		/* why the filter holds the message; it does until a REC_TRY says that it is not held */
};

/* --- writing --- */

static void put_u64(struct buf *b, uint64_t v)
{
	unsigned char p[8];

	put_le64(p, v);
	buf_mem(b, p, sizeof(p));
}

static void put_str(struct buf *b, struct str s)
{
	unsigned char p[4];

	put_le32(p, (uint32_t)s.n);
	buf_mem(b, p, sizeof(p));
	buf_str(b, s);
}

static uint32_t seed(struct str qid)
{
	return crc32c(0, qid.p, qid.n);
}

/* Starts a record; end_record fills in its head. */
static size_t begin_record(struct buf *b)
{
	static const unsigned char none[REC_HEAD];

	buf_mem(b, none, sizeof(none));
	return b->n;
}

static void end_record(struct buf *b, size_t start, enum rec_type type, struct str qid)
{
	if (buf_failed(b))
		return;
	unsigned char *head = (unsigned char *)b->p + start - REC_HEAD;
	put_le32(head, REC_MAGIC);
	put_le32(head + 4, (uint32_t)type);
	put_le32(head + 8, (uint32_t)(b->n - start));
	put_le32(head + 12, crc32c(crc32c(seed(qid), head, 12), b->p + start, b->n - start));
}

static void put_notify(struct str qid, size_t k, const struct spool_rcpt *r, struct buf *out)
{
	if (r->notify == 0 && r->orcpt.n == 0)
		return;
	const size_t at = begin_record(out);
	put_u64(out, k);
	put_u64(out, r->notify);
	put_str(out, r->orcpt);
	end_record(out, at, REC_NOTIFY, qid);
}

void spool_journal_recipient(struct str qid, size_t k, const struct spool_rcpt *r, struct buf *out)
{
	const size_t at = begin_record(out);

	put_str(out, r->kind);
	put_str(out, r->address);
	put_str(out, r->original);
	put_str(out, r->user);
	put_str(out, r->extension);
	put_str(out, r->folder);
	put_str(out, r->sender);
	end_record(out, at, REC_RCPT, qid);
	put_notify(qid, k, r, out);
}

void spool_journal_status(struct str qid, size_t rcpt, const struct spool_rcpt *r, struct buf *out)
{
	const size_t at = begin_record(out);

	put_u64(out, rcpt);
	put_u64(out, (uint64_t)r->state);
	put_u64(out, r->tries);
	put_u64(out, (uint64_t)r->when);
	put_str(out, r->enhanced);
	put_str(out, r->text);
	put_str(out, r->relay);
	end_record(out, at, REC_STATUS, qid);
}

enum { TRY_HELD = 1, TRY_EXPIRED = 2 };

void spool_journal_try(const struct spool_msg *m, struct buf *out)
{
	const size_t at = begin_record(out);

	put_u64(out, m->tries);
	put_u64(out, (uint64_t)m->next_try);
	put_u64(out, (uint64_t)m->warned);
	put_u64(out, (m->held ? TRY_HELD : 0) | (m->expired ? TRY_EXPIRED : 0));
	end_record(out, at, REC_TRY, m->qid);
}

static void put_envelope(const struct spool_msg *m, struct buf *out)
{
	const size_t at = begin_record(out);

	put_u64(out, JOURNAL_VERSION);
	put_str(out, m->qid);
	put_u64(out, m->size);
	put_u64(out, m->arrived_us);
	put_u64(out, m->flags);
	put_str(out, m->sender);
	put_str(out, m->client);
	put_str(out, m->helo);
	put_str(out, m->user);
	put_str(out, m->message_id);
	put_str(out, m->body);
	put_u64(out, m->n_edits);
	for (size_t i = 0; i < m->n_edits; i++)
		put_str(out, m->edits[i]);
	end_record(out, at, REC_ENVELOPE, m->qid);
}

static void put_dsn(const struct spool_msg *m, struct buf *out)
{
	if (m->ret == 0 && m->envid.n == 0)
		return;
	const size_t at = begin_record(out);
	put_u64(out, m->ret);
	put_str(out, m->envid);
	end_record(out, at, REC_DSN, m->qid);
}

static void put_quarantine(const struct spool_msg *m, struct buf *out)
{
	if (m->quarantine.n == 0)
		return;
	const size_t at = begin_record(out);
	put_str(out, m->quarantine);
	end_record(out, at, REC_QUARANTINE, m->qid);
}

void spool_journal_message(const struct spool_msg *m, struct buf *out)
{
	put_envelope(m, out);
	put_dsn(m, out);
	for (size_t i = 0; i < m->n_rcpts; i++)
		spool_journal_recipient(m->qid, i, &m->rcpts[i], out);
	for (size_t i = 0; i < m->n_rcpts; i++)
		if (m->rcpts[i].state != SPOOL_PENDING || m->rcpts[i].tries > 0)
			spool_journal_status(m->qid, i, &m->rcpts[i], out);
	if (m->tries > 0 || m->next_try != 0 || m->warned != 0 || m->held || m->expired)
		spool_journal_try(m, out);
	put_quarantine(m, out);
	const size_t at = begin_record(out);
	put_u64(out, m->n_rcpts);
	end_record(out, at, REC_COMMIT, m->qid);
}

/* --- reading --- */

struct cursor {
	struct str in;
	bool bad;
};

static uint64_t get_u64(struct cursor *c)
{
	if (c->bad || c->in.n < 8) {
		c->bad = true;
		return 0;
	}
	const uint64_t v = get_le64(c->in.p);
	c->in = str_from(c->in, 8);
	return v;
}

static struct str get_str(struct cursor *c)
{
	if (c->bad || c->in.n < 4) {
		c->bad = true;
		return STR("");
	}
	const uint32_t n = get_le32(c->in.p);
	if (n > SPOOL_TEXT_MAX || n > c->in.n - 4) {
		c->bad = true;
		return STR("");
	}
	const struct str s = str_sub(c->in, 4, n);
	c->in = str_from(c->in, 4 + (size_t)n);
	return s;
}

struct str spool_rcpt_shown(const struct spool_rcpt *r)
{
	const bool part = str_eq(r->kind, STR("command")) || str_eq(r->kind, STR("file")) || str_eq(r->kind, STR("include"));

	return part && r->original.n > 0 ? r->original : r->address;
}

struct spool_rcpt *spool_msg_add(struct arena *a, struct spool_msg *m)
{
	if (m->n_rcpts >= SPOOL_RCPT_MAX)
		return NULL;
	if (m->n_rcpts == m->cap_rcpts) {
		const size_t cap = m->cap_rcpts ? m->cap_rcpts * 2 : 4;
		struct spool_rcpt *r = ARENA_ARRAY(a, struct spool_rcpt, cap);
		if (r == NULL)
			return NULL;
		if (m->n_rcpts > 0)
			memcpy(r, m->rcpts, m->n_rcpts * sizeof(*r));
		m->rcpts = r;
		m->cap_rcpts = cap;
	}
	return &m->rcpts[m->n_rcpts++];
}

static bool read_envelope(struct cursor *c, struct arena *a, struct spool_msg *m)
{
	if (get_u64(c) != JOURNAL_VERSION)
		return false;
	if (!str_eq(get_str(c), m->qid) || get_u64(c) != m->size)
		return false;
	m->arrived_us = get_u64(c);
	m->flags = get_u64(c);
	m->sender = get_str(c);
	m->client = get_str(c);
	m->helo = get_str(c);
	m->user = get_str(c);
	m->message_id = get_str(c);
	m->body = get_str(c);
	const uint64_t n = get_u64(c);
	if (c->bad || n > SPOOL_EDITS_MAX)
		return false;
	m->edits = ARENA_ARRAY(a, struct str, (size_t)n + 1);
	if (m->edits == NULL)
		return false;
	for (m->n_edits = 0; m->n_edits < n; m->n_edits++)
		m->edits[m->n_edits] = get_str(c);
	return !c->bad && c->in.n == 0;
}

static bool read_rcpt(struct cursor *c, struct arena *a, struct spool_msg *m)
{
	struct spool_rcpt *r = spool_msg_add(a, m);

	if (r == NULL)
		return false;
	r->kind = get_str(c);
	r->address = get_str(c);
	r->original = get_str(c);
	r->user = get_str(c);
	r->extension = get_str(c);
	r->folder = get_str(c);
	r->sender = c->in.n > 0 ? get_str(c) : STR("");	/* added after version 1 */
	return !c->bad && c->in.n == 0;
}

static bool read_status(struct cursor *c, struct spool_msg *m)
{
	const uint64_t k = get_u64(c), state = get_u64(c);
	struct spool_rcpt r = { 0 };

	r.tries = get_u64(c);
	r.when = (int64_t)get_u64(c);
	r.enhanced = get_str(c);
	r.text = get_str(c);
	r.relay = get_str(c);
	if (c->bad || c->in.n != 0 || k >= m->n_rcpts || state >= SPOOL_STATE_MAX_)
		return false;
	struct spool_rcpt *to = &m->rcpts[k];
	to->state = (enum spool_state)state;
	to->tries = r.tries;
	to->when = r.when;
	to->enhanced = r.enhanced;
	to->text = r.text;
	to->relay = r.relay;
	return true;
}

static bool read_dsn(struct cursor *c, struct spool_msg *m)
{
	m->ret = get_u64(c);
	m->envid = get_str(c);
	return !c->bad && c->in.n == 0;
}

static bool read_notify(struct cursor *c, struct spool_msg *m)
{
	const uint64_t k = get_u64(c), notify = get_u64(c);
	const struct str orcpt = get_str(c);

	if (c->bad || c->in.n != 0 || k >= m->n_rcpts)
		return false;
	m->rcpts[k].notify = notify;
	m->rcpts[k].orcpt = orcpt;
	return true;
}

static bool read_try(struct cursor *c, struct spool_msg *m)
{
	m->tries = get_u64(c);
	m->next_try = (int64_t)get_u64(c);
	m->warned = (int64_t)get_u64(c);
	const uint64_t flags = get_u64(c);
	m->held = (flags & TRY_HELD) != 0;
	m->expired = (flags & TRY_EXPIRED) != 0;
	if (!m->held)
		m->quarantine = STR("");
	return !c->bad && c->in.n == 0;
}

static bool read_quarantine(struct cursor *c, struct spool_msg *m)
{
	m->quarantine = get_str(c);
	m->held = true;
	return !c->bad && c->in.n == 0;
}

/* The next record of *in, which advances. false: none, or a bad one. */
static bool next_record(struct str *in, struct str qid, uint32_t *type_out, struct str *payload_out)
{
	if (in->n < REC_HEAD || get_le32(in->p) != REC_MAGIC)
		return false;
	const uint32_t type = get_le32(in->p + 4), n = get_le32(in->p + 8), crc = get_le32(in->p + 12);
	if (n > SPOOL_RECORD_MAX || n > in->n - REC_HEAD)
		return false;
	if (crc32c(crc32c(seed(qid), in->p, 12), in->p + REC_HEAD, n) != crc)
		return false;
	*type_out = type;
	*payload_out = str_sub(*in, REC_HEAD, n);
	*in = str_from(*in, REC_HEAD + (size_t)n);
	return true;
}

static bool apply(uint32_t type, struct str payload, struct arena *a, struct spool_msg *m, bool first, bool *committed)
{
	struct cursor c = { .in = payload };

	if (first != (type == REC_ENVELOPE))
		return false;
	switch (type) {
	case REC_ENVELOPE:
		return read_envelope(&c, a, m);
	case REC_RCPT:
		return read_rcpt(&c, a, m);
	case REC_STATUS:
		return read_status(&c, m);
	case REC_TRY:
		return read_try(&c, m);
	case REC_DSN:
		return read_dsn(&c, m);
	case REC_NOTIFY:
		return read_notify(&c, m);
	case REC_QUARANTINE:
		return read_quarantine(&c, m);
	case REC_COMMIT:
		if (get_u64(&c) != m->n_rcpts || c.bad || c.in.n != 0 || m->n_rcpts == 0)
			return false;
		*committed = true;
		return true;
	default:
		return false;
	}
}

int spool_journal_decode(struct str qid, uint64_t size, struct str bytes, struct arena *a, struct spool_msg **out, size_t *good_out, struct err *e)
{
	struct spool_msg *m = ARENA_NEW(a, struct spool_msg);
	struct str in = bytes, payload;
	bool committed = false, first = true;
	uint32_t type;

	if (m == NULL)
		return err_set(e, ERR_LIMIT, 0, "no room for a queue record");
	m->qid = qid;
	m->size = size;
	for (struct str next = in; next_record(&next, qid, &type, &payload); first = false) {
		if (!apply(type, payload, a, m, first, &committed))
			break;
		in = next;
	}
	*good_out = bytes.n - in.n;
	if (!committed)
		return err_set(e, in.n == 0 ? ERR_NOENT : ERR_INPUT, 0, "no commit mark in %zu good bytes of %zu", *good_out, bytes.n);
	*out = m;
	return 0;
}

/* --- ids --- */

bool spool_qid_valid(struct str qid)
{
	if (qid.n < 10 || qid.n > SPOOL_QID_MAX)
		return false;
	for (size_t i = 0; i < qid.n; i++)
		if (!ch_upper(qid.p[i]) && !ch_digit(qid.p[i]))
			return false;
	return true;
}

void spool_qid_new(char out[SPOOL_QID_MAX + 1])
{
	static const char digits[] = "0123456789BCDFGHJKLMNPQRSTVWXYZA";
	static uint64_t last;
	uint64_t v = clock_wall_us();

	if (v <= last)
		v = last + 1;
	last = v;
	for (int i = 10; i >= 0; i--, v >>= 5)
		out[i] = digits[v & 31];
	out[11] = '\0';
}
