/* Any bytes as a record that asks for TLS reports. */
#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "deliver/queue/tlsrpt_text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct arena *a = arena_new(0);
	struct str out[TLSRPT_RUA_MAX];
	struct err e = { 0 };
	size_t n = 0;

	if (tlsrpt_record_parse(str_n(data, size), a, out, &n, &e) == 0) {
		assert(n <= TLSRPT_RUA_MAX);
		for (size_t i = 0; i < n; i++)
			for (size_t k = 0; k < out[i].n; k++)
				assert(out[i].p[k] > ' ' && out[i].p[k] != '<' && out[i].p[k] != ',');
	}
	arena_free(&a);
	return 0;
}
