/* Any bytes as the right side of an alias: items end, and are within the input's size. */
#include <assert.h>
#include <stdint.h>

#include "deliver/resolve/aliases.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct arena *a = arena_new(0);
	struct alias_reader rd;
	struct alias_item item;
	struct err e = { 0 };
	size_t n = 0;
	int r;

	alias_reader_init(&rd, str_n(data, size));
	while ((r = alias_next(&rd, a, &item, &e)) > 0) {
		assert(item.text.n > 0 && item.text.n <= size);
		assert(++n <= size);
	}
	assert(r == 0 || e.code == ERR_INPUT || e.code == ERR_LIMIT);
	arena_free(&a);
	return 0;
}
