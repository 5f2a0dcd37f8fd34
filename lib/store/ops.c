/* The operations inside a journal batch, little-endian, one after another, no padding:
 *
 *   ASSIGN  1  disk:8 name_len:8 info_len:8 uid:32 flags:16 n_kw:16 0:32 modseq:64 internaldate:64 savedate:64 size:64 size_crlf:64 name info kw:16…
 *   FLAGS   2  mode:8 flags:16 n_kw:16 0:16 n_ranges:32 kw:16… (first:32 last:32)…
 *   EXPUNGE 3  0:24 n_ranges:32 (first:32 last:32)…
 *   KEYWORD 4  len:8 number:16 name
 *   NAMED   5  disk:8 name_len:8 info_len:8 uid:32 name info      the file's name as it is now (name_len 0: base as before)
 *   SIZES   6  0:24 uid:32 size:64 size_crlf:64
 *   RESERVE 7  0:24 limit:32                                       UIDs below limit may be given out
 *   POP3    8  len:8 0:16 uid:32 order:32 uidl
 *   DONE    9  0:24 n_ranges:32 (first:32 last:32)…               the files of these expunged messages are unlinked, durably
 *   VANISHED 10 0:24 n_ranges:32 modseq:64 (first:32 last:32)…    of a rewritten journal: expunged before it; without ranges: since when all are known
 *
 * modseq 0 is the batch's. Here only bytes become fields; what they mean to the state is state_apply.c's. */
#include "base/num.h"
#include "store/store_priv.h"

static void put8(struct buf *b, unsigned v)
{
	buf_ch(b, (char)(unsigned char)v);
}

static void put16(struct buf *b, unsigned v)
{
	put8(b, v & 0xff);
	put8(b, v >> 8 & 0xff);
}

static void put32(struct buf *b, uint32_t v)
{
	char c[4];

	put_le32(c, v);
	buf_mem(b, c, sizeof(c));
}

static void put64(struct buf *b, uint64_t v)
{
	char c[8];

	put_le64(c, v);
	buf_mem(b, c, sizeof(c));
}

static void put_ranges(struct buf *b, const struct range *r, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		put32(b, r[i].first);
		put32(b, r[i].last);
	}
}

enum { ASSIGN_HEAD = 56 };

void op_assign(struct buf *b, const struct assign *a)
{
	unsigned char h[ASSIGN_HEAD] = { OP_ASSIGN, a->disk, (unsigned char)a->base.n, (unsigned char)a->info.n };

	put_le32(h + 4, a->uid);
	put_le32(h + 8, (uint32_t)(a->flags & 0xffff) | (uint32_t)a->n_kw << 16);
	put_le64(h + 16, a->modseq);
	put_le64(h + 24, (uint64_t)a->internaldate);
	put_le64(h + 32, (uint64_t)a->savedate);
	put_le64(h + 40, a->size);
	put_le64(h + 48, a->size_crlf);
	buf_mem(b, h, sizeof(h));
	buf_str(b, a->base);
	buf_str(b, a->info);
	for (size_t i = 0; i < a->n_kw; i++)
		put16(b, a->kw[i]);
}

void op_flags(struct buf *b, enum mbox_flag_op mode, unsigned flags, const uint16_t *kw, size_t n_kw, const struct range *r, size_t n)
{
	put8(b, OP_FLAGS);
	put8(b, (unsigned)mode);
	put16(b, flags);
	put16(b, (unsigned)n_kw);
	put16(b, 0);
	put32(b, (uint32_t)n);
	for (size_t i = 0; i < n_kw; i++)
		put16(b, kw[i]);
	put_ranges(b, r, n);
}

void op_ranges(struct buf *b, int op, const struct range *r, size_t n)
{
	put32(b, (uint32_t)op);
	put32(b, (uint32_t)n);
	put_ranges(b, r, n);
}

void op_keyword(struct buf *b, unsigned id, struct str name)
{
	put8(b, OP_KEYWORD);
	put8(b, (unsigned)name.n);
	put16(b, id);
	buf_str(b, name);
}

