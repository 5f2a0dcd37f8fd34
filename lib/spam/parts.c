/* The parts of a message as rules see them: lib/mail's tree, with each part's own header, types as SpamAssassin names them, and the decoded bytes. */
#include <string.h>

#include "base/enc.h"
#include "spam/msg.h"

enum { LOOKED_MAX = 20 };	/* multiparts whose boundaries are examined */

/* "name = value" in a Content-Type: what follows the name, a blank and '='; -1 when it is not there. at is where to search from. */
static ptrdiff_t parameter(struct str ct, const char *name, bool needs_boundary)
{
	struct str n = str_c(name);
	for (size_t i = 0; i + n.n < ct.n; i++) {
		if (!str_case_starts(str_from(ct, i), n) || (needs_boundary && i > 0 && (ch_alnum(ct.p[i - 1]) || ct.p[i - 1] == '_')))
			continue;
		size_t k = i + n.n;
		while (k < ct.n && sp_char(ct.p[k]))
			k++;
		if (k >= ct.n || ct.p[k] != '=')
			continue;
		for (k++; k < ct.n && sp_char(ct.p[k]);)
			k++;
		return (ptrdiff_t)k;
	}
	return -1;
}

/* Up to the quote or semicolon that ends it: quotes are optional at both ends. */
static struct str loose_value(struct str ct, ptrdiff_t at)
{
	if (at < 0)
		return (struct str){ 0 };
	struct str v = str_from(ct, (size_t)at);
	if (v.n > 0 && (v.p[0] == '"' || v.p[0] == '\''))
		v = str_from(v, 1);
	size_t n = 0;
	while (n < v.n && v.p[n] != ';')
		n++;
	v = str_sub(v, 0, n);
	if (v.n > 0 && (v.p[v.n - 1] == '"' || v.p[v.n - 1] == '\''))
		v.n--;
	return v;
}

static struct str boundary_value(struct str ct)
{
	ptrdiff_t at = parameter(ct, "boundary", true);
	if (at < 0)
		return (struct str){ 0 };
	struct str v = str_from(ct, (size_t)at);
	if (v.n > 1 && v.p[0] == '"') {
		ptrdiff_t end = str_chr(str_from(v, 1), '"');
		return str_sub(v, 1, end < 0 ? v.n - 1 : (size_t)end);
	}
	size_t n = 0;
	while (n < v.n && !sp_char(v.p[n]) && v.p[n] != ';' && v.p[n] != '"')
		n++;
	return n == 0 ? (struct str){ 0 } : str_sub(v, 0, n);
}

/* "Text/HTML; …" to "text/html"; all of text/ but html, calendar and x-vcard is text/plain. */
static struct str type_value(struct arena *a, struct str ct)
{
	static const char drop[] = "\"()<>:;=?@[\\],";
	ct = sp_trim(ct);
	ptrdiff_t semi = str_chr(ct, ';');
	ct = semi < 0 ? ct : str_sub(ct, 0, (size_t)semi);
	ptrdiff_t slash = str_chr(ct, '/');
	if (slash > 0) {
		size_t n = (size_t)slash + 1;
		while (n < ct.n && ct.p[n] != '/' && !sp_char(ct.p[n]))
			n++;
		ct = str_sub(ct, 0, n);
	}
	struct buf b;
	buf_init(&b, MSG_FIELD_VALUE_MAX);
	for (size_t i = 0; i < ct.n; i++)
		if ((unsigned char)ct.p[i] > ' ' && (unsigned char)ct.p[i] < 0x7f && strchr(drop, ct.p[i]) == NULL)
			buf_ch(&b, ch_lower(ct.p[i]));
	struct str t = arena_str(a, buf_view(&b));
	buf_fini(&b);
	bool text = str_starts(t, STR("text")) && (t.n == 4 || !(ch_alnum(t.p[4]) || t.p[4] == '_'));
	if (t.n == 0 || (text && !str_eq(t, STR("text/html")) && !str_eq(t, STR("text/calendar")) && !str_eq(t, STR("text/x-vcard"))))
		return STR("text/plain");
	return t;
}

