/* Eval functions over the parts: types, encodings, charsets, capitals (SpamAssassin's MIMEEval). */
#include <stdlib.h>

#include "spam/eval.h"
#include "spam/patterns.h"

/* --- locales --- */

bool charset_ok(const struct set *s, struct str charset)
{
	static const char *const fine[] = { "USASCII", "ASCII", "ISO8859", "ISO10646", "UTF", "UCS", "CP125", "WINDOWS", "IBM852", "UNICODE11UTF", "XUNKNOWN" };
	static const struct { const char *locale, *charsets; } known[] = {
		{ "ja", " EUCJP SHIFTJIS ISO2022JP SJIS JIS7 JISX0201 JISX0208 JISX0212 " }, { "ko", " EUCKR KSC56011987 " },
		{ "ru", " KOI8R KOI8U KOI8T ISOIR111 CP1251 GEORGIANPS PT154 CP866 " }, { "uk", " KOI8R KOI8U KOI8T ISOIR111 CP1251 GEORGIANPS PT154 CP866 " },
		{ "be", " KOI8R KOI8U KOI8T ISOIR111 CP1251 GEORGIANPS PT154 CP866 " }, { "bg", " KOI8R KOI8U KOI8T ISOIR111 CP1251 GEORGIANPS PT154 CP866 " },
		{ "th", " TIS620 " }, { "zh", " GB1988 GB2312 GB231219800 GB18030 GBK BIG5HKSCS BIG5 EUCTW ISO2022CN " },
	};
	char key[64] = " ";
	size_t n = 1;
	for (size_t i = 0; i < charset.n && n + 2 < sizeof(key); i++)
		if (ch_alnum(charset.p[i]))
			key[n++] = ch_up(charset.p[i]);
	key[n] = '\0';
	for (size_t i = 0; i < ARRAY_LEN(fine); i++)
		if (str_starts(str_c(key + 1), str_c(fine[i])))
			return true;
	key[n] = ' ';
	key[n + 1] = '\0';
	for (struct str rest = s->ok_locales, w; str_token(&rest, " \t", &w);) {
		if (str_eq(w, STR("all")))
			return true;
		for (size_t i = 0; i < ARRAY_LEN(known); i++)
			if (str_starts(w, str_c(known[i].locale)) && strstr(known[i].charsets, key) != NULL)
				return true;
	}
	return false;
}

int eval_faraway_head(struct msg *m, const struct rule *r)
{
	(void)r;
	const char *const specs[] = { "From:raw", "Subject:raw" };
	for (size_t i = 0; i < 2; i++) {
		for (struct str v = msg_get(m, specs[i]); v.n > 0;) {
			ptrdiff_t at = str_find(v, STR("=?"));
			if (at < 0)
				break;
			v = str_from(v, (size_t)at + 2);
			struct str rest = v, cs = str_split(&rest, '?');
			if (rest.p != NULL && cs.n > 0 && !charset_ok(m->s, cs))
				return 1;
		}
	}
	return 0;
}

static struct str type_charset(struct msg *m)
{
	struct str v = msg_get(m, "Content-Type");
	ptrdiff_t at = str_case_find(v, STR("charset="));
	if (at < 0)
		return (struct str){ 0 };
	v = str_from(v, (size_t)at + 8);
	char quote = v.n > 0 && (v.p[0] == '"' || v.p[0] == '\'') ? v.p[0] : '\0';
	ptrdiff_t end = quote == '\0' ? -1 : str_chr(str_from(v, 1), quote);
	if (end > 0)
		return str_sub(v, 1, (size_t)end);
	size_t n = 0;
	while (n < v.n && !sp_char(v.p[n]))
		n++;
	return str_sub(v, 0, n);
}

int eval_faraway(struct msg *m, const struct rule *r)
{
	(void)r;
	struct str cs = type_charset(m);
	if (cs.p == NULL || charset_ok(m->s, cs))
		return 0;
	const struct strs *lines = msg_body_lines(m);
	size_t high = 0, all = 0;
	for (size_t i = 0; i < lines->n; i++) {
		const struct str line = lines->v[i];
		for (size_t k = str_span7(line); k < line.n; k += 1 + str_span7(str_from(line, k + 1)))
			high++;
		all += line.n;
	}
	return all - high <= high && high > 3;
}

/* --- what the parts are --- */

static struct str lower_field(struct msg *m, struct part *p, const char *key)
{
	const struct field *f = field_last(m->a, &p->fields, key);
	return f == NULL ? STR("") : str_lower_copy(m->a, f->value);
}

