/* See learndata.h. */
#include "learndata.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "os/os.h"
#include "spam/taught.h"

enum { TRIES = 3 };

struct queue_files { char queue[1200], taken[1200]; };

static struct queue_files names_of(const char *state_dir)
{
	struct queue_files n;
	snprintf(n.queue, sizeof(n.queue), "%s/" LEARN_QUEUE_DIR "/taught", state_dir);
	snprintf(n.taken, sizeof(n.taken), "%s/" LEARN_QUEUE_DIR "/taken", state_dir);
	return n;
}

/* --- the monitor --- */

/* Open and shared; it may be taken at any time, and then is no longer the file of its name. */
static int open_shared(const char *path, struct stat *st, struct err *e)
{
	for (int i = 0; i < TRIES; i++) {
		struct stat named;
		CLEANUP_FD int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
		if (fd < 0)
			return err_set(e, ERR_TEMP, errno, "%s", path);
		if (flock(fd, LOCK_SH | LOCK_NB) < 0 || fstat(fd, st) < 0 || stat(path, &named) < 0 || named.st_ino != st->st_ino)
			continue;
		const int own = fd;
		fd = -1;
		return own;
	}
	return err_set(e, ERR_TEMP, 0, "%s is being taken", path);
}

static int append(const char *path, struct str bytes, struct err *e)
{
	struct stat st;
	CLEANUP_FD int fd = open_shared(path, &st, e);
	if (fd < 0)
		return -1;
	if ((uint64_t)st.st_size + bytes.n > LEARN_QUEUE_MAX)
		return err_set(e, ERR_LIMIT, 0, "%s is full", path);
	const ssize_t n = write(fd, bytes.p, bytes.n);
	if (n == (ssize_t)bytes.n)
		return 0;
	const int why = n < 0 ? errno : ENOSPC;
	if (n > 0 && ftruncate(fd, st.st_size) < 0)
		return err_set(e, ERR_TEMP, errno, "%s: half a record stays", path);
	return err_set(e, ERR_TEMP, why, "%s", path);
}

/* What waits here comes behind what has been learned: the last word about the message says whether t is news. */
static void last_word(const char *path, const struct taught *t, bool *news)
{
	struct err e = { 0 };
	struct taught other;
	struct str record;
	struct buf b;

	buf_init(&b, LEARN_QUEUE_MAX + 1);
	if (file_read_at(AT_FDCWD, path, LEARN_QUEUE_MAX, &b, &e) < 0 && e.code != ERR_NOENT)
		*news = true;
	for (struct str rest = buf_view(&b); taught_file_next(&rest, &record) == 0;)
		if (taught_head(record, &other, &e) == 0 && memcmp(other.digest, t->digest, BAYES_DIGEST) == 0)
			*news = !other.told || other.as != t->as;
	buf_fini(&b);
}

int learn_data_keep(const char *state_dir, struct str record, bool told, struct err *e)
{
	const struct queue_files names = names_of(state_dir);
	struct arena *a = arena_new(0);
	struct taught t;
	int k = taught_parse(a, record, &t, e);
	if (k == 0 && (t.told != told || (!told && t.as == BAYES_NONE)))
		k = err_set(e, ERR_INPUT, 0, "a worker speaks for a person");
	arena_free(&a);
	if (k < 0)
		return -1;
	bool news = !t.known;
	if (t.known) {
		last_word(names.taken, &t, &news);
		last_word(names.queue, &t, &news);
	}
	if (!news)
		return 1;
	struct buf b;
	buf_init(&b, TAUGHT_MAX + 100);
	taught_file_put(&b, record);
	k = append(names.queue, buf_view(&b), e);
	buf_fini(&b);
	return k;
}

/* --- postern-learn --- */

bool learn_data_there(const char *state_dir)
{
	const struct queue_files n = names_of(state_dir);
	struct stat st;
	return stat(n.taken, &st) == 0 || (stat(n.queue, &st) == 0 && st.st_size > 0);
}

/* Whoever still writes into it has a shared lock, for as long as one write takes. */
static int read_locked(const char *path, struct buf *out, struct err *e)
{
	char part[65536];
	ssize_t n;
	CLEANUP_FD int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0 || flock(fd, LOCK_EX) < 0)
		return err_set(e, ERR_TEMP, errno, "%s", path);
	while ((n = read(fd, part, sizeof(part))) > 0 && !buf_failed(out))
		buf_mem(out, part, (size_t)n);
	return n < 0 ? err_set(e, ERR_TEMP, errno, "%s", path) : 0;
}

int learn_data_take(const char *state_dir, struct buf *out, struct err *e)
{
	const struct queue_files n = names_of(state_dir);
	struct stat st;
	if (stat(n.taken, &st) < 0 && rename(n.queue, n.taken) < 0)
		return errno == ENOENT ? 0 : err_set(e, ERR_TEMP, errno, "%s", n.queue);
	return read_locked(n.taken, out, e);
}

int learn_data_taken(const char *state_dir, struct err *e)
{
	const struct queue_files n = names_of(state_dir);
	return unlink(n.taken) < 0 && errno != ENOENT ? err_set(e, ERR_TEMP, errno, "%s", n.taken) : 0;
}
