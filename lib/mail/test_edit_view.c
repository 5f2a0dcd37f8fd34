/* Views: what they show is what mail_edit_apply makes; changed and turned into edits again, the message gets what the view shows. */
#include <string.h>

#include "mail/edit_view.h"
#include "test/tap.h"

static const char head[] = "Received: from a\nTo: x\nSubject: one\n two\nnot a field\nTo: y\nX-Last:z\n";
static const char edited[] = "X-Top: 1\nReceived: by us\nReceived: from a\nX-Mid: m\nSubject: one\n two\nnot a field\nTo: y\nX-Last: new\nNone: end\nX-End: e\n"
			     "X-Far: f\n";

static void show(const struct mail_view *w, struct buf *out)
{
	for (size_t i = 0; i < w->n; i++)
		if (w->v[i].name.n > 0)
			buf_printf(out, "%.*s:%.*s\n", STR_ARG(w->v[i].name), STR_ARG(w->v[i].value));
		else
			buf_c(out, "not a field\n");
}

static void same(struct mail_view *w, const char *want, const char *name)
{
	struct str *edits = NULL;
	struct err e = { 0 };
	struct buf got, shown;
	size_t n = 0;

	buf_init(&got, 10000);
	buf_init(&shown, 10000);
	show(w, &shown);
	tap_is_mem(buf_view(&shown), str_c(want), "%s: the view", name);
	tap_is_int(mail_view_edits(w, &edits, &n, 100, &e), 0, "%s: edits %s", name, e.text);
	tap_is_int(mail_edit_apply(STR(head), edits, n, &got, &e), 0, "%s: applied %s", name, e.text);
	tap_is_mem(buf_view(&got), str_c(want), "%s: the message", name);
	buf_fini(&got);
	buf_fini(&shown);
}

static void test_changes(void)
{
	struct arena *a = arena_new(0);
	const struct str edits[] = { STR("+Received: by us"), STR("+X-Top: 1"), STR("-To#1"),
				     STR("=X-Last#1: new"), STR("=None#1: end"), STR(">X-End: e"), STR("<3 X-Mid: m"), STR("<99 X-Far: f") };
	struct mail_view w;
	struct err e = { 0 };

	tap_is_int(mail_view_make(&w, a, STR(head), NULL, 0, &e), 0, "a view without edits");
	same(&w, head, "nothing changed");
	tap_is_int(mail_view_make(&w, a, STR(head), edits, ARRAY_LEN(edits), &e), 0, "a view with edits: %s", e.text);
	same(&w, edited, "every kind of edit");
	tap_ok(w.v[1].own && !w.v[0].own && !w.v[2].own, "our own Received is known");
	struct mail_view c;
	tap_is_int(mail_view_copy(&c, &w, &e), 0, "a copy");
	tap_is_int(mail_view_insert(&c, 0, STR("A"), STR("top"), &e), 0, "insert at the top");
	tap_is_int(mail_view_insert(&c, 4, STR("B"), STR("mid\n\tfold"), &e), 0, "insert in the middle");
	tap_is_int(mail_view_insert(&c, c.n, STR("C"), STR("end"), &e), 0, "insert at the end");
	tap_is_int(mail_view_change(&c, 6, STR("changed"), &e), 0, "change one of the message");
	tap_is_int(mail_view_change(&c, 1, STR("2"), &e), 0, "change one that was added");
	tap_is_int(mail_view_remove(&c, 8, &e), 0, "remove one of the message");
	tap_is_int(mail_view_remove(&c, 5, &e), 0, "remove one that was added");
	same(&c, "A: top\nX-Top: 2\nReceived: by us\nReceived: from a\nB: mid\n\tfold\nSubject: changed\nnot a field\n"
		 "X-Last: new\nNone: end\nX-End: e\nX-Far: f\nC: end\n", "changed");
	same(&w, edited, "the copy's changes are its own");
	arena_free(&a);
}

static void test_refused(void)
{
	static const struct { const char *name, *value; } t[] = {
		{ "", "x" }, { "A B", "x" }, { "A:", "x" }, { "A\n", "x" }, { "A", "x\ny" }, { "A", "x\r\n y" }, { "A", "x\n" }, { "A", "\001" }, { "A#", "x" },
	};
	struct arena *a = arena_new(0);
	struct str *edits;
	struct mail_view w;
	struct err e = { 0 };
	size_t n;

	tap_is_int(mail_view_make(&w, a, STR(head), NULL, 0, &e), 0, "a view");
	for (size_t i = 0; i < ARRAY_LEN(t); i++)
		tap_is_int(mail_view_insert(&w, 0, str_c(t[i].name), str_c(t[i].value), &e), -1, "refused: row %zu", i);
	tap_is_int(mail_view_change(&w, 3, STR("x"), &e), -1, "a line that is no field stays");
	tap_is_int(mail_view_remove(&w, 3, &e), -1, "and is not removed");
	const size_t outside[] = { w.n, w.n + 1, SIZE_MAX };
	for (size_t i = 0; i < ARRAY_LEN(outside); i++) {
		tap_is_int(mail_view_change(&w, outside[i], STR("x"), &e), -1, "no field at place %zu is changed", outside[i]);
		tap_is_int(mail_view_remove(&w, outside[i], &e), -1, "none at place %zu is removed", outside[i]);
	}
	for (int i = 0; i < 5; i++)
		tap_is_int(mail_view_insert(&w, 1, STR("N"), STR("v"), &e), 0, "insertion %d", i);
	tap_is_int(mail_view_edits(&w, &edits, &n, 4, &e), -1, "too many edits");
	tap_is_int(e.code, ERR_LIMIT, "it is a limit");
	arena_free(&a);
}

int main(void)
{
	test_changes();
	test_refused();
	return tap_done();
}
