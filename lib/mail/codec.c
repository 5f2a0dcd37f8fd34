/* Content codecs, tolerant because mail is: quoted-printable (RFC 2045 6.7), base64 with junk, charsets through iconv,
 * encoded words (RFC 2047). Pure but for iconv's tables. */
#include <errno.h>
#include <iconv.h>
#include <string.h>

#include "base/enc.h"
#include "base/vec.h"
#include "mail/head.h"

/* From at on, up to the first byte that means something else than itself in an encoded word. */
static size_t word_plain_end(struct str in, size_t at)
{
	while (at < in.n && in.p[at] != '=' && in.p[at] != '_')
		at++;
	return at;
}

static size_t find(struct str in, size_t at, char c)
{
	const char *p = memchr(in.p + at, c, in.n - at);
	return p == NULL ? in.n : (size_t)(p - in.p);
}

/* The bytes of in from at to end, between which there is no '=', less the blanks that end a line: those were added on the way (RFC 2045 6.7 rule 3). */
static void put_lines(struct str in, size_t at, size_t end, struct buf *out)
{
	while (at < end) {
		const size_t lf = find(str_sub(in, 0, end), at, '\n');
		const bool ends = lf < end || end == in.n;
		const size_t line_end = lf < end && lf > at && in.p[lf - 1] == '\r' ? lf - 1 : lf;
		size_t text_end = line_end;
		while (ends && text_end > at && ch_blank(in.p[text_end - 1]))
			text_end--;
		buf_mem(out, in.p + at, text_end - at);
		at = lf < end ? lf + 1 : end;
		buf_mem(out, in.p + line_end, at - line_end);
	}
}

void mail_qp_decode(struct str in, bool header_q, struct buf *out)
{
	for (size_t i = 0; i < in.n; i++) {
		const size_t plain = header_q ? word_plain_end(in, i) : find(in, i, '=');
		if (header_q)
			buf_mem(out, in.p + i, plain - i);
		else
			put_lines(in, i, plain, out);
		if ((i = plain) == in.n)
			return;
		char c = in.p[i];
		if (header_q && c == '_') {
			buf_ch(out, ' ');
			continue;
		}
		int hi = i + 2 < in.n ? ch_xdigit(in.p[i + 1]) : -1, lo = hi >= 0 ? ch_xdigit(in.p[i + 2]) : -1;
		if (lo >= 0) {
			buf_ch(out, (char)(hi << 4 | lo));
			i += 2;
			continue;
		}
		/* Soft line break, blanks before the line end allowed (RFC 2045 6.7 rule 3). */
		size_t k = i + 1;
		while (k < in.n && ch_blank(in.p[k]))
			k++;
		if (k < in.n && in.p[k] == '\r')
			k++;
		if (k >= in.n && !header_q)
			return;
		if (k < in.n && in.p[k] == '\n') {
			i = k;
			continue;
		}
		buf_ch(out, c);
	}
}

/* Values of base64's characters and of those that stand for two of them in names of files, one more each; 0: none. */
static const unsigned char b64_values[256] = {
	['+'] = 63, 0, 63, 0, 64, 53, 54, 55, 56, 57, 58, 59, 60, 61, 62,
	['A'] = 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 0, 0, 0, 0, 64, 0,
	27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40, 41, 42, 43, 44, 45, 46, 47, 48, 49, 50, 51, 52,
};

static unsigned b64_value(char c)	/* more than 63: none */
{
	return b64_values[(unsigned char)c] - 1u;
}

enum { SIXTEEN_BYTES = VEC / 4 * 3, RUN = 1024 };
typedef uint32_t groups __attribute__((vector_size(VEC)));

