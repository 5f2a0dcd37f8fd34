/* RFC 5321 section 4.1.2: Path, Mailbox, Domain, address literals. Owns the grammar; what an address means (class, account,
 * routing) is queued's and resolve's. Deviations, all lenient on input and none on output:
 *   - an unquoted local part may hold dots anywhere and '@' (the last '@' divides), so that "user@other@ours" reaches the relay
 *     check as a routed address and is refused there with the reason, rather than as a syntax error; strict mode refuses both;
 *   - one trailing dot of a domain is dropped, so "local." and "local" are one name;
 *   - domain labels may hold '_', which exists in the wild;
 *   - local parts may have SMTP_LOCAL_MAX bytes: bounce addresses of mailing services, and those that people unsubscribe and answer
 *     to, are longer than RFC 5321's 64, which asks for more where that is possible (4.5.3.1).
 */
#include "smtp/addr.h"

#include "base/enc.h"
#include "base/num.h"

/* RFC 5322 3.2.3 atext. */
static bool atext(unsigned char c)
{
	static const char specials[] = "!#$%&'*+-/=?^_`{|}~";

	return ch_alnum(c) || (c != 0 && memchr(specials, c, sizeof specials - 1) != NULL);
}

static bool local_plain(unsigned char c, bool strict)
{
	return atext(c) || c == '.' || c >= 0x80 || (c == '@' && !strict);
}

/* An unquoted local part that needs no quotes on output: atoms divided by single dots. */
static bool dot_string(struct str s)
{
	bool dot = true;

	for (size_t i = 0; i < s.n; i++) {
		const unsigned char c = (unsigned char)s.p[i];
		if (c == '.' ? dot : !atext(c) && c < 0x80)
			return false;
		dot = c == '.';
	}
	return s.n > 0 && !dot;
}

static bool label_char(unsigned char c)
{
	return ch_alnum(c) || c == '-' || c == '_' || c >= 0x80;
}

bool smtp_domain_valid(struct str d)
{
	size_t label = 0;

	if (d.n == 0 || d.n > SMTP_DOMAIN_MAX || (str_has_8bit(d) && !utf8_valid(d)))
		return false;
	for (size_t i = 0; i < d.n; i++) {
		const unsigned char c = (unsigned char)d.p[i];
		if (c == '.') {
			if (label == 0 || d.p[i - 1] == '-')
				return false;
			label = 0;
			continue;
		}
		if (!label_char(c) || (c == '-' && label == 0) || ++label > 63)
			return false;
	}
	return label > 0 && d.p[d.n - 1] != '-';
}

static int parse_v4(struct str s, uint8_t out[4])
{
	for (int i = 0; i < 4; i++) {
		const struct str part = i < 3 ? str_split(&s, '.') : s;
		uint64_t v;
		if ((i < 3 && s.p == NULL) || part.n > 3 || num_parse(part, 0, 255, &v) < 0)
			return -1;
		out[i] = (uint8_t)v;
	}
	return 0;
}

/* One group of up to four hex digits. */
static int parse_group(struct str s, uint8_t out[2])
{
	uint64_t v;

	if (s.n > 4 || num_parse_hex(s, 0xffff, &v) < 0)
		return -1;
	out[0] = (uint8_t)(v >> 8);
	out[1] = (uint8_t)v;
	return 0;
}

/* Groups divided by ':', the last may be an IPv4 address. Bytes written, or -1. Empty: 0. */
static int parse_groups(struct str s, uint8_t out[16])
{
	int n = 0;

	if (s.n == 0)
		return 0;
	while (s.p != NULL) {
		const struct str part = str_split(&s, ':');
		if (s.p == NULL && str_chr(part, '.') >= 0) {
			if (n > 12 || parse_v4(part, out + n) < 0)
				return -1;
			return n + 4;
		}
		if (n > 14 || parse_group(part, out + n) < 0)
			return -1;
		n += 2;
	}
	return n;
}

static int parse_v6(struct str s, uint8_t out[16])
{
	const ptrdiff_t gap = str_find(s, STR("::"));
	uint8_t head[16] = { 0 }, tail[16] = { 0 };

	memset(out, 0, 16);
	if (gap < 0)
		return parse_groups(s, out) == 16 ? 0 : -1;
	const int h = parse_groups(str_sub(s, 0, (size_t)gap), head);
	const int t = parse_groups(str_from(s, (size_t)gap + 2), tail);
	if (h < 0 || t < 0 || h + t > 14 || (h > 0 && str_chr(str_sub(s, 0, (size_t)gap), '.') >= 0))
		return -1;
	memcpy(out, head, (size_t)h);
	memcpy(out + 16 - t, tail, (size_t)t);
	return 0;
}

