/* Any bytes as a saslauthd request. */
#include <assert.h>
#include <stdint.h>

#include "authd/muxproto.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct mux_request r = { 0 };
	struct err e = { 0 };

	if (mux_request_parse(str_n(data, size), &r, &e) == 0) {
		assert(r.login.n && r.password.n && r.service.n);
		assert(r.login.n <= MUX_FIELD_MAX && r.password.n <= MUX_FIELD_MAX);
	}
	return 0;
}
