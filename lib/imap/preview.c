/* Previews. HTML is read as far as a preview needs it: tags are left out, what is between <style>, <script>, <head>, <title> too, a few entities are
 * characters. */
#include "imap/preview.h"

#include "base/attr.h"
#include "base/enc.h"
#include "base/num.h"
#include "mail/head.h"

/* --- which part --- */

/* The first text part that is no attachment; want_html decides which kind. */
static const struct mime_part *find(const struct mime_part *p, const char *subtype)
{
	for (; p; p = p->next) {
		const struct mime_part *below;

		if (str_case_eq(p->disposition, STR("attachment")))
			continue;
		if (!p->children && mime_type_is(p, "text", subtype))
			return p;
		if (mime_type_is(p, "multipart", "*") && (below = find(p->children, subtype)) != NULL)
			return below;
	}
	return NULL;
}

static struct str charset_of(const struct mime_part *p)
{
	for (const struct mail_param *q = p->params; q; q = q->next) {
		if (str_case_eq(q->name, STR("charset")))
			return q->value;
	}
	return STR("utf-8");
}

/* The beginning of the part's text in UTF-8. */
static void text_of(const struct mime_part *part, struct buf *out)
{
	struct mime_part p = *part;
	struct buf raw;

	p.body = str_sub(p.body, 0, IMAP_PREVIEW_TEXT_MAX);
	buf_init(&raw, IMAP_PREVIEW_TEXT_MAX);
	mime_body_decode(&p, &raw);
	if (str_case_eq(charset_of(part), STR("utf-8")) || str_case_eq(charset_of(part), STR("us-ascii")))
		buf_str(out, buf_view(&raw));
	else
		(void)!mail_charset_utf8(charset_of(part), buf_view(&raw), out);
	buf_fini(&raw);
}

/* --- one line of it --- */

struct line {
	struct buf *out;
	unsigned chars;
	bool blank;		/* a blank is due before the next character */
};

static bool full(const struct line *l)
{
	return l->chars >= IMAP_PREVIEW_MAX;
}

static void put(struct line *l, uint32_t cp)
{
	if (cp <= 0x20 || cp == 0x7f || cp == 0xa0 || cp == 0xfeff || (cp >= 0x80 && cp < 0xa0) || (cp >= 0x200b && cp <= 0x200f)) {
		l->blank |= l->chars > 0;
		return;
	}
	if (l->blank && l->chars + 1 < IMAP_PREVIEW_MAX) {
		buf_ch(l->out, ' ');
		l->chars++;
	}
	l->blank = false;
	utf8_put(l->out, cp);
	l->chars++;
}

static void put_plain(struct line *l, struct str text)
{
	while (text.p && !full(l)) {
		struct str s = str_split(&text, '\n');

		if (s.n && s.p[0] == '>')	/* what somebody else wrote before */
			continue;
		if (str_eq(str_trim(s), STR("--")))	/* a signature */
			return;
		while (s.n && !full(l))
			put(l, utf8_next(&s));
		l->blank |= l->chars > 0;
	}
}

/* --- HTML --- */

static uint32_t entity(struct str *s)
{
	static const struct {
		const char *name;
		uint32_t cp;
	} table[] = { { "amp;", '&' }, { "lt;", '<' }, { "gt;", '>' }, { "quot;", '"' }, { "nbsp;", 0xa0 }, { "apos;", '\'' } };
	struct str t = *s;
	uint64_t n;

	for (size_t i = 0; i < ARRAY_LEN(table); i++) {
		if (str_case_starts(t, str_c(table[i].name))) {
			*s = str_from(t, strlen(table[i].name));
			return table[i].cp;
		}
	}
	if (!str_starts(t, STR("#")))
		return '&';
	t = str_from(t, 1);
	if (num_take(&t, 0x10ffff, &n) < 0 || !str_starts(t, STR(";")))
		return '&';
	*s = str_from(t, 1);
	return (uint32_t)n;
}

/* Over "<…>", and over all of an element whose content is not text. s begins with "<". */
static struct str tag_skip(struct str s)
{
	static const char *const hidden[] = { "style", "script", "head", "title" };
	const ptrdiff_t end = str_chr(s, '>');
	struct str name = str_from(s, 1);

	if (str_starts(s, STR("<!--"))) {
		const ptrdiff_t close = str_find(s, STR("-->"));

		return close < 0 ? (struct str){ 0 } : str_from(s, (size_t)close + 3);
	}
	for (size_t i = 0; i < ARRAY_LEN(hidden); i++) {
		const size_t n = strlen(hidden[i]);
		char close[16] = "</";

		if (!str_case_starts(name, str_c(hidden[i])) || name.n == n || ch_alnum(name.p[n]))
			continue;
		memcpy(close + 2, hidden[i], n + 1);
		const ptrdiff_t at = str_case_find(s, str_c(close));

		return at < 0 ? (struct str){ 0 } : str_from(s, (size_t)at);
	}
	return end < 0 ? (struct str){ 0 } : str_from(s, (size_t)end + 1);
}

static void put_html(struct line *l, struct str s)
{
	while (s.n && !full(l)) {
		if (s.p[0] == '<') {
			s = tag_skip(s);
			l->blank |= l->chars > 0;
			continue;
		}
		uint32_t cp = utf8_next(&s);

		put(l, cp == '&' ? entity(&s) : cp);
	}
}

void imap_preview(const struct mime_part *root, struct buf *out)
{
	const struct mime_part *plain = find(root, "plain"), *html = plain ? NULL : find(root, "html");
	struct line l = { .out = out };
	struct buf text;

	if (!plain && !html)
		return;
	buf_init(&text, 4 * IMAP_PREVIEW_TEXT_MAX);
	text_of(plain ? plain : html, &text);
	if (plain)
		put_plain(&l, buf_view(&text));
	else
		put_html(&l, buf_view(&text));
	buf_fini(&text);
}