/* Sixteen characters of base64's own alphabet, to twelve bytes; one more is written to. false: not all are, or this machine keeps words in another order. */
static bool b64_sixteen(const char *in, char *out)
{
	const vec c = vec_at(in), upper = c - 'A', lower = c - 'a', number = c - '0';
	const vec is_upper = (vec)(upper < 26), is_lower = (vec)(lower < 26), is_number = (vec)(number < 10), is_plus = (vec)(c == '+'), is_slash = (vec)(c == '/');
	if (__BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__ || vec_first(~(is_upper | is_lower | is_number | is_plus | is_slash)) < VEC)
		return false;
	const groups v = (groups)((is_upper & upper) | (is_lower & (lower + 26)) | (is_number & (number + 52)) | (is_plus & 62) | (is_slash & 63));
	const groups pairs = (v & 0x3f003f) << 6 | (v >> 8 & 0x3f003f);		/* the first digit is the lowest byte */
	const groups bytes = (pairs & 0xffff) << 20 | (pairs >> 16) << 8;	/* the first byte is the highest one */
	for (unsigned i = 0; i < VEC / 4; i++) {
		const uint32_t word = __builtin_bswap32(bytes[i]);
		memcpy(out + 3 * i, &word, sizeof(word));
	}
	return true;
}

/* Groups of four characters with nothing between them: nearly all of a line. Returns where they end, or a while before. */
static size_t b64_groups(struct str in, size_t at, struct buf *out)
{
	const size_t room = in.n - at < RUN ? (in.n - at) / 4 * 3 : RUN / 4 * 3;
	size_t n = 0;
	if (room + 1 > out->max - out->n)	/* there may be room for less */
		return at;
	char *run = buf_room(out, room + 1);
	if (run == NULL)
		return at;
	for (; room - n >= SIXTEEN_BYTES && b64_sixteen(in.p + at, run + n); at += VEC)
		n += SIXTEEN_BYTES;
	for (; n < room; at += 4) {
		const unsigned a = b64_value(in.p[at]), b = b64_value(in.p[at + 1]), c = b64_value(in.p[at + 2]), d = b64_value(in.p[at + 3]);
		if ((a | b | c | d) > 63)
			break;
		run[n++] = (char)(a << 2 | b >> 4);
		run[n++] = (char)(b << 4 | c >> 2);
		run[n++] = (char)(c << 6 | d);
	}
	buf_added(out, n);
	return at;
}

void mail_b64_decode(struct str in, struct buf *out)
{
	unsigned v = 0, bits = 0;
	for (size_t i = 0; i < in.n; i++) {
		if (bits == 0)
			i = b64_groups(in, i, out);
		if (i == in.n || out->failed)
			return;
		const char c = in.p[i];
		const unsigned d = b64_value(c);
		if (c == '=') {
			/* Padding ends a run; what follows is a new one (concatenated encodings). */
			bits = 0;
			v = 0;
			continue;
		}
		if (d > 63)
			continue;
		v = (v << 6 | d) & 0xffffff;
		bits += 6;
		if (bits >= 8) {
			bits -= 8;
			buf_ch(out, (char)(v >> bits & 0xff));
		}
	}
}

static bool ascii_like(struct str cs)
{
	return cs.n == 0 || str_case_eq(cs, STR("us-ascii")) || str_case_eq(cs, STR("ascii"));
}

/* The plain ASCII that in begins with; in is what follows. */
static void put_plain(struct str *in, struct buf *out)
{
	const size_t n = ascii_plain(*in);

	buf_mem(out, in->p, n);
	*in = str_from(*in, n);
}

static void put_utf8_lenient(struct str in, struct buf *out)
{
	for (put_plain(&in, out); in.n > 0; put_plain(&in, out))
		utf8_put(out, utf8_next(&in));
}

/* Its characters are the first 256 of Unicode: much mail is in it, and iconv takes two steps for each. */
static void put_latin1(struct str in, struct buf *out)
{
	for (put_plain(&in, out); in.n > 0; put_plain(&in, out)) {
		utf8_put(out, (unsigned char)in.p[0]);
		in = str_from(in, 1);
	}
}

/* --- charsets --- */

static const char *const charsets[] = {
#define CHARSET(name) name,
#include "mail/charsets.def"
#undef CHARSET
};

