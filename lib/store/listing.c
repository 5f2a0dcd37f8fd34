/* Listings of cur/ and new/, at first sight of hundreds of thousands of files: the kernel's own records are kept, each name is taken apart once and where it lies, and
 * what is sorted are numbers. The kernel tells names one piece after another, on one thread; the others take apart the piece before meanwhile (os/crew.h). */
#include "store/listing.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/radix.h"
#include "os/os.h"
#include "store/store_priv.h"

enum {
	PIECE_FIRST = 32 * 1024,	/* bytes of the first piece: as much as most directories have */
	PIECE_BYTES = 256 * 1024,
};

/* Records of the directory, and what was made of them. */
struct listing_piece {
	struct listing_piece *after;
	struct crew_batch work;
	int dirfd;
	char *records;		/* struct dirent64 after struct dirent64 */
	size_t bytes;
	struct arena *a;
	struct entry **v;
	size_t n, cap;
};

static bool is_plain(int dirfd, const struct dirent64 *de)
{
	struct stat st;

	if (de->d_type != DT_UNKNOWN)
		return de->d_type == DT_REG;
	return fstatat(dirfd, de->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode);
}

static void add(struct listing_piece *p, char *name)
{
	struct entry *const en = arena_alloc(p->a, sizeof(*en));

	if (p->n == p->cap) {
		p->cap = p->cap ? p->cap * 2 : 64;
		p->v = xrealloc(p->v, p->cap * sizeof(*p->v));
	}
	p->v[p->n++] = en;
	en->name = name;
	maildir_name_parse(str_c(name), &en->n);
}

/* A crew_fn: touches nothing but the piece. */
static void take_apart(void *piece, unsigned hand)
{
	struct listing_piece *const p = piece;

	(void)hand;
	for (size_t at = 0; at < p->bytes;) {
		struct dirent64 *const de = (void *)(p->records + at);
		at += de->d_reclen;
		if (de->d_name[0] != '.' && is_plain(p->dirfd, de))
			add(p, de->d_name);
	}
}

static void piece_free(struct listing_piece *p)
{
	arena_free(&p->a);
	free(p->v);
	free(p->records);
	free(p);
}

void listing_fini(struct listing *l)
{
	while (l->pieces) {
		struct listing_piece *const p = l->pieces;
		l->pieces = p->after;
		piece_free(p);
	}
	arena_free(&l->a);
	free(l->v);
}

/* The next records. NULL: none are left, or *sys is an errno. */
static struct listing_piece *piece_read(int dirfd, size_t bytes, int *sys)
{
	struct listing_piece *const p = xzalloc(sizeof(*p));

	*p = (struct listing_piece){ .dirfd = dirfd, .records = xmalloc(bytes) };
	const ssize_t n = getdents64(dirfd, p->records, bytes);
	*sys = n < 0 ? errno : 0;
	if (n <= 0) {
		piece_free(p);
		return NULL;
	}
	p->bytes = (size_t)n;
	p->a = arena_new(0);
	p->work = (struct crew_batch){ .fn = take_apart, .items = p, .size = sizeof(*p), .n = 1 };
	return p;
}

/* All entries in the order of the directory, at most max. */
static void gather(struct listing *l, size_t max)
{
	size_t n = 0;

	for (const struct listing_piece *p = l->pieces; p; p = p->after)
		n += p->n;
	l->v = xmalloc((n + 1) * sizeof(*l->v));
	l->cap = n + 1;
	for (const struct listing_piece *p = l->pieces; p; p = p->after) {
		for (size_t i = 0; i < p->n && l->n < max; i++)
			l->v[l->n++] = p->v[i];
	}
	l->more = l->n < n;
}

int listing_read(struct listing *l, int dirfd, size_t max, struct crew *crew, struct err *e)
{
	CLEANUP_FD int fd = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct listing_piece *p, **end = &l->pieces;
	size_t seen = 0;
	int sys = 0;

	if (fd < 0)
		return err_set(e, ERR_TEMP, errno, "cannot list the folder");
	l->a = arena_new(0);
	while (seen <= max && (p = piece_read(fd, l->pieces ? PIECE_BYTES : PIECE_FIRST, &sys)) != NULL) {
		if (crew && max == SIZE_MAX && l->pieces)
			crew_begin(crew, &p->work);
		else
			take_apart(p, 0);
		seen += max == SIZE_MAX ? 0 : p->n;
		*end = p;
		end = &p->after;
	}
	for (p = crew && max == SIZE_MAX && l->pieces ? l->pieces->after : NULL; p; p = p->after)
		crew_finish(crew, &p->work);
	if (sys)
		return err_set(e, ERR_TEMP, sys, "cannot list the folder");
	gather(l, max);
	return 0;
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
