/* One message of a view: its facts and its file. The file is found by the name that the state knows; a foreign rename of its flags is followed by
 * trying the name its flags would give, then by listing the folder, which is rare: the directory's time then differs, too. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "os/os.h"
#include "store/ahead_priv.h"

enum { COUNT_CHUNK = 1 << 16 };

static struct rec *rec_of(const struct mbox_view *v, uint32_t seq, uint32_t *pos_out)
{
	const uint32_t pos = view_pos(v, seq);

	if (pos_out)
		*pos_out = pos;
	return pos == UINT32_MAX ? NULL : state_rec(&v->m->st, pos);
}

/* A FIFO must not hang us, a link must not lead out. Reading is no reason to write: the first read of each file would set its time of access, which is an inode on its
 * way to the disk. Who does not own the file may not ask for that. */
int message_open_name(int dirfd, const char *name)
{
	const int how = O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, fd = openat(dirfd, name, how | O_NOATIME);

	return fd < 0 && errno == EPERM ? openat(dirfd, name, how) : fd;
}

static int open_regular(int dirfd, const char *name, struct stat *st)
{
	int fd = message_open_name(dirfd, name);

	if (fd >= 0 && (fstat(fd, st) < 0 || !S_ISREG(st->st_mode))) {
		close_fd(&fd);
		errno = ENOENT;
	}
	return fd;
}

static int open_together(struct mbox *m, const struct rec *r, struct stat *st)
{
	char path[TOGETHER_PATH_MAX];

	return together_path(&m->st, r, path) < 0 ? -1 : open_regular(m->dirfd, path, st);
}

static int open_named(struct mbox *m, const struct rec *r, uint8_t disk, struct stat *st)
{
	char name[FILE_NAME_MAX + 1];

	if (disk_name(name, state_name(&m->st, r), disk, state_info(&m->st, r)) < 0) {
		errno = ENOENT;
		return -1;
	}
	return open_regular(m->curfd, name, st);
}

/* -1 with errno, or a descriptor. */
static int open_known(struct mbox *m, const struct rec *r, struct stat *st)
{
	const uint8_t wanted = disk_of_flags(r->flags);
	int fd = open_named(m, r, r->disk, st);

	if (fd < 0 && errno == ENOENT && r->disk != wanted)
		fd = open_named(m, r, wanted, st);
	return fd < 0 && errno == ENOENT ? open_together(m, r, st) : fd;
}

static int open_uid(struct mbox *m, uint32_t uid, bool gone_too, struct stat *st, int *fd_out, struct err *e)
{
	for (int tries = 0; tries < 2; tries++) {
		const uint32_t pos = state_lower(&m->st, uid);
		const struct rec *const r = pos < state_count(&m->st) ? state_rec(&m->st, pos) : NULL;
		if (r == NULL || r->uid != uid || ((r->state & REC_GONE) && (!gone_too || !(r->state & REC_ZOMBIE))))
			break;
		*fd_out = open_known(m, r, st);
		if (*fd_out >= 0)
			return 0;
		if (errno != ENOENT)
			return err_set(e, errno == EMFILE || errno == ENFILE ? ERR_LIMIT : ERR_TEMP, errno, "message %u", uid);
		if (r->state & REC_GONE)
			break;
		/* Renamed by another program, or removed: the folder's listing tells. */
		if (tries == 0 && sync_folder(m, true, e) < 0)
			return -1;
	}
	return err_set(e, ERR_NOENT, 0, "message %u has gone", uid);
}

int message_link(struct mbox *m, const struct rec *r, int dirfd, const char *to)
{
	const uint8_t disks[] = { r->disk, disk_of_flags(r->flags) };
	char from[FILE_NAME_MAX + 1], path[TOGETHER_PATH_MAX];

	errno = ENOENT;
	for (size_t i = 0; errno == ENOENT && i < ARRAY_LEN(disks); i++)
		if (disk_name(from, state_name(&m->st, r), disks[i], state_info(&m->st, r)) == 0 && linkat(m->curfd, from, dirfd, to, 0) == 0)
			return 0;
	return errno == ENOENT && together_path(&m->st, r, path) == 0 ? linkat(m->dirfd, path, dirfd, to, 0) : -1;
}

int message_open_pos(struct mbox *m, uint32_t pos, int *fd_out, struct stat *st_out)
{
	*fd_out = open_known(m, state_rec(&m->st, pos), st_out);
	return *fd_out < 0 ? -1 : 0;
}

