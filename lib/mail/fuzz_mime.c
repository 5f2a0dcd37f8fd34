/* Any bytes as a message: the tree's parts lie inside the input, limits hold, decoding works. */
#include <assert.h>
#include <stddef.h>
#include <stdint.h>

#include "mail/mime.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(struct arena *a, const struct mime_part *p, struct str in, size_t *count)
{
	for (; p != NULL; p = p->next) {
		assert(++*count <= MIME_PARTS_MAX && p->depth < MIME_DEPTH_MAX + 1);
		assert(p->head.n == 0 || (p->head.p >= in.p && p->head.p + p->head.n <= in.p + in.n));
		assert(p->body.n == 0 || (p->body.p >= in.p && p->body.p + p->body.n <= in.p + in.n));
		struct str names[16];
		assert(mime_names(a, p, names, 16) <= 16);
		struct buf b;
		buf_init(&b, 1 << 20);
		mime_body_decode(p, &b);
		buf_fini(&b);
		check(a, p->children, in, count);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct arena *a = arena_new(0);
	size_t count = 0;
	struct str in = str_n(data, size);
	check(a, mime_parse(a, in), in, &count);
	arena_free(&a);
	return 0;
}
