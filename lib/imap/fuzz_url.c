/* No input breaks the parser of URLs; what it accepts names a message. */
#include <stdint.h>
#include <stdlib.h>

#include "base/enc.h"
#include "imap/url.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct arena *a = arena_new(1 << 24);
	struct imap_url u;

	if (imap_url_parse(a, str_n(data, size), &u, NULL) == 0 && (u.uid == 0 || !utf8_valid(u.mailbox) || (u.partial && u.from > UINT32_MAX)))
		abort();
	arena_free(&a);
	return 0;
}
