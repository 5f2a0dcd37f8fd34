/* A folder opened by this process: descriptors, what brings it up to date with other processes and programs (refresh), and what there is to say of it. One struct
 * mbox per folder and process, shared and counted. mbox_load.c has the way from the journal to the state, mbox_commit.c the lock and the way to change it. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "log/log.h"
#include "os/os.h"
#include "store/keys_priv.h"
#include "store/search.h"
#include "store/store_priv.h"

enum {
	FLUSH_AT_CLOSE = 1000,	/* file names brought up to date when a folder is closed */
	SETTLE_AT_OPEN = 100,	/* files that are moved from tmp when one is opened: the rest when all is quiet */
};

/* --- open and close --- */

static void on_applied(void *ctx, enum applied what, uint32_t pos)
{
	struct mbox *const m = ctx;

	if (list_empty(&m->views))
		return;
	if (m->n_changes == CHANGES_MAX)
		views_read_changes(m);
	if (m->n_changes == m->cap_changes) {
		m->cap_changes = m->cap_changes * 2 + 64;
		m->changes = xrealloc(m->changes, m->cap_changes * sizeof(*m->changes));
	}
	m->changes[m->n_changes++] = (struct change){ .pos = pos, .what = (uint32_t)what, .by = m->actor };
}

/* salvage: records may be missing. */
static void opened(struct mbox *m, bool salvage)
{
	(void)together_settle(m, SETTLE_AT_OPEN, salvage);
	m->st.applied = on_applied;
	m->st.applied_ctx = m;
	mbox_unlock_folder(m);
}

/* What there is of a state is none. */
static void unopened(struct mbox *m)
{
	sync_first_free(&m->first);
	m->loading = false;
	journal_close(&m->j);
	state_fini(&m->st);
	state_init(&m->st);
	m->n_left = 0;
	m->index_pos = m->map_pos = 0;
	mbox_unlock_folder(m);
}

static void mbox_free(struct mbox *m)
{
	list_del(&m->node);
	if (m->first || m->loading)
		unopened(m);
	sync_look_free(&m->look);
	journal_close(&m->j);
	state_fini(&m->st);
	if (m->guard_wd >= 0 && m->s->guard_ino >= 0)
		(void)inotify_rm_watch(m->s->guard_ino, m->guard_wd);
	int *const fds[] = { &m->dirfd, &m->curfd, &m->newfd, &m->lockfd, &m->popfd, &m->syncfd, &m->ino_fd };
	for (size_t i = 0; i < ARRAY_LEN(fds); i++)
		close_fd(fds[i]);
	index_abort(&m->writing);
	journal_abort(&m->rewriting, false);
	cache_close(&m->cache);
	search_close(&m->search);
	keys_free(&m->keys);
	mbox_pending_clear(m);
	free(m->changes);
	free(m->left);
	free(m->dir);
	free(m);
}

