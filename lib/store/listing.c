/* Listings of cur/ and new/, at first sight of hundreds of thousands of files: the kernel's own records are kept, each name is taken apart once and where it lies, and
 * what is sorted are numbers (listing_order.c).
 *
 * To list a large directory is mostly the kernel's work. Where the file system lets several read it at once, each from a place of its own (os.h: dir_positions), they do, in
 * parts of some thousand files. Elsewhere the kernel tells names one piece after another, on one thread; the others take apart the piece before meanwhile (os/crew.h). */
#include "store/listing.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "os/os.h"
#include "store/store_priv.h"

enum {
	PIECE_FIRST = 32 * 1024,	/* bytes of the first piece: as much as most directories have */
	PIECE_BYTES = 256 * 1024,
	READ_BYTES = 32 * 1024,		/* asked for at once in a part that ends somewhere: what is read beyond its end is read in vain */
	PART_BYTES = 512 * 1024,	/* of a directory, for a part of it: three milliseconds */
	MORE_BYTES = 64 * 1024,		/* where its records are longer than that */
	PART_ROOM = 1152 * 1024,	/* for all of a part, in most directories: records take as much as the directory, entries and keys as much again */
	PARTS_MIN = 4,			/* fewer are not worth it */
	PARTS_MAX = 1024,
	WAIT_MS = 1,
};

/* Records of the directory as the kernel tells them: struct dirent64 after struct dirent64. */
struct block {
	struct block *after;
	size_t n, cap;
	_Alignas(struct dirent64) char bytes[];
};

struct more {
	struct more *after;
	_Alignas(max_align_t) char bytes[];
};

/* What follows upon another in the directory. One thread's at a time. */
struct listing_part {
	char *room;		/* what follows lies there, while there is some; the listing's */
	size_t room_n;		/* bytes left */
	struct more *more;	/* and there, when there is none */
	int dirfd;
	uint64_t from, to;	/* positions in the directory, where parts are shared out */
	struct block *blocks, **end;
	bool lone;		/* it ended behind its first record */
	int sys;		/* an errno: it could not be read */
	struct entry *v;
	struct radix_item *keys;	/* entry_key() and entry */
	size_t n, name_bytes;
	struct crew_batch work;
};

static struct listing_part *part_new(int dirfd)
{
	struct listing_part *const p = xzalloc(sizeof(*p));

	p->dirfd = dirfd;
	p->end = &p->blocks;
	return p;
}

static void part_free(struct listing_part *p)
{
	while (p->more) {
		struct more *const m = p->more;
		p->more = m->after;
		free(m);
	}
	free(p);
}

/* Not zeroed. */
static void *part_alloc(struct listing_part *p, size_t n)
{
	const size_t need = (n + _Alignof(max_align_t) - 1) & ~(_Alignof(max_align_t) - 1);

	if (need <= p->room_n) {
		char *const at = p->room;
		p->room += need;
		p->room_n -= need;
		return at;
	}
	struct more *const m = xmalloc(sizeof(*m) + n);
	m->after = p->more;
	p->more = m;
	return m->bytes;
}

/* --- names; on any thread --- */

static bool is_plain(int dirfd, const struct dirent64 *de)
{
	struct stat st;

	if (de->d_type != DT_UNKNOWN)
		return de->d_type == DT_REG;
	return fstatat(dirfd, de->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode);
}

void entry_parse(struct entry *en)
{
	struct maildir_name n;

	maildir_name_parse(str_c(en->name), &n);
	en->told = n.size;
	en->told_crlf = n.size_crlf;
	en->secs = n.secs;
	en->usecs = n.usecs;
	en->base_n = (uint8_t)n.base.n;
	en->info_n = (uint8_t)n.info.n;
	en->id_n = (uint8_t)n.id.n;
	en->disk = disk_of_info(n.info, &en->odd);
	if (n.info.p == NULL)
		en->disk |= DISK_NOINFO;
}

static void add(struct listing_part *p, char *name)
{
	struct entry *const en = &p->v[p->n];

	*en = (struct entry){ .name = name };
	entry_parse(en);
	p->name_bytes += (size_t)en->base_n + (en->odd ? (size_t)en->info_n : 0);
	p->keys[p->n++] = (struct radix_item){ .key = entry_key(en), .value = (uintptr_t)en };
}

static size_t records(const struct listing_part *p)
{
	size_t n = 0;

	for (const struct block *b = p->blocks; b; b = b->after)
		for (size_t at = 0; at < b->n; at += ((const struct dirent64 *)(const void *)(b->bytes + at))->d_reclen)
			n++;
	return n;
}

/* Some file systems have longer names than a Maildir's may be, and than an entry has room for: files of such names are no messages. */
static bool fits(const char *name)
{
	return strnlen(name, FILE_NAME_MAX + 1) <= FILE_NAME_MAX;
}

