/* Bytes to UTF-8 as SpamAssassin guesses it: what is valid UTF-8 is UTF-8, else the declared charset, else Windows-1252; and encoded words of header
 * fields (RFC 2047), adjacent ones of a charset joined before conversion. */
#include "base/enc.h"
#include "mail/head.h"
#include "spam/msg.h"

/* Strict, but NUL is a character. */
static bool valid_utf8(struct str s)
{
	while (s.n > 0) {
		const char *nul = memchr(s.p, '\0', s.n);
		struct str piece = str_n(s.p, nul == NULL ? s.n : (size_t)(nul - s.p));
		if (!utf8_valid(piece))
			return false;
		s = str_from(s, piece.n + (nul != NULL));
	}
	return true;
}

static const unsigned short w1252[32] = { 0x20ac, 0xfffd, 0x201a, 0x192, 0x201e, 0x2026, 0x2020, 0x2021, 0x2c6, 0x2030, 0x160, 0x2039, 0x152, 0xfffd,
	0x17d, 0xfffd, 0xfffd, 0x2018, 0x2019, 0x201c, 0x201d, 0x2022, 0x2013, 0x2014, 0x2dc, 0x2122, 0x161, 0x203a, 0x153, 0xfffd, 0x17e, 0x178 };

/* false when strict and a byte has no meaning. */
static bool from_w1252(struct str in, bool strict, struct buf *out)
{
	for (size_t i = 0; i < in.n; i++) {
		const size_t plain = str_span7(str_from(in, i));
		buf_mem(out, in.p + i, plain);
		i += plain;
		if (i == in.n)
			break;
		unsigned char c = (unsigned char)in.p[i];
		unsigned cp = c >= 0x80 && c < 0xa0 ? w1252[c - 0x80] : c;
		if (strict && cp == 0xfffd)
			return false;
		utf8_put(out, cp);
	}
	return true;
}

static bool is_w1252(struct str cs)
{
	static const char *const names[] = { "iso-8859-1", "iso8859-1", "windows-1252", "cp1252" };
	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		if (str_case_eq(cs, str_c(names[i])))
			return true;
	return false;
}

static bool is_utf8_name(struct str cs)
{
	return str_case_eq(cs, STR("utf-8")) || str_case_eq(cs, STR("utf8"));
}

static bool is_ascii_name(struct str cs)
{
	return cs.n == 0 || str_case_eq(cs, STR("us-ascii")) || str_case_eq(cs, STR("ascii"));
}

/* Charsets whose seven-bit text is ASCII need no work. */
static bool ascii_based(struct str cs)
{
	static const char *const starts[] = { "iso-8859", "iso8859", "windows-", "utf-8", "utf8", "koi8-", "euc-", "big5", "gbk", "gb18030", "gb-18030" };
	for (size_t i = 0; i < ARRAY_LEN(starts); i++)
		if (str_case_starts(cs, str_c(starts[i])))
			return true;
	return is_ascii_name(cs);
}

static struct str keep(struct arena *a, struct buf *b)
{
	struct str s = arena_str(a, buf_view(b));
	buf_fini(b);
	return s;
}

/* By the declared charset. 1: done. */
static bool declared(struct str bytes, struct str cs, bool insist, struct buf *out)
{
	buf_reset(out);
	if (is_ascii_name(cs) && !insist)
		return false;
	if (is_w1252(cs))
		return from_w1252(bytes, !insist, out);
	if (is_utf8_name(cs) || is_ascii_name(cs)) {
		if (!insist)
			return false;	/* tried before */
		return mail_charset_utf8(STR("utf-8"), bytes, out) == 0;
	}
	return insist ? mail_charset_utf8(cs, bytes, out) == 0 : mail_charset_strict(cs, bytes, out) == 0;
}

