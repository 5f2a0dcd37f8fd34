/* APPEND of binary literals (RFC 3516 section 4.4). A maildir holds text: parts labelled binary become base64. That takes a look at the whole message, which waits
 * for it in a file of no name. */
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "append.h"
#include "mail/reencode.h"
#include "os/os.h"

struct binary {
	int fd;
	uint64_t size;
};

int binary_begin(struct append *a, struct err *e)
{
	const int fd = mbox_append_scratch(a->to, e);

	if (fd < 0)
		return -1;
	a->binary = xzalloc(sizeof(*a->binary));
	a->binary->fd = fd;
	return 0;
}

int binary_data(struct append *a, struct str data, struct err *e)
{
	a->binary->size += data.n;
	return write_all(a->binary->fd, data.p, data.n, e);
}

void binary_free(struct append *a)
{
	if (!a->binary)
		return;
	close(a->binary->fd);
	free(a->binary);
	a->binary = NULL;
}

struct storing {
	struct client *c;
	append_room *room;
};

/* -1: refused; when *e says nothing, the answer is made. */
static int store(void *ctx, struct str piece, struct err *e)
{
	const struct storing *s = ctx;
	struct append *a = s->c->append;

	if (str_chr(piece, '\0') >= 0) {
		a->failed = true;
		a->result = command_answer(s->c, "NO", "UNKNOWN-CTE", "Binary content cannot be stored without a transfer encoding.");
		return -1;
	}
	return s->room(s->c, piece.n) == ADV_ON ? mbox_append_data(a->to, piece, e) : -1;
}

static int convert(struct client *c, struct str raw, append_room *room, struct err *e)
{
	struct storing s = { .c = c, .room = room };
	struct append *a = c->append;

	a->size -= raw.n;
	a->all -= raw.n;
	return mail_reencode(raw, MAIL_WITHOUT_BINARY, store, &s, e);
}

int binary_end(struct client *c, append_room *room, struct err *e)
{
	struct append *a = c->append;
	const size_t n = (size_t)a->binary->size;
	void *p = mmap(NULL, n, PROT_READ, MAP_PRIVATE, a->binary->fd, 0);
	int r = -1;

	if (p == MAP_FAILED) {
		(void)!err_set(e, ERR_TEMP, errno, "mmap");
	} else {
		r = convert(c, str_n(p, n), room, e);
		munmap(p, n);
	}
	binary_free(a);
	return r;
}
