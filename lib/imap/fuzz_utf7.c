/* No input breaks the utf7 parser. */
#include <stdint.h>
#include <stdlib.h>

#include "base/arena.h"
#include "base/enc.h"
#include "imap/utf7.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct arena *a = arena_new(1 << 24);
	struct buf b, back;

	buf_init(&b, 1 << 20);
	buf_init(&back, 1 << 20);
	if (imap_utf7_decode(str_n(data, size), &b) == 0) {
		/* One spelling only. */
		imap_utf7_encode(buf_view(&b), &back);
		if (!utf8_valid(buf_view(&b)) || !str_eq(buf_view(&back), str_n(data, size)))
			abort();
	}
	buf_reset(&b);
	if (imap_utf7_decode_level(str_n(data, size), &b) == 0 && !utf8_valid(buf_view(&b)))
		abort();
	buf_reset(&back);
	imap_utf7_encode(str_n(data, size), &back);
	buf_fini(&b);
	buf_fini(&back);
	arena_free(&a);
	return 0;
}
