/* Three batches of messages: one that the walk is in, and the next two, which the crew works on meanwhile. With one alone it would come to its end before the walk has
 * come to the next and a further one is begun, and to wake a thread takes as long as several messages do. */
#include "store/ahead.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/uio.h>
#include <unistd.h>

#include "imap/structure.h"
#include "os/crew.h"
#include "os/os.h"
#include "store/ahead_priv.h"
#include "store/search_priv.h"
#include "store/signer.h"
#include "store/summary.h"

enum {
	BATCHES = 3,
	BATCH = 64,			/* messages, */
	HAND_BYTES = 160 * 1024,	/* and of their files, for each thread: so much is done within two milliseconds, whatever is to be done */
	LARGE_HAND_BYTES = 512 * 1024,	/* the same of files that are large, which have memory of their own; one goes in any case, */
	LARGE_MAX = 8 << 20,		/* but larger ones are left to the loop, which maps them */
	BATCH_LOOKS = 512,		/* messages that may be passed over to find them */
	WORTH = 16,			/* fewer messages than these, */
	WORTH_BYTES = 32 * 1024,	/* in less than that, are not: waking a thread costs as much as reading a few files */
	USUAL_BYTES = 4000,		/* of what is made of a message */
	KEEP_BYTES = 32 * 1024,		/* of memory for it, from batch to batch */
	SCRATCH_BYTES = 16 * 1024,	/* of memory while it is made */
};

/* What belongs to one thread at a time. */
struct ahead_hand {
	struct arena *scratch;
	struct signer *signer;		/* NULL: nothing is to be signed */
	size_t usual_head;		/* bytes: msgfile_head_bytes */
};
struct batch {
	uint32_t first, last;		/* the walk's part that it covers; last 0: none */
	size_t n, taken, at;		/* messages in it; of them the walk came to; where it was last */
	size_t bytes, bytes_max;	/* of room */
	size_t large;			/* bytes of large files */
	bool running;
	struct crew_batch fetch, work;	/* fetch: n 0 where the files are in memory */
	char *room;
	struct ahead_item *items;
};
struct ahead {
	struct mbox_view *v;
	unsigned what;
	mbox_ahead_fn *next;
	void *ctx;
	bool off;			/* it does not pay */
	unsigned now;			/* the batch that the walk is in; those after it follow, around */
	struct batch batch[BATCHES];
	struct ahead_hand hands[CREW_MAX];
};

/* --- on a thread: nothing but the item and the hand is touched --- */

static bool read_file(struct ahead_item *it, struct ahead_hand *hand)
{
	CLEANUP_FD int fd = message_open_name(it->dirfd, it->name);
	struct stat st;

	if (fd < 0 || (it->date && fstat(fd, &st) < 0))
		return false;
	if (it->date)
		it->mtime = st.st_mtime > 0 ? st.st_mtime : 0;
	it->head_only = false;
	it->head_n = 0;
	if (it->what & (MBOX_AHEAD_STRUCTURE | MBOX_AHEAD_TEXT))
		return msgfile_bytes(fd, it->size, it->room, &it->text);
	return msgfile_head_bytes(fd, it->size, &hand->usual_head, it->room, &it->text, &it->head_only, &it->head_n);
}

static void sign(struct ahead_item *it, enum mbox_search_kind kind, const struct trigrams *t)
{
	struct ahead_signature *const s = &it->signature[kind];
	const size_t bytes = trigram_bits(s->class = trigram_class(t)) / 8;
	char *const room = buf_room(&s->bits, bytes);

	if (room == NULL)
		return;
	trigram_sign(t, s->class, (void *)room);
	buf_added(&s->bits, bytes);
}

