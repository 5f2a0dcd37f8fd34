/* Folders are created, deleted and renamed. Changes of the tree are made under the root's lock, each step durable before the next.
 *
 * A deleted folder's directory first gets a name that nobody lists ("..postern.gone.<random>"), then is emptied (purge.c): a crash leaves rubbish,
 * never half a folder. Its UIDVALIDITY stays below the root's counter, so that a new folder of the name has another. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "log/log.h"
#include "os/os.h"
#include "store/store_priv.h"

static bool dir_exists(struct store *s, const char *dir)
{
	struct stat st;

	return fstatat(s->rootfd, *dir ? dir : ".", &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(st.st_mode);
}

/* --- create --- */

static int count_one(void *ctx, const char *dir, struct err *e)
{
	++*(size_t *)ctx;
	return 0;
}

/* A folder's directory with its first journal. */
static int make_folder(struct store *s, struct str name, const char *dir, struct err *e)
{
	CLEANUP_FD int fd = -1;
	struct mbox *m;

	if (maildir_open_at(s->rootfd, dir, true, &fd, e) < 0)
		return -1;
	CLEANUP_FD int mark = openat(fd, "maildirfolder", O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (mark < 0)
		return err_set(e, errno == ENOSPC || errno == EDQUOT ? ERR_QUOTA : ERR_TEMP, errno, "maildirfolder");
	if (mbox_open(s, name, &m, e) < 0)
		return -1;
	mbox_close(&m);
	return 0;
}

/* No use: the folder has none any more. */
static int special_set(struct store *s, struct str name, struct str use, struct err *e)
{
	struct arena *a = arena_new(0);
	struct special *l, mine = { .use = use, .name = name };
	bool exists;
	int r = root_special_read(s, a, &l, &exists, e);

	for (struct special *i = l; i; i = i->next)
		if (str_eq(i->use, use) || str_eq(i->name, name))
			i->use = (struct str){ 0 };
	/* Before the first word of ours the usual names had their uses: keep them. */
	struct store_folder *f = NULL;
	if (r == 0 && !exists)
		r = store_list(s, a, &f, e);
	for (; r == 0 && f; f = f->next) {
		if (f->special_use.n == 0 || str_eq(f->special_use, use) || str_eq(f->name, name))
			continue;
		struct special *const sp = ARENA_NEW(a, struct special);
		*sp = (struct special){ .use = f->special_use, .name = f->name, .next = l };
		l = sp;
	}
	struct special **at = &l;
	while (*at)
		if ((*at)->use.n == 0)
			*at = (*at)->next;
		else
			at = &(*at)->next;
	mine.next = l;
	if (r == 0)
		r = root_special_write(s, use.n ? &mine : l, e);
	arena_free(&a);
	return r;
}

static bool use_known(struct str use)
{
	static const char *const uses[] = { "\\Drafts", "\\Sent", "\\Junk", "\\Trash", "\\Archive", "\\All", "\\Flagged", "\\Important" };

	for (size_t i = 0; i < ARRAY_LEN(uses); i++)
		if (str_case_eq(use, str_c(uses[i])))
			return true;
	return false;
}

int store_special_get(struct store *s, struct str name, struct arena *a, struct str *special_use_out, struct err *e)
{
	struct store_folder *f;
	struct buf normal;

	buf_init(&normal, STORE_FOLDER_NAME_MAX + 1);
	const int r = name_normal(name, &normal, e) < 0 || store_list(s, a, &f, e) < 0 ? -1 : 0;

	while (r == 0 && f && !str_eq(f->name, buf_view(&normal)))
		f = f->next;
	if (r == 0)
		*special_use_out = f ? f->special_use : STR("");
	buf_fini(&normal);
	return r;
}

int store_special_set(struct store *s, struct str name, struct str special_use, struct err *e)
{
	struct buf normal;
	int r;

	if (special_use.n > 0 && !use_known(special_use))
		return err_set(e, ERR_INPUT, 0, "special use is not known");
	buf_init(&normal, STORE_FOLDER_NAME_MAX + 1);
	r = name_normal(name, &normal, e);
	if (r == 0 && (r = root_lock(s, e)) == 0) {
		r = special_set(s, buf_view(&normal), special_use, e);
		root_unlock(s);
	}
	buf_fini(&normal);
	return r;
}

static int create_locked(struct store *s, struct str name, struct err *e)
{
	struct buf dir;
	size_t n = 0;
	int r;

	buf_init(&dir, FILE_NAME_MAX + 8);
	r = store_dir_of(s, name, &dir, e);
	buf_ch(&dir, '\0');
	if (r == 0 && dir_exists(s, dir.p))
		r = err_set(e, ERR_EXISTS, 0, "the folder exists");
	if (r == 0)
		r = root_each_dir(s, count_one, &n, e);
	if (r == 0 && n >= STORE_FOLDERS_MAX)
		r = err_set(e, ERR_LIMIT, 0, "more than %d folders", STORE_FOLDERS_MAX);
	/* The parents, from the top; those that exist are fine. */
	for (size_t i = 1; r == 0 && i < name.n; i++) {
		struct err one = { 0 };
		if (name.p[i] != '/' || create_locked(s, str_sub(name, 0, i), &one) == 0 || one.code == ERR_EXISTS)
			continue;
		*e = one;
		r = -1;
	}
	if (r == 0)
		r = make_folder(s, name, dir.p, e);
	buf_fini(&dir);
	return r;
}

int store_create(struct store *s, struct str name, struct str special_use, struct err *e)
{
	struct buf normal;
	int r;

	if (special_use.n > 0 && !use_known(special_use))
		return err_set(e, ERR_INPUT, 0, "special use is not known");
	if (store_ready(s, e) < 0)
		return -1;
	buf_init(&normal, STORE_FOLDER_NAME_MAX + 1);
	r = name_normal(name, &normal, e);
	if (r == 0 && (r = root_lock(s, e)) == 0) {
		sync_group_begin(s->rootfd);
		r = create_locked(s, buf_view(&normal), e);
		if (r == 0 && special_use.n > 0)
			r = special_set(s, buf_view(&normal), special_use, e);
		r = sync_group_end(s->rootfd, "mail tree", r, e);
		root_unlock(s);
	}
	buf_fini(&normal);
	return r;
}

/* --- delete --- */

/* Its UIDVALIDITY must never come again under this name. */
static int retire_uidvalidity(struct store *s, const char *dir, struct err *e)
{
	uint32_t uv, bound;
	uint8_t id[16];

	CLEANUP_FD int fd = openat(s->rootfd, dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return err_set(e, errno == ENOENT ? ERR_NOENT : ERR_TEMP, errno, "folder");
	return ident_read(fd, &uv, id, &bound) == 0 ? root_uidvalidity_seen(s, uv, e) : 0;
}

static void open_ones_gone(struct store *s, const char *dir)
{
	list_each(it, &s->mboxes) {
		struct mbox *const m = list_of(it, struct mbox, node);
		if (strcmp(m->dir, dir) == 0)
			m->gone = true;
	}
}

static int special_rename(struct store *s, struct str from, struct str to, struct err *e);

static int delete_locked(struct store *s, struct str name, const char *dir, struct err *e)
{
	char gone[64];

	if (retire_uidvalidity(s, dir, e) < 0)
		return -1;
	snprintf(gone, sizeof(gone), GONE_PREFIX "%016llx", (unsigned long long)random_u64());
	if (renameat(s->rootfd, dir, s->rootfd, gone) < 0)
		return err_set(e, errno == ENOENT ? ERR_NOENT : ERR_TEMP, errno, "folder");
	/* Also when that may not last: what is added to it from now on would be removed with it. */
	s->gone_left = true;
	open_ones_gone(s, dir);
	store_quota_forget(s);
	if (fsync_fd(s->rootfd, "mail tree", e) < 0)
		return -1;
	return special_rename(s, name, (struct str){ 0 }, e);
}

int store_delete(struct store *s, struct str name, struct err *e)
{
	struct buf dir, normal;
	int r;

	if (store_ready(s, e) < 0)
		return -1;
	buf_init(&dir, FILE_NAME_MAX + 8);
	buf_init(&normal, STORE_FOLDER_NAME_MAX + 1);
	r = name_normal(name, &normal, e);
	if (r == 0)
		r = store_dir_of(s, name, &dir, e);
	buf_ch(&dir, '\0');
	if (r == 0 && dir.p[0] == '\0')
		r = err_set(e, ERR_DENIED, 0, "INBOX cannot be deleted");
	if (r == 0 && !dir_exists(s, dir.p))
		r = err_set(e, ERR_NOENT, 0, "no such folder");
	if (r == 0 && (r = root_lock(s, e)) == 0) {
		r = delete_locked(s, buf_view(&normal), dir.p, e);
		root_unlock(s);
	}
	buf_fini(&normal);
	buf_fini(&dir);
	return r;
}

/* --- rename --- */

/* Special uses follow a folder; to p NULL: forget it. */
static int special_rename(struct store *s, struct str from, struct str to, struct err *e)
{
	struct arena *a = arena_new(0);
	struct special *l, **at;
	bool exists, changed = false;
	int r = root_special_read(s, a, &l, &exists, e);

	for (at = &l; r == 0 && *at;) {
		if (!str_eq((*at)->name, from)) {
			at = &(*at)->next;
			continue;
		}
		changed = true;
		if (to.p) {
			(*at)->name = to;
			at = &(*at)->next;
		} else {
			*at = (*at)->next;
		}
	}
	if (r == 0 && changed)
		r = root_special_write(s, l, e);
	arena_free(&a);
	return r;
}

struct pair {
	char *from, *to;
};
struct renames {
	struct store *s;
	struct str from, to;	/* directory names */
	struct pair *v;
	size_t n, cap;
};

/* The folder itself and those below it. */
static int collect(void *ctx, const char *dir, struct err *e)
{
	struct renames *const rn = ctx;
	const struct str d = str_c(dir);

	if (!str_starts(d, rn->from) || (d.n > rn->from.n && d.p[rn->from.n] != '.'))
		return 0;
	if (rn->to.n + d.n - rn->from.n > FILE_NAME_MAX)
		return err_set(e, ERR_INPUT, 0, "a folder's name would be too long");
	if (rn->n == rn->cap) {
		rn->cap = rn->cap * 2 + 16;
		rn->v = xrealloc(rn->v, rn->cap * sizeof(*rn->v));
	}
	char *const to = xzalloc(rn->to.n + d.n - rn->from.n + 1);
	memcpy(to, rn->to.p, rn->to.n);
	memcpy(to + rn->to.n, d.p + rn->from.n, d.n - rn->from.n);
	rn->v[rn->n++] = (struct pair){ xstrdup(dir), to };
	return 0;
}

static void open_ones_renamed(struct store *s, const char *from, const char *to)
{
	list_each(it, &s->mboxes) {
		struct mbox *const m = list_of(it, struct mbox, node);
		if (strcmp(m->dir, from) == 0 && !m->gone) {
			free(m->dir);
			m->dir = xstrdup(to);
		}
	}
}

static int move_all(struct renames *rn, struct err *e)
{
	size_t done = 0;
	int sys = 0;

	for (size_t i = 0; i < rn->n; i++)
		if (dir_exists(rn->s, rn->v[i].to))
			return err_set(e, ERR_EXISTS, 0, "a folder of the new name exists");
	for (; done < rn->n; done++) {
		if (renameat2(rn->s->rootfd, rn->v[done].from, rn->s->rootfd, rn->v[done].to, RENAME_NOREPLACE) == 0)
			continue;
		if (errno == EINVAL && renameat(rn->s->rootfd, rn->v[done].from, rn->s->rootfd, rn->v[done].to) == 0)
			continue;
		sys = errno;
		break;
	}
	if (sys) {
		while (done-- > 0)
			(void)renameat(rn->s->rootfd, rn->v[done].to, rn->s->rootfd, rn->v[done].from);
		return err_set(e, sys == EEXIST ? ERR_EXISTS : ERR_TEMP, sys, "rename of a folder");
	}
	for (size_t i = 0; i < rn->n; i++)
		open_ones_renamed(rn->s, rn->v[i].from, rn->v[i].to);
	return fsync_fd(rn->s->rootfd, "mail tree", e);
}

static int rename_tree(struct store *s, struct str from_dir, struct str to_dir, struct err *e)
{
	struct renames rn = { .s = s, .from = from_dir, .to = to_dir };
	int r = root_each_dir(s, collect, &rn, e);

	if (r == 0 && rn.n == 0)
		r = err_set(e, ERR_NOENT, 0, "no such folder");
	if (r == 0)
		r = move_all(&rn, e);
	for (size_t i = 0; i < rn.n; i++) {
		free(rn.v[i].from);
		free(rn.v[i].to);
	}
	free(rn.v);
	return r;
}

static int rename_locked(struct store *s, struct str from, struct str to, struct err *e)
{
	struct buf from_dir, to_dir;
	int r;

	buf_init(&from_dir, FILE_NAME_MAX + 8);
	buf_init(&to_dir, FILE_NAME_MAX + 8);
	r = store_dir_of(s, from, &from_dir, e);
	if (r == 0)
		r = store_dir_of(s, to, &to_dir, e);
	if (r == 0 && (to_dir.n == 0 || root_has(s, to_dir.p)))
		r = err_set(e, ERR_EXISTS, 0, "the folder exists");
	if (r == 0 && from_dir.n == 0)
		r = err_set(e, ERR_DENIED, 0, "INBOX cannot be renamed");
	if (r == 0)
		r = rename_tree(s, buf_view(&from_dir), buf_view(&to_dir), e);
	/* Parents of the new name come into being (RFC 3501 6.3.5). */
	for (size_t i = 1; r == 0 && i < to.n; i++) {
		struct err one = { 0 };
		if (to.p[i] == '/' && create_locked(s, str_sub(to, 0, i), &one) < 0 && one.code != ERR_EXISTS)
			log_warning("mail tree %s: parent of a renamed folder: %s", s->root, one.text);
	}
	if (r == 0)
		r = special_rename(s, from, to, e);
	buf_fini(&to_dir);
	buf_fini(&from_dir);
	return r;
}

int store_rename(struct store *s, struct str from, struct str to, struct err *e)
{
	struct buf a, b;
	int r;

	if (store_ready(s, e) < 0)
		return -1;
	buf_init(&a, STORE_FOLDER_NAME_MAX + 1);
	buf_init(&b, STORE_FOLDER_NAME_MAX + 1);
	r = name_normal(from, &a, e);
	if (r == 0)
		r = name_normal(to, &b, e);
	if (r == 0 && (r = root_lock(s, e)) == 0) {
		r = rename_locked(s, buf_view(&a), buf_view(&b), e);
		root_unlock(s);
	}
	buf_fini(&b);
	buf_fini(&a);
	return r;
}
