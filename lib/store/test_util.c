/* Scratch maildirs for the store's tests. */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/store_priv.h"
#include "store/test_store.h"
#include "test/tap.h"

enum { SCRATCH_MAX = 10000 };
static char *scratches[SCRATCH_MAX];
static size_t n_scratches;
static pid_t owner;	/* forked children leave the directories alone */

static void remove_tree(int parent, const char *name)
{
	int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);

	for (struct dirent *de; d && (de = readdir(d)) != NULL;)
		if (strcmp(de->d_name, ".") != 0 && strcmp(de->d_name, "..") != 0 && unlinkat(fd, de->d_name, 0) < 0)
			remove_tree(fd, de->d_name);
	if (d)
		closedir(d);
	(void)unlinkat(parent, name, AT_REMOVEDIR);
}

void scratch_drop(const char *name)
{
	remove_tree(AT_FDCWD, name);
}

void scratch_remove(void)
{
	if (getpid() != owner)
		return;
	while (n_scratches > 0) {
		remove_tree(AT_FDCWD, scratches[--n_scratches]);
		free(scratches[n_scratches]);
	}
}

static const char *scratch_made(char *template)
{
	if (!owner) {
		owner = getpid();
		atexit(scratch_remove);
	}
	if (n_scratches == SCRATCH_MAX)
		scratch_remove();
	return mkdtemp(template) == NULL ? NULL : (scratches[n_scratches++] = xstrdup(template));
}

const char *scratch_on_disk(void)
{
	char template[] = "/tmp/test-store-XXXXXX";
	const char *const made = scratch_made(template);

	if (!made)
		exit(99);
	return made;
}

const char *scratch_new(void)
{
	/* Memory where there is some: the tests make thousands of folders, and power cuts are not simulated here. */
	char template[] = "/dev/shm/test-store-XXXXXX";
	const char *const made = scratch_made(template);

	return made ? made : scratch_on_disk();
}

char *scratch_path(const char *dir, const char *rest)
{
	static char path[4][1024];
	static unsigned turn;
	char *const p = path[turn++ % 4];

	snprintf(p, sizeof(path[0]), "%s/%s", dir, rest);
	return p;
}

const char *put_new(const char *root, const char *folder, const char *text)
{
	static char name[256];
	struct maildir_copy *c;
	struct err e = { 0 };
	int rootfd, fd;

	if (maildir_open(root, true, &rootfd, &e) < 0 || maildir_open_at(rootfd, folder, true, &fd, &e) < 0 ||
	    maildir_copy_begin(fd, "", &c, &e) < 0 || maildir_copy_write(c, str_c(text), &e) < 0 || maildir_copy_sync(c, &e) < 0) {
		tap_diag("put_new: %s", e.text);
		exit(98);
	}
	snprintf(name, sizeof(name), "%s", maildir_copy_name(c));
	if (maildir_copy_commit(&c, NULL, &e) < 0)
		exit(98);
	close(fd);
	close(rootfd);
	return name;
}

void put_file(const char *root, const char *rel, const char *text)
{
	const int fd = open(scratch_path(root, rel), O_WRONLY | O_CREAT | O_TRUNC, 0600);

	if (fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text))
		exit(97);
	close(fd);
}

size_t count_files(const char *root, const char *rel)
{
	DIR *const d = opendir(scratch_path(root, rel));
	size_t n = 0;

	for (struct dirent *de; d && (de = readdir(d)) != NULL;)
		n += de->d_name[0] != '.';
	if (d)
		closedir(d);
	return n;
}

struct store *must_open(const char *root)
{
	struct err e = { 0 };
	struct store *s;

	if (store_open(root, true, &s, &e) < 0) {
		tap_diag("store_open: %s", e.text);
		exit(96);
	}
	return s;
}

struct mbox *must_mbox(struct store *s, const char *name)
{
	struct err e = { 0 };
	struct mbox *m;

	if (mbox_open(s, str_c(name), &m, &e) < 0) {
		tap_diag("mbox_open: %s", e.text);
		exit(95);
	}
	return m;
}

uint32_t append_one(struct mbox *m, unsigned flags, const char *keyword, const char *text)
{
	const struct str kw = str_c(keyword);
	struct mbox_append *ap;
	struct err e = { 0 };
	uint32_t uid = 0;
	size_t n;

	if (mbox_append_begin(m, &ap, &e) < 0)
		return 0;
	if (mbox_append_message(ap, flags, &kw, keyword ? 1 : 0, 1000000000, &e) < 0 || mbox_append_data(ap, str_c(text), &e) < 0) {
		mbox_append_abort(&ap);
		return 0;
	}
	if (mbox_append_commit(&ap, &uid, &n, &e) < 0) {
		tap_diag("append: %s", e.text);
		return 0;
	}
	return uid;
}

void refresh_sync(struct mbox *m, struct mbox_view *v)
{
	struct err e = { 0 };

	if (mbox_refresh(m, &e) < 0 || mbox_view_sync(v, true, NULL, NULL, &e) < 0)
		tap_diag("refresh: %s", e.text);
}

const char *describe(struct mbox_view *v)
{
	static char out[8192];
	struct mbox_msg msg;
	struct err e = { 0 };
	size_t n = 0, n_kw;
	const char *const *const kw = mbox_keywords(v->m, &n_kw);

	out[0] = '\0';
	for (uint32_t seq = 1; seq <= mbox_view_count(v) && n < sizeof(out) - 400; seq++) {
		if (mbox_msg_get(v, seq, &msg, &e) < 0) {
			n += (size_t)snprintf(out + n, sizeof(out) - n, "%s%u=?", n ? " " : "", seq);
			continue;
		}
		n += (size_t)snprintf(out + n, sizeof(out) - n, "%s%u:%x", n ? " " : "", msg.uid, msg.flags & ~(unsigned)MBOX_RECENT);
		for (size_t i = 0; i < n_kw; i++)
			if (msg.keywords[i / 64] >> (i % 64) & 1)
				n += (size_t)snprintf(out + n, sizeof(out) - n, ",%s", kw[i]);
	}
	return out;
}

char *read_message(struct mbox_view *v, uint32_t seq)
{
	static char out[65536];
	struct err e = { 0 };
	ssize_t n;
	int fd;

	if (mbox_msg_open(v, seq, &fd, &e) < 0)
		return NULL;
	n = read(fd, out, sizeof(out) - 1);
	close(fd);
	out[n < 0 ? 0 : n] = '\0';
	return out;
}

int store_flags(struct mbox_view *v, uint32_t seq, enum mbox_flag_op op, unsigned flags, const char *kw)
{
	const struct str k = str_c(kw);
	struct err e = { 0 };

	return mbox_store_flags(v, &seq, 1, op, flags, &k, kw ? 1 : 0, 0, NULL, NULL, &e);
}