static void compute(struct ahead_item *it, struct ahead_hand *hand, const struct msgfile *f)
{
	const struct str head = msgfile_head(f);

	if (it->what & MBOX_AHEAD_SUMMARY) {
		summary_build(&it->summary, hand->scratch, head);
		it->done |= buf_failed(&it->summary) ? 0 : MBOX_AHEAD_SUMMARY;
	}
	if (it->sign[MBOX_SEARCH_HEAD])
		sign(it, MBOX_SEARCH_HEAD, signer_head(hand->signer, head));
	if (!it->sign[MBOX_SEARCH_TEXT] && !(it->what & MBOX_AHEAD_STRUCTURE))
		return;
	struct mime_part *const root = mime_parse(hand->scratch, f->text);
	if (it->what & MBOX_AHEAD_STRUCTURE) {
		structure_pack(&it->structure, hand->scratch, root);
		it->done |= buf_failed(&it->structure) ? 0 : MBOX_AHEAD_STRUCTURE;
	}
	if (it->sign[MBOX_SEARCH_TEXT])
		sign(it, MBOX_SEARCH_TEXT, signer_text(hand->signer, head, root));
}

static void look(void *item, unsigned h)
{
	struct ahead_item *const it = item;
	struct ahead_hand *const hand = &it->hands[h];

	if (it->what == MBOX_AHEAD_DATE) {
		struct stat st;
		if (fstatat(it->dirfd, it->name, &st, AT_SYMLINK_NOFOLLOW) < 0)
			return;
		it->mtime = st.st_mtime > 0 ? st.st_mtime : 0;
		it->done = MBOX_AHEAD_DATE;
		return;
	}
	if (!read_file(it, hand))
		return;
	it->done = (it->date ? MBOX_AHEAD_DATE : 0) | MBOX_AHEAD_HEAD | (it->head_only ? 0 : MBOX_AHEAD_TEXT);
	compute(it, hand, &(struct msgfile){ .text = it->text, .head_only = it->head_only, .head_n = it->head_n });
	arena_reset(hand->scratch);
	if (hand->signer)
		signer_rest(hand->signer);
}

/* --- files that are not in memory: a disk does many at once, a few threads that wait for it would not ask for as many --- */

/* How much of its file will be read, and one byte. SIZE_MAX: not here. */
static size_t bytes_of(uint64_t size, unsigned what, bool *large_out)
{
	const size_t n = what == MBOX_AHEAD_DATE ? 0 : msgfile_room(size, !(what & (MBOX_AHEAD_STRUCTURE | MBOX_AHEAD_TEXT)));

	*large_out = n == SIZE_MAX && size < LARGE_MAX;
	return *large_out ? (size_t)size + 1 : n;
}

/* A read that may not wait tells. What cannot be asked so is taken to be there. */
static bool is_cold(const struct ahead_item *it)
{
	CLEANUP_FD int fd = it->what == MBOX_AHEAD_DATE ? -1 : message_open_name(it->dirfd, it->name);
	char byte;

	return fd >= 0 && preadv2(fd, &(struct iovec){ .iov_base = &byte, .iov_len = 1 }, 1, 0, RWF_NOWAIT) < 0 && errno == EAGAIN;
}

/* A crew_fn: the disk begins, nobody waits. Of the item it reads what is to be done, while another thread may do that already. */
static void fetch(void *item, unsigned hand)
{
	const struct ahead_item *const it = item;
	CLEANUP_FD int fd = it->what == MBOX_AHEAD_DATE ? -1 : message_open_name(it->dirfd, it->name);
	bool large;

	(void)hand;
	if (fd >= 0)
		(void)posix_fadvise(fd, 0, (off_t)bytes_of(it->size, it->what, &large), POSIX_FADV_WILLNEED);
}

/* --- batches --- */

static void wait_for(struct ahead *a, struct batch *b)
{
	if (b->running) {
		crew_finish(a->v->m->s->crew, &b->fetch);
		crew_finish(a->v->m->s->crew, &b->work);
	}
	b->running = false;
}

