/* COMPRESS=DEFLATE between two connections: what goes in comes out, at any cut, in both directions at once. */
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define ZLIB_CONST
#include <zlib.h>

#include "base/buf.h"
#include "io/conn.h"
#include "test/tap.h"

static struct loop *loop;
/* No mark: two ends that both write much and then wait for each other would stand still, as they should. */
static const struct conn_limits limits = { .in_max = 16384,
					   .out_high = 1 << 22,
					   .out_max = 1 << 22 };

struct end {
	struct conn *c;
	struct buf in;
	size_t stop_bytes;
	bool lazy, ended, failed;
};

static void on_conn(void *ctx, struct conn *c, enum conn_event ev)
{
	struct end *t = ctx;

	if (ev == CONN_EV_DATA && !t->lazy) {
		buf_str(&t->in, conn_input(c));
		conn_consume(c, conn_input(c).n);
	}
	t->ended |= ev == CONN_EV_CLOSED;
	t->failed |= ev == CONN_EV_ERROR;
	if (t->ended || t->failed || (t->stop_bytes && t->in.n >= t->stop_bytes))
		loop_stop(loop);
}

static void pair(struct end *a, struct end *b)
{
	int sv[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv) < 0)
		abort();
	struct end *ends[2] = { a, b };
	for (int i = 0; i < 2; i++) {
		*ends[i] = (struct end){ .lazy = false };
		buf_init(&ends[i]->in, 1 << 24);
		ends[i]->c = conn_new(loop, sv[i], &limits, on_conn, ends[i]);
	}
}

static void fini(struct end *a, struct end *b)
{
	conn_free(&a->c);
	conn_free(&b->c);
	buf_fini(&a->in);
	buf_fini(&b->in);
}

static void on_limit(void *ctx)
{
	loop_stop(loop);
}

static void run(unsigned ms)
{
	struct timer *t = loop_timer(loop, ms, on_limit, NULL);

	loop_run(loop);
	timer_del(&t);
}

static void deflate_both(struct end *a, struct end *b)
{
	struct err e = { 0 };

	tap_is_int(conn_deflate(a->c, &e) || conn_deflate(b->c, &e), 0, "compression begins %s",
		   e.text);
	run(5);
}

static void answers_arrive(void)
{
	struct end a, b;
	struct err e = { 0 };

	pair(&a, &b);
	deflate_both(&a, &b);
	tap_ok(conn_deflate(a.c, &e) < 0, "once: %s", e.text);
	b.stop_bytes = 5;
	conn_write(a.c, STR("short"));
	run(1000);
	tap_is_str(b.in.p, "short", "a short line is not held back");
	fini(&a, &b);
}

static void before_and_after(void)
{
	struct end a, b;
	struct err e = { 0 };

	pair(&a, &b);
	conn_write(b.c, STR("OK DEFLATE active\r\n"));
	if (conn_deflate(b.c, &e) < 0)
		tap_ok(false, "%s", e.text);
	conn_write(b.c, STR("* compressed\r\n"));
	a.stop_bytes = 20;
	run(200);
	tap_ok(memcmp(a.in.p, "OK DEFLATE active\r\n", 19) == 0,
	       "the answer before leaves as it is");
	tap_ok(a.in.n > 19 && !strstr(a.in.p + 19, "compressed"), "what follows is compressed");
	fini(&a, &b);
}

