/* Making the file of keys from the summaries in the cache, some messages at a time, so that a session can do it between its connections' commands: collect,
 * put the texts of each key in order, write. A message whose summary is not cached ends it: the file has all messages or is not made. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/num.h"
#include "imap/sort.h"
#include "log/log.h"
#include "os/os.h"
#include "store/index.h"
#include "store/keys_priv.h"
#include "store/summary.h"

enum {
	LIST_BATCH = 8192, COLLECT_BATCH = 128, COMPARISONS = 4096, RANK_BATCH = 16384,
	WRITE_PIECE = 1 << 18,
	REFS_MAX = 1 << 29,		/* references of a folder that are written; with more there is no file */
};

enum phase { LIST, COLLECT, SORT, RANK, WRITE };

struct keys_writer {
	enum phase phase;
	uint32_t at, end;		/* of the phase: messages; places in the folder */
	uint32_t *uid, *id, *ref_at, *refs, *rank[MBOX_KEYS], *subjects;
	int64_t *sent;
	size_t n, cap, n_refs, cap_refs;
	struct ids ids;
	struct texts texts[MBOX_KEYS];
	unsigned key;			/* whose texts are being put in order */
	struct arena *a;		/* for that */
	struct imap_sort sort;
	uint32_t *rank_of;
	int fd;
	unsigned section;
	size_t done;			/* bytes of it */
	size_t bytes[KEYS_SECTIONS];
	unsigned char head[KEYS_HEAD];
};

static bool is_ours(const struct mbox *m, const struct keys_writer *w)
{
	struct stat named, held;

	return fstatat(m->dirfd, KEYS_NEW, &named, AT_SYMLINK_NOFOLLOW) == 0 && fstat(w->fd, &held) == 0 && named.st_ino == held.st_ino && named.st_dev == held.st_dev;
}

static struct keys_writer *writer_new(const struct mbox *m)
{
	struct keys_writer *const w = xzalloc(sizeof(*w));

	w->fd = -1;
	w->end = state_count(&m->st);
	w->cap = (size_t)m->st.messages + 64;
	w->uid = xmalloc(w->cap * sizeof(*w->uid));
	w->a = arena_new(0);
	ids_init(&w->ids, w->cap);
	for (unsigned k = 0; k < MBOX_KEYS; k++)
		texts_init(&w->texts[k]);
	return w;
}

void keys_writer_free(struct keys_writer **wp)
{
	struct keys_writer *const w = *wp;

	*wp = NULL;
	if (w == NULL)
		return;
	close_fd(&w->fd);
	ids_fini(&w->ids);
	for (unsigned k = 0; k < MBOX_KEYS; k++) {
		texts_fini(&w->texts[k]);
		free(w->rank[k]);
	}
	arena_free(&w->a);
	free(w->uid);
	free(w->id);
	free(w->ref_at);
	free(w->refs);
	free(w->subjects);
	free(w->sent);
	free(w->rank_of);
	free(w);
}

/* --- which messages --- */

static int list_step(struct mbox *m, struct keys_writer *w)
{
	for (unsigned i = 0; i < LIST_BATCH && w->at < w->end; i++, w->at++) {
		const struct rec *const r = state_rec(&m->st, w->at);

		if (r->state & REC_GONE)
			continue;
		if (w->n == w->cap) {	/* some have come */
			w->cap = w->cap * 2;
			w->uid = xrealloc(w->uid, w->cap * sizeof(*w->uid));
		}
		w->uid[w->n++] = r->uid;
	}
	if (w->at < w->end)
		return 1;
	w->at = 0;
	w->phase = COLLECT;
	w->id = xmalloc((w->n + 1) * sizeof(*w->id));
	w->sent = xmalloc((w->n + 1) * sizeof(*w->sent));
	w->ref_at = xmalloc((w->n + 1) * sizeof(*w->ref_at));
	for (unsigned k = 0; k < MBOX_KEYS; k++)
		w->rank[k] = xmalloc((w->n + 1) * sizeof(*w->rank[k]));
	return 1;
}

/* --- what they have --- */

static void collect_refs(struct keys_writer *w, const struct mbox_summary *s)
{
	if (w->n_refs + s->n_refs > w->cap_refs) {
		w->cap_refs = w->cap_refs * 2 + 4096;
		w->refs = xrealloc(w->refs, w->cap_refs * sizeof(*w->refs));
	}
	for (size_t i = 0; i < s->n_refs; i++) {
		const uint64_t id = summary_ref(s, i);

		if (id)
			w->refs[w->n_refs++] = ids_number(&w->ids, id);
	}
}

