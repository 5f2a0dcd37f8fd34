/* Any bytes as a message whose keys are the zone's, for DKIM and for ARC: results within the limits, and no signature passes that a byte of the sample did not
 * make. The part before a line "====" is the zone. */
#include <assert.h>

#include "authres/arc.h"
#include "authres/dkim.h"
#include "test_zone.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct arena *a = arena_new(0);
	struct str all = str_n(data, size > 16384 ? 16384 : size);
	const ptrdiff_t cut = str_find(all, STR("\n====\n"));
	struct zone z = { .text = str_sub(all, 0, cut < 0 ? 0 : (size_t)cut) };
	const struct auth_dns dns = { zone_ask, &z };
	struct dkim_result r[DKIM_SIGNATURES_MAX];
	const struct str message = cut < 0 ? all : str_from(all, (size_t)cut + 6);
	const size_t n = dkim_verify(a, &dns, message, 1600000000, r);
	assert(n <= DKIM_SIGNATURES_MAX && z.asked <= n);
	for (size_t i = 0; i < n; i++)
		assert(r[i].why != NULL && r[i].result != AUTH_NONE && (r[i].result != AUTH_PASS || r[i].domain.n > 0));
	const struct arc_result arc = arc_verify(a, &dns, message, 1600000000);
	assert(arc.n <= ARC_SETS_MAX && arc.why != NULL && (arc.result == AUTH_PASS) == (arc.sets != NULL) && z.asked <= n + arc.n + 1);
	arena_free(&a);
	return 0;
}
