/* PROXY protocol 1 and 2. Strict: one blank between words, no leading zeros in ports, no address that is none, and never more than the maximum is waited
 * for; what version 2 carries behind its addresses is skipped by its length. */
#include "smtp/proxy.h"

#include <arpa/inet.h>
#include <string.h>

#include "base/num.h"

static const unsigned char v2_mark[12] = { 0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a };

enum { V2_LOCAL = 0x20, V2_PROXY = 0x21, V2_UNSPEC = 0, V2_TCP4 = 0x11, V2_TCP6 = 0x21 };

static int bad(struct err *e, const char *why)
{
	return err_set(e, ERR_INPUT, 0, "PROXY header: %s", why);
}

/* As numeric text of one form, so that the same address is the same text everywhere. */
static int set_address(int family, const void *raw, char text[64], uint8_t addr[16])
{
	if (inet_ntop(family, raw, text, 64) == NULL)
		return -1;
	if (family == AF_INET6) {
		memcpy(addr, raw, 16);
		return 0;
	}
	memset(addr, 0, 10);
	memset(addr + 10, 0xff, 2);
	memcpy(addr + 12, raw, 4);
	return 0;
}

static int text_address(int family, struct str s, char text[64], uint8_t addr[16])
{
	unsigned char raw[16];
	char copy[64];

	if (s.n == 0 || s.n >= sizeof copy || str_chr(s, '\0') >= 0)
		return -1;
	memcpy(copy, s.p, s.n);
	copy[s.n] = '\0';
	return inet_pton(family, copy, raw) == 1 ? set_address(family, raw, text, addr) : -1;
}

static int text_port(struct str s, uint16_t *out)
{
	uint64_t v;

	if (s.n == 0 || s.n > 5 || (s.n > 1 && s.p[0] == '0') || num_parse(s, 0, 65535, &v) < 0)
		return -1;
	*out = (uint16_t)v;
	return 0;
}

static int v1_line(struct str line, struct smtp_proxy *out, struct err *e)
{
	struct str rest = str_from(line, 6);
	const struct str family = str_split(&rest, ' ');
	const int af = str_eq(family, STR("TCP4")) ? AF_INET : AF_INET6;
	uint8_t server[16];

	if (str_eq(family, STR("UNKNOWN"))) {
		out->local = true;
		return 0;
	}
	if (!str_eq(family, STR("TCP4")) && !str_eq(family, STR("TCP6")))
		return bad(e, "unknown family");
	const struct str client = str_split(&rest, ' '), own = str_split(&rest, ' '), port = str_split(&rest, ' '), own_port = rest;
	if (own_port.p == NULL || text_address(af, client, out->client, out->addr) < 0 || text_address(af, own, out->server, server) < 0 ||
	    text_port(port, &out->client_port) < 0 || text_port(own_port, &out->server_port) < 0)
		return bad(e, "bad address or port");
	return 0;
}

static int v1(struct str in, struct smtp_proxy *out, size_t *used_out, struct err *e)
{
	const struct str part = str_sub(in, 0, SMTP_PROXY_V1_MAX);
	const ptrdiff_t end = str_find(part, STR("\r\n"));

	if (end < 0)
		return part.n == SMTP_PROXY_V1_MAX ? bad(e, "too long") : 1;
	if (v1_line(str_sub(part, 0, (size_t)end), out, e) < 0)
		return -1;
	*used_out = (size_t)end + 2;
	return 0;
}

static int v2(struct str in, struct smtp_proxy *out, size_t *used_out, struct err *e)
{
	const unsigned char *p = (const unsigned char *)in.p;
	uint8_t server[16];

	if (in.n < SMTP_PROXY_V2_HEAD)
		return 1;
	const unsigned command = p[12], family = p[13], n = get_be16(p + 14), ip = family == V2_TCP4 ? 4 : 16;
	if (command != V2_LOCAL && command != V2_PROXY)
		return bad(e, "unknown version or command");
	if (n > SMTP_PROXY_V2_MAX)
		return bad(e, "too long");
	if (in.n < SMTP_PROXY_V2_HEAD + n)
		return 1;
	*used_out = SMTP_PROXY_V2_HEAD + n;
	if (command == V2_LOCAL || family == V2_UNSPEC) {	/* UNKNOWN of version 1 */
		out->local = true;
		return 0;
	}
	if ((family != V2_TCP4 && family != V2_TCP6) || n < 2 * ip + 4)
		return bad(e, "unknown family, or too short for it");
	p += SMTP_PROXY_V2_HEAD;
	const int af = family == V2_TCP4 ? AF_INET : AF_INET6;
	if (set_address(af, p, out->client, out->addr) < 0 || set_address(af, p + ip, out->server, server) < 0)
		return bad(e, "bad address");
	out->client_port = get_be16(p + 2 * ip);
	out->server_port = get_be16(p + 2 * ip + 2);
	return 0;
}

/* Is in the start of mark, as far as both go? */
static bool may_be(struct str in, struct str mark)
{
	const size_t n = in.n < mark.n ? in.n : mark.n;

	return memcmp(in.p ? in.p : "", mark.p, n) == 0;
}

int smtp_proxy_parse(struct str in, struct smtp_proxy *out, size_t *used_out, struct err *e)
{
	const struct str text = STR("PROXY "), binary = str_n(v2_mark, sizeof v2_mark);
	struct smtp_proxy got = { 0 };
	int r = 1;

	if (!may_be(in, text) && !may_be(in, binary))
		return bad(e, "none");
	if (in.n > text.n && may_be(in, text))
		r = v1(in, &got, used_out, e);
	else if (in.n >= binary.n && may_be(in, binary))
		r = v2(in, &got, used_out, e);
	if (r == 0)
		*out = got;
	return r;
}