static int collect(struct mbox *m, struct keys_writer *w, uint32_t i)
{
	struct mbox_summary s;
	struct str blob;

	if (cache_peek(m, w->uid[i], MBOX_CACHE_SUMMARY, &blob) != 0 || summary_parse(blob, &s) < 0)
		return -1;
	const struct str text[MBOX_KEYS] = { [MBOX_KEY_SUBJECT] = s.base_subject, [MBOX_KEY_FROM] = s.from, [MBOX_KEY_TO] = s.to, [MBOX_KEY_CC] = s.cc,
		[MBOX_KEY_DISPLAYFROM] = s.display_from, [MBOX_KEY_DISPLAYTO] = s.display_to };

	w->sent[i] = s.sent;
	w->id[i] = (s.msgid ? ids_number(&w->ids, s.msgid) : 0) | (s.reply ? KEYS_REPLY : 0);
	w->ref_at[i] = (uint32_t)w->n_refs;
	collect_refs(w, &s);
	for (unsigned k = 0; k < MBOX_KEYS; k++)
		if ((w->rank[k][i] = texts_number(&w->texts[k], text[k])) == 0 && text[k].n > 0)
			return -1;
	return w->n_refs > REFS_MAX || w->ids.n >= KEYS_REPLY ? -1 : 0;
}

/* The texts of one key, each once, to be put in order. */
static int sort_begin(struct keys_writer *w)
{
	static const struct imap_sort_criterion by = { .by = IMAP_SORT_SUBJECT };
	const struct texts *const t = &w->texts[w->key];
	union imap_sort_value *const values = ARENA_ARRAY(w->a, union imap_sort_value, (size_t)t->ids.n + 1);

	for (uint32_t i = 0; i < t->ids.n; i++)
		values[i].text = t->v[i + 1];
	w->sort = (struct imap_sort){ .by = &by, .n_by = 1, .values = values, .n = t->ids.n };
	w->phase = SORT;
	return imap_sort_begin(&w->sort, w->a, NULL) < 0 ? -1 : 1;
}

static int collect_step(struct mbox *m, struct keys_writer *w)
{
	for (unsigned i = 0; i < COLLECT_BATCH && w->at < w->n; i++, w->at++)
		if (collect(m, w, w->at) < 0)
			return -1;
	if (w->at < w->n)
		return 1;
	w->ref_at[w->n] = (uint32_t)w->n_refs;
	return sort_begin(w);
}

/* --- numbers of texts become ranks --- */

static int sort_step(struct keys_writer *w)
{
	if (!imap_sort_step(&w->sort, COMPARISONS))
		return 1;
	w->rank_of = xrealloc(w->rank_of, (w->sort.n + 1) * sizeof(*w->rank_of));
	w->rank_of[0] = 0;
	for (size_t i = 0; i < w->sort.n; i++)
		w->rank_of[w->sort.order[i] + 1] = (uint32_t)i + 1;
	if (w->key == MBOX_KEY_SUBJECT)
		w->subjects = xzalloc((w->sort.n + 1) * sizeof(*w->subjects));
	w->at = 0;
	w->phase = RANK;
	return 1;
}

static int write_begin(struct mbox *m, struct keys_writer *w);

static int rank_step(struct mbox *m, struct keys_writer *w)
{
	uint32_t *const rank = w->rank[w->key];

	for (unsigned i = 0; i < RANK_BATCH && w->at < w->n; i++, w->at++) {
		rank[w->at] = w->rank_of[rank[w->at]];
		if (w->key == MBOX_KEY_SUBJECT)
			w->subjects[rank[w->at]] = w->at;
	}
	if (w->at < w->n)
		return 1;
	arena_reset(w->a);
	return ++w->key < MBOX_KEYS ? sort_begin(w) : write_begin(m, w);
}

/* --- the file --- */

static const void *section(const struct keys_writer *w, unsigned s)
{
	switch (s) {
	case KEYS_UID:
		return w->uid;
	case KEYS_SENT:
		return w->sent;
	case KEYS_ID:
		return w->id;
	case KEYS_REF_AT:
		return w->ref_at;
	case KEYS_REFS:
		return w->refs;
	case KEYS_IDS:
		return w->ids.v;
	case KEYS_SLOTS:
		return w->ids.slots;
	case KEYS_SUBJECTS:
		return w->subjects;
	default:
		return w->rank[s - KEYS_RANK];
	}
}

