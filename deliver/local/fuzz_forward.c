/* Any bytes as a .forward file or list: what comes out are items with a meaning, addresses without controls, and blanks only in quotes. */
#include <assert.h>
#include <stdint.h>

#include "deliver/local/forward.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct arena *a = arena_new(0);
	struct forward f;
	struct err e = { 0 };

	if (forward_parse(str_n(data, size), a, &f, &e) == 0) {
		assert(f.n <= FORWARD_ITEMS_MAX);
		for (size_t i = 0; i < f.n; i++) {
			assert(f.v[i].text.n > 0 && f.v[i].text.n <= size);
			if (f.v[i].kind != ALIAS_ADDRESS)
				continue;
			assert(f.v[i].text.n <= FORWARD_ADDRESS_MAX);
			for (size_t k = 0; k < f.v[i].text.n; k++)
				assert(!ch_ctl(f.v[i].text.p[k]));
		}
	} else {
		assert(e.code == ERR_INPUT || e.code == ERR_LIMIT);
	}
	arena_free(&a);
	return 0;
}