void content_type_parse(struct arena *a, struct part *p)
{
	const struct field *f = field_last(a, &p->fields, "content-type");
	struct str ct = f == NULL || f->value.n == 0 ? STR("text/plain; charset=us-ascii") : f->value;
	p->type_missing = f == NULL || f->value.n == 0;
	p->type = type_value(a, ct);
	p->boundary = boundary_value(ct);
	p->charset = loose_value(ct, parameter(ct, "charset", true));
	if (p->charset.n > 0) {
		/* Up to a quote as well: charset="x" y */
		size_t n = 0;
		while (n < p->charset.n && p->charset.p[n] != '"')
			n++;
		p->charset.n = n;
	}
	const struct field *d = field_last(a, &p->fields, "content-disposition");
	struct str disp = d == NULL ? STR("") : d->value;
	ptrdiff_t at = parameter(disp, "name", false);
	if (at >= 0) {
		struct str v = str_from(disp, (size_t)at);
		if (v.n > 0 && v.p[0] == '"')
			v = str_from(v, 1);
		size_t n = 0;
		while (n < v.n && v.p[n] != '"' && v.p[n] != ';')
			n++;
		p->name = n == 0 ? (struct str){ 0 } : str_sub(v, 0, n);
	}
	if (p->name.n == 0) {
		ptrdiff_t name = parameter(ct, "name", true);
		p->name = loose_value(ct, name < 0 ? parameter(ct, "filename", true) : name);
	}
}

/* Long lines inside a multipart are cut, so that no pattern sees an endless one. */
static struct str cut_lines(struct arena *a, struct str raw)
{
	bool needed = false;
	for (size_t at = 0; at < raw.n && !needed;) {
		const char *lf = memchr(raw.p + at, '\n', raw.n - at);
		const size_t end = lf == NULL ? raw.n : (size_t)(lf - raw.p);
		needed = end - at >= MSG_LINE_MAX;
		at = end + 1;
	}
	if (!needed)
		return raw;
	struct buf b;
	buf_init(&b, raw.n + raw.n / MSG_LINE_MAX + 64);
	for (size_t at = 0; at < raw.n;) {
		const char *lf = memchr(raw.p + at, '\n', raw.n - at);
		size_t n = lf == NULL ? raw.n - at : (size_t)(lf - raw.p) + 1 - at;
		while (n > MSG_LINE_MAX) {
			buf_mem(&b, raw.p + at, MSG_LINE_MAX);
			buf_ch(&b, '\n');
			at += MSG_LINE_MAX;
			n -= MSG_LINE_MAX;
		}
		buf_mem(&b, raw.p + at, n);
		at += n;
	}
	struct str s = arena_str(a, buf_view(&b));
	buf_fini(&b);
	return s;
}

static struct part *part_new(struct msg *m, struct part *parent)
{
	if (m->n_parts >= m->cap_parts) {
		m->flags |= MSG_PART_LIMIT;
		return NULL;
	}
	struct part *p = &m->parts[m->n_parts++];
	*p = (struct part){ .parent = parent, .leaf = true };
	return p;
}

static bool is_multipart(const struct part *p)
{
	return str_starts(p->type, STR("multipart/"));
}

static void add_children(struct msg *m, struct part *p, const struct mime_part *kids);