static void fill_head(struct keys_writer *w, const struct mbox *m)
{
	struct keys_counts c = { .rows = (uint32_t)w->n, .ids = w->ids.n, .bits = w->ids.bits, .refs = (uint32_t)w->n_refs };
	unsigned char *const h = w->head;

	memcpy(h, keys_magic, 8);
	put_le32(h + 8, KEYS_VERSION);
	put_le32(h + 12, SUMMARY_VERSION);
	memcpy(h + 16, m->st.id, 16);
	put_le32(h + 32, m->st.uidvalidity);
	put_le32(h + 36, c.rows);
	put_le32(h + 40, c.ids);
	put_le32(h + 44, c.bits);
	put_le32(h + 48, c.refs);
	for (unsigned k = 0; k < MBOX_KEYS; k++)
		put_le32(h + 52 + 4 * k, c.texts[k] = w->texts[k].ids.n);
	put_le64(h + 80, w->ids.add);
	put_le64(h + 88, w->ids.times);
	keys_sizes(&c, w->bytes);
}

static int write_begin(struct mbox *m, struct keys_writer *w)
{
	static const unsigned char empty[KEYS_HEAD];
	struct err e = { 0 };

	fill_head(w, m);
	(void)unlinkat(m->dirfd, KEYS_NEW, 0);	/* of a process that was killed; another's that still writes finds out */
	w->fd = openat(m->dirfd, KEYS_NEW, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	w->phase = WRITE;
	return w->fd < 0 || write_all(w->fd, empty, sizeof(empty), &e) < 0 ? -1 : 1;
}

/* The head comes last: without it the file is nothing. No sync: what a power cut leaves is found out by the checksums. */
static int finish(struct mbox *m, struct keys_writer *w)
{
	put_le32(w->head + 252, crc32c(0, w->head, 252));
	return pwrite(w->fd, w->head, sizeof(w->head), 0) == (ssize_t)sizeof(w->head) && is_ours(m, w) && renameat(m->dirfd, KEYS_NEW, m->dirfd, KEYS_NAME) == 0 ? 0 : -1;
}

static int write_step(struct mbox *m, struct keys_writer *w)
{
	static const char zeros[8];
	const unsigned char *const p = section(w, w->section);
	const size_t left = w->bytes[w->section] - w->done, n = left < WRITE_PIECE ? left : WRITE_PIECE;
	struct err e = { 0 };

	if (n > 0 && write_all(w->fd, p + w->done, n, &e) < 0)
		return -1;
	if (n > 0)
		put_le32(w->head + 96 + 4 * w->section, crc32c(get_le32(w->head + 96 + 4 * w->section), p + w->done, n));
	w->done += n;
	if (n < left)
		return 1;
	if (w->done % 8 && write_all(w->fd, zeros, 8 - w->done % 8, &e) < 0)
		return -1;
	w->done = 0;
	return ++w->section < KEYS_SECTIONS ? 1 : finish(m, w);
}

/* --- when --- */

static bool due(const struct mbox *m)
{
	return index_host_fits && !m->keys->off && !m->gone && m->st.uidvalidity != 0 && m->st.messages <= KEYS_MESSAGES_MAX && keys_uncovered(m) > KEYS_TAIL + m->st.messages / 64;
}

void mbox_keys_want(struct mbox *m)
{
	keys_look(m);
	m->keys->wanted |= due(m);
}

bool mbox_keys_wanted(const struct mbox *m)
{
	return m->keys->wanted;
}

static int step(struct mbox *m, struct keys_writer *w)
{
	switch (w->phase) {
	case LIST:
		return list_step(m, w);
	case COLLECT:
		return collect_step(m, w);
	case SORT:
		return sort_step(w);
	case RANK:
		return rank_step(m, w);
	case WRITE:
		return write_step(m, w);
	}
	return -1;
}

static void given_up(struct mbox *m, const struct keys_writer *w)
{
	if (w->fd >= 0 && is_ours(m, w))
		(void)unlinkat(m->dirfd, KEYS_NEW, 0);
	m->keys->off |= w->phase == WRITE;	/* a full disk, or none that can be written */
	log_debug("mailbox %s%s: " KEYS_NAME " was not made", m->s->root, m->dir);
}

bool mbox_keys_step(struct mbox *m)
{
	struct keys *const k = m->keys;

	if (!k->wanted || m->gone)
		return false;
	if (!k->writer) {
		mbox_cache_flush(m);
		k->writer = writer_new(m);
	}
	const int r = step(m, k->writer);
	if (r > 0)
		return true;
	if (r < 0)
		given_up(m, k->writer);
	else
		keys_drop(m, false);	/* the new one is opened at the next use */
	keys_writer_free(&k->writer);
	k->wanted = false;
	return false;
}
