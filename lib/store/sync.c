/* new/ and cur/ against the state. The directories' times say whether there is anything to do:
 *
 *   new/  is listed when its time is not the one at which it was last seen empty. Its files get UIDs in arrival order and move to cur/.
 *   cur/  is listed only after foreign changes. Our own changes (renames for flags, deliveries, appends, expunges) end with giving the directory a time of
 *         our own making: a nanosecond part that no clock tick has. A later change by anybody sets another time; so, unlike with a remembered time, a
 *         change within the same tick is seen, too. What happens between our look before and our mark after is counted by inotify: more
 *         events than our own mean a foreign change, and then no mark is set.
 *
 * The accounted-for time is kept in postern.sync for the next process (64 bytes, checksummed, disposable):
 *   0 "PSTNSYN1"   8 cur time, seconds:64   16 nanoseconds:32   20 first UID that was never recent:32   24 mailbox id[16]
 *   40 journal generation:64   48 journal length:64 (a shorter one has lost something)   56 zero:32   60 crc32c
 *
 * Order in a delivery: rename new -> cur, journal (synced), postern.sync. A crash in between leaves files in cur that are not accounted for: the next
 * look lists cur and finds them. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/num.h"
#include "os/os.h"
#include "store/listing.h"
#include "store/store_priv.h"

enum {
	RECORD = 64,
	RACY_NS = 40000000,	/* a directory time younger than this may hide a further change in the same clock tick */
	DAY_S = 86400,
	GUARD_STEP = 1000,	/* own changes between two looks at the events they caused */
	FIRST_PART = 1 << 18,	/* bytes of operations that are applied at once at first sight of a folder */
	AHEAD = 8,		/* entries */
};
static const char record_magic[8] = "PSTNSYN1";

/* --- times --- */

static bool same_time(const struct timespec *a, const struct timespec *b)
{
	return a->tv_sec == b->tv_sec && a->tv_nsec == b->tv_nsec;
}

void sync_record(struct mbox *m)
{
	unsigned char p[RECORD] = { 0 };

	CLEANUP_FD int fd = openat(m->dirfd, SYNC_NAME, O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK, 0600);
	if (fd < 0)
		return;
	memcpy(p, record_magic, sizeof(record_magic));
	put_le64(p + 8, (uint64_t)m->cur_seen.tv_sec);
	put_le32(p + 16, (uint32_t)m->cur_seen.tv_nsec);
	put_le32(p + 20, m->recent_uid);
	memcpy(p + 24, m->st.id, sizeof(m->st.id));
	put_le64(p + 40, m->j.generation);
	put_le64(p + 48, m->j.pos);
	put_le32(p + 60, crc32c(0, p, 60));
	if (pwrite(fd, p, sizeof(p), 0) != (ssize_t)sizeof(p))
		(void)unlinkat(m->dirfd, SYNC_NAME, 0);
	else
		m->recent_told = m->recent_uid;
}

void sync_record_read(struct mbox *m)
{
	unsigned char p[RECORD];
	ssize_t n;

	CLEANUP_FD int fd = openat(m->dirfd, SYNC_NAME, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		return;
	do
		n = pread(fd, p, sizeof(p), 0);
	while (n < 0 && errno == EINTR);
	if (n != (ssize_t)sizeof(p) || memcmp(p, record_magic, sizeof(record_magic)) != 0 || get_le32(p + 60) != crc32c(0, p, 60) ||
	    memcmp(p + 24, m->st.id, sizeof(m->st.id)) != 0)
		return;
	m->cur_seen = (struct timespec){ (time_t)get_le64(p + 8), (long)get_le32(p + 16) };
	m->told_generation = get_le64(p + 40);
	m->told_pos = get_le64(p + 48);
	m->recent_told = get_le32(p + 20);
	if (m->recent_told > m->recent_uid)
		m->recent_uid = m->recent_told;
}

void sync_forget(struct mbox *m)
{
	m->cur_seen = (struct timespec){ 0 };
	sync_record(m);
}

static int dir_time(int fd, struct timespec *out)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return -1;
	*out = st.st_mtim;
	return 0;
}

static bool cur_is_seen(struct mbox *m)
{
	struct timespec now;

	return m->cur_seen.tv_sec != 0 && dir_time(m->curfd, &now) == 0 && same_time(&now, &m->cur_seen);
}

