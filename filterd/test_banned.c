/* The shipped list against names, types and contents, plain and packed; sections; rules of recipients. Run from the top of the tree. */
#include "banned.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/buf.h"
#include "findings.h"
#include "ipc/filter.h"
#include "outcome.h"
#include "scan.h"
#include "test/tap.h"

static const struct {
	const char *head, *body;
	bool rejected;
} cases[] = {
	{ "Content-Type: application/octet-stream; name=\"a.exe\"", "x", true },
	{ "Content-Type: application/octet-stream; name=\"A.EXE\"", "x", true },
	{ "Content-Type: application/octet-stream; name=\"a.exe.\"", "x", true },
	{ "Content-Type: application/octet-stream; name=\"a.exe  \"", "x", true },
	{ "Content-Type: application/octet-stream; name*0=a.e; name*1=xe", "x", true },
	{ "Content-Type: application/octet-stream; name*=UTF-8''a%2Eexe", "x", true },
	{ "Content-Type: application/octet-stream; name=\"=?utf-8?Q?a=2Eexe?=\"", "x", true },
	{ "Content-Type: application/octet-stream; name==?utf-8?B?YS5leGU=?=", "x", true },
	{ "Content-Type: application/octet-stream; name*=\"a%2Eexe\"", "x", true },
	{ "Content-Type: application/octet-stream; name*1=xe; name*0=a.e", "x", true },
	{ "Content-Type: application/octet-stream; name*0*=UTF-8''a%2E; name*1=exe", "x", true },
	{ "Content-Disposition: attachment; filename=\"=?utf-8?B?YS5l?=\n =?utf-8?B?eGU=?=\"", "x", true },
	{ "Content-Type: text/plain; name=a.txt\nContent-Disposition: attachment; filename=b.scr", "x", true },
	{ "Content-Disposition: attachment; filename=\"gnp.\xe2\x80\xae" "cod.exe\"", "x", true },
	{ "Content-Disposition: attachment; filename=\"a.txt:b.exe\"", "x", true },
	{ "Content-Disposition: attachment; filename=\"a.exe:x\"", "x", true },
	{ "Content-Disposition: attachment; filename=\"letter.doc.pif\"", "x", true },
	{ "Content-Disposition: attachment; filename=\"a.ex\xe2\x80\x8b" "e\"", "x", true },
	{ "Content-Type: application/x-msdownload", "x", true },
	{ "Content-Type: application/hta", "x", true },
	{ "Content-Disposition: attachment; filename=\"notes.txt\"\nContent-Transfer-Encoding: base64", "f0VMRgIBAQAAAAAAAAAAAA==", true },
	{ "Content-Type: text/plain", "see below\n\nbegin 644 setup.exe\n#0V%T\n`\nend\n", true },
	{ "Content-Type: text/plain", "see below\n\nbegin 644 cat.txt\n#0V%T\n`\nend\n", false },
	{ "Content-Type: text/plain", "begin 644 days ago, we\nmet\n", false },
	{ "Content-Disposition: attachment; filename=\"a.zip\"", "PK\x03\x04 a.exe", false },
	{ "Content-Disposition: attachment; filename=\"report.pdf\"", "%PDF-1.4", false },
	{ "Content-Disposition: attachment; filename=\"my.company.com-offer.pdf\"", "x", false },
	{ "Content-Disposition: attachment; filename=\"exe\"", "x", false },
	{ "Content-Type: text/plain", "MZ is how this text begins, and it goes on for more than sixty-four bytes so.", false },
	{ "Subject: a.exe", "a.exe", false },
};

static void explain(void *ctx, const char *stage, const char *finding)
{
	(void)ctx;
	tap_diag("%s: %s", stage, finding);
}

static int stage(const struct filter_rules *rules, const struct ipc_filter_SCAN *facts, const char *head, const char *body)
{
	struct arena *a = arena_new(0);
	struct err e = { 0 };
	struct scan s = { .a = a, .rules = rules, .facts = facts, .explain = explain };
	s.message = str_c(arena_printf(a, "%s\n\n%s", head, body));
	s.root = mime_parse(a, s.message);
	outcome_groups(&s);
	const int r = stage_banned(&s, &e);
	arena_free(&a);
	return r;
}

/* --- sections --- */

static const char sections[] =
	"[to bob@example.com .sales.example.com]\nallow /\\.exe$/\n"
	"[from partner.example]\nallow /\\.bat$/\n"
	"[own]\nallow /\\.com$/\n"
	"[outside]\nreject /\\.doc$/\n"
	"[to carol@example.com]\nreject /\\.txt$/\n"
	"[all]\nreject /\\.(exe|bat|com)$/\n";