void op_named(struct buf *b, uint32_t uid, uint8_t disk, struct str base, struct str info)
{
	put8(b, OP_NAMED);
	put8(b, disk);
	put8(b, (unsigned)base.n);
	put8(b, (unsigned)info.n);
	put32(b, uid);
	buf_str(b, base);
	buf_str(b, info);
}

void op_sizes(struct buf *b, uint32_t uid, uint64_t size, uint64_t size_crlf)
{
	put32(b, OP_SIZES);
	put32(b, uid);
	put64(b, size);
	put64(b, size_crlf);
}

void op_reserve(struct buf *b, uint32_t limit)
{
	put32(b, OP_RESERVE);
	put32(b, limit);
}

void op_pop3(struct buf *b, uint32_t uid, uint32_t order, struct str uidl)
{
	put8(b, OP_POP3);
	put8(b, (unsigned)uidl.n);
	put16(b, 0);
	put32(b, uid);
	put32(b, order);
	buf_str(b, uidl);
}

void op_vanished(struct buf *b, uint64_t modseq, const struct range *r, size_t n)
{
	put32(b, OP_VANISHED);
	put32(b, (uint32_t)n);
	put64(b, modseq);
	put_ranges(b, r, n);
}

/* --- decoding --- */

static unsigned get16(const unsigned char *p)
{
	return (unsigned)p[0] | (unsigned)p[1] << 8;
}

/* The next n bytes; NULL when there are fewer. */
static const unsigned char *take(struct str *in, uint64_t n)
{
	const unsigned char *const p = (const unsigned char *)in->p;

	if (n > in->n)
		return NULL;
	*in = str_from(*in, (size_t)n);
	return p;
}

static int bad(struct err *e, const char *what)
{
	return err_set(e, ERR_INPUT, 0, "journal: %s makes no sense", what);
}

/* A base name and info that can be a file's. */
static bool name_ok(struct str base, struct str info)
{
	return base.n > 0 && base.p[0] != '.' && memchr(base.p, '/', base.n) == NULL && memchr(base.p, 0, base.n) == NULL &&
	       (info.n == 0 || (memchr(info.p, '/', info.n) == NULL && memchr(info.p, 0, info.n) == NULL));
}

static int next_assign(struct str *in, struct op *o, struct err *e)
{
	const unsigned char *const h = take(in, ASSIGN_HEAD);
	const unsigned char *text;

	if (h == NULL)
		return bad(e, "ASSIGN");
	o->assign = (struct assign){
		.disk = h[1], .uid = get_le32(h + 4), .flags = get16(h + 8), .modseq = get_le64(h + 16),
		.internaldate = (int64_t)get_le64(h + 24), .savedate = (int64_t)get_le64(h + 32), .size = get_le64(h + 40), .size_crlf = get_le64(h + 48),
	};
	o->n_ids = get16(h + 10);
	text = take(in, (uint64_t)h[2] + h[3]);
	if (text == NULL || (o->ids = take(in, o->n_ids * 2)) == NULL || o->n_ids > STORE_KEYWORDS_MAX)
		return bad(e, "ASSIGN");
	o->assign.base = str_n(text, h[2]);
	o->assign.info = str_n(text + h[2], h[3]);
	return name_ok(o->assign.base, o->assign.info) ? 0 : bad(e, "a file name");
}

static int next_flags(struct str *in, struct op *o, struct err *e)
{
	const unsigned char *const h = take(in, 12);

	if (h == NULL || h[1] > MBOX_REMOVE)
		return bad(e, "FLAGS");
	o->mode = (enum mbox_flag_op)h[1];
	o->flags = get16(h + 2);
	o->n_ids = get16(h + 4);
	o->n_ranges = get_le32(h + 8);
	o->ids = take(in, o->n_ids * 2);
	o->ranges = o->ids ? take(in, (uint64_t)o->n_ranges * 8) : NULL;
	return o->ranges == NULL || o->n_ids > STORE_KEYWORDS_MAX ? bad(e, "FLAGS") : 0;
}

