/* Where commands end: each case runs whole, byte by byte and cut in two at every place. */
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "imap/scan.h"
#include "test/tap.h"

enum { KEEP, REFUSE };

/* Feed in, cut in two at cut (0: single bytes), as a caller does that drops the text of a wrong command; write what is seen to out: the
 * bytes, "[n]" for each literal asked about, "=error;" at each end. */
static void run(struct str in, size_t cut, int policy, struct buf *out)
{
	struct imap_scan s;
	size_t at = 0, start = 0;

	imap_scan_init(&s, 40);
	while (at < in.n) {
		const size_t end = cut == 0 ? at + 1 : at < cut ? cut : in.n;
		size_t used = 0;
		const enum imap_scan_result r = imap_scan(&s, str_sub(in, at, end - at), &used);

		if (s.error == IMAP_SCAN_OK)
			buf_mem(out, in.p + at, used);
		else
			buf_cut(out, start);
		at += used;
		if (r == IMAP_SCAN_LITERAL) {
			buf_printf(out, "[%llu%s]", (unsigned long long)s.lit_size, s.lit_nonsync ? "+" : "");
			if (policy == KEEP)
				imap_scan_accept(&s);
			else if (imap_scan_refuse(&s))
				goto done;
		} else if (r == IMAP_SCAN_DONE) {
		done:
			if (s.error != IMAP_SCAN_OK)
				buf_cut(out, start);
			buf_printf(out, "=%d;", s.error);
			start = out->n;
			if (s.error == IMAP_SCAN_FATAL)
				return;
			imap_scan_init(&s, 40);
		}
	}
}

static const struct {
	const char *name, *in, *want;
	int policy;
} cases[] = {
	{ "a plain line", "a NOOP\r\n", "a NOOP\r\n=0;", KEEP },
	{ "two commands", "a NOOP\r\nb NOOP\r\n", "a NOOP\r\n=0;b NOOP\r\n=0;", KEEP },
	{ "an empty line", "\r\na X\r\n", "\r\n=0;a X\r\n=0;", KEEP },
	{ "a literal", "a L {3}\r\nx\r\n\r\n", "a L {3}\r\n[3]x\r\n\r\n=0;", KEEP },
	{ "a literal that does not wait", "a L {3+}\r\nxyz w\r\n", "a L {3+}\r\n[3+]xyz w\r\n=0;", KEEP },
	{ "an empty literal", "a L {0}\r\n\r\n", "a L {0}\r\n[0]\r\n=0;", KEEP },
	{ "two literals", "a {1}\r\nx {2+}\r\nyz\r\n", "a {1}\r\n[1]x {2+}\r\n[2+]yz\r\n=0;", KEEP },
	{ "braces in quotes are text", "a \"{3}\"\r\n", "a \"{3}\"\r\n=0;", KEEP },
	{ "braces in open quotes are text", "a \"{3}\r\n", "a \"{3}\r\n=0;", KEEP },
	{ "escaped quotes", "a \"\\\"{3}\"\r\n", "a \"\\\"{3}\"\r\n=0;", KEEP },
	{ "no literal: negative", "a {-1}\r\n", "a {-1}\r\n=0;", KEEP },
	{ "no literal: blank", "a { 1}\r\n", "a { 1}\r\n=0;", KEEP },
	{ "no literal: open", "a {1\r\n", "a {1\r\n=0;", KEEP },
	{ "no literal: plus first", "a {+1}\r\n", "a {+1}\r\n=0;", KEEP },
	{ "no literal: more follows", "a {1} \r\n", "a {1} \r\n=0;", KEEP },
	{ "2^32 is asked about", "a {4294967296}\r\nb X\r\n", "=3;b X\r\n=0;", REFUSE },
	{ "2^64 is refused unasked", "a {18446744073709551616}\r\nb X\r\n", "=3;b X\r\n=0;", KEEP },
	{ "2^64 that does not wait ends the connection", "a {18446744073709551616+}\r\nb", "=4;", KEEP },
	{ "a refused literal that does not wait is read over", "a {5+}\r\nb X\r\n\r\nc Y\r\n", "=3;c Y\r\n=0;", REFUSE },
	{ "bare LF", "a X\nb Y\r\n", "=2;b Y\r\n=0;", KEEP },
	{ "bare CR", "a X\rb Y\r\nc Z\r\n", "=2;c Z\r\n=0;", KEEP },
	{ "a long line", "a 45678901234567890123456789012345678901234567890\r\nb X\r\n", "=1;b X\r\n=0;", KEEP },
};

int main(void)
{
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		const struct str in = str_c(cases[i].in);
		bool ok = true;

		/* Cut 0: byte by byte; in.n: whole. */
		for (size_t cut = 0; cut <= in.n; cut++) {
			struct buf got;

			buf_init(&got, 1000);
			run(in, cut, cases[i].policy, &got);
			if (!str_eq(buf_view(&got), str_c(cases[i].want))) {
				tap_diag("cut at %zu: %s", cut, got.p);
				ok = false;
			}
			buf_fini(&got);
		}
		tap_ok(ok, "%s", cases[i].name);
	}
	return tap_done();
}
