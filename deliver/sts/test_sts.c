/* MTA-STS's texts: records, policies, names, and what a web server answers, whole and cut at every place. */
#include "deliver/sts/sts.h"

#include "test/tap.h"

static void test_records(void)
{
	static const struct { const char *name, *text, *id; int r; } cases[] = {
		{ "RFC 8461 3.1's example", "v=STSv1; id=20160831085700Z;", "20160831085700Z", 0 },
		{ "without the last semicolon", "v=STSv1;id=1", "1", 0 },
		{ "with a field of the future", "v=STSv1; x=y; id=A1 ;", "A1", 0 },
		{ "another record", "v=spf1 -all", NULL, 1 },
		{ "another version", "v=STSv2; id=1;", NULL, 1 },
		{ "nothing behind the version", "v=STSv1", NULL, 1 },
		{ "no id", "v=STSv1;", NULL, -1 },
		{ "an empty id", "v=STSv1; id=;", NULL, -1 },
		{ "an id with a dash", "v=STSv1; id=a-b;", NULL, -1 },
		{ "an id of 33 letters", "v=STSv1; id=aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa;", NULL, -1 },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct str id = { 0 };
		struct err e = { 0 };
		tap_ok(sts_txt_parse(str_c(cases[i].text), &id, &e) == cases[i].r && (cases[i].id == NULL || str_eq(id, str_c(cases[i].id))), "record: %s",
		       cases[i].name);
	}
}

static void test_policies(void)
{
	static const struct { const char *name, *text; int mode; size_t n_mx; uint64_t age; } cases[] = {
		{ "RFC 8461 3.2's example", "version: STSv1\r\nmode: enforce\r\nmx: mail.example.com\r\nmx: *.example.net\r\nmx: backupmx.example.com\r\nmax_age: 604800\r\n",
		  STS_ENFORCE, 3, 604800 },
		{ "LF alone, no last end", "version: STSv1\nmode: testing\nmx: a.example\nmax_age: 0", STS_TESTING, 1, 0 },
		{ "none needs no mx", "version:STSv1\nmode:none\nmax_age:86400\n", STS_NONE, 0, 86400 },
		{ "fields of the future, empty lines", "version: STSv1\n\nfuture: x:y\nmode: enforce\nmx: a.example\nmax_age: 1\n", STS_ENFORCE, 1, 1 },
		{ "the first counts", "version: STSv1\nmode: enforce\nmode: none\nmx: a.example\nmax_age: 5\nmax_age: 6\n", STS_ENFORCE, 1, 5 },
		{ "longer than a year is a year", "version: STSv1\nmode: none\nmax_age: 9999999999\n", STS_NONE, 0, STS_AGE_MAX_S },
		{ "no version", "mode: none\nmax_age: 1\n", -1, 0, 0 },
		{ "another version", "version: STSv2\nmode: none\nmax_age: 1\n", -1, 0, 0 },
		{ "no max_age", "version: STSv1\nmode: none\n", -1, 0, 0 },
		{ "enforce without mx", "version: STSv1\nmode: enforce\nmax_age: 1\n", -1, 0, 0 },
		{ "an unknown mode", "version: STSv1\nmode: hard\nmx: a.example\nmax_age: 1\n", -1, 0, 0 },
		{ "an mx that is no name", "version: STSv1\nmode: enforce\nmx: a b\nmax_age: 1\n", -1, 0, 0 },
		{ "a star elsewhere", "version: STSv1\nmode: enforce\nmx: a.*.example\nmax_age: 1\n", -1, 0, 0 },
		{ "a negative age", "version: STSv1\nmode: none\nmax_age: -1\n", -1, 0, 0 },
		{ "HTML", "<html>\n<p>no\n", -1, 0, 0 },
		{ "nothing", "", -1, 0, 0 },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct sts_policy p = { 0 };
		struct err e = { 0 };
		const int r = sts_policy_parse(str_c(cases[i].text), &p, &e);
		tap_ok(cases[i].mode < 0 ? r < 0 : r == 0 && (int)p.mode == cases[i].mode && p.n_mx == cases[i].n_mx && p.max_age_s == cases[i].age, "policy: %s",
		       cases[i].name);
	}
}