/* --- our own changes --- */

static size_t guard_drain(struct mbox *m)
{
	char events[4096] __attribute__((aligned(__alignof__(struct inotify_event))));
	size_t mine = 0;
	ssize_t n;

	while ((n = read(m->s->guard_ino, events, sizeof(events))) > 0) {
		for (char *p = events; p < events + n;) {
			const struct inotify_event *const ev = (const void *)p;
			if (ev->wd == m->guard_wd)
				mine++;
			else if (ev->wd < 0)	/* overflow */
				mine += SIZE_MAX / 2;
			p += sizeof(*ev) + ev->len;
		}
	}
	return mine;
}

static void guard_start(struct mbox *m)
{
	char path[2048];

	if (m->s->guard_ino < 0)
		m->s->guard_ino = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	if (m->s->guard_ino < 0)
		return;
	const int n = snprintf(path, sizeof(path), "%s/%s%scur", m->s->root, m->dir, *m->dir ? "/" : "");
	if (m->guard_wd < 0 && n > 0 && n < (int)sizeof(path))
		m->guard_wd = inotify_add_watch(m->s->guard_ino, path, IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_ONLYDIR);
	(void)guard_drain(m);
	m->guard_events = 0;
}

/* The kernel's queue holds some thousands: long runs of changes call this on their way. */
void sync_own_step(struct mbox *m, size_t done)
{
	if (done % GUARD_STEP == 0 && m->guard_wd >= 0)
		m->guard_events += guard_drain(m);
}

bool sync_own_begin(struct mbox *m)
{
	guard_start(m);
	return cur_is_seen(m);
}

/* A time that the clock's ticks do not give: now, with random nanoseconds. */
static int mark(struct mbox *m, struct timespec *out)
{
	struct timespec ts[2] = { { .tv_nsec = UTIME_OMIT } };

	if (clock_gettime(CLOCK_REALTIME, &ts[1]) < 0)
		return -1;
	ts[1].tv_nsec = (long)(random_u64() % 1000000000);
	/* File systems with coarser times keep less: what was kept counts. */
	return futimens(m->curfd, ts) < 0 ? -1 : dir_time(m->curfd, out);
}

void sync_own_end(struct mbox *m, bool clean, size_t events)
{
	struct timespec t;

	if (!clean || mark(m, &t) < 0 || (m->guard_wd >= 0 && m->guard_events + guard_drain(m) > events))
		m->cur_seen = (struct timespec){ 0 };
	else
		m->cur_seen = t;
}

/* --- names --- */

int rename_new(int olddir, const char *from, int newdir, const char *to)
{
	if (renameat2(olddir, from, newdir, to, RENAME_NOREPLACE) == 0)
		return 0;
	if (errno != EINVAL && errno != ENOSYS)
		return -1;
	if (linkat(olddir, from, newdir, to, 0) < 0)
		return -1;
	return unlinkat(olddir, from, 0);
}

/* A base name that nobody has, as maildir.c makes them; keeps the arrival time of old. */
int sync_fresh_base(struct str old, uint64_t size, uint64_t size_crlf, char out[FILE_NAME_MAX + 1])
{
	struct maildir_name n;
	int k;

	maildir_name_parse(old, &n);
	const int64_t secs = n.secs > 0 ? n.secs : clock_wall();
	k = snprintf(out, FILE_NAME_MAX + 1, "%lld.M%06uP%ldR%016llx.postern,S=%llu", (long long)secs, n.usecs, (long)getpid(), (unsigned long long)random_u64(),
		     (unsigned long long)size);
	if (k > 0 && size_crlf != UINT64_MAX && k < FILE_NAME_MAX - 30)
		k += snprintf(out + k, (size_t)(FILE_NAME_MAX + 1 - k), ",W=%llu", (unsigned long long)size_crlf);
	return k > 0 && k <= FILE_NAME_MAX ? 0 : -1;
}

/* --- numbering --- */

