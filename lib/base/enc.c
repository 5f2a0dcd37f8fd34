/* Base64, hex, UTF-8, neutral text, constant-time compare. Pure. */
#include "base/enc.h"

#include <string.h>

static const char b64[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void base64_encode(struct buf *out, struct str in)
{
	const unsigned char *p = (const unsigned char *)in.p;
	for (size_t i = 0; i < in.n; i += 3) {
		size_t left = in.n - i;
		unsigned v = (unsigned)p[i] << 16 | (left > 1 ? (unsigned)p[i + 1] << 8 : 0) | (left > 2 ? p[i + 2] : 0u);
		char quad[4] = { b64[v >> 18], b64[v >> 12 & 63], left > 1 ? b64[v >> 6 & 63] : '=', left > 2 ? b64[v & 63] : '=' };
		buf_mem(out, quad, 4);
	}
}

static int b64_value(char c)
{
	if (ch_upper(c))
		return c - 'A';
	if (ch_lower_p(c))
		return c - 'a' + 26;
	if (ch_digit(c))
		return c - '0' + 52;
	return c == '+' ? 62 : c == '/' ? 63 : -1;
}

int base64_decode(struct buf *out, struct str in)
{
	if (in.n % 4 != 0)
		return -1;
	for (size_t i = 0; i < in.n; i += 4) {
		bool last = i + 4 == in.n;
		int pad = last && in.p[i + 3] == '=' ? (in.p[i + 2] == '=' ? 2 : 1) : 0;
		unsigned v = 0;
		for (int k = 0; k < 4; k++) {
			int d = k >= 4 - pad ? 0 : b64_value(in.p[i + (size_t)k]);
			if (d < 0)
				return -1;
			v = v << 6 | (unsigned)d;
		}
		if ((pad == 1 && (v & 0xff) != 0) || (pad == 2 && (v & 0xffff) != 0))
			return -1;
		unsigned char three[3] = { (unsigned char)(v >> 16), (unsigned char)(v >> 8), (unsigned char)v };
		buf_mem(out, three, (size_t)(3 - pad));
	}
	return buf_failed(out) ? -1 : 0;
}

void hex_encode(struct buf *out, struct str in)
{
	static const char digits[] = "0123456789abcdef";
	for (size_t i = 0; i < in.n; i++) {
		unsigned char c = (unsigned char)in.p[i];
		buf_ch(out, digits[c >> 4]);
		buf_ch(out, digits[c & 15]);
	}
}

int hex_decode(struct buf *out, struct str in)
{
	if (in.n % 2 != 0)
		return -1;
	for (size_t i = 0; i < in.n; i += 2) {
		int hi = ch_xdigit(in.p[i]), lo = ch_xdigit(in.p[i + 1]);
		if (hi < 0 || lo < 0)
			return -1;
		buf_ch(out, (char)(hi << 4 | lo));
	}
	return buf_failed(out) ? -1 : 0;
}

/* Length of the valid sequence at p (1..4) with its code point, or 0. RFC 3629 section 4. */
static size_t utf8_seq(const unsigned char *p, size_t n, uint32_t *cp)
{
	if (p[0] < 0x80) {
		*cp = p[0];
		return 1;
	}
	size_t len = p[0] >= 0xf0 ? 4 : p[0] >= 0xe0 ? 3 : 2;
	if (p[0] < 0xc2 || p[0] > 0xf4 || n < len)
		return 0;
	uint32_t v = p[0] & (0x7fu >> len);
	for (size_t i = 1; i < len; i++) {
		if ((p[i] & 0xc0) != 0x80)
			return 0;
		v = v << 6 | (p[i] & 0x3fu);
	}
	static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
	if (v < least[len] || v > 0x10ffff || (v >= 0xd800 && v <= 0xdfff))
		return 0;
	*cp = v;
	return len;
}

bool utf8_valid(struct str s)
{
	const unsigned char *p = (const unsigned char *)s.p;
	for (size_t i = 0; i < s.n;) {
		const size_t plain = str_span7(str_from(s, i));
		if (plain > 0 && memchr(p + i, '\0', plain) != NULL)
			return false;
		i += plain;
		uint32_t cp;
		size_t len = i == s.n ? 0 : utf8_seq(p + i, s.n - i, &cp);
		if (len == 0 && i < s.n)
			return false;
		i += len;
	}
	return true;
}

uint32_t utf8_next(struct str *s)
{
	uint32_t cp;
	size_t len = utf8_seq((const unsigned char *)s->p, s->n, &cp);
	*s = str_from(*s, len == 0 ? 1 : len);
	return len == 0 ? 0xfffd : cp;
}

size_t text_to_lf(char *to, struct str in)
{
	size_t n = 0;
	for (struct str rest = in; rest.n > 0;) {
		const char *cr = memchr(rest.p, '\r', rest.n);
		const size_t at = cr == NULL ? rest.n : (size_t)(cr - rest.p), keep = at + (cr != NULL && (at + 1 == rest.n || cr[1] != '\n'));
		memmove(to + n, rest.p, keep);
		n += keep;
		rest = str_from(rest, cr == NULL ? rest.n : at + 1);
	}
	return n;
}

/* Eight at a time: no high bit, none below ' ', none that is DEL. */
size_t ascii_plain(struct str s)
{
	const uint64_t ones = UINT64_C(0x0101010101010101), high = UINT64_C(0x8080808080808080);
	size_t n = 0;

	for (; n + 8 <= s.n; n += 8) {
		uint64_t w;
		memcpy(&w, s.p + n, 8);
		/* Exact while no byte has its high bit: 0x80 less than ' ' keeps it, 1 more than '~' sets it. */
		if ((w | (w + ones)) & high || (~((w | high) - ones * 0x20) & high))
			break;
	}
	while (n < s.n && s.p[n] >= 0x20 && s.p[n] <= 0x7e)
		n++;
	return n;
}

void utf8_put(struct buf *out, uint32_t cp)
{
	if (cp > 0x10ffff || (cp >= 0xd800 && cp <= 0xdfff))
		cp = 0xfffd;
	if (cp < 0x80) {
		buf_ch(out, (char)cp);
	} else if (cp < 0x800) {
		buf_ch(out, (char)(0xc0 | cp >> 6));
		buf_ch(out, (char)(0x80 | (cp & 0x3f)));
	} else if (cp < 0x10000) {
		buf_ch(out, (char)(0xe0 | cp >> 12));
		buf_ch(out, (char)(0x80 | (cp >> 6 & 0x3f)));
		buf_ch(out, (char)(0x80 | (cp & 0x3f)));
	} else {
		buf_ch(out, (char)(0xf0 | cp >> 18));
		buf_ch(out, (char)(0x80 | (cp >> 12 & 0x3f)));
		buf_ch(out, (char)(0x80 | (cp >> 6 & 0x3f)));
		buf_ch(out, (char)(0x80 | (cp & 0x3f)));
	}
}

void text_neutral(struct buf *out, struct str in, size_t max, bool ascii)
{
	size_t start = out->n;
	while (in.n > 0) {
		const size_t plain = ascii_plain(in), room = max - (out->n - start);
		if (plain > 0) {
			buf_mem(out, in.p, plain < room ? plain : room);
			in = str_from(in, plain);
			if (plain <= room)
				continue;
			buf_c(out, "...");
			return;
		}
		uint32_t cp;
		size_t len = utf8_seq((const unsigned char *)in.p, in.n, &cp);
		/* C1 controls and the bidirectional overrides could fool a reader of the log. */
		bool bad = len == 0 || cp < 0x20 || (cp >= 0x7f && cp < 0xa0) || (cp >= 0x202a && cp <= 0x202e) ||
			   (cp >= 0x2066 && cp <= 0x2069) || (ascii && cp >= 0x80);
		size_t take = len == 0 ? 1 : len, put = bad ? 1 : len;
		if (out->n - start + put > max) {
			buf_c(out, "...");
			return;
		}
		buf_mem(out, bad ? "?" : in.p, put);
		in = str_from(in, take);
	}
}

bool mem_equal_ct(const void *a, const void *b, size_t n)
{
	const volatile unsigned char *x = a, *y = b;
	unsigned char diff = 0;
	for (size_t i = 0; i < n; i++)
		diff = (unsigned char)(diff | (x[i] ^ y[i]));
	return diff == 0;
}

void mem_wipe(void *p, size_t n)
{
	explicit_bzero(p, n);
}
