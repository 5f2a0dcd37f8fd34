/* A Maildir++ tree as a source, of Dovecot, Courier or none, or one of Dovecot's LAYOUT=fs: folders by their directory names, flags and keywords by file
 * names, dovecot-keywords and courierimapkeywords, UIDs, UIDVALIDITY and POP3 ids by dovecot-uidlist or courierimapuiddb (kept where the folder is fresh), dates
 * by the files' times, subscriptions. The tree is only read. (A tree that stays where it is needs no import: it is taken over when it is first opened.) */
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/num.h"
#include "admin/import/import.h"
#include "os/os.h"
#include "store/maildir.h"
#include "store/takeover.h"

enum { PATH_BYTES = 4096, LIST_MAX = 512 << 20, SMALL_MAX = 1 << 20, KEYWORDS_PER_NAME = 26, KEYWORDS_MAX = KEYWORDS_PER_NAME + COURIER_WORDS_MAX, COURIER_FILES_MAX = 1000000 };

struct message {
	char *name;		/* "cur/…" */
	struct str base;
	uint32_t uid, order;
	struct str uidl;
	int64_t secs;
};

struct source {
	struct import *im;
	struct import_target *t;
	unsigned root;
	const char *path;
	struct arena *a;
	struct old_list old;
	struct str letters[KEYWORDS_PER_NAME];
	struct map *courier;	/* its keywords by base name */
	struct message *v;
	size_t n, cap;
};

/* --- small files --- */

/* Content of path/name; empty when it is not there. */
static int read_small(struct source *s, const char *name, size_t max, struct str *out, struct err *e)
{
	char full[PATH_BYTES];
	struct err one = { 0 };
	CLEANUP_FD int fd = -1;
	bool dir = false;
	struct stat st;

	*out = (struct str){ 0 };
	(void)snprintf(full, sizeof full, "%s/%s", s->path, name);
	if (import_open(s->im, s->root, full, &fd, &dir, &one) < 0)
		return one.code == ERR_NOENT ? 0 : (*e = one, -1);
	if (dir || fstat(fd, &st) < 0 || (uint64_t)st.st_size > max)
		return err_set(e, ERR_TEMP, 0, "%s: too large, or no file", full);
	char *const p = arena_alloc(s->a, (size_t)st.st_size + 1);
	if (st.st_size > 0 && pread_all(fd, p, (size_t)st.st_size, 0, e) < 0)
		return -1;
	*out = str_n(p, (size_t)st.st_size);
	return 0;
}

