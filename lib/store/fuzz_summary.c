/* Summaries: bytes of a damaged cache never lead outside, and what is built of any header is read back. */
#include "base/arena.h"
#include "imap/structure.h"
#include "store/summary.h"

static uint64_t touch(struct str s)
{
	uint64_t n = 0;

	for (size_t i = 0; i < s.n; i++)
		n += (unsigned char)s.p[i];
	return n;
}

static uint64_t look(const struct mbox_summary *s)
{
	uint64_t n = touch(s->envelope) + touch(s->fields) + touch(s->base_subject) + touch(s->from) + touch(s->to) + touch(s->cc) + touch(s->display_from) +
		     touch(s->display_to);

	for (size_t i = 0; i < s->n_refs; i++)
		n += summary_ref(s, i);
	return n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint64_t sink = 0;
	const struct str in = str_n(data, size);
	struct arena *a = arena_new(0);
	struct mbox_summary s;
	struct buf b, envelope;

	if (summary_parse(in, &s) == 0)
		sink += look(&s);
	buf_init(&b, 4 << 20);
	buf_init(&envelope, 4 << 20);
	summary_build(&b, a, in);
	envelope_put(&envelope, a, in);
	if (!buf_failed(&b)) {
		if (summary_parse(buf_view(&b), &s) < 0 || !str_eq(s.envelope, buf_view(&envelope)))
			__builtin_trap();
		sink += look(&s);
	}
	buf_fini(&envelope);
	buf_fini(&b);
	arena_free(&a);
	__asm__ volatile("" : : "r"(sink));	/* read for good */
	return 0;
}
