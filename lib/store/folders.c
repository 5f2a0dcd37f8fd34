/* The tree of folders: open, list, subscribe; tree.c changes it. Folders are directories ".A.B" below the root; a parent need not exist. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/enc.h"
#include "os/crew.h"
#include "os/os.h"
#include "store/store_priv.h"

/* --- open --- */

static int look_at_dir(void *ctx, const char *dir, struct err *e)
{
	bool *const seen = ctx;	/* [0] UTF-8 names, [1] modified UTF-7 runs, [2] any folder */
	const struct str s = str_c(dir);
	bool high = false;

	if (s.n == 0)
		return 0;
	seen[2] = true;
	for (size_t i = 0; i < s.n; i++)
		high |= (unsigned char)s.p[i] >= 0x80;
	if (high && utf8_valid(s))
		seen[0] = true;
	const ptrdiff_t amp = str_chr(s, '&');
	if (amp >= 0 && !str_starts(str_from(s, (size_t)amp), STR("&-")))
		seen[1] = true;
	return 0;
}

int store_open(const char *root, bool create, struct store **out, struct err *e)
{
	struct store *const s = xzalloc(sizeof(*s));
	bool seen[3] = { false };
	size_t n = strlen(root);

	s->rootfd = s->lockfd = s->guard_ino = -1;
	list_init(&s->mboxes);
	while (n > 1 && root[n - 1] == '/')
		n--;
	s->root = xstrndup(root, n);
	s->create = create;
	if (root[0] != '/' || maildir_open(s->root, create, &s->rootfd, e) < 0 || root_each_dir(s, look_at_dir, seen, e) < 0) {
		if (root[0] != '/')
			(void)err_set(e, ERR_CONF, 0, "mail path %s is not absolute", root);
		store_close(&(struct store *){ s });
		return -1;
	}
	s->utf8_tree = seen[0] && !seen[1];
	*out = s;
	return 0;
}

void store_close(struct store **sp)
{
	struct store *const s = *sp;

	*sp = NULL;
	if (s == NULL)
		return;
	list_each_safe(it, &s->mboxes) {	/* left open by the caller: views are theirs */
		struct mbox *m = list_of(it, struct mbox, node);
		if (m->refs == 1)
			mbox_close(&m);
	}
	purge_end(s);
	crew_free(&s->crew);
	close_fd(&s->rootfd);
	close_fd(&s->lockfd);
	close_fd(&s->guard_ino);
	for (size_t i = 0; i < s->n_defaults; i++)
		free(s->defaults[i]);
	free(s->defaults);
	free(s->root);
	free(s);
}

void store_defaults(struct store *s, const char *const *folders, size_t n)
{
	for (size_t i = 0; i < s->n_defaults; i++)
		free(s->defaults[i]);
	free(s->defaults);
	s->defaults = xzalloc((n + 1) * sizeof(*s->defaults));
	for (size_t i = 0; i < n; i++)
		s->defaults[i] = xstrdup(folders[i]);
	s->n_defaults = n;
}

bool root_has(struct store *s, const char *name)
{
	struct stat st;

	return fstatat(s->rootfd, name, &st, AT_SYMLINK_NOFOLLOW) == 0;
}

/* A new user's folders: once, and only where no other server has made its own. */
static int make_defaults(struct store *s, struct err *e)
{
	static const char *const others[] = { "subscriptions", "courierimapsubscribed", "postern.subscriptions", "dovecot-uidlist", "courierimapuiddb" };
	bool seen[3] = { false };
	int r = root_each_dir(s, look_at_dir, seen, e);

	for (size_t i = 0; i < ARRAY_LEN(others); i++)
		seen[2] |= root_has(s, others[i]);
	if (r < 0 || seen[2])
		return r;
	s->ready = true;	/* the calls below come back here */
	sync_group_begin(s->rootfd);	/* some eighty syncs else, before a new user's first answer */
	r = store_subscribe(s, STR("INBOX"), true, e);
	for (size_t i = 0; r == 0 && i < s->n_defaults; i++) {
		const struct str name = str_c(s->defaults[i]);
		const char *const use = special_of_name(name);
		r = store_create(s, name, str_c(use ? use : ""), e);
		if (r < 0 && e->code == ERR_EXISTS)
			r = 0;
		if (r == 0)
			r = store_subscribe(s, name, true, e);
	}
	r = sync_group_end(s->rootfd, "mail tree", r, e);
	s->ready = r == 0;
	return r;
}

