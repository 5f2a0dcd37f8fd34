/* Up to which time of cur its files are accounted for (sync.c says how), and our own changes there, which are not taken for foreign ones.
 *
 * The accounted-for time is kept in postern.sync for the next process (64 bytes, checksummed, disposable):
 *   0 "PSTNSYN1"   8 cur time, seconds:64   16 nanoseconds:32   20 first UID that was never recent:32   24 mailbox id[16]
 *   40 journal generation:64   48 journal length:64 (a shorter one has lost something)   56 zero:32   60 crc32c */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/num.h"
#include "os/os.h"
#include "store/sync_priv.h"

enum {
	RECORD = 64,
	GUARD_STEP = 1000,	/* own changes between two looks at the events they caused */
	EVENT_MAX = sizeof(struct inotify_event) + FILE_NAME_MAX + 1,
};
static const char record_magic[8] = "PSTNSYN1";

/* --- times --- */

bool sync_same_time(const struct timespec *a, const struct timespec *b)
{
	return a->tv_sec == b->tv_sec && a->tv_nsec == b->tv_nsec;
}

void sync_record(struct mbox *m)
{
	unsigned char p[RECORD] = { 0 };

	/* Kept open: where somebody puts another in its place, the next process lists cur once. */
	if (m->syncfd < 0)
		m->syncfd = openat(m->dirfd, SYNC_NAME, O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK, 0600);
	if (m->syncfd < 0)
		return;
	memcpy(p, record_magic, sizeof(record_magic));
	put_le64(p + 8, (uint64_t)m->cur_seen.tv_sec);
	put_le32(p + 16, (uint32_t)m->cur_seen.tv_nsec);
	put_le32(p + 20, m->recent_uid);
	memcpy(p + 24, m->st.id, sizeof(m->st.id));
	put_le64(p + 40, m->j.generation);
	put_le64(p + 48, m->j.pos);
	put_le32(p + 60, crc32c(0, p, 60));
	if (pwrite(m->syncfd, p, sizeof(p), 0) != (ssize_t)sizeof(p)) {
		(void)unlinkat(m->dirfd, SYNC_NAME, 0);
		close_fd(&m->syncfd);
		return;
	}
	m->recent_told = m->recent_uid;
}

void sync_record_read(struct mbox *m)
{
	unsigned char p[RECORD];
	ssize_t n;

	CLEANUP_FD int fd = openat(m->dirfd, SYNC_NAME, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		return;
	do
		n = pread(fd, p, sizeof(p), 0);
	while (n < 0 && errno == EINTR);
	if (n != (ssize_t)sizeof(p) || memcmp(p, record_magic, sizeof(record_magic)) != 0 || get_le32(p + 60) != crc32c(0, p, 60) ||
	    memcmp(p + 24, m->st.id, sizeof(m->st.id)) != 0)
		return;
	m->cur_seen = (struct timespec){ (time_t)get_le64(p + 8), (long)get_le32(p + 16) };
	m->told_generation = get_le64(p + 40);
	m->told_pos = get_le64(p + 48);
	m->recent_told = get_le32(p + 20);
	if (m->recent_told > m->recent_uid)
		m->recent_uid = m->recent_told;
}

void sync_forget(struct mbox *m)
{
	m->cur_seen = (struct timespec){ 0 };
	sync_record(m);
}

int sync_dir_time(int fd, struct timespec *out)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return -1;
	*out = st.st_mtim;
	return 0;
}

bool sync_cur_is_seen(struct mbox *m)
{
	struct timespec now;

	if (m->cur_seen.tv_sec == 0 || sync_dir_time(m->curfd, &now) < 0 || !sync_same_time(&now, &m->cur_seen))
		return false;
	m->unsure_ms = 0;	/* perhaps by what another process has found */
	return true;
}

/* --- our own changes --- */

static size_t guard_drain(struct mbox *m)
{
	char events[4096] __attribute__((aligned(__alignof__(struct inotify_event))));
	size_t mine = 0;
	ssize_t n = sizeof(events);

	/* A read that leaves room for the longest event has emptied the queue. */
	while (n > (ssize_t)(sizeof(events) - EVENT_MAX) && (n = read(m->s->guard_ino, events, sizeof(events))) > 0) {
		for (char *p = events; p < events + n;) {
			const struct inotify_event *const ev = (const void *)p;
			if (ev->wd == m->guard_wd)
				mine++;
			else if (ev->wd < 0)	/* overflow */
				mine += SIZE_MAX / 2;
			p += sizeof(*ev) + ev->len;
		}
	}
	return mine;
}

static void guard_start(struct mbox *m)
{
	char path[2048];

	if (m->s->guard_ino < 0)
		m->s->guard_ino = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	if (m->s->guard_ino < 0)
		return;
	const int n = snprintf(path, sizeof(path), "%s/%s%scur", m->s->root, m->dir, *m->dir ? "/" : "");
	if (m->guard_wd < 0 && n > 0 && n < (int)sizeof(path))
		m->guard_wd = inotify_add_watch(m->s->guard_ino, path, IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_ONLYDIR);
	(void)guard_drain(m);
	m->guard_events = 0;
}

/* The kernel's queue holds some thousands: long runs of changes call this on their way. */
void sync_own_step(struct mbox *m, size_t done)
{
	if (done > 0 && done % GUARD_STEP == 0 && m->guard_wd >= 0)
		m->guard_events += guard_drain(m);
}

bool sync_own_begin(struct mbox *m)
{
	guard_start(m);
	return sync_cur_is_seen(m);
}

int sync_mark(struct mbox *m, struct timespec *out)
{
	struct timespec ts[2] = { { .tv_nsec = UTIME_OMIT } };

	if (clock_gettime(CLOCK_REALTIME, &ts[1]) < 0)
		return -1;
	ts[1].tv_nsec = (long)(unique_u64() % 1000000000);
	if (futimens(m->curfd, ts) < 0)
		return -1;
	/* File systems with coarser times keep less: what was kept counts. One that has kept the last digit keeps all. */
	if (!m->exact_times && sync_dir_time(m->curfd, out) < 0)
		return -1;
	if (m->exact_times)
		*out = ts[1];
	else
		m->exact_times = ts[1].tv_nsec % 10 != 0 && sync_same_time(out, &ts[1]);
	return 0;
}

void sync_own_end(struct mbox *m, bool clean, size_t events)
{
	struct timespec t;

	if (!clean || sync_mark(m, &t) < 0 || (m->guard_wd >= 0 && m->guard_events + guard_drain(m) > events))
		m->cur_seen = (struct timespec){ 0 };
	else
		m->cur_seen = t;
}