/* A crew_fn: touches nothing but the part. */
static void take_apart(void *part, unsigned hand)
{
	struct listing_part *const p = part;
	const size_t n = records(p);

	(void)hand;
	p->v = part_alloc(p, n * sizeof(*p->v));
	p->keys = part_alloc(p, n * sizeof(*p->keys));
	for (struct block *b = p->blocks; b; b = b->after) {
		for (size_t at = 0; at < b->n;) {
			struct dirent64 *const de = (void *)(b->bytes + at);
			at += de->d_reclen;
			if (de->d_name[0] != '.' && fits(de->d_name) && is_plain(p->dirfd, de))
				add(p, de->d_name);
		}
	}
}

/* --- records --- */

static struct block *block_add(struct listing_part *p, size_t bytes)
{
	struct block *const b = part_alloc(p, sizeof(*b) + bytes);

	*b = (struct block){ .cap = bytes };
	*p->end = b;
	p->end = &b->after;
	return b;
}

/* The next records, at most so many bytes of them. 0: none are left, or p->sys says why. */
static size_t block_read(struct listing_part *p, int fd, struct block *b, size_t bytes)
{
	const ssize_t n = getdents64(fd, b->bytes + b->n, bytes);

	if (n < 0)
		p->sys = errno;
	return n > 0 ? (size_t)n : 0;
}

/* How many of the n bytes behind b->n are records of the part; *pos_io: the position of the first, then of the next. A record says where the next one is. */
static size_t within(const struct listing_part *p, const struct block *b, size_t n, uint64_t *pos_io)
{
	size_t at = 0;

	while (at < n && *pos_io < p->to) {
		const struct dirent64 *const de = (const void *)(b->bytes + b->n + at);
		at += de->d_reclen;
		*pos_io = (uint64_t)de->d_off;
	}
	return at;
}

/* A crew_fn. Where there is no such position the directory is not of the kind that has them: all of it is the first part's. Where the first record lies nobody says; it may lie
 * in a later part if this one is empty, as in a directory that was larger once (drop_strays). */
static void read_part(void *part, unsigned hand)
{
	struct listing_part *const p = *(struct listing_part **)part;
	CLEANUP_FD int fd = openat(p->dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	uint64_t pos = p->from;
	size_t n;

	if (fd < 0)
		p->sys = errno;
	if (fd < 0 || (pos > 0 && lseek(fd, (off_t)pos, SEEK_SET) < 0))
		return;
	struct block *b = block_add(p, PART_BYTES);
	while (pos < p->to) {
		if (b->cap - b->n < READ_BYTES)
			b = block_add(p, MORE_BYTES);
		if ((n = block_read(p, fd, b, READ_BYTES)) == 0)
			break;
		b->n += within(p, b, n, &pos);
	}
	p->lone = pos >= p->to && records(p) == 1;
	take_apart(p, hand);
}

/* --- listing --- */

static void parts_add(struct listing *l, struct listing_part *p)
{
	if (l->n_parts == l->cap_parts) {
		l->cap_parts = l->cap_parts * 2 + 16;
		l->parts = xrealloc(l->parts, l->cap_parts * sizeof(*l->parts));
	}
	l->parts[l->n_parts++] = p;
}

static void share_out(struct listing *l, uint64_t positions, uint64_t n)
{
	const uint64_t each = (positions >> 32) / n << 32;	/* no hash in two parts */

	l->room = xmalloc((size_t)n * PART_ROOM);
	memory_large(l->room, (size_t)n * PART_ROOM);
	for (uint64_t i = 0; i < n; i++) {
		struct listing_part *const p = part_new(l->fd);
		p->room = l->room + i * PART_ROOM;
		p->room_n = PART_ROOM;
		p->from = i * each;
		p->to = i + 1 < n ? p->from + each : UINT64_MAX;
		parts_add(l, p);
	}
	l->shared = true;
	l->work = (struct crew_batch){ .fn = read_part, .items = l->parts, .size = sizeof(*l->parts), .n = l->n_parts };
	crew_begin(l->crew, &l->work);
}

int listing_begin(struct listing *l, int dirfd, size_t max, struct crew *crew, struct err *e)
{
	struct stat st;

	*l = (struct listing){ .a = arena_new(0), .fd = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), .max = max, .crew = max == SIZE_MAX ? crew : NULL };
	if (l->fd < 0 || fstat(l->fd, &st) < 0)
		return err_set(e, ERR_TEMP, errno, "cannot list the folder");
	const uint64_t positions = l->crew && crew_size(l->crew) > 1 ? dir_positions(l->fd) : 0;
	const uint64_t n = (uint64_t)st.st_size / PART_BYTES;

	if (positions > 0 && n >= PARTS_MIN)
		share_out(l, positions, n < PARTS_MAX ? n : PARTS_MAX);
	return 0;
}

