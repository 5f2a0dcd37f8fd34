/* Any bytes as a table of certificates by name. */
#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "map/snimap.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct arena *a = arena_new(0);
	struct snimap m = { .n_pairs = 0 };
	struct err e = { 0 };

	(void)!snimap_parse(str_n(data, size), "fuzz", a, &m, &e);
	for (size_t i = 0; i < m.n_names; i++) {
		const struct snimap_name *n = &m.names[i];

		assert(n->n_pairs > 0 && n->n_pairs <= SNIMAP_OF_NAME_MAX && n->line > 0);
		for (size_t k = 0; k < n->n_pairs; k++)
			assert(n->pairs[k] < m.n_pairs);
	}
	for (size_t i = 0; i < m.n_pairs; i++) {
		assert(m.pairs[i].chain[0] == '/' && strlen(m.pairs[i].chain) <= SNIMAP_PATH_MAX);
		assert(m.pairs[i].key[0] == '/' && strcmp(m.pairs[i].chain, m.pairs[i].key) != 0);
	}
	arena_free(&a);
	return 0;
}
