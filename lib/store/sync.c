/* new/ and cur/ against the state. The directories' times say whether there is anything to do:
 *
 *   new/  is listed when its time is not the one at which it was last seen empty. Its files get UIDs in arrival order and move to cur/.
 *   cur/  is listed only after foreign changes. Our own changes (renames for flags, deliveries, appends, expunges) end with giving the directory a time of
 *         our own making: a nanosecond part that no clock tick has. A later change by anybody sets another time; so, unlike with a remembered time, a
 *         change within the same tick is seen, too. What happens between our look before and our mark after is counted by inotify: more
 *         events than our own mean a foreign change, and then no mark is set.
 *
 * Order in a delivery: rename new -> cur, journal (synced), postern.sync. A crash in between leaves files in cur that are not accounted for: the next
 * look lists cur and finds them. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/num.h"
#include "os/os.h"
#include "store/sync_priv.h"

enum {
	RACY_NS = 40000000,	/* a directory time younger than this may hide a further change in the same clock tick */
};

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
	k = snprintf(out, FILE_NAME_MAX + 1, "%lld.M%06uP%ldR%016llx.postern,S=%llu", (long long)secs, n.usecs, (long)getpid(), (unsigned long long)unique_u64(),
		     (unsigned long long)size);
	if (k > 0 && size_crlf != UINT64_MAX && k < FILE_NAME_MAX - 30)
		k += snprintf(out + k, (size_t)(FILE_NAME_MAX + 1 - k), ",W=%llu", (unsigned long long)size_crlf);
	return k > 0 && k <= FILE_NAME_MAX ? 0 : -1;
}

static void renamed(struct entry *en, struct arena *a, const char *name)
{
	en->name = arena_strdup(a, name);
	entry_parse(en);
}

bool sync_twin(struct mbox *m, struct arena *a, struct entry *en)
{
	char base[FILE_NAME_MAX + 1], name[FILE_NAME_MAX + 1];
	struct stat st;

	if (fstatat(m->curfd, en->name, &st, AT_SYMLINK_NOFOLLOW) < 0 || sync_fresh_base(entry_base(en), (uint64_t)st.st_size, en->told_crlf, base) < 0 ||
	    disk_name(name, str_c(base), en->disk & DISK_LETTERS, en->odd ? entry_info(en) : (struct str){ 0 }) < 0 || rename_new(m->curfd, en->name, m->curfd, name) < 0)
		return false;
	renamed(en, a, name);
	return true;
}

bool sync_is_there(const struct mbox *m, const struct entry *en)
{
	struct stat st;

	return fstatat(m->curfd, en->name, &st, AT_SYMLINK_NOFOLLOW) == 0 || errno != ENOENT;
}

bool sync_straighten(struct mbox *m, struct arena *a, struct entry *en)
{
	char name[FILE_NAME_MAX + 1];

	if (!en->odd || disk_name(name, entry_base(en), en->disk, entry_info(en)) < 0 || strcmp(name, en->name) == 0 ||
	    rename_new(m->curfd, en->name, m->curfd, name) < 0)
		return false;
	renamed(en, a, name);
	return true;
}

/* --- numbering --- */

struct assign sync_assign(const struct entry *en, struct str base, uint32_t uid, int64_t now)
{
	const uint64_t size = en->size;
	/* ,W= is believed where ,S= does not contradict the file (they may lie). */
	const bool trusted = en->told == UINT64_MAX || en->told == size;

	return (struct assign){ .uid = uid, .flags = flags_of_disk(en->disk), .disk = en->disk, .base = base, .info = en->odd ? entry_info(en) : (struct str){ 0 },
		.internaldate = en->mtime, .savedate = now, .size = size,
		.size_crlf = trusted && en->told_crlf != UINT64_MAX && en->told_crlf >= size ? en->told_crlf : UINT64_MAX };
}

/* Was a message of this base name numbered before? Its UID was given after the name was made, though by a clock that was perhaps set back: look at the youngest only. */
static bool base_known(struct mbox *m, struct str base, int64_t secs)
{
	const uint32_t crc = crc32c(0, base.p, base.n);
	const int64_t since = secs < 0 || secs > clock_wall() ? INT64_MIN : secs - state_setback(&m->st);

	for (uint32_t pos = state_count(&m->st); pos-- > 0;) {
		const struct rec *const r = state_rec(&m->st, pos);
		if ((r->savedate > 0 ? r->savedate : 0) < since)
			return false;
		if (r->name_len == base.n && (r->info_len || r->name_crc == crc) && str_eq(state_name(&m->st, r), base))
			return true;
	}
	return false;
}

