/* Any bytes as the operations of journal batches, and as a piece of a journal. First byte: the rest is one batch's operations (even), or a file's bytes
 * (odd). Whatever is applied: UIDs ascend, the counters are those of the records, every accessor stays in bounds. */
#include <assert.h>
#include <stdint.h>

#include "store/store_priv.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const struct state *st)
{
	uint32_t last = 0, messages = 0, unseen = 0, deleted = 0, unknown = 0, zombies = 0, unflushed = 0;
	char name[FILE_NAME_MAX + 1];
	uint64_t sum = 0;

	for (uint32_t pos = 0; pos < state_count(st); pos++) {
		const struct rec *const r = state_rec(st, pos);
		assert(r->uid > last && r->uid <= UID_MAX);
		assert(state_lower(st, r->uid) == pos);
		last = r->uid;
		assert(state_name(st, r).n > 0);
		(void)!disk_name(name, state_name(st, r), r->disk, state_info(st, r));
		const struct kwset *const k = state_kwset_get(st, r);
		for (size_t i = 0; i < k->n; i++)
			assert(k->ids[i] < st->n_keywords && (i == 0 || k->ids[i] > k->ids[i - 1]));
		if (r->state & REC_GONE) {
			zombies += (r->state & REC_ZOMBIE) != 0;
			assert(state_find(st, r->uid) == NULL);
			continue;
		}
		messages++;
		unseen += !(r->flags & MBOX_SEEN);
		deleted += (r->flags & MBOX_DELETED) != 0;
		unknown += r->size_crlf == UINT64_MAX;
		unflushed += state_unflushed(r);
		sum += r->size_crlf == UINT64_MAX ? 0 : r->size_crlf;
	}
	assert(st->messages == messages && st->unseen == unseen && st->deleted == deleted && st->unknown_sizes == unknown && st->zombies == zombies);
	assert(st->unflushed == unflushed && st->size_crlf == sum && st->uidnext > last);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct state st;
	struct err e = { 0 };

	if (size < 1 || size > 1 << 18)
		return 0;
	const struct str in = str_n(data + 1, size - 1);
	state_init(&st);
	if (data[0] & 1) {
		for (size_t at = 0; at < in.n; at += 8) {
			uint64_t modseq;
			uint32_t uidnext, reserved;
			struct str ops;
			size_t used;
			if (batch_parse(str_from(in, at), 0, at, &used, &ops, &modseq, &uidnext, &reserved)) {
				assert(used <= in.n - at && ops.n <= used);
				(void)!state_apply(&st, ops, modseq, &e);
			}
		}
	} else {
		(void)!state_apply(&st, in, 7, &e);
	}
	check(&st);
	state_fini(&st);
	return 0;
}
