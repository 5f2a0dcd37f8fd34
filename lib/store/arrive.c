/* New messages: what clients will ask of them (summary, body structure) is computed at once, and the search index, where this process has it loaded, learns
 * their text. Best effort. A folder that is filled (an import, a first look at a large folder) is not held up: what is left out is made at first sight. */
#include <unistd.h>

#include "imap/structure.h"
#include "os/os.h"
#include "store/search_priv.h"
#include "store/summary.h"

enum {
	ARRIVED_BYTES = 4 << 20,	/* larger ones are looked at when they are asked for */
};

static void note_structure(struct mbox *m, uint32_t uid, struct msgfile *f)
{
	struct arena *a = arena_new(0);
	struct buf b;

	buf_init(&b, STRUCTURE_KEPT_MAX);
	structure_pack(&b, a, msgfile_mime(f));
	if (!buf_failed(&b))
		cache_put(m, uid, MBOX_CACHE_BODYSTRUCTURE, buf_view(&b));
	buf_fini(&b);
	arena_free(&a);
}

static void learn(struct mbox *m, uint32_t pos, struct msgfile *f)
{
	const uint32_t uid = state_rec(&m->st, pos)->uid;

	summary_note(m, uid, msgfile_head(f));
	note_structure(m, uid, f);
	if (search_loaded(m))
		search_learn(m, pos, f);
	msgfile_close(f);
}

static void arrived(struct mbox *m, uint32_t pos)
{
	struct msgfile f;
	struct stat st;
	struct err quiet = { 0 };

	CLEANUP_FD int fd = -1;
	if (message_open_pos(m, pos, &fd, &st) == 0 && st.st_size <= ARRIVED_BYTES && msgfile_from(&f, fd, &st, false, &quiet) == 0)
		learn(m, pos, &f);
}

void messages_arrived(struct mbox *m, uint32_t pos, const struct str *texts, size_t n_texts)
{
	const uint32_t n = state_count(&m->st);

	for (uint32_t i = 0; pos + i < n && i < ARRIVED_MAX; i++) {
		struct msgfile at_hand = { .text = i < n_texts ? texts[i] : (struct str){ 0 } };

		if (state_rec(&m->st, pos + i)->state & REC_GONE)
			continue;
		if (msgfile_is_open(&at_hand))
			learn(m, pos + i, &at_hand);
		else
			arrived(m, pos + i);
	}
}