/* For the next message; what is large is given back. */
static void renew(struct buf *b, bool wanted)
{
	if (b->cap > KEEP_BYTES)
		buf_fini(b);
	buf_reset(b);
	if (wanted && b->cap == 0)
		(void)buf_room(b, USUAL_BYTES);	/* here, not on a thread: there it would take a heap of its own */
}

/* Its first block, which it keeps, is enough for most messages: a smaller one would be followed by a second for each. */
static struct arena *scratch_new(void)
{
	struct arena *const a = arena_new(0);

	(void)arena_alloc(a, SCRATCH_BYTES);
	arena_reset(a);
	return a;
}

/* Memory for what was not there yet. */
static void prepare(struct ahead *a, struct batch *b)
{
	if (b->items)
		return;
	b->items = xzalloc(BATCH * sizeof(*b->items));
	b->bytes_max = (size_t)crew_size(a->v->m->s->crew) * HAND_BYTES;
	b->room = xmalloc(b->bytes_max);
	for (size_t i = 0; i < BATCH; i++) {
		buf_init(&b->items[i].summary, SUMMARY_BYTES_MAX);
		buf_init(&b->items[i].structure, STRUCTURE_KEPT_MAX);
		for (size_t k = 0; k < MBOX_SEARCH_KINDS; k++)
			buf_init(&b->items[i].signature[k].bits, TRIGRAM_SPACE / 8 + 1);
		b->items[i].hands = a->hands;
	}
	for (size_t i = 0; i < crew_size(a->v->m->s->crew); i++) {
		if (!a->hands[i].scratch)
			a->hands[i].scratch = scratch_new();
		if (!a->hands[i].signer && (a->what & (MBOX_AHEAD_HEAD | MBOX_AHEAD_TEXT)))
			a->hands[i].signer = signer_new();
	}
}

static unsigned lacks(struct mbox *m, uint32_t uid, unsigned what)
{
	struct str blob;

	if ((what & MBOX_AHEAD_SUMMARY) && cache_peek(m, uid, MBOX_CACHE_SUMMARY, &blob) == 0)
		what &= ~(unsigned)MBOX_AHEAD_SUMMARY;
	if ((what & MBOX_AHEAD_STRUCTURE) && cache_peek(m, uid, MBOX_CACHE_BODYSTRUCTURE, &blob) == 0)
		what &= ~(unsigned)MBOX_AHEAD_STRUCTURE;
	return what;
}

/* Is there room for one more? */
static bool fits(const struct ahead *a, const struct batch *b, size_t bytes, bool large)
{
	if (b->n == BATCH)
		return false;
	return large ? b->large == 0 || b->large + bytes <= crew_size(a->v->m->s->crew) * LARGE_HAND_BYTES : bytes <= b->bytes_max - b->bytes;
}

/* 1: it is in the batch, 0: nothing of it can be done ahead, -1 the batch is full. */
static int put(struct ahead *a, struct batch *b, uint32_t seq, unsigned what)
{
	struct mbox *const m = a->v->m;
	const uint32_t pos = view_pos(a->v, seq);
	const struct rec *const r = pos == UINT32_MAX ? NULL : state_rec(&m->st, pos);

	if (r == NULL || (r->state & REC_GONE))
		return 0;
	if (r->internaldate != DATE_UNKNOWN)
		what &= ~(unsigned)MBOX_AHEAD_DATE;
	what = lacks(m, r->uid, what);
	bool large;
	const size_t bytes = bytes_of(r->size, what, &large);
	if (what == 0 || bytes == SIZE_MAX)
		return 0;
	if (!fits(a, b, bytes, large))
		return -1;
	struct ahead_item *const it = &b->items[b->n];
	if (disk_name(it->name, state_name(&m->st, r), r->disk, state_info(&m->st, r)) < 0)
		return 0;
	const bool learn = !m->search.off && (what & (MBOX_AHEAD_HEAD | MBOX_AHEAD_TEXT));
	it->seq = seq;
	it->uid = r->uid;
	it->what = what;
	it->date = what & MBOX_AHEAD_DATE;
	it->dirfd = m->curfd;
	it->size = r->size;
	it->own = large ? xmalloc(bytes) : NULL;
	it->room = large ? it->own : b->room + b->bytes;
	it->done = 0;
	it->taken = false;
	it->sign[MBOX_SEARCH_HEAD] = learn && !search_covers(&m->search, MBOX_SEARCH_HEAD, pos);
	it->sign[MBOX_SEARCH_TEXT] = learn && (what & MBOX_AHEAD_TEXT) && !search_covers(&m->search, MBOX_SEARCH_TEXT, pos);
	renew(&it->summary, what & MBOX_AHEAD_SUMMARY);
	renew(&it->structure, what & MBOX_AHEAD_STRUCTURE);
	for (size_t k = 0; k < MBOX_SEARCH_KINDS; k++)
		renew(&it->signature[k].bits, it->sign[k]);
	*(large ? &b->large : &b->bytes) += bytes;
	b->n++;
	return 1;
}

