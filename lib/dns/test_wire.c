/* DNS messages: names both ways, queries, answers of every record type, aliases, and each way in which an answer can be malformed. */
#include <stdio.h>

#include "base/num.h"
#include "dns/wire.h"
#include "test/tap.h"

struct msg {
	unsigned char p[4096];
	size_t n;
};

static void raw(struct msg *m, const void *p, size_t n)
{
	memcpy(m->p + m->n, p, n);
	m->n += n;
}

static void u16(struct msg *m, unsigned v)
{
	put_be16(m->p + m->n, (uint16_t)v);
	m->n += 2;
}

static void name(struct msg *m, const char *text)
{
	struct err e = { 0 };
	size_t n = 0;

	if (dns_name_put(str_c(text), m->p + m->n, &n, &e) < 0)
		tap_ok(false, "test name %s: %s", text, e.text);
	m->n += n;
}

static void head(struct msg *m, unsigned flags, const char *question, unsigned type, unsigned answers, unsigned authorities)
{
	m->n = 0;
	u16(m, 7);
	u16(m, flags);
	u16(m, 1);
	u16(m, answers);
	u16(m, authorities);
	u16(m, 0);
	name(m, question);
	u16(m, type);
	u16(m, 1);
}

static size_t record(struct msg *m, const char *owner, unsigned type, unsigned ttl)
{
	name(m, owner);
	u16(m, type);
	u16(m, 1);
	u16(m, ttl >> 16);
	u16(m, ttl & 0xffff);
	u16(m, 0);
	return m->n;
}

static void end(struct msg *m, size_t from)
{
	put_be16(m->p + from - 2, (uint16_t)(m->n - from));
}

static struct str bytes(const struct msg *m)
{
	return str_n(m->p, m->n);
}

static void test_names(struct arena *a)
{
	static const struct {
		const char *in;
		int r;
		size_t n;
	} cases[] = {
		{ "example.com", 0, 13 }, { "example.com.", 0, 13 }, { ".", 0, 1 }, { "a\\.b.c", 0, 7 }, { "a\\000b", 0, 5 }, { "", -1, 0 }, { "a..b", -1, 0 }, { ".a", -1, 0 },
		{ "a\\", -1, 0 }, { "a\\256", -1, 0 }, { "a\\25", -1, 0 },
		{ "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.b", 0, 67 }, { "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.b", -1, 0 },
	};
	char longest[300];

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		unsigned char out[255];
		size_t n = 0;
		struct err e = { 0 };
		tap_is_int(dns_name_put(str_c(cases[i].in), out, &n, &e), cases[i].r, "name \"%s\": taken or not", cases[i].in);
		tap_is_int((long long)n, (long long)cases[i].n, "name \"%s\": wire length", cases[i].in);
	}
	for (int n = 251; n <= 256; n++) {
		unsigned char out[255];
		size_t got;
		struct err e = { 0 };
		for (int i = 0; i < n; i++)
			longest[i] = i % 50 == 49 ? '.' : 'x';
		longest[n - 1] = 'x';
		tap_is_int(dns_name_put(str_n(longest, (size_t)n), out, &got, &e), n <= DNS_NAME_MAX ? 0 : -1, "a name of %d bytes", n);
	}
	(void)a;
}

static void get(const char *what, const struct msg *m, const char *question, unsigned type, const char *want)
{
	struct arena *a = arena_new(0);
	struct dns_records r;
	struct err e = { 0 };
	const char *got = "error";

	if (dns_answer_get(bytes(m), str_c(question), type, a, &r, &e) == 0) {
		got = arena_printf(a, "rcode %u ad %d ttl %u %.*s:", r.rcode, r.ad, r.ttl, STR_ARG(r.canonical));
		for (size_t i = 0; i < r.n; i++)
			got = arena_printf(a, "%s [%.*s]", got, STR_ARG(r.v[i]));
	}
	tap_is_str(got, want, "%s", what);
	/* Cut anywhere: an error, never a read beyond. */
	size_t bad = 0;
	for (size_t n = 0; n < m->n; n++)
		bad += dns_answer_get(str_n(m->p, n), str_c(question), type, a, &r, &e) == 0;
	tap_is_int((long long)bad, 0, "%s: no shorter form is taken", what);
	arena_free(&a);
}

