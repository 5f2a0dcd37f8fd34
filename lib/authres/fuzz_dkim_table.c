/* Any bytes as a table of signing keys: what is read comes back the same after it was written. */
#include <assert.h>

#include "authres/dkim_table.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct arena *a = arena_new(0);
	struct dkim_table t, again;
	struct err e = { 0 };
	if (dkim_table_parse(a, str_n(data, size > 65536 ? 65536 : size), &t, &e) == 0) {
		struct buf b;
		buf_init(&b, 1 << 22);
		dkim_table_format(&t, &b);
		assert(!buf_failed(&b));
		assert(dkim_table_parse(a, buf_view(&b), &again, &e) == 0 && again.n == t.n);
		for (size_t i = 0; i < t.n; i++) {
			const struct dkim_row *v[DKIM_KEYS_PER_DOMAIN_MAX];
			assert(str_eq(t.v[i].domain, again.v[i].domain) && t.v[i].state == again.v[i].state && t.v[i].since == again.v[i].since);
			assert(dkim_table_signers(&t, t.v[i].domain, v) <= DKIM_KEYS_PER_DOMAIN_MAX);
		}
		buf_fini(&b);
	}
	arena_free(&a);
	return 0;
}
