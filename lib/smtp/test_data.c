/* The DATA reader: every rule of data.h, each case whole, byte by byte and cut at every place; and what the dot encoder makes of the result. */
#include <stdlib.h>

#include "base/arena.h"
#include "smtp/data.h"
#include "test/tap.h"

#define S(x) { (x), sizeof(x) - 1 }
static const struct data_case {
	const char *name;
	struct str in, want;
	int fault;
	bool end;
	size_t left;	/* bytes behind the end */
} cases[] = {
	{ "an empty message", S(".\r\n"), S(""), 0, true, 0 },
	{ "a line", S("a\r\n.\r\n"), S("\na\n"), 0, true, 0 },
	{ "what follows the end is left", S("a\r\n.\r\nQUIT\r\n"), S("\na\n"), 0, true, 6 },
	{ "a stuffed dot as first line", S("..\r\n.\r\n"), S("\n.\n"), 0, true, 0 },
	{ "three dots", S("...\r\n.\r\n"), S("\n..\n"), 0, true, 0 },
	{ "a dot before text", S(".a\r\n.\r\n"), S("\na\n"), 0, true, 0 },
	{ "a dot inside", S("a.\r\n.\r\n"), S("\na.\n"), 0, true, 0 },
	{ "empty lines", S("\r\n\r\n.\r\n"), S("\n\n"), 0, true, 0 },
	{ "no end", S("a\r\n."), S(""), 0, false, 0 },
	{ "8-bit", S("\xff\xfe\r\n.\r\n"), S("\n\xff\xfe\n"), 0, true, 0 },
	{ "a header", S("A: b\r\n c\r\n\r\nd\r\n.\r\n"), S("A: b\n c\n\nd\n"), 0, true, 0 },
	{ "a header without empty line", S("A: b\r\nc d\r\n.\r\n"), S("A: b\n\nc d\n"), 0, true, 0 },
	{ "a first line that looks folded", S(" A: b\r\n.\r\n"), S("\n A: b\n"), 0, true, 0 },
	/* smuggling: nothing but CR LF . CR LF ends the data, and each of these refuses the message */
	{ "LF . LF", S("a\n.\nMAIL\r\n.\r\n"), S(""), SMTP_DATA_BARE_LF, true, 0 },
	{ "CR . CR", S("a\r.\rMAIL\r\n.\r\n"), S(""), SMTP_DATA_BARE_CR, true, 0 },
	{ "LF . CRLF", S("a\n.\r\nMAIL\r\n.\r\n"), S(""), SMTP_DATA_BARE_LF, true, 0 },
	{ "CRLF . LF", S("a\r\n.\nMAIL\r\n.\r\n"), S(""), SMTP_DATA_BARE_LF, true, 0 },
	{ "CRLF . CR", S("a\r\n.\rMAIL\r\n.\r\n"), S(""), SMTP_DATA_BARE_CR, true, 0 },
	{ "CR . CRLF", S("a\r.\r\nMAIL\r\n.\r\n"), S(""), SMTP_DATA_BARE_CR, true, 0 },
	{ "CR . LF", S("a\r.\nMAIL\r\n.\r\n"), S(""), SMTP_DATA_BARE_CR, true, 0 },
	{ "LF . CR", S("a\n.\rMAIL\r\n.\r\n"), S(""), SMTP_DATA_BARE_LF, true, 0 },
	{ "CRLF NUL . CRLF", S("a\r\n\0.\r\nMAIL\r\n.\r\n"), S(""), SMTP_DATA_NUL, true, 0 },
	{ "CRLF . NUL CRLF", S("a\r\n.\0\r\nMAIL\r\n.\r\n"), S(""), SMTP_DATA_NUL, true, 0 },
	{ "LF LF . CRLF", S("a\n\n.\r\nMAIL\r\n.\r\n"), S(""), SMTP_DATA_BARE_LF, true, 0 },
	{ "CRLF . CR CRLF", S("a\r\n.\r\r\nMAIL\r\n.\r\n"), S(""), SMTP_DATA_BARE_CR, true, 0 },
	{ "CR CRLF . CR CRLF", S("a\r\r\n.\r\r\nMAIL\r\n.\r\n"), S(""), SMTP_DATA_BARE_CR, true, 0 },
	{ "CR CRLF, then a real end", S("a\r\r\n.\r\nMAIL"), S(""), SMTP_DATA_BARE_CR, true, 4 },
	{ "CRLF LF . CRLF", S("a\r\n\n.\r\nMAIL\r\n.\r\n"), S(""), SMTP_DATA_BARE_LF, true, 0 },
	{ "CRLF CR . CRLF", S("a\r\n\r.\r\nMAIL\r\n.\r\n"), S(""), SMTP_DATA_BARE_CR, true, 0 },
	{ "LF first", S("\n.\r\n\r\n.\r\n"), S(""), SMTP_DATA_BARE_LF, true, 0 },
	{ "a NUL", S("a\0b\r\n.\r\n"), S(""), SMTP_DATA_NUL, true, 0 },
};

