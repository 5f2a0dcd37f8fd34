/* Any bytes: loops by vectors (spans.h) do what the same loops do byte by byte. */
#include <assert.h>
#include <stddef.h>
#include <stdint.h>

#include "spam/test_spans.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	assert(spans_agree((struct str){ (const char *)data, size }));
	return 0;
}
