/* Any bytes as Dovecot's or Courier's list of UIDs, and as a list of keywords: UIDs ascend, names can be files'. */
#include <assert.h>
#include <stdint.h>

#include "store/store_priv.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct str text = str_n(data, size);
	struct arena *a = arena_new(0);
	struct str letters[26] = { { 0 } };
	struct old_list l = { 0 };
	struct err e = { 0 };
	uint32_t last = 0;

	if (uidlist_parse(a, text, &l, &e) == 0) {
		assert(l.uidvalidity != 0 && l.uidnext != 0);
		for (size_t i = 0; i < l.n; i++) {
			assert(l.v[i].uid > last && l.v[i].uid < l.uidnext);
			last = l.v[i].uid;
			assert(l.v[i].base.n > 0 && l.v[i].base.n <= FILE_NAME_MAX && l.v[i].base.p[0] != '.' && str_chr(l.v[i].base, '/') < 0);
			assert(l.v[i].uidl.n <= UIDL_MAX);
		}
	}
	keywords_parse(a, text, letters);
	for (size_t i = 0; i < 26; i++)
		assert(letters[i].n <= STORE_KEYWORD_NAME_MAX);
	struct map *by_base = map_new();
	size_t it = 0;
	struct str key;
	void *value;
	courier_list_parse(a, text, by_base);
	courier_file_parse(a, str_sub(text, 0, size < 20 ? size : 20), text, by_base);
	while (map_next(by_base, &it, &key, &value))
		assert(((const struct courier_words *)value)->n <= COURIER_WORDS_MAX);
	map_free(&by_base);
	arena_free(&a);
	return 0;
}