struct str charset_to_utf8(struct arena *a, struct str bytes, struct str cs, bool insist)
{
	bool eight = str_has_8bit(bytes);
	cs = str_trim(cs);
	if (!eight && ascii_based(cs))
		return bytes;
	if (eight && !insist && valid_utf8(bytes))
		return bytes;
	struct buf out;
	buf_init(&out, bytes.n * 4 + 64);
	bool done = declared(bytes, cs, insist, &out);
	if (!done && !eight) {
		buf_fini(&out);
		return bytes;
	}
	if (!done) {
		buf_reset(&out);
		from_w1252(bytes, false, &out);
	}
	return keep(a, &out);
}

/* --- header fields --- */

static bool plain_field(struct str key)
{
	static const char *const names[] = { "received", "message-id", "resent-message-id", "date", "resent-date", "mime-version", "references", "in-reply-to" };
	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		if (str_eq(key, str_c(names[i])))
			return true;
	return str_starts(key, STR("list-"));
}

/* "=?charset?X?text?=" at the start of s: its length, or 0. */
static size_t word_at(struct str s, struct str *cs, char *kind, struct str *text)
{
	if (!str_starts(s, STR("=?")))
		return 0;
	size_t i = 2;
	while (i < s.n && (ch_alnum(s.p[i]) || s.p[i] == '*' || s.p[i] == '_' || s.p[i] == '-'))
		i++;
	if (i == 2 || i + 3 >= s.n || s.p[i] != '?' || s.p[i + 2] != '?' || strchr("bqBQ", s.p[i + 1]) == NULL)
		return 0;
	*cs = str_sub(s, 2, i - 2);
	ptrdiff_t lang = str_chr(*cs, '*');
	if (lang >= 0)
		cs->n = (size_t)lang;
	*kind = ch_lower(s.p[i + 1]);
	size_t start = i + 3, end = start;
	while (end < s.n && s.p[end] != '?')
		end++;
	if (end + 1 >= s.n || s.p[end + 1] != '=')
		return 0;
	*text = str_sub(s, start, end - start);
	return end + 2;
}

static void flush(struct arena *a, struct str cs, struct buf *raw, struct buf *out)
{
	if (raw->n > 0)
		buf_str(out, charset_to_utf8(a, buf_view(raw), cs, true));
	buf_reset(raw);
}

static struct str decode_words(struct arena *a, struct str in)
{
	struct buf out, raw;
	struct str cs = { 0 }, word_cs, text;
	char kind;
	buf_init(&out, in.n * 4 + 64);
	buf_init(&raw, in.n + 64);
	for (size_t i = 0; i < in.n;) {
		size_t n = word_at(str_from(in, i), &word_cs, &kind, &text);
		if (n == 0) {
			flush(a, cs, &raw, &out);
			buf_ch(&out, in.p[i++]);
			continue;
		}
		if (!str_case_eq(cs, word_cs))
			flush(a, cs, &raw, &out);
		cs = word_cs;
		if (kind == 'q')
			mail_qp_decode(text, true, &raw);
		else
			mail_b64_decode(text, &raw);
		i += n;
		size_t gap = i;	/* blanks between adjacent words are not there */
		while (gap < in.n && sp_char(in.p[gap]))
			gap++;
		if (gap > i && word_at(str_from(in, gap), &word_cs, &kind, &text) > 0)
			i = gap;
	}
	flush(a, cs, &raw, &out);
	buf_fini(&raw);
	return keep(a, &out);
}

struct str decode_field(struct arena *a, struct str value, struct str key)
{
	char *p = arena_alloc(a, value.n + 1);
	size_t n = 0;
	for (size_t i = 0; i < value.n; i++) {
		if (value.p[i] == '\n' || (value.p[i] == '\r' && i + 1 < value.n && value.p[i + 1] == '\n'))
			continue;
		p[n++] = value.p[i];
	}
	struct str v = str_n(p, n);
	if (str_has_8bit(v))
		v = charset_to_utf8(a, v, STR("utf-8"), false);
	if (str_find(v, STR("=?")) < 0 || plain_field(key))
		return v;
	return decode_words(a, v);
}
