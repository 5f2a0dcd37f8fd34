/* DMARC: organisational domains, records, alignment, policy, several From; and the Authentication-Results field that tells of it. */
#include "authres/idn.h"
#include "authres/results.h"
#include "test/tap.h"
#include "test_zone.h"

static const char list[] = "// a comment\ncom\nuk\nco.uk\n*.ck\n!www.ck\ntest\nhosting.test\n";

static const struct { const char *domain, *with, *without; } organisations[] = {
	{ "example.com", "example.com", "example.com" },
	{ "a.b.Example.COM", "Example.COM", "Example.COM" },
	{ "mail.shop.co.uk", "shop.co.uk", "co.uk" },
	{ "co.uk", "co.uk", "co.uk" },
	{ "a.b.c.ck", "b.c.ck", "c.ck" },
	{ "a.www.ck", "www.ck", "www.ck" },
	{ "x.customer.hosting.test", "customer.hosting.test", "hosting.test" },
	{ "a.unknown", "a.unknown", "a.unknown" },
	{ "b.a.unknown", "a.unknown", "a.unknown" },
	{ "com", "com", "com" },
};

static const char zone_text[] =
	"_dmarc.reject.test TXT v=DMARC1; p=reject; pct=100\n"
	"_dmarc.strict.test TXT v=DMARC1; p=reject; adkim=s; aspf=s\n"
	"_dmarc.org.test TXT v=DMARC1;p=reject;sp=quarantine;\n"
	"_dmarc.watch.test TXT v=DMARC1; p=none; rua=mailto:x@watch.test\n"
	"_dmarc.half.test TXT v=DMARC1; p=reject; pct=50\n"
	"_dmarc.twice.test TXT v=DMARC1; p=reject\n_dmarc.twice.test TXT v=DMARC1; p=none\n"
	"_dmarc.noisy.test TXT some other text\n_dmarc.noisy.test TXT v=DMARC1; p=quarantine\n"
	"_dmarc.faulty.test TXT v=DMARC1; p=ban\n"
	"_dmarc.faulty2.test TXT v=DMARC1; p=ban; rua=mailto:a@faulty2.test\n"
	"_dmarc.faulty3.test TXT v=DMARC1; p=reject; sp=ban; rua=mailto:a@faulty3.test\n"
	"_dmarc.wide.test TXT v = DMARC1 ; P = reject ;\n"
	"_dmarc.loose.test TXT v=DMARC1; p=reject;; rua=mailto:a@loose.test; rua=mailto:b@loose.test; 1=2; nonsense; adkim=s\n"
	"_dmarc.later.test TXT v=DMARC10; p=none\n_dmarc.later.test TXT v=DMARC1; p=reject\n"
	"_dmarc.xn--bnk-qla.test TXT v=DMARC1; p=reject\n"
	"_dmarc.slow.test TIMEOUT\n";

