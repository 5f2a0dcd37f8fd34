/* The message as it leaves: header edits applied, the rest read in chunks, or all of it converted to 7 bits where the server takes no more; dots stuffed, lines ended in CRLF: no
 * bare CR or LF can leave (lib/smtp/data.h). */
#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

#include "deliver/remote/remote_priv.h"
#include "mail/edit.h"
#include "mail/reencode.h"
#include "os/os.h"

enum {
	SCAN_CHUNK = 65536,
	WHOLE_MAX = 512 << 20,
	HEAD_FIRST = 16384,	/* bytes of the message that are read first */
};

/* As much of the message as its header section needs, and what came with it. */
static int read_head(const struct job *j, struct buf *raw, size_t *head_out, size_t *body_out, struct err *e)
{
	for (uint64_t want = HEAD_FIRST;; want *= 8) {
		const uint64_t most = want < REMOTE_HEAD_MAX ? want : REMOTE_HEAD_MAX;
		const size_t n = (size_t)(j->size < most ? j->size : most), more = n - raw->n;
		char *p = buf_room(raw, more);
		if ((p == NULL && more > 0) || (more > 0 && pread_all(j->fd, p, more, raw->n, e) < 0))
			return -1;
		buf_added(raw, more);
		if (mail_head_find(buf_view(raw), n == j->size, head_out, body_out) == 0)
			return 0;
		if (n == j->size || n == REMOTE_HEAD_MAX)
			return err_set(e, ERR_INPUT, 0, "message header too long");
	}
}

/* The header section with its edits. */
static int edit_head(struct body *b, const struct job *j, struct err *e)
{
	struct buf raw;
	size_t head_n, body;
	int r = -1;

	buf_init(&raw, REMOTE_HEAD_MAX + 1);
	if (read_head(j, &raw, &head_n, &body, e) == 0 && mail_edit_apply(str_sub(buf_view(&raw), 0, head_n), j->edits, j->n_edits, &b->ready, e) == 0) {
		if (body == head_n && head_n < raw.n)	/* a body without header: the new fields need the empty line */
			buf_ch(&b->ready, '\n');
		buf_str(&b->ready, str_from(buf_view(&raw), head_n));
		b->off = raw.n;
		r = buf_check(&b->ready, "header", e);
	}
	buf_fini(&raw);
	return r;
}

static int scan_8bit(const struct job *j, bool *found, struct err *e)
{
	static char chunk[SCAN_CHUNK];

	*found = false;
	for (uint64_t off = 0; off < j->size && !*found; off += sizeof chunk) {
		const uint64_t left = j->size - off;
		const size_t n = left < sizeof chunk ? (size_t)left : sizeof chunk;
		if (pread_all(j->fd, chunk, n, off, e) < 0)
			return -1;
		*found = str_has_8bit(str_n(chunk, n));
	}
	return 0;
}

/* The rest of the message behind what was read with the header, then all of it to 7 bits. */
static int convert(struct body *b, const struct job *j, struct err *e)
{
	struct buf seven;
	const size_t n = (size_t)(j->size - b->off);

	char *p = buf_room(&b->ready, n);
	if ((p == NULL && n > 0) || (n > 0 && pread_all(j->fd, p, n, b->off, e) < 0))
		return e->code ? -1 : err_set(e, ERR_LIMIT, 0, "too large to be converted to 7 bits");
	buf_added(&b->ready, n);
	buf_init(&seven, WHOLE_MAX);
	if (mail_reencode(buf_view(&b->ready), MAIL_TO_7BIT, mail_sink_buf, &seven, e) < 0) {
		buf_fini(&seven);
		return -1;
	}
	buf_fini(&b->ready);
	b->ready = seven;
	b->whole = true;
	return 0;
}

int body_open(struct body *b, const struct job *j, bool seven, struct err *e)
{
	struct stat st;
	bool eight = false;

	*b = (struct body){ .fd = j->fd, .size = j->size, .dot = SMTP_DOT_INIT };
	buf_init(&b->ready, WHOLE_MAX);
	/* The message is the first size bytes: behind them the queue keeps its journal. */
	if (fstat(j->fd, &st) < 0 || (uint64_t)st.st_size < j->size)
		return err_set(e, ERR_TEMP, errno, "the message is shorter than said");
	if (seven && scan_8bit(j, &eight, e) < 0)
		return -1;
	if ((j->n_edits > 0 || eight) && edit_head(b, j, e) < 0)
		return -1;
	return eight ? convert(b, j, e) : 0;
}

void body_close(struct body *b)
{
	buf_fini(&b->ready);
	*b = (struct body){ .fd = -1 };
}

static int read_file(struct body *b, struct buf *wire, bool *end, struct err *e)
{
	static char chunk[REMOTE_CHUNK];
	const uint64_t left = b->size > b->off ? b->size - b->off : 0;
	const ssize_t n = left == 0 ? 0 : pread(b->fd, chunk, left < sizeof chunk ? (size_t)left : sizeof chunk, (off_t)b->off);

	if (n < 0 || (n == 0 && left > 0))
		return err_set(e, ERR_TEMP, n < 0 ? errno : 0, "read");
	smtp_dot_encode(&b->dot, str_n(chunk, (size_t)n), wire);
	b->off += (uint64_t)n;
	*end = b->off >= b->size;
	return 0;
}

int body_read(struct body *b, struct buf *wire, bool *end_out, struct err *e)
{
	bool end = false;

	if (b->ready_off < b->ready.n) {
		const size_t left = b->ready.n - b->ready_off, n = left < REMOTE_CHUNK ? left : REMOTE_CHUNK;
		smtp_dot_encode(&b->dot, str_sub(buf_view(&b->ready), b->ready_off, n), wire);
		b->ready_off += n;
		end = b->ready_off == b->ready.n && (b->whole || b->off >= b->size);
	}
	/* A short header and a short body leave together. */
	if (!end && !b->whole && b->ready_off == b->ready.n && read_file(b, wire, &end, e) < 0)
		return -1;
	if (end)
		smtp_dot_end(&b->dot, wire);
	*end_out = end;
	return 0;
}
