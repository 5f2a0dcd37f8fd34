/* What spans.h does, byte by byte as it is said there: for its test and its fuzzer. */
#ifndef SPAM_TEST_SPANS_H
#define SPAM_TEST_SPANS_H

#include <stdio.h>
#include <stdlib.h>

#include "base/arena.h"
#include "base/enc.h"
#include "spam/msg.h"
#include "spam/spans.h"

static inline size_t slow_blanks(struct str in, char *out)
{
	size_t n = 0;
	for (size_t i = 0; i < in.n; i++)
		if (!sp_char(in.p[i]) || i == 0 || !sp_char(in.p[i - 1]))
			out[n++] = sp_char(in.p[i]) ? ' ' : in.p[i];
	return n;
}

static inline size_t slow_space(struct str s, bool wide)
{
	struct str rest = s;
	const uint32_t cp = sp_char(s.p[0]) || !wide || (unsigned char)s.p[0] < 0xc2 ? 0 : utf8_next(&rest);
	const bool blank = cp == 0x85 || cp == 0xa0 || cp == 0x1680 || (cp >= 0x2000 && cp <= 0x200a) || cp == 0x2028 || cp == 0x2029 || cp == 0x202f || cp == 0x205f ||
			   cp == 0x3000;
	return sp_char(s.p[0]) ? 1 : blank ? s.n - rest.n : 0;
}

static inline size_t slow_paragraphs(struct str in, bool wide, char *out)
{
	size_t n = 0, one;
	for (size_t i = 0, k; i < in.n; i = k) {
		size_t ends = 0, first = 0, last = 0;
		for (k = i; k < in.n && (one = slow_space(str_from(in, k), wide)) > 0; k += one) {
			if (in.p[k] != '\n')
				continue;
			first = ends++ == 0 ? k : first;
			last = k;
		}
		if (k == i)
			out[n++] = in.p[k] == '\0' ? '\n' : in.p[k], k++;
		else if (ends < 2)
			out[n++] = ' ';
		else
			n += (size_t)sprintf(out + n, "%s\n%s", first > i ? " " : "", last + 1 < k ? " " : "");
	}
	return n;
}

/* Whether each does the same, in room of as many bytes as the text has. */
static inline bool spans_agree(struct str in)
{
	char *fast = xmalloc(in.n), *slow = xmalloc(in.n * 3 + 8);
	size_t text = 0, tells = 0, ascii = 0, blanks = 0, got;
	for (; text < in.n && in.p[text] != '&' && in.p[text] != '<' && in.p[text] != '\xe2'; text++)
		;
	for (; tells < in.n && in.p[tells] != '.' && in.p[tells] != '@' && in.p[tells] != ':'; tells++)
		;
	for (; ascii < in.n && (unsigned char)in.p[ascii] < 0x80; ascii++)
		blanks += sp_char(in.p[ascii]);
	bool same = span_until(in, '.', '@', ':') == tells && span_ascii(in, &got) == ascii && got == blanks;
	same &= span_text(in, fast) == text && str_eq(str_n(fast, text), str_sub(in, 0, text));
	same &= str_eq(str_n(fast, span_blanks(in, fast)), str_n(slow, slow_blanks(in, slow)));
	for (int wide = 0; wide < 2; wide++)
		same &= str_eq(str_n(fast, span_paragraphs(in, wide, fast)), str_n(slow, slow_paragraphs(in, wide, slow)));
	free(fast);
	free(slow);
	return same;
}

#endif
