/* TLS reports' texts: records that ask for them, and the report. */
#include "deliver/queue/tlsrpt_text.h"

#include "test/tap.h"

static void test_records(void)
{
	static const struct { const char *name, *text; int r; size_t n; const char *first; } cases[] = {
		{ "RFC 8460 3.1's example", "v=TLSRPTv1;rua=mailto:reports@example.com", 0, 1, "reports@example.com" },
		{ "https is not for us", "v=TLSRPTv1; rua=https://reporting.example.com/v1/tlsrpt", 0, 0, NULL },
		{ "several", "v=TLSRPTv1; rua=https://a.example/, mailto:a@b.example,mailto:c@d.example;", 0, 2, "a@b.example" },
		{ "percent", "v=TLSRPTv1; rua=mailto:a%2Bb@c.example?subject=x", 0, 1, "a+b@c.example" },
		{ "too many", "v=TLSRPTv1;rua=mailto:a@b,mailto:a@b,mailto:a@b,mailto:a@b,mailto:a@b,mailto:a@b,mailto:a@b", 0, 5, "a@b" },
		{ "another record", "v=spf1 -all", 1, 0, NULL },
		{ "another version", "v=TLSRPTv2;rua=mailto:a@b.example", 1, 0, NULL },
		{ "no rua", "v=TLSRPTv1;", -1, 0, NULL },
		{ "no address", "v=TLSRPTv1;rua=mailto:nobody", -1, 0, NULL },
		{ "an empty address", "v=TLSRPTv1;rua=mailto:", -1, 0, NULL },
		{ "a line end in it", "v=TLSRPTv1;rua=mailto:a%0D%0Ab@c.example", -1, 0, NULL },
		{ "a NUL in it", "v=TLSRPTv1;rua=mailto:a%00b@c.example", -1, 0, NULL },
		{ "two addresses in one", "v=TLSRPTv1;rua=mailto:a@b.example%2Cc@d.example", -1, 0, NULL },
		{ "half a percent", "v=TLSRPTv1;rua=mailto:a@b.example%2", -1, 0, NULL },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct arena *a = arena_new(0);
		struct str out[TLSRPT_RUA_MAX];
		struct err e = { 0 };
		size_t n = 0;
		const int r = tlsrpt_record_parse(str_c(cases[i].text), a, out, &n, &e);
		tap_ok(r == cases[i].r && n == cases[i].n && (n == 0 || str_eq(out[0], str_c(cases[i].first))), "record: %s", cases[i].name);
		arena_free(&a);
	}
}

static void test_report(void)
{
	static const struct tlsrpt_row rows[] = {
		{ 20000, STR("b.example"), STR("sts"), STR("success"), STR("mx.b.example"), STR("192.0.2.1"), STR("192.0.2.9"), 5 },
		{ 20000, STR("b.example"), STR("no-policy-found"), STR("success"), STR("mx.b.example"), STR("192.0.2.1"), STR(""), 7 },
		{ 20000, STR("b.example"), STR("sts"), STR("certificate-expired"), STR("mx.b.example"), STR("192.0.2.1"), STR("192.0.2.9"), 2 },
		{ 20000, STR("b.example"), STR("sts"), STR("sts-policy-invalid"), STR(""), STR(""), STR(""), 1 },
	};
	static const struct str mx[] = { STR("*.b.example") };
	static const struct tlsrpt_policy sts = { "enforce", mx, 1, 86400 };
	const struct tlsrpt_row *const v[] = { &rows[0], &rows[1], &rows[2], &rows[3] };
	const struct tlsrpt_report r = { STR("Com\"pany"), STR("postmaster@a.example"), STR("1.2@a.example"), STR("b.example"), 20000, &sts, v, ARRAY_LEN(v) };
	struct err e = { 0 };
	struct buf b;

	buf_init(&b, 65536);
	tap_ok(tlsrpt_report_format(&r, &b, &e) == 0, "a report");
	tap_is_str(b.p,
		   "{\"organization-name\": \"Com\\\"pany\",\"date-range\":{\"start-datetime\": \"2024-10-04T00:00:00Z\", \"end-datetime\": \"2024-10-04T23:59:59Z\"}, "
		   "\"contact-info\": \"postmaster@a.example\", \"report-id\": \"1.2@a.example\",\"policies\":["
		   "{\"policy\":{\"policy-type\": \"sts\",\"policy-string\":[\"version: STSv1\",\"mode: enforce\",\"mx: *.b.example\",\"max_age: 86400\"],"
		   "\"mx-host\":[\"*.b.example\"], \"policy-domain\": \"b.example\"},"
		   "\"summary\":{\"total-successful-session-count\": 5, \"total-failure-session-count\": 3},"
		   "\"failure-details\":[{\"result-type\": \"certificate-expired\", \"sending-mta-ip\": \"192.0.2.9\", \"receiving-mx-hostname\": \"mx.b.example\", "
		   "\"receiving-ip\": \"192.0.2.1\", \"failed-session-count\": 2},{\"result-type\": \"sts-policy-invalid\", \"failed-session-count\": 1}]},"
		   "{\"policy\":{\"policy-type\": \"no-policy-found\", \"policy-domain\": \"b.example\"},"
		   "\"summary\":{\"total-successful-session-count\": 7, \"total-failure-session-count\": 0}}]}\n",
		   "its text");
	buf_fini(&b);
}

int main(void)
{
	test_records();
	test_report();
	return tap_done();
}
