/* Messages whose record comes before their file is in cur. Several of one APPEND become visible all or none, also where a kill or a power cut comes in between (RFC 3502). A file
 * in cur without a record is a new message to whoever looks next, and so is a complete one in tmp; so these are numbered first, all by one batch of the journal, while their files
 * stand in tmp under names that nobody takes up, and then follow into cur, in pieces. One that comes alone, and those that share a sync, are in cur before that sync; but their
 * record is written before, and a cut may leave it alone.
 *
 * So until a file is in cur, and after a crash for as long as nobody has tidied up, whoever misses it there looks for it here. A file here that no record knows, and nobody has
 * open, is of an append that came to nothing. So is one that a record knows and that is not whole: a cut came before its bytes were on the disk. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/arena.h"
#include "log/log.h"
#include "os/os.h"
#include "store/maildir_priv.h"
#include "store/sync_priv.h"

/* --- one file --- */

static int path_of(char out[TOGETHER_PATH_MAX], struct str base)
{
	const int n = snprintf(out, TOGETHER_PATH_MAX, "tmp/%.*s" MAILDIR_TOGETHER, STR_ARG(base));

	if (base.n > 0 && n > 0 && n < TOGETHER_PATH_MAX)
		return 0;
	errno = ENOENT;
	return -1;
}

int together_path(const struct state *st, const struct rec *r, char out[TOGETHER_PATH_MAX])
{
	return path_of(out, state_name(st, r));
}

int together_place(struct mbox *m, struct str base, const char *name)
{
	char from[TOGETHER_PATH_MAX];

	return path_of(from, base) < 0 ? -1 : rename_new(m->dirfd, from, m->curfd, name);
}

int together_sync(struct mbox *m, const char *sub, struct err *e)
{
	return mbox_one_sync(m) ? 0 : maildir_dir_sync(m->dirfd, sub, e);
}

/* --- all that are there --- */

struct left {
	struct arena *a;
	struct map *by_base;	/* base name -> its struct left_one */
	struct left_one {
		struct str base;
		bool known;
		struct left_one *next;
	} *first;
};

static int left_add(void *ctx, int tmpfd, const char *file, struct err *e)
{
	struct left *const l = ctx;
	const struct str name = str_c(file);

	(void)tmpfd;
	(void)e;
	if (!str_ends(name, STR(MAILDIR_TOGETHER)))
		return 0;
	struct left_one *const one = ARENA_NEW(l->a, struct left_one);

	*one = (struct left_one){ .base = arena_str(l->a, str_sub(name, 0, name.n - (sizeof(MAILDIR_TOGETHER) - 1))), .next = l->first };
	l->first = one;
	(void)map_set(l->by_base, one->base, one);
	return 0;
}

static int left_read(struct left *l, struct mbox *m, struct err *e)
{
	*l = (struct left){ .a = arena_new(0), .by_base = map_new() };
	return maildir_each_file(m->dirfd, "tmp", left_add, l, e);
}

static void left_fini(struct left *l)
{
	map_free(&l->by_base);
	arena_free(&l->a);
}

struct map *together_names(struct mbox *m, struct arena *a, struct err *e)
{
	struct left l = { .a = a, .by_base = map_new() };

	if (maildir_each_file(m->dirfd, "tmp", left_add, &l, e) == 0)
		return l.by_base;
	if (e->code == ERR_NOENT) {	/* no tmp: nothing in it */
		err_clear(e);
		return l.by_base;
	}
	map_free(&l.by_base);
	return NULL;
}

/* A power cut came before its sync, so nobody was promised it. It is not removed at once, for nothing is on a look alone: it becomes one that is swept when it is old. */
static bool set_aside(struct mbox *m, struct str base)
{
	char from[TOGETHER_PATH_MAX], to[TOGETHER_PATH_MAX];
	CLEANUP_FD int fd = path_of(from, base) < 0 ? -1 : openat(m->dirfd, from, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);

	if (fd < 0 || maildir_completeness(fd, base) != 0)
		return false;
	snprintf(to, sizeof(to), "tmp/%.*s,T", STR_ARG(base));
	return rename_new(m->dirfd, from, m->dirfd, to) == 0;
}

/* Files of records, youngest first, into cur; at most max. Returns how many. What no record has will be removed: all are looked at, whatever their times: clocks are set. */
static size_t take_known(struct mbox *m, struct left *l, size_t max)
{
	const bool clean = sync_own_begin(m);
	bool cut = false;
	size_t moved = 0, found = 0;
	const size_t want = map_count(l->by_base);

	for (uint32_t pos = state_count(&m->st); pos-- > 0 && found < want && moved < max;) {
		const struct rec *const r = state_rec(&m->st, pos);
		char name[FILE_NAME_MAX + 1];

		struct left_one *const one = map_get(l->by_base, state_name(&m->st, r));
		if (!one)
			continue;
		found++;
		if ((r->state & (REC_GONE | REC_ZOMBIE)) == REC_GONE)
			continue;	/* expunged, and forgotten: of no use */
		one->known = true;
		if (set_aside(m, one->base))
			cut = true;
		else if (disk_name(name, one->base, r->disk, state_info(&m->st, r)) == 0 && together_place(m, one->base, name) == 0)
			sync_own_step(m, ++moved);
	}
	if (moved > 0) {
		sync_own_end(m, clean, moved);
		sync_record(m);
	}
	if (cut)
		sync_forget(m);	/* the record goes when cur is listed */
	return moved;
}

/* Of no record. Where records may be lost (salvage) what is whole is mail all the same; what is not was never promised. */
static void drop_unknown(struct mbox *m, const struct left *l, bool salvage)
{
	struct err e = { 0 };
	bool dropped = false;

	for (const struct left_one *one = l->first; one; one = one->next) {
		char from[TOGETHER_PATH_MAX], to[TOGETHER_PATH_MAX];
		CLEANUP_FD int fd = one->known || path_of(from, one->base) < 0 ? -1 : openat(m->dirfd, from, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);

		if (fd < 0 || maildir_in_use(fd))
			continue;
		snprintf(to, sizeof(to), "new/%.*s", STR_ARG(one->base));
		if (!salvage || !maildir_is_complete(fd, one->base))
			dropped |= unlinkat(m->dirfd, from, 0) == 0;
		else if (maildir_move(m->dirfd, from, to, &e) < 0)
			log_warning("mailbox %s%s: %s: %s", m->s->root, m->dir, from, e.text);
	}
	if (dropped)
		store_quota_forget(m->s);	/* it may have counted them */
}

bool together_settle(struct mbox *m, size_t max, bool salvage)
{
	struct err e = { 0 };
	struct left l;

	if (!m->in_tmp || m->gone || mbox_lock(m, &e) < 0)
		return false;
	size_t moved = 0;

	if (left_read(&l, m, &e) == 0 && l.first) {
		moved = take_known(m, &l, max);
		if (moved < max)
			drop_unknown(m, &l, salvage);
	}
	m->in_tmp = moved == max;
	left_fini(&l);
	mbox_unlock_folder(m);
	return m->in_tmp;
}