/* Where the part's own header ends may differ from the first empty line. */
static void add_part(struct msg *m, struct part *parent, const struct mime_part *mime, bool of_message)
{
	struct part *p = part_new(m, parent);
	if (p == NULL)
		return;
	const char *start = mime->head.p != NULL ? mime->head.p : mime->body.p;
	struct str all = str_n(start, start == NULL ? 0 : (size_t)(mime->body.p + mime->body.n - start));
	unsigned flags = 0;
	size_t head = fields_parse(m->a, all, of_message, &p->fields, &flags);
	m->flags |= flags & ~(unsigned)MSG_NO_HEAD_END;
	content_type_parse(m->a, p);
	p->in_multipart = !of_message;
	if (p->type_missing && parent != NULL && str_eq(parent->type, STR("multipart/digest")))
		p->type = STR("message/rfc822");
	if (mime->children != NULL) {
		p->raw = mime->body;
		add_children(m, p, mime->children);
		return;
	}
	if (is_multipart(p) && p->boundary.p == NULL)
		p->type = STR("text/plain");
	p->raw = str_from(all, head);
	if (p->in_multipart)
		p->raw = cut_lines(m->a, p->raw);
}

static void add_children(struct msg *m, struct part *p, const struct mime_part *kids)
{
	p->leaf = false;
	bool embedded = str_starts(p->type, STR("message/"));
	for (; kids != NULL; kids = kids->next)
		add_part(m, p, kids, embedded);
}

/* Lines of the body that are "--boundary": the state of a multipart, and what stands around its parts. */
static void boundary_facts(struct msg *m, const struct part *p, struct str body)
{
	bool open = false, closed = false;
	for (size_t at = 0; at < body.n;) {
		const char *lf = memchr(body.p + at, '\n', body.n - at);
		size_t end = lf == NULL ? body.n : (size_t)(lf - body.p) + 1;
		struct str line = sp_trim(str_sub(body, at, end - at));
		at = end;
		if (line.n < p->boundary.n + 2 || line.p[0] != '-' || line.p[1] != '-' || !str_starts(str_from(line, 2), p->boundary)) {
			for (size_t i = 0; closed && i < line.n && !(m->flags & MSG_EPILOGUE); i++)
				if (!sp_char(line.p[i]) && line.p[i] != '.')
					m->flags |= MSG_EPILOGUE;
			continue;
		}
		struct str rest = str_from(line, 2 + p->boundary.n);
		if (rest.n > 0 && !str_eq(rest, STR("--")))
			continue;
		closed = rest.n > 0 && open;
		open = true;
		if (closed)
			continue;
		/* A header, or at least no text, is next. */
		struct str next = str_from(body, at);
		size_t n = 0;
		while (n < next.n && next.p[n] > ' ' && next.p[n] < 0x7f && next.p[n] != ':')
			n++;
		if (next.n > 0 && (n == 0 || n >= next.n || next.p[n] != ':'))
			m->flags |= MSG_NO_PART_HEAD;
	}
	if (open && !closed)
		m->flags |= MSG_OPEN_BOUNDARY;
}

/* A multipart in which no boundary was found is one part, with its own header after an empty line. */
static void lone_part(struct msg *m, struct part *root)
{
	root->leaf = false;
	struct part *p = part_new(m, root);
	if (p == NULL)
		return;
	bool text = m->body.n > 0 && !sp_char(m->body.p[0]);
	size_t head = text ? 0 : fields_parse(m->a, m->body, false, &p->fields, &m->flags);
	p->in_multipart = true;
	content_type_parse(m->a, p);
	p->raw = cut_lines(m->a, str_from(m->body, head));
}

/* The message again in one piece, its header ended by an empty line. */
static struct str glued(struct msg *m)
{
	bool ended = (m->head.n == 1 && m->head.p[0] == '\n') || str_ends(m->head, STR("\n\n"));
	return str_cat(m->a, str_cat(m->a, m->head, ended ? STR("") : STR("\n")), m->body);
}

static size_t count(const struct mime_part *p)
{
	size_t n = 0;
	for (; p != NULL; p = p->next)
		n += 1 + count(p->children);
	return n;
}