static void much(bool random)
{
	struct end a, b;
	static char big[2000000];
	uint32_t x = 1;

	for (size_t i = 0; i < sizeof(big); i++) {
		x = x * 1664525u + 1013904223u;
		big[i] = random ? (char)(x >> 24) : (char)('a' + i % 61 % 26);
	}
	pair(&a, &b);
	deflate_both(&a, &b);
	a.stop_bytes = 0;
	b.stop_bytes = sizeof(big);
	conn_write(b.c, str_n(big, 1000000));
	for (size_t i = 0; i < sizeof(big); i += 100000)
		conn_write(a.c, str_n(big + i, 100000));
	run(5000);
	tap_ok(b.in.n == sizeof(big) && memcmp(b.in.p, big, sizeof(big)) == 0,
	       "two megabytes of %s arrive", random ? "noise" : "text");
	a.stop_bytes = 1000000;
	b.stop_bytes = 0;
	if (a.in.n < 1000000)
		run(5000);
	tap_ok(a.in.n == 1000000 && memcmp(a.in.p, big, 1000000) == 0, "and the other direction");
	conn_finish(&a.c, 500);
	run(1000);
	tap_ok(b.ended && !b.failed, "and it ends well");
	fini(&a, &b);
}

static size_t compressed(struct str in, unsigned char *out, size_t max)
{
	z_stream z = { 0 };

	deflateInit2(&z, 9, Z_DEFLATED, -15, 8, Z_DEFAULT_STRATEGY);
	z.next_in = (const Bytef *)in.p;
	z.avail_in = (uInt)in.n;
	z.next_out = out;
	z.avail_out = (uInt)max;
	deflate(&z, Z_SYNC_FLUSH);
	size_t n = max - z.avail_out;
	deflateEnd(&z);
	return n;
}

static void hostile(void)
{
	struct end a, b;
	struct err e = { 0 };
	static char zeros[8000000];
	static unsigned char bomb[100000];
	size_t n = compressed(str_n(zeros, sizeof(zeros)), bomb, sizeof(bomb));

	pair(&a, &b);
	b.lazy = true;
	if (conn_deflate(b.c, &e) < 0)
		tap_ok(false, "%s", e.text);
	conn_write(a.c, str_n(bomb, n));
	run(50);
	tap_is_int((long long)conn_input(b.c).n, 16384,
		   "a bomb of %zu bytes fills the input buffer and waits", n);
	b.lazy = false;
	b.stop_bytes = sizeof(zeros) - 16384;
	conn_consume(b.c, 16384);
	run(5000);
	tap_is_int((long long)b.in.n, sizeof(zeros) - 16384, "and goes on when there is room");
	fini(&a, &b);

	pair(&a, &b);
	if (conn_deflate(b.c, &e) < 0)
		tap_ok(false, "%s", e.text);
	conn_write(a.c, STR("this is not deflated"));
	run(1000);
	tap_ok(b.failed, "rubbish is an error: %s", conn_error(b.c));
	fini(&a, &b);
}

static void byte_by_byte(void)
{
	struct end a, b;
	struct err e = { 0 };
	unsigned char z[500];
	size_t n = compressed(STR("one line\r\nanother line\r\n"), z, sizeof(z));

	for (size_t cut = 1; cut < n; cut++) {
		pair(&a, &b);
		if (conn_deflate(b.c, &e) < 0)
			tap_ok(false, "%s", e.text);
		b.stop_bytes = 24;
		conn_write(a.c, str_n(z, cut));
		run(cut == n - 1 ? 2 : 1);
		conn_write(a.c, str_n(z + cut, n - cut));
		if (b.in.n < 24)
			run(500);
		if (b.in.n != 24 || memcmp(b.in.p, "one line\r\nanother line\r\n", 24) != 0)
			tap_ok(false, "cut at %zu", cut);
		fini(&a, &b);
	}
	tap_ok(true, "compressed input can be cut anywhere");
	/* What came together with the command is input of the new layer. */
	pair(&a, &b);
	b.lazy = true;
	conn_write(a.c, str_n(z, n));
	run(5);
	b.lazy = false;
	b.stop_bytes = 24;
	if (conn_deflate(b.c, &e) < 0)
		tap_ok(false, "%s", e.text);
	run(500);
	tap_is_int((long long)b.in.n, 24, "early compressed input is used");
	fini(&a, &b);
}

int main(void)
{
	alarm(30);
	loop = loop_new();
	answers_arrive();
	before_and_after();
	much(false);
	much(true);
	hostile();
	byte_by_byte();
	loop_free(&loop);
	return tap_done();
}