static int open_sub(struct mbox *m, const char *name, int *fd, struct err *e)
{
	*fd = openat(m->dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return *fd < 0 ? err_set(e, ERR_TEMP, errno, "%s", name) : 0;
}

static int open_folder(struct store *s, const char *dir, struct mbox **out, struct err *e)
{
	struct mbox *const m = xzalloc(sizeof(*m));
	int r;

	*m = (struct mbox){ .s = s, .refs = 1, .dir = xstrdup(dir), .dirfd = -1, .curfd = -1, .newfd = -1, .lockfd = -1, .popfd = -1, .syncfd = -1, .ino_fd = -1,
		.wd_journal = -1, .wd_cur = -1, .wd_new = -1, .guard_wd = -1, .recent_uid = 1 };
	m->j.fd = -1;
	cache_init(&m->cache);
	search_init(&m->search);
	m->keys = keys_new();
	list_init(&m->node);
	list_init(&m->views);
	state_init(&m->st);
	/* A kill may have left a folder without all of its directories. */
	struct stat there = { 0 };
	const bool mend_it = s->create && fstatat(s->rootfd, *dir ? dir : ".", &there, AT_SYMLINK_NOFOLLOW) == 0;
	r = maildir_open_at(s->rootfd, dir, mend_it, &m->dirfd, e);
	if (r == 0 && (open_sub(m, "cur", &m->curfd, e) < 0 || open_sub(m, "new", &m->newfd, e) < 0))
		r = -1;
	if (r == 0 && fstat(m->dirfd, &there) < 0)
		r = err_set(e, ERR_TEMP, errno, "folder");
	m->ino = there.st_ino;
	m->dev = there.st_dev;
	m->in_order = r == 0 && fs_commits_in_order(m->dirfd);
	if (r < 0) {
		mbox_free(m);
		return -1;
	}
	list_append(&s->mboxes, &m->node);
	*out = m;
	return 0;
}

/* r: mbox_load's. 1: more is left, and the lock is held. */
static int load_on(struct mbox *m, int r, struct err *e)
{
	if (r == 1 && (r = sync_first_begin(m, &m->first, e)) == 0)
		return 1;
	if (r == 2)
		return 1;
	if (r == 0)
		opened(m, m->st.damaged);
	else
		unopened(m);
	return r;
}

static int load(struct mbox *m, struct err *e)
{
	struct err quiet = { 0 };

	const int recovered = maildir_recover(m->dirfd, &quiet);

	if (recovered < 0)
		log_warning("mailbox %s%s: tmp: %s", m->s->root, m->dir, quiet.text);
	m->in_tmp = recovered == 1;
	if (mbox_lock(m, e) < 0)
		return -1;
	return load_on(m, mbox_load(m, e), e);
}

int mbox_open_step(struct mbox *m, struct err *e)
{
	int r;

	if (m->loading)
		return load_on(m, mbox_load_step(m, e), e);
	if (m->first == NULL)
		return m->st.uidvalidity != 0 ? 0 : load(m, e);
	if ((r = sync_first_step(m->first, e)) < 0)
		unopened(m);
	if (r != 0)
		return r;
	sync_first_free(&m->first);
	opened(m, true);
	return 0;
}

void mbox_open_progress(const struct mbox *m, uint64_t *done_out, uint64_t *goal_out)
{
	*done_out = *goal_out = 0;
	if (m->first)
		sync_first_progress(m->first, done_out, goal_out);
}

void mbox_openings_end(struct store *s)
{
	list_each(it, &s->mboxes) {
		struct mbox *const m = list_of(it, struct mbox, node);
		struct err theirs = { 0 };	/* who opens it tries again */
		while ((m->first || m->loading) && mbox_open_step(m, &theirs) > 0)
			;
	}
}

static int open_whole(struct mbox *m, struct err *e)
{
	int r;

	while ((r = mbox_open_step(m, e)) > 0)
		;
	return r;
}

/* The folder that this process has open under that directory, if it is still the same directory. */
static struct mbox *find_open(struct store *s, const char *dir)
{
	struct stat st;

	list_each(it, &s->mboxes) {
		struct mbox *const m = list_of(it, struct mbox, node);
		if (strcmp(m->dir, dir) != 0 || m->gone)
			continue;
		if (fstatat(s->rootfd, *dir ? dir : ".", &st, AT_SYMLINK_NOFOLLOW) == 0 && st.st_ino == m->ino && st.st_dev == m->dev)
			return m;
	}
	return NULL;
}

static int open_by_name(struct store *s, struct str name, struct mbox **out, struct err *e)
{
	struct buf dir;
	int r;

	buf_init(&dir, FILE_NAME_MAX + 8);
	r = name_to_dir(name, s->utf8_tree, &dir, e);
	*out = r == 0 ? find_open(s, dir.p) : NULL;
	if (*out) {
		(*out)->refs++;
	} else if (r == 0) {	/* other spellings of the name are looked for, too */
		buf_reset(&dir);
		r = store_dir_of(s, name, &dir, e);
		*out = r == 0 ? find_open(s, dir.p) : NULL;
		if (*out)
			(*out)->refs++;
		else if (r == 0)
			r = open_folder(s, dir.p, out, e);
	}
	buf_fini(&dir);
	return r;
}

int mbox_open_begin(struct store *s, struct str name, struct mbox **out, struct err *e)
{
	struct mbox *m;

	if (store_ready(s, e) < 0 || open_by_name(s, name, &m, e) < 0)
		return -1;
	const int r = mbox_open_step(m, e);
	if (r < 0)
		mbox_close(&m);
	else
		*out = m;
	return r;
}

int mbox_open_target(struct store *s, struct str name, struct mbox **out, struct err *e)
{
	struct mbox *m;
	int r = mbox_open_begin(s, name, &m, e);

	if (r > 0 && (r = open_whole(m, e)) < 0)
		mbox_close(&m);
	if (r == 0)
		*out = m;
	return r;
}

int mbox_open(struct store *s, struct str name, struct mbox **out, struct err *e)
{
	struct mbox *m;

	if (mbox_open_target(s, name, &m, e) < 0)
		return -1;
	if (mbox_refresh(m, e) < 0) {
		mbox_close(&m);
		return -1;
	}
	mbox_reap_soon(m);
	*out = m;
	return 0;
}

/* What was recent for a view of ours is not recent for the next process. */
static void tell_recent(struct mbox *m)
{
	struct err e = { 0 };

	if (m->recent_uid <= m->recent_told || m->lockfd < 0 || mbox_lock_try(m, &e) != 0)
		return;
	sync_record_read(m);	/* others may have written it since */
	sync_record(m);
	mbox_unlock_folder(m);
}

/* What can wait until nobody looks: file names, unlinks, the index. */
static void last_close(struct mbox *m, bool leave)
{
	struct err e = { 0 };
	bool more;

	if (m->gone || m->j.fd < 0 || m->st.uidvalidity == 0 || m->loading)
		return;
	mbox_cache_flush(m);
	mbox_search_flush(m);
	if (leave) {
		tell_recent(m);
		return;
	}
	(void)together_settle(m, FLUSH_AT_CLOSE, m->st.damaged);
	mbox_reap(m, UINT32_MAX);
	if (m->st.unflushed > 0 && mbox_flush(m, FLUSH_AT_CLOSE, &more, &e) < 0)
		log_debug("mailbox %s%s: flush: %s", m->s->root, m->dir, e.text);
	tell_recent(m);
	mbox_tidy_last(m);
}

static void close_or_leave(struct mbox **mp, bool leave)
{
	struct mbox *const m = *mp;

	*mp = NULL;
	if (m == NULL || --m->refs > 0)
		return;
	last_close(m, leave);
	mbox_free(m);
}

void mbox_close(struct mbox **mp)
{
	close_or_leave(mp, false);
}

void mbox_leave(struct mbox **mp)
{
	close_or_leave(mp, true);
}

/* --- up to date --- */

int mbox_refresh(struct mbox *m, struct err *e)
{
	struct stat st;
	int r = 0;

	if (m->gone)
		return err_set(e, ERR_NOENT, 0, "the folder has been deleted");
	if (fstatat(m->dirfd, JOURNAL_NAME, &st, AT_SYMLINK_NOFOLLOW) < 0 || st.st_ino != m->j.ino || (uint64_t)st.st_size != m->j.pos) {
		/* Read under the lock: what is in the file then has been synced. */
		if (mbox_lock(m, e) < 0)
			return -1;
		mbox_unlock_folder(m);
	}
	r = sync_folder(m, false, e);
	if (r < 0 && (e->code == ERR_QUOTA || e->code == ERR_LIMIT)) {
		/* New mail waits; what is there can be read. */
		log_warning("mailbox %s%s: new mail cannot be numbered: %s", m->s->root, m->dir, e->text);
		err_clear(e);
		r = 0;
	}
	return r;
}

int mbox_refresh_step(struct mbox *m, struct err *e)
{
	return sync_look_step(m) ? 1 : mbox_refresh(m, e);
}

bool mbox_unsure(const struct mbox *m)
{
	return m->unsure_ms != 0;
}

static void watch_journal(struct mbox *m)
{
	char path[2048];
	const int n = snprintf(path, sizeof(path), "%s/%s%s" JOURNAL_NAME, m->s->root, m->dir, *m->dir ? "/" : "");

	if (m->wd_journal < 0 && n > 0 && n < (int)sizeof(path))
		m->wd_journal = inotify_add_watch(m->ino_fd, path, IN_MODIFY | IN_MOVE_SELF | IN_ATTRIB);
}

int mbox_watch_fd(struct mbox *m)
{
	static const char *const subs[] = { "new", "cur" };
	char path[2048];

	if (m->ino_fd < 0) {
		m->ino_fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
		if (m->ino_fd < 0)
			return -1;
		int *const wds[] = { &m->wd_new, &m->wd_cur };
		for (size_t i = 0; i < ARRAY_LEN(subs); i++) {
			const int n = snprintf(path, sizeof(path), "%s/%s%s%s", m->s->root, m->dir, *m->dir ? "/" : "", subs[i]);
			if (n > 0 && n < (int)sizeof(path))
				*wds[i] = inotify_add_watch(m->ino_fd, path, IN_CREATE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE | IN_ONLYDIR);
		}
	}
	watch_journal(m);
	return m->ino_fd;
}

void mbox_watch_clear(struct mbox *m)
{
	char events[4096] __attribute__((aligned(__alignof__(struct inotify_event))));
	ssize_t n;

	while (m->ino_fd >= 0 && (n = read(m->ino_fd, events, sizeof(events))) > 0) {
		for (char *p = events; p < events + n;) {
			const struct inotify_event *const ev = (const void *)p;
			/* Replaced by another process: watch the new one. */
			if (ev->wd == m->wd_journal && (ev->mask & (IN_IGNORED | IN_MOVE_SELF | IN_ATTRIB)))
				m->wd_journal = -1;
			p += sizeof(*ev) + ev->len;
		}
	}
	if (m->ino_fd >= 0)
		watch_journal(m);
}

/* --- status --- */

static int sizes_known(struct mbox *m, struct err *e);

int mbox_status(struct mbox *m, struct mbox_status *out, struct err *e)
{
	if (m->st.unknown_sizes > 0 && sizes_known(m, e) < 0)
		return -1;
	const uint32_t from = state_lower(&m->st, m->recent_uid);
	uint32_t recent = 0;

	for (uint32_t pos = from; pos < state_count(&m->st); pos++)
		recent += !(state_rec(&m->st, pos)->state & REC_GONE);
	*out = (struct mbox_status){ .uidvalidity = m->st.uidvalidity, .uidnext = m->st.uidnext, .messages = m->st.messages, .unseen = m->st.unseen,
		.recent = recent, .deleted = m->st.deleted, .size = m->st.size_crlf, .highestmodseq = m->st.modseq };
	return 0;
}

uint32_t mbox_uidvalidity(const struct mbox *m)
{
	return m->st.uidvalidity;
}

/* Sizes that no name told: count once, keep in the journal. */
static int sizes_known(struct mbox *m, struct err *e)
{
	for (uint32_t pos = 0; m->st.unknown_sizes > 0 && pos < state_count(&m->st); pos++) {
		const struct rec *const r = state_rec(&m->st, pos);
		if (!(r->state & REC_GONE) && r->size_crlf == UINT64_MAX && message_sizes(m, r->uid, e) < 0) {
			if (e->code != ERR_NOENT)
				return -1;
			err_clear(e);
		}
	}
	return 0;
}

int store_status(struct store *s, struct str name, struct mbox_status *out, struct err *e)
{
	struct mbox *m;
	int r;

	if (mbox_open(s, name, &m, e) < 0)
		return -1;
	r = mbox_status(m, out, e);
	mbox_close(&m);
	return r;
}

const char *const *mbox_keywords(struct mbox *m, size_t *n_out)
{
	*n_out = m->st.n_keywords;
	return (const char *const *)m->st.keywords;
}

void mbox_id(const struct mbox *m, uint8_t out[16])
{
	memcpy(out, m->st.id, 16);
}

int mbox_vanished(struct mbox *m, uint64_t since, struct arena *a, struct mbox_range **out, size_t *n_out)
{
	struct mbox_range *v;
	size_t n = 0;

	*out = NULL;
	*n_out = 0;
	if (since < m->st.gone_floor)
		return 1;
	if (!(v = ARENA_ARRAY(a, struct mbox_range, m->st.n_gone + 1)))
		return 1;
	for (size_t i = 0; i < m->st.n_gone; i++)
		if (m->st.gone[i].modseq > since)
			v[n++] = (struct mbox_range){ m->st.gone[i].uids.first, m->st.gone[i].uids.last };
	*out = v;
	*n_out = n;
	return 0;
}

bool mbox_is_at(const struct mbox *m, int dirfd)
{
	struct stat st;

	return fstat(dirfd, &st) == 0 && st.st_ino == m->ino && st.st_dev == m->dev;
}

int mbox_settle(struct mbox *m, size_t id_len, struct err *e)
{
	return maildir_settle(m->dirfd, id_len, e) < 0 ? -1 : mbox_refresh(m, e);
}

/* --- POP3's lock --- */

int mbox_lock_exclusive(struct mbox *m, struct err *e)
{
	int r;

	if (m->popfd >= 0)
		return err_set(e, ERR_LIMIT, 0, "the mailbox is in use by another POP3 session");
	CLEANUP_FD int fd = openat(m->dirfd, POPLOCK_NAME, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK, 0600);
	if (fd < 0)
		return err_set(e, ERR_TEMP, errno, POPLOCK_NAME);
	if ((r = lock_try(fd)) != 0)
		return r < 0 ? err_set(e, ERR_TEMP, errno, POPLOCK_NAME) : err_set(e, ERR_LIMIT, 0, "the mailbox is in use by another POP3 session");
	m->popfd = fd;
	fd = -1;
	return 0;
}

void mbox_unlock(struct mbox *m)
{
	close_fd(&m->popfd);
}
