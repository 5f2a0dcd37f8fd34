/* Any bytes as a file of what is to be learned: records or an end, and what is parsed is formatted alike. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "spam/taught.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void one(struct arena *a, struct str record)
{
	struct taught t;
	struct err e = { 0 };
	if (taught_parse(a, record, &t, &e) < 0)
		return;
	const struct str again = taught_format(a, &t);
	if (!str_eq(again, record))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct arena *a = arena_new(0);
	struct str rest = str_n((const char *)data, size), record;
	one(a, rest);
	while (taught_file_next(&rest, &record) == 0)
		one(a, record);
	arena_free(&a);
	return 0;
}