/* The operation that gives the file en (named in cur as disk/info say) a UID. */
static void put_assign(struct buf *ops, const struct entry *en, struct str base, uint32_t uid, uint8_t disk, struct str odd_info, const uint16_t *kw,
		       size_t n_kw, int64_t now)
{
	const uint64_t size = en->size;
	/* ,W= is believed where ,S= does not contradict the file (they may lie). */
	const bool trusted = en->n.size == UINT64_MAX || en->n.size == size;
	const struct assign a = { .uid = uid, .flags = flags_of_disk(disk), .disk = disk, .base = base, .info = odd_info, .kw = kw, .n_kw = n_kw,
		.internaldate = en->mtime, .savedate = now, .size = size,
		.size_crlf = trusted && en->n.size_crlf != UINT64_MAX && en->n.size_crlf >= size ? en->n.size_crlf : UINT64_MAX };

	op_assign(ops, &a);
}

/* Was a message of this base name numbered before? Its UID was given after the name was made: look at the youngest only. */
static bool base_known(const struct mbox *m, struct str base, int64_t secs)
{
	const uint32_t crc = crc32c(0, base.p, base.n);

	for (uint32_t pos = state_count(&m->st); pos-- > 0;) {
		const struct rec *const r = state_rec(&m->st, pos);
		if (secs > DAY_S && r->savedate + DAY_S < secs)
			return false;
		if (r->name_len == base.n && (r->info_len || r->name_crc == crc) && str_eq(state_name(&m->st, r), base))
			return true;
	}
	return false;
}

/* Move one file of new/ to cur/. base_out: what it is called there. 1 moved, 0 it has gone, -1. */
static int move_one(struct mbox *m, struct entry *en, char base_out[FILE_NAME_MAX + 1], uint8_t *disk_out, bool *known, struct err *e)
{
	char name[FILE_NAME_MAX + 1];
	bool odd;

	if (!entry_look(en, m->newfd))
		return 0;
	*disk_out = disk_of_info(en->n.info, &odd);
	memcpy(base_out, en->n.base.p, en->n.base.n);
	base_out[en->n.base.n] = '\0';
	/* A name that was numbered before stands in new after a power cut took a rename back: it keeps its UID, found by the listing. */
	*known = base_known(m, en->n.base, en->n.secs);
	for (int tries = 0; tries < 3; tries++) {
		if (disk_name(name, str_c(base_out), *disk_out, (struct str){ 0 }) == 0) {
			if (rename_new(m->newfd, en->name, m->curfd, name) == 0)
				return 1;
			if (errno == ENOENT)
				return 0;
			if (errno != EEXIST && errno != ENAMETOOLONG)
				return err_set(e, errno == ENOSPC || errno == EDQUOT ? ERR_QUOTA : ERR_TEMP, errno, "move from new to cur");
		}
		if (sync_fresh_base(en->n.base, en->size, en->n.size_crlf, base_out) < 0)
			return err_set(e, ERR_BUG, 0, "file name");
		*known = false;
	}
	return err_set(e, ERR_TEMP, 0, "no free name in cur");
}

/* All of new/ (at most max files) into cur/, with UIDs when number is set. *moved_out: how many. */
static int take_new(struct mbox *m, bool number, size_t *moved_out, bool *more_out, struct err *e)
{
	char base[FILE_NAME_MAX + 1];
	struct listing l = { 0 };
	struct timespec before = { 0 };
	struct buf ops;
	uint32_t uid;
	size_t moved = 0;
	bool relist = false, foreign = false;
	int r;

	*moved_out = 0;
	*more_out = false;
	(void)dir_time(m->newfd, &before);
	buf_init(&ops, BATCH_MAX);
	r = listing_read(&l, m->newfd, NEW_BATCH_MAX, e);
	if (r == 0 && l.n > 0) {
		listing_sort(&l);
		if (number)
			r = mbox_reserve(m, l.n, e);
		const bool clean = r == 0 && sync_own_begin(m);
		const uint32_t first = state_count(&m->st);
		uid = m->st.uidnext;
		for (size_t i = 0; r >= 0 && i < l.n; i++) {
			uint8_t disk = 0;
			bool known = false;
			r = move_one(m, l.v[i], base, &disk, &known, e);
			moved += r > 0;
			foreign |= r > 0 && !known && l.v[i]->n.id.n == 0;	/* deliver's own names have an id, and it has told the quota */
			sync_own_step(m, moved);
			relist |= known;
			if (r > 0 && number && !known)
				put_assign(&ops, l.v[i], str_c(base), uid++, disk, (struct str){ 0 }, NULL, 0, clock_wall());
		}
		if (moved > 0)
			sync_own_end(m, clean && number && !relist && r >= 0, moved);
		/* What was moved before a failure is numbered all the same. */
		if (ops.n > 0) {
			struct err e2 = { 0 };
			if (mbox_commit(m, &ops, DURABLE_NOW, &e2) < 0) {
				sync_forget(m);
				r = -1;
				if (e)
					*e = e2;
			}
		}
		if (r >= 0 && number && moved > 0)
			sync_record(m);
		if (r >= 0 && number)
			messages_arrived(m, first);
	} else if (r == 0) {
		/* Seen empty: that holds while the time stays, unless it is so young that the same tick may bring more. */
		struct timespec now;
		clock_gettime(CLOCK_REALTIME, &now);
		const int64_t age = (int64_t)(now.tv_sec - before.tv_sec) * 1000000000 + (now.tv_nsec - before.tv_nsec);
		m->new_seen = age > RACY_NS || age < 0 ? before : (struct timespec){ 0 };
	}
	if (foreign)
		store_quota_forget(m->s);
	*moved_out = moved;
	*more_out = l.more;
	listing_fini(&l);
	buf_fini(&ops);
	return r < 0 ? -1 : 0;
}

