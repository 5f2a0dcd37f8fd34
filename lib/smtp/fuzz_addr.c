/* Paths: what is accepted formats to something that is accepted again and formats the same. */
#include <stdlib.h>

#include "base/arena.h"
#include "smtp/addr.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct arena *a = arena_new(0);
	struct smtp_addr addr, again;
	struct str rest;
	struct err e = { 0 };
	struct buf one, two;

	if (size < 1)
		goto out;
	if (smtp_path_parse(a, str_n(data + 1, size - 1), data[0] & 1, data[0] & 2, &addr, &rest, &e) < 0 || addr.local.n == 0)
		goto out;
	buf_init(&one, 4096);
	buf_init(&two, 4096);
	smtp_addr_format(&addr, &one);
	if (smtp_addr_parse(a, buf_view(&one), &again, &e) < 0)
		abort();
	smtp_addr_format(&again, &two);
	if (!str_eq(buf_view(&one), buf_view(&two)) || str_chr(buf_view(&one), '\n') >= 0)
		abort();
	buf_reset(&two);
	if (smtp_xtext_decode(str_n(data, size), &two) == 0) {
		buf_reset(&one);
		smtp_xtext_encode(buf_view(&two), &one);
	}
	buf_fini(&one);
	buf_fini(&two);
out:
	arena_free(&a);
	return 0;
}
