/* DMARC data: lines, the report as XML, who may get it. */
#include "authres/aggregate.h"
#include "authres/psl.h"
#include "test/tap.h"

static const struct spf_result spf = { .result = AUTH_FAIL, .domain = STR("bounce.test") };
static const struct dkim_result dkim[] = {
	{ .result = AUTH_PASS, .domain = STR("a.test"), .selector = STR("s1") },
	{ .result = AUTH_FAIL, .domain = STR("x y\t<b>.test"), .selector = STR("s2") },
};

static struct dmarc_result found(void)
{
	return (struct dmarc_result){ .result = AUTH_PASS, .published = DMARC_REJECT, .domain = STR("sub.a.test"), .organisation = STR("a.test"), .dkim_aligned = true,
		.record = { .policy = DMARC_REJECT, .sub_policy = DMARC_QUARANTINE, .strict_spf = true, .percent = 50, .rua = STR("mailto:r@a.test,\tmailto:x@b.test!10m") } };
}

static bool make(struct arena *a, const struct dmarc_result *d, struct aggregate *out)
{
	const struct aggregate_query q = { .dmarc = d, .spf = &spf, .dkim = dkim, .n_dkim = 2, .client = STR("192.0.2.1"), .envelope_from = STR("bounce.test"),
		.what = "none", .why = "local_policy", .comment = "arc=pass <as>", .now = 1700000000 };
	return aggregate_make(a, &q, out);
}

/* What found() and the results above make of each value. */
#define VALUE(id, want) { AGG_##id, #id, want }
static const struct {
	enum aggregate_field f;
	const char *name, *want;
} values[] = {
	VALUE(DOMAIN, "a.test"), VALUE(RUA, "mailto:r@a.test,?mailto:x@b.test!10m"), VALUE(ADKIM, "r"), VALUE(ASPF, "s"), VALUE(P, "reject"), VALUE(SP, "quarantine"),
	VALUE(PCT, "50"), VALUE(CLIENT, "192.0.2.1"), VALUE(WHAT, "none"), VALUE(WHY, "local_policy"), VALUE(COMMENT, "arc=pass <as>"), VALUE(DKIM, "pass"), VALUE(SPF, "fail"),
	VALUE(FROM, "sub.a.test"), VALUE(ENVELOPE, "bounce.test"), VALUE(SPFDOMAIN, "bounce.test"), VALUE(SPFSCOPE, "mfrom"), VALUE(SPFRESULT, "fail"),
};

static void lines(struct arena *a)
{
	struct aggregate m, again;
	struct buf b;
	const struct dmarc_result d = found();
	struct dmarc_result silent = found();
	buf_init(&b, 10000);
	tap_ok(make(a, &d, &m) && aggregate_put(&b, &m) == 0, "data: a message makes a line");
	tap_ok(b.n > 0 && str_chr(buf_view(&b), '\n') == (ptrdiff_t)b.n - 1, "data: one line");
	tap_is_int(aggregate_parse(str_sub(buf_view(&b), 0, b.n - 1), &again), 0, "data: it is read again");
	tap_is_int(ARRAY_LEN(values), AGG_MAX_, "data: all values are tried");
	for (unsigned i = 0; i < ARRAY_LEN(values); i++)
		tap_is_mem(again.v[values[i].f], str_c(values[i].want), "data: %s comes back", values[i].name);
	tap_ok(again.n_dkim == 1 && str_eq(again.dkim[0], STR("a.test s1 pass")), "data: signatures whose domain is a name");
	silent.record.rua = STR("");
	tap_ok(!make(a, &silent, &m), "data: without rua= nothing is kept");
	silent = found();
	silent.result = AUTH_TEMPERROR;
	tap_ok(!make(a, &silent, &m), "data: what could not be measured is not kept");
	buf_fini(&b);
}

