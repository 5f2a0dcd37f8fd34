/* PROXY headers 1 and 2, each cut at every place; XCLIENT attributes. */
#include <stdio.h>
#include <string.h>

#include "base/attr.h"
#include "smtp/proxy.h"
#include "smtp/xclient.h"
#include "test/tap.h"

#define V2 "\r\n\r\n\0\r\nQUIT\n"

static const struct {
	const char *name;
	struct str in;
	int r;
	const char *want;	/* "client port server port", "local" */
} headers[] = {
	{ "version 1, IPv4", STR("PROXY TCP4 192.0.2.1 198.51.100.2 4000 25\r\n"), 0, "192.0.2.1 4000 198.51.100.2 25" },
	{ "version 1, IPv6", STR("PROXY TCP6 2001:DB8:0::1 ::1 0 65535\r\n"), 0, "2001:db8::1 0 ::1 65535" },
	{ "version 1, unknown", STR("PROXY UNKNOWN ffff:f...f:ffff whatever\r\n"), 0, "local" },
	{ "version 1, bare unknown", STR("PROXY UNKNOWN\r\n"), 0, "local" },
	{ "IPv4 in TCP6", STR("PROXY TCP6 192.0.2.1 192.0.2.2 1 2\r\n"), -1, "" },
	{ "a port above", STR("PROXY TCP4 192.0.2.1 192.0.2.2 65536 2\r\n"), -1, "" },
	{ "a port with a zero before it", STR("PROXY TCP4 192.0.2.1 192.0.2.2 025 2\r\n"), -1, "" },
	{ "a word too few", STR("PROXY TCP4 192.0.2.1 192.0.2.2 1\r\n"), -1, "" },
	{ "a word too many", STR("PROXY TCP4 192.0.2.1 192.0.2.2 1 2 3\r\n"), -1, "" },
	{ "two blanks", STR("PROXY TCP4  192.0.2.1 192.0.2.2 1 2\r\n"), -1, "" },
	{ "a bare LF ends nothing", STR("PROXY TCP4 192.0.2.1 192.0.2.2 1 2\nEHLO x\r\n"), -1, "" },
	{ "another protocol", STR("EHLO x\r\n"), -1, "" },
	{ "lower case", STR("proxy TCP4 192.0.2.1 192.0.2.2 1 2\r\n"), -1, "" },
	{ "version 2, IPv4", STR(V2 "\x21\x11\0\x0c\xc0\0\x02\x01\xc6\x33\x64\x02\x0f\xa0\0\x19"), 0, "192.0.2.1 4000 198.51.100.2 25" },
	{ "version 2, IPv6 and a value behind", STR(V2 "\x21\x21\0\x27\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\0\x01\0\x02\x04\0\0"), 0, "2001:db8::1 1 ::1 2" },
	{ "version 2, local", STR(V2 "\x20\0\0\0"), 0, "local" },
	{ "version 2, of nobody known", STR(V2 "\x21\0\0\x03\x01\0\0"), 0, "local" },
	{ "version 2, a UNIX socket", STR(V2 "\x21\x31\0\x04" "abcd"), -1, "" },
	{ "version 2, UDP", STR(V2 "\x21\x12\0\x0c\xc0\0\x02\x01\xc6\x33\x64\x02\x0f\xa0\0\x19"), -1, "" },
	{ "version 2, too short", STR(V2 "\x21\x11\0\x0b\xc0\0\x02\x01\xc6\x33\x64\x02\x0f\xa0\0"), -1, "" },
	{ "version 2, 65535 bytes", STR(V2 "\x21\x11\xff\xff"), -1, "" },
	{ "version 3", STR(V2 "\x31\x11\0\x0c\xc0\0\x02\x01\xc6\x33\x64\x02\x0f\xa0\0\x19"), -1, "" },
	{ "version 2, command 2", STR(V2 "\x22\x11\0\x0c\xc0\0\x02\x01\xc6\x33\x64\x02\x0f\xa0\0\x19"), -1, "" },
};

