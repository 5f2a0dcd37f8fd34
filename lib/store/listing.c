/* Listings of cur/ and new/, at first sight of hundreds of thousands of files: entry and name lie side by side, each name is taken apart once, and what is
 * sorted are numbers. */
#include "store/listing.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/radix.h"
#include "os/os.h"
#include "store/store_priv.h"

static void add(struct listing *l, const char *name)
{
	const size_t n = strlen(name);
	struct entry *const en = arena_alloc(l->a, sizeof(*en) + n + 1);

	if (l->n == l->cap) {
		l->cap = l->cap ? l->cap * 2 : 64;
		l->v = xrealloc(l->v, l->cap * sizeof(*l->v));
	}
	l->v[l->n++] = en;
	en->name = (char *)(en + 1);
	memcpy(en->name, name, n + 1);
	maildir_name_parse(str_n(en->name, n), &en->n);
}

void listing_fini(struct listing *l)
{
	arena_free(&l->a);
	free(l->v);
}

static bool is_plain(int dirfd, const struct dirent *de)
{
	struct stat st;

	if (de->d_type != DT_UNKNOWN)
		return de->d_type == DT_REG;
	return fstatat(dirfd, de->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode);
}

int listing_read(struct listing *l, int dirfd, size_t max, struct err *e)
{
	int fd = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);

	if (d == NULL) {
		close_fd(&fd);
		return err_set(e, ERR_TEMP, errno, "cannot list the folder");
	}
	l->a = arena_new(0);
	errno = 0;
	for (struct dirent *de; (de = readdir(d)) != NULL; errno = 0) {
		if (de->d_name[0] == '.' || !is_plain(fd, de))
			continue;
		if (l->n == max) {
			l->more = true;
			break;
		}
		add(l, de->d_name);
	}
	const int sys = errno;
	closedir(d);
	return sys && !l->more ? err_set(e, ERR_TEMP, sys, "cannot list the folder") : 0;
}

bool entry_look(struct entry *en, int dirfd)
{
	struct stat st;

	if (fstatat(dirfd, en->name, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISREG(st.st_mode))
		return false;
	en->size = (uint64_t)st.st_size;
	en->mtime = st.st_mtime > 0 ? st.st_mtime : 0;
	return true;
}

bool entry_believe(struct entry *en, int dirfd)
{
	if (en->n.size == UINT64_MAX || en->n.size > INT64_MAX)
		return entry_look(en, dirfd);
	en->size = en->n.size;
	en->mtime = DATE_UNKNOWN;
	return true;
}

/* --- order --- */

enum { SECS_BITS = 43, USECS_BITS = 20 };	/* of a key; later years than 280,000 share one */

/* Known UIDs below all others. */
static uint64_t key_of(const struct entry *en)
{
	const uint64_t secs_max = (UINT64_C(1) << SECS_BITS) - 1, secs = (uint64_t)en->n.secs;

	if (en->uid)
		return en->uid;
	return UINT64_C(1) << 63 | (secs < secs_max ? secs << USECS_BITS | en->n.usecs : secs_max << USECS_BITS);
}

static int entry_cmp(const void *pa, const void *pb)
{
	const struct entry *const a = *(struct entry *const *)pa, *const b = *(struct entry *const *)pb;

	if (a->n.secs != b->n.secs)
		return a->n.secs < b->n.secs ? -1 : 1;
	if (a->n.usecs != b->n.usecs)
		return a->n.usecs < b->n.usecs ? -1 : 1;
	return str_cmp(a->n.base, b->n.base);
}

static bool is_sorted(const struct listing *l)
{
	for (size_t i = 1; i < l->n; i++) {
		const uint64_t before = key_of(l->v[i - 1]), key = key_of(l->v[i]);
		if (before > key || (before == key && entry_cmp(&l->v[i - 1], &l->v[i]) > 0))
			return false;
	}
	return true;
}

void listing_sort(struct listing *l)
{
	if (is_sorted(l))	/* once more, when no UIDs were known */
		return;
	struct radix_item *const k = xmalloc((l->n + 1) * sizeof(*k));
	struct entry **const by_key = xmalloc((l->n + 1) * sizeof(*by_key));

	for (size_t i = 0; i < l->n; i++)
		k[i] = (struct radix_item){ .key = key_of(l->v[i]), .value = i };
	radix_sort(k, l->n);
	for (size_t i = 0; i < l->n; i++)
		by_key[i] = l->v[k[i].value];
	for (size_t i = 0, end; i < l->n; i = end) {
		for (end = i + 1; end < l->n && k[end].key == k[i].key; end++)
			;
		if (end - i > 1)
			qsort(by_key + i, end - i, sizeof(*by_key), entry_cmp);
	}
	free(l->v);
	l->v = by_key;
	l->cap = l->n + 1;
	free(k);
}