int message_open_bytes(struct mbox_view *v, uint32_t seq, int *fd_out, uint64_t *size_out)
{
	const struct rec *const r = rec_of(v, seq, NULL);
	char name[FILE_NAME_MAX + 1];

	if (r == NULL || (r->state & REC_GONE) || disk_name(name, state_name(&v->m->st, r), r->disk, state_info(&v->m->st, r)) < 0)
		return -1;
	*size_out = r->size;
	*fd_out = message_open_name(v->m->curfd, name);
	return *fd_out < 0 ? -1 : 0;
}

int message_count(int fd, uint64_t *size_out, uint64_t *crlf_out, struct err *e)
{
	char *const chunk = xmalloc(COUNT_CHUNK);
	uint64_t size = 0, extra = 0;
	char last = 0;
	ssize_t n;

	while ((n = pread(fd, chunk, COUNT_CHUNK, (off_t)size)) > 0 || (n < 0 && errno == EINTR)) {
		if (n < 0)
			continue;
		const char *p = chunk, *const end = chunk + n;
		while (p < end && (p = memchr(p, '\n', (size_t)(end - p))) != NULL) {
			extra += (p > chunk ? p[-1] : last) != '\r';
			p++;
		}
		last = chunk[n - 1];
		size += (uint64_t)n;
	}
	const int sys = errno;
	free(chunk);
	if (n < 0)
		return err_set(e, ERR_TEMP, sys, "read of a message");
	*size_out = size;
	*crlf_out = size + extra;
	return 0;
}

/* Write down the sizes (they can be counted again: no sync). */
static int sizes_set(struct mbox *m, uint32_t uid, uint64_t size, uint64_t size_crlf, struct err *e)
{
	struct buf ops;
	int r;

	if (mbox_lock(m, e) < 0)
		return -1;
	buf_init(&ops, 64);
	op_sizes(&ops, uid, size, size_crlf);
	r = mbox_commit(m, &ops, DURABLE_LATER, e);
	buf_fini(&ops);
	mbox_unlock_folder(m);
	return r;
}

int message_sizes(struct mbox *m, uint32_t uid, struct err *e)
{
	uint64_t size, crlf;
	struct stat st;
	int fd;

	if (open_uid(m, uid, false, &st, &fd, e) < 0)
		return -1;
	const int r = message_count(fd, &size, &crlf, e);
	close(fd);
	const struct rec *const rec = r < 0 ? NULL : state_find(&m->st, uid);
	if (rec && rec->size == size && rec->size_crlf == crlf)
		return 0;
	return r < 0 ? -1 : sizes_set(m, uid, size, crlf, e);
}

/* Sizes that no name told. A message whose file has gone is shown all the same. */
static int sizes_wanted(struct mbox *m, uint32_t uid, struct err *e)
{
	struct err mine = { 0 };

	if (message_sizes(m, uid, &mine) == 0 || mine.code == ERR_NOENT)
		return 0;
	return err_set(e, mine.code, mine.sys, "sizes of message %u", uid);
}

int mbox_msg_get(struct mbox_view *v, uint32_t seq, struct mbox_msg *out, struct err *e)
{
	struct mbox *const m = v->m;
	uint32_t pos;
	const struct rec *r = rec_of(v, seq, &pos);

	if (r == NULL)
		return err_set(e, ERR_NOENT, 0, "no message %u", seq);
	if (r->size_crlf == UINT64_MAX && !(r->state & REC_GONE)) {
		if (sizes_wanted(m, r->uid, e) < 0)
			return -1;
		r = state_rec(&m->st, pos);
	}
	view_shown(v, r, out);
	out->uid = r->uid;
	for (size_t i = 0; i < v->n_recent; i++)
		if (r->uid >= v->recent[i].first && r->uid <= v->recent[i].last)
			out->flags |= MBOX_RECENT;
	out->modseq = r->modseq;
	out->savedate = r->savedate;
	out->size = r->size;
	out->size_crlf = r->size_crlf == UINT64_MAX ? r->size : r->size_crlf;
	return 0;
}

int mbox_msg_size(struct mbox_view *v, uint32_t seq, uint64_t *out, struct err *e)
{
	const struct rec *const r = rec_of(v, seq, NULL);
	struct mbox_msg m;

	if (r && r->size_crlf != UINT64_MAX) {
		*out = r->size_crlf;
		return 0;
	}
	if (mbox_msg_get(v, seq, &m, e) < 0)
		return -1;
	*out = m.size_crlf;
	return 0;
}