void msg_parts(struct msg *m)
{
	if (m->parts != NULL)
		return;
	const struct mime_part *tree = mime_parse(m->a, glued(m));
	size_t n = 2 + count(tree);
	m->cap_parts = n > MSG_PARTS_MAX ? MSG_PARTS_MAX : n;
	m->parts = ARENA_ARRAY(m->a, struct part, m->cap_parts);
	struct part *root = part_new(m, NULL);
	root->fields = m->fields;
	content_type_parse(m->a, root);
	root->raw = m->body;
	if (tree->children != NULL) {
		add_children(m, root, tree->children);
	} else if (is_multipart(root) && root->boundary.p != NULL) {
		lone_part(m, root);
	} else if (is_multipart(root)) {
		root->type = STR("text/plain");
	}
	for (size_t i = 0, looked = 0; i < m->n_parts && looked < LOOKED_MAX; i++) {
		if (m->parts[i].leaf || !is_multipart(&m->parts[i]) || m->parts[i].boundary.p == NULL)
			continue;
		boundary_facts(m, &m->parts[i], m->parts[i].raw);
		looked++;
	}
}

/* --- transfer encodings --- */

/* As lib/mail decodes it, but for what stands after the last line end: blanks and a '=' there are text. */
static void qp(struct str in, struct buf *out)
{
	const size_t lines = (size_t)(str_rchr(in, '\n') + 1);
	mail_qp_decode(str_sub(in, 0, lines), false, out);
	for (size_t i = lines; i < in.n; i++) {
		const int hi = in.p[i] == '=' && i + 2 < in.n ? ch_xdigit(in.p[i + 1]) : -1, lo = hi < 0 ? -1 : ch_xdigit(in.p[i + 2]);
		buf_ch(out, (char)(lo < 0 ? in.p[i] : hi << 4 | lo));
		i += lo < 0 ? 0 : 2;
	}
}

/* What stands between valid characters is dropped; a '=' that is not at the end is a character too: the first when all else is in order, else the last. */
static void base64(struct str in, struct buf *out)
{
	static const char set[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	unsigned char value[256];
	memset(value, 255, sizeof(value));
	for (unsigned i = 0; i < 64; i++)
		value[(unsigned char)set[i]] = (unsigned char)i;
	size_t n = 0, last = 0;
	bool clean = true;
	for (size_t i = 0; i < in.n; i++) {
		if (sp_char(in.p[i]))
			continue;
		bool known = value[(unsigned char)in.p[i]] != 255;
		clean &= known || in.p[i] == '=';
		n++;
		last = known ? i + 1 : last;
	}
	value['='] = clean && n % 4 == 0 ? 0 : 63;
	unsigned bits = 0, v = 0;
	for (size_t i = 0; i < last && !out->failed; i++) {
		unsigned char d = value[(unsigned char)in.p[i]];
		if (d == 255)
			continue;
		v = (v << 6 | d) & 0xffffff;
		bits += 6;
		if (bits >= 8) {
			bits -= 8;
			buf_ch(out, (char)(v >> bits & 255));
		}
	}
}

static struct str lf_only(struct arena *a, struct buf *b)
{
	if (b->n > 0)
		buf_cut(b, text_to_lf(b->p, buf_view(b)));
	struct str s = arena_str(a, buf_view(b));
	buf_fini(b);
	return s.p == NULL ? STR("") : s;
}

struct str part_decoded(struct arena *a, struct part *p)
{
	if (p->is_decoded)
		return p->decoded;
	p->is_decoded = true;
	p->decoded = p->raw.p == NULL ? STR("") : p->raw;
	const struct field *f = field_last(a, &p->fields, "content-transfer-encoding");
	if (f == NULL)
		return p->decoded;
	struct buf b;
	buf_init(&b, p->raw.n + 16);
	if (str_case_eq(f->value, STR("quoted-printable"))) {
		qp(p->raw, &b);
		p->decoded = lf_only(a, &b);
	} else if (str_case_eq(f->value, STR("base64"))) {
		base64(p->raw, &b);
		bool text = str_starts(p->type, STR("text")) || str_starts(p->type, STR("message"));
		if (text) {
			p->decoded = lf_only(a, &b);
		} else {
			p->decoded = b.n == 0 ? STR("") : arena_str(a, buf_view(&b));
			buf_fini(&b);
		}
	}
	return p->decoded;
}