static void test_types(void)
{
	struct msg m;
	size_t at;

	head(&m, 0x81a0, "Example.com", DNS_MX, 3, 0);
	at = record(&m, "example.COM", DNS_MX, 300), u16(&m, 10), name(&m, "mx.example.com"), end(&m, at);
	at = record(&m, "example.com", DNS_MX, 60), u16(&m, 0), name(&m, "."), end(&m, at);
	at = record(&m, "other.com", DNS_MX, 5), u16(&m, 1), name(&m, "evil.com"), end(&m, at);
	get("MX, null MX, AD, the least TTL; another name's record is left out", &m, "example.com", DNS_MX, "rcode 0 ad 1 ttl 60 example.com: [10 mx.example.com] [0 .]");
	head(&m, 0x8180, "a.test", DNS_A, 2, 0);
	at = record(&m, "a.test", DNS_A, 0xffffffff), raw(&m, "\300\0\2\1", 4), end(&m, at);
	at = record(&m, "a.test", DNS_A, 9), raw(&m, "\177\0\0\2", 4), end(&m, at);
	get("A, a TTL with the highest bit is 0", &m, "a.test.", DNS_A, "rcode 0 ad 0 ttl 0 a.test: [192.0.2.1] [127.0.0.2]");
	head(&m, 0x8180, "a.test", DNS_AAAA, 1, 0);
	at = record(&m, "a.test", DNS_AAAA, 9), raw(&m, "\x20\1\xd\xb8\0\0\0\0\0\0\0\0\0\0\0\1", 16), end(&m, at);
	get("AAAA", &m, "a.test", DNS_AAAA, "rcode 0 ad 0 ttl 9 a.test: [2001:db8::1]");
	head(&m, 0x8180, "a.test", DNS_TXT, 1, 0);
	at = record(&m, "a.test", DNS_TXT, 9), raw(&m, "\6v=spf1\5 -all\0", 14), end(&m, at);
	get("TXT: strings are joined", &m, "a.test", DNS_TXT, "rcode 0 ad 0 ttl 9 a.test: [v=spf1 -all]");
	head(&m, 0x8180, "1.2.0.192.in-addr.arpa", DNS_PTR, 1, 0);
	at = record(&m, "1.2.0.192.in-addr.arpa", DNS_PTR, 9), raw(&m, "\3a\nb\4te.t\0", 10), end(&m, at);
	get("PTR: unprintable bytes and dots inside labels are escaped", &m, "1.2.0.192.in-addr.arpa", DNS_PTR,
	    "rcode 0 ad 0 ttl 9 1.2.0.192.in-addr.arpa: [a\\010b.te\\.t]");
	head(&m, 0x8180, "_25._tcp.a.test", DNS_TLSA, 1, 0);
	at = record(&m, "_25._tcp.a.test", DNS_TLSA, 9), raw(&m, "\3\1\1\xab\xcd", 5), end(&m, at);
	get("TLSA", &m, "_25._tcp.a.test", DNS_TLSA, "rcode 0 ad 0 ttl 9 _25._tcp.a.test: [3 1 1 abcd]");
	head(&m, 0x8180, "_s._tcp.a.test", DNS_SRV, 1, 0);
	at = record(&m, "_s._tcp.a.test", DNS_SRV, 9), u16(&m, 1), u16(&m, 2), u16(&m, 993), name(&m, "i.a.test"), end(&m, at);
	get("SRV", &m, "_s._tcp.a.test", DNS_SRV, "rcode 0 ad 0 ttl 9 _s._tcp.a.test: [1 2 993 i.a.test]");
}

static void soa(struct msg *m, const char *owner, unsigned ttl, unsigned minimum)
{
	const size_t at = record(m, owner, DNS_SOA, ttl);

	name(m, "ns.test"), name(m, "root.test");
	for (int i = 0; i < 4; i++)
		u16(m, 0), u16(m, 5);
	u16(m, 0), u16(m, minimum);
	end(m, at);
}

