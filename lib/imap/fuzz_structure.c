/* No message breaks ENVELOPE and BODYSTRUCTURE: the text is made, has balanced parentheses outside of strings, and no line end outside of literals. */
#include <stdint.h>
#include <stdlib.h>

#include "base/enc.h"
#include "base/num.h"
#include "imap/preview.h"
#include "imap/structure.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Over one quoted string or literal; returns where it ends. */
static size_t skip_string(struct str s, size_t i)
{
	if (s.p[i] == '"') {
		for (i++; i < s.n && s.p[i] != '"'; i++) {
			if (s.p[i] == '\r' || s.p[i] == '\n' || s.p[i] == '\0')
				abort();
			i += s.p[i] == '\\';
		}
		return i + 1;
	}
	struct str rest = str_from(s, i + 1);
	uint64_t n;

	if (num_take(&rest, s.n, &n) < 0 || !str_starts(rest, STR("}\r\n")))
		abort();
	return (size_t)(rest.p - s.p) + 3 + (size_t)n;
}

static void check(struct str s)
{
	int depth = 0;

	for (size_t i = 0; i < s.n;) {
		if (s.p[i] == '"' || s.p[i] == '{') {
			i = skip_string(s, i);
			continue;
		}
		depth += s.p[i] == '(' ? 1 : s.p[i] == ')' ? -1 : 0;
		if (depth < 0 || s.p[i] == '\r' || s.p[i] == '\n')
			abort();
		i++;
	}
	if (depth)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct arena *a = arena_new(0);
	struct mime_part *p = mime_parse(a, str_n(data, size));
	struct buf b;

	buf_init(&b, 64 << 20);
	envelope_put(&b, a, p->head);
	check(buf_view(&b));
	for (int extended = 0; extended < 2; extended++) {
		buf_reset(&b);
		body_put(&b, a, p, extended);
		check(buf_view(&b));
	}
	buf_reset(&b);
	imap_preview(p, &b);
	if (!utf8_valid(buf_view(&b)) || b.n > 4 * IMAP_PREVIEW_MAX)
		abort();
	buf_fini(&b);
	arena_free(&a);
	return 0;
}