/* Courier's: a list, and a file for each message that was changed since. */
static int read_courier(struct source *s, struct err *e)
{
	static const char sub[] = "courierimapkeywords";
	char full[PATH_BYTES];
	struct err ignored = { 0 };
	struct str text;
	bool dir = false;
	int fd = -1, rc = 0;
	DIR *d;

	(void)snprintf(full, sizeof full, "%s/%s", s->path, sub);
	if (import_open(s->im, s->root, full, &fd, &dir, &ignored) < 0)
		return 0;
	if (!dir || (d = fdopendir(fd)) == NULL) {
		close_fd(&fd);
		return 0;
	}
	if (read_small(s, arena_printf(s->a, "%s/:list", sub), LIST_MAX, &text, e) < 0)
		rc = -1;
	else
		courier_list_parse(s->a, text, s->courier);
	const struct dirent *de;
	for (size_t files = 0; rc == 0 && files < COURIER_FILES_MAX && (de = readdir(d)); files++) {
		const char *name = arena_strdup(s->a, de->d_name);
		if (name[0] == ':' || strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
			continue;
		if (read_small(s, arena_printf(s->a, "%s/%s", sub, name), SMALL_MAX, &text, e) < 0)
			rc = -1;
		else
			courier_file_parse(s->a, str_c(name), text, s->courier);
	}
	closedir(d);
	return rc;
}

static int read_lists(struct source *s, struct err *e)
{
	static const char *const names[] = { "dovecot-uidlist", "courierimapuiddb" };
	struct str text;

	for (size_t i = 0; i < ARRAY_LEN(names) && s->old.uidvalidity == 0; i++) {
		struct err ignored = { 0 };
		if (read_small(s, names[i], LIST_MAX, &text, e) < 0)
			return -1;
		if (text.n > 0 && uidlist_parse(s->a, text, &s->old, &ignored) < 0)
			s->old = (struct old_list){ 0 };
	}
	if (read_small(s, "dovecot-keywords", SMALL_MAX, &text, e) < 0)
		return -1;
	keywords_parse(s->a, text, s->letters);
	return read_courier(s, e);
}

/* --- messages --- */

static void list_dir(struct source *s, const char *sub)
{
	char full[PATH_BYTES];
	struct err ignored = { 0 };
	bool dir = false;
	int fd = -1;
	DIR *d;

	(void)snprintf(full, sizeof full, "%s/%s", s->path, sub);
	if (import_open(s->im, s->root, full, &fd, &dir, &ignored) < 0)
		return;
	if (!dir || (d = fdopendir(fd)) == NULL) {
		close_fd(&fd);
		return;
	}
	for (const struct dirent *de; (de = readdir(d));) {
		struct maildir_name n;
		if (de->d_name[0] == '.')
			continue;
		if (s->n == s->cap) {
			s->cap = s->cap * 2 + 256;
			s->v = xrealloc(s->v, s->cap * sizeof *s->v);
		}
		struct message *const m = &s->v[s->n++];
		*m = (struct message){ .name = arena_printf(s->a, "%s/%s", sub, de->d_name) };
		maildir_name_parse(str_c(m->name + strlen(sub) + 1), &n);
		m->base = n.base;
		m->secs = n.secs;
	}
	closedir(d);
}

static void match(struct source *s)
{
	struct map *by_base = map_new();

	for (size_t i = 0; i < s->old.n; i++)
		(void)map_set(by_base, s->old.v[i].base, &s->old.v[i]);
	for (size_t i = 0; i < s->n; i++) {
		const struct old_msg *const o = map_get(by_base, s->v[i].base);
		if (o == NULL)
			continue;
		s->v[i].uid = o->uid;
		s->v[i].uidl = o->uidl;
		s->v[i].order = o->order;
	}
	map_free(&by_base);
}

/* Those with UIDs by them, then the others as they came. */
static int order(const void *pa, const void *pb)
{
	const struct message *const a = pa, *const b = pb;

	if (a->uid != b->uid)
		return a->uid == 0 ? 1 : b->uid == 0 ? -1 : a->uid < b->uid ? -1 : 1;
	return a->secs != b->secs ? (a->secs < b->secs ? -1 : 1) : str_cmp(a->base, b->base);
}

static uint32_t flags_of(struct source *s, const char *name, struct str keywords[KEYWORDS_MAX], size_t *n_out)
{
	struct maildir_name n;
	size_t k = 0;

	maildir_name_parse(str_c(name), &n);
	for (size_t i = 0; i < n.info.n && n.info.p[i] != ','; i++) {
		const char c = n.info.p[i];
		if (ch_lower_p(c) && s->letters[c - 'a'].n > 0 && k < KEYWORDS_PER_NAME)
			keywords[k++] = s->letters[c - 'a'];
	}
	const struct courier_words *w = map_get(s->courier, n.base);
	for (size_t i = 0; w && i < w->n; i++)
		keywords[k++] = w->v[i];
	*n_out = k;
	return takeover_flags(n.info);
}

static int copy(struct source *s, int fd, struct err *e)
{
	static char chunk[65536];
	ssize_t n;

	while ((n = read(fd, chunk, sizeof chunk)) != 0) {
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_set(e, ERR_TEMP, errno, "read");
		if (import_message_data(s->t, str_n(chunk, (size_t)n), e) < 0)
			return -1;
	}
	return 0;
}

static int one(struct source *s, const struct message *m, struct str folder, struct err *e)
{
	struct import_row *const row = import_row(s->t);
	struct str keywords[KEYWORDS_MAX];
	struct import_message msg = { .uid = m->uid, .pop3_order = m->order, .pop3_uidl = m->uidl, .keywords = keywords };
	const struct str parts[] = { STR("maildir"), folder, m->base };
	char full[PATH_BYTES];
	struct err one_err = { 0 };
	CLEANUP_FD int fd = -1;
	bool dir = false;
	struct stat st;

	row->found++;
	import_id(parts, ARRAY_LEN(parts), msg.id);
	if (import_target_known(s->t, msg.id)) {
		row->known++;
		return 0;
	}
	(void)snprintf(full, sizeof full, "%s/%s", s->path, m->name);
	if (import_open(s->im, s->root, full, &fd, &dir, &one_err) < 0 || dir || fstat(fd, &st) < 0) {
		row->failed++;
		(void)snprintf(row->note, sizeof row->note, "%.180s", dir ? full : one_err.text);
		return 0;
	}
	msg.flags = flags_of(s, strchr(m->name, '/') + 1, keywords, &msg.n_keywords);
	msg.date = st.st_mtime;
	if (import_message_begin(s->t, &msg, e) < 0 || copy(s, fd, e) < 0)
		return -1;
	return import_message_end(s->t, e);
}

/* A folder that is where it belongs was taken over when it was opened: it is no mail from elsewhere. */
static bool is_in_place(struct source *s)
{
	struct err ignored = { 0 };
	CLEANUP_FD int fd = -1;
	bool dir = false;

	if (import_open(s->im, s->root, s->path, &fd, &dir, &ignored) < 0 || !dir || !import_target_is_at(s->t, fd))
		return false;
	s->im->in_place = true;
	(void)snprintf(import_row(s->t)->note, sizeof import_row(s->t)->note, "stays in its place");
	return true;
}

static int one_folder(struct import *im, unsigned root, const char *path, struct str folder, struct err *e)
{
	struct source s = { .im = im, .root = root, .path = path, .a = arena_new(0), .courier = map_new() };
	struct err late = { 0 };
	int rc = import_target_open(im, folder, STR(""), path, &s.t, e);

	if (rc == 0 && !is_in_place(&s) && (rc = read_lists(&s, e)) == 0) {
		list_dir(&s, "cur");
		list_dir(&s, "new");
		match(&s);
		qsort(s.v, s.n, sizeof *s.v, order);
		rc = import_target_adopt(s.t, s.old.uidvalidity, e);
		if (rc > 0 && s.old.uidvalidity > 0)
			(void)snprintf(import_row(s.t)->note, sizeof import_row(s.t)->note, "the folder had UIDs already: its own are used");
		rc = rc > 0 ? 0 : rc;
	}
	for (size_t i = 0; rc == 0 && i < s.n; i++) {
		rc = one(&s, &s.v[i], folder, e);
		import_progress(im, i + 1, s.n, import_row(s.t)->folder);
	}
	if (import_target_close(&s.t, rc < 0 ? &late : e) < 0)
		rc = -1;
	free(s.v);
	map_free(&s.courier);
	arena_free(&s.a);
	return rc;
}

/* --- the tree --- */

static bool has_dir(struct import *im, unsigned root, const char *path, const char *sub)
{
	char full[PATH_BYTES];
	struct err ignored = { 0 };
	CLEANUP_FD int fd = -1;
	bool is_dir = false;

	return snprintf(full, sizeof full, "%s/%s", path, sub) < (int)sizeof full && import_open(im, root, full, &fd, &is_dir, &ignored) == 0 && is_dir;
}

static int folder_name(const char *dir, struct str prefix, struct buf *out)
{
	struct buf own;
	int r;

	buf_init(&own, STORE_FOLDER_NAME_MAX);
	r = takeover_folder(str_c(dir), &own);
	/* Courier's clients know all folders below INBOX; so do the names in its lists, but not its directories. */
	if (r == 0 && prefix.n > 0) {
		buf_str(out, prefix);
		buf_ch(out, '/');
	}
	if (r == 0)
		buf_str(out, buf_view(&own));
	buf_fini(&own);
	return r < 0 || buf_failed(out) ? -1 : 0;
}

/* The folder whose maildir++ directory would be called dir, at path, when it is one. Trouble with it is told, and no reason to leave out others: -1 ends all. */
static int take_folder(struct import *im, unsigned root, const char *path, const char *dir, struct str prefix, int *rc, struct err *e)
{
	struct err one_err = { 0 };
	struct buf name;

	if (!has_dir(im, root, path, "cur"))
		return 0;
	im->maildirs++;
	buf_init(&name, STORE_FOLDER_NAME_MAX);
	if (folder_name(dir, prefix, &name) < 0) {
		(void)fprintf(stderr, "%s: a name that is none\n", path);
		*rc = -1;
	} else if (one_folder(im, root, path, arena_str(im->a, buf_view(&name)), &one_err) < 0) {
		(void)fprintf(stderr, "%s: %s\n", path, one_err.text);
		*e = one_err;
		*rc = -1;
	}
	buf_fini(&name);
	return one_err.code == ERR_QUOTA ? -1 : 0;
}

static int name_cmp(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* What a directory holds, sorted; on im's arena. -1: it cannot be listed. */
static int list_names(struct import *im, int fd, char ***v_out, size_t *n_out)
{
	const int own = dup(fd);
	DIR *const d = own < 0 ? NULL : fdopendir(own);
	char **v = NULL;
	size_t n = 0, cap = 0;

	if (d == NULL) {
		close_fd(&(int){ own });
		return -1;
	}
	for (const struct dirent *de; (de = readdir(d)) && n < IMPORT_FILES_MAX;) {
		if (n == cap) {
			cap = cap ? cap * 2 : 64;
			v = xrealloc(v, cap * sizeof *v);
		}
		v[n++] = arena_strdup(im->a, de->d_name);
	}
	closedir(d);
	if (n > 0)
		qsort(v, n, sizeof *v, name_cmp);
	*v_out = v;
	*n_out = n;
	return 0;
}

/* A directory that may hold a folder, by its name: Maildir++'s have a dot before it, those of LAYOUT=fs none. */
static bool is_candidate(const char *name, bool fs)
{
	if (name[0] == '.')
		return !fs && name[1] != '\0' && name[1] != '.';
	return fs && strcmp(name, "cur") != 0 && strcmp(name, "new") != 0 && strcmp(name, "tmp") != 0;
}

/* Folders of the other layout are not passed over in silence. */
static void tell_if_folder(struct import *im, unsigned root, const char *path, const char *name, bool fs)
{
	char full[PATH_BYTES];

	if (im->in_place && !fs)	/* what was copied out of it */
		return;
	if (!is_candidate(name, fs) || snprintf(full, sizeof full, "%s/%s", path, name) >= (int)sizeof full || !has_dir(im, root, full, "cur"))
		return;
	im->maildirs++;
	import_skipped(im, full, fs ? "a folder of --layout fs" : "a folder of --layout maildir++");
}

static int sub_folders(struct import *im, unsigned root, const char *path, int fd, struct str prefix, struct err *e)
{
	char **names, full[PATH_BYTES];
	size_t n;
	int rc = 0, end = 0;

	if (list_names(im, fd, &names, &n) < 0)
		return err_set(e, ERR_TEMP, errno, "%s", path);
	for (size_t i = 0; end == 0 && i < n; i++)
		if (!is_candidate(names[i], false))
			tell_if_folder(im, root, path, names[i], true);
		else if (snprintf(full, sizeof full, "%s/%s", path, names[i]) < (int)sizeof full - 4)
			end = take_folder(im, root, full, names[i], prefix, &rc, e);
	free(names);
	return rc;
}

/* LAYOUT=fs of Dovecot: a directory for each level; those without cur are levels alone. parent: the name so far, as a maildir++ directory's. */
static int fs_folders(struct import *im, unsigned root, const char *path, int fd, struct str parent, unsigned depth, struct str prefix, struct err *e)
{
	char **names, full[PATH_BYTES];
	size_t n;
	int rc = 0, end = 0;

	if (depth == IMPORT_DEPTH_MAX || list_names(im, fd, &names, &n) < 0)
		return err_set(e, ERR_TEMP, 0, "%s: %s", path, depth == IMPORT_DEPTH_MAX ? "too deep" : "cannot be listed");
	for (size_t i = 0; end == 0 && i < n; i++) {
		struct err one_err = { 0 };
		CLEANUP_FD int sub = -1;
		bool is_dir = false;
		struct buf dir;
		if (depth == 0 && !is_candidate(names[i], true))
			tell_if_folder(im, root, path, names[i], false);
		if (!is_candidate(names[i], true) ||
		    snprintf(full, sizeof full, "%s/%s", path, names[i]) >= (int)sizeof full - 4 || import_open(im, root, full, &sub, &is_dir, &one_err) < 0 || !is_dir)
			continue;
		buf_init(&dir, PATH_BYTES);
		buf_str(&dir, parent);
		takeover_level(str_c(names[i]), &dir);
		end = take_folder(im, root, full, dir.p, prefix, &rc, e);
		if (end == 0 && fs_folders(im, root, full, sub, buf_view(&dir), depth + 1, prefix, e) < 0)
			rc = -1;
		end = rc < 0 && e->code == ERR_QUOTA ? -1 : end;
		buf_fini(&dir);
	}
	free(names);
	return rc;
}

/* --- subscriptions --- */

struct subscribing {
	struct import *im;
	struct str prefix;
};

static void subscribed(void *ctx, struct str name)
{
	static char yes;
	const struct subscribing *g = ctx;
	struct buf full;

	buf_init(&full, 2 * STORE_FOLDER_NAME_MAX);
	buf_str(&full, g->prefix);
	if (g->prefix.n == 0 || !str_eq(name, STR("INBOX")))
		buf_printf(&full, "%s%.*s", g->prefix.n > 0 ? "/" : "", STR_ARG(name));
	(void)map_set(g->im->subscribed, arena_str(g->im->a, buf_view(&full)), &yes);
	buf_fini(&full);
}

/* Of folders that are made here: those that were not subscribed there are not here. Without a list all are. */
static int read_subscriptions(struct import *im, unsigned root, const char *path, bool fs, struct str prefix, struct err *e)
{
	struct source s = { .im = im, .root = root, .path = path, .a = im->a };
	struct str text;

	map_free(&im->subscribed);
	if (read_small(&s, "subscriptions", SMALL_MAX, &text, e) < 0)
		return -1;
	if (text.p == NULL)
		return 0;
	im->subscribed = map_new();
	takeover_subscriptions(text, fs ? '/' : '.', subscribed, &(struct subscribing){ im, prefix });
	return 0;
}

/* A directory without any mail in the form asked for must not end in a report that nothing was to be done. */
static int nothing_there(struct import *im, unsigned root, const char *path, struct err *e)
{
	if (has_dir(im, root, path, "mailboxes"))
		return err_set(e, ERR_INPUT, 0, "%s", IMPORT_DBOX);
	return err_set(e, ERR_INPUT, 0, "no maildir: neither the directory nor any below it has a cur");
}

static int maildir_tree(struct import *im, unsigned root, const char *path, bool fs, struct str prefix, struct err *e)
{
	CLEANUP_FD int fd = -1;
	bool dir = false;
	int rc;

	if (import_open(im, root, path, &fd, &dir, e) < 0)
		return -1;
	if (!dir)
		return err_set(e, ERR_INPUT, 0, "%s: no directory", path);
	if (read_subscriptions(im, root, path, fs, prefix, e) < 0)
		return -1;
	im->maildirs = has_dir(im, root, path, "cur") || has_dir(im, root, path, "new");
	rc = one_folder(im, root, path, prefix.n > 0 ? prefix : STR("INBOX"), e);
	if (rc == 0 || e->code != ERR_QUOTA)
		rc = (fs ? fs_folders(im, root, path, fd, STR(""), 0, prefix, e) : sub_folders(im, root, path, fd, prefix, e)) < 0 ? -1 : rc;
	map_free(&im->subscribed);
	return rc == 0 && im->maildirs == 0 ? nothing_there(im, root, path, e) : rc;
}

int import_maildir_tree(struct import *im, unsigned root, const char *path, struct str prefix, struct err *e)
{
	return maildir_tree(im, root, path, false, prefix, e);
}

int import_word_maildir(struct import *im, struct err *e)
{
	return maildir_tree(im, 0, ".", im->o->layout && strcmp(im->o->layout, "fs") == 0, str_c(im->o->folder ? im->o->folder : ""), e);
}