/* --- cur as a whole --- */

/* Base names -> positions, open addressing. */
struct table {
	const struct state *st;
	uint32_t *slot;		/* position + 1 */
	size_t mask;
};

static void table_init(struct table *t, const struct state *st)
{
	size_t n = 16;

	while (n < (size_t)state_count(st) * 2)
		n *= 2;
	*t = (struct table){ .st = st, .slot = xzalloc(n * sizeof(*t->slot)), .mask = n - 1 };
	for (uint32_t pos = 0; pos < state_count(st); pos++) {
		const struct rec *const r = state_rec(st, pos);
		if ((r->state & REC_GONE) && !(r->state & REC_ZOMBIE))
			continue;
		const struct str name = state_name(st, r);
		if (name.n == 0)
			continue;
		size_t at = (size_t)str_hash(name) & t->mask;
		while (t->slot[at])
			at = (at + 1) & t->mask;
		t->slot[at] = pos + 1;
	}
}

static uint32_t table_find(const struct table *t, struct str base)
{
	for (size_t at = (size_t)str_hash(base) & t->mask; t->slot[at]; at = (at + 1) & t->mask)
		if (str_eq(state_name(t->st, state_rec(t->st, t->slot[at] - 1)), base))
			return t->slot[at] - 1;
	return UINT32_MAX;
}

struct full {
	struct mbox *m;
	struct listing l;
	struct table t;
	unsigned char *seen;	/* per position */
	struct buf ops;
	struct str letters[26];
	struct map *courier;	/* its keywords by base name; NULL none */
	bool clean;		/* nothing was renamed in cur meanwhile */
};

/* Keywords of the letters a..z of a file that another server named, and more that it keeps elsewhere. */
static size_t letter_keywords(struct mbox *m, struct str info, const struct str letters[26], const struct courier_words *more, uint16_t *ids, struct buf *ops)
{
	struct str names[26 + COURIER_WORDS_MAX];
	struct err quiet = { 0 };
	size_t n = 0, n_ids = 0;

	for (size_t i = 0; i < info.n && info.p[i] != ','; i++)
		if (info.p[i] >= 'a' && info.p[i] <= 'z' && letters[info.p[i] - 'a'].n > 0 && n < 26)
			names[n++] = letters[info.p[i] - 'a'];
	for (size_t i = 0; more && i < more->n; i++)
		names[n++] = more->v[i];
	return n > 0 && mbox_keyword_ids(m, names, n, ids, &n_ids, ops, &quiet) == 0 ? n_ids : 0;
}

/* Letters a..z of info that are not in but. */
static struct str letters_besides(struct str info, struct str but, char out[27])
{
	size_t n = 0;

	for (size_t i = 0; i < info.n && info.p[i] != ',' && n < 26; i++) {
		bool there = !ch_lower_p(info.p[i]);
		for (size_t k = 0; k < but.n && but.p[k] != ','; k++)
			there |= but.p[k] == info.p[i];
		if (!there)
			out[n++] = info.p[i];
	}
	return str_n(out, n);
}