int store_ready(struct store *s, struct err *e)
{
	int r;

	if (s->ready || !s->create)
		return 0;
	if (root_has(s, "postern.root")) {	/* somebody was here before */
		s->ready = true;
		return 0;
	}
	if (root_lock(s, e) < 0)
		return -1;
	r = root_has(s, "postern.root") ? 0 : make_defaults(s, e);
	s->ready = r == 0;
	root_unlock(s);
	return r;
}

/* --- directories of names --- */

struct find {
	struct store *s;
	struct str name;
	struct buf decoded, *out;
	bool found;
};

static int find_one(void *ctx, const char *dir, struct err *e)
{
	struct find *const f = ctx;

	if (!f->found && *dir && name_from_dir(str_c(dir), f->s->utf8_tree, &f->decoded) == 0 && str_eq(buf_view(&f->decoded), f->name)) {
		f->found = true;
		buf_reset(f->out);
		buf_c(f->out, dir);
	}
	return 0;
}

/* The directory of a folder: as we name it, unless the tree has one that only reads the same (names of other servers). */
int store_dir_of(struct store *s, struct str name, struct buf *dir, struct err *e)
{
	struct buf normal;
	int r;

	if (name_to_dir(name, s->utf8_tree, dir, e) < 0)
		return -1;
	if (dir->n == 0 || root_has(s, dir->p))
		return 0;
	buf_init(&normal, STORE_FOLDER_NAME_MAX + 1);
	r = name_normal(name, &normal, e);
	struct find f = { .s = s, .name = buf_view(&normal), .out = dir };
	buf_init(&f.decoded, 4 * STORE_FOLDER_NAME_MAX);
	bool odd = false;	/* only bytes that may be spelled in two ways are worth a listing */
	for (size_t i = 0; i < f.name.n; i++)
		odd |= f.name.p[i] == '&' || (unsigned char)f.name.p[i] >= 0x80;
	if (r == 0 && odd)
		r = root_each_dir(s, find_one, &f, e);
	buf_fini(&f.decoded);
	buf_fini(&normal);
	return r;
}

/* --- list --- */

struct lister {
	struct store *s;
	struct arena *a;
	struct map *by_name;	/* name -> struct store_folder */
	struct buf name;
	size_t n;
};

static struct store_folder *folder_get(struct lister *l, struct str name)
{
	struct store_folder *f = map_get(l->by_name, name);

	if (f == NULL) {
		f = ARENA_NEW(l->a, struct store_folder);
		f->name = arena_str(l->a, name);
		(void)map_set(l->by_name, name, f);
		l->n++;
	}
	return f;
}

/* A folder and the parents above it, which have a child if the folder exists. */
static struct store_folder *folder_add(struct lister *l, struct str name, bool exists)
{
	struct store_folder *const f = folder_get(l, name);

	f->exists |= exists;
	for (ptrdiff_t slash; (slash = str_rchr(name, '/')) > 0;) {
		name = str_sub(name, 0, (size_t)slash);
		folder_get(l, name)->children |= exists;
	}
	return f;
}