static bool ascii_name(struct str cs)
{
	static const char *const names[] = { "us-ascii", "ansi_x3.4-1968", "iso-ir-6", "ansi_x3.4-1986", "iso_646.irv:1991", "ascii", "iso646-us", "us",
					     "ibm367", "cp367", "csascii" };
	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		if (str_find(cs, str_c(names[i])) >= 0)
			return true;
	return cs.n == 0;
}

static void part_head(struct msg *m, struct msg_evals *e, struct str type, struct str cte, struct str disp, struct str cs)
{
	bool text = str_starts(type, STR("text")), base64 = str_find(cte, STR("base64")) >= 0;
	e->mime.html += str_eq(type, STR("text/html"));
	e->mime.text += text && !str_eq(type, STR("text/html"));
	e->mime.base64 += base64;
	e->mime.qp += !base64 && str_find(cte, STR("quoted-printable")) >= 0;
	e->mime.attachment |= str_find(disp, STR("attachment")) >= 0;
	if (text && base64 && ascii_name(cs) && !str_starts(disp, STR("attachment")) && !str_starts(disp, STR("inline")))
		e->mime.base64_text = true;
	if (pat(PAT_ISO_ODD, cs) && !pat(PAT_ISO_FINE, cs))
		e->mime.bad_iso = true;
	bool letters = false;
	for (size_t i = 0; i < cs.n; i++)
		letters |= ch_alpha(cs.p[i]);
	if (!letters)
		return;
	strs_add(m->a, &e->mime.charsets, cs);
	e->mime.faraway |= !charset_ok(m->s, cs);
}

struct line_counts { size_t qp_bytes, qp_codes, normal, unicode; };

/* Escapes that had no need to be, but not those at the end of a line. */
static void qp_line(struct msg_evals *e, struct str line, struct line_counts *c)
{
	if (line.n > 79)
		e->mime.qp_long = true;
	c->qp_bytes += line.n;
	if (str_chr(line, '=') < 0)
		return;
	size_t codes = 0, at = 0, start, end;
	while (pat_find(PAT_QP_ESCAPES, line, at, &start, &end)) {
		codes++;
		at = end;
	}
	struct str t = sp_trim(line);
	size_t trailing = 0;
	while (t.n >= 3 && (str_ends(t, STR("=20")) || str_ends(t, STR("=09")))) {
		t.n -= 3;
		trailing++;
	}
	c->qp_codes += codes > trailing ? codes - trailing : 0;
}

static void plain_line(struct str line, struct line_counts *c)
{
	size_t subs = 0;
	struct str s = line;
	for (ptrdiff_t at; (at = str_chr(s, '&')) >= 0; s = str_from(s, 1)) {
		s = str_from(s, (size_t)at);
		bool hex = s.n > 7 && str_starts(s, STR("&#x")) && s.p[7] == ';';
		for (size_t k = 3; k < 7 && hex; k++)
			hex = ch_digit(s.p[k]) || (s.p[k] >= 'A' && s.p[k] <= 'F');
		subs += hex;
	}
	c->normal += line.n - 8 * subs;
	c->unicode += subs;
}

static bool illegal_line(struct str line)
{
	return str_chr(line, '\0') >= 0 || str_chr(line, '\r') >= 0 || str_has_8bit(line);
}

static void part_lines(struct msg_evals *e, const struct part *p, struct str cte, struct line_counts *c)
{
	bool plain = str_eq(p->type, STR("text/plain"));
	bool ascii = plain && (p->charset.n == 0 || str_case_eq(p->charset, STR("us-ascii")));
	bool bare = plain && (cte.n == 0 || str_eq(cte, STR("7bit")) || str_eq(cte, STR("8bit")));
	bool qp = str_eq(cte, STR("quoted-printable"));
	for (struct str rest = p->raw; rest.n > 0 && (qp || ascii || bare);) {
		const char *lf = memchr(rest.p, '\n', rest.n);
		struct str line = str_sub(rest, 0, lf == NULL ? rest.n : (size_t)(lf - rest.p) + 1);
		rest = str_from(rest, line.n);
		if (qp && !str_starts(line, STR("SPAM: ")))
			qp_line(e, line, c);
		e->mime.ascii_illegal += ascii && illegal_line(line);
		if (bare)
			plain_line(line, c);
	}
}

