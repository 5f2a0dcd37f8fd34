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

static void look_structure(struct buf *out, struct arena *a, struct msgfile *f)
{
	buf_init(out, STRUCTURE_KEPT_MAX);
	structure_pack(out, a, msgfile_mime(f));
}

/* Both, where they can be had. */
static void look(struct arrival *at, struct msgfile *f)
{
	struct arena *a = arena_new(0);

	summary_make(&at->summary, a, msgfile_head(f));
	look_structure(&at->structure, a, f);
	at->looked = true;
	arena_free(&a);
}

void arrival_look(struct arrival *at)
{
	struct msgfile f = { .text = at->text };

	if (!at->text.p || at->looked)
		return;
	look(at, &f);
	msgfile_close(&f);
}

void arrival_fini(struct arrival *at)
{
	if (at->looked) {
		buf_fini(&at->summary);
		buf_fini(&at->structure);
	}
	at->looked = false;
}

static void put(struct mbox *m, uint32_t uid, uint32_t kind, const struct buf *b)
{
	if (!buf_failed(b))
		cache_put(m, uid, kind, buf_view(b));
}

static void learn(struct mbox *m, uint32_t pos, const struct arrival *at, struct msgfile *f)
{
	const uint32_t uid = state_rec(&m->st, pos)->uid;

	put(m, uid, MBOX_CACHE_SUMMARY, &at->summary);
	put(m, uid, MBOX_CACHE_BODYSTRUCTURE, &at->structure);
	if (search_loaded(m))
		search_learn(m, pos, f);
}

static void learn_file(struct mbox *m, uint32_t pos, struct msgfile *f)
{
	struct arrival at = { .text = f->text };

	look(&at, f);
	learn(m, pos, &at, f);
	arrival_fini(&at);
	msgfile_close(f);
}

/* Its text is in memory, perhaps also what is to be known of it. */
static void arrived_at_hand(struct mbox *m, uint32_t pos, const struct arrival *at)
{
	struct msgfile f = { .text = at->text };

	if (!at->looked) {
		learn_file(m, pos, &f);
		return;
	}
	learn(m, pos, at, &f);
	msgfile_close(&f);
}

static void arrived(struct mbox *m, uint32_t pos)
{
	struct msgfile f;
	struct stat st;
	struct err quiet = { 0 };

	CLEANUP_FD int fd = -1;
	if (message_open_pos(m, pos, &fd, &st) == 0 && st.st_size <= ARRIVED_BYTES && msgfile_from(&f, fd, &st, false, &quiet) == 0)
		learn_file(m, pos, &f);
}

void messages_arrived(struct mbox *m, uint32_t pos, const struct arrival *at_hand, size_t n_at_hand)
{
	const uint32_t n = state_count(&m->st);

	for (uint32_t i = 0; pos + i < n && i < ARRIVED_MAX; i++) {
		if (state_rec(&m->st, pos + i)->state & REC_GONE)
			continue;
		if (i < n_at_hand && at_hand[i].text.p)
			arrived_at_hand(m, pos + i, &at_hand[i]);
		else
			arrived(m, pos + i);
	}
}
