/* Any bytes as a journal: replay either refuses, or gives a message that, written and replayed again, is the same. */
#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "base/num.h"
#include "spool/spool.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct str QID = { "1ABCDEFGHJK", 11 };

/* Make the checksums right, as far as the lengths go: else no mutation would ever be looked into. */
static void mend(unsigned char *p, size_t n)
{
	while (n >= 16) {
		put_le32(p, 0x314a6f50);
		const uint32_t len = get_le32(p + 8) % 4096;
		put_le32(p + 8, len);
		if (len > n - 16)
			return;
		put_le32(p + 12, crc32c(crc32c(crc32c(0, QID.p, QID.n), p, 12), p + 16, len));
		p += 16 + len;
		n -= 16 + len;
	}
}

static void replay(struct str bytes)
{
	struct arena *a = arena_new(64 << 20);
	struct spool_msg *m = NULL, *again = NULL;
	struct err e = { 0 };
	size_t good = 0;

	if (spool_journal_decode(QID, 4096, bytes, a, &m, &good, &e) == 0) {
		struct buf b;
		assert(good <= bytes.n && m->n_rcpts > 0);
		buf_init(&b, 64 << 20);
		spool_journal_message(m, &b);
		assert(!buf_failed(&b));
		assert(spool_journal_decode(QID, 4096, buf_view(&b), a, &again, &good, &e) == 0);
		assert(good == b.n && again->n_rcpts == m->n_rcpts && str_eq(again->sender, m->sender) && again->tries == m->tries && again->ret == m->ret &&
		       again->rcpts[0].notify == m->rcpts[0].notify && str_eq(again->envid, m->envid));
		buf_fini(&b);
	}
	arena_free(&a);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct buf b;

	replay(str_n(data, size));
	buf_init(&b, 1 << 24);
	buf_mem(&b, data, size);
	mend((unsigned char *)b.p, b.n);
	replay(buf_view(&b));
	buf_fini(&b);
	return 0;
}