static void full_letters(struct full *f, enum mbox_flag_op op, struct str letters, const struct range *one)
{
	uint16_t ids[26];
	const size_t n = letter_keywords(f->m, letters, f->letters, NULL, ids, &f->ops);

	if (n > 0)
		op_flags(&f->ops, op, 0, ids, n, one, 1);
}

/* Somebody renamed a known file: what changed in its letters changed in the flags (three-way: ours may not be in the name yet). */
static void full_known(struct full *f, uint32_t pos, const struct entry *en)
{
	const struct rec *const r = state_rec(&f->m->st, pos);
	const struct str info = state_info(&f->m->st, r);
	bool odd;
	uint8_t disk = disk_of_info(en->n.info, &odd);
	const struct range one = { r->uid, r->uid };

	if (en->n.info.p == NULL)
		disk |= DISK_NOINFO;
	if (disk == r->disk && str_eq(odd ? en->n.info : (struct str){ 0 }, info))
		return;
	op_named(&f->ops, r->uid, disk, (struct str){ 0 }, odd ? en->n.info : (struct str){ 0 });
	const unsigned was = flags_of_disk(r->disk), is = flags_of_disk(disk);
	const unsigned added = is & ~was & ~r->flags, removed = was & ~is & r->flags;
	if (added)
		op_flags(&f->ops, MBOX_ADD, added, NULL, 0, &one, 1);
	if (removed)
		op_flags(&f->ops, MBOX_REMOVE, removed, NULL, 0, &one, 1);
	char letters[27];
	full_letters(f, MBOX_ADD, letters_besides(en->n.info, info, letters), &one);
	full_letters(f, MBOX_REMOVE, letters_besides(info, en->n.info, letters), &one);
}

static int by_base(const void *a, const void *b)
{
	const struct old_msg *const x = a, *const y = b;

	return str_cmp(x->base, y->base);
}

/* A first state is not written before it is whole: its operations need not be gathered. */
static int full_apply(struct full *f, struct err *e)
{
	if (buf_check(&f->ops, "messages of the folder", e) < 0 || state_apply(&f->m->st, buf_view(&f->ops), f->m->st.modseq, e) < 0)
		return -1;
	mbox_pending_clear(f->m);	/* the keywords are named now */
	buf_reset(&f->ops);
	return 0;
}

/* Entries in their order lie anywhere in memory: have those to come on their way. */
static void full_ahead(const struct full *f, size_t i)
{
	const struct entry *const en = i + AHEAD < f->l.n ? f->l.v[i + AHEAD] : NULL;

	if (en == NULL)
		return;
	__builtin_prefetch(en);
	__builtin_prefetch((const char *)en + 64);
	__builtin_prefetch((const char *)en + 128);
}

/* Files that have no UID yet, in order. old: what another server called them. */
static int full_number(struct full *f, const struct old_list *old, struct err *e)
{
	struct mbox *const m = f->m;
	const int64_t now = clock_wall();
	uint32_t uid;
	size_t n = 0;

	/* Entries to number were moved to the front by full_walk (f->l.n of them). */
	for (size_t i = 0; i < f->l.n; i++) {
		struct entry *const en = f->l.v[i];
		if (old ? entry_believe(en, m->curfd) : entry_look(en, m->curfd))
			f->l.v[n++] = en;
	}
	f->l.n = n;
	listing_sort(&f->l);
	uid = m->st.uidnext;
	for (size_t i = 0; i < n; i++)	/* UIDs that Dovecot gave after us come before fresh ones */
		uid = f->l.v[i]->uid >= uid ? f->l.v[i]->uid + 1 : uid;
	if (old == NULL && n > 0 && mbox_reserve(m, n + (uid - m->st.uidnext), e) < 0)
		return -1;
	for (size_t i = 0; i < n; i++) {
		const struct entry *const en = f->l.v[i];
		uint16_t ids[26 + COURIER_WORDS_MAX];
		size_t n_kw = 0;
		bool odd;
		uint8_t disk = disk_of_info(en->n.info, &odd);
		if (en->n.info.p == NULL)
			disk |= DISK_NOINFO;
		if (odd || f->courier)
			n_kw = letter_keywords(m, en->n.info, f->letters, f->courier ? map_get(f->courier, en->n.base) : NULL, ids, &f->ops);
		/* Known UIDs come first, and all lie below the next one. */
		if (en->uid == 0 && uid > UID_MAX)
			return err_set(e, ERR_LIMIT, 0, "no UID is left in this folder");
		put_assign(&f->ops, en, en->n.base, en->uid ? en->uid : uid++, disk, odd ? en->n.info : (struct str){ 0 }, ids, n_kw, now);
		if (old && f->ops.n > FIRST_PART && full_apply(f, e) < 0)
			return -1;
	}
	return 0;
}

