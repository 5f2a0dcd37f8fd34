/* Any bytes as a folder name and as a directory name: what is accepted comes back the same, and no directory name can leave the tree. First byte: bit 0 the
 * tree has UTF-8 names. */
#include <assert.h>
#include <stdint.h>

#include "base/enc.h"
#include "store/store_priv.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void dir_is_safe(struct str dir)
{
	assert(dir.n <= FILE_NAME_MAX);
	assert(dir.n == 0 || (dir.p[0] == '.' && dir.n > 1 && dir.p[1] != '.'));
	assert(str_chr(dir, '/') < 0 && str_chr(dir, '\0') < 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct buf dir, name, normal, again;
	struct err e = { 0 };

	if (size < 1)
		return 0;
	const bool utf8 = data[0] & 1;
	const struct str in = str_n(data + 1, size - 1);
	buf_init(&dir, FILE_NAME_MAX + 8);
	buf_init(&name, 4 * STORE_FOLDER_NAME_MAX);
	buf_init(&normal, 4 * STORE_FOLDER_NAME_MAX);
	buf_init(&again, FILE_NAME_MAX + 8);
	if (name_to_dir(in, utf8, &dir, &e) == 0) {
		dir_is_safe(buf_view(&dir));
		assert(name_normal(in, &normal, &e) == 0);
		if (!utf8) {
			assert(name_from_dir(buf_view(&dir), false, &name) == 0);
			assert(str_eq(buf_view(&name), buf_view(&normal)));
		}
	}
	if (name_from_dir(in, utf8, &name) == 0) {
		assert(utf8_valid(buf_view(&name)));
		if (name_to_dir(buf_view(&name), utf8, &again, &e) == 0)
			dir_is_safe(buf_view(&again));
	}
	buf_fini(&dir);
	buf_fini(&name);
	buf_fini(&normal);
	buf_fini(&again);
	return 0;
}