static const struct {
	const char *name, *sender, *recipients[3];
	bool own, rejected;
} who[] = {
	{ "a.exe", "x@y.example", { "alice@example.com" }, false, true },
	{ "a.exe", "x@y.example", { "bob@example.com" }, false, false },
	{ "a.exe", "x@y.example", { "Bob+lists@EXAMPLE.com" }, false, false },
	{ "a.exe", "x@y.example", { "eve@north.sales.example.com" }, false, false },
	{ "a.exe", "x@y.example", { "bob@example.com", "alice@example.com" }, false, true },
	{ "a.exe", "x@y.example", { "notbob@example.com" }, false, true },
	{ "a.bat", "x@partner.example", { "alice@example.com" }, false, false },
	{ "a.bat", "x@sub.partner.example", { "alice@example.com" }, false, true },
	{ "a.bat", "", { "alice@example.com" }, false, true },
	{ "a.com", "x@y.example", { "alice@example.com" }, true, false },
	{ "a.com", "x@y.example", { "alice@example.com" }, false, true },
	{ "a.doc", "x@y.example", { "alice@example.com" }, false, true },
	{ "a.doc", "x@y.example", { "alice@example.com" }, true, false },
	{ "a.txt", "x@y.example", { "alice@example.com", "carol@example.com" }, true, true },
	{ "a.txt", "x@y.example", { "alice@example.com" }, true, false },
};

static int file_of(const char *text, char name[])
{
	const int fd = mkstemp(name);
	if (fd < 0 || write(fd, text, strlen(text)) < 0)
		return -1;
	return close(fd);
}

static int load_text(const char *text, struct banned **out, struct err *e)
{
	char name[] = "/tmp/test_banned.XXXXXX";
	if (file_of(text, name) < 0)
		return -1;
	const int r = banned_load(name, out, e);
	unlink(name);
	return r;
}

static void test_sections(struct filter_rules *rules)
{
	struct err e = { 0 };
	if (!tap_ok(load_text(sections, &rules->banned, &e) == 0, "sections load: %s", e.text))
		return;
	for (size_t i = 0; i < ARRAY_LEN(who); i++) {
		struct str to[3];
		size_t n = 0;
		while (n < 3 && who[i].recipients[n] != NULL) {
			to[n] = str_c(who[i].recipients[n]);
			n++;
		}
		const struct ipc_filter_SCAN facts = { .sender = str_c(who[i].sender), .recipients = { to, n }, .own = who[i].own };
		char head[100];
		snprintf(head, sizeof(head), "Content-Disposition: attachment; filename=%s", who[i].name);
		tap_ok(stage(rules, &facts, head, "x") == who[i].rejected, "%s from %s to %s (%s)",
		       who[i].name, who[i].sender, who[i].recipients[0], who[i].own ? "own" : "outside");
	}
	banned_free(&rules->banned);
	static const char *const wrong[] = { "[to]\n", "[nowhere]\n", "[own bob@example.com]\n", "[to a@b\n", "reject\n", "reject /(/\n", "perhaps /x/\n" };
	for (size_t i = 0; i < ARRAY_LEN(wrong); i++)
		tap_ok(load_text(wrong[i], &rules->banned, &e) < 0 && strstr(e.text, ":1") != NULL, "told: %s", e.text);
}

/* --- rules of recipients --- */

static const char policies_text[] =
	"[a]\nrecipients = alice@example.com\n"
	"banned_rule = [from partner.example]\nbanned_rule = allow /\\.exe$/\n"
	"banned_rule = [all]\nbanned_rule = reject /\\.pdf$/\n"
	"[b]\nrecipients = bob@example.com\nbanned_rule = allow /^setup/\n"
	"[c]\nrecipients = carol@example.com\nbypass = banned\n"
	"[d]\nrecipients = dave@example.com\nbanned_action = discard\nbanned_rule = reject class:/^\\.pdf$/\n";

static const char site_text[] = "[to fred@example.com]\nreject /\\.odt$/\n[to eve@example.com]\nallow /\\.pas$/\n[all]\nreject /\\.pas$/\nreject /\\.exe$/\n";

static const char all_of_them[] = "alice@example.com bob@example.com carol@example.com dave@example.com eve@example.com fred@example.com";
static const char uuencoded[] = "see below\n\nbegin 644 setup.exe\n#0V%T\n`\nend\n";

/* For each recipient: A accepted, R rejected, D discarded. eve and fred have no section: the site's list is one for both. */
static const struct {
	const char *name, *sender, *head, *body, *to, *done;
} own[] = {
	{ "a program", "x@y.example", "a.exe", "x", all_of_them, "RRADRR" },
	{ "from whom one takes it", "x@partner.example", "a.exe", "x", all_of_them, "ARADRR" },
	{ "of a name that another takes", "x@y.example", "setup.exe", "x", all_of_them, "RAADRR" },
	{ "the same packed", "x@y.example", "x.txt", uuencoded, all_of_them, "RAADRR" },
	{ "what only one does not want", "x@y.example", "x.pdf", "x", all_of_them, "RAAAAA" },
	{ "by name and by content", "x@y.example", "x.pdf", "%PDF-1.4 and more of it, so that its class is known", all_of_them, "RAADAA" },
	{ "[to] of the site", "x@y.example", "x.odt", "x", all_of_them, "AAAARR" },
	{ "[to] of the site for others", "x@y.example", "x.odt", "x", "alice@example.com bob@example.com carol@example.com", "AAA" },
	{ "wanted by all who get it", "x@partner.example", "setup.exe", "x", "alice@example.com bob@example.com", "AA" },
	{ "allowed to all who look at it", "x@y.example", "x.pas", "x", "bob@example.com carol@example.com eve@example.com", "RAA" },
	{ "one recipient", "x@y.example", "a.exe", "x", "eve@example.com", "R" },
};

