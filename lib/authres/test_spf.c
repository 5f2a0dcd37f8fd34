/* SPF: each row is a client, a sender and what comes of it, over the zone below. With a file as argument: zones and cases in the same form from there
 * ("zone" and "case" lines, "---" begins a new zone). */
#include <stdio.h>
#include <stdlib.h>

#include "authres/spf.h"
#include "base/buf.h"
#include "conf/conf.h"
#include "test/tap.h"
#include "test_zone.h"

static const char zone_text[] =
	"plain.test TXT v=spf1 ip4:192.0.2.0/24 ip6:2001:db8::/32 -all\n"
	"soft.test TXT v=spf1 ~all\n"
	"empty.test TXT v=spf1\n"
	"other.test TXT v=spf10 -all\n"
	"two.test TXT v=spf1 -all\ntwo.test TXT V=SPF1 +all\n"
	"slow.test TIMEOUT\n"
	"late-fault.test TXT v=spf1 +all moo\n"
	"control.test TXT v=spf1 ip4:192.0.2.1\\x0d -all\n"
	"a.test TXT v=spf1 a -all\na.test A 192.0.2.7\n"
	"a24.test TXT v=spf1 a:a.test/24 -all\n"
	"a6.test TXT v=spf1 a:a6.test//64 -all\na6.test AAAA 2001:db8:1::1\n"
	"mx.test TXT v=spf1 mx -all\nmx.test MX 10 a.test\n"
	"mx11.test TXT v=spf1 mx -all\n"
	"mx11.test MX 1 a1.t\nmx11.test MX 2 a2.t\nmx11.test MX 3 a3.t\nmx11.test MX 4 a4.t\nmx11.test MX 5 a5.t\nmx11.test MX 6 a6.t\n"
	"mx11.test MX 7 a7.t\nmx11.test MX 8 a8.t\nmx11.test MX 9 a9.t\nmx11.test MX 10 a10.t\nmx11.test MX 11 a11.t\n"
	"ptr.test TXT v=spf1 ptr -all\n"
	"9.2.0.192.in-addr.arpa PTR host.ptr.test\nhost.ptr.test A 192.0.2.9\n"
	"8.2.0.192.in-addr.arpa PTR liar.ptr.test\nliar.ptr.test A 192.0.2.200\n"
	"exists.test TXT v=spf1 exists:%{ir}.%{l1r-}.list.%{d2} -all\n"
	"5.2.0.192.bob.list.exists.test A 127.0.0.2\n"
	"inc.test TXT v=spf1 include:soft.test include:plain.test ?all\n"
	"inc-none.test TXT v=spf1 include:nowhere.test -all\n"
	"redir.test TXT v=spf1 redirect=plain.test\n"
	"redir-none.test TXT v=spf1 redirect=nowhere.test\n"
	"loop.test TXT v=spf1 include:loop.test -all\n"
	"voids.test TXT v=spf1 a:x1.test a:x2.test a:x3.test +all\n"
	"voids2.test TXT v=spf1 a:x1.test a:x2.test +all\n"
	"ten.test TXT v=spf1 exists:a.test exists:a.test exists:a.test -exists:a.test\n"
	"exp.test TXT v=spf1 exp=why.exp.test -all\nwhy.exp.test TXT %{i} may not send for %{o}%_%{L}\n"
	"exp-bad.test TXT v=spf1 exp=bad.exp.test -all\nbad.exp.test TXT %{x} is no macro\n"
	"helo.test TXT v=spf1 ip4:192.0.2.1 -all\n"
	"toplabel.test TXT v=spf1 a:foo.123 -all\n"
	"cidr.test TXT v=spf1 ip4:192.0.2.1/33 -all\n"
	"zeros.test TXT v=spf1 ip4:192.0.2.1/024 -all\n"
	"mod.test TXT v=spf1 x-new.mod_1=some/thing:%{d} ip4:192.0.2.1 -all\n"
	"rtwice.test TXT v=spf1 redirect=plain.test redirect=plain.test\n";

