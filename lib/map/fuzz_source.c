/* Any bytes as the source of a map, as postmap and as postalias read it. */
#include <assert.h>
#include <stdint.h>

#include "map/source.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct source s;
	struct buf space;
	struct err e = { 0 };
	struct str line, key, value;
	int r;

	buf_init(&space, SOURCE_KEY_MAX);
	source_init(&s, str_n(data, size));
	while ((r = source_next(&s, &line, &e)) != 0) {
		if (r < 0)
			continue;
		assert(line.n > 0 && !ch_blank(line.p[0]) && line.p[0] != '#');
		if (source_pair(line, size % 2 != 0, &key, &value, &e) == 0)
			assert(value.n > 0 && key.n <= SOURCE_KEY_MAX);
		if (source_alias(line, &space, &key, &value, &e) == 0)
			assert(key.n > 0 && value.n > 0);
	}
	source_fini(&s);
	buf_fini(&space);
	return 0;
}
