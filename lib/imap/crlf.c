/* The step from LF to CRLF. */
#include "imap/crlf.h"

#include <string.h>

uint64_t crlf_size(struct str s)
{
	const char *p = s.p, *const end = s.p + s.n;
	uint64_t n = s.n;

	if (s.n == 0)
		return 0;
	while (p < end && (p = memchr(p, '\n', (size_t)(end - p)))) {
		if (p == s.p || p[-1] != '\r')
			n++;
		p++;
	}
	return n;
}

void crlf_start(struct crlf *c, struct str s)
{
	*c = (struct crlf){ .p = s.p, .end = s.n ? s.p + s.n : s.p };
}

/* Bytes before the next LF that needs a CR, at most n. */
static size_t run_length(const struct crlf *c, uint64_t n, bool *bare)
{
	const size_t left = (size_t)(c->end - c->p), max = left < n ? left : (size_t)n;
	const char *from = c->p, *lf;

	*bare = false;
	while ((size_t)(from - c->p) < max && (lf = memchr(from, '\n', max - (size_t)(from - c->p)))) {
		if (lf == c->p ? c->after_cr : lf[-1] == '\r') {
			from = lf + 1;
			continue;
		}
		*bare = true;
		return (size_t)(lf - c->p);
	}
	return max;
}

static void put_run(struct buf *out, const char *p, size_t n)
{
	const size_t at = out->n;

	buf_mem(out, p, n);
	for (char *z = out->p + at; n && (z = memchr(z, 0, (size_t)(out->p + out->n - z)));)
		*z++ = (char)0x80;
}

/* out NULL: only move on. */
static void advance(struct crlf *c, struct buf *out, uint64_t n)
{
	while (n && (c->owe_lf || c->p < c->end)) {
		bool bare;

		if (c->owe_lf) {
			if (out)
				buf_ch(out, '\n');
			c->owe_lf = false;
			n--;
			continue;
		}
		const size_t run = run_length(c, n, &bare);

		if (run) {
			if (out)
				put_run(out, c->p, run);
			c->after_cr = c->p[run - 1] == '\r';
			c->p += run;
			n -= run;
		}
		if (bare && n) {
			if (out)
				buf_ch(out, '\r');
			c->p++;
			c->after_cr = false;
			c->owe_lf = true;
			n--;
		}
	}
}

void crlf_skip(struct crlf *c, uint64_t n)
{
	advance(c, NULL, n);
}

void crlf_read(struct crlf *c, struct buf *out, uint64_t n)
{
	advance(c, out, n);
}
