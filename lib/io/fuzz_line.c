/* line_parse under any bytes: its promises hold, and feeding the same bytes in two parts gives the same lines. The
 * first byte says where to cut. */
#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "base/buf.h"
#include "io/conn.h"

enum { MAX = 64 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void feed(struct buf *have, struct str more, struct buf *out, bool *skip)
{
	buf_str(have, more);
	for (;;) {
		struct str line = { 0 }, in;
		struct err e = { 0 };
		size_t used = 0;

		if (*skip) {
			ptrdiff_t lf = str_chr(buf_view(have), '\n');

			buf_shift(have, lf < 0 ? have->n : (size_t)lf + 1);
			*skip = lf < 0;
		}
		in = buf_view(have);
		int r = line_parse(in, MAX, &line, &used, &e);
		if (r == 1) {
			assert(in.n < MAX && !memchr(in.p, '\n', in.n));
			return;
		}
		assert(used > 0 && used <= in.n);
		if (r == 0) {
			assert(line.n + 2 == used && used <= MAX);
			assert(!memchr(line.p, '\r', line.n) && !memchr(line.p, '\n', line.n) &&
			       !memchr(line.p, 0, line.n));
			buf_str(out, line);
			buf_c(out, "\r\n");
		} else {
			assert(e.code == ERR_LIMIT ||
			       (e.code == ERR_INPUT && in.p[used - 1] == '\n'));
			buf_printf(out, "<%s>\r\n", e.text);
			*skip = in.p[used - 1] != '\n';
		}
		buf_shift(have, used);
	}
}

static void run(struct str in, size_t cut, struct buf *out)
{
	struct buf have;
	bool skip = false;

	buf_init(&have, 1 << 20);
	feed(&have, str_sub(in, 0, cut), out, &skip);
	feed(&have, str_from(in, cut), out, &skip);
	buf_fini(&have);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct buf whole, parts;

	if (size < 1 || size > 4096)
		return 0;
	struct str in = str_n(data + 1, size - 1);
	buf_init(&whole, 1 << 20);
	buf_init(&parts, 1 << 20);
	run(in, in.n, &whole);
	run(in, in.n * data[0] / 255, &parts);
	assert(str_eq(buf_view(&whole), buf_view(&parts)));
	buf_fini(&whole);
	buf_fini(&parts);
	return 0;
}
