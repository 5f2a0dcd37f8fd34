/* APPEND: messages arrive in pieces and are written out in tmp (maildir.c). While the disk writes one, so it does the journal's batch that gives it its UID; then it is moved into
 * cur with its flags in the name, and one sync makes all of it durable. A crash before that leaves the record and the file, perhaps in tmp, perhaps not whole, or only
 * the file: nothing was promised yet, and together.c makes one message of it or none. So it is with several appends that share a sync (mbox_append_join). Where
 * one sync is not enough for all the file is moved first, then the journal written and synced. Several messages of one append are all there or none: the batch is
 * synced first, the way into cur comes after it (together.c). */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/num.h"
#include "log/log.h"
#include "os/crew.h"
#include "store/store_priv.h"

enum {
	APPEND_MESSAGES_MAX = 10000, MEMORY_MAX = 4 << 20,
	WRITE_PIECE = 32,	/* messages that are written out, or waited for, at once: 100 us each */
	CREATE_PIECE = 8,	/* of them, files that are created while others are written */
};

struct item {
	struct maildir_copy *copy;
	unsigned flags;
	uint16_t *kw;		/* numbers are looked up when the folder is locked: names here */
	char **names;
	size_t n_names;
	int64_t internaldate;
	bool dated;		/* by who appends it */
	uint32_t want_uid, order;	/* 0: none */
	char *uidl;
	char *text;		/* what arrival.text is, where that is in memory. Owned */
	struct arrival arrival;
	bool cr;		/* the last byte seen was a CR, not written yet */
	bool ended;		/* nothing more of it comes */
};

struct mbox_append {
	struct mbox *m;
	struct item *v;
	size_t n, cap;
	bool together;		/* all or none of them, whatever happens */
	bool checked;		/* the commit has begun */
	bool numbered;		/* it is over: the files are still to follow */
	size_t started, written, placed;	/* messages of which that is done */
	size_t memory;		/* of the complete messages, together */
	bool instead;		/* of a message of gone bytes */
	uint64_t gone;
	char *reader;		/* keyword that stands for \Seen; NULL: the flag does. Owned */
};

int mbox_append_begin(struct mbox *m, struct mbox_append **out, struct err *e)
{
	if (m->gone)
		return err_set(e, ERR_NOENT, 0, "the folder has been deleted");
	struct mbox_append *const ap = xzalloc(sizeof(*ap));
	ap->m = m;
	m->refs++;
	*out = ap;
	return 0;
}

void mbox_append_instead(struct mbox_append *ap, uint64_t bytes)
{
	ap->instead = true;
	ap->gone = bytes;
}

void mbox_append_reader(struct mbox_append *ap, const char *reader)
{
	free(ap->reader);
	ap->reader = reader ? reader_keyword(reader) : NULL;
}

/* The last message is complete. It stays in memory, but not all that come do. */
static int last_end(struct mbox_append *ap, struct err *e)
{
	struct item *const it = ap->n > 0 ? &ap->v[ap->n - 1] : NULL;

	if (it == NULL || it->ended)
		return 0;
	if (it->cr && maildir_copy_write(it->copy, STR("\r"), e) < 0)
		return -1;
	it->cr = false;
	it->ended = true;
	if (ap->memory + maildir_copy_memory(it->copy) > MEMORY_MAX)
		return maildir_copy_spill(it->copy, e);
	ap->memory += maildir_copy_memory(it->copy);
	return 0;
}

static void items_grow(struct mbox_append *ap, size_t n)
{
	if (ap->n + n <= ap->cap)
		return;
	ap->cap = ap->cap * 2 + n + 4;
	ap->v = xrealloc(ap->v, ap->cap * sizeof(*ap->v));
}

int mbox_append_message(struct mbox_append *ap, uint32_t flags, const struct str *keywords, size_t n_keywords, int64_t internaldate, struct err *e)
{
	static const struct mbox_origin none = { .id = "" };

	ap->together |= ap->n > 0;
	return mbox_append_import(ap, &none, flags, keywords, n_keywords, internaldate, e);
}