/* Move one file of new/ to cur/. base_out: what it is called there. 1 moved, 0 it has gone, -1. */
static int move_one(struct mbox *m, struct entry *en, char base_out[FILE_NAME_MAX + 1], bool *known, struct err *e)
{
	char name[FILE_NAME_MAX + 1];

	if (!entry_look(en, m->newfd))
		return 0;
	en->disk &= DISK_LETTERS;	/* what else its info says is dropped */
	en->odd = false;
	memcpy(base_out, en->name, en->base_n);
	base_out[en->base_n] = '\0';
	/* A name that was numbered before stands in new after a power cut took a rename back: it keeps its UID, found by the listing. */
	*known = base_known(m, entry_base(en), en->secs);
	for (int tries = 0; tries < 3; tries++) {
		if (disk_name(name, str_c(base_out), en->disk, (struct str){ 0 }) == 0) {
			if (rename_new(m->newfd, en->name, m->curfd, name) == 0)
				return 1;
			if (errno == ENOENT)
				return 0;
			if (errno != EEXIST && errno != ENAMETOOLONG)
				return err_set(e, errno == ENOSPC || errno == EDQUOT ? ERR_QUOTA : ERR_TEMP, errno, "move from new to cur");
		}
		if (sync_fresh_base(entry_base(en), en->size, en->told_crlf, base_out) < 0)
			return err_set(e, ERR_BUG, 0, "file name");
		*known = false;
	}
	return err_set(e, ERR_TEMP, 0, "no free name in cur");
}

/* New/ (at most max files) into cur/, with UIDs when number is set. *moved_out: how many. */
static int take_new(struct mbox *m, bool number, size_t max, size_t *moved_out, bool *more_out, struct err *e)
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
	(void)sync_dir_time(m->newfd, &before);
	buf_init(&ops, BATCH_MAX);
	r = listing_read(&l, m->newfd, max, NULL, e);
	if (r == 0 && l.n > 0) {
		listing_sort(&l);
		if (number)
			r = mbox_reserve(m, l.n, e);
		const bool clean = r == 0 && sync_own_begin(m);
		const uint32_t first = state_count(&m->st);
		uid = m->st.uidnext;
		for (size_t i = 0; r >= 0 && i < l.n; i++) {
			bool known = false;
			r = move_one(m, l.v[i], base, &known, e);
			moved += r > 0;
			foreign |= r > 0 && !known && l.v[i]->id_n == 0;	/* deliver's own names have an id, and it has told the quota */
			sync_own_step(m, moved);
			relist |= known;
			if (r > 0 && number && !known) {
				const struct assign a = sync_assign(l.v[i], str_c(base), uid++, clock_wall());
				op_assign(&ops, &a);
			}
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
			messages_arrived(m, first, NULL, 0);
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

int sync_take_new(struct mbox *m, size_t max, size_t *moved_out, bool *more_out, struct err *e)
{
	return take_new(m, false, max, moved_out, more_out, e);
}

/* --- the ways in --- */

/* Under the lock. */
static int sync_locked(struct mbox *m, bool force, struct err *e)
{
	size_t moved;
	bool more = false;

	sync_record_read(m);
	/* What is new would change cur under a look that is over. */
	const bool looked = sync_look_holds(m);
	if (force || !(sync_cur_is_seen(m) || sync_look_recent(m))) {
		for (more = !looked, moved = 1; more && moved > 0;)
			if (take_new(m, false, NEW_BATCH_MAX, &moved, &more, e) < 0)
				return -1;
		if (sync_cur(m, e) < 0)
			return -1;
	}
	sync_look_free(&m->look);
	if (take_new(m, true, NEW_BATCH_MAX, &moved, &more, e) < 0)
		return -1;
	/* A listing found again what a power cut had moved back: number it by listing cur. */
	return m->cur_seen.tv_sec == 0 && moved > 0 && !mbox_unsure(m) ? sync_cur(m, e) : 0;
}

int sync_folder(struct mbox *m, bool force, struct err *e)
{
	struct timespec now;
	bool new_same = sync_dir_time(m->newfd, &now) == 0 && m->new_seen.tv_sec != 0 && sync_same_time(&now, &m->new_seen);
	int r;

	if (!force && new_same && (sync_cur_is_seen(m) || sync_look_recent(m))) {
		sync_look_free(&m->look);
		return 0;
	}
	if (mbox_lock(m, e) < 0)
		return -1;
	r = sync_locked(m, force, e);
	mbox_unlock_folder(m);
	return r;
}
