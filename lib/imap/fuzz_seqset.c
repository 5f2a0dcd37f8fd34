/* No input breaks the seqset parser. */
#include <stdint.h>
#include <stdlib.h>

#include "imap/seqset.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct arena *a = arena_new(1 << 24);
	struct imap_seqset s = { 0 }, back = { 0 };
	struct buf b;

	if (imap_seqset_parse(a, str_n(data, size), &s, NULL) == 0 && !s.saved) {
		imap_seqset_resolve(&s, 1000);
		buf_init(&b, 1 << 20);
		imap_seqset_format(&s, &b);
		/* What is printed reads back as the same set. */
		if (s.n && !buf_failed(&b)) {
			if (imap_seqset_parse(a, buf_view(&b), &back, NULL) < 0)
				abort();
			imap_seqset_resolve(&back, 1000);
			if (imap_seqset_count(&back) != imap_seqset_count(&s) || !imap_seqset_has(&s, imap_seqset_max(&s)))
				abort();
		}
		buf_fini(&b);
	}
	arena_free(&a);
	return 0;
}
