/* Transfer encodings made anew, for who cannot take a message as it is: 8-bit parts for servers without 8BITMIME (RFC 6152 3, RFC 2045 6), binary parts for a store of
 * text (RFC 3516 4.4). Leaves are encoded; composite parts keep their structure and lose a label that is no longer true; embedded messages are descended into,
 * but those whose own header is beyond ASCII.
 * What is a signature over the old form no longer fits, which is inherent. Header fields are left as they are. Pure; linear in the message.
 */
#include "base/enc.h"
#include "mail/mime.h"
#include "mail/reencode.h"

enum { QP_LINE = 76, B64_LINE = 57, HELD = 100 * B64_LINE, PIECE = 65536 };

struct writer {
	enum mail_reencode what;
	mail_sink *sink;
	void *ctx;
	struct buf out;
	struct err *e;
	bool failed;
};

static void hand_on(struct writer *w)
{
	if (!w->failed)
		w->failed = buf_check(&w->out, "message to be encoded anew", w->e) < 0 || w->sink(w->ctx, buf_view(&w->out), w->e) < 0;
	buf_reset(&w->out);
}

/* Between two lines or pieces: what is ready goes out now and then. */
static void spill(struct writer *w)
{
	if (w->out.n >= PIECE)
		hand_on(w);
}

static void put_as_is(struct writer *w, const char *p, size_t n)
{
	while (n > 0) {
		const size_t piece = n < PIECE ? n : PIECE;
		buf_mem(&w->out, p, piece);
		spill(w);
		p += piece;
		n -= piece;
	}
}

int mail_sink_buf(void *ctx, struct str piece, struct err *e)
{
	struct buf *out = ctx;

	buf_str(out, piece);
	return buf_check(out, "message", e);
}

static bool field_is(struct str line, const char *name)
{
	const struct str n = str_c(name);

	return str_case_starts(line, n) && line.n > n.n && line.p[n.n] == ':';
}

/* The header section without the field name, its folded lines included. */
static void copy_head_without(struct str head, const char *name, bool *had_mime, struct buf *out)
{
	bool skipping = false;

	while (head.n > 0) {
		const ptrdiff_t lf = str_chr(head, '\n');
		const struct str line = str_sub(head, 0, lf < 0 ? head.n : (size_t)lf + 1);
		head = str_from(head, line.n);
		if (line.p[0] != ' ' && line.p[0] != '\t')
			skipping = field_is(line, name);
		*had_mime |= field_is(line, "MIME-Version");
		if (!skipping)
			buf_str(out, line);
		if (!skipping && lf < 0)
			buf_ch(out, '\n');
	}
}

static void hex_byte(struct buf *out, unsigned char c)
{
	static const char digits[] = "0123456789ABCDEF";

	buf_ch(out, '=');
	buf_ch(out, digits[c >> 4]);
	buf_ch(out, digits[c & 15]);
}

/* RFC 2045 6.7. Blanks at a line's end are written in hex. */
static void put_qp(struct writer *w, struct str in)
{
	struct buf *const out = &w->out;
	size_t col = 0;

	for (size_t i = 0; i < in.n; i++) {
		const unsigned char c = (unsigned char)in.p[i];
		if (c == '\n') {
			buf_ch(out, '\n');
			spill(w);
			col = 0;
			continue;
		}
		const bool last = i + 1 == in.n || in.p[i + 1] == '\n';
		const bool bare = (c > ' ' && c < 127 && c != '=') || ((c == ' ' || c == '\t') && !last);
		const size_t n = bare ? 1 : 3;
		if (col + n > QP_LINE - (last ? 0 : 1)) {
			buf_c(out, "=\n");
			spill(w);
			col = 0;
		}
		if (bare)
			buf_ch(out, (char)c);
		else
			hex_byte(out, c);
		col += n;
	}
}