/* A second file of a base name that is taken: another message (a copy made by hand) under a name of its own. */
static void full_twin(struct full *f, struct entry *en)
{
	char base[FILE_NAME_MAX + 1], name[FILE_NAME_MAX + 1];
	struct stat st;
	bool odd;
	const uint8_t disk = disk_of_info(en->n.info, &odd);

	if (fstatat(f->m->curfd, en->name, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
	    sync_fresh_base(en->n.base, (uint64_t)st.st_size, en->n.size_crlf, base) < 0 ||
	    disk_name(name, str_c(base), disk, odd ? en->n.info : (struct str){ 0 }) < 0 ||
	    rename_new(f->m->curfd, en->name, f->m->curfd, name) < 0) {
		en->name = NULL;
		return;
	}
	f->clean = false;
	en->name = arena_strdup(f->l.a, name);
	maildir_name_parse(str_c(en->name), &en->n);
}

/* A file of a message that is known already, the first one with its name. */
static bool full_takes(struct full *f, uint32_t pos, const struct entry *en)
{
	if (pos == UINT32_MAX || f->seen[pos])
		return false;
	f->seen[pos] = 1;
	if (state_rec(&f->m->st, pos)->state & REC_GONE) {	/* expunged, and still here (D20) */
		(void)unlinkat(f->m->curfd, en->name, 0);
		f->clean = false;
	} else {
		full_known(f, pos, en);
	}
	return true;
}

/* Compare each file with the state; what is new stays in f->l. */
static void full_walk(struct full *f)
{
	/* Where nothing is known yet, all are sorted: those of one base name are neighbours. */
	const bool known = state_count(&f->m->st) > 0;
	struct map *fresh = known ? map_new() : NULL;
	struct str last = { 0 };
	size_t n = 0;

	if (!known)
		listing_sort(&f->l);
	for (size_t i = 0; i < f->l.n; i++) {
		full_ahead(f, i);
		struct entry *const en = f->l.v[i];
		const struct str base = en->n.base;
		const uint32_t pos = known ? table_find(&f->t, base) : UINT32_MAX;
		if (full_takes(f, pos, en) || base.n == 0)
			continue;
		const bool twin = pos != UINT32_MAX || (known ? map_get(fresh, base) != NULL : str_eq(last, base));
		last = base;
		if (twin)
			full_twin(f, en);
		if (en->name == NULL)
			continue;
		if (known)
			(void)map_set(fresh, en->n.base, f);
		f->l.v[n++] = en;
	}
	f->l.n = n;
	map_free(&fresh);
}

/* A file that is renamed while a directory is listed may be missed: what seems gone is looked for once more. */
static int full_missing(struct full *f, struct err *e)
{
	struct listing again = { 0 };
	uint32_t missing = 0;
	int r = 0;

	for (uint32_t pos = 0; pos < state_count(&f->m->st); pos++)
		missing += !f->seen[pos] && !(state_rec(&f->m->st, pos)->state & REC_GONE);
	if (missing == 0)
		return 0;
	r = listing_read(&again, f->m->curfd, SIZE_MAX, e);
	for (size_t i = 0; r == 0 && i < again.n; i++) {
		const uint32_t pos = table_find(&f->t, again.v[i]->n.base);
		if (pos == UINT32_MAX || f->seen[pos])
			continue;
		f->seen[pos] = 1;
		if (!(state_rec(&f->m->st, pos)->state & REC_GONE))
			full_known(f, pos, again.v[i]);
	}
	listing_fini(&again);
	for (uint32_t pos = 0; r == 0 && pos < state_count(&f->m->st); pos++) {
		const struct rec *const rec = state_rec(&f->m->st, pos);
		if (f->seen[pos] || (rec->state & REC_GONE))
			continue;
		const struct range one = { rec->uid, rec->uid };
		op_ranges(&f->ops, OP_EXPUNGE, &one, 1);
		op_ranges(&f->ops, OP_DONE, &one, 1);
	}
	return r;
}

static int full_read(struct full *f, struct mbox *m, struct err *e)
{
	f->m = m;
	buf_init(&f->ops, BATCH_MAX);
	if (listing_read(&f->l, m->curfd, SIZE_MAX, e) < 0)
		return -1;
	takeover_keywords(m->dirfd, f->l.a, f->letters);
	table_init(&f->t, &m->st);
	f->seen = xzalloc((size_t)state_count(&m->st) + 1);
	return 0;
}

static void full_fini(struct full *f)
{
	listing_fini(&f->l);
	map_free(&f->courier);
	free(f->t.slot);
	free(f->seen);
	buf_fini(&f->ops);
}

static void full_match_old(struct full *f, const struct old_list *old);

/* New files that Dovecot numbered after the folder was given back to it: those UIDs, where they are above all of ours. */
static int full_given(struct full *f, struct arena *a, struct err *e)
{
	struct old_list old = { 0 };
	size_t n = 0;

	if (f->l.n == 0)
		return 0;
	const int r = takeover_read(f->m, a, &old, e);
	if (r != 0)
		return r < 0 ? -1 : 0;
	if (old.uidvalidity != f->m->st.uidvalidity)
		return 0;
	for (size_t i = 0; i < old.n; i++)
		if (old.v[i].uid >= f->m->st.uidnext)
			old.v[n++] = old.v[i];
	old.n = n;
	full_match_old(f, &old);
	return 0;
}

static int sync_cur(struct mbox *m, struct err *e)
{
	struct full f = { .clean = true };
	struct arena *a = arena_new(0);
	struct timespec marked = { 0 }, after = { 0 };
	int r;

	if (mark(m, &marked) < 0)
		marked.tv_sec = 0;
	r = full_read(&f, m, e);
	if (r == 0) {
		full_walk(&f);
		r = full_missing(&f, e);
	}
	if (r == 0)
		r = full_given(&f, a, e);
	if (r == 0)
		r = full_number(&f, NULL, e);
	if (r == 0 && buf_check(&f.ops, "changes in the folder", e) < 0)
		r = -1;
	const uint32_t messages = m->st.messages, uidnext = m->st.uidnext;
	if (r == 0 && f.ops.n > 0)
		r = mbox_commit(m, &f.ops, DURABLE_NOW, e);
	if (m->st.messages != messages || m->st.uidnext != uidnext)
		store_quota_forget(m->s);
	if (r == 0) {
		/* Changed while it was listed, by us or by others: look again next time. */
		const bool same = marked.tv_sec != 0 && f.clean && dir_time(m->curfd, &after) == 0 && same_time(&marked, &after);
		m->cur_seen = same ? marked : (struct timespec){ 0 };
		sync_record(m);
	}
	full_fini(&f);
	arena_free(&a);
	return r;
}

/* --- the ways in --- */

/* Under the lock. */
static int sync_locked(struct mbox *m, bool force, struct err *e)
{
	size_t moved;
	bool more = false;

	sync_record_read(m);
	if (force || !cur_is_seen(m)) {
		do
			if (take_new(m, false, &moved, &more, e) < 0)
				return -1;
		while (more && moved > 0);
		if (sync_cur(m, e) < 0)
			return -1;
	}
	if (take_new(m, true, &moved, &more, e) < 0)
		return -1;
	/* A listing found again what a power cut had moved back: number it by listing cur. */
	return m->cur_seen.tv_sec == 0 && moved > 0 ? sync_cur(m, e) : 0;
}

int sync_folder(struct mbox *m, bool force, struct err *e)
{
	struct timespec now;
	bool new_same = dir_time(m->newfd, &now) == 0 && m->new_seen.tv_sec != 0 && same_time(&now, &m->new_seen);
	int r;

	if (!force && new_same && cur_is_seen(m))
		return 0;
	if (mbox_lock(m, e) < 0)
		return -1;
	r = sync_locked(m, force, e);
	mbox_unlock_folder(m);
	return r;
}

/* Give the entries the UIDs that another server gave them. */
static void full_match_old(struct full *f, const struct old_list *old)
{
	struct old_msg *const v = old->v;

	if (old->n == 0)
		return;
	qsort(v, old->n, sizeof(*v), by_base);
	for (size_t i = 0; i < f->l.n; i++) {
		struct entry *const en = f->l.v[i];
		const struct old_msg key = { .base = en->n.base };
		const struct old_msg *const got = bsearch(&key, v, old->n, sizeof(*v), by_base);
		if (got == NULL)
			continue;
		en->uid = got->uid;
		if (got->size_crlf != UINT64_MAX && en->n.size_crlf == UINT64_MAX)
			en->n.size_crlf = got->size_crlf;
	}
}

static void put_pop3(struct full *f, const struct old_list *old)
{
	for (size_t i = 0; i < old->n; i++)
		if (old->v[i].uidl.n > 0 || old->v[i].order > 0)
			op_pop3(&f->ops, old->v[i].uid, old->v[i].order, old->v[i].uidl);
}

/* The state of a folder that has no journal: all files numbered, as another server did where it is known. m->st has its identity already. */
static int first_state(struct mbox *m, struct old_list *old, struct err *e)
{
	struct full f = { .clean = true };
	int r = full_read(&f, m, e);

	if (r == 0) {
		f.courier = courier_keywords(m->dirfd, f.l.a);
		full_match_old(&f, old);
		full_walk(&f);
		r = full_number(&f, old, e);
	}
	if (r == 0) {
		put_pop3(&f, old);
		r = full_apply(&f, e);
	}
	mbox_pending_clear(m);
	full_fini(&f);
	return r;
}

/* The journal is lost, the identity is known (m->st): what another server left behind still tells the UIDs of the mail it knew. 1: it does not. */
int sync_again(struct mbox *m, struct err *e)
{
	struct old_list old = { 0 };
	struct arena *a = arena_new(0);
	int r = takeover_read(m, a, &old, e);

	if (r == 0 && old.uidvalidity != m->st.uidvalidity)
		r = 1;
	if (r == 0)
		r = first_state(m, &old, e);
	arena_free(&a);
	return r;
}

static int first(struct mbox *m, struct err *e)
{
	struct old_list old = { 0 };
	struct arena *a = arena_new(0);
	size_t moved;
	bool more;
	int r = takeover_read(m, a, &old, e);

	if (r == 1) {
		r = root_uidvalidity(m->s, &old.uidvalidity, e);
		old.uidnext = 1;
	} else if (r == 0) {
		r = root_uidvalidity_seen(m->s, old.uidvalidity, e);
	}
	if (r == 0) {
		m->st.uidvalidity = old.uidvalidity;
		m->st.uidnext = old.uidnext;
		/* Above whatever another server's clients have seen, and above our own earlier values. */
		m->st.modseq = m->st.gone_floor = clock_wall_us();
		if (old.has_id)
			memcpy(m->st.id, old.id, sizeof(m->st.id));
		else
			random_bytes(m->st.id, sizeof(m->st.id));
		do
			r = take_new(m, false, &moved, &more, e);
		while (r == 0 && more && moved > 0);
	}
	/* So that the listing for the first state is not repeated at once. */
	struct timespec marked = { 0 }, after = { 0 };
	if (r == 0 && mark(m, &marked) < 0)
		marked.tv_sec = 0;
	if (r == 0)
		r = first_state(m, &old, e);
	if (r == 0) {
		m->st.reserved = m->st.uidnext > UID_MAX - UID_RESERVE ? UID_MAX : m->st.uidnext + UID_RESERVE;
		/* The journal first: a second copy alone would be taken for a folder that lost its journal. */
		r = journal_replace(&m->j, m->dirfd, &m->st, false, e);
	}
	if (r == 0)
		r = ident_write(m, e);
	if (r == 0) {
		const bool same = marked.tv_sec != 0 && dir_time(m->curfd, &after) == 0 && same_time(&marked, &after);
		m->cur_seen = same ? marked : (struct timespec){ 0 };
		/* Mail that another server knew is not recent. */
		m->recent_uid = old.n > 0 ? old.uidnext : 1;
		sync_record(m);
	}
	arena_free(&a);
	return r;
}

int sync_first(struct mbox *m, struct err *e)
{
	sync_group_begin(m->dirfd);
	const int r = first(m, e);
	return sync_group_end(m->dirfd, "folder", r, e);
}
