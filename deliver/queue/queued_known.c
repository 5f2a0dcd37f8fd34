/* Answers of resolve that are remembered for a moment: mail comes to the same mailboxes again and again, and each question wakes two processes. Only the plainest
 * answer is kept, one mailbox. The directories of all tables are watched (inotify, opened by root before this process confines itself; it tells names of files that
 * change, and gives nothing of them): whatever happens there, everything is forgotten, before the next answer is given. So who replaces a table and then sends mail
 * gets the new table's answer. What no watch sees (another host's writes to a network file system) is bounded by KNOWN_MS.
 */
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "base/clock.h"
#include "deliver/queue/queued.h"
#include "log/log.h"
#include "os/os.h"

enum {
	KNOWN_MAX = 1000,
	KNOWN_MS = 2000,
	EVENTS = IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_MODIFY | IN_CLOSE_WRITE | IN_ATTRIB | IN_DELETE_SELF | IN_MOVE_SELF,
};

struct known {
	unsigned refs;		/* the map's, and of each ask that waits to be told */
	uint64_t until_ms;
	struct arena *arena;
	const struct ipc_resolve_RESULT *result;
};

struct knowns {
	int events;		/* -1: something cannot be watched, and nothing is remembered */
	uint64_t generation;	/* counts what has happened */
	struct map *answers;	/* address -> struct known */
};

/* --- watching --- */

static void watch_directory(struct knowns *k, const char *file)
{
	const ptrdiff_t slash = str_rchr(str_c(file), '/');
	char *dir = xstrndup(file, slash > 0 ? (size_t)slash : 1);

	if (k->events >= 0 && inotify_add_watch(k->events, dir, EVENTS | IN_ONLYDIR) < 0) {
		log_debug("%s cannot be watched: answers of resolve are not remembered", dir);
		close_fd(&k->events);
	}
	free(dir);
}

void known_watch(struct queued *q, const char *file)
{
	struct knowns *k = q->known;

	if (k == NULL) {
		k = q->known = xzalloc(sizeof(*k));
		k->events = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
		k->answers = map_new();
	}
	char *real = realpath(file, NULL);
	watch_directory(k, file);
	if (real)		/* behind a symbolic link */
		watch_directory(k, real);
	free(real);
}

/* --- remembering --- */

void known_drop(struct known **kp)
{
	struct known *k = *kp;

	*kp = NULL;
	if (k == NULL || --k->refs > 0)
		return;
	arena_free(&k->arena);
	free(k);
}

void known_forget(struct queued *q)
{
	struct knowns *k = q->known;
	size_t it = 0;
	struct str key;
	void *v;

	if (k == NULL)
		return;
	k->generation++;
	while (map_next(k->answers, &it, &key, &v)) {
		struct known *one = v;
		known_drop(&one);
	}
	map_free(&k->answers);
	k->answers = map_new();
}

/* Has anything happened since the last time? */
static bool changed(struct knowns *k)
{
	char room[sizeof(struct inotify_event) + NAME_MAX + 1];
	bool any = false;

	while (read(k->events, room, sizeof(room)) > 0)
		any = true;
	return any;
}

struct known *known_get(struct queued *q, struct str address, uint64_t *generation_out)
{
	struct knowns *k = q->known;

	*generation_out = 0;
	if (k == NULL || k->events < 0)
		return NULL;
	if (changed(k))
		known_forget(q);
	*generation_out = k->generation;
	struct known *one = map_get(k->answers, address);
	if (one == NULL || one->until_ms < clock_mono_ms())
		return NULL;
	one->refs++;
	return one;
}

const struct ipc_resolve_RESULT *known_result(const struct known *k)
{
	return k->result;
}

static bool is_plain(const struct ipc_resolve_RESULT *r)
{
	return r->code == 0 && r->kinds.n == 1 && str_eq(r->kinds.v[0], STR("mailbox")) && (str_eq(r->class, STR("local")) || str_eq(r->class, STR("virtual")));
}

void known_put(struct queued *q, struct str address, uint64_t generation, const struct ipc_resolve_RESULT *r)
{
	struct knowns *k = q->known;

	if (k == NULL || k->events < 0 || generation != k->generation || !is_plain(r))
		return;
	if (map_count(k->answers) >= KNOWN_MAX)
		known_forget(q);
	struct known *one = xzalloc(sizeof(*one));
	*one = (struct known){ .refs = 1, .until_ms = clock_mono_ms() + KNOWN_MS, .arena = arena_new(0) };
	one->result = ipc_copy(&ipc_resolve, IPC_resolve_RESULT, r, one->arena);
	if (one->result)
		one = map_set(k->answers, address, one);
	known_drop(&one);
}
