/* Lines end in CRLF, and every other end has a name. Each case runs whole, byte by byte and cut at every place. */
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/buf.h"
#include "io/conn.h"
#include "test/tap.h"

enum { MAX = 16 };

static const struct {
	const char *name;
	struct str in;
	const char *expected; /* lines as [text], faults as <text>, what is left as its length */
} cases[] = {
	{ "lines end in CRLF", { "a\r\nbc\r\n", 7 }, "[a][bc]0" },
	{ "an empty line", { "\r\n\r\n", 4 }, "[][]0" },
	{ "no end yet", { "abc", 3 }, "3" },
	{ "CR alone at the end waits", { "abc\r", 4 }, "4" },
	{ "bare LF", { "a\nb\r\n", 5 }, "<bare LF>[b]0" },
	{ "bare LF first", { "\n", 1 }, "<bare LF>0" },
	{ "bare CR", { "a\rb\r\nc\r\n", 8 }, "<bare CR>[c]0" },
	{ "two CR", { "a\r\r\nb\r\n", 7 }, "<bare CR>[b]0" },
	{ "CR before a bare LF line", { "a\rb\nc\r\n", 7 }, "<bare CR>[c]0" },
	{ "NUL", { "a\0b\r\nc\r\n", 8 }, "<NUL in a line>[c]0" },
	{ "NUL between CR and LF", { "a\r\0\nb\r\n", 7 }, "<NUL in a line>[b]0" },
	{ "the longest line", { "12345678901234\r\n", 16 }, "[12345678901234]0" },
	{ "one too long", { "123456789012345\r\nx\r\n", 20 }, "<line longer than 16 bytes>[x]0" },
	{ "far too long",
	  { "1234567890123456789012345678901234567890\r\nx\r\n", 45 },
	  "<line longer than 16 bytes>[x]0" },
	{ "too long without end", { "12345678901234567890", 20 }, "<line longer than 16 bytes>0" },
	{ "8-bit text is not our business", { "\xff\x80\r\n", 4 }, "[\xff\x80]0" },
	{ "smuggled end of data", { "a\n.\r\nb\r\n", 8 }, "<bare LF>[.][b]0" },
};

static void result(struct buf *b, int r, struct str line, const struct err *e)
{
	if (r == 0) {
		buf_ch(b, '[');
		buf_str(b, line);
		buf_ch(b, ']');
	} else {
		buf_printf(b, "<%s>", e->text);
	}
}

/* The pure function alone, over what has arrived so far. */
static void parse_all(struct buf *in, struct buf *out, bool *skip)
{
	for (;;) {
		struct err e = { 0 };
		struct str line = { 0 };
		size_t used = 0;

		if (*skip) {
			ptrdiff_t lf = str_chr(buf_view(in), '\n');

			buf_shift(in, lf < 0 ? in->n : (size_t)lf + 1);
			*skip = lf < 0;
		}
		int r = line_parse(buf_view(in), MAX, &line, &used, &e);
		if (r == 1)
			return;
		result(out, r, line, &e);
		if (e.code == ERR_LIMIT && in->p[used - 1] != '\n')
			*skip = true;
		buf_shift(in, used);
	}
}

static void run_pure(struct str in, size_t first, size_t step, struct buf *out)
{
	struct buf have;
	bool skip = false;

	buf_init(&have, 4096);
	for (size_t at = 0, n = first; at < in.n;
	     at += n, n = step < in.n - at ? step : in.n - at) {
		buf_str(&have, str_sub(in, at, n));
		parse_all(&have, out, &skip);
	}
	buf_printf(out, "%zu", have.n);
	buf_fini(&have);
}

/* The same through a connection. */
struct run {
	struct buf *out;
	struct loop *l;
	struct conn *c;
	size_t left;
};

static void on_conn(void *ctx, struct conn *c, enum conn_event ev)
{
	struct run *run = ctx;
	struct err e = { 0 };
	struct str line = { 0 };
	int r;

	if (ev == CONN_EV_DATA) {
		while ((r = conn_line(c, MAX, &line, &e)) != 1) {
			result(run->out, r, line, &e);
			err_clear(&e);
		}
		run->left = conn_input(c).n;
	}
	if (ev == CONN_EV_CLOSED)
		loop_stop(run->l);
}

struct feed {
	int fd;
	struct str in;
	size_t at, first, step;
	struct timer *t;
	struct loop *l;
};

static void on_feed(void *ctx)
{
	struct feed *f = ctx;
	size_t n = f->at ? f->step : f->first;

	if (f->at >= f->in.n) {
		shutdown(f->fd, SHUT_WR);
		return;
	}
	if (n > f->in.n - f->at)
		n = f->in.n - f->at;
	f->at += (size_t)write(f->fd, f->in.p + f->at, n);
	timer_again(f->t, 0);
}

static void run_conn(struct str in, size_t first, size_t step, struct buf *out)
{
	int sv[2];

	if (socketpair(AF_UNIX, SOCK_STREAM, 0, sv) < 0)
		abort();
	struct run run = { .out = out, .l = loop_new() };
	run.c = conn_new(run.l, sv[0], &(struct conn_limits){ MAX, 100, 1000 }, on_conn, &run);
	struct feed f = { .fd = sv[1], .in = in, .first = first, .step = step, .l = run.l };
	f.t = loop_timer(run.l, 0, on_feed, &f);
	loop_run(run.l);
	buf_printf(out, "%zu", run.left);
	timer_del(&f.t);
	conn_free(&run.c);
	loop_free(&run.l);
	close(sv[1]);
}

typedef void run_fn(struct str in, size_t first, size_t step, struct buf *out);

static void one(run_fn *fn, const char *how, size_t i, size_t first, size_t step)
{
	struct buf out;

	buf_init(&out, 4096);
	fn(cases[i].in, first, step, &out);
	if (step == SIZE_MAX && first < cases[i].in.n && strcmp(out.p, cases[i].expected) == 0) {
		buf_fini(&out);
		return; /* one line of TAP for all cuts */
	}
	tap_is_str(out.p, cases[i].expected, "%s: %s", cases[i].name, how);
	buf_fini(&out);
}

int main(void)
{
	alarm(20);
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		one(run_pure, "whole", i, cases[i].in.n, SIZE_MAX);
		one(run_pure, "byte by byte", i, 1, 1);
		one(run_conn, "connection, whole", i, cases[i].in.n, SIZE_MAX);
		one(run_conn, "connection, byte by byte", i, 1, 1);
		for (size_t cut = 1; cut < cases[i].in.n; cut++) {
			one(run_pure, "cut", i, cut, SIZE_MAX);
			one(run_conn, "connection, cut", i, cut, SIZE_MAX);
		}
	}
	return tap_done();
}
