/* Access control lists of folders (RFC 4314): the rules, pure, and the files.
 *
 *   postern.acl in a folder: "1\n", then per entry "<identifier> <rights>\n", where a negative entry's identifier begins with "-".
 *   postern.shares in the root: the identifiers of all lists, one a line.
 *
 * Both are replaced as a whole. A damaged list opens nothing and is never overwritten. */
#include "store/acl.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/enc.h"
#include "os/os.h"
#include "store/store_priv.h"

#define ACL_NAME "postern.acl"
#define SHARES_NAME "postern.shares"

static const struct {
	char letter;
	uint32_t bit;
} rows[] = {
#define ACL_RIGHT(name, letter, bit, what) { letter, bit },
#include "store/acl.def"
#undef ACL_RIGHT
};
/* RFC 4314 section 2.1.1: what the rights of RFC 2086 that are no more stand for. */
static const struct {
	char letter;
	uint32_t bits;
} obsolete_rows[] = { { 'c', ACL_K | ACL_X }, { 'd', ACL_E | ACL_T } };

/* --- rights --- */

static uint32_t bits_of(char letter)
{
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		if (rows[i].letter == letter)
			return rows[i].bit;
	}
	for (size_t i = 0; i < ARRAY_LEN(obsolete_rows); i++) {
		if (obsolete_rows[i].letter == letter)
			return obsolete_rows[i].bits;
	}
	return 0;
}

int acl_rights_parse(struct str letters, uint32_t *rights_out, struct err *e)
{
	uint32_t rights = 0;

	for (size_t i = 0; i < letters.n; i++) {
		const uint32_t bits = bits_of(letters.p[i]);

		if (bits == 0)
			return err_set(e, ERR_INPUT, 0, "there is no such right");
		rights |= bits;
	}
	*rights_out = rights;
	return 0;
}

void acl_rights_format(struct buf *out, uint32_t rights, bool obsolete)
{
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		if (rights & rows[i].bit)
			buf_ch(out, rows[i].letter);
	}
	for (size_t i = 0; obsolete && i < ARRAY_LEN(obsolete_rows); i++) {
		if (rights & obsolete_rows[i].bits)
			buf_ch(out, obsolete_rows[i].letter);
	}
}

uint32_t acl_rights_of(const struct acl_entry *list, struct str user)
{
	uint32_t plus = 0, minus = 0;

	for (; list; list = list->next) {
		if (!str_eq(list->id, STR("anyone")) && !str_eq(list->id, STR("authenticated")) && !str_case_eq(list->id, user))
			continue;
		*(list->negative ? &minus : &plus) |= list->rights;
	}
	return plus & ~minus;
}

/* --- identifiers and lists --- */

/* No group, no "$", no blank: what could mean something else one day is refused today. */
static bool id_ok(struct str id)
{
	if (id.n == 0 || id.n > ACL_ID_MAX || !utf8_valid(id) || id.p[0] == '-' || id.p[0] == '.')
		return false;
	for (size_t i = 0; i < id.n; i++) {
		const char ch = id.p[i];

		if (!ch_alnum(ch) && !(ch & 0x80) && !memchr("._-+@", ch, 5))
			return false;
	}
	return true;
}

int acl_id_parse(struct arena *a, struct str text, struct acl_entry *out, struct err *e)
{
	const bool negative = text.n && text.p[0] == '-';
	const struct str id = negative ? str_from(text, 1) : text;
	char *copy;

	if (!id_ok(id) || !(copy = arena_cstr(a, id)))
		return err_set(e, ERR_INPUT, 0, "identifiers are names of accounts, anyone or authenticated");
	for (size_t i = 0; i < id.n; i++)
		copy[i] = ch_lower(copy[i]);
	*out = (struct acl_entry){ .id = str_n(copy, id.n), .negative = negative };
	return 0;
}

int acl_parse(struct arena *a, struct str file, struct acl_entry **list_out, struct err *e)
{
	struct acl_entry *list = NULL, **tail = &list;
	size_t n = 0;

	if (!str_starts(file, STR("1\n")) || file.p[file.n - 1] != '\n')
		return err_set(e, ERR_TEMP, 0, "the access list is damaged");
	file = str_from(file, 2);
	while (file.n) {
		struct str line = str_split(&file, '\n');
		const struct str id = str_split(&line, ' ');
		struct acl_entry *x = ARENA_NEW(a, struct acl_entry);

		if (!x || n++ == ACL_ENTRIES_MAX || acl_id_parse(a, id, x, NULL) < 0 || acl_rights_parse(line, &x->rights, NULL) < 0 || x->rights == 0)
			return err_set(e, ERR_TEMP, 0, "the access list is damaged");
		*tail = x;
		tail = &x->next;
	}
	*list_out = list;
	return 0;
}

void acl_format(struct buf *out, const struct acl_entry *list)
{
	buf_c(out, "1\n");
	for (; list; list = list->next) {
		if (list->negative)
			buf_ch(out, '-');
		buf_str(out, list->id);
		buf_ch(out, ' ');
		acl_rights_format(out, list->rights, false);
		buf_ch(out, '\n');
	}
}

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

static int list_read(int fd, struct arena *a, struct acl_entry **list_out, struct err *e)
{
	struct err one = { 0 };
	struct buf b;
	int r = 0;

	*list_out = NULL;
	buf_init(&b, ACL_FILE_MAX);
	if (file_read_at(fd, ACL_NAME, ACL_FILE_MAX, &b, &one) == 0)
		r = acl_parse(a, buf_view(&b), list_out, e);
	else if (one.code != ERR_NOENT && one.sys != ENOENT)
		r = err_set(e, ERR_TEMP, one.sys, "access list: %s", one.text);
	buf_fini(&b);
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

	return folder_open(s, folder, &fd, e) < 0 ? -1 : list_read(fd, a, list_out, e);
}

int mbox_acl_get(struct mbox *m, struct arena *a, struct acl_entry **list_out, struct err *e)
{
	return list_read(m->dirfd, a, list_out, e);
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
	if (dir_open(t->s, dir, &fd, NULL) < 0 || list_read(fd, t->a, &list, NULL) < 0)
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

int store_acl_change(struct store *s, struct str folder, struct arena *a, const struct acl_entry *who, enum acl_op op, uint32_t rights, struct err *e)
{
	struct acl_entry *list;
	CLEANUP_FD int fd = -1;
	int r;

	if (folder_open(s, folder, &fd, e) < 0 || root_lock(s, e) < 0)
		return -1;
	r = list_read(fd, a, &list, e);
	if (r == 0)
		r = list_change(&list, a, who, op, rights, e);
	if (r == 0)
		r = list_write(fd, list, e);
	if (r == 0)
		r = store_acl_summary(s, e);
	root_unlock(s);
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