static void test_header(size_t i)
{
	struct smtp_proxy p = { 0 };
	struct err e = { 0 };
	char got[200] = "";
	size_t used = 0;

	const int r = smtp_proxy_parse(headers[i].in, &p, &used, &e);
	if (r == 0 && !p.local)
		(void)snprintf(got, sizeof got, "%s %u %s %u", p.client, p.client_port, p.server, p.server_port);
	else if (r == 0)
		(void)snprintf(got, sizeof got, "local");
	tap_ok(r == headers[i].r && strcmp(got, headers[i].want) == 0, "%s: %s", headers[i].name, r < 0 ? e.text : got);
	for (size_t n = 0; r == 0 && n < used; n++)
		if (smtp_proxy_parse(str_sub(headers[i].in, 0, n), &p, &used, &e) != 1)
			tap_ok(false, "%s: cut at %zu", headers[i].name, n);
}

static void test_length(void)
{
	char in[300] = "PROXY UNKNOWN ";
	struct smtp_proxy p;
	struct err e = { 0 };
	size_t used;

	memset(in + 14, 'x', sizeof in - 14);
	tap_ok(smtp_proxy_parse(str_n(in, 106), &p, &used, &e) == 1 && smtp_proxy_parse(str_n(in, 107), &p, &used, &e) < 0, "107 bytes without an end are too many");
}

static const struct {
	const char *args;
	unsigned allowed;
	const char *want;	/* values divided by '|', "-" not given; NULL: refused */
} attrs[] = {
	{ "NAME=a.example ADDR=192.0.2.1", XATTRS_XCLIENT, "a.example|192.0.2.1|-|-|-|-|-|-|-|-|" },
	{ "name=[UNAVAILABLE] addr=IPv6:2001:db8::1 port=[tempunavail]", XATTRS_XCLIENT, "|2001:db8::1||-|-|-|-|-|-|-|" },
	{ "LOGIN=joe+2Bx HELO=a+20b PROTO=esmtp", XATTRS_XCLIENT, "-|-|-|esmtp|a b|joe+x|-|-|-|-|" },
	{ "DESTADDR=10.0.0.1 DESTPORT=587", XATTRS_XCLIENT, "-|-|-|-|-|-|10.0.0.1|587|-|-|" },
	{ "SOURCE=LOCAL IDENT=1ABC", XATTRS_XFORWARD, "-|-|-|-|-|-|-|-|1ABC|LOCAL|" },
	{ "LOGIN=joe", XATTRS_XFORWARD, NULL }, { "IDENT=x", XATTRS_XCLIENT, NULL }, { "", XATTRS_XCLIENT, NULL }, { "NAME", XATTRS_XCLIENT, NULL }, { "NAME=", XATTRS_XCLIENT, NULL },
	{ "ADDR=2001:db8::1", XATTRS_XCLIENT, NULL }, { "ADDR=IPV6:192.0.2.1", XATTRS_XCLIENT, NULL }, { "ADDR=192.0.2.256", XATTRS_XCLIENT, NULL },
	{ "ADDR=192.0.2.1+00", XATTRS_XCLIENT, NULL }, { "HELO=a+0D+0Ab", XATTRS_XCLIENT, NULL }, { "PORT=65536", XATTRS_XCLIENT, NULL }, { "PORT=-1", XATTRS_XCLIENT, NULL },
	{ "PROTO=LMTP", XATTRS_XCLIENT, NULL }, { "NAME=a NAME=b", XATTRS_XCLIENT, NULL }, { "IDENT=a;b", XATTRS_XFORWARD, NULL }, { "NAME=a..b", XATTRS_XCLIENT, NULL },
};

static void test_attrs(size_t i)
{
	struct arena *a = arena_new(0);
	struct smtp_xattrs x = { 0 };
	struct err e = { 0 };
	struct buf got;

	buf_init(&got, 4096);
	const int r = smtp_xattrs_parse(a, str_c(attrs[i].args), attrs[i].allowed, &x, &e);
	for (size_t k = 0; k < XATTR_MAX_; k++)
		buf_printf(&got, "%.*s|", x.v[k].p ? (int)x.v[k].n : 1, x.v[k].p ? x.v[k].p : "-");
	tap_ok(attrs[i].want ? r == 0 && strcmp(got.p, attrs[i].want) == 0 : r < 0, "attributes %s: %s", attrs[i].args, r < 0 ? e.text : got.p);
	buf_fini(&got);
	arena_free(&a);
}

int main(void)
{
	for (size_t i = 0; i < ARRAY_LEN(headers); i++)
		test_header(i);
	test_length();
	for (size_t i = 0; i < ARRAY_LEN(attrs); i++)
		test_attrs(i);
	return tap_done();
}
