/* Any bytes as a zone ("name TYPE value" lines) and a sender: a result, within the bounds of questions. The first line is the sender, the second HELO. */
#include <assert.h>

#include "authres/spf.h"
#include "test_zone.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct arena *a = arena_new(0);
	struct str rest = str_n(data, size > 8192 ? 8192 : size);
	struct spf_query q = { .addr = { [10] = 0xff, 0xff, 192, 0, 2, 1 }, .receiver = STR("mx.test") };
	if (size > 0 && data[0] == '6')
		q.addr[0] = 0x20;
	q.sender = str_split(&rest, '\n');
	q.helo = str_split(&rest, '\n');
	struct zone z = { .text = rest };
	const struct auth_dns dns = { zone_ask, &z };
	const struct spf_result r = spf_check(a, &dns, &q);
	assert(z.asked <= 2 + SPF_LOOKUPS_MAX * (1 + SPF_NAMES_MAX));
	assert(r.explanation == NULL || r.result == AUTH_FAIL);
	assert(r.explanation == NULL || str_printable(str_c(r.explanation)));
	arena_free(&a);
	return 0;
}
