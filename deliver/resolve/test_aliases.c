/* The right side of an alias, item by item. */
#include "base/buf.h"
#include "deliver/resolve/aliases.h"
#include "test/tap.h"

static void items(void)
{
	static const struct { const char *value, *want; } cases[] = {
		{ "a, b", "address a|address b|" },
		{ "a,,b,", "address a|address b|" },
		{ "\"|cmd a,b\" , /dir/", "command cmd a,b|file /dir/|" },
		{ "|cmd (x)", "command cmd (x)|" },
		{ ":include:/x", "include /x|" },
		{ "\\joe", "plain joe|" },
		{ "\"a b\"@c", "address \"a b\"@c|" },
		{ "\"joe\"", "address \"joe\"|" },
		{ "(c) a (d(e))", "address a|" },
		{ "J. Doe <joe@x>", "address joe@x|" },
		{ "\"Doe, J.\" <joe@x>", "address joe@x|" },
		{ "\"open", "!" },
		{ "(open", "!" },
		{ "a, <b", "address a|!" },
		{ "|", "!" },
		{ "", "" },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct arena *a = arena_new(0);
		struct alias_reader rd;
		struct alias_item it;
		struct buf got;
		struct err e = { 0 };
		int r;

		buf_init(&got, 4096);
		alias_reader_init(&rd, str_c(cases[i].value));
		while ((r = alias_next(&rd, a, &it, &e)) > 0)
			buf_printf(&got, "%s %.*s|", it.plain ? "plain" : alias_kind_words[it.kind], STR_ARG(it.text));
		if (r < 0)
			buf_c(&got, "!");
		tap_is_mem(buf_view(&got), str_c(cases[i].want), "items of \"%s\" %s", cases[i].value, e.text);
		buf_fini(&got);
		arena_free(&a);
	}
}

int main(void)
{
	items();
	return tap_done();
}
