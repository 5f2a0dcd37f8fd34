/* COMPRESS=DEFLATE (RFC 4978) as a filter of conn: raw deflate both ways, flushed at the end of each dispatch round. Owns
 * the two zlib streams and a buffer on each side of them, which are given back when empty.
 *
 * Memory is bounded by zlib's parameters: 64 KB to compress with a window of 8 KB (a mailbox is text; more buys a few
 * percent), at most 40 KB to expand, where the client chooses the window. Expansion is bounded by the room of the caller:
 * a bomb fills the connection's input buffer and then waits like any other input.
 */
#include <stdlib.h>
#include <string.h>

#define ZLIB_CONST
#include <zlib.h>

#include "base/arena.h"
#include "io/conn_priv.h"

enum {
	LEVEL = 3,
	WINDOW_OUT = -13, /* raw, 8 KB */
	MEM_OUT = 6,
	WINDOW_IN = -15, /* raw, 32 KB: the client's choice */
	IN_SIZE = 16384,
	OUT_SIZE = 16384,
};

struct deflate {
	struct filter f;
	z_stream in, out;
	unsigned char *in_buf, *out_buf;
	size_t out_at, out_n; /* compressed, not yet sent */
	bool unflushed;	      /* the compressor holds bytes that the peer waits for */
	bool again;	      /* the expander may hold more than fitted */
};

static struct deflate *of(const struct filter *f)
{
	return (struct deflate *)(uintptr_t)f;
}

static int broken(struct err *e, const z_stream *z, const char *what)
{
	err_set(e, ERR_INPUT, 0, "%s: %s", what, z->msg ? z->msg : "damaged data");
	return FILTER_ERROR;
}

/* --- input --- */

static ssize_t refill(struct deflate *d, struct err *e)
{
	if (!d->in_buf)
		d->in_buf = xmalloc(IN_SIZE);
	ssize_t r = d->f.below->ops->read(d->f.below, d->in_buf, IN_SIZE, e);
	d->f.want = d->f.below->want;
	if (r > 0) {
		d->in.next_in = d->in_buf;
		d->in.avail_in = (uInt)r;
	} else {
		free(d->in_buf);
		d->in_buf = NULL;
	}
	return r;
}

static ssize_t deflate_read(struct filter *f, void *p, size_t n, struct err *e)
{
	struct deflate *d = of(f);
	const uInt room = n > UINT32_MAX ? UINT32_MAX : (uInt)n;

	for (;;) {
		if (d->in.avail_in == 0 && !d->again) {
			ssize_t r = refill(d, e);

			if (r <= 0)
				return r;
		}
		d->in.next_out = p;
		d->in.avail_out = room;
		int r = inflate(&d->in, Z_SYNC_FLUSH);
		d->again = r == Z_OK && d->in.avail_out == 0;
		if (room > d->in.avail_out)
			return (ssize_t)(room - d->in.avail_out);
		if (r == Z_STREAM_END)
			return FILTER_EOF;
		if (r != Z_OK && r != Z_BUF_ERROR)
			return broken(e, &d->in, "expanding");
	}
}

static bool deflate_pending(const struct filter *f)
{
	const struct deflate *d = of(f);

	return d->in.avail_in || d->again ||
	       (f->below->ops->pending && f->below->ops->pending(f->below));
}

/* --- output --- */

static int send_out(struct deflate *d, struct err *e)
{
	while (d->out_n) {
		ssize_t r = d->f.below->ops->write(d->f.below, d->out_buf + d->out_at, d->out_n,
						   false, e);

		d->f.want = d->f.below->want;
		if (r < 0)
			return (int)r;
		d->out_at += (size_t)r;
		d->out_n -= (size_t)r;
	}
	d->out_at = 0;
	return 0;
}

/* Compress into what is left of the buffer, which is empty or being filled. Returns zlib's word. */
static int squeeze(struct deflate *d, int flush)
{
	if (!d->out_buf)
		d->out_buf = xmalloc(OUT_SIZE);
	d->out.next_out = d->out_buf + d->out_n;
	d->out.avail_out = (uInt)(OUT_SIZE - d->out_n);
	int r = deflate(&d->out, flush);
	d->out_n = OUT_SIZE - d->out.avail_out;
	return r;
}

static ssize_t deflate_write(struct filter *f, const void *p, size_t n, bool more, struct err *e)
{
	struct deflate *d = of(f);

	/* A buffer that was begun to be sent is sent first; so is a full one. */
	if (d->out_at || d->out_n == OUT_SIZE) {
		int r = send_out(d, e);

		if (r)
			return r;
	}
	d->out.next_in = p;
	d->out.avail_in = n > UINT32_MAX ? UINT32_MAX : (uInt)n;
	const uInt offered = d->out.avail_in;
	if (squeeze(d, Z_NO_FLUSH) == Z_STREAM_ERROR)
		return broken(e, &d->out, "compressing");
	d->unflushed = true;
	/* Nothing taken: the buffer is full of what came before. */
	return offered > d->out.avail_in ? (ssize_t)(offered - d->out.avail_in)
					 : deflate_write(f, p, n, more, e);
}

static int deflate_flush(struct filter *f, struct err *e)
{
	struct deflate *d = of(f);

	f->want = 0;
	d->out.avail_in = 0;
	for (;;) {
		if (d->out_at || d->out_n == OUT_SIZE || !d->unflushed) {
			int r = send_out(d, e);

			if (r)
				return r;
		}
		if (!d->unflushed)
			break;
		int r = squeeze(d, Z_SYNC_FLUSH);
		if (r == Z_STREAM_ERROR)
			return broken(e, &d->out, "compressing");
		/* Done when there was room left (zlib.h: deflate). */
		d->unflushed = d->out_n == OUT_SIZE;
	}
	free(d->out_buf);
	d->out_buf = NULL;
	return f->below->ops->flush ? f->below->ops->flush(f->below, e) : 0;
}

static void deflate_free(struct filter *f)
{
	struct deflate *d = of(f);

	inflateEnd(&d->in);
	deflateEnd(&d->out);
	free(d->in_buf);
	free(d->out_buf);
	free(d);
}

static const struct filter_ops deflate_ops = {
	.read = deflate_read,
	.write = deflate_write,
	.flush = deflate_flush,
	.pending = deflate_pending,
	.free = deflate_free,
};

int conn_deflate(struct conn *c, struct err *e)
{
	if (c->top->ops == &deflate_ops || c->next)
		return err_set(e, ERR_INPUT, 0, "compression is active already");
	struct str early = conn_input(c);
	if (early.n > IN_SIZE)
		return err_set(e, ERR_LIMIT, 0, "too much input before compression");
	struct deflate *d = xzalloc(sizeof(*d));
	d->f.ops = &deflate_ops;
	if (inflateInit2(&d->in, WINDOW_IN) != Z_OK ||
	    deflateInit2(&d->out, LEVEL, Z_DEFLATED, WINDOW_OUT, MEM_OUT, Z_DEFAULT_STRATEGY) !=
		    Z_OK) {
		deflate_free(&d->f);
		return err_set(e, ERR_TEMP, 0, "no memory for compression");
	}
	/* What the client sent behind its command is compressed already (RFC 4978 3). */
	if (early.n) {
		d->in_buf = xmalloc(IN_SIZE);
		memcpy(d->in_buf, early.p, early.n);
		d->in.next_in = d->in_buf;
		d->in.avail_in = (uInt)early.n;
		conn_drop_input(c);
	}
	conn_push(c, &d->f);
	return 0;
}
