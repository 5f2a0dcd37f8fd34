/* Any bytes as a line of DMARC data and as rua=: what is read comes back the same after it was written, and makes XML without a byte of markup of its own. */
#include <assert.h>

#include "authres/aggregate.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct arena *a = arena_new(0);
	const struct str in = str_n(data, size);
	struct aggregate_row row = { .count = 1 };
	struct str list = in, address;
	uint64_t max;
	while (aggregate_rua_next(&list, a, &address, &max))
		assert(str_chr(address, '@') > 0 && str_chr(address, '>') < 0 && str_chr(address, ' ') < 0);
	if (aggregate_parse(in, &row.a) == 0) {
		struct aggregate again;
		struct buf b;
		buf_init(&b, 100000);
		if (aggregate_put(&b, &row.a) == 0) {
			assert(aggregate_parse(str_sub(buf_view(&b), 0, b.n - 1), &again) == 0 && again.when == row.a.when && again.n_dkim == row.a.n_dkim);
			for (unsigned i = 0; i < AGG_MAX_; i++)
				assert(str_eq(again.v[i], row.a.v[i]));
		}
		buf_reset(&b);
		const struct aggregate_report r = { STR("o"), STR("e"), STR("i"), row.a.v[AGG_DOMAIN], 0, 1, &row, 1 };
		aggregate_xml(&r, &b);
		assert(str_ends(buf_view(&b), STR("</feedback>\n")));
		buf_fini(&b);
	}
	arena_free(&a);
	return 0;
}
