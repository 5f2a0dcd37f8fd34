/* See trainqueue.h. */
#include "store/trainqueue.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/num.h"
#include "os/os.h"

enum { HEX = 16, LOOK_MAX = 4000 };	/* LOOK_MAX: names that are looked at, whoever made them */

void train_name_format(const struct train_entry *t, char out[TRAIN_NAME_SIZE])
{
	(void)snprintf(out, TRAIN_NAME_SIZE, "%016llx.%016llx.%s", (unsigned long long)t->stamp, (unsigned long long)t->inode, t->spam ? "spam" : "ham");
}

static bool hex_parse(const char *p, uint64_t *out)
{
	uint64_t v = 0;

	for (size_t i = 0; i < HEX; i++) {
		if (!ch_digit(p[i]) && !(p[i] >= 'a' && p[i] <= 'f'))
			return false;
		v = v << 4 | (uint64_t)(ch_digit(p[i]) ? p[i] - '0' : p[i] - 'a' + 10);
	}
	*out = v;
	return true;
}

bool train_name_parse(const char *name, struct train_entry *out)
{
	const size_t n = strlen(name);
	uint64_t stamp, inode;

	if (n < 2 * HEX + 2 || name[HEX] != '.' || name[2 * HEX + 1] != '.' || !hex_parse(name, &stamp) || !hex_parse(name + HEX + 1, &inode))
		return false;
	const char *const as = name + 2 * HEX + 2;
	if (strcmp(as, "spam") != 0 && strcmp(as, "ham") != 0)
		return false;
	out->stamp = stamp;
	out->inode = inode;
	out->spam = as[0] == 's';
	return true;
}

int train_queue_open(int rootfd, bool make, struct err *e)
{
	if (make && mkdirat(rootfd, TRAIN_DIR, 0700) < 0 && errno != EEXIST)
		return err_set(e, errno == ENOSPC || errno == EDQUOT ? ERR_QUOTA : ERR_TEMP, errno, TRAIN_DIR);
	const int fd = openat(rootfd, TRAIN_DIR, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return fd < 0 ? err_set(e, errno == ENOENT ? ERR_NOENT : ERR_TEMP, errno, TRAIN_DIR) : fd;
}

/* Every entry, in the directory's order. fn: 0 go on. */
static int each(int dirfd, int (*fn)(void *ctx, int dirfd, const char *name, const struct train_entry *t), void *ctx, struct err *e)
{
	const int own = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *const d = own < 0 ? NULL : fdopendir(own);
	size_t looked = 0;

	if (d == NULL) {
		if (own >= 0)
			close(own);
		return err_set(e, ERR_TEMP, errno, TRAIN_DIR);
	}
	for (struct dirent *f; looked < LOOK_MAX && (f = readdir(d)) != NULL; looked++) {
		struct train_entry t = { 0 };
		if (train_name_parse(f->d_name, &t) && fn(ctx, dirfd, f->d_name, &t) != 0)
			break;
	}
	closedir(d);
	return 0;
}

struct reading {
	struct train_entry *v;
	size_t n, max;
};

static int take(void *ctx, int dirfd, const char *name, const struct train_entry *t)
{
	struct reading *const r = ctx;
	struct stat st;

	r->v[r->n] = *t;
	r->v[r->n++].bytes = fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && st.st_size > 0 ? (uint64_t)st.st_size : 0;
	return r->n == r->max;
}

static int by_stamp(const void *pa, const void *pb)
{
	const struct train_entry *const a = pa, *const b = pb;

	return a->stamp < b->stamp ? -1 : a->stamp > b->stamp;
}

int train_queue_read(int dirfd, struct train_entry *out, size_t max, size_t *n_out, struct err *e)
{
	struct reading r = { .v = out, .max = max };

	*n_out = 0;
	if (max == 0)
		return 0;
	if (each(dirfd, take, &r, e) < 0)
		return -1;
	qsort(out, r.n, sizeof(*out), by_stamp);
	*n_out = r.n;
	return 0;
}

static int drop(void *ctx, int dirfd, const char *name, const struct train_entry *t)
{
	const uint64_t *const upto = ctx;

	if (t->stamp <= *upto)
		(void)unlinkat(dirfd, name, 0);
	return 0;
}

int train_queue_drop(int dirfd, uint64_t upto, struct err *e)
{
	return each(dirfd, drop, &upto, e);
}
