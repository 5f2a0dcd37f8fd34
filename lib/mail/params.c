/* Structured field values with parameters (RFC 2045 5.1, RFC 2231), read in every wrong form that clients accept. Pure. */
#include "base/num.h"
#include "base/enc.h"
#include "mail/head.h"
#include "mail/mime.h"

/* A parameter as written: name, section number (RFC 2231 3), encoded or not (4). */
struct piece {
	struct str name, value;
	uint64_t section;
	bool extended, sectioned, used;
	struct piece *next;
};

static void skip(struct str *s)
{
	for (unsigned depth = 0; s->n > 0; *s = str_from(*s, 1)) {
		char c = s->p[0];
		if (depth > 0 && c == '\\' && s->n > 1)
			*s = str_from(*s, 1);
		else if (c == '(' && depth < MAIL_COMMENT_DEPTH_MAX)
			depth++;
		else if (c == ')' && depth > 0)
			depth--;
		else if (depth == 0 && !ch_space(c))
			return;
	}
}

static struct str quoted(struct arena *a, struct str *s)
{
	char *p = arena_alloc(a, s->n + 1);
	size_t n = 0, i = 1;
	for (; i < s->n && s->p[i] != '"'; i++) {
		/* A backslash before a letter is kept: file names of Windows senders. */
		if (s->p[i] == '\\' && i + 1 < s->n && (s->p[i + 1] == '"' || s->p[i + 1] == '\\'))
			i++;
		if (p != NULL && s->p[i] != '\r' && s->p[i] != '\n')
			p[n++] = s->p[i];
	}
	*s = str_from(*s, i + 1);
	return p == NULL ? (struct str){ 0 } : str_n(p, n);
}

/* Up to the next ';', trimmed: unquoted values with blanks are common. */
static struct str bare(struct str *s)
{
	size_t n = 0;
	while (n < s->n && s->p[n] != ';' && s->p[n] != '\n' && s->p[n] != '\r')
		n++;
	struct str v = str_trim(str_sub(*s, 0, n));
	*s = str_from(*s, n);
	ptrdiff_t comment = str_find(v, STR(" ("));
	return comment < 0 ? v : str_trim(str_sub(v, 0, (size_t)comment));
}

/* "filename*1*" -> name, section, extended. */
static void split_name(struct piece *p)
{
	struct str n = p->name;
	if (n.n > 0 && n.p[n.n - 1] == '*') {
		p->extended = true;
		n.n--;
	}
	ptrdiff_t star = str_chr(n, '*');
	uint64_t section;
	if (star > 0 && num_parse(str_from(n, (size_t)star + 1), 0, MIME_PARAMS_MAX, &section) == 0) {
		p->sectioned = true;
		p->section = section;
		n.n = (size_t)star;
	}
	p->name = n;
}

static struct piece *pieces(struct arena *a, struct str s)
{
	struct piece *list = NULL, **tail = &list;
	for (size_t count = 0; s.n > 0 && count < MIME_PARAMS_MAX;) {
		skip(&s);
		if (s.n > 0 && s.p[0] == ';') {
			s = str_from(s, 1);
			continue;
		}
		size_t n = 0;
		while (n < s.n && s.p[n] != '=' && s.p[n] != ';')
			n++;
		if (n >= s.n)
			return list;
		if (s.p[n] == ';') {
			s = str_from(s, n);
			continue;
		}
		struct piece *p = ARENA_NEW(a, struct piece);
		if (p == NULL)
			return list;
		p->name = str_trim(str_sub(s, 0, n));
		s = str_from(s, n + 1);
		skip(&s);
		p->value = s.n > 0 && s.p[0] == '"' ? quoted(a, &s) : bare(&s);
		split_name(p);
		*tail = p;
		tail = &p->next;
		count++;
	}
	return list;
}

static void percent_decode(struct str in, struct buf *out)
{
	for (size_t i = 0; i < in.n; i++) {
		int hi = in.p[i] == '%' && i + 2 < in.n ? ch_xdigit(in.p[i + 1]) : -1;
		int lo = hi >= 0 ? ch_xdigit(in.p[i + 2]) : -1;
		if (lo >= 0) {
			buf_ch(out, (char)(hi << 4 | lo));
			i += 2;
		} else {
			buf_ch(out, in.p[i]);
		}
	}
}

/* Decode one piece into raw; the first extended one names the charset: charset'language'text. */
static void add_piece(const struct piece *p, bool first, struct str *charset, struct buf *raw)
{
	struct str v = p->value;
	if (!p->extended) {
		buf_str(raw, v);
		return;
	}
	if (first) {
		ptrdiff_t q = str_chr(v, '\'');
		ptrdiff_t q2 = q < 0 ? -1 : str_chr(str_from(v, (size_t)q + 1), '\'');
		if (q2 >= 0) {
			*charset = str_sub(v, 0, (size_t)q);
			v = str_from(v, (size_t)(q + 1 + q2 + 1));
		}
	}
	percent_decode(v, raw);
}

/* All sections of p's name, in numerical order; the pieces are marked used. */
static struct str join(struct arena *a, struct piece *p)
{
	struct buf raw, text;
	struct str charset = { 0 };
	buf_init(&raw, 65536);
	buf_init(&text, 65536 * 3);
	bool extended = p->extended;
	if (!p->sectioned) {
		add_piece(p, true, &charset, &raw);
	} else {
		struct piece *by_section[64] = { 0 };
		for (struct piece *q = p; q != NULL; q = q->next) {
			if (!q->sectioned || q->used || !str_case_eq(q->name, p->name))
				continue;
			q->used = true;
			if (q->section < ARRAY_LEN(by_section) && by_section[q->section] == NULL)
				by_section[q->section] = q;
		}
		bool first = true;
		for (size_t i = 0; i < ARRAY_LEN(by_section); i++) {
			if (by_section[i] == NULL)
				continue;
			extended |= by_section[i]->extended;
			add_piece(by_section[i], first, &charset, &raw);
			first = false;
		}
	}
	if (extended) {
		if (mail_charset_utf8(charset, buf_view(&raw), &text) < 0)
			charset = (struct str){ 0 };
	} else {
		mail_words_decode(buf_view(&raw), &text);	/* wrong, and common: an encoded word in a parameter */
	}
	struct str v = arena_str(a, buf_view(&text));
	buf_fini(&raw);
	buf_fini(&text);
	return v;
}

int mail_params_parse(struct arena *a, struct str value, struct str *token_out, struct mail_param **list_out)
{
	skip(&value);
	size_t n = 0;
	while (n < value.n && value.p[n] != ';' && value.p[n] != '(' && !ch_space(value.p[n]))
		n++;
	*token_out = str_sub(value, 0, n);
	value = str_from(value, n);
	struct mail_param *list = NULL, **tail = &list;
	for (struct piece *p = pieces(a, value); p != NULL; p = p->next) {
		if (p->used)
			continue;
		struct mail_param *m = ARENA_NEW(a, struct mail_param);
		if (m == NULL)
			break;
		m->name = p->name;
		m->value = join(a, p);
		*tail = m;
		tail = &m->next;
	}
	*list_out = list;
	return token_out->n == 0 ? -1 : 0;
}
