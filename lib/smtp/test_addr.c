/* Paths, literals and xtext: the forms of RFC 5321 4.1.2 and the hostile ones. */
#include <stdlib.h>

#include "base/arena.h"
#include "smtp/addr.h"
#include "test/tap.h"

enum { STRICT = 1, UTF8 = 2 };
#define X63 "aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeeeffffffffffggg"

static const struct path_case {
	const char *name, *in;
	int flags;
	const char *want;	/* as formatted; NULL: refused */
	const char *rest;
} paths[] = {
	{ "the null address", "<>", 0, "", "" },
	{ "a plain address", "<joe@example.com>", 0, "joe@example.com", "" },
	{ "domains are folded, local parts are not", "<Joe@EXAMPLE.Com>", 0, "Joe@example.com", "" },
	{ "parameters are left", "<joe@example.com> SIZE=1", 0, "joe@example.com", " SIZE=1" },
	{ "a blank before", " <joe@example.com>", 0, "joe@example.com", "" },
	{ "a blank before, strict", " <joe@example.com>", STRICT, NULL, NULL },
	{ "no brackets", "joe@example.com SIZE=1", 0, "joe@example.com", " SIZE=1" },
	{ "no brackets, strict", "joe@example.com", STRICT, NULL, NULL },
	{ "no domain", "<postmaster>", 0, "postmaster", "" },
	{ "quotes that are not needed go", "<\"joe\"@example.com>", 0, "joe@example.com", "" },
	{ "quotes that are needed stay", "<\"joe doe\"@example.com>", 0, "\"joe doe\"@example.com", "" },
	{ "quoted pairs", "<\"a\\\"b\\\\c\"@d>", 0, "\"a\\\"b\\\\c\"@d", "" },
	{ "an at sign in quotes", "<\"a@b\"@c>", 0, "\"a@b\"@c", "" },
	{ "a second at sign makes it routed", "<a@b@c>", 0, "\"a@b\"@c", "" },
	{ "a second at sign, strict", "<a@b@c>", STRICT, NULL, NULL },
	{ "a source route is dropped", "<@a,@b.example:c@d>", 0, "c@d", "" },
	{ "a source route without address", "<@a,@b>", 0, NULL, NULL },
	{ "an empty quoted local part", "<\"\"@d>", 0, NULL, NULL },
	{ "only an empty quoted string", "<\"\">", 0, NULL, NULL },
	{ "a quoted string without end", "<\"a\\", 0, NULL, NULL },
	{ "a quoted string that ends in a backslash", "<\"a\\\"@b>", 0, NULL, NULL },
	{ "a line feed by quoted pair", "<\"a\\\nb\"@c>", 0, NULL, NULL },
	{ "no local part", "<@d>", 0, NULL, NULL },
	{ "no end", "<a@b", 0, NULL, NULL },
	{ "text behind", "<a@b>c", 0, NULL, NULL },
	{ "an empty domain", "<a@>", 0, NULL, NULL },
	{ "a domain with an empty label", "<a@b..c>", 0, NULL, NULL },
	{ "a trailing dot is dropped", "<a@local.>", 0, "a@local", "" },
	{ "a hyphen starts no label", "<a@-b>", 0, NULL, NULL },
	{ "double dots are quoted on output", "<a..b@c>", 0, "\"a..b\"@c", "" },
	{ "double dots, strict", "<a..b@c>", STRICT, NULL, NULL },
	{ "names with path and shell characters are names", "<../|cmd$`{}@d>", 0, "\"../|cmd$`{}\"@d", "" },
	{ "atext characters", "<!#$%&'*+-/=?^_`{|}~@d>", 0, "!#$%&'*+-/=?^_`{|}~@d", "" },
	{ "an IPv4 literal", "<a@[127.0.0.1]>", 0, "a@[127.0.0.1]", "" },
	{ "an IPv6 literal", "<a@[IPv6:::1]>", 0, "a@[ipv6:::1]", "" },
	{ "a broken literal", "<a@[1.2.3]>", 0, NULL, NULL },
	{ "a literal without end", "<a@[1.2.3.4>", 0, NULL, NULL },
	{ "8-bit without SMTPUTF8", "<j\xc3\xb6@d>", 0, NULL, NULL },
	{ "8-bit with SMTPUTF8", "<j\xc3\xb6@d>", UTF8, "j\xc3\xb6@d", "" },
	{ "truncated UTF-8", "<j\xc3@d>", UTF8, NULL, NULL },
	{ "overlong UTF-8", "<j\xc0\xaf@d>", UTF8, NULL, NULL },
	{ "a surrogate", "<j\xed\xa0\x80@d>", UTF8, NULL, NULL },
	{ "a label of 63", "<a@" X63 ">", 0, "a@" X63, "" },
	{ "a label of 64", "<a@" X63 "h>", 0, NULL, NULL },
	{ "a domain of 255", "<a@" X63 "." X63 "." X63 "." X63 ">", 0, "a@" X63 "." X63 "." X63 "." X63, "" },
	{ "a domain of 257", "<a@" X63 "." X63 "." X63 "." X63 ".b>", 0, NULL, NULL },
	{ "a bang path", "<other!user@ours>", 0, "other!user@ours", "" },
	{ "a percent path", "<user%other@ours>", 0, "user%other@ours", "" },
	{ "a blank in the address", "<a b@c>", 0, NULL, NULL },
};