static void test_names(void)
{
	static const struct { const char *pattern, *host; bool yes; } cases[] = {
		{ "mx.example.com", "MX.example.com", true }, { "mx.example.com", "mx2.example.com", false }, { "*.example.com", "mx.example.com", true },
		{ "*.example.com", "example.com", false },    { "*.example.com", "a.mx.example.com", false }, { "*.example.com", ".example.com", false },
		{ "mx.example.com", "mx.example.com.", true },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		tap_ok(sts_mx_matches(str_c(cases[i].pattern), str_c(cases[i].host)) == cases[i].yes, "%s and %s", cases[i].pattern, cases[i].host);
}

#define OK "HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\n"

static void test_http(void)
{
	static const struct { const char *name, *text, *body; } cases[] = {
		{ "a length", OK "Content-Length: 5\r\n\r\nhello", "hello" },
		{ "a length, and more behind it", OK "Content-Length: 5\r\n\r\nhelloxx", "hello" },
		{ "chunks", OK "Transfer-Encoding: chunked\r\n\r\n2;x=y\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n", "hello" },
		{ "until the end", OK "\r\nhello", "hello" },
		{ "lines with LF alone", "HTTP/1.0 200 OK\n\nhello", "hello" },
		{ "an empty body", OK "Content-Length: 0\r\n\r\n", "" },
		{ "not found", "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", NULL },
		{ "a redirect is not followed", "HTTP/1.1 301 Moved\r\nLocation: https://b.example/\r\nContent-Length: 0\r\n\r\n", NULL },
		{ "HTML", "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 5\r\n\r\nhello", NULL },
		{ "too long", OK "Content-Length: 65537\r\n\r\n", NULL },
		{ "two lengths", OK "Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello", NULL },
		{ "a negative length", OK "Content-Length: -5\r\n\r\nhello", NULL },
		{ "gzip, which was not asked for", OK "Content-Encoding: gzip\r\nContent-Length: 5\r\n\r\nhello", NULL },
		{ "a chunk of too many bytes", OK "Transfer-Encoding: chunked\r\n\r\nfffffff\r\n", NULL },
		{ "a chunk with a sign", OK "Transfer-Encoding: chunked\r\n\r\n-2\r\nhe\r\n0\r\n\r\n", NULL },
		{ "a chunk that does not end", OK "Transfer-Encoding: chunked\r\n\r\n2\r\nhexx0\r\n\r\n", NULL },
		{ "SMTP", "220 hello\r\n\r\n", NULL },
		{ "nothing", "", NULL },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		const struct str in = str_c(cases[i].text);
		struct err e = { 0 };
		struct buf body;
		buf_init(&body, STS_BODY_MAX + 1);
		const int r = sts_http_parse(in, true, &body, &e);
		tap_ok(cases[i].body == NULL ? r < 0 : r == 0 && str_eq(buf_view(&body), str_c(cases[i].body)), "HTTP: %s", cases[i].name);
		bool cut_ok = true;
		for (size_t n = 0; n < in.n; n++) {
			const int part = sts_http_parse(str_sub(in, 0, n), false, &body, &e);
			const bool whole = part == 0 && cases[i].body != NULL && str_eq(buf_view(&body), str_c(cases[i].body));
			cut_ok = cut_ok && (part == 1 || whole || (part < 0 && cases[i].body == NULL));
		}
		tap_ok(cut_ok, "HTTP: %s, cut anywhere", cases[i].name);
		buf_fini(&body);
	}
}

int main(void)
{
	test_records();
	test_policies();
	test_names();
	test_http();
	return tap_done();
}