static void drop_large(struct batch *b)
{
	for (size_t i = 0; b->large && i < b->n; i++) {
		free(b->items[i].own);
		b->items[i].own = NULL;
	}
	b->large = 0;
}

/* The walk from that message on, as far as a batch goes, begins to be looked at. */
static void begin(struct ahead *a, struct batch *b, uint32_t from)
{
	uint32_t seq = from;

	drop_large(b);
	b->n = b->taken = b->at = b->bytes = 0;
	b->first = from;
	b->last = UINT32_MAX;
	for (unsigned looks = 0;; looks++) {
		const unsigned what = a->next(a->ctx, &seq) & a->what;
		if (seq == 0)
			break;
		if (looks == BATCH_LOOKS || (what && put(a, b, seq, what) < 0)) {
			b->last = seq - 1;
			break;
		}
		seq++;
	}
	b->work = (struct crew_batch){ .fn = look, .items = b->items, .size = sizeof(*b->items), .n = b->n };
	b->running = b->n >= WORTH || b->bytes >= WORTH_BYTES || b->large;
	if (!b->running) {
		b->n = 0;
		return;
	}
	/* One of them stands for all. */
	b->fetch = (struct crew_batch){ .fn = fetch, .items = b->items, .size = sizeof(*b->items), .n = is_cold(&b->items[b->n / 2]) ? b->n : 0 };
	crew_begin(a->v->m->s->crew, &b->fetch);
	crew_begin(a->v->m->s->crew, &b->work);
}

/* Does the walk need what is done for it? What it passes over was read for nothing. */
static bool pays(const struct batch *b)
{
	return b->taken * 2 >= b->n;
}

static struct batch *batch_after(struct ahead *a, unsigned k)
{
	return &a->batch[(a->now + k) % BATCHES];
}

/* Nothing is looked at, nor has been. */
static void drop_all(struct ahead *a)
{
	for (size_t i = 0; i < BATCHES; i++) {
		wait_for(a, &a->batch[i]);
		a->batch[i].last = 0;
	}
}

/* Those that follow upon the one that the walk is in, as far as there is something for them. */
static void begin_next(struct ahead *a)
{
	for (unsigned k = 1; k < BATCHES && batch_after(a, k - 1)->last != UINT32_MAX; k++) {
		const uint32_t from = batch_after(a, k - 1)->last + 1;
		struct batch *const b = batch_after(a, k);
		if (b->last != 0 && b->first == from)
			continue;
		prepare(a, b);
		begin(a, b, from);
	}
}

static void advance(struct ahead *a, uint32_t seq)
{
	struct batch *const b = batch_after(a, 0), *const next = batch_after(a, 1);

	if (b->last && !pays(b)) {
		drop_all(a);
		a->off = true;
		return;
	}
	if (next->last == 0 || seq > next->last || seq < next->first) {	/* it has only begun, or jumped */
		drop_all(a);
		prepare(a, next);
		begin(a, next, seq);
	}
	b->last = 0;
	a->now = (a->now + 1) % BATCHES;
	begin_next(a);
	wait_for(a, next);
}