/* spf, dkim: "result domain", or NULL. */
static const struct {
	const char *from, *spf, *dkim;
	unsigned draw;
	const char *result, *policy, *name;
} cases[] = {
	{ "From: a@reject.test\n", NULL, NULL, 0, "fail", "reject", "nothing authenticates" },
	{ "From: a@reject.test\n", "pass reject.test", NULL, 0, "pass", "none", "SPF of the domain" },
	{ "From: a@reject.test\n", "pass bounce.reject.test", NULL, 0, "pass", "none", "SPF of a subdomain, relaxed" },
	{ "From: a@reject.test\n", "softfail reject.test", NULL, 0, "fail", "reject", "SPF that does not pass" },
	{ "From: a@reject.test\n", "pass evil.test", "pass evil.test", 0, "fail", "reject", "both pass for another" },
	{ "From: a@reject.test\n", "fail evil.test", "pass reject.test", 0, "pass", "none", "DKIM of the domain" },
	{ "From: a@reject.test\n", NULL, "policy reject.test", 0, "fail", "reject", "a signature of a part" },
	{ "From: a@reject.test\n", NULL, "temperror reject.test", 0, "temperror", "none", "a key that nobody could tell" },
	{ "From: a@strict.test\n", "pass x.strict.test", "pass x.strict.test", 0, "fail", "reject", "strict: subdomains do not align" },
	{ "From: a@strict.test\n", "pass strict.test", NULL, 0, "pass", "none", "strict: the domain does" },
	{ "From: a@sub.org.test\n", NULL, NULL, 0, "fail", "quarantine", "a subdomain: sp=" },
	{ "From: a@org.test\n", NULL, NULL, 0, "fail", "reject", "the domain itself: p=" },
	{ "From: a@sub.org.test\n", "pass other.org.test", NULL, 0, "pass", "none", "a sibling aligns, relaxed" },
	{ "From: a@watch.test\n", NULL, NULL, 0, "fail", "none", "p=none" },
	{ "From: a@half.test\n", NULL, NULL, 49, "fail", "reject", "pct: inside" },
	{ "From: a@half.test\n", NULL, NULL, 50, "fail", "quarantine", "pct: outside gets the next weaker" },
	{ "From: a@twice.test\n", NULL, NULL, 0, "none", "none", "two records are none" },
	{ "From: a@noisy.test\n", NULL, NULL, 0, "fail", "quarantine", "other text beside the record" },
	{ "From: a@faulty.test\n", NULL, NULL, 0, "none", "none", "an unknown policy" },
	{ "From: a@faulty2.test\n", NULL, NULL, 0, "fail", "none", "an unknown policy, but reports are wanted" },
	{ "From: a@faulty3.test\n", NULL, NULL, 0, "fail", "none", "an unknown policy for subdomains, but reports are wanted" },
	{ "From: a@wide.test\n", NULL, NULL, 0, "fail", "reject", "blanks around =, tags in capitals" },
	{ "From: a@loose.test\n", NULL, "pass x.loose.test", 0, "fail", "reject", "mistakes behind the policy are passed over, each by itself" },
	{ "From: a@later.test\n", NULL, NULL, 0, "fail", "reject", "a record of another version is none" },
	{ "From: a@slow.test\n", NULL, NULL, 0, "temperror", "none", "nobody answers" },
	{ "From: a@nothing.test\n", NULL, NULL, 0, "none", "none", "no record" },
	{ "From: a@customer.hosting.test\n", NULL, NULL, 0, "none", "none", "a public suffix is no organisation" },
	{ "From: a@good.test\nFrom: a@reject.test\n", "pass good.test", NULL, 0, "fail", "reject", "a second From hides nothing" },
	{ "From: a@good.test, b@reject.test\n", "pass good.test", NULL, 0, "fail", "reject", "nor does a second address" },
	{ "From: \"a@good.test\" <b@reject.test>\n", "pass good.test", NULL, 0, "fail", "reject", "nor a display name" },
	{ "From: a@a.t, b@b.t, c@c.t, d@d.t, e@e.t, f@f.t\n", NULL, NULL, 0, "permerror", "none", "six domains" },
	{ "From: a@b\xc3\xa4nk.test\n", NULL, NULL, 0, "fail", "reject", "a domain in UTF-8 is that of its A-labels" },
	{ "Subject: x\n", NULL, NULL, 0, "none", "none", "no From" },
};

static const struct { const char *in, *out; } names[] = {
	{ "plain.test", "plain.test" },
	{ "b\xc3\xa4nk.test", "xn--bnk-qla.test" },
	{ "M\xc3\xbcnchen.de", "xn--mnchen-3ya.de" },
	{ "\xd0\xbf\xd0\xbe\xd1\x87\xd1\x82\xd0\xb0.test", "xn--80a1acny.test" },
	{ "www.\xe4\xbe\x8b\xe3\x81\x88", "www.xn--r8jz45g" },
	{ "stra\xc3\x9f" "e.de", "xn--strae-oqa.de" },
	{ "a-\xc3\xbc-b.x", "xn--a--b-1ra.x" },
	{ "bad\xff.test", "bad\xff.test" },
};

