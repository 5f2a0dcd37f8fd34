/* Message files: reading, mapping, parsing once. */
#include "store/msgfile.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "mail/edit.h"
#include "os/os.h"
#include "store/ahead_priv.h"

enum {
	READ_MAX = 131072,		/* files up to this size are read, larger ones mapped */
	HEAD_FIRST = 16384,		/* first try for a header, */
	HEAD_LEAST = 1024,		/* but no less than that where those before it were short */
	HEAD_STEP = 256,		/* what is asked for is a multiple */
	FORGETS = 128,			/* a header that was longer than others is forgotten after about so many */
};

static int read_file(struct msgfile *m, int fd, size_t n, struct err *e)
{
	m->own = xmalloc(n + 1);
	if (n && pread_all(fd, m->own, n, 0, e) < 0) {
		free(m->own);
		m->own = NULL;
		return -1;
	}
	m->text = str_n(m->own, n);
	return 0;
}

static int map_file(struct msgfile *m, int fd, size_t n, struct err *e)
{
	void *p = mmap(NULL, n, PROT_READ, MAP_PRIVATE, fd, 0);

	if (p == MAP_FAILED)
		return err_set(e, ERR_TEMP, errno, "mmap of a message");
	if (!guard_add(p, n)) {
		munmap(p, n);
		return err_set(e, ERR_TEMP, 0, "too many messages open");
	}
	m->mapped = true;
	m->text = str_n(p, n);
	return 0;
}

/* The first bytes, when they hold the whole header. 1: they do not. */
static int read_head(struct msgfile *m, int fd, struct err *e)
{
	size_t head, body;

	if (read_file(m, fd, HEAD_FIRST, e) < 0)
		return -1;
	if (mail_head_find(m->text, false, &head, &body) == 0) {
		m->head_only = true;
		m->head_n = body;
		return 0;
	}
	free(m->own);
	m->own = NULL;
	m->text = (struct str){ 0 };
	return 1;
}

int msgfile_from(struct msgfile *m, int fd, const struct stat *st, bool head_only, struct err *e)
{
	const size_t n = (size_t)st->st_size;

	*m = (struct msgfile){ 0 };
	if (head_only && n > HEAD_FIRST) {
		const int r = read_head(m, fd, e);

		if (r <= 0)
			return r;
	}
	return n <= READ_MAX ? read_file(m, fd, n, e) : map_file(m, fd, n, e);
}

int msgfile_open(struct msgfile *m, struct mbox_view *v, uint32_t seq, bool head_only, struct err *e)
{
	CLEANUP_FD int fd = -1;
	struct stat st;

	*m = (struct msgfile){ 0 };
	return message_open(v, seq, &fd, &st, e) < 0 ? -1 : msgfile_from(m, fd, &st, head_only, e);
}

size_t msgfile_room(uint64_t size, bool head_only)
{
	if (head_only && size > HEAD_FIRST)
		return HEAD_FIRST;
	return size > READ_MAX ? SIZE_MAX : (size_t)size + 1;
}

static struct str read_first(int fd, char *room, size_t bytes)
{
	ssize_t n;

	do
		n = pread(fd, room, bytes, 0);
	while (n < 0 && errno == EINTR);
	return str_n(n < 0 ? NULL : room, n > 0 ? (size_t)n : 0);
}

/* One byte more than the file should have is asked for: the read that gets all but that one has seen its end. What is not a regular file, is shorter or
 * longer, or fails on the way does not answer so. */
bool msgfile_bytes(int fd, uint64_t size, char *room, struct str *text_out)
{
	const struct str text = read_first(fd, room, (size_t)size + 1);

	if (text.p == NULL || text.n != size)
		return false;
	*text_out = text;
	return true;
}

static bool head_within(int fd, size_t bytes, char *room, struct str *text_out, size_t *head_n_out)
{
	const struct str text = read_first(fd, room, bytes);
	size_t head;

	if (text.n < bytes || mail_head_find(text, false, &head, head_n_out) != 0)
		return false;
	*text_out = text;
	return true;
}

static bool whole(int fd, uint64_t size, char *room, struct str *text_out, bool *part_out, size_t *head_n_out)
{
	size_t head;

	if (!msgfile_bytes(fd, size, room, text_out))
		return false;
	*part_out = false;
	return mail_head_find(*text_out, true, &head, head_n_out) == 0;
}

/* Most of what a read costs is the copying, and most of a message is not its header. */
bool msgfile_head_bytes(int fd, uint64_t size, size_t *usual_io, char *room, struct str *text_out, bool *part_out, size_t *head_n_out)
{
	const size_t usual = *usual_io < HEAD_LEAST ? HEAD_LEAST : *usual_io, first = (usual + HEAD_STEP - 1) / HEAD_STEP * HEAD_STEP;

	*part_out = true;
	if (!(first < HEAD_FIRST && first < size && head_within(fd, first, room, text_out, head_n_out)) &&
	    !(size > HEAD_FIRST ? head_within(fd, HEAD_FIRST, room, text_out, head_n_out) : whole(fd, size, room, text_out, part_out, head_n_out)))
		return false;
	*usual_io = *head_n_out > usual ? *head_n_out : usual - (usual - *head_n_out) / FORGETS;
	return true;
}

static bool read_as_known(struct msgfile *m, int fd, uint64_t size, bool head_only)
{
	const size_t room = msgfile_room(size, head_only);
	size_t usual = HEAD_FIRST;	/* of one message nobody knows: at most one read */

	if (room == SIZE_MAX)
		return false;
	m->own = xmalloc(room);
	return head_only ? msgfile_head_bytes(fd, size, &usual, m->own, &m->text, &m->head_only, &m->head_n) : msgfile_bytes(fd, size, m->own, &m->text);
}

/* The crew has read it: the walk's batch keeps it until the next one. */
static bool was_read(struct msgfile *m, struct mbox_view *v, uint32_t seq, bool head_only)
{
	const struct ahead_item *const it = ahead_get(v, seq, head_only ? MBOX_AHEAD_HEAD : MBOX_AHEAD_TEXT);

	if (it == NULL)
		return false;
	m->text = it->text;
	m->head_only = it->head_only;
	m->head_n = it->head_n;
	return true;
}

int msgfile_read(struct msgfile *m, struct mbox_view *v, uint32_t seq, bool head_only, struct err *e)
{
	CLEANUP_FD int fd = -1;
	uint64_t size;

	*m = (struct msgfile){ 0 };
	if (was_read(m, v, seq, head_only))
		return 0;
	if (message_open_bytes(v, seq, &fd, &size) == 0 && read_as_known(m, fd, size, head_only))
		return 0;
	free(m->own);
	return msgfile_open(m, v, seq, head_only, e);
}

void msgfile_close(struct msgfile *m)
{
	if (m->mapped) {
		guard_del((void *)(uintptr_t)m->text.p);
		munmap((void *)(uintptr_t)m->text.p, m->text.n);
	}
	free(m->own);
	arena_free(&m->arena);
	*m = (struct msgfile){ 0 };
}

struct mime_part *msgfile_mime(struct msgfile *m)
{
	if (!m->root) {
		m->arena = arena_new(0);
		m->root = mime_parse(m->arena, m->text);
	}
	return m->root;
}

struct str msgfile_head(const struct msgfile *m)
{
	size_t head = m->text.n, body = m->text.n;

	if (m->head_n > 0)
		return str_sub(m->text, 0, m->head_n);
	if (mail_head_find(m->text, true, &head, &body) != 0)
		return m->text;
	return str_sub(m->text, 0, body);
}