static int list_dir(void *ctx, const char *dir, struct err *e)
{
	struct lister *const l = ctx;
	char path[FILE_NAME_MAX + 8];
	struct stat st;

	if (name_from_dir(str_c(dir), l->s->utf8_tree, &l->name) < 0)
		return 0;
	snprintf(path, sizeof(path), "%s%scur", dir, *dir ? "/" : "");
	if (fstatat(l->s->rootfd, path, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISDIR(st.st_mode))
		return 0;
	folder_add(l, buf_view(&l->name), true);
	return 0;
}

static int list_special(struct lister *l, struct err *e)
{
	struct special *sp;
	struct store_folder *f;
	bool exists;

	if (root_special_read(l->s, l->a, &sp, &exists, e) < 0)
		return -1;
	for (const struct special *i = sp; i; i = i->next)
		if ((f = map_get(l->by_name, i->name)) != NULL && f->exists)
			f->special_use = i->use;
	if (exists)
		return 0;
	/* No word of ours: usual names have their usual use, the first spelling that exists. */
	static const char *const usual[] = { "Drafts", "Draft", "Sent", "Sent Messages", "Sent Items", "Junk", "Spam", "Junk E-mail", "Trash",
		"Deleted Messages", "Deleted Items", "Archive", "Archives" };
	const char *done[ARRAY_LEN(usual)];
	size_t n = 0;
	for (size_t i = 0; i < 2 * ARRAY_LEN(usual); i++) {
		char below[64];
		const char *const name = usual[i % ARRAY_LEN(usual)];
		snprintf(below, sizeof(below), "%s%s", i < ARRAY_LEN(usual) ? "" : "INBOX/", name);
		const char *const use = special_of_name(str_c(name));
		bool taken = false;
		for (size_t k = 0; k < n; k++)
			taken |= strcmp(done[k], use) == 0;
		if (!taken && (f = map_get(l->by_name, str_c(below))) != NULL && f->exists) {
			f->special_use = str_c(use);
			if (n < ARRAY_LEN(done))
				done[n++] = use;
		}
	}
	return 0;
}

static int folder_cmp(const void *pa, const void *pb)
{
	const struct store_folder *const a = *(struct store_folder *const *)pa, *const b = *(struct store_folder *const *)pb;
	const bool ia = str_eq(a->name, STR("INBOX")), ib = str_eq(b->name, STR("INBOX"));

	return ia != ib ? (ia ? -1 : 1) : str_cmp(a->name, b->name);
}

static struct store_folder *sorted(struct lister *l)
{
	struct store_folder **const v = ARENA_ARRAY(l->a, struct store_folder *, l->n + 1);
	struct store_folder *head = NULL;
	size_t it = 0, n = 0;
	struct str key;
	void *value;

	while (map_next(l->by_name, &it, &key, &value))
		v[n++] = value;
	qsort(v, n, sizeof(*v), folder_cmp);
	while (n-- > 0) {
		v[n]->next = head;
		head = v[n];
	}
	return head;
}

int store_list(struct store *s, struct arena *a, struct store_folder **list_out, struct err *e)
{
	struct lister l = { .s = s, .a = a };
	struct sub_list subs;
	int r;

	if (store_ready(s, e) < 0)
		return -1;
	l.by_name = map_new();
	buf_init(&l.name, 4 * STORE_FOLDER_NAME_MAX);
	r = root_each_dir(s, list_dir, &l, e);
	if (r == 0)
		r = root_subs_read(s, a, &subs, e);
	for (size_t i = 0; r == 0 && i < subs.n; i++)
		folder_add(&l, subs.v[i], false)->subscribed = true;
	if (r == 0)
		r = list_special(&l, e);
	if (r == 0)
		*list_out = sorted(&l);
	map_free(&l.by_name);
	buf_fini(&l.name);
	return r;
}

/* --- subscribe --- */

static int subscribe_locked(struct store *s, struct str name, bool on, struct err *e)
{
	struct arena *a = arena_new(0);
	struct sub_list l;
	size_t n = 0;
	bool had = false;
	int r = root_subs_read(s, a, &l, e);

	for (size_t i = 0; r == 0 && i < l.n; i++) {
		const bool same = str_eq(l.v[i], name);
		if (!same || (on && !had))
			l.v[n++] = l.v[i];
		had |= same;
	}
	l.n = n;
	if (r == 0 && had != on) {
		struct str *const v = ARENA_ARRAY(a, struct str, n + 1);
		if (n > 0)
			memcpy(v, l.v, n * sizeof(*v));
		l.v = v;
		if (on)
			l.v[l.n++] = name;
		r = l.n > STORE_FOLDERS_MAX ? err_set(e, ERR_LIMIT, 0, "more than %d subscriptions", STORE_FOLDERS_MAX) : root_subs_write(s, &l, e);
	} else if (r == 0 && !root_has(s, "postern.subscriptions")) {
		r = root_subs_write(s, &l, e);
	}
	arena_free(&a);
	return r;
}

int store_subscribe(struct store *s, struct str name, bool on, struct err *e)
{
	struct buf normal;
	int r;

	if (store_ready(s, e) < 0)
		return -1;
	buf_init(&normal, STORE_FOLDER_NAME_MAX + 1);
	r = name_normal(name, &normal, e);
	if (r == 0 && (r = root_lock(s, e)) == 0) {
		r = subscribe_locked(s, buf_view(&normal), on, e);
		root_unlock(s);
	}
	buf_fini(&normal);
	return r;
}
