/* No bytes break the file of annotations; what it takes is within the limits. */
#include <stdint.h>
#include <stdlib.h>

#include "store/store_priv.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct arena *a = arena_new(1 << 24);
	struct mbox_meta *list;
	size_t n = 0;

	if (meta_parse(a, str_n(data, size), &list, NULL) == 0) {
		for (; list; list = list->next, n++)
			if (list->name.n > STORE_META_NAME_MAX || list->value.n > STORE_META_VALUE_MAX)
				abort();
		if (n > STORE_META_ENTRIES_MAX)
			abort();
	}
	arena_free(&a);
	return 0;
}
