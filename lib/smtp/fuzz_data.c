/* The DATA reader: the first byte chooses how the rest is cut. The result must not depend on the cuts, what is accepted holds no CR and no NUL,
 * and encoded again it reads back as the same bytes. The same for a message in chunks. */
#include <stdlib.h>

#include "smtp/data.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct run {
	struct smtp_data d;
	struct buf out;
	char room[4096];
};

static int sink(void *ctx, const void *p, size_t n)
{
	buf_mem(&((struct run *)ctx)->out, p, n);
	return 0;
}

static int read_all(struct run *r, struct str in, size_t step, size_t *used_out)
{
	const struct smtp_data_limits lim = { .size_max = 100000, .header_max = 4096 };
	size_t used, total = 0;
	int ret = 1;

	buf_init(&r->out, 1 << 24);
	smtp_data_init(&r->d, &lim, sink, r, r->room, sizeof r->room);
	while (ret == 1 && in.n > 0) {
		const struct str part = str_sub(in, 0, step);
		ret = smtp_data_feed(&r->d, part, &used);
		total += used;
		in = str_from(in, part.n);
	}
	*used_out = total;
	return ret;
}

static void read_chunks(struct run *r, struct str in, size_t step)
{
	const struct smtp_data_limits lim = { .size_max = 100000, .header_max = 4096 };

	buf_init(&r->out, 1 << 24);
	smtp_data_init(&r->d, &lim, sink, r, r->room, sizeof r->room);
	for (; in.n > 0; in = str_from(in, step))
		smtp_data_chunk(&r->d, str_sub(in, 0, step));
	smtp_data_chunk_end(&r->d);
}

static int kind(enum smtp_data_fault f)
{
	return f <= SMTP_DATA_NUL ? (int)f : SMTP_DATA_TOO_BIG;
}

static void chunked(struct str in, size_t step)
{
	static struct run a, b;

	read_chunks(&a, in, SIZE_MAX / 2);
	read_chunks(&b, in, step);
	if (kind(a.d.fault) != kind(b.d.fault))
		abort();
	if (a.d.fault == SMTP_DATA_FINE) {
		const struct str text = buf_view(&a.out);
		if (!str_eq(text, buf_view(&b.out)) || str_chr(text, '\r') >= 0 || str_chr(text, '\0') >= 0 || a.d.size != text.n ||
		    (text.n > 0 && text.p[text.n - 1] != '\n'))
			abort();
	}
	buf_fini(&a.out);
	buf_fini(&b.out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct run a, b;
	size_t used_a, used_b;

	if (size < 2)
		return 0;
	const struct str in = str_n(data + 1, size - 1);
	chunked(in, 1u + data[0] % 61);
	const int ra = read_all(&a, in, SIZE_MAX / 2, &used_a);
	const int rb = read_all(&b, in, 1u + data[0] % 61, &used_b);
	/* Which limit was hit first may depend on the cuts; everything else may not. */
	if (ra != rb || used_a != used_b || kind(a.d.fault) != kind(b.d.fault) || (a.d.fault == SMTP_DATA_FINE && a.d.received != b.d.received))
		abort();
	if (ra == 0 && a.d.fault == SMTP_DATA_FINE) {
		if (!str_eq(buf_view(&a.out), buf_view(&b.out)) || str_chr(buf_view(&a.out), '\r') >= 0 || str_chr(buf_view(&a.out), '\0') >= 0)
			abort();
		struct smtp_dot dot = SMTP_DOT_INIT;
		struct buf wire;
		buf_init(&wire, 1 << 24);
		smtp_dot_encode(&dot, buf_view(&a.out), &wire);
		smtp_dot_end(&dot, &wire);
		buf_fini(&b.out);
		if (read_all(&b, buf_view(&wire), SIZE_MAX / 2, &used_b) != 0 || !str_eq(buf_view(&a.out), buf_view(&b.out)))
			abort();
		buf_fini(&wire);
	}
	buf_fini(&a.out);
	buf_fini(&b.out);
	return 0;
}