static const struct {
	const char *want, *addr, *helo, *sender, *explanation, *name;
} cases[] = {
	{ "pass", "192.0.2.99", "h.test", "a@plain.test", NULL, "inside of ip4" },
	{ "pass", "2001:db8:5::1", "h.test", "a@plain.test", NULL, "inside of ip6" },
	{ "fail", "192.0.3.1", "h.test", "a@plain.test", NULL, "outside" },
	{ "softfail", "192.0.2.1", "h.test", "a@soft.test", NULL, "softfail" },
	{ "neutral", "192.0.2.1", "h.test", "a@empty.test", NULL, "no term matches" },
	{ "none", "192.0.2.1", "h.test", "a@other.test", NULL, "another version is no record" },
	{ "permerror", "192.0.2.1", "h.test", "a@two.test", NULL, "two records" },
	{ "temperror", "192.0.2.1", "h.test", "a@slow.test", NULL, "nobody answers" },
	{ "none", "192.0.2.1", "h.test", "a@nowhere.test", NULL, "no such domain" },
	{ "none", "192.0.2.1", "h.test", "a@[192.0.2.1]", NULL, "an address literal has no record" },
	{ "none", "192.0.2.1", "h.test", "a@a..test", NULL, "an empty label" },
	{ "permerror", "192.0.2.1", "h.test", "a@late-fault.test", NULL, "a fault after the match counts" },
	{ "permerror", "192.0.2.1", "h.test", "a@control.test", NULL, "a control character" },
	{ "pass", "192.0.2.7", "h.test", "a@a.test", NULL, "a" },
	{ "fail", "192.0.2.8", "h.test", "a@a.test", NULL, "a of another" },
	{ "pass", "192.0.2.8", "h.test", "a@a24.test", NULL, "a with a prefix length" },
	{ "pass", "2001:db8:1::9", "h.test", "a@a6.test", NULL, "a with an IPv6 prefix length" },
	{ "fail", "2001:db8:1:1::9", "h.test", "a@a6.test", NULL, "outside of it" },
	{ "pass", "192.0.2.7", "h.test", "a@mx.test", NULL, "mx" },
	{ "permerror", "192.0.2.7", "h.test", "a@mx11.test", NULL, "eleven MX names" },
	{ "pass", "192.0.2.9", "h.test", "a@ptr.test", NULL, "ptr" },
	{ "fail", "192.0.2.8", "h.test", "a@ptr.test", NULL, "ptr that does not lead back" },
	{ "pass", "192.0.2.5", "h.test", "bob-tag@exists.test", NULL, "exists with transformed macros" },
	{ "fail", "192.0.2.5", "h.test", "eve-tag@exists.test", NULL, "exists of another user" },
	{ "pass", "192.0.2.1", "h.test", "a@inc.test", NULL, "include that passes" },
	{ "neutral", "192.0.9.1", "h.test", "a@inc.test", NULL, "includes that do not" },
	{ "permerror", "192.0.2.1", "h.test", "a@inc-none.test", NULL, "include without a record" },
	{ "fail", "192.0.9.1", "h.test", "a@redir.test", NULL, "redirect" },
	{ "permerror", "192.0.9.1", "h.test", "a@redir-none.test", NULL, "redirect to nothing" },
	{ "permerror", "192.0.9.1", "h.test", "a@loop.test", NULL, "a loop of includes ends at ten" },
	{ "permerror", "192.0.9.1", "h.test", "a@voids.test", NULL, "three void answers" },
	{ "pass", "192.0.9.1", "h.test", "a@voids2.test", NULL, "two void answers" },
	{ "pass", "192.0.9.1", "h.test", "a@ten.test", NULL, "exists of an A record" },
	{ "fail", "192.0.9.1", "h.test", "a b@exp.test", "192.0.9.1 may not send for exp.test a%20b", "explanation with macros" },
	{ "fail", "192.0.9.1", "h.test", "a@exp-bad.test", NULL, "a wrong explanation is none" },
	{ "pass", "192.0.2.1", "helo.test", "", NULL, "no sender: HELO" },
	{ "fail", "192.0.2.2", "helo.test", "", NULL, "no sender: HELO of another" },
	{ "permerror", "192.0.2.1", "h.test", "a@toplabel.test", NULL, "a top label of digits" },
	{ "permerror", "192.0.2.1", "h.test", "a@cidr.test", NULL, "a prefix of 33" },
	{ "permerror", "192.0.2.1", "h.test", "a@zeros.test", NULL, "a prefix with a leading zero" },
	{ "pass", "192.0.2.1", "h.test", "a@mod.test", NULL, "unknown modifiers are skipped" },
	{ "permerror", "192.0.2.1", "h.test", "a@rtwice.test", NULL, "a modifier twice" },
};

