/* Modified UTF-7 (RFC 3501 section 5.1.3). */
#include "imap/utf7.h"

#include "base/enc.h"

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+,";

static int digit(char c)
{
	if (ch_upper(c))
		return c - 'A';
	if (ch_lower_p(c))
		return c - 'a' + 26;
	if (ch_digit(c))
		return c - '0' + 52;
	return c == '+' ? 62 : c == ',' ? 63 : -1;
}

/* May the unit stand in a run? What can stand for itself must: no second spelling, no hidden '/'. */
static bool unit_may(unsigned unit, bool level)
{
	if (unit >= 0x20 && unit <= 0x7e)
		return level && unit == '.';
	return level ? unit != 0 : unit >= 0xa0;
}

/* One UTF-16 unit; *high holds a surrogate that waits for its partner. */
static int unit_put(struct buf *out, unsigned unit, bool level, unsigned *high)
{
	if (*high) {
		if (unit < 0xdc00 || unit > 0xdfff)
			return -1;
		utf8_put(out, 0x10000 + ((*high - 0xd800) << 10) + (unit - 0xdc00));
		*high = 0;
		return 0;
	}
	if (unit >= 0xd800 && unit <= 0xdbff) {
		*high = unit;
		return 0;
	}
	if ((unit >= 0xdc00 && unit <= 0xdfff) || !unit_may(unit, level))
		return -1;
	utf8_put(out, unit);
	return 0;
}

/* The run between "&" and "-" (not empty). */
static int run_decode(struct str run, bool level, struct buf *out)
{
	unsigned bits = 0, have = 0, high = 0;

	for (size_t i = 0; i < run.n; i++) {
		const int d = digit(run.p[i]);

		if (d < 0)
			return -1;
		bits = bits << 6 | (unsigned)d;
		have += 6;
		if (have >= 16) {
			have -= 16;
			if (unit_put(out, bits >> have & 0xffff, level, &high) < 0)
				return -1;
			bits &= (1u << have) - 1;
		}
	}
	return high || have >= 6 || bits ? -1 : 0;
}

static int decode(struct str in, bool level, struct buf *out)
{
	for (size_t i = 0; i < in.n;) {
		if (in.p[i] != '&') {
			if (in.p[i] < 0x20 || in.p[i] > 0x7e)
				return -1;
			buf_ch(out, in.p[i++]);
			continue;
		}
		struct str rest = str_from(in, ++i);
		const ptrdiff_t n = str_chr(rest, '-');

		if (n < 0)
			return -1;
		if (n == 0)
			buf_ch(out, '&');
		else if (run_decode(str_sub(rest, 0, (size_t)n), level, out) < 0)
			return -1;
		i += (size_t)n + 1;
		/* "&AAA-&BBB-" has the other spelling "&AAABBB-". */
		if (n > 0 && i + 1 < in.n && in.p[i] == '&' && in.p[i + 1] != '-')
			return -1;
	}
	return buf_failed(out) ? -1 : 0;
}

int imap_utf7_decode(struct str in, struct buf *out)
{
	return decode(in, false, out);
}

int imap_utf7_decode_level(struct str in, struct buf *out)
{
	return decode(in, true, out);
}

struct shift {
	unsigned bits, have;
};

static void shift_unit(struct shift *s, struct buf *out, unsigned unit)
{
	s->bits = s->bits << 16 | unit;
	s->have += 16;
	while (s->have >= 6) {
		s->have -= 6;
		buf_ch(out, alphabet[s->bits >> s->have & 63]);
	}
	s->bits &= (1u << s->have) - 1;
}

static void shift_end(struct shift *s, struct buf *out)
{
	if (s->have)
		buf_ch(out, alphabet[s->bits << (6 - s->have) & 63]);
	buf_ch(out, '-');
	*s = (struct shift){ 0 };
}

void imap_utf7_encode(struct str in, struct buf *out)
{
	struct shift s = { 0 };
	bool shifted = false;

	while (in.n) {
		const uint32_t cp = utf8_next(&in);

		if (cp >= 0x20 && cp <= 0x7e) {
			if (shifted)
				shift_end(&s, out);
			shifted = false;
			buf_ch(out, (char)cp);
			if (cp == '&')
				buf_ch(out, '-');
			continue;
		}
		if (!shifted)
			buf_ch(out, '&');
		shifted = true;
		if (cp >= 0x10000) {
			shift_unit(&s, out, 0xd800 + ((cp - 0x10000) >> 10));
			shift_unit(&s, out, 0xdc00 + ((cp - 0x10000) & 0x3ff));
		} else {
			shift_unit(&s, out, cp);
		}
	}
	if (shifted)
		shift_end(&s, out);
}