static iconv_t loaded[ARRAY_LEN(charsets)];
static bool is_loaded;

void mail_charsets_load(void)
{
	for (size_t i = 0; !is_loaded && i < ARRAY_LEN(charsets); i++) {
		char probe[8] = "a", *from = probe, to[8], *out = to;
		size_t left = 1, room = sizeof(to);
		loaded[i] = iconv_open("UTF-8", charsets[i]);
		if (loaded[i] != (iconv_t)-1)
			iconv(loaded[i], &from, &left, &out, &room);
	}
	is_loaded = true;
}

/* A converter, by a name that holds nothing but what names hold; *own: to be closed. */
static iconv_t converter(struct str charset, bool *own)
{
	char name[64];
	*own = false;
	if (str_case_eq(charset, STR("ks_c_5601-1987")))	/* what mail calls the Korean charset of Windows */
		charset = STR("uhc");
	for (size_t i = 0; is_loaded && i < ARRAY_LEN(charsets); i++) {
		if (!str_case_eq(charset, str_c(charsets[i])))
			continue;
		if (loaded[i] != (iconv_t)-1)
			iconv(loaded[i], NULL, NULL, NULL, NULL);
		return loaded[i];
	}
	if (charset.n >= sizeof(name))
		return (iconv_t)-1;
	for (size_t i = 0; i < charset.n; i++) {
		if (!ch_alnum(charset.p[i]) && strchr("-_.:()+", charset.p[i]) == NULL)
			return (iconv_t)-1;
		name[i] = charset.p[i];
	}
	name[charset.n] = '\0';
	*own = true;
	return iconv_open("UTF-8", name);
}

/* All of in; what cannot be converted is U+FFFD. The number of such places, or -1 at the first one when strict. */
static int convert(iconv_t cd, struct str in, bool strict, struct buf *out)
{
	char *from = NULL;
	int bad = 0;
	memcpy(&from, &in.p, sizeof(from));	/* iconv does not write to it, but its type says so */
	for (size_t left = in.n; left > 0 && !out->failed;) {
		char piece[1024], *to = piece;
		size_t room = sizeof(piece);
		size_t r = iconv(cd, &from, &left, &to, &room);
		int why = errno;
		buf_mem(out, piece, sizeof(piece) - room);
		if (r != (size_t)-1 || why == E2BIG)
			continue;
		if (strict)
			return -1;
		bad++;
		utf8_put(out, 0xfffd);
		from += left > 0;
		left -= left > 0;
		iconv(cd, NULL, NULL, NULL, NULL);
	}
	return bad;
}

int mail_charset_strict(struct str charset, struct str in, struct buf *out)
{
	bool own;
	iconv_t cd = converter(str_trim(charset), &own);
	if (cd == (iconv_t)-1)
		return -1;
	size_t before = out->n;
	int r = convert(cd, in, true, out);
	if (r < 0)
		buf_cut(out, before);
	if (own)
		iconv_close(cd);
	return r < 0;
}

int mail_charset_utf8(struct str charset, struct str in, struct buf *out)
{
	charset = str_trim(charset);
	if (ascii_like(charset) || str_case_eq(charset, STR("utf-8")) || str_case_eq(charset, STR("utf8"))) {
		put_utf8_lenient(in, out);
		return 0;
	}
	if (str_case_eq(charset, STR("iso-8859-1"))) {
		put_latin1(in, out);
		return 0;
	}
	bool own;
	iconv_t cd = converter(charset, &own);
	if (cd == (iconv_t)-1) {
		for (size_t i = 0; i < in.n; i++)
			utf8_put(out, (unsigned char)in.p[i] < 0x80 ? (unsigned char)in.p[i] : 0xfffd);
		return -1;
	}
	convert(cd, in, false, out);
	if (own)
		iconv_close(cd);
	return 0;
}

