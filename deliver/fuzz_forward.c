/* Any bytes as a .forward file: what comes out are addresses without blanks, controls, commands or paths. */
#include <assert.h>
#include <stdint.h>

#include "deliver/forward.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct forward f;
	struct err e = { 0 };

	if (forward_parse(str_n(data, size), STR("joe"), &f, &e) < 0)
		return 0;
	assert(f.n <= FORWARD_RCPT_MAX && (f.n > 0 || f.keep));
	for (size_t i = 0; i < f.n; i++) {
		assert(f.v[i].n > 0 && f.v[i].p[0] != '|' && f.v[i].p[0] != '/');
		for (size_t k = 0; k < f.v[i].n; k++)
			assert(!ch_ctl(f.v[i].p[k]) && f.v[i].p[k] != ' ');
	}
	return 0;
}