int mbox_append_import(struct mbox_append *ap, const struct mbox_origin *from, uint32_t flags, const struct str *keywords, size_t n_keywords,
		       int64_t internaldate, struct err *e)
{
	struct item it = { .flags = flags & 0x7f & ~(unsigned)MBOX_RECENT, .internaldate = internaldate > 0 ? internaldate : clock_wall(),
		.dated = internaldate > 0,
		.want_uid = from->uid, .order = from->pop3_order };

	if (last_end(ap, e) < 0)
		return -1;
	if (ap->n == APPEND_MESSAGES_MAX)
		return err_set(e, ERR_LIMIT, 0, "more than %d messages at once", APPEND_MESSAGES_MAX);
	if (n_keywords + (ap->reader != NULL) > STORE_KEYWORDS_MAX)
		return err_set(e, ERR_LIMIT, 0, "too many keywords");
	if (maildir_copy_begin(ap->m->dirfd, from->id, &it.copy, e) < 0)
		return -1;
	if (ap->m->in_order)
		maildir_copy_ordered(it.copy);
	if (from->pop3_uidl.n > 0 && from->pop3_uidl.n <= UIDL_MAX)
		it.uidl = xstrndup(from->pop3_uidl.p, from->pop3_uidl.n);
	it.names = xzalloc((n_keywords + 1) * sizeof(*it.names));
	for (size_t i = 0; i < n_keywords; i++)
		it.names[it.n_names++] = xstrndup(keywords[i].p, keywords[i].n);
	if (ap->reader && (it.flags & MBOX_SEEN)) {
		it.flags &= ~(unsigned)MBOX_SEEN;
		it.names[it.n_names++] = xstrdup(ap->reader);
	}
	items_grow(ap, 1);
	ap->v[ap->n++] = it;
	return 0;
}

/* CR before LF is left out, also when they come apart; any other CR stays. */
int mbox_append_data(struct mbox_append *ap, struct str data, struct err *e)
{
	struct item *const it = ap->n > 0 ? &ap->v[ap->n - 1] : NULL;

	if (it == NULL)
		return err_set(e, ERR_BUG, 0, "append: data before a message");
	if (data.n == 0)
		return 0;
	if (it->cr && data.p[0] != '\n' && maildir_copy_write(it->copy, STR("\r"), e) < 0)
		return -1;
	it->cr = false;
	while (data.n > 0) {
		const char *p = data.p;
		const char *const end = data.p + data.n;
		while (p < end && (p = memchr(p, '\r', (size_t)(end - p))) != NULL && p + 1 < end && p[1] != '\n')
			p++;
		const size_t n = p && p < end ? (size_t)(p - data.p) : data.n;
		if (n > 0 && maildir_copy_write(it->copy, str_sub(data, 0, n), e) < 0)
			return -1;
		if (n < data.n) {	/* a CR that ends the piece, or stands before an LF */
			it->cr = n + 1 == data.n;
			data = str_from(data, n + 1);
		} else {
			data = (struct str){ 0 };
		}
	}
	return 0;
}