static int next_ranges(struct str *in, struct op *o, struct err *e)
{
	const unsigned char *const h = take(in, 8);

	if (h == NULL)
		return bad(e, "EXPUNGE");
	o->n_ranges = get_le32(h + 4);
	o->ranges = take(in, (uint64_t)o->n_ranges * 8);
	return o->ranges == NULL ? bad(e, "EXPUNGE") : 0;
}

static int next_vanished(struct str *in, struct op *o, struct err *e)
{
	const unsigned char *const h = take(in, 16);

	if (h == NULL)
		return bad(e, "VANISHED");
	o->n_ranges = get_le32(h + 4);
	o->modseq = get_le64(h + 8);
	o->ranges = take(in, (uint64_t)o->n_ranges * 8);
	return o->ranges == NULL ? bad(e, "VANISHED") : 0;
}

static int next_keyword(struct str *in, struct op *o, struct err *e)
{
	const unsigned char *const h = take(in, 4);
	const unsigned char *const text = h ? take(in, h[1]) : NULL;

	if (text == NULL || h[1] == 0 || get16(h + 2) >= STORE_KEYWORDS_MAX || memchr(text, 0, h[1]) != NULL)
		return bad(e, "KEYWORD");
	o->number = get16(h + 2);
	o->text = str_n(text, h[1]);
	return 0;
}

static int next_named(struct str *in, struct op *o, struct err *e)
{
	const unsigned char *const h = take(in, 8);
	const unsigned char *const text = h ? take(in, (uint64_t)h[2] + h[3]) : NULL;

	if (text == NULL)
		return bad(e, "NAMED");
	o->assign = (struct assign){ .disk = h[1], .uid = get_le32(h + 4), .base = str_n(text, h[2]), .info = str_n(text + h[2], h[3]) };
	o->uid = o->assign.uid;
	return name_ok(h[2] ? o->assign.base : STR("x"), o->assign.info) ? 0 : bad(e, "a file name");
}

static int next_sizes(struct str *in, struct op *o, struct err *e)
{
	const unsigned char *const h = take(in, 24);

	if (h == NULL)
		return bad(e, "SIZES");
	o->uid = get_le32(h + 4);
	o->size = get_le64(h + 8);
	o->size_crlf = get_le64(h + 16);
	return 0;
}

static int next_reserve(struct str *in, struct op *o, struct err *e)
{
	const unsigned char *const h = take(in, 8);

	if (h == NULL)
		return bad(e, "RESERVE");
	o->uid = get_le32(h + 4);
	return 0;
}

static int next_pop3(struct str *in, struct op *o, struct err *e)
{
	const unsigned char *const h = take(in, 12);
	const unsigned char *const text = h ? take(in, h[1]) : NULL;

	if (text == NULL || memchr(text, 0, h[1]) != NULL)
		return bad(e, "POP3");
	o->uid = get_le32(h + 4);
	o->number = get_le32(h + 8);
	o->text = str_n(text, h[1]);
	return 0;
}

int op_next(struct str *in, struct op *o, struct err *e)
{
	static int (*const next[])(struct str *in, struct op *o, struct err *e) = {
		[OP_ASSIGN] = next_assign, [OP_FLAGS] = next_flags, [OP_EXPUNGE] = next_ranges, [OP_KEYWORD] = next_keyword, [OP_NAMED] = next_named,
		[OP_SIZES] = next_sizes, [OP_RESERVE] = next_reserve, [OP_POP3] = next_pop3, [OP_DONE] = next_ranges,
		[OP_VANISHED] = next_vanished,
	};
	const size_t kind = in->n > 0 ? (unsigned char)in->p[0] : 0;

	*o = (struct op){ .kind = (int)kind };
	if (kind >= ARRAY_LEN(next) || next[kind] == NULL)
		return bad(e, "an operation");
	return next[kind](in, o, e);
}