/* Kept in memory and, from there, in the index: the journal needs no word of it while the file has it. */
int64_t message_date(struct mbox *m, struct rec *r)
{
	const uint8_t disks[] = { r->disk, disk_of_flags(r->flags) };
	char name[FILE_NAME_MAX + 1];
	struct stat st;

	for (size_t i = 0; r->internaldate == DATE_UNKNOWN && i < ARRAY_LEN(disks); i++)
		if (disk_name(name, state_name(&m->st, r), disks[i], state_info(&m->st, r)) == 0 &&
		    fstatat(m->curfd, name, &st, AT_SYMLINK_NOFOLLOW) == 0)
			r->internaldate = st.st_mtime > 0 ? st.st_mtime : 0;
	return r->internaldate == DATE_UNKNOWN ? r->savedate : r->internaldate;
}

int64_t mbox_msg_date(struct mbox_view *v, uint32_t seq)
{
	struct rec *r = rec_of(v, seq, NULL);
	const struct ahead_item *const it = r && r->internaldate == DATE_UNKNOWN ? ahead_get(v, seq, MBOX_AHEAD_DATE) : NULL;

	r = rec_of(v, seq, NULL);	/* whoever was asked what comes next may have brought the folder up to date, and records have moved */
	if (r && it)
		r->internaldate = it->mtime;
	return r ? message_date(v->m, r) : 0;
}

int mbox_msg_open(struct mbox_view *v, uint32_t seq, int *fd_out, struct err *e)
{
	struct stat st;

	return message_open(v, seq, fd_out, &st, e);
}

int message_open(struct mbox_view *v, uint32_t seq, int *fd_out, struct stat *st, struct err *e)
{
	struct mbox *const m = v->m;
	struct rec *r = rec_of(v, seq, NULL);
	struct err quiet = { 0 };

	if (r == NULL)
		return err_set(e, ERR_NOENT, 0, "no message %u", seq);
	const uint32_t uid = r->uid;
	const uint64_t size = r->size;
	if (open_uid(m, uid, true, st, fd_out, e) < 0)
		return -1;
	if ((r = state_find(&m->st, uid)) != NULL && r->internaldate == DATE_UNKNOWN)
		r->internaldate = st->st_mtime > 0 ? st->st_mtime : 0;
	/* The name lied, or somebody edited the file: what is there counts. */
	uint64_t real, crlf;
	if ((uint64_t)st->st_size != size && message_count(*fd_out, &real, &crlf, &quiet) == 0)
		(void)!sizes_set(m, uid, real, crlf, &quiet);
	return 0;
}

int mbox_msg_size_fix(struct mbox_view *v, uint32_t seq, uint64_t size, uint64_t size_crlf, struct err *e)
{
	const struct rec *const r = rec_of(v, seq, NULL);

	if (r == NULL || (r->state & REC_GONE) || (r->size == size && r->size_crlf == size_crlf))
		return 0;
	return sizes_set(v->m, r->uid, size, size_crlf, e);
}

const char *mbox_msg_basename(struct mbox_view *v, uint32_t seq)
{
	static char name[FILE_NAME_MAX + 1];
	const struct rec *const r = rec_of(v, seq, NULL);
	const struct str s = r ? state_name(&v->m->st, r) : (struct str){ 0 };

	memcpy(name, s.n ? s.p : "", s.n);
	name[s.n] = '\0';
	return name;
}

const char *mbox_msg_pop3_uidl(struct mbox_view *v, uint32_t seq)
{
	const struct rec *const r = rec_of(v, seq, NULL);
	const struct pop3_info *const p = r && (r->state & REC_POP3) ? state_pop3(&v->m->st, r->uid) : NULL;

	return p ? p->uidl : NULL;
}

bool mbox_pop3_any(const struct mbox *m)
{
	return m->st.n_pop3 > 0;
}

uint32_t mbox_msg_pop3_order(struct mbox_view *v, uint32_t seq)
{
	const struct rec *const r = rec_of(v, seq, NULL);
	const struct pop3_info *const p = r && (r->state & REC_POP3) ? state_pop3(&v->m->st, r->uid) : NULL;

	return p ? p->order : 0;
}

/* Files unlinked: 0 or 1. */
unsigned message_unlink(struct mbox *m, const struct rec *r)
{
	const uint8_t disks[] = { r->disk, disk_of_flags(r->flags) };
	char name[FILE_NAME_MAX + 1], path[TOGETHER_PATH_MAX];

	for (size_t i = 0; i < ARRAY_LEN(disks); i++)
		if (disk_name(name, state_name(&m->st, r), disks[i], state_info(&m->st, r)) == 0 && unlinkat(m->curfd, name, 0) == 0)
			return 1;
	return together_path(&m->st, r, path) == 0 && unlinkat(m->dirfd, path, 0) == 0;
}
