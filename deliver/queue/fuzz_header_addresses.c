/* Any bytes as a header: completed and put back, every edit is well formed and none starts a field of its own. */
#include <assert.h>
#include <stdint.h>

#include "deliver/queue/header_addresses.h"
#include "mail/edit.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct header_addresses h;
	const struct header_completion c = { STR("example.com"), STR("example.net") };
	struct arena *a = arena_new(0);
	struct str edits[HEADER_ADDRESS_FIELDS_MAX];
	struct err e = { 0 };

	h = (struct header_addresses){ 0 };
	header_addresses_find(a, str_n(data, size), &c, &h);
	assert(h.n <= HEADER_ADDRESSES_MAX && h.n_fields <= HEADER_ADDRESS_FIELDS_MAX);
	for (size_t i = 0; i < h.n; i++)
		header_address_set(&h, i, STR("new@example.org"));
	const size_t n = header_addresses_edits(&h, a, edits, HEADER_ADDRESS_FIELDS_MAX);
	for (size_t i = 0; i < n; i++)
		assert(mail_edit_check(edits[i], &e) == 0);
	arena_free(&a);
	return 0;
}
