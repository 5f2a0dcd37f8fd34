/* No input breaks the fetch parser. */
#include <stdint.h>
#include <stdlib.h>

#include "imap/fetch.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct arena *a = arena_new(1 << 24);
	struct imap_lex l = { .p = (const char *)data, .end = (const char *)data + size, .arena = a };
	struct imap_fetch f;

	if (imap_get_fetch(&l, &f, NULL) == 0) {
		for (const struct imap_section *s = f.sections; s; s = s->next) {
			if (memchr(s->label.p ? s->label.p : "", 0, s->label.n))
				abort();
		}
	}
	arena_free(&a);
	return 0;
}
