/* An old home as a source: what pine, mutt, elm, UW imapd, Thunderbird and Dovecot left there.
 *
 *	mbox, and the user's file in the spool	INBOX
 *	mail/ Mail/ and below			mbox files, a folder each; directories are levels; maildirs among them are taken as what they are
 *	Maildir/				Maildir++ with its folders
 *
 * What is neither is named in the report and left alone. */
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/enc.h"
#include "admin/import/import.h"
#include "mail/mbox.h"
#include "os/os.h"

enum { HEAD_BYTES = 2048, PATH_BYTES = 4096, NAME_BYTES = 1000 };
enum { ROOT_HOME = 0, ROOT_SPOOL = 1 };

struct walk {
	struct import *im;
	unsigned files, depth;
	int rc;
	struct err *e;
};

/* Folder names of old files may be in any encoding: what is no UTF-8 is taken for Latin-1. */
static void put_level(struct buf *out, const char *name)
{
	size_t n = strlen(name);

	if (n > 4 && strcmp(name + n - 4, ".sbd") == 0)	/* Thunderbird's directory of a folder's children */
		n -= 4;
	if (utf8_valid(str_n(name, n))) {
		buf_mem(out, name, n);
		return;
	}
	for (size_t i = 0; i < n; i++)
		utf8_put(out, (unsigned char)name[i]);
}

static void failed(struct walk *w, const char *path, const struct err *why)
{
	(void)fprintf(stderr, "%s: %s\n", path, why->text);
	w->rc = -1;
	*w->e = *why;
}

/* 1 an mbox, 0 an empty file, -1 something else. */
static int kind(int fd)
{
	char head[HEAD_BYTES];
	const ssize_t n = pread(fd, head, sizeof head, 0);
	struct str s = str_n(head, n > 0 ? (size_t)n : 0);

	while (s.n > 0 && ch_space(s.p[0]))
		s = str_from(s, 1);
	return n <= 0 ? 0 : s.n == 0 ? 0 : mail_mbox_is(s) ? 1 : -1;
}

static void file(struct walk *w, int fd, const char *path, struct str folder)
{
	struct err one = { 0 };
	const int k = kind(fd);

	if (k < 0)
		import_skipped(w->im, path, "not an mbox");
	else if (import_mbox_file(w->im, fd, folder, STR(""), path, &one) < 0)
		failed(w, path, &one);
}

static bool is_maildir(struct walk *w, const char *path)
{
	static const char *const subs[] = { "cur", "new" };
	char name[PATH_BYTES];

	for (size_t i = 0; i < ARRAY_LEN(subs); i++) {
		struct err ignored = { 0 };
		CLEANUP_FD int fd = -1;
		bool dir = false;
		(void)snprintf(name, sizeof name, "%s/%s", path, subs[i]);
		if (import_open(w->im, ROOT_HOME, name, &fd, &dir, &ignored) < 0 || !dir)
			return false;
	}
	return true;
}

static void directory(struct walk *w, int fd, const char *path, struct str folder);

static void entry(struct walk *w, const char *path, struct str level_of, const char *name)
{
	struct err one = { 0 };
	CLEANUP_FD int fd = -1;
	struct buf folder;
	bool dir = false;

	buf_init(&folder, NAME_BYTES);
	buf_str(&folder, level_of);
	if (level_of.n > 0)
		buf_ch(&folder, '/');
	put_level(&folder, name);
	if (buf_failed(&folder))
		import_skipped(w->im, path, "name too long");
	else if (import_open(w->im, ROOT_HOME, path, &fd, &dir, &one) < 0)
		import_skipped(w->im, path, one.text);
	else if (dir && is_maildir(w, path))
		(void)(import_maildir_tree(w->im, ROOT_HOME, path, buf_view(&folder), &one) < 0 ? failed(w, path, &one) : (void)0);
	else if (dir && strcmp(name, "dbox-Mails") == 0)
		import_skipped(w->im, path, IMPORT_DBOX);
	else if (dir)
		directory(w, fd, path, buf_view(&folder));
	else
		file(w, fd, path, level_of.n == 0 && str_case_eq(buf_view(&folder), STR("inbox")) ? STR("INBOX") : buf_view(&folder));
	buf_fini(&folder);
}

static int name_cmp(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Sorted, so that every run does the same. Mail programs' own files are none of the folders. */
static void directory(struct walk *w, int fd, const char *path, struct str folder)
{
	char **names = NULL, full[PATH_BYTES];
	size_t n = 0;
	const int own = dup(fd);
	DIR *const d = own < 0 ? NULL : fdopendir(own);

	if (d == NULL || w->depth >= IMPORT_DEPTH_MAX) {
		import_skipped(w->im, path, d ? "too deep" : "cannot be listed");
		if (d)
			closedir(d);
		return;
	}
	for (const struct dirent *de; (de = readdir(d)) && w->files < IMPORT_FILES_MAX;) {
		const struct str name = str_c(de->d_name);
		if (de->d_name[0] == '.' || str_ends(name, STR(".msf")) || str_ends(name, STR(".lock")) || str_ends(name, STR("~")))
			continue;
		names = xrealloc(names, (n + 1) * sizeof *names);
		names[n++] = xstrdup(de->d_name);
		w->files++;
	}
	closedir(d);
	qsort(names, n, sizeof *names, name_cmp);
	w->depth++;
	for (size_t i = 0; i < n; i++) {
		if (snprintf(full, sizeof full, "%s/%s", path, names[i]) < (int)sizeof full)
			entry(w, full, folder, names[i]);
		free(names[i]);
	}
	w->depth--;
	free(names);
}

/* One place of a home, when it is there. */
static void place(struct walk *w, unsigned root, const char *path, const char *shown, bool inbox)
{
	struct err one = { 0 };
	CLEANUP_FD int fd = -1;
	bool dir = false;

	if (import_open(w->im, root, path, &fd, &dir, &one) < 0) {
		if (one.code != ERR_NOENT)
			failed(w, shown, &one);
		return;
	}
	if (inbox && !dir)
		file(w, fd, shown, STR("INBOX"));
	else if (!inbox && dir && is_maildir(w, path))
		(void)(import_maildir_tree(w->im, root, path, STR(""), &one) < 0 ? failed(w, shown, &one) : (void)0);
	else if (!inbox && dir)
		directory(w, fd, path, STR(""));
	else
		import_skipped(w->im, shown, "neither an mbox nor a folder");
}

int import_word_tree(struct import *im, struct err *e)
{
	static const char *const places[] = { "Maildir", "mail", "Mail" };
	struct walk w = { .im = im, .e = e };
	const char *const at = strchr(im->acct->name, '@');
	char local[256];

	if (im->o->spool) {
		(void)snprintf(local, sizeof local, "%.*s", at ? (int)(at - im->acct->name) : (int)strlen(im->acct->name), im->acct->name);
		place(&w, ROOT_SPOOL, local, im->o->spool, true);
	}
	place(&w, ROOT_HOME, "mbox", "mbox", true);
	for (size_t i = 0; i < ARRAY_LEN(places); i++)
		place(&w, ROOT_HOME, places[i], places[i], false);
	return w.rc;
}
