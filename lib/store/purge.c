/* Files of deleted folders. A deleted folder's directory has a name that nobody lists ("..postern.gone.<random>", tree.c); here it is emptied, a piece at a
 * time. Between two pieces the walk stays where it is, since to look again for the first file left would take longer with each piece.
 *
 * What a crash leaves is found when the tree is opened. Several processes may be at it at once. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <unistd.h>

#include "os/crew.h"
#include "os/os.h"
#include "store/store_priv.h"

enum {
	LEVELS = 5,	/* the tree's root, the folder, cur; others may have put something deeper, which stays */
	LARGE = 8192,	/* files: what the kernel remembers of their names goes with their directory, which takes a millisecond for a thousand */
	WAIT_MS = 1,
	WAITS_MAX = 500,
};

struct level {
	DIR *d;
	unsigned unlinked;
	char name[FILE_NAME_MAX + 1];	/* in the level above */
};
struct removal {
	int at;
	char name[FILE_NAME_MAX + 1];
};
struct purge {
	struct level v[LEVELS];
	size_t n;
	struct removal removal;		/* of a large directory, which a thread does */
	struct crew_batch work;
	unsigned waits;
	bool running;
};

/* Go into a directory; links are not followed. False: it cannot be. */
static bool enter(struct purge *p, int at, const char *name)
{
	const size_t len = strlen(name);

	if (p->n == LEVELS || len > FILE_NAME_MAX)
		return false;
	int fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	DIR *const d = fd < 0 ? NULL : fdopendir(fd);
	if (d == NULL) {
		close_fd(&fd);
		return false;
	}
	struct level *const l = &p->v[p->n++];
	l->d = d;
	l->unlinked = 0;
	memcpy(l->name, name, len + 1);
	return true;
}

/* A crew_fn. */
static void remove_directory(void *removal, unsigned hand)
{
	const struct removal *const r = removal;

	(void)hand;
	(void)unlinkat(r->at, r->name, AT_REMOVEDIR);
}

/* All of the innermost directory was read. */
static void leave(struct purge *p, struct crew *crew)
{
	const struct level *const l = &p->v[--p->n];

	closedir(l->d);
	if (p->n == 0)
		return;
	p->removal.at = dirfd(p->v[p->n - 1].d);
	memcpy(p->removal.name, l->name, sizeof(l->name));
	p->waits = 0;
	p->running = l->unlinked >= LARGE && crew_size(crew) > 1;
	p->work = (struct crew_batch){ .fn = remove_directory, .items = &p->removal, .size = sizeof(p->removal), .n = 1 };
	if (p->running)
		crew_begin(crew, &p->work);
	else
		remove_directory(&p->removal, 0);
}

static bool is_gone(const char *name)
{
	return str_starts(str_c(name), STR(GONE_PREFIX));
}

/* The next entry of the innermost directory. */
static void step(struct purge *p, struct crew *crew, unsigned *left)
{
	DIR *const d = p->v[p->n - 1].d;
	const struct dirent *const de = readdir(d);

	if (de == NULL) {
		leave(p, crew);
	} else if (p->n == 1) {
		if (is_gone(de->d_name))
			(void)enter(p, dirfd(d), de->d_name);
	} else if (strcmp(de->d_name, ".") != 0 && strcmp(de->d_name, "..") != 0) {
		--*left;
		p->v[p->n - 1].unlinked++;
		if (unlinkat(dirfd(d), de->d_name, 0) < 0 && (errno == EISDIR || errno == EPERM))
			(void)enter(p, dirfd(d), de->d_name);
	}
}

void purge_end(struct store *s)
{
	if (s->purge && s->purge->running)
		crew_finish(s->crew, &s->purge->work);
	while (s->purge && s->purge->n > 0)
		closedir(s->purge->v[--s->purge->n].d);
	free(s->purge);
	s->purge = NULL;
}

/* Is the large directory removed? Where no thread begins, as where none can be made, it is done here at last. */
static bool removed(struct store *s, bool now)
{
	struct purge *const p = s->purge;

	if (!now && p->waits++ == WAITS_MAX)
		(void)crew_help(s->crew, &p->work);
	if (!now && !crew_wait(s->crew, &p->work, WAIT_MS))
		return false;
	crew_finish(s->crew, &p->work);
	p->running = false;
	return true;
}

bool store_purge(struct store *s, unsigned max)
{
	unsigned left = max;

	while (left > 0) {
		if (s->purge == NULL) {
			if (!s->gone_left)
				return false;
			s->gone_left = false;	/* what is deleted from here on is for the next walk */
			s->purge = xzalloc(sizeof(*s->purge));
			if (!enter(s->purge, s->rootfd, ".")) {
				purge_end(s);
				return false;
			}
		}
		if (s->purge->running && !removed(s, max == UINT_MAX))
			return true;
		while (left > 0 && s->purge->n > 0 && !s->purge->running)
			step(s->purge, store_crew(s), &left);
		if (s->purge->running)
			continue;
		if (s->purge->n == 0)
			purge_end(s);
	}
	return s->purge != NULL || s->gone_left;
}

bool store_purge_due(const struct store *s)
{
	return s->gone_left;
}