bool smtp_literal_parse(struct str s, uint8_t addr[16])
{
	uint8_t parsed[16] = { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff };

	if (s.n < 3 || s.n > 64 || s.p[0] != '[' || s.p[s.n - 1] != ']')
		return false;
	s = str_sub(s, 1, s.n - 2);
	if (str_case_starts(s, STR("IPv6:"))) {
		if (parse_v6(str_from(s, 5), parsed) < 0)
			return false;
	} else if (parse_v4(s, parsed + 12) < 0) {
		return false;
	}
	memcpy(addr, parsed, sizeof parsed);
	return true;
}

struct str smtp_domain_of(struct str address)
{
	const ptrdiff_t at = str_rchr(address, '@');

	return at < 0 ? STR("") : str_from(address, (size_t)at + 1);
}

bool smtp_helo_valid(struct str s)
{
	uint8_t addr[16];

	if (s.n > 1 && s.p[s.n - 1] == '.')
		s.n--;
	return smtp_domain_valid(s) || smtp_literal_parse(s, addr);
}

bool smtp_addr_routed(const struct smtp_addr *addr)
{
	return str_chr(addr->local, '@') >= 0 || str_chr(addr->local, '%') >= 0 || str_chr(addr->local, '!') >= 0;
}

/* Quoted-string at the start of *in, unquoted into out (as long as *in). */
static int take_quoted(struct str *in, char *out, size_t *n_out, struct err *e)
{
	size_t i = 1, n = 0;

	for (; i < in->n && in->p[i] != '"'; i++) {
		if (in->p[i] == '\\' && ++i == in->n)
			return err_set(e, ERR_INPUT, 0, "backslash at the end of a quoted string");
		if (ch_ctl(in->p[i]))
			return err_set(e, ERR_INPUT, 0, "control character in a quoted local part");
		out[n++] = in->p[i];
	}
	if (i >= in->n)
		return err_set(e, ERR_INPUT, 0, "quoted string without end");
	if (n == 0)
		return err_set(e, ERR_INPUT, 0, "empty local part");
	*in = str_from(*in, i + 1);
	*n_out = n;
	return 0;
}

/* The local part at the start of *in; leaves *in at '@' or at what follows an address without domain. */
static int take_local(struct arena *a, struct str *in, bool strict, struct smtp_addr *out, struct err *e)
{
	size_t n = 0;

	if (in->n > 0 && in->p[0] == '"') {
		char *text = arena_alloc(a, in->n + 1);
		if (text == NULL)
			return err_set(e, ERR_LIMIT, 0, "out of transaction memory");
		if (take_quoted(in, text, &n, e) < 0)
			return -1;
		out->local = str_n(text, n);
		out->quoted = true;
	} else {
		while (n < in->n && local_plain((unsigned char)in->p[n], strict))
			n++;
		const ptrdiff_t at = str_rchr(str_sub(*in, 0, n), '@');
		if (at >= 0)
			n = (size_t)at;
		if (n == 0)
			return err_set(e, ERR_INPUT, 0, "%s", in->n == 0 ? "empty address" : "bad character in the local part");
		out->local = arena_str(a, str_sub(*in, 0, n));
		out->quoted = !dot_string(out->local);
		if (out->local.p == NULL)
			return err_set(e, ERR_LIMIT, 0, "out of transaction memory");
		if (strict && out->quoted)
			return err_set(e, ERR_INPUT, 0, "misplaced dot in the local part");
		*in = str_from(*in, n);
	}
	if (out->local.n > SMTP_LOCAL_MAX)
		return err_set(e, ERR_INPUT, 0, "local part longer than %d", SMTP_LOCAL_MAX);
	return 0;
}

static int take_domain(struct arena *a, struct str *in, struct smtp_addr *out, struct err *e)
{
	const bool literal = in->n > 0 && in->p[0] == '[';
	uint8_t addr[16];
	size_t n = 0;

	while (n < in->n && (literal ? in->p[n] != ']' : label_char((unsigned char)in->p[n]) || in->p[n] == '.'))
		n++;
	if (literal)
		n += n < in->n;
	char *text = arena_cstr(a, str_sub(*in, 0, n));
	if (text == NULL)
		return err_set(e, ERR_LIMIT, 0, "out of transaction memory");
	*in = str_from(*in, n);
	if (!literal && n > 1 && text[n - 1] == '.')
		n--;
	for (size_t i = 0; i < n; i++)
		text[i] = ch_lower(text[i]);
	out->domain = str_n(text, n);
	if (n > SMTP_DOMAIN_MAX)
		return err_set(e, ERR_INPUT, 0, "domain longer than %d", SMTP_DOMAIN_MAX);
	if (literal ? !smtp_literal_parse(out->domain, addr) : !smtp_domain_valid(out->domain))
		return err_set(e, ERR_INPUT, 0, "bad domain");
	return 0;
}

