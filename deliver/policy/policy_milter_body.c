/* A milter's new body: pieces that may be cut anywhere, CRLF or LF at the end of lines. It is kept in a file in memory, so that queued can read it from a descriptor as it
 * reads any message, and milters that come later are shown it like the one that was received. What no message may hold (a bare CR, a NUL) is no body.
 */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "deliver/policy/policy_milter.h"
#include "os/os.h"

static int put(struct new_body *b, const char *p, size_t n, uint64_t max, struct err *e)
{
	if (n > max - b->size)
		return err_set(e, ERR_TOOBIG, 0, "its new body is longer than a message may be");
	if (n > 0 && write_all(b->fd, p, n, e) < 0)
		return -1;
	b->size += n;
	return 0;
}

int milter_body_add(struct new_body *b, struct str piece, uint64_t max, struct err *e)
{
	size_t from = 0;

	if (b->fd < 0 && (b->fd = memfd_create("body", MFD_CLOEXEC)) < 0)
		return err_set(e, ERR_TEMP, errno, "memfd_create");
	for (size_t i = 0; i < piece.n; i++) {
		const char c = piece.p[i];
		if (c == '\0' || (b->cr && c != '\n'))
			return err_set(e, ERR_INPUT, 0, "its new body has a NUL or a bare CR");
		b->cr = c == '\r';
		if (!b->cr)
			continue;
		if (put(b, piece.p + from, i - from, max, e) < 0)
			return -1;
		from = i + 1;
	}
	return put(b, piece.p + from, piece.n - from, max, e);
}

void milter_body_free(struct new_body *b)
{
	close_fd(&b->fd);
	*b = (struct new_body){ .fd = -1 };
}
