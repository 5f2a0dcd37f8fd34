/* No input breaks the search parser. */
#include <stdint.h>
#include <stdlib.h>

#include "imap/search.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct arena *a = arena_new(1 << 24);
	struct imap_lex l = { .p = (const char *)data, .end = (const char *)data + size, .arena = a };
	struct imap_search_key *k;
	struct str charset;

	if (imap_get_search_charset(&l, &charset, NULL) == 0)
		(void)!imap_get_search(&l, &k, NULL);
	arena_free(&a);
	return 0;
}