/* Sizes of the last plain and the last HTML part that is no attachment. */
static void alternative_ratio(struct msg *m, struct msg_evals *e)
{
	ptrdiff_t text = -1, html = -1;
	for (size_t i = m->n_parts; i-- > 0;) {
		struct part *p = &m->parts[i];
		if (!p->leaf || str_find(lower_field(m, p, "content-disposition"), STR("attachment")) >= 0)
			continue;
		if (html < 0 && str_eq(p->type, STR("text/html")))
			html = (ptrdiff_t)p->raw.n;
		else if (text < 0 && str_eq(p->type, STR("text/plain")))
			text = (ptrdiff_t)p->raw.n;
	}
	e->mime.ratio = text >= 0 && html > 0 ? (double)text / (double)html : 1.0;
}

static struct msg_evals *mime(struct msg *m)
{
	struct msg_evals *e = evals(m);
	if (e->mime_made)
		return e;
	e->mime_made = true;
	struct line_counts c = { 0 };
	msg_parts(m);
	for (size_t i = 0; i < m->n_parts; i++) {
		struct part *p = &m->parts[i];
		struct str cte = lower_field(m, p, "content-transfer-encoding");
		struct str type = p->type_missing ? STR("text/plain") : p->type;
		e->mime.alternative |= str_eq(type, STR("multipart/alternative"));
		struct str cs = p->type_missing ? STR("us-ascii") : str_lower_copy(m->a, p->charset);
		part_head(m, e, type, cte, lower_field(m, p, "content-disposition"), cs);
		if (p->leaf)
			part_lines(e, p, cte, &c);
	}
	if (c.qp_bytes > 0) {
		e->mime.qp_ratio = (double)c.qp_codes / (double)c.qp_bytes;
		e->mime.qp = c.qp_codes;
	}
	e->mime.unicode = c.normal > 0 ? (double)c.unicode / (double)c.normal : 0;
	e->mime.ratio = 1.0;
	if (e->mime.alternative)
		alternative_ratio(m, e);
	e->mime.missing_boundary = (m->flags & MSG_OPEN_BOUNDARY) != 0;
	return e;
}

int eval_mime(struct msg *m, const struct rule *r)
{
	const struct msg_evals *e = mime(m);
	const struct { const char *name; bool value; } all[] = {
		{ "mime_base64_count", e->mime.base64 > 0 }, { "mime_base64_encoded_text", e->mime.base64_text }, { "mime_body_html_count", e->mime.html > 0 },
		{ "mime_body_text_count", e->mime.text > 0 }, { "mime_faraway_charset", e->mime.faraway }, { "mime_missing_boundary", e->mime.missing_boundary },
		{ "mime_multipart_alternative", e->mime.alternative }, { "mime_multipart_ratio", e->mime.ratio > 0 }, { "mime_qp_count", e->mime.qp > 0 },
		{ "mime_qp_long_line", e->mime.qp_long }, { "mime_qp_ratio", e->mime.qp_ratio > 0 }, { "mime_ascii_text_illegal", e->mime.ascii_illegal > 0 },
		{ "mime_text_unicode_ratio", e->mime.unicode > 0 }, { "mime_bad_iso_charset", e->mime.bad_iso }, { "mime_attachment", e->mime.attachment },
	};
	for (size_t i = 0; i < ARRAY_LEN(all); i++)
		if (str_eq(arg(r, 0), str_c(all[i].name)))
			return all[i].value;
	return 0;
}

int eval_mime_html(struct msg *m, const struct rule *r)
{
	(void)r;
	return str_case_starts(msg_get(m, "Content-Type"), STR("text/html")) || mime(m)->mime.html > 0;
}

int eval_mime_html_only(struct msg *m, const struct rule *r)
{
	(void)r;
	return str_case_starts(msg_get(m, "Content-Type"), STR("text/html")) || (mime(m)->mime.html > 0 && mime(m)->mime.text == 0);
}

int eval_mime_ratio(struct msg *m, const struct rule *r)
{
	double v = mime(m)->mime.ratio;
	return v >= arg_number(r, 0, 0) && v < arg_number(r, 1, 1e300);
}

int eval_ascii_illegal(struct msg *m, const struct rule *r)
{
	(void)r;
	return mime(m)->mime.ascii_illegal > 0;
}

int eval_unicode_ratio(struct msg *m, const struct rule *r)
{
	return mime(m)->mime.unicode >= arg_number(r, 0, 1e300);
}

int eval_qp_ratio(struct msg *m, const struct rule *r)
{
	return mime(m)->mime.qp_ratio >= arg_number(r, 0, 1e300);
}

