/* Any bytes as a sender to be rewritten, and as the local part of a rewritten one. */
#include <assert.h>
#include <stdint.h>

#include "smtp/srs.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct srs s = { { 1 }, STR("fwd.example") };
	struct arena *a = arena_new(0);
	struct str there, back;
	struct err e = { 0 };

	if (srs_forward(&s, str_n(data, size), 20000, a, &there, &e) == 0) {
		const struct str local = str_sub(there, 0, (size_t)str_rchr(there, '@'));
		assert(local.n <= 64 && srs_is(&s, local, s.domain));
		/* What another forwarder made is taken as it is: it may be nonsense, which shows on the way back. */
		if (srs_reverse(&s, local, 20000, a, &back, &e) == 0 && str_starts(local, STR("SRS0")))
			assert(str_eq(back, str_n(data, size)));
	}
	if (srs_reverse(&s, str_n(data, size), 20000, a, &back, &e) == 0)
		assert(str_chr(back, '@') > 0);
	arena_free(&a);
	return 0;
}