struct run {
	struct smtp_data d;
	char room[4096];
	struct buf out;
	int r;
	size_t used;
};

static int sink(void *ctx, const void *p, size_t n)
{
	struct run *r = ctx;

	buf_mem(&r->out, p, n);
	return 0;
}

static void start(struct run *r)
{
	const struct smtp_data_limits lim = { .size_max = 1 << 20, .header_max = 1 << 16 };

	buf_reset(&r->out);
	smtp_data_init(&r->d, &lim, sink, r, r->room, sizeof r->room);
	r->used = 0;
	r->r = 1;
}

static void feed(struct run *r, struct str in)
{
	char *exact = xmalloc(in.n + 1);
	size_t used = 0;

	memcpy(exact, in.p, in.n);
	if (r->r == 1 && in.n > 0) {
		r->r = smtp_data_feed(&r->d, str_n(exact, in.n), &used);
		r->used += used;
	}
	free(exact);
}

static bool good(const struct run *r, const struct data_case *c)
{
	if (r->r != (c->end ? 0 : 1) || (int)r->d.fault != c->fault || r->used != c->in.n - c->left)
		return false;
	return !c->end || c->fault != 0 || (str_eq(buf_view(&r->out), c->want) && r->d.size == c->want.n && r->d.wire == r->d.size + r->d.lines);
}

static void test_case(struct run *r, const struct data_case *c)
{
	start(r);
	feed(r, c->in);
	tap_ok(good(r, c), "%s: whole (fault %d, used %zu)", c->name, (int)r->d.fault, r->used);
	start(r);
	for (size_t i = 0; i < c->in.n; i++)
		feed(r, str_sub(c->in, i, 1));
	tap_ok(good(r, c), "%s: byte by byte", c->name);
	bool all = true;
	for (size_t i = 0; i <= c->in.n; i++)
		for (size_t k = i; k <= c->in.n; k++) {
			start(r);
			feed(r, str_sub(c->in, 0, i));
			feed(r, str_sub(c->in, i, k - i));
			feed(r, str_from(c->in, k));
			all = all && good(r, c);
		}
	tap_ok(all, "%s: cut at every two places", c->name);
}

/* Wire text of a stored message holds no bare CR or LF and reads back as the same message. */
static void test_encode(struct run *r, struct str stored, struct str wire)
{
	for (size_t step = 1; step <= stored.n + 1; step++) {
		struct smtp_dot dot = SMTP_DOT_INIT;
		struct buf out;
		buf_init(&out, 100000);
		for (size_t i = 0; i < stored.n; i += step)
			smtp_dot_encode(&dot, str_sub(stored, i, step), &out);
		smtp_dot_end(&dot, &out);
		if (!str_eq(buf_view(&out), wire)) {
			tap_is_mem(buf_view(&out), wire, "encoded in steps of %zu", step);
			buf_fini(&out);
			return;
		}
		start(r);
		feed(r, buf_view(&out));
		if (r->r != 0 || r->d.fault != SMTP_DATA_FINE)
			tap_ok(false, "encoded text reads back");
		buf_fini(&out);
	}
	tap_ok(true, "%zu stored bytes encode and read back", stored.n);
}