static void put_base64(struct writer *w, struct str in)
{
	while (in.n > 0) {
		const struct str line = str_sub(in, 0, in.n < B64_LINE ? in.n : B64_LINE);
		base64_encode(&w->out, line);
		buf_ch(&w->out, '\n');
		spill(w);
		in = str_from(in, line.n);
	}
}

/* The same of a body whose lines end in LF: in CRLF, before they are encoded, as the canonical form has it. */
static void put_base64_of_lines(struct writer *w, struct str in)
{
	char held[HELD + 2];
	size_t n = 0;

	for (size_t i = 0; i < in.n; i++) {
		if (in.p[i] == '\n')
			held[n++] = '\r';
		held[n++] = in.p[i];
		if (n >= HELD) {	/* whole lines of base64, the rest stays */
			put_base64(w, str_n(held, HELD));
			memmove(held, held + HELD, n -= HELD);
		}
	}
	put_base64(w, str_n(held, n));
}

static void emit(struct writer *w, const struct mime_part *p, bool top);

/* Children in their places, what lies between them as it is. */
static void emit_children(struct writer *w, const struct mime_part *p)
{
	const char *at = p->body.p;

	for (const struct mime_part *c = p->children; c; c = c->next) {
		const char *start = c->head.p ? c->head.p : c->body.p;
		if (start > at)
			put_as_is(w, at, (size_t)(start - at));
		emit(w, c, false);
		at = c->body.p + c->body.n;
	}
	const char *end = p->body.p + p->body.n;
	if (end > at)
		put_as_is(w, at, (size_t)(end - at));
}

static bool is_binary(const struct mime_part *p)
{
	bool found = str_eq(p->encoding, STR("binary"));

	for (const struct mime_part *c = p->children; c && !found; c = c->next)
		found = is_binary(c);
	return found;
}

/* A header in UTF-8 stays one: for seven bits the embedded message is encoded as a whole, which message/global may be and message/rfc822 may not (RFC 6532 3.7). */
static bool keeps_structure(const struct writer *w, const struct mime_part *p)
{
	return p->children && !(w->what == MAIL_TO_7BIT && mime_type_is(p, "message", "global") && str_has_8bit(p->children->head));
}

static void emit(struct writer *w, const struct mime_part *p, bool top)
{
	const bool to_7bit = w->what == MAIL_TO_7BIT, text = to_7bit && str_case_eq(p->type, STR("text"));
	bool mime = false;

	if (!(to_7bit ? str_has_8bit(p->body) : is_binary(p))) {	/* as it is, its header included */
		const char *start = p->head.p ? p->head.p : p->body.p;
		put_as_is(w, start, (size_t)(p->body.p + p->body.n - start));
		return;
	}
	copy_head_without(p->head, "Content-Transfer-Encoding", &mime, &w->out);
	if (keeps_structure(w, p)) {
		buf_printf(&w->out, "Content-Transfer-Encoding: %s\n\n", to_7bit ? "7bit" : "8bit");
		emit_children(w, p);
		return;
	}
	if (to_7bit && top && !mime)	/* RFC 1428 */
		buf_c(&w->out, "MIME-Version: 1.0\nContent-Type: text/plain; charset=unknown-8bit\n");
	buf_printf(&w->out, "Content-Transfer-Encoding: %s\n\n", text ? "quoted-printable" : "base64");
	if (text)
		put_qp(w, p->body);
	else if (to_7bit)
		put_base64_of_lines(w, p->body);
	else
		put_base64(w, p->body);
}

int mail_reencode(struct str message, enum mail_reencode what, mail_sink *sink, void *ctx, struct err *e)
{
	struct writer w = { .what = what, .sink = sink, .ctx = ctx, .e = e };
	struct arena *a = arena_new(0);

	buf_init(&w.out, message.n * 2 + 4 * PIECE);
	emit(&w, mime_parse(a, message), true);
	hand_on(&w);
	arena_free(&a);
	buf_fini(&w.out);
	return w.failed ? -1 : 0;
}
