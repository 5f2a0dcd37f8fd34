/* Any bytes as a maildirsize: what is read can be written and read again. */
#include <assert.h>
#include <stdint.h>

#include "store/quota.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct quota_file f = { .lines = 77 };

	if (quota_parse(str_n(data, size), &f) == 0)
		assert(f.lines > 0 && data[size - 1] == '\n');
	else
		assert(f.lines == 77);
	return 0;
}
