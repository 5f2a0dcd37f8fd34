/* Any bytes as a journal: replay either refuses, or gives a message that, written and replayed again, is the same. */
#include <assert.h>
#include <stdint.h>

#include "spool/spool.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct arena *a = arena_new(64 << 20);
	struct spool_msg *m = NULL, *again = NULL;
	struct err e = { 0 };
	size_t good = 0;

	if (spool_journal_decode(STR("1ABCDEFGHJK"), 4096, str_n(data, size), a, &m, &good, &e) == 0) {
		struct buf b;
		assert(good <= size && m->n_rcpts > 0);
		buf_init(&b, 64 << 20);
		spool_journal_message(m, &b);
		assert(!buf_failed(&b));
		assert(spool_journal_decode(STR("1ABCDEFGHJK"), 4096, buf_view(&b), a, &again, &good, &e) == 0);
		assert(good == b.n && again->n_rcpts == m->n_rcpts && str_eq(again->sender, m->sender) && again->tries == m->tries);
		buf_fini(&b);
	}
	arena_free(&a);
	return 0;
}