static void test_shapes(void)
{
	struct msg m;
	size_t at;

	head(&m, 0x8183, "no.test", DNS_A, 0, 1);
	soa(&m, "test", 900, 120);
	get("no such name, for as long as the SOA says", &m, "no.test", DNS_A, "rcode 3 ad 0 ttl 120 no.test:");
	head(&m, 0x8180, "w.test", DNS_A, 3, 0);
	at = record(&m, "w.test", DNS_CNAME, 30), name(&m, "x.test"), end(&m, at);
	at = record(&m, "x.test", DNS_CNAME, 40), name(&m, "y.test"), end(&m, at);
	at = record(&m, "y.test", DNS_A, 50), raw(&m, "\300\0\2\1", 4), end(&m, at);
	get("aliases are followed", &m, "w.test", DNS_A, "rcode 0 ad 0 ttl 30 y.test: [192.0.2.1]");
	head(&m, 0x8180, "w.test", DNS_A, 2, 0);
	at = record(&m, "w.test", DNS_CNAME, 30), name(&m, "x.test"), end(&m, at);
	at = record(&m, "x.test", DNS_CNAME, 30), name(&m, "w.test"), end(&m, at);
	get("aliases in a circle are an error", &m, "w.test", DNS_A, "error");
	head(&m, 0x8180, "other.test", DNS_A, 0, 0);
	get("the answer to another question is an error", &m, "a.test", DNS_A, "error");
	head(&m, 0x8180, "a.test", DNS_MX, 0, 0);
	get("the answer for another type is an error", &m, "a.test", DNS_A, "error");
	head(&m, 0x0180, "a.test", DNS_A, 0, 0);
	get("a question is no answer", &m, "a.test", DNS_A, "error");
	head(&m, 0x8180, "a.test", DNS_A, 1, 0);
	at = record(&m, "a.test", DNS_A, 9), raw(&m, "\300\0\2\1\1", 5), end(&m, at);
	get("an address of five bytes is an error", &m, "a.test", DNS_A, "error");
	head(&m, 0x8180, "a.test", DNS_NS, 1, 0);
	at = record(&m, "a.test", DNS_NS, 9);
	raw(&m, "\1x", 2), u16(&m, 0xc000 | (unsigned)at), end(&m, at);
	get("a name that points to itself is an error", &m, "a.test", DNS_NS, "error");
	head(&m, 0x8180, "a.test", DNS_NS, 1, 0);
	at = record(&m, "a.test", DNS_NS, 9);
	raw(&m, "\1x", 2), u16(&m, 0xc000 | 12), end(&m, at);
	get("a name that points back is read", &m, "a.test", DNS_NS, "rcode 0 ad 0 ttl 9 a.test: [x.a.test]");
}

static void test_query(void)
{
	unsigned char q[DNS_QUERY_MAX];
	size_t n = 0;
	struct err e = { 0 };

	tap_is_int(dns_query_put(0x1234, STR("a.test"), DNS_MX, q, &n, &e), 0, "a query is written");
	tap_is_mem(str_n(q, n), STR("\x12\x34\x01\x20\0\1\0\0\0\0\0\1" "\1a\4test\0" "\0\x0f\0\1" "\0\0\x29\x04\xd0\0\0\0\0\0\0"),
		   "recursion wanted, AD wanted, EDNS with its size");
	tap_is_int(dns_query_put(1, STR("a..test"), DNS_MX, q, &n, &e), -1, "no query for what is no name");
}

static void test_reverse(struct arena *a)
{
	static const uint8_t v4[16] = { [10] = 0xff, 0xff, 192, 0, 2, 1 }, v6[16] = { 0x20, 1, 0xd, 0xb8, [15] = 1 };

	tap_is_str(dns_reverse_name(a, v4, STR("")), "1.2.0.192.in-addr.arpa", "the reverse name of an IPv4 address");
	tap_is_str(dns_reverse_name(a, v4, STR("bl.test")), "1.2.0.192.bl.test", "the same below a list's name");
	tap_is_str(dns_reverse_name(a, v6, STR("")), "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa", "the reverse name of an IPv6 address");
}

int main(void)
{
	struct arena *a = arena_new(0);

	test_names(a);
	test_query();
	test_types();
	test_shapes();
	test_reverse(a);
	arena_free(&a);
	return tap_done();
}