/* Is there so much in the next part of the walk that a batch is worth its memory? Else the part is passed over. */
static bool worth(struct ahead *a, uint32_t from)
{
	struct batch *const b = &a->batch[a->now];
	unsigned n = 0;
	uint32_t seq = from;

	for (unsigned looks = 0; looks < BATCH_LOOKS && n < WORTH; looks++, seq++) {
		n += (a->next(a->ctx, &seq) & a->what) != 0;
		if (seq == 0)
			break;
	}
	if (n == WORTH)
		return true;
	b->first = from;
	b->last = seq ? seq - 1 : UINT32_MAX;
	return false;
}

static struct ahead_item *item_of(struct batch *b, uint32_t seq)
{
	while (b->at < b->n && b->items[b->at].seq < seq)
		b->at++;
	return b->at < b->n && b->items[b->at].seq == seq ? &b->items[b->at] : NULL;
}

const struct ahead_item *ahead_get(struct mbox_view *v, uint32_t seq, unsigned what)
{
	struct ahead *const a = v->ahead;

	if (a == NULL || a->off || !(a->what & what))
		return NULL;
	if (seq > a->batch[a->now].last && (a->batch[a->now].items || worth(a, seq)))
		advance(a, seq);
	struct batch *const b = &a->batch[a->now];
	struct ahead_item *const it = a->off || seq < b->first ? NULL : item_of(b, seq);
	if (it == NULL || it->uid != mbox_view_uid(v, seq))
		return NULL;
	b->taken += !it->taken;
	it->taken = true;
	return (it->done & what) == what ? it : NULL;
}

const struct ahead_item *ahead_had(const struct mbox_view *v, uint32_t seq)
{
	const struct ahead *const a = v->ahead;
	const struct batch *const b = a && !a->off ? &a->batch[a->now] : NULL;

	if (b == NULL || b->at >= b->n || b->items[b->at].seq != seq || b->items[b->at].uid != mbox_view_uid(v, seq))
		return NULL;
	return b->items[b->at].done ? &b->items[b->at] : NULL;
}

/* --- life --- */

void store_crew_size(struct store *s, unsigned size)
{
	assert(s->crew == NULL);
	s->crew_size = size;
}

struct crew *store_crew(struct store *s)
{
	if (s->crew == NULL) {
		s->crew = crew_new(s->crew_size, CREW_IDLE_MS);
		(void)str_hash_key();	/* made once: before there is a thread that hashes */
	}
	return s->crew;
}

void mbox_ahead_begin(struct mbox_view *v, unsigned what, mbox_ahead_fn *next, void *ctx)
{
	mbox_ahead_end(v);
	if (crew_size(store_crew(v->m->s)) == 1)	/* nobody to do it */
		return;
	v->ahead = xmalloc(sizeof(*v->ahead));
	*v->ahead = (struct ahead){ .v = v, .what = what, .next = next, .ctx = ctx };
}

static void batch_free(struct batch *b)
{
	drop_large(b);
	for (size_t i = 0; b->items && i < BATCH; i++) {
		buf_fini(&b->items[i].summary);
		buf_fini(&b->items[i].structure);
		for (size_t k = 0; k < MBOX_SEARCH_KINDS; k++)
			buf_fini(&b->items[i].signature[k].bits);
	}
	free(b->items);
	free(b->room);
}

void mbox_ahead_end(struct mbox_view *v)
{
	struct ahead *const a = v->ahead;

	if (a == NULL)
		return;
	v->ahead = NULL;
	for (size_t i = 0; i < BATCHES; i++) {
		wait_for(a, &a->batch[i]);
		batch_free(&a->batch[i]);
	}
	for (size_t i = 0; i < CREW_MAX; i++) {
		arena_free(&a->hands[i].scratch);
		signer_free(&a->hands[i].signer);
	}
	free(a);
}
