/* Any bytes as an mbox: messages lie one behind the other, inside the file, and their text is no longer than they are. */
#include <assert.h>
#include <stdint.h>

#include "mail/mbox.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int count(void *ctx, struct str piece, struct err *e)
{
	(void)e;
	assert(piece.n > 0);
	*(size_t *)ctx += piece.n;
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct str file = str_n(data, size);
	struct mail_mbox_meta meta;
	struct mail_mbox_msg m;
	struct err e = { 0 };
	size_t pos = 0, before = 0;

	while (mail_mbox_next(file, &pos, &m) == 0) {
		size_t n = 0;
		assert(pos > before && pos <= size);
		assert(m.head.p >= file.p && m.body.n <= size && m.head.n <= size);
		assert(m.body.n == 0 || (m.body.p >= file.p && m.body.p + m.body.n <= file.p + pos));
		assert(mail_mbox_text(&m, (enum mail_mbox_quote)(size % 3), count, &n, &e) == 0 && n <= m.head.n + m.body.n + 1);
		mail_mbox_meta(&m, &meta);
		assert(meta.n_keywords <= MBOX_KEYWORDS_MAX);
		before = pos;
	}
	assert(pos <= size);
	return 0;
}
