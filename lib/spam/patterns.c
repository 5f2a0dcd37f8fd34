/* See patterns.h. */
#include "spam/patterns.h"

#include "base/arena.h"
#include "base/buf.h"
#include "map/pcre.h"

#define IP4 "\\b(?:1\\d\\d|2[0-4]\\d|25[0-5]|[1-9]?\\d)(?:\\.(?:1\\d\\d|2[0-4]\\d|25[0-5]|[1-9]?\\d)){3}\\b"
#define IP6 "(?:IPv6:|(?<![a-fA-F0-9:]))(?=[a-fA-F0-9:]*:[a-fA-F0-9:]*:)[a-fA-F0-9:]{2,39}(?![a-fA-F0-9:])"

static const char *const texts[] = {
#define PATTERN(name, text) text,
#include "spam/patterns.def"
#undef PATTERN
};
static struct pcre *codes[PAT_MAX_];

static int compile_one(size_t i, bool jit, struct err *e)
{
	struct buf b;
	buf_init(&b, 65536);
	for (struct str t = str_c(texts[i]); t.n > 0;) {
		bool four = str_starts(t, STR("IP4")), any = !four && str_starts(t, STR("IP")) && (t.n == 2 || !ch_alpha(t.p[2]));
		if (four || any)
			buf_c(&b, four ? IP4 : "(?:" IP4 "|" IP6 ")");
		else
			buf_ch(&b, t.p[0]);
		t = str_from(t, four ? 3 : any ? 2 : 1);
	}
	int r = pcre_compile(buf_view(&b), "", jit, &codes[i], e);
	buf_fini(&b);
	return r < 0 ? err_wrap(e, "patterns.def, row %zu", i + 1) : 0;
}

int patterns_load(bool jit, struct err *e)
{
	for (size_t i = 0; i < PAT_MAX_; i++)
		if (codes[i] == NULL && compile_one(i, jit, e) < 0)
			return -1;
	return 0;
}

bool pat_groups(enum pattern_name name, struct str text, struct str *groups, size_t n)
{
	struct err e = { 0 };
	return pcre_match(codes[name], text, groups, n, &e) == 1;
}

bool pat(enum pattern_name name, struct str text)
{
	return pat_groups(name, text, NULL, 0);
}

bool pat_find(enum pattern_name name, struct str text, size_t from, size_t *start, size_t *end)
{
	struct err e = { 0 };
	return pcre_find(codes[name], text, from, SIZE_MAX, start, end, &e) == 1;
}