static void test_path(struct arena *a, const struct path_case *c)
{
	struct smtp_addr addr;
	struct str rest;
	struct err e = { 0 };
	struct buf out;

	arena_reset(a);
	buf_init(&out, 4096);
	const int r = smtp_path_parse(a, str_c(c->in), c->flags & STRICT, c->flags & UTF8, &addr, &rest, &e);
	if (c->want == NULL) {
		tap_ok(r == -1 && e.code == ERR_INPUT, "%s: refused (%s)", c->name, e.text);
	} else if (tap_ok(r == 0, "%s: accepted %s", c->name, e.text)) {
		smtp_addr_format(&addr, &out);
		tap_is_mem(buf_view(&out), str_c(c->want), "%s: formatted", c->name);
		tap_is_mem(rest, str_c(c->rest), "%s: rest", c->name);
		struct smtp_addr again;
		struct buf out2;
		buf_init(&out2, 4096);
		if (addr.local.n > 0 && tap_ok(smtp_addr_parse(a, buf_view(&out), &again, &e) == 0, "%s: parses again %s", c->name, e.text)) {
			smtp_addr_format(&again, &out2);
			tap_is_mem(buf_view(&out2), buf_view(&out), "%s: round trip", c->name);
		}
		buf_fini(&out2);
	}
	/* Cut at every place: never reads behind its length (the sanitizer looks), never crashes. */
	for (size_t n = 0; n < strlen(c->in); n++) {
		char *exact = xmalloc(n + 1);
		memcpy(exact, c->in, n);
		if (smtp_path_parse(a, str_n(exact, n), c->flags & STRICT, c->flags & UTF8, &addr, &rest, &e) == 0 && rest.n > n)
			tap_ok(false, "%s: cut at %zu", c->name, n);
		free(exact);
	}
	buf_fini(&out);
}

static const struct { const char *in; bool ok; uint8_t last; } literals[] = {
	{ "[127.0.0.1]", true, 1 }, { "[1.2.3]", false, 0 }, { "[1.2.3.256]", false, 0 }, { "[1.2.3.4.5]", false, 0 },
	{ "[IPv6:::1]", true, 1 }, { "[IPv6:2001:db8::7]", true, 7 }, { "[IPv6:1:2:3:4:5:6:7:8]", true, 8 },
	{ "[IPv6:1:2:3:4:5:6:7]", false, 0 }, { "[IPv6:1:2:3:4:5:6:7:8:9]", false, 0 }, { "[IPv6:::::]", false, 0 },
	{ "[IPv6:::]", true, 0 }, { "[IPv6:::ffff:1.2.3.9]", true, 9 }, { "[IPv6:1::2::3]", false, 0 }, { "[IPv6:12345::]", false, 0 },
	{ "[::1]", false, 0 }, { "[]", false, 0 }, { "[", false, 0 }, { "[IPv6:]", false, 0 }, { "[IPv6:1.2.3.4::]", false, 0 },
};

static const struct { const char *in, *want; } xtexts[] = {
	{ "abc", "abc" }, { "a+2Bb", "a+b" }, { "+3D", "=" }, { "a+", NULL }, { "a+0", NULL }, { "a+ZZ", NULL }, { "a+00", NULL }, { "a+0A", NULL },
	{ "a=b", NULL }, { "a b", NULL }, { "a+2bb", NULL }, { "", "" }, { "+E4", "\xe4" }, { "\x7f", NULL },
};

int main(void)
{
	struct arena *a = arena_new(0);

	for (size_t i = 0; i < ARRAY_LEN(paths); i++)
		test_path(a, &paths[i]);
	for (size_t i = 0; i < ARRAY_LEN(literals); i++) {
		uint8_t addr[16] = { 0 };
		tap_ok(smtp_literal_parse(str_c(literals[i].in), addr) == literals[i].ok && addr[15] == literals[i].last, "literal %s", literals[i].in);
	}
	for (size_t i = 0; i < ARRAY_LEN(xtexts); i++) {
		struct buf out;
		buf_init(&out, 100);
		const int r = smtp_xtext_decode(str_c(xtexts[i].in), &out);
		tap_ok(r == (xtexts[i].want ? 0 : -1) && (r < 0 || str_eq(buf_view(&out), str_c(xtexts[i].want))), "xtext \"%s\"", xtexts[i].in);
		buf_fini(&out);
	}
	tap_ok(smtp_helo_valid(str_c("host.example.")) && smtp_helo_valid(str_c("[IPv6:::1]")) && !smtp_helo_valid(str_c("a b")) &&
		       !smtp_helo_valid(str_c("[IPv6:::::]")) && !smtp_helo_valid(str_c("")) && !smtp_helo_valid(str_c("a\\nb")),
	       "HELO names");
	arena_free(&a);
	return tap_done();
}
