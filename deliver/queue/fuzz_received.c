/* Any bytes as a header section: every edit that comes out is well formed and can be applied to it. */
#include <assert.h>
#include <stdint.h>

#include "deliver/queue/queued.h"
#include "mail/edit.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct arena *a = arena_new(0);
	const struct str all = str_n(data, size);
	const size_t cut = size < 40 ? size : 40;
	const struct head_facts f = {
		.submission = true, .esmtp = true, .name_user = true, .sender = str_sub(all, 0, cut),
		 .client = STR("192.0.2.1"), .helo = str_sub(all, 0, cut), .tls = str_sub(all, 0, cut), .user = STR("joe"),
		.recipient = str_sub(all, 0, cut), .qid = STR("1ABC"), .hostname = "h.example", .mail_name = "P", .now = 1,
	};
	struct head_result r;
	struct err e = { 0 };
	struct buf b;

	buf_init(&b, 64 << 20);
	if (head_edits(a, all, &f, &r, &e) == 0) {
		for (size_t i = 0; i < r.n_edits; i++)
			assert(mail_edit_check(r.edits[i], &e) == 0);
		assert(mail_edit_apply(all, r.edits, r.n_edits, &b, &e) == 0 || buf_failed(&b));
	}
	buf_fini(&b);
	arena_free(&a);
	return 0;
}
