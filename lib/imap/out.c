/* Values of responses (RFC 3501 section 9: astring, nstring, date-time). The one place that decides between atom, quoted string and literal. */
#include "imap/out.h"

#include "base/enc.h"
#include "imap/lex.h"
#include "imap/utf7.h"

enum form { PLAIN, ESCAPED, LITERAL };

static enum form form_of(struct str s)
{
	if (s.n > IMAP_QUOTED_MAX || ascii_plain(s) < s.n)
		return LITERAL;
	return str_chr(s, '"') >= 0 || str_chr(s, '\\') >= 0 ? ESCAPED : PLAIN;
}

static void put_escaped(struct buf *out, struct str s)
{
	for (size_t i = 0, from = 0; i <= s.n; i++) {
		if (i < s.n && s.p[i] != '"' && s.p[i] != '\\')
			continue;
		buf_mem(out, s.p + from, i - from);
		if (i < s.n)
			buf_ch(out, '\\');
		from = i;
	}
}

static void put_literal(struct buf *out, struct str s)
{
	buf_ch(out, '{');
	buf_u64(out, s.n);
	buf_c(out, "}\r\n");
	const size_t at = out->n;

	buf_str(out, s);
	for (char *p = out->p + at; out->n > at && (p = memchr(p, 0, (size_t)(out->p + out->n - p)));)
		*p++ = (char)0x80;
}

void imap_put_string(struct buf *out, struct str s)
{
	const enum form form = form_of(s);

	if (form == LITERAL) {
		put_literal(out, s);
		return;
	}
	buf_ch(out, '"');
	if (form == ESCAPED)
		put_escaped(out, s);
	else
		buf_str(out, s);
	buf_ch(out, '"');
}

void imap_put_nstring(struct buf *out, struct str s)
{
	if (s.p)
		imap_put_string(out, s);
	else
		buf_c(out, "NIL");
}

void imap_put_astring(struct buf *out, struct str s)
{
	bool atom = s.n > 0 && s.n <= IMAP_QUOTED_MAX && !str_case_eq(s, STR("NIL"));

	for (size_t i = 0; atom && i < s.n; i++)
		atom = imap_is_astring_char(s.p[i]);
	if (atom)
		buf_str(out, s);
	else
		imap_put_string(out, s);
}

void imap_put_utf8(struct buf *out, struct str s)
{
	bool plain = s.n <= IMAP_QUOTED_MAX && utf8_valid(s), ascii = true;

	for (size_t i = 0; plain && i < s.n; i++) {
		plain = !ch_ctl(s.p[i]);
		ascii &= (unsigned char)s.p[i] < 0x80;
	}
	if (!plain || ascii) {
		imap_put_astring(out, s);
		return;
	}
	buf_ch(out, '"');
	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] == '"' || s.p[i] == '\\')
			buf_ch(out, '\\');
		buf_ch(out, s.p[i]);
	}
	buf_ch(out, '"');
}

void imap_put_mailbox(struct buf *out, struct str utf8)
{
	struct buf name;

	buf_init(&name, 8 * IMAP_MAILBOX_MAX);
	imap_utf7_encode(utf8, &name);
	imap_put_astring(out, buf_view(&name));
	buf_fini(&name);
}

void imap_put_text(struct buf *out, struct str s)
{
	for (size_t i = 0; i < s.n; i++)
		buf_ch(out, s.p[i] >= 0x20 && s.p[i] < 0x7f ? s.p[i] : '?');
}

static void put_two(char *p, unsigned n)
{
	p[0] = (char)('0' + n / 10 % 10);
	p[1] = (char)('0' + n % 10);
}

void imap_put_internaldate(struct buf *out, int64_t when)
{
	static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
	char text[] = "\"dd-Mon-yyyy hh:mm:ss +0000\"";

	/* Four-digit years only. */
	if (when < -62135596800 || when > 253402300799)
		when = 0;
	int64_t days = when / 86400, secs = when % 86400;

	if (secs < 0)
		secs += 86400, days--;
	/* Civil date of a day number; eras of 400 years. */
	days += 719468;
	const int64_t era = days / 146097, doe = days - era * 146097;
	const int64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
	const int64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100), mp = (5 * doy + 2) / 153;
	const unsigned day = (unsigned)(doy - (153 * mp + 2) / 5 + 1), month = (unsigned)(mp < 10 ? mp + 3 : mp - 9);
	const unsigned year = (unsigned)(yoe + era * 400 + (month <= 2));

	put_two(text + 1, day);
	if (text[1] == '0')
		text[1] = ' ';	/* date-day-fixed */
	memcpy(text + 4, months + (month - 1) * 3, 3);
	put_two(text + 8, year / 100);
	put_two(text + 10, year % 100);
	put_two(text + 13, (unsigned)(secs / 3600));
	put_two(text + 16, (unsigned)(secs / 60 % 60));
	put_two(text + 19, (unsigned)(secs % 60));
	buf_mem(out, text, sizeof(text) - 1);
}
