/* RFC 3461 section 4: xtext, the encoding of values in ESMTP parameters. Decoded controls (a NUL among them) are refused, so that no
 * value can carry a line end into a log, a header or another protocol. */
#include "smtp/addr.h"

int smtp_xtext_decode(struct str in, struct buf *out)
{
	for (size_t i = 0; i < in.n; i++) {
		const char c = in.p[i];
		if (c == '+') {
			if (in.n - i < 3 || ch_lower_p(in.p[i + 1]) || ch_lower_p(in.p[i + 2]))
				return -1;
			const int hi = ch_xdigit(in.p[i + 1]), lo = ch_xdigit(in.p[i + 2]);
			if (hi < 0 || lo < 0 || ch_ctl(hi << 4 | lo))
				return -1;
			buf_ch(out, (char)(hi << 4 | lo));
			i += 2;
		} else if (c < '!' || c > '~' || c == '=') {
			return -1;
		} else {
			buf_ch(out, c);
		}
	}
	return buf_failed(out) ? -1 : 0;
}

void smtp_xtext_encode(struct str in, struct buf *out)
{
	static const char digits[] = "0123456789ABCDEF";

	for (size_t i = 0; i < in.n; i++) {
		const unsigned char c = (unsigned char)in.p[i];
		if (c < '!' || c > '~' || c == '+' || c == '=') {
			buf_ch(out, '+');
			buf_ch(out, digits[c >> 4]);
			buf_ch(out, digits[c & 15]);
		} else {
			buf_ch(out, (char)c);
		}
	}
}