static void test_header(struct run *r)
{
	start(r);
	feed(r, STR("Received: a\r\n\tb\r\nReceived: c\r\nFROM: x\r\nMessage-Id:\r\n <a@b>\r\nSubject: y\r\n\r\nDate: z\r\nReceived: no\r\n.\r\n"));
	tap_ok(r->r == 0 && r->d.received == 2 && r->d.has_from && !r->d.has_date, "header fields are counted in the header only");
	tap_is_str(r->d.message_id, "<a@b>", "a folded message id");
	start(r);
	feed(r, STR(" x: y\r\nFrom: a\r\n.\r\n"));
	tap_ok(!r->d.has_from, "a continuation as first line starts the body");
	start(r);
	feed(r, STR("From joe Mon\r\nDate: a\r\n.\r\n"));
	tap_ok(r->d.has_date, "a mailbox line before the header");
	start(r);
	feed(r, STR("no field\r\nFrom: a\r\n.\r\n"));
	tap_ok(!r->d.has_from, "a line that is no field ends the header");
}

static void test_limits(struct run *r)
{
	const struct smtp_data_limits lim = { .size_max = 10, .header_max = 100000 };
	static char big[SMTP_DATA_LINE_MAX + 10];

	start(r);
	r->d.limits = lim;
	feed(r, STR("\r\n123456\r\n.\r\n"));
	tap_is_int(r->d.fault, SMTP_DATA_FINE, "exactly the size limit");
	start(r);
	r->d.limits = lim;
	feed(r, STR("\r\n1234567\r\n.\r\n"));
	tap_is_int(r->d.fault, SMTP_DATA_TOO_BIG, "one byte above the size limit");
	start(r);
	r->d.limits.header_max = 20;
	feed(r, STR("A: 567890\r\nB: 567890\r\n\r\nbody\r\n.\r\n"));
	tap_is_int(r->d.fault, SMTP_DATA_LONG_HEADER, "a header above its limit");
	start(r);
	r->d.limits.header_max = 24;
	feed(r, STR("A: 567890\r\nB: 567890\r\n\r\nbody that is longer than the header may be\r\n.\r\n"));
	tap_is_int(r->d.fault, SMTP_DATA_FINE, "a body is not held to the header's limit");
	memset(big, 'x', sizeof big);
	start(r);
	r->d.limits.size_max = 0;
	feed(r, STR("\r\n"));
	feed(r, str_n(big, SMTP_DATA_LINE_MAX));
	tap_is_int(r->d.fault, SMTP_DATA_FINE, "a line of the limit");
	feed(r, str_n(big, 1));
	tap_is_int(r->d.fault, SMTP_DATA_LONG_LINE, "a line above the limit");
}

int main(void)
{
	static struct run r;

	buf_init(&r.out, SIZE_MAX / 2);
	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		test_case(&r, &cases[i]);
	test_header(&r);
	test_limits(&r);
	test_encode(&r, STR("a\n.\n..\n.b\n\n"), STR("a\r\n..\r\n...\r\n..b\r\n\r\n.\r\n"));
	test_encode(&r, STR("no end"), STR("no end\r\n.\r\n"));
	test_encode(&r, STR("a\rb\r\nc\r\r\n.\r.\n"), STR("a b\r\nc \r\n.. .\r\n.\r\n"));
	test_encode(&r, STR(""), STR(".\r\n"));
	test_encode(&r, STR("\r"), STR("\r\n.\r\n"));
	buf_fini(&r.out);
	return tap_done();
}