/* One piece more; the others take it apart, but the first: most directories have no second one. 1: there was one. */
static int piece(struct listing *l, struct err *e)
{
	struct listing_part *const p = part_new(l->fd);
	const size_t bytes = l->n_parts > 0 ? PIECE_BYTES : PIECE_FIRST;
	struct block *const b = block_add(p, bytes);

	b->n = block_read(p, l->fd, b, bytes);
	if (b->n == 0) {
		const int sys = p->sys;
		part_free(p);
		return sys ? err_set(e, ERR_TEMP, sys, "cannot list the folder") : 0;
	}
	parts_add(l, p);
	if (l->crew && l->n_parts > 1) {
		p->work = (struct crew_batch){ .fn = take_apart, .items = p, .size = sizeof(*p), .n = 1 };
		crew_begin(l->crew, &p->work);
	} else {
		take_apart(p, 0);
		l->n += p->n;
	}
	return l->n <= l->max;
}

/* Parts that were begun come to their end, one at a time. */
static bool join_one(struct listing *l)
{
	if (l->joined == 0)
		l->joined = 1;	/* nobody helped with the first */
	if (!l->crew || l->joined >= l->n_parts)
		return false;
	crew_finish(l->crew, &l->parts[l->joined++]->work);
	return true;
}

/* Nobody works on it any more. */
static void join(struct listing *l)
{
	if (l->crew && l->shared)
		crew_finish(l->crew, &l->work);
	while (!l->shared && join_one(l))
		;
	l->crew = NULL;
}

/* 1: more is left. A thread that is not let on its processor is not waited for: there is more to do than to look at this directory. */
static int read_some(struct listing *l, struct err *e)
{
	if (l->shared)
		return crew_help(l->crew, &l->work) || !crew_wait(l->crew, &l->work, WAIT_MS);
	if (!l->whole) {
		const int r = piece(l, e);
		l->whole = r == 0;
		return r < 0 ? -1 : 1;
	}
	return join_one(l);
}

static bool part_has(const struct listing_part *p, const char *name)
{
	for (size_t i = 0; i < p->n; i++)
		if (strcmp(p->v[i].name, name) == 0)
			return true;
	return false;
}

/* The only record of a part may lie in a later one: then that has it too, and those between them have nothing else. */
static void drop_strays(struct listing *l)
{
	for (size_t i = 0; i < l->n_parts; i++) {
		struct listing_part *const p = l->parts[i];
		for (size_t k = i + 1; p->lone && p->n > 0 && k < l->n_parts; k++) {
			if (part_has(l->parts[k], p->v[0].name))
				p->n = p->name_bytes = 0;
			else if (l->parts[k]->n > 1)
				break;
		}
	}
}

/* All entries in the order of the directory, at most max. */
static void gather(struct listing *l)
{
	size_t n = 0;

	for (size_t i = 0; i < l->n_parts; i++)
		n += l->parts[i]->n;
	l->v = xmalloc((n + 1) * sizeof(*l->v));
	l->keys = xmalloc((n + 1) * sizeof(*l->keys));
	l->cap = n + 1;
	l->n = 0;
	for (size_t i = 0; i < l->n_parts; i++) {
		const struct listing_part *const p = l->parts[i];
		for (size_t k = 0; k < p->n && l->n < l->max; k++) {
			l->keys[l->n] = p->keys[k];
			l->v[l->n++] = &p->v[k];
		}
		l->name_bytes += p->name_bytes;
	}
	l->more = l->n < n;
}

int listing_step(struct listing *l, struct err *e)
{
	const int more = read_some(l, e);

	if (more != 0)
		return more;
	join(l);
	close_fd(&l->fd);
	for (size_t i = 0; i < l->n_parts; i++)
		if (l->parts[i]->sys)
			return err_set(e, ERR_TEMP, l->parts[i]->sys, "cannot list the folder");
	drop_strays(l);
	gather(l);
	return 0;
}

int listing_read(struct listing *l, int dirfd, size_t max, struct crew *crew, struct err *e)
{
	int r = listing_begin(l, dirfd, max, crew, e);

	if (r == 0)
		while ((r = listing_step(l, e)) > 0)
			;
	return r;
}

void listing_fini(struct listing *l)
{
	join(l);
	listing_changed(l);
	for (size_t i = 0; i < l->n_parts; i++)
		part_free(l->parts[i]);
	free(l->parts);
	free(l->room);
	if (l->a)		/* it was begun */
		close_fd(&l->fd);
	arena_free(&l->a);
	free(l->v);
	*l = (struct listing){ .fd = -1 };
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
	if (en->told == UINT64_MAX || en->told > INT64_MAX)
		return entry_look(en, dirfd);
	en->size = en->told;
	en->mtime = DATE_UNKNOWN;
	return true;
}
