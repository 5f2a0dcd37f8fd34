/* What gzip_pack writes is read by zlib's own gzip reader, for sizes around its buffers. */
#include "io/gzip.h"

#include <zlib.h>

#include "base/arena.h"
#include "test/tap.h"

static bool unpacks(struct str packed, struct str want)
{
	z_stream z = { 0 };
	unsigned char *out = xmalloc(want.n + 1);
	bool good = inflateInit2(&z, 15 + 16) == Z_OK;
	z.next_in = (Bytef *)(uintptr_t)packed.p;
	z.avail_in = (uInt)packed.n;
	z.next_out = out;
	z.avail_out = (uInt)want.n + 1;
	good = good && inflate(&z, Z_FINISH) == Z_STREAM_END && z.total_out == want.n && memcmp(out, want.p, want.n) == 0 && z.avail_in == 0;
	(void)inflateEnd(&z);
	xfree_p(&out);
	return good;
}

int main(void)
{
	static const size_t sizes[] = { 0, 1, 16383, 16384, 16385, (1 << 20) - 1, 1 << 20, 3000001 };
	char *text = xmalloc(3000001);
	for (size_t i = 0; i < 3000001; i++)
		text[i] = (char)((i * 2654435761u) >> 13);
	for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
		struct buf out;
		struct err e = { 0 };
		buf_init(&out, 8 << 20);
		tap_is_int(gzip_pack(&out, str_n(text, sizes[i]), &e), 0, "gzip: %zu bytes are packed", sizes[i]);
		tap_ok(unpacks(buf_view(&out), str_n(text, sizes[i])), "gzip: %zu bytes come back", sizes[i]);
		buf_fini(&out);
	}
	struct buf small;
	struct err e = { 0 };
	buf_init(&small, 1000);
	tap_ok(gzip_pack(&small, str_n(text, 3000001), &e) < 0 && e.code == ERR_LIMIT, "gzip: more than the buffer may hold is an error");
	buf_fini(&small);
	xfree_p(&text);
	return tap_done();
}
