/* See gzip.h. */
#include "io/gzip.h"

#include <errno.h>

#define ZLIB_CONST
#include <zlib.h>

enum { GZIP_WINDOW = 15 + 16, GZIP_MEMORY = 8, CHUNK = 16384, PIECE = 1 << 20 };

int gzip_pack(struct buf *out, struct str in, struct err *e)
{
	z_stream z = { 0 };
	char chunk[CHUNK];
	int r = Z_OK;
	if (deflateInit2(&z, Z_BEST_COMPRESSION, Z_DEFLATED, GZIP_WINDOW, GZIP_MEMORY, Z_DEFAULT_STRATEGY) != Z_OK)
		return err_set(e, ERR_TEMP, 0, "gzip: no memory");
	while (r != Z_STREAM_END && r >= 0 && !buf_failed(out)) {
		if (z.avail_in == 0) {
			const struct str piece = str_sub(in, 0, PIECE);
			z.next_in = (const Bytef *)piece.p;
			z.avail_in = (uInt)piece.n;
			in = str_from(in, piece.n);
		}
		z.next_out = (Bytef *)chunk;
		z.avail_out = CHUNK;
		r = deflate(&z, in.n == 0 ? Z_FINISH : Z_NO_FLUSH);
		buf_mem(out, chunk, CHUNK - z.avail_out);
		if (r == Z_BUF_ERROR)
			r = Z_OK;
	}
	(void)deflateEnd(&z);
	return r < 0 ? err_set(e, ERR_BUG, 0, "gzip: error %d", r) : buf_check(out, "compressed data", e);
}

/* --- reading --- */

static ssize_t cookie_read(void *cookie, char *p, size_t n)
{
	const int got = gzread(cookie, p, n < PIECE ? (unsigned)n : PIECE);

	if (got < 0)
		errno = EIO;
	return got;
}

static int cookie_close(void *cookie)
{
	return gzclose(cookie) == Z_OK ? 0 : EOF;
}

FILE *gzip_fopen(const char *path, struct err *e)
{
	gzFile z = gzopen(path, "rbe");
	FILE *f = z ? fopencookie(z, "r", (cookie_io_functions_t){ .read = cookie_read, .close = cookie_close }) : NULL;

	if (!f)
		(void)err_set(e, errno == ENOENT ? ERR_NOENT : ERR_TEMP, errno, "%s", path);
	if (!f && z)
		(void)gzclose(z);
	return f;
}
