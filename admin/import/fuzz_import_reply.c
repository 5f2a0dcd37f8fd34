/* Any bytes as a foreign IMAP server's answer. */
#include <assert.h>
#include <stdint.h>

#include "admin/import/import_net.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct str in = str_n(data, size);
	struct arena *a = arena_new(0);
	struct remote_folder folder;
	struct reply_fetch f;
	struct err e = { 0 };
	char separator;
	bool noselect;
	uint64_t n;

	if (reply_fetch(in, a, &f, &e) == 0) {
		assert(f.n_keywords <= ARRAY_LEN(f.keywords));
		assert(f.body.n <= size);
		for (size_t i = 0; i < f.n_keywords; i++)
			assert(f.keywords[i].n > 0 && f.keywords[i].n <= STORE_KEYWORD_NAME_MAX);
	}
	if (reply_list(in, "LIST", a, &folder, &separator, &noselect, &e) == 0)
		assert(folder.raw.n > 0 && folder.name.n <= STORE_FOLDER_NAME_MAX * 3);
	if (size > 0)
		(void)reply_literal(in, &n);
	arena_free(&a);
	return 0;
}