int mbox_append_scratch(struct mbox_append *ap, struct err *e)
{
	const int fd = openat(ap->m->dirfd, "tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

	return fd >= 0 ? fd : err_set(e, ERR_TEMP, errno, "tmp");
}

int mbox_append_join(struct mbox_append *ap, struct mbox_append **fromp, struct err *e)
{
	struct mbox_append *const from = *fromp;

	if (from->m != ap->m || ap->n + from->n > APPEND_MESSAGES_MAX)
		return err_set(e, ERR_LIMIT, 0, "more than %d messages at once, or of several folders", APPEND_MESSAGES_MAX);
	if (last_end(ap, e) < 0)
		return -1;
	items_grow(ap, from->n);
	if (from->n > 0)
		memcpy(ap->v + ap->n, from->v, from->n * sizeof(*from->v));
	ap->n += from->n;
	ap->together |= from->together;
	from->n = 0;
	mbox_append_abort(fromp);
	return 0;
}

static void item_fini(struct item *it)
{
	maildir_copy_abort(&it->copy);
	for (size_t i = 0; i < it->n_names; i++)
		free(it->names[i]);
	free(it->names);
	free(it->uidl);
	free(it->text);
	arrival_fini(&it->arrival);
}

void mbox_append_abort(struct mbox_append **app)
{
	struct mbox_append *const ap = *app;

	*app = NULL;
	if (ap == NULL)
		return;
	if (ap->numbered && ap->placed < ap->n)		/* what has not followed does so when all is quiet */
		ap->m->in_tmp = true;
	for (size_t i = 0; i < ap->n; i++) {
		if (ap->numbered)
			maildir_copy_keep(&ap->v[i].copy);
		item_fini(&ap->v[i]);
	}
	free(ap->v);
	free(ap->reader);
	mbox_close(&ap->m);
	free(ap);
}

/* Keywords of an item, as numbers. */
static int item_keywords(struct mbox *m, const struct item *it, uint16_t *ids, size_t *n_out, struct buf *ops, struct err *e)
{
	struct str names[STORE_KEYWORDS_MAX];

	for (size_t i = 0; i < it->n_names; i++)
		names[i] = str_c(it->names[i]);
	return mbox_keyword_ids(m, names, it->n_names, ids, n_out, ops, e);
}

/* What the journal says of a message. */
static int item_assign(struct mbox *m, const struct item *it, uint32_t uid, struct buf *ops, struct err *e)
{
	const struct str base = str_c(maildir_copy_name(it->copy));
	uint16_t ids[STORE_KEYWORDS_MAX];
	struct maildir_name n;
	size_t n_ids;

	if (item_keywords(m, it, ids, &n_ids, ops, e) < 0)
		return -1;
	maildir_name_parse(base, &n);
	const struct assign a = { .uid = uid, .flags = it->flags, .disk = disk_of_flags(it->flags), .base = base, .kw = ids, .n_kw = n_ids,
		.internaldate = it->internaldate, .savedate = clock_wall(), .size = n.size, .size_crlf = n.size_crlf };
	op_assign(ops, &a);
	if (it->uidl || it->order)
		op_pop3(ops, uid, it->order, it->uidl ? str_c(it->uidl) : (struct str){ 0 });
	return 0;
}

/* The file's name in cur. Returns where its info part begins, or NULL. */
static const char *item_name(const struct item *it, char named[FILE_NAME_MAX + 1], struct err *e)
{
	const struct str base = str_c(maildir_copy_name(it->copy));

	if (disk_name(named, base, disk_of_flags(it->flags), (struct str){ 0 }) == 0)
		return named + base.n;
	(void)err_set(e, ERR_BUG, 0, "file name");
	return NULL;
}

/* For other programs; the journal has it. */
static void item_date(struct mbox *m, const struct item *it, const char *named)
{
	const struct timespec ts[2] = { { .tv_nsec = UTIME_OMIT }, { .tv_sec = (time_t)it->internaldate } };

	if (it->dated || clock_wall() > it->internaldate + 1)
		(void)utimensat(m->curfd, named, ts, AT_SYMLINK_NOFOLLOW);
}

/* What is in memory of a message stays there when its file is closed. */
static void item_keep_text(struct item *it)
{
	if (!it->text)
		it->arrival.text.p = it->text = maildir_copy_text(it->copy, &it->arrival.text.n);
}

/* One message into cur. named: its file there. */
static int item_place(struct mbox *m, struct item *it, bool keep_text, char named[FILE_NAME_MAX + 1], struct err *e)
{
	const char *const info = item_name(it, named, e);

	if (!info)
		return -1;
	if (keep_text)
		item_keep_text(it);
	if (maildir_copy_commit(&it->copy, info, e) < 0)
		return -1;
	item_date(m, it, named);
	return 0;
}

/* Ascending UIDs from the next one on; a wanted one where it still can be had. Returns how many UIDs that spans. */
static size_t give_uids(const struct mbox *m, const struct item *v, size_t n, uint32_t *uids)
{
	uint32_t next = m->st.uidnext;

	for (size_t i = 0; i < n; i++) {
		if (v[i].want_uid > next && v[i].want_uid < UID_MAX - n)
			next = v[i].want_uid;
		uids[i] = next++;
	}
	return next - m->st.uidnext;
}

static void tell_arrived(struct mbox *m, const struct item *v, size_t count, uint32_t first)
{
	struct arrival at_hand[ARRIVED_MAX];
	size_t n = 0;

	for (; n < count && n < ARRIVED_MAX; n++)
		at_hand[n] = v[n].arrival;
	messages_arrived(m, first, at_hand, n);
}

/* The disk is writing the message: until it has, what will be asked of it is found out. */
static int wait_for_it(struct mbox_append *ap, struct err *e)
{
	struct item *const it = &ap->v[0];

	item_keep_text(it);
	arrival_look(&it->arrival);
	ap->written = 1;
	return maildir_copy_written(it->copy, e);
}

/* Under the lock: what the journal will say of all of them, as operations. */
static int prepare(struct mbox_append *ap, uint32_t *uids, struct buf *ops, struct err *e)
{
	struct mbox *const m = ap->m;
	int r = mbox_reserve(m, give_uids(m, ap->v, ap->n, uids), e);

	for (size_t i = 0; r == 0 && i < ap->n; i++)
		r = item_assign(m, &ap->v[i], uids[i], ops, e);
	return r;
}

/* Under the lock: their bytes are on the disk, and so, where one sync is enough for all, are those of the journal, written meanwhile. */
static int write_down(struct mbox_append *ap, struct buf *ops, uint64_t *modseq, bool *begun, struct err *e)
{
	struct mbox *const m = ap->m;

	if (mbox_one_sync(m)) {
		if (mbox_commit_begin(m, ops, modseq, e) < 0)
			return -1;
		*begun = true;
	}
	if (ap->written < ap->n && wait_for_it(ap, e) < 0)
		return -1;
	return *begun ? mbox_commit_written(m, e) : 0;
}

/* Under the lock: all of them at once. */
static int place(struct mbox_append *ap, uint32_t *uids, struct err *e)
{
	struct mbox *const m = ap->m;
	char (*named)[FILE_NAME_MAX + 1] = xzalloc((ap->n + 1) * sizeof(*named));
	const uint32_t first = state_count(&m->st);
	struct buf ops;
	size_t done = 0;
	uint64_t modseq = 0;
	bool begun = false;	/* the journal has them already, as far as it can be taken back */

	buf_init(&ops, BATCH_MAX);
	int r = prepare(ap, uids, &ops, e);
	if (r == 0)
		r = write_down(ap, &ops, &modseq, &begun, e);
	const bool clean = r == 0 && sync_own_begin(m);

	for (; r == 0 && done < ap->n; done++) {
		sync_own_step(m, done);
		r = item_place(m, &ap->v[done], done < ARRIVED_MAX, named[done], e);
		if (r < 0)
			break;
	}
	if (done > 0)
		sync_own_end(m, clean, r < 0 ? 0 : done);
	if (r == 0)
		r = begun ? mbox_commit_end(m, &ops, modseq, e) : mbox_commit(m, &ops, DURABLE_NOW, e);
	else if (begun)
		mbox_commit_undo(m);
	if (r < 0) {	/* all or nothing */
		for (size_t i = 0; i < done; i++)
			(void)unlinkat(m->curfd, named[i], 0);
		m->cur_seen = (struct timespec){ 0 };
	}
	if (done > 0)
		sync_record(m);
	if (r == 0)
		tell_arrived(m, ap->v, ap->n, first);
	mbox_pending_clear(m);
	buf_fini(&ops);
	free(named);
	return r;
}

static uint64_t bytes_of(const struct item *v, size_t n)
{
	uint64_t bytes = 0;

	for (size_t i = 0; i < n; i++)
		bytes += maildir_copy_size(v[i].copy);
	return bytes;
}

static int place_all(struct mbox_append *ap, uint32_t *uids, struct err *e)
{
	const uint64_t bytes = bytes_of(ap->v, ap->n);

	if (mbox_lock(ap->m, e) < 0)
		return -1;
	const int r = place(ap, uids, e);

	mbox_unlock_folder(ap->m);
	if (r < 0)
		return -1;
	ap->placed = ap->n;
	store_quota_add(ap->m->s, (int64_t)bytes, (int64_t)ap->n);
	return 0;
}

/* --- all or none --- */

/* Under the lock: all of them at once, while their files stand in tmp. */
static int number(struct mbox_append *ap, uint32_t *uids, struct err *e)
{
	struct mbox *const m = ap->m;
	const uint32_t first = state_count(&m->st);
	struct buf ops;

	buf_init(&ops, BATCH_MAX);
	int r = prepare(ap, uids, &ops, e);

	if (r == 0)
		r = together_sync(m, "tmp", e);
	if (r == 0)
		r = mbox_commit(m, &ops, DURABLE_NOW, e);
	mbox_pending_clear(m);
	buf_fini(&ops);
	if (r < 0)
		return -1;
	ap->numbered = true;
	for (size_t i = 0; i < ap->n && i < ARRIVED_MAX; i++)
		item_keep_text(&ap->v[i]);
	tell_arrived(m, ap->v, ap->n, first);
	return 0;
}

static int number_all(struct mbox_append *ap, uint32_t *uids, struct err *e)
{
	const uint64_t bytes = bytes_of(ap->v, ap->n);

	if (mbox_lock(ap->m, e) < 0)
		return -1;
	const int r = number(ap, uids, e);

	mbox_unlock_folder(ap->m);
	if (r < 0)
		return -1;
	store_quota_add(ap->m->s, (int64_t)bytes, (int64_t)ap->n);
	return 1;
}

/* Nothing of it can fail any more: what does not get into cur now is found where it is. 1: more is left. */
static int follow(struct mbox_append *ap, size_t max)
{
	struct mbox *const m = ap->m;
	const size_t end = ap->n - ap->placed < max ? ap->n : ap->placed + max;
	size_t moved = 0;
	struct err e = { 0 };

	if (mbox_lock(m, &e) < 0)
		return 0;
	const bool clean = sync_own_begin(m);
	for (; ap->placed < end; ap->placed++) {
		struct item *const it = &ap->v[ap->placed];
		char named[FILE_NAME_MAX + 1];

		if (item_name(it, named, &e) && together_place(m, str_c(maildir_copy_name(it->copy)), named) == 0) {
			item_date(m, it, named);
			sync_own_step(m, ++moved);
		} else {
			m->in_tmp = true;
		}
		maildir_copy_keep(&it->copy);
	}
	if (moved > 0) {
		sync_own_end(m, clean, moved);
		(void)!together_sync(m, "cur", &e);
		sync_record(m);
	}
	mbox_unlock_folder(m);
	return ap->placed < ap->n;
}

/* --- in pieces --- */

/* One that the crew writes while the next ones are created here: a directory takes one new name at a time. */
struct start {
	struct maildir_copy *copy;
	int r;
	struct err e;
};

static void start_one(void *item, unsigned hand)
{
	struct start *const s = item;

	(void)hand;
	s->r = maildir_copy_start(s->copy, &s->e);
}

/* At most max files. How many are there; *r_out: -1 where the next one could not be made. */
static size_t create_some(struct mbox_append *ap, struct start *v, size_t max, int *r_out, struct err *e)
{
	size_t n = 0;

	for (; n < max && ap->started < ap->n; n++, ap->started++) {
		struct maildir_copy *const c = ap->v[ap->started].copy;
		if ((*r_out = maildir_copy_create(c, e)) < 0)
			break;
		v[n] = (struct start){ .copy = c };
	}
	return n;
}

static int start_some(struct mbox_append *ap, struct err *e)
{
	struct crew *const crew = store_crew(ap->m->s);
	struct crew_batch b[WRITE_PIECE / CREATE_PIECE];
	struct start v[WRITE_PIECE];
	size_t n = 0, batches = 0;
	int r = 0;

	while (r == 0 && batches < ARRAY_LEN(b) && ap->started < ap->n) {
		const size_t k = create_some(ap, v + n, CREATE_PIECE, &r, e);
		if (ap->n >= CREATE_PIECE) {
			b[batches] = (struct crew_batch){ .fn = start_one, .items = v + n, .size = sizeof(*v), .n = k };
			crew_begin(crew, &b[batches++]);
		}
		n += k;
	}
	for (size_t i = 0; batches == 0 && i < n; i++)	/* so few are not worth a thread */
		start_one(&v[i], 0);
	for (size_t i = 0; i < batches; i++)
		crew_finish(crew, &b[i]);
	for (size_t i = 0; r == 0 && i < n; i++)
		if ((r = v[i].r) < 0)
			*e = v[i].e;
	return r < 0 ? -1 : 1;
}

static int wait_for_some(struct mbox_append *ap, struct err *e)
{
	for (size_t n = 0; n < WRITE_PIECE && ap->written < ap->n; n++, ap->written++)
		if (maildir_copy_written(ap->v[ap->written].copy, e) < 0)
			return -1;
	return 1;
}

/* One message. The disk begins with it, and is waited for under the lock, when there is nothing else left to do. Not so for a large one: that may take long, and nobody is to
 * wait for the lock meanwhile. */
static int start_alone(struct mbox_append *ap, struct err *e)
{
	struct maildir_copy *const c = ap->v[0].copy;

	if (maildir_copy_memory(c) > 0)
		return maildir_copy_start(c, e);
	ap->written = 1;
	return maildir_copy_written(c, e);
}

/* Whose record may come before the file is in cur is not mail before there is one. */
static void names_in_tmp(struct mbox_append *ap)
{
	for (size_t i = 0; (ap->together || mbox_one_sync(ap->m)) && i < ap->n; i++)
		maildir_copy_together(ap->v[i].copy);
}

static int quota_allows(const struct mbox_append *ap, struct err *e)
{
	const uint64_t bytes = bytes_of(ap->v, ap->n);

	return ap->instead && ap->n == 1 ? store_quota_instead(ap->m->s, bytes, ap->gone, e) : store_quota_check(ap->m->s, bytes, ap->n, e);
}

int mbox_append_step(struct mbox_append *ap, size_t max, uint32_t *uids_out, struct err *e)
{
	if (ap->numbered)
		return follow(ap, max);
	if (!ap->checked && (last_end(ap, e) < 0 || quota_allows(ap, e) < 0))
		return -1;
	if (!ap->checked)
		names_in_tmp(ap);
	ap->checked = true;
	if (ap->n > 1 && ap->started < ap->n)
		return start_some(ap, e);
	if (ap->n > 1 && ap->written < ap->n)
		return wait_for_some(ap, e);
	if (ap->n == 1 && start_alone(ap, e) < 0)
		return -1;
	return ap->n == 0 ? 0 : ap->together ? number_all(ap, uids_out, e) : place_all(ap, uids_out, e);
}

int mbox_append_commit(struct mbox_append **app, uint32_t *uids_out, size_t *n_out, struct err *e)
{
	struct mbox_append *const ap = *app;
	int r;

	do
		r = mbox_append_step(ap, SIZE_MAX, uids_out, e);
	while (r > 0);
	if (r == 0)
		*n_out = ap->n;
	mbox_append_abort(app);
	return r;
}
