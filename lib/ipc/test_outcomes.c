/* Verdicts on one message as they come: every recipient has one of them, and only one. */
#include <stdio.h>

#include "ipc/filter.h"
#include "test/tap.h"

enum { FEW = 3 };

static const struct {
	const char *name;
	size_t recipients, n;
	struct { const char *whose; size_t bytes; bool more; } v[FEW];
	int result;
} rows[] = {
	{ "one for all", 9, 1, { { "", 0, false } }, 0 },
	{ "one for some", 9, 1, { { "\xff\x01", 2, false } }, -1 },
	{ "two that share all", 9, 2, { { "\x0f", 1, true }, { "\xf0\x01", 2, false } }, 0 },
	{ "somebody is in none", 9, 2, { { "\x0f", 1, true }, { "\xf0", 1, false } }, -1 },
	{ "somebody is in two", 9, 2, { { "\x1f", 1, true }, { "\xf0\x01", 2, false } }, -1 },
	{ "one of several for all", 9, 2, { { "", 0, true }, { "\xff\x01", 2, false } }, -1 },
	{ "all after some", 9, 2, { { "\x01", 1, true }, { "", 0, false } }, -1 },
	{ "bits of nobody do not matter", 2, 2, { { "\x01", 1, true }, { "\xfe\xff", 2, false } }, 0 },
	{ "the last is missing", 2, 1, { { "\x01", 1, true } }, 1 },
	{ "three", 3, 3, { { "\x01", 1, true }, { "\x02", 1, true }, { "\x04", 1, false } }, 0 },
};

static void test_rows(void)
{
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct filter_outcomes o = { .n = 0 };
		struct arena *a = arena_new(0);
		struct err e = { 0 };
		int r = 1;
		for (size_t k = 0; k < rows[i].n && r == 1; k++) {
			const struct ipc_filter_VERDICT v = { .action = STR("accept"), .whose = str_n(rows[i].v[k].whose, rows[i].v[k].bytes), .more = rows[i].v[k].more };
			r = filter_outcomes_add(&o, a, rows[i].recipients, &v, &e);
		}
		tap_is_int(r, rows[i].result, "%s: %s", rows[i].name, e.text);
		arena_free(&a);
	}
}

static void test_limit(void)
{
	struct filter_outcomes o = { .n = 0 };
	struct arena *a = arena_new(0);
	struct err e = { 0 };
	const struct ipc_filter_VERDICT v = { .action = STR("accept"), .whose = STR("\x01"), .more = 1 };
	int r = 1;
	for (size_t k = 0; k < FILTER_OUTCOMES_MAX && r == 1; k++)
		r = filter_outcomes_add(&o, a, 1, &v, &e);
	tap_is_int(r, 1, "as many as there may be");
	tap_is_int(filter_outcomes_add(&o, a, 1, &v, &e), -1, "and one more: %s", e.text);
	arena_free(&a);
}

int main(void)
{
	test_rows();
	test_limit();
	return tap_done();
}
