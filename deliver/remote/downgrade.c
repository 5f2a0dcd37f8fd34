/* From 8-bit MIME to 7-bit MIME (RFC 6152 3, RFC 2045 6), for servers without 8BITMIME. Parts whose body has 8-bit bytes are encoded anew, text as quoted-printable, the rest as
 * base64; composite parts keep their structure and lose the label 8bit or binary; embedded messages are descended into. What is a signature over the old
 * form no longer fits, which is inherent. Header fields are left as they are. Pure; linear in the message.
 */
#include "base/enc.h"
#include "deliver/remote/remote_priv.h"
#include "mail/mime.h"

enum { QP_LINE = 76, B64_LINE = 57, GROWTH = 4 };

bool has_8bit(struct str s)
{
	for (size_t i = 0; i < s.n; i++)
		if ((unsigned char)s.p[i] >= 0x80)
			return true;
	return false;
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
static void put_qp(struct str in, struct buf *out)
{
	size_t col = 0;

	for (size_t i = 0; i < in.n; i++) {
		const unsigned char c = (unsigned char)in.p[i];
		if (c == '\n') {
			buf_ch(out, '\n');
			col = 0;
			continue;
		}
		const bool last = i + 1 == in.n || in.p[i + 1] == '\n';
		const bool bare = (c > ' ' && c < 127 && c != '=') || ((c == ' ' || c == '\t') && !last);
		const size_t n = bare ? 1 : 3;
		if (col + n > QP_LINE - (last ? 0 : 1)) {
			buf_c(out, "=\n");
			col = 0;
		}
		if (bare)
			buf_ch(out, (char)c);
		else
			hex_byte(out, c);
		col += n;
	}
}

/* Lines end in CRLF before they are encoded, as the canonical form has it. */
static void put_base64(struct str in, struct buf *out)
{
	struct buf canon;

	buf_init(&canon, in.n * 2 + 1);
	for (size_t i = 0; i < in.n; i++) {
		if (in.p[i] == '\n')
			buf_ch(&canon, '\r');
		buf_ch(&canon, in.p[i]);
	}
	struct str rest = buf_view(&canon);
	while (rest.n > 0) {
		const size_t n = rest.n < B64_LINE ? rest.n : B64_LINE;
		base64_encode(out, str_sub(rest, 0, n));
		buf_ch(out, '\n');
		rest = str_from(rest, n);
	}
	buf_fini(&canon);
}

static void emit(const struct mime_part *p, bool top, struct buf *out);

/* Children in their places, what lies between them as it is. */
static void emit_composite(const struct mime_part *p, struct buf *out)
{
	const char *at = p->body.p;

	for (const struct mime_part *c = p->children; c; c = c->next) {
		const char *start = c->head.p ? c->head.p : c->body.p;
		if (start > at)
			buf_mem(out, at, (size_t)(start - at));
		emit(c, false, out);
		at = c->body.p + c->body.n;
	}
	const char *end = p->body.p + p->body.n;
	if (end > at)
		buf_mem(out, at, (size_t)(end - at));
}

static void emit(const struct mime_part *p, bool top, struct buf *out)
{
	const bool eight = has_8bit(p->body);
	const bool text = str_case_eq(p->type, STR("text"));
	bool mime = false;

	if (!eight) {		/* as it is, its header included */
		const char *start = p->head.p ? p->head.p : p->body.p;
		buf_mem(out, start, (size_t)(p->body.p + p->body.n - start));
		return;
	}
	copy_head_without(p->head, "Content-Transfer-Encoding", &mime, out);
	if (p->children) {
		buf_c(out, "Content-Transfer-Encoding: 7bit\n\n");
		emit_composite(p, out);
		return;
	}
	if (top && !mime)	/* RFC 1428 */
		buf_c(out, "MIME-Version: 1.0\nContent-Type: text/plain; charset=unknown-8bit\n");
	buf_printf(out, "Content-Transfer-Encoding: %s\n\n", text ? "quoted-printable" : "base64");
	if (text)
		put_qp(p->body, out);
	else
		put_base64(p->body, out);
}

int downgrade(struct str in, struct buf *out, struct err *e)
{
	struct arena *a = arena_new(0);
	const struct mime_part *p = mime_parse(a, in);

	emit(p, true, out);
	arena_free(&a);
	return buf_check(out, "message in 7 bits", e);
}