static const char *done_of(struct scan *s)
{
	const size_t n = s->facts->recipients.n;
	char *out = arena_alloc(s->a, n + 1);
	for (size_t i = 0; i < n; i++) {
		const struct verdict *v = &s->verdict;
		for (size_t k = 0; k < s->n_outcomes; k++)
			if ((unsigned char)s->outcomes[k].whose.p[i / 8] >> i % 8 & 1)
				v = &s->outcomes[k];
		out[i] = v->action == VERDICT_ACCEPT ? 'A' : v->action == VERDICT_REJECT ? 'R' : v->action == VERDICT_DISCARD ? 'D' : '?';
	}
	return out;
}

/* By the worker that scans, and by the next that is told what it found. */
static void run_own(const struct filter_rules *rules, size_t i)
{
	struct arena *a = arena_new(0);
	struct err e = { 0 };
	struct str to[10], rest = str_c(own[i].to);
	size_t n = 0;
	while (str_token(&rest, " ", &to[n]))
		n++;
	struct ipc_filter_SCAN facts = { .sender = str_c(own[i].sender), .recipients = { to, n } };
	struct scan s = { .a = a, .rules = rules, .facts = &facts, .verdict = scan_accepts };
	s.message = str_c(arena_printf(a, "Content-Disposition: attachment; filename=%s\n\n%s", own[i].head, own[i].body));
	s.root = mime_parse(a, s.message);
	struct scan next = s;
	outcome_groups(&s);
	s.stage = STAGE_banned;
	const int r = stage_banned(&s, &e);
	outcome(&s);
	facts.found = findings_put(&s);
	outcome_groups(&next);
	findings_take(&next);
	outcome(&next);
	tap_ok(r >= 0 && strcmp(done_of(&s), own[i].done) == 0, "%s: %s", own[i].name, r < 0 ? e.text : done_of(&s));
	tap_ok(strcmp(done_of(&next), own[i].done) == 0, "... told to a scoring worker: %s", done_of(&next));
	arena_free(&a);
}

static int load_policies(const char *text, struct conf **c, struct policies **p, struct err *e)
{
	char name[] = "/tmp/test_banned.XXXXXX", line[100];
	if (file_of(text, name) < 0)
		return -1;
	snprintf(line, sizeof(line), "filter_recipient_policies=%s\n", name);
	const int r = conf_parse(str_c(line), "test", c, NULL, e) < 0 ? -1 : policies_load(*c, p, e);
	unlink(name);
	return r;
}

static void test_own(void)
{
	struct filter_rules rules = { 0 };
	struct conf *conf = NULL;
	struct err e = { 0 };
	if (!tap_ok(load_policies(policies_text, &conf, &rules.policies, &e) == 0, "rules of recipients load: %s", e.text))
		return;
	rules.conf = conf;
	tap_ok(load_text(site_text, &rules.banned, &e) == 0, "the site's load: %s", e.text);
	for (size_t i = 0; i < ARRAY_LEN(own); i++)
		run_own(&rules, i);
	banned_free(&rules.banned);
	policies_free(&rules.policies);
	conf_free(&conf);
	static const char *const wrong[] = { "perhaps /x/", "allow /(/", "[to bob@example.com]", "[nowhere]", "" };
	for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
		char text[200];
		snprintf(text, sizeof(text), "[a]\nrecipients = a@b.example\nbanned_rule = %s\n", wrong[i]);
		tap_ok(load_policies(text, &conf, &rules.policies, &e) < 0 && strstr(e.text, ":3: banned_rule: ") != NULL, "told: %s", e.text);
		conf_free(&conf);
	}
}

int main(void)
{
	struct filter_rules rules = { 0 };
	struct conf *conf = NULL;
	struct err e = { 0 };
	if (!tap_ok(conf_parse(STR(""), "defaults", &conf, NULL, &e) == 0, "defaults: %s", e.text))
		return tap_done();
	rules.conf = conf;
	tap_ok(policies_load(conf, &rules.policies, &e) == 0, "policies load: %s", e.text);
	if (!tap_ok(banned_load("etc/share/filter/banned_names", &rules.banned, &e) == 0, "the shipped list loads: %s", e.text))
		return tap_done();
	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		tap_ok(stage(&rules, NULL, cases[i].head, cases[i].body) == cases[i].rejected, "case %zu", i);
	banned_free(&rules.banned);
	tap_ok(banned_load("/nonexistent", &rules.banned, &e) < 0, "a missing list is an error");
	test_sections(&rules);
	test_own();
	policies_free(&rules.policies);
	conf_free(&conf);
	return tap_done();
}