static enum auth_result result_of(struct str s)
{
	for (int i = AUTH_NONE; i <= AUTH_PERMERROR; i++)
		if (str_eq(s, str_c(auth_result_name((enum auth_result)i))))
			return (enum auth_result)i;
	return AUTH_NONE;
}

static void one(const struct psl *psl, size_t i)
{
	struct arena *a = arena_new(0);
	struct zone z = { .text = STR(zone_text) };
	const struct auth_dns dns = { zone_ask, &z };
	struct str s = str_c(cases[i].spf), d = str_c(cases[i].dkim);
	const struct spf_result spf = { .result = result_of(str_split(&s, ' ')), .domain = s };
	const struct dkim_result dkim = { .result = result_of(str_split(&d, ' ')), .domain = d };
	const struct dmarc_query q = { .message = str_c(arena_printf(a, "%s\nbody\n", cases[i].from)), .psl = psl, .spf = cases[i].spf ? &spf : NULL,
		.dkim = &dkim, .n_dkim = cases[i].dkim ? 1 : 0, .draw = cases[i].draw };
	const struct dmarc_result r = dmarc_check(a, &dns, &q);
	tap_is_str(auth_result_name(r.result), cases[i].result, "dmarc: %s", cases[i].name);
	tap_is_str(dmarc_policy_name(r.policy), cases[i].policy, "dmarc: %s: policy", cases[i].name);
	tap_ok(z.asked <= 2 * DMARC_FROMS_MAX, "dmarc: %s: questions", cases[i].name);
	arena_free(&a);
}

static void field(void)
{
	const struct spf_result spf = { .result = AUTH_PASS, .domain = STR("a.test") };
	const struct dkim_result dkim[] = {
		{ .result = AUTH_PASS, .domain = STR("a.test"), .selector = STR("s1"), .algorithm = STR("rsa-sha256"), .b = STR("ab+/cdef") },
		{ .result = AUTH_FAIL, .domain = STR("x\"; dkim=pass\n.test"), .why = "the body was changed" },
	};
	const struct dmarc_result dmarc = { .result = AUTH_PASS, .published = DMARC_REJECT, .domain = STR("a.test") };
	struct buf b;
	buf_init(&b, 4000);
	const struct arc_set sets[2] = { { .domain = STR("l.test") }, { .domain = STR("m.test") } };
	const struct arc_result arc = { .result = AUTH_PASS, .n = 2, .sets = sets, .why = "" };
	const struct authres r = { "mx.test", STR("bob@a.test"), &spf, dkim, 2, &arc, &dmarc };
	authres_format(&b, &r);
	tap_is_mem(buf_view(&b),
		   STR("mx.test;\n\tspf=pass smtp.mailfrom=bob@a.test;\n\tdkim=pass header.d=a.test header.s=s1 header.a=rsa-sha256 header.b=\"ab+/cdef\";\n"
		       "\tdkim=fail reason=\"the body was changed\" header.d=\"x\\\"; dkim=pass?.test\";\n"
		       "\tarc=pass (i=2) header.d=m.test;\n\tdmarc=pass (p=reject) header.from=a.test"),
		   "results: the field, with a domain that would break out");
	buf_fini(&b);
}

int main(void)
{
	struct psl *psl = psl_new(STR(list));
	struct arena *a = arena_new(0);
	for (size_t i = 0; i < ARRAY_LEN(organisations); i++) {
		const struct str d = str_c(organisations[i].domain);
		tap_is_mem(psl_organisation(psl, a, d), str_c(organisations[i].with), "organisation of %s", organisations[i].domain);
		tap_is_mem(psl_organisation(NULL, a, d), str_c(organisations[i].without), "organisation of %s without a list", organisations[i].domain);
	}
	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		one(psl, i);
	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		tap_is_mem(idn_ascii(a, str_c(names[i].in)), str_c(names[i].out), "idn: %zu", i);
	field();
	psl_free(&psl);
	arena_free(&a);
	return tap_done();
}