/* One encoded word "=?charset?X?text?=" at the start of s: its length, or 0. */
static size_t word_at(struct str s, struct str *charset, char *kind, struct str *text)
{
	if (!str_starts(s, STR("=?")))
		return 0;
	struct str rest = str_from(s, 2);
	ptrdiff_t q1 = str_chr(rest, '?');
	if (q1 <= 0 || q1 > 60 || (size_t)q1 + 3 > rest.n || rest.p[q1 + 2] != '?')
		return 0;
	struct str t = str_from(rest, (size_t)q1 + 3);
	ptrdiff_t end = str_find(str_sub(t, 0, 65536), STR("?="));
	if (end < 0)
		return 0;
	*charset = str_sub(rest, 0, (size_t)q1);
	ptrdiff_t lang = str_chr(*charset, '*');	/* RFC 2231 section 5 */
	if (lang >= 0)
		charset->n = (size_t)lang;
	*kind = ch_lower(rest.p[q1 + 1]);
	*text = str_sub(t, 0, (size_t)end);
	if ((*kind != 'q' && *kind != 'b') || str_chr(*text, '\n') >= 0)
		return 0;
	return 2 + (size_t)q1 + 3 + (size_t)end + 2;
}

enum { WORDS_OUT_MAX = 65536 };

/* The decoded bytes of a run of words, in their charset. An unknown charset leaves replacement characters: all that can be shown. */
static void put_words(struct str charset, struct buf *raw, struct buf *text)
{
	int known UNUSED = mail_charset_utf8(charset, buf_view(raw), text);
	buf_reset(raw);
}

/* What most values are: printable ASCII without any word. */
static bool is_plain(struct str in)
{
	return in.n <= WORDS_OUT_MAX && ascii_plain(in) == in.n && (str_chr(in, '?') < 0 || str_find(in, STR("=?")) < 0);
}

/* Adjacent words of one charset are joined before conversion: some senders split characters. */
void mail_words_decode(struct str in, struct buf *out)
{
	if (is_plain(in)) {
		buf_str(out, in);
		return;
	}
	struct buf raw, text;
	struct str charset = { 0 };
	bool after_word = false;
	buf_init(&raw, WORDS_OUT_MAX);
	buf_init(&text, WORDS_OUT_MAX);
	for (size_t i = 0; i < in.n && !text.failed;) {
		struct str cs, body;
		char kind;
		size_t skip = i;
		while (after_word && skip < in.n && ch_space(in.p[skip]))
			skip++;
		size_t n = word_at(str_from(in, skip), &cs, &kind, &body);
		if (n > 0) {
			if (raw.n > 0 && !str_case_eq(cs, charset))
				put_words(charset, &raw, &text);
			charset = cs;
			if (kind == 'q')
				mail_qp_decode(body, true, &raw);
			else
				mail_b64_decode(body, &raw);
			i = skip + n;
			after_word = true;
			continue;
		}
		put_words(charset, &raw, &text);
		/* A run of ordinary text up to the next possible word. */
		size_t k = i + 1;
		while (k < in.n && !(in.p[k] == '=' && k + 1 < in.n && in.p[k + 1] == '?'))
			k++;
		for (struct str run = str_sub(in, i, k - i); run.n > 0;) {
			const size_t plain = ascii_plain(run);

			buf_mem(&text, run.p, plain);
			run = str_from(run, plain);
			if (run.n == 0)
				break;
			if (run.p[0] == '\r' || run.p[0] == '\n')
				run = str_from(run, 1);
			else
				utf8_put(&text, utf8_next(&run));
		}
		i = k;
		after_word = false;
	}
	put_words(charset, &raw, &text);
	for (struct str t = buf_view(&text); t.n > 0;) {
		const size_t plain = ascii_plain(t);

		buf_mem(out, t.p, plain);
		t = str_from(t, plain);
		if (t.n == 0)
			break;
		uint32_t cp = utf8_next(&t);
		utf8_put(out, cp < 0x20 || (cp >= 0x7f && cp < 0xa0) ? ' ' : cp);
	}
	buf_fini(&raw);
	buf_fini(&text);
}
