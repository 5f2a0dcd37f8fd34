/* Any bytes as an archive, a compressed file, TNEF or uuencoded text: within the limits, members with a parent chain no deeper than allowed. */
#include <assert.h>

#include "archive.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int on_member(void *ctx, struct archive_member *m)
{
	size_t *n = ctx;
	unsigned depth = 0;
	for (const struct archive_member *q = m->parent; q != NULL; q = q->parent)
		depth++;
	assert(depth < ARCHIVE_DEPTH_MAX && m->class[0] != ' ');
	++*n;
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct arena *a = arena_new(0);
	struct archive_walk w;
	size_t n = 0;
	const struct str s = str_n(data, size);
	for (int strange = 0; strange < 2; strange++) {
		archive_walk_init(&w, a, size, on_member, &n);
		w.strange = strange != 0;
		assert(archive_walk_body(&w, s, content_of(str_sub(s, 0, CONTENT_HEAD)), STR("a.bin"), true) == 0);
		assert(w.members <= ARCHIVE_MEMBERS_MAX);
	}
	arena_free(&a);
	return 0;
}
