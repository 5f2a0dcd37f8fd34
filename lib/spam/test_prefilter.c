/* The prefilter never misses: for patterns of all shapes and many texts, whatever PCRE2 matches was reported. */
#include <stdlib.h>

#include "map/pcre.h"
#include "spam/prefilter.h"
#include "spam/regex.h"
#include "test/tap.h"

static const struct { const char *text, *flags; } patterns[] = {
	{ "viagra", "i" }, { "foo|bar", "" }, { "(?:foo|bar)baz", "" }, { "colou?r", "" }, { "ab{2,3}c", "" }, { "a.c", "s" }, { "[abc]{3}x", "" }, { "^start", "m" },
	{ "end$", "" }, { "(?i:MiXed)Case", "" }, { "(?=look)lookout", "" }, { "(?!not)thing", "" }, { "\\bword\\b", "" }, { "\\d{3}-\\d{4}", "" },
	{ "(?:one\\s+){3}two", "i" }, { "(?:alpha|beta|gamma){4}", "" }, { "x*yz", "" }, { "(a|b)*c", "" }, { "", "" }, { "a|", "" }, { "\\x41\\x42C", "" },
	{ "[^a-z]{2}q", "" }, { "[\\xc0-\\xc5]\\x80", "i" }, { "\xc3\xa9t\xc3\xa9", "i" }, { "(?:(?:\\W{0,2}[vVu]|\\\\/)\\W{0,2}[iIl1|])\\W{0,2}[aA@4]", "i" }, { "(?x) a b # c\n c", "" },
	{ "(?<name>k)\\k<name>", "" }, { "(.)\\1zz", "" }, { "a++b", "" }, { "(?>ab|a)c", "" }, { "[[:alpha:]]x", "" }, { "\\Qa.b\\E", "" }, { "q{,3}", "" }, { "[]a]b", "" },
	{ "[a-]b-", "" }, { "(?:a{0}b)c", "" }, { "fo(?#comment)o", "" }, { "(?:abc){1,2}def", "" }, { "(?i)A(?-i)B", "" },
};

static unsigned seed = 12345;

static unsigned next(unsigned n)
{
	seed = seed * 1103515245 + 12345;
	return (seed >> 16) % n;
}

/* Texts made of pieces that patterns are about, so that matches are frequent. */
static struct str text(struct buf *b)
{
	static const char *const pieces[] = {
		"viagra", "ViAgRa", "foo", "bar", "baz", "color", "colour", "abbc", "abbbc", "a\nc", "abc", "x", "start", "end", "mixed", "MIXEDCase",
		"lookout", "thing", "not", " word ", "555-1234", "one ", "ONE\t", "two", "alpha", "beta", "gamma", "yz", "c", "ABC", "12q",
		"\xe3\x80", "\xc3\x80", "\xc3\xa9t\xc3\xa9", "\xe3\x89T", "v.i-a", "u1@", "kk", "zzzz", "aab", "ac", "a.b", "qqq", "]b", "-b-", "bc", "def",
		"AB", "aB", "\n", " ", "q{,3}", "{", "",
	};
	buf_reset(b);
	for (unsigned i = next(12); i > 0; i--)
		buf_c(b, pieces[next(ARRAY_LEN(pieces))]);
	return b->n == 0 ? STR("") : buf_view(b);
}

static void on_hit(void *ctx, unsigned number)
{
	((bool *)ctx)[number] = true;
}

int main(void)
{
	struct arena *a = arena_new(0);
	struct prefilter *f = prefilter_new(a);
	struct pcre *code[ARRAY_LEN(patterns)];
	struct buf b, folded;
	struct err e = { 0 };
	unsigned missed = 0, matched = 0, spared = 0;
	buf_init(&b, 100000);
	buf_init(&folded, 100000);
	for (size_t i = 0; i < ARRAY_LEN(patterns); i++) {
		code[i] = NULL;
		if (pcre_compile(str_c(patterns[i].text), patterns[i].flags, false, &code[i], &e) < 0)
			tap_ok(false, "compiles: %s (%s)", patterns[i].text, e.text);
		prefilter_add(f, str_c(patterns[i].text), patterns[i].flags);
	}
	prefilter_finish(f);
	for (unsigned round = 0; round < 20000; round++) {
		bool hit[ARRAY_LEN(patterns)] = { 0 };
		struct str t = text(&b);
		buf_reset(&folded);
		prefilter_fold(t, &folded);
		prefilter_scan(f, t, folded.n == 0 ? STR("") : buf_view(&folded), on_hit, hit);
		for (size_t i = 0; i < ARRAY_LEN(patterns); i++) {
			bool may = hit[i] || prefilter_always(f, (unsigned)i), does = pcre_match(code[i], t, NULL, 0, &e) == 1;
			if (does && !may && missed++ < 10)
				tap_ok(false, "missed: /%s/%s in '%.*s'", patterns[i].text, patterns[i].flags, STR_ARG(t));
			matched += does;
			spared += !may;
		}
	}
	tap_is_int(missed, 0, "no match is missed (of %u)", matched);
	tap_ok(matched > 20000 && spared > 200000, "matches happen (%u) and work is spared (%u)", matched, spared);
	struct prefilter_stats st = prefilter_stats(f);
	tap_ok(st.literal >= 20 && st.window >= 5 && st.always >= 3, "all ways serve: %u by literals, %u by windows, %u always", st.literal, st.window, st.always);
	for (size_t i = 0; i < ARRAY_LEN(patterns); i++)
		pcre_free(&code[i]);
	buf_fini(&b);
	buf_fini(&folded);
	arena_free(&a);
	return tap_done();
}
