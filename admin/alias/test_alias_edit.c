/* Editing aliases as text: what is asked for changes, everything else stays, and nothing can be smuggled in. */
#include "admin/alias/alias_edit.h"
#include "test/tap.h"

#define C ALIAS_FORM_COLON
#define P ALIAS_FORM_PAIR

static const struct edit {
	const char *what;
	bool add;
	enum alias_form form;
	const char *before, *name, *targets[4];
	const char *after;	/* NULL: refused */
	unsigned changed;
} edits[] = {
	{ "a first alias", true, C, "", "sales", { "bob" }, "sales: bob\n", 1 },
	{ "a new alias comes last, comments stay", true, C, "# head\n\na: b\n# tail\n", "sales", { "bob", "carol@example.org" },
	  "# head\n\na: b\n# tail\nsales: bob, carol@example.org\n", 2 },
	{ "a file without a last newline gets one", true, C, "a: b", "c", { "d" }, "a: b\nc: d\n", 1 },
	{ "a target comes behind the others", true, C, "# x\nsales:  bob ,\t carol  # no comment\nz: y\n", "SALES", { "dan" },
	  "# x\nsales:  bob ,\t carol  # no comment, dan\nz: y\n", 1 },
	{ "behind the last of several lines", true, C, "a: b,\n  c,\n# of the entry\n\td ,\nz: y\n", "a", { "e" }, "a: b,\n  c,\n# of the entry\n\td, e\nz: y\n", 1 },
	{ "what is there is not put twice", true, C, "a: b, C@Example.com\n", "a", { "c@example.com", "d", "d" }, "a: b, C@Example.com, d\n", 1 },
	{ "nothing new: nothing changes", true, C, "a: b\n", "a", { "b" }, "a: b\n", 0 },
	{ "commands, files and lists are targets", true, C, "", "a", { "\"|/bin/x -y, z\"", ":include:/l", "/f", "\\bob" }, "a: \"|/bin/x -y, z\", :include:/l, /f, \\bob\n", 4 },
	{ "a name in quotes", true, C, "\"two words\": a\n", "two words", { "b" }, "\"two words\": a, b\n", 1 },
	{ "a name that needs quotes", true, C, "", "a:b \"c", { "d" }, "\"a:b \\\"c\": d\n", 1 },
	{ "an address", true, P, "# v\na@example.com b\n", "s@example.com", { "b@example.com" }, "# v\na@example.com b\ns@example.com b@example.com\n", 1 },
	{ "a domain", true, P, "", "@example.com", { "b@example.com" }, "@example.com b@example.com\n", 1 },
	{ "an address gets another target", true, P, "a@example.com b\n", "A@Example.com", { "c" }, "a@example.com b, c\n", 1 },
	{ "lines that nobody can read stay", true, C, "rubbish\na: b\n", "a", { "c" }, "rubbish\na: b, c\n", 1 },

	{ "a newline in a target", true, C, "", "a", { "b\nroot: evil" }, NULL, 0 },
	{ "a newline in a name", true, C, "", "x: evil\na", { "b" }, NULL, 0 },
	{ "two targets in one word", true, C, "", "a", { "b, c" }, NULL, 0 },
	{ "an open quote", true, C, "", "a", { "\"b" }, NULL, 0 },
	{ "an empty target", true, C, "", "a", { "" }, NULL, 0 },
	{ "an empty name", true, C, "", "", { "b" }, NULL, 0 },
	{ "no target", true, C, "", "a", { NULL }, NULL, 0 },
	{ "a carriage return", true, C, "", "a", { "b\r" }, NULL, 0 },
	{ "a name that would be a comment", true, P, "", "#a@example.com", { "b" }, NULL, 0 },
	{ "a blank in an address", true, P, "", "a b@example.com", { "c" }, NULL, 0 },
	{ "a name that would continue the line before", true, P, "", " a@example.com", { "b" }, NULL, 0 },

	{ "an alias goes", false, C, "# h\na: b\nc: d\n", "a", { NULL }, "# h\nc: d\n", 1 },
	{ "with all its lines, but for comments", false, C, "a: b,\n  c,\n# kept\n  d\n\nz: y\n", "a", { NULL }, "# kept\n\nz: y\n", 1 },
	{ "and when it is there twice", false, C, "a: b\nx: y\nA: c\n", "a", { NULL }, "x: y\n", 2 },
	{ "one target goes", false, C, "a: b, \"|/x, y\",\n  c\nz: y\n", "a", { "b" }, "a: \"|/x, y\", c\nz: y\n", 1 },
	{ "the last target takes the alias with it", false, C, "a: b\nz: y\n", "a", { "b" }, "z: y\n", 1 },
	{ "a target that is not there", false, C, "a: b\n", "a", { "c" }, "a: b\n", 0 },
	{ "the last line without a newline", false, C, "z: y\na: b", "a", { NULL }, "z: y\n", 1 },
	{ "an address goes", false, P, "a@example.com b\nz@example.com y\n", "a@example.com", { NULL }, "z@example.com y\n", 1 },
	{ "no such alias", false, C, "a: b\n", "c", { NULL }, NULL, 0 },
	{ "no such alias in an empty file", false, C, "", "c", { NULL }, NULL, 0 },
};

static void test_edits(void)
{
	for (size_t i = 0; i < sizeof(edits) / sizeof(*edits); i++) {
		const struct edit *x = &edits[i];
		struct str targets[4];
		struct buf out;
		struct err e = { 0 };
		size_t n = 0, changed = 99;

		for (; n < 4 && x->targets[n]; n++)
			targets[n] = str_c(x->targets[n]);
		buf_init(&out, 10000);
		const int r = (x->add ? alias_edit_add : alias_edit_del)(str_c(x->before), x->form, str_c(x->name), targets, n, &out, &changed, &e);
		tap_is_int(r, x->after ? 0 : -1, "%s: %s", x->what, e.text);
		if (x->after) {
			tap_is_str(out.p, x->after, "%s", x->what);
			tap_is_int((long long)changed, x->changed, "%s: counted", x->what);
		}
		buf_fini(&out);
	}
}

static void count(void *ctx, const struct alias_entry *x)
{
	unsigned *n = ctx;

	n[0]++;
	n[1] = x->line;
}

static void test_each(void)
{
	unsigned n[2] = { 0 };

	alias_edit_each(STR("# a\nb: c,\n d\n\nrubbish\n\"e f\": g\n"), C, count, n);
	tap_is_int(n[0], 2, "entries that can be read");
	tap_is_int(n[1], 6, "and their lines");
}

int main(void)
{
	test_edits();
	test_each();
	return tap_done();
}