/* wants: words separated by commas, any of which will do. */
static void one(struct str zone, struct str wants, const char *addr, struct str helo, struct str sender, const char *explanation, const char *name)
{
	struct arena *a = arena_new(0);
	struct zone z = { .text = zone };
	const struct auth_dns dns = { zone_ask, &z };
	struct spf_query q = { .helo = helo, .sender = sender, .receiver = STR("mx.receiver.test"), .now = 1000000 };
	if (addr_parse(str_c(addr), q.addr) < 0)
		tap_ok(false, "%s: address %s", name, addr);
	const struct spf_result r = spf_check(a, &dns, &q);
	const char *got = auth_result_name(r.result);
	bool good = false;
	for (struct str w; str_token(&wants, ",", &w);)
		good = good || str_eq(w, str_c(got));
	if (!tap_ok(good, "spf: %s", name))
		tap_diag("got %s (%s)", got, r.why);
	if (explanation != NULL)
		tap_is_str(r.explanation != NULL ? r.explanation : "DEFAULT", explanation, "spf: %s: explanation", name);
	tap_ok(z.asked <= 2 + SPF_LOOKUPS_MAX * (1 + SPF_NAMES_MAX), "spf: %s: asks within bounds (%u)", name, z.asked);
	arena_free(&a);
}

static void from_file(const char *path)
{
	struct buf zone;
	char line[9000];
	FILE *f = fopen(path, "r");
	buf_init(&zone, 1 << 20);
	while (f != NULL && fgets(line, sizeof(line), f) != NULL) {
		struct str rest = str_n(line, strcspn(line, "\n")), kind = str_split(&rest, '\t');
		if (str_eq(kind, STR("---"))) {
			buf_reset(&zone);
		} else if (str_eq(kind, STR("zone"))) {
			buf_str(&zone, rest);
			buf_ch(&zone, '\n');
		} else if (str_eq(kind, STR("case"))) {
			struct str v[6];
			struct arena *a = arena_new(0);
			for (size_t i = 0; i < ARRAY_LEN(v); i++)
				v[i] = str_split(&rest, '\t');
			one(buf_view(&zone), v[0], arena_cstr(a, v[1]), v[2], v[3], v[4].n > 0 ? arena_cstr(a, v[4]) : NULL, arena_cstr(a, v[5]));
			arena_free(&a);
		}
	}
	if (f == NULL)
		tap_ok(false, "%s: cannot be read", path);
	else
		fclose(f);
	buf_fini(&zone);
}

int main(int argc, char **argv)
{
	if (argc > 1)
		from_file(argv[1]);
	for (size_t i = 0; argc == 1 && i < ARRAY_LEN(cases); i++)
		one(str_c(zone_text), str_c(cases[i].want), cases[i].addr, str_c(cases[i].helo), str_c(cases[i].sender), cases[i].explanation, cases[i].name);
	return tap_done();
}
