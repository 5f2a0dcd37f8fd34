/* Access control lists in a mail tree: reading and changing a folder's list, what new folders inherit, the summary. acl.c has the rules.
 *
 *   postern.shares in the root: the identifiers of all lists, one a line.
 *
 * Lists and summary are replaced as a whole. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "os/os.h"
#include "store/acl.h"
#include "store/store_priv.h"

#define SHARES_NAME "postern.shares"

/* --- files --- */

static int dir_open(struct store *s, const char *dir, int *fd_out, struct err *e)
{
	const int fd = openat(s->rootfd, *dir ? dir : ".", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	if (fd < 0)
		return err_set(e, errno == ENOENT || errno == ENOTDIR || errno == ELOOP ? ERR_NOENT : ERR_TEMP, errno, "no such folder");
	*fd_out = fd;
	return 0;
}

static int folder_open(struct store *s, struct str folder, int *fd_out, struct err *e)
{
	struct buf dir;
	int r;

	if (store_ready(s, e) < 0)
		return -1;
	buf_init(&dir, FILE_NAME_MAX + 8);
	r = store_dir_of(s, folder, &dir, e);
	if (r == 0)
		r = dir_open(s, dir.n ? dir.p : "", fd_out, e);
	buf_fini(&dir);
	return r;
}

static int list_write(int fd, const struct acl_entry *list, struct err *e)
{
	struct buf b;
	int r;

	if (!list) {
		if (unlinkat(fd, ACL_NAME, 0) < 0 && errno != ENOENT)
			return err_set(e, ERR_TEMP, errno, "access list");
		return fsync_fd(fd, "the folder", e);
	}
	buf_init(&b, ACL_FILE_MAX);
	acl_format(&b, list);
	r = buf_check(&b, "access list", e);
	if (r == 0)
		r = file_replace_at(fd, ACL_NAME, buf_view(&b), 0600, e);
	buf_fini(&b);
	return r;
}

int store_acl_get(struct store *s, struct str folder, struct arena *a, struct acl_entry **list_out, struct err *e)
{
	CLEANUP_FD int fd = -1;

	return folder_open(s, folder, &fd, e) < 0 ? -1 : acl_read_at(fd, a, list_out, e);
}

int mbox_acl_get(struct mbox *m, struct arena *a, struct acl_entry **list_out, struct err *e)
{
	return acl_read_at(m->dirfd, a, list_out, e);
}

static int list_change(struct acl_entry **list, struct arena *a, const struct acl_entry *who, enum acl_op op, uint32_t rights, struct err *e)
{
	struct acl_entry **at = list;
	size_t n = 0;

	for (; *at && !(str_eq((*at)->id, who->id) && (*at)->negative == who->negative); at = &(*at)->next)
		n++;
	const uint32_t before = *at ? (*at)->rights : 0;
	const uint32_t after = op == ACL_SET ? rights : op == ACL_ADD ? before | rights : before & ~rights;

	if (*at && after == 0) {
		*at = (*at)->next;
	} else if (*at) {
		(*at)->rights = after;
	} else if (after) {
		if (n >= ACL_ENTRIES_MAX)
			return err_set(e, ERR_LIMIT, 0, "more than %d entries", ACL_ENTRIES_MAX);
		*at = ARENA_NEW(a, struct acl_entry);
		**at = (struct acl_entry){ .id = who->id, .negative = who->negative, .rights = after };
	}
	return 0;
}

/* --- the summary --- */

struct summing {
	struct store *s;
	struct arena *a;
	struct str *v;
	size_t n;
};

static int id_cmp(const void *pa, const void *pb)
{
	return str_cmp(*(const struct str *)pa, *(const struct str *)pb);
}

static int sum_dir(void *ctx, const char *dir, struct err *e)
{
	struct summing *t = ctx;
	CLEANUP_FD int fd = -1;
	struct acl_entry *list;

	/* What cannot be read opens nothing: it must not keep the others from being open. */
	if (dir_open(t->s, dir, &fd, NULL) < 0 || acl_read_at(fd, t->a, &list, NULL) < 0)
		return 0;
	for (; list; list = list->next) {
		bool have = list->negative;

		for (size_t i = 0; !have && i < t->n; i++)
			have = str_eq(t->v[i], list->id);
		if (have)
			continue;
		if (t->n == ACL_GRANTEES_MAX)
			return err_set(e, ERR_LIMIT, 0, "shared with more than %d", ACL_GRANTEES_MAX);
		t->v[t->n++] = list->id;
	}
	return 0;
}

int store_acl_summary(struct store *s, struct err *e)
{
	struct summing t = { .s = s, .a = arena_new(0) };
	struct buf b;
	int r;

	t.v = ARENA_ARRAY(t.a, struct str, ACL_GRANTEES_MAX);
	buf_init(&b, (size_t)ACL_GRANTEES_MAX * (ACL_ID_MAX + 1));
	r = root_each_dir(s, sum_dir, &t, e);
	qsort(t.v, t.n, sizeof(*t.v), id_cmp);
	for (size_t i = 0; i < t.n; i++) {
		buf_str(&b, t.v[i]);
		buf_ch(&b, '\n');
	}
	if (r == 0)
		r = file_replace_at(s->rootfd, SHARES_NAME, buf_view(&b), 0600, e);
	buf_fini(&b);
	arena_free(&t.a);
	return r;
}

int store_acl_grantees(struct store *s, struct buf *out, struct err *e)
{
	struct err one = { 0 };

	if (file_read_at(s->rootfd, SHARES_NAME, (size_t)ACL_GRANTEES_MAX * (ACL_ID_MAX + 1), out, &one) == 0 || one.code == ERR_NOENT || one.sys == ENOENT)
		return 0;
	return err_set(e, ERR_TEMP, one.sys, "%s: %s", SHARES_NAME, one.text);
}

/* --- changes --- */

/* Best effort: what is left of a reader who may not read any more is shown to nobody. */
static void readers_prune(struct store *s, struct str folder, const struct acl_entry *list)
{
	struct err quiet = { 0 };
	struct mbox *m;

	if (mbox_open(s, folder, &m, &quiet) < 0)
		return;
	(void)!mbox_readers_prune(m, list, &quiet);
	mbox_close(&m);
}

int store_acl_change(struct store *s, struct str folder, struct arena *a, const struct acl_entry *who, enum acl_op op, uint32_t rights, struct err *e)
{
	struct acl_entry *list;
	CLEANUP_FD int fd = -1;
	int r;

	if (folder_open(s, folder, &fd, e) < 0 || root_lock(s, e) < 0)
		return -1;
	r = acl_read_at(fd, a, &list, e);
	if (r == 0)
		r = list_change(&list, a, who, op, rights, e);
	if (r == 0)
		r = list_write(fd, list, e);
	if (r == 0)
		r = store_acl_summary(s, e);
	root_unlock(s);
	if (r == 0)
		readers_prune(s, folder, list);
	return r;
}

int store_acl_parent(struct store *s, struct str folder, struct arena *a, struct str *parent_out, struct acl_entry **list_out, struct err *e)
{
	struct str parent = folder;

	for (ptrdiff_t slash; (slash = str_rchr(parent, '/')) > 0;) {
		struct err one = { 0 };

		parent = str_sub(parent, 0, (size_t)slash);
		if (store_acl_get(s, parent, a, list_out, &one) == 0) {
			*parent_out = parent;
			return 0;
		}
		if (one.code != ERR_NOENT)
			return err_set(e, one.code, one.sys, "%s", one.text);
	}
	*list_out = NULL;
	*parent_out = STR("");
	return 0;
}

int store_acl_create(struct store *s, struct str folder, struct str special_use, struct err *e)
{
	struct arena *a = arena_new(0);
	struct acl_entry *list;
	struct str parent;
	int r = store_acl_parent(s, folder, a, &parent, &list, e);

	if (r == 0)
		r = store_create(s, folder, special_use, e);
	for (size_t i = parent.n + 1; r == 0 && list && i <= folder.n; i++) {
		CLEANUP_FD int fd = -1;

		if ((i < folder.n && folder.p[i] != '/') || folder.p[i - 1] == '/')
			continue;
		r = folder_open(s, str_sub(folder, 0, i), &fd, e);
		if (r == 0)
			r = list_write(fd, list, e);
	}
	arena_free(&a);
	return r;
}