static const struct {
	const char *line, *name;
} bad[] = {
	{ "", "nothing" },
	{ "x\tpolicy=a.test\tfrom=a.test", "no time" },
	{ "1\tpolicy=a.test", "no From" },
	{ "1\tfrom=a.test", "no policy domain" },
	{ "1\tpolicy=a.test\tfrom=a.test\tother=1", "an unknown name" },
	{ "1\tpolicy=a.test\tfrom=a.test\tfrom=b.test", "a name twice" },
	{ "1\tpolicy=a.test\tfrom=a.test\tpct", "no value" },
	{ "1\tpolicy=a.test\tfrom=a.test\tadkim=rr", "a value too long" },
	{ "1\tpolicy=a.test\tfrom=a.\x80test", "a byte that is no ASCII" },
};

static const char *const said[] = {
	"<org_name>A &amp; B</org_name>",
	"<begin>1699920000</begin>",
	"<domain>a.test</domain>\n    <adkim>r</adkim>\n    <aspf>s</aspf>\n    <p>reject</p>\n    <sp>quarantine</sp>\n    <pct>50</pct>",
	"<source_ip>192.0.2.1</source_ip>\n      <count>7</count>",
	"<disposition>none</disposition>",
	"<type>local_policy</type>\n          <comment>arc=pass &lt;as&gt;</comment>",
	"<header_from>sub.a.test</header_from>",
	"<envelope_from>bounce.test</envelope_from>",
	"<selector>s1</selector>\n        <result>pass</result>",
	"<scope>mfrom</scope>\n        <result>fail</result>",
	"</feedback>",
};

static void report(struct arena *a)
{
	struct aggregate_row rows[2] = { { .count = 7 }, { .count = 1 } };
	struct buf b;
	const struct dmarc_result d = found();
	buf_init(&b, 100000);
	tap_ok(make(a, &d, &rows[0].a) && make(a, &d, &rows[1].a), "report: two rows");
	const struct aggregate_report r = { STR("A & B"), STR("postmaster@x.test"), STR("id1"), STR("a.test"), 1699920000, 1700006399, rows, 2 };
	aggregate_xml(&r, &b);
	for (size_t i = 0; i < ARRAY_LEN(said); i++)
		tap_ok(str_find(buf_view(&b), str_c(said[i])) >= 0, "report: line %zu of what it says", i);
	buf_fini(&b);
}

static const struct {
	const char *rua, *want;
} addresses[] = {
	{ "mailto:a@b.test", "a@b.test:0 " },
	{ "mailto:a@b.test!10m , mailto:c@d.test!2k,mailto:e@f.test!7", "a@b.test:10485760 c@d.test:2048 e@f.test:7 " },
	{ "https://x.test/report,MAILTO:a@b.test", "a@b.test:0 " },
	{ "mailto:a!b@c.test", "a!b@c.test:0 " },
	{ "mailto:a b@c.test,mailto:\"x\"@c.test,mailto:@c.test,mailto:a@,mailto:a@b@c.test,mailto:a>@c.test,mailto:", "" },
	{ "mailto:a@b.test!99999999999999999999999g", "" },
	{ "", "" },
};

static void where(struct arena *a)
{
	for (size_t i = 0; i < ARRAY_LEN(addresses); i++) {
		struct str list = str_c(addresses[i].rua), address;
		uint64_t max;
		struct buf got;
		buf_init(&got, 1000);
		while (aggregate_rua_next(&list, a, &address, &max))
			buf_printf(&got, "%.*s:%llu ", STR_ARG(address), (unsigned long long)max);
		tap_is_mem(buf_view(&got), str_c(addresses[i].want), "rua: \"%s\"", addresses[i].rua);
		buf_fini(&got);
	}
	tap_is_mem(aggregate_permission(a, NULL, STR("a.test"), STR("r@reports.a.test")), STR(""), "rua: of the same organisation: no question");
	tap_is_mem(aggregate_permission(a, NULL, STR("a.test"), STR("r@mx.b.test")), STR("a.test._report._dmarc.mx.b.test"), "rua: another one is asked");
}

int main(void)
{
	struct arena *a = arena_new(0);
	struct aggregate m;
	lines(a);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		tap_is_int(aggregate_parse(str_c(bad[i].line), &m), -1, "data: %s is refused", bad[i].name);
	report(a);
	where(a);
	arena_free(&a);
	return tap_done();
}