int eval_parse_flags(struct msg *m, const struct rule *r)
{
	static const struct { const char *name; unsigned bit; } flags[] = {
		{ "missing_head_body_separator", MSG_NO_HEAD_END }, { "truncated_header", MSG_TRUNCATED_HEAD }, { "missing_mime_headers", MSG_NO_PART_HEAD },
		{ "missing_mime_head_body_separator", MSG_NO_PART_HEAD_END }, { "mime_epilogue_exists", MSG_EPILOGUE },
		{ "mimepart_limit_exceeded", MSG_PART_LIMIT },
	};
	msg_parts(m);
	msg_get(m, "ALL");
	for (size_t i = 0; i < ARRAY_LEN(flags); i++)
		if (str_eq(arg(r, 0), str_c(flags[i].name)))
			return (m->flags & flags[i].bit) != 0;
	return 0;
}

/* --- capitals --- */

static bool likely_wrong_charset(struct msg *m)
{
	struct str cs = type_charset(m);
	const struct msg_evals *e = mime(m);
	if (cs.p != NULL && pat(PAT_CAPS_CHARSET_ALL, cs))
		return true;
	for (size_t i = 0; i < e->mime.charsets.n; i++)
		if (pat(PAT_CAPS_CHARSET_ALL, e->mime.charsets.v[i]))
			return true;
	return false;
}

struct letters { size_t length, upper, lower; };

static void count_letters(struct str text, unsigned times, struct letters *n)
{
	static const uint64_t one[256] = { ['A' ... 'Z'] = 1ull << 32, ['a' ... 'z'] = 1, ['0' ... '9'] = 1 };
	uint64_t both = 0;
	for (size_t i = 0; i < text.n; i++)
		both += one[(unsigned char)text.p[i]];
	n->length += text.n * times;
	n->upper += (both >> 32) * times;
	n->lower += (both & UINT32_MAX) * times;
}

static double upper_share(struct msg *m)
{
	const struct strs *lines = msg_body_lines(m);
	struct letters n = { 0 };
	size_t start, end;
	if (likely_wrong_charset(m))
		return 0;
	for (size_t i = 0; i < lines->n; i++) {
		struct str line = lines->v[i];
		const unsigned times = area_times(&m->body_lines, i);
		if (times == 0 || !pat(PAT_TWO_WORDS, line) || pat(PAT_BASE64_LINE, line))
			continue;
		const bool jis = pat_find(PAT_JIS, line, 0, &start, &end);
		if (jis) {
			count_letters(str_sub(line, 0, start), times, &n);
			line = str_from(line, end);
		}
		count_letters(line, times, &n);
	}
	return n.length < 200 || n.upper + n.lower == 0 ? 0 : (double)n.upper / (double)(n.upper + n.lower) * 100;
}

int eval_uppercase(struct msg *m, const struct rule *r)
{
	struct msg_evals *e = evals(m);
	if (!e->upper_made)
		e->upper = upper_share(m);
	e->upper_made = true;
	return e->upper > arg_number(r, 0, 0) && e->upper <= arg_number(r, 1, 100);
}

static bool below(const struct part *p, const struct part *top)
{
	for (; p != NULL; p = p->parent)
		if (p == top)
			return true;
	return false;
}

int eval_ma_non_text(struct msg *m, const struct rule *r)
{
	(void)r;
	msg_parts(m);
	for (size_t i = 0; i < m->n_parts; i++) {
		if (!str_eq(m->parts[i].type, STR("multipart/alternative")))
			continue;
		for (size_t k = i + 1; k < m->n_parts && below(&m->parts[k], &m->parts[i]); k++) {
			const struct part *p = &m->parts[k];
			if (p->leaf && p->parent == &m->parts[i] && !str_eq(p->type, STR("application/rtf")) && !str_starts(p->type, STR("text/")))
				return 1;
		}
	}
	return 0;
}

int eval_base64_length(struct msg *m, const struct rule *r)
{
	struct msg_evals *e = evals(m);
	msg_parts(m);
	for (size_t i = 0; i < m->n_parts && !e->base64_made; i++) {
		struct part *p = &m->parts[i];
		if (!p->leaf || str_eq(p->type, STR("application/ics")) || !str_eq(lower_field(m, p, "content-transfer-encoding"), STR("base64")))
			continue;
		for (struct str rest = p->raw; rest.n > 0;) {
			const char *lf = memchr(rest.p, '\n', rest.n);
			size_t n = lf == NULL ? rest.n : (size_t)(lf - rest.p) + 1;
			e->base64_length = n > e->base64_length ? n : e->base64_length;
			rest = str_from(rest, n);
		}
	}
	e->base64_made = true;
	double v = (double)e->base64_length;
	return v >= arg_number(r, 0, 0) && v <= arg_number(r, 1, 1e300);
}
