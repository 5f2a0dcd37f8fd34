/* The shipped list against names, types and contents. Run from the top of the tree. */
#include "banned.h"

#include "base/arena.h"
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
	{ "Content-Type: text/plain; name=a.txt\nContent-Disposition: attachment; filename=b.scr", "x", true },
	{ "Content-Disposition: attachment; filename=\"gnp.\xe2\x80\xae" "cod.exe\"", "x", true },
	{ "Content-Disposition: attachment; filename=\"a.txt:b.exe\"", "x", true },
	{ "Content-Disposition: attachment; filename=\"a.exe:x\"", "x", true },
	{ "Content-Disposition: attachment; filename=\"letter.doc.pif\"", "x", true },
	{ "Content-Disposition: attachment; filename=\"a.ex\xe2\x80\x8b" "e\"", "x", true },
	{ "Content-Type: application/x-msdownload", "x", true },
	{ "Content-Type: application/hta", "x", true },
	{ "Content-Disposition: attachment; filename=\"notes.txt\"\nContent-Transfer-Encoding: base64", "f0VMRgIBAQAAAAAAAAAAAA==", true },
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

int main(void)
{
	struct filter_rules rules = { 0 };
	static const struct conf conf = { .banned_action = "reject" };
	struct err e = { 0 };
	rules.conf = &conf;
	if (!tap_ok(banned_load("etc/share/filter/banned_names", &rules.banned, &e) == 0, "the shipped list loads: %s", e.text))
		return tap_done();
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct arena *a = arena_new(0);
		struct scan s = { .a = a, .rules = &rules, .explain = explain };
		s.message = str_c(arena_printf(a, "%s\n\n%s", cases[i].head, cases[i].body));
		s.root = mime_parse(a, s.message);
		tap_ok(stage_banned(&s, &e) == cases[i].rejected, "case %zu", i);
		arena_free(&a);
	}
	banned_free(&rules.banned);
	tap_ok(banned_load("/nonexistent", &rules.banned, &e) < 0, "a missing list is an error");
	return tap_done();
}