/* "@a,@b:" (RFC 5321 appendix C): read and dropped. */
static int skip_route(struct str *in, struct err *e)
{
	if (in->n == 0 || in->p[0] != '@')
		return 0;
	const ptrdiff_t colon = str_chr(*in, ':');
	if (colon < 0)
		return err_set(e, ERR_INPUT, 0, "source route without address");
	struct str route = str_sub(*in, 0, (size_t)colon);
	while (route.p != NULL) {
		const struct str hop = str_split(&route, ',');
		if (hop.n < 2 || hop.p[0] != '@' || !smtp_domain_valid(str_from(hop, 1)))
			return err_set(e, ERR_INPUT, 0, "bad source route");
	}
	*in = str_from(*in, (size_t)colon + 1);
	return 0;
}

static int take_mailbox(struct arena *a, struct str *in, bool strict, struct smtp_addr *out, struct err *e)
{
	if (take_local(a, in, strict, out, e) < 0)
		return -1;
	if (in->n == 0 || in->p[0] != '@')
		return 0;
	*in = str_from(*in, 1);
	return take_domain(a, in, out, e);
}

static int check_8bit(const struct smtp_addr *addr, bool utf8, struct err *e)
{
	if (!str_has_8bit(addr->local) && !str_has_8bit(addr->domain))
		return 0;
	if (!utf8)
		return err_set(e, ERR_INPUT, 0, "8-bit character in the address");
	if (!utf8_valid(addr->local) || !utf8_valid(addr->domain))
		return err_set(e, ERR_INPUT, 0, "invalid UTF-8 in the address");
	return 0;
}

int smtp_path_parse(struct arena *a, struct str in, bool strict, bool utf8, struct smtp_addr *out, struct str *rest, struct err *e)
{
	struct smtp_addr addr = { .local = STR(""), .domain = STR("") };

	while (!strict && in.n > 0 && ch_blank(in.p[0]))
		in = str_from(in, 1);
	const bool brackets = in.n > 0 && in.p[0] == '<';
	if (brackets)
		in = str_from(in, 1);
	else if (strict)
		return err_set(e, ERR_INPUT, 0, "address without <>");
	if (brackets && in.n > 0 && in.p[0] == '>') {
		in = str_from(in, 1);
	} else {
		if (skip_route(&in, e) < 0 || take_mailbox(a, &in, strict, &addr, e) < 0 || check_8bit(&addr, utf8, e) < 0)
			return -1;
		if (brackets && (in.n == 0 || in.p[0] != '>'))
			return err_set(e, ERR_INPUT, 0, "%s", in.n == 0 ? "missing >" : "bad character in the address");
		if (brackets)
			in = str_from(in, 1);
	}
	if (in.n > 0 && !ch_blank(in.p[0]))
		return err_set(e, ERR_INPUT, 0, "text after the address");
	*out = addr;
	*rest = in;
	return 0;
}

void smtp_addr_format(const struct smtp_addr *addr, struct buf *out)
{
	if (addr->local.n > 0 && !dot_string(addr->local)) {
		buf_ch(out, '"');
		for (size_t i = 0; i < addr->local.n; i++) {
			if (addr->local.p[i] == '"' || addr->local.p[i] == '\\')
				buf_ch(out, '\\');
			buf_ch(out, addr->local.p[i]);
		}
		buf_ch(out, '"');
	} else {
		buf_str(out, addr->local);
	}
	if (addr->domain.n > 0) {
		buf_ch(out, '@');
		buf_str(out, addr->domain);
	}
}

int smtp_addr_parse(struct arena *a, struct str in, struct smtp_addr *out, struct err *e)
{
	struct smtp_addr addr = { .local = STR(""), .domain = STR("") };

	if (take_mailbox(a, &in, false, &addr, e) < 0 || check_8bit(&addr, true, e) < 0)
		return -1;
	if (in.n > 0)
		return err_set(e, ERR_INPUT, 0, "text after the address");
	*out = addr;
	return 0;
}
