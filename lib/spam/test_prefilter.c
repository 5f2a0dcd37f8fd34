/* The prefilter and the gates never miss: for patterns of all shapes and many texts, whatever PCRE2 matches was reported. */
#include <stdlib.h>

#include "map/pcre.h"
#include "spam/gate.h"
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
	{ "\\b(?:[a-z]{3,}[\\s.]+){2}", "" }, { "(?:[a-z]*\\s?(?:foo|bar|baz)\\W{0,3}){3}", "i" }, { "[a-z ]{13}x", "" }, { "(?:\\w+\\s){20}", "" }, { "[^x]{3,5}(?:c|\\xa9)", "s" },
	{ "[a-z]+\\d{3}", "" }, { "\\w{2}(?:foo|thing)\\b", "i" }, { "(?:\\S+\\s+){2,}\\S*c$", "m" }, { "[[:alpha:]]?[a-u]{4}(?!bar)z", "" },
	{ "(?=[a-z])[a-z]{2,4}[A-Z]", "" }, { "(?>[a-z]+)\\.", "" }, { "[^\\d\\s]{2}\\s[^a-f]", "" }, { "(?:a|b|[c-z]|-)*-\\d", "i" },
	{ "(?:foo)?\\s?(?:bar){1,2}thing", "" }, { "\\bx{0,3}(?:viagra|colou?r)", "i" }, { "(?<=foo)bar[a-z]", "" }, { "[a-z]{0,4}[ .]?mixed", "i" }, { "(?:one|foo.*)two", "i" },
	{ "(?:a|bc){2,4}def", "" }, { "\\Gfoo", "" }, { "foo \v bar\f", "x" }, { "thing zz ?", "x" }, { "thingx(?#c)?", "" }, { "lookout#c\nx *", "x" },
	{ "^\\s?(?:foo|[a-z]{2,5}ing|c)\\s", "m" }, { "^[a-z]+\\s+(?:^ba|thing)[rz]", "im" }, { "^(?:[^x]*?q|\\W?[a-z]{3})[a-u]$", "ms" }, { "^[a-z]*(?:\\s|bc)def|^ba", "m" },
	{ "[[:upper:]]{2}[[:^alpha:]_]", "" }, { "[[:digit:][:space:]x]{2}[[:lower:]]", "i" }, { "(foo|ba.)[^x]{0,9}\\1c", "" }, { "[a-z]+@1x?", "" }, { "^[a-z]+ word", "m" },
	{ "^[^>]?.*?thing", "m" }, { "^abc.*bar", "s" }, { "one\\s(?:two|foo)\\s?bar", "i" }, { "(?:[a-z]\\W?)+thing\\b", "" },
	{ "(?m)^[a-z]?foo|[a-z]z", "m" }, { "[a-z ]?(?:[^x]{0,2}viagra.?)[^x]", "is" }, { "[^c](?:bar|[a-z]{1,3}thing[a-z]?).", "" }, { "(?:[a-z]{1,3}alpha.){2}", "" },
	{ "vi+agr+a", "i" }, { "fo+(?:ba+r)?t+w", "i" }, { "(?:ab+|c+d?)e{0,2}f?x+", "" }, { "(?:(?:fo)+|(?:ba){1,2}r)z*th+ing", "i" }, { "(?:z{2,}|[ab]+)c+", "" },
	{ "(?^:one t)wo", "x" }, { "(?xx)[^x z][b-w]or[b-d]", "" }, { "[^\\xe3][\\x80-\\x8f]", "i" },
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

struct where { bool may; size_t from, to; };
struct scan { const struct prefilter *f; struct str text; struct where *where; };

static void on_hit(void *ctx, unsigned number, size_t at)
{
	const struct scan *s = ctx;
	struct where *w = &s->where[number];
	size_t from = at, to = at;
	if (!prefilter_place(s->f, number, s->text, 0, &from, &to))
		return;
	w->from = !w->may || from < w->from ? from : w->from;
	w->to = !w->may || to > w->to ? to : w->to;
	w->may = true;
}

/* The same match, or none, where it may begin as in the whole text; from there on the gate is open. */
static bool found_there(const struct pcre *code, struct gate *g, struct str t, const struct where *w)
{
	size_t start = 0, end = 0, s2 = 0, e2 = 0;
	struct err e = { 0 };
	const bool does = pcre_find(code, t, 0, SIZE_MAX, &start, &end, &e) == 1, there = pcre_find(code, t, w->from, w->to, &s2, &e2, &e) == 1;
	return does == there && start == s2 && end == e2 && (!does || g == NULL || gate_may(g, str_from(t, w->from)));
}

/* The same match, or none, where the gate opens from `from` to last, where all matches begin; *tried: at how many bytes. */
static bool found_gated(const struct pcre *code, struct gate *g, struct str t, size_t from, size_t last, unsigned *tried)
{
	size_t start = 0, end = 0, s2 = 0, e2 = 0, to = 0;
	struct err e = { 0 };
	const bool does = pcre_find(code, t, 0, SIZE_MAX, &start, &end, &e) == 1;
	bool there = false;
	for (; !there && gate_next(g, t, &from, last, &to); from = to + 1) {
		to = to < last ? to : last;
		there = pcre_find(code, t, from, to, &s2, &e2, &e) == 1;
		*tried += (unsigned)(to - from + 1);
	}
	return does == there && start == s2 && end == e2;
}

/* Every byte of it asks for a new subset: work and memory end, the answer is then "it may". What another gate says is right all the while, also after all was
 * forgotten. */
static void hostile(void)
{
	struct gates *all = gates_new();
	struct gate *g = gate_new(all, STR("[a-m][a-z]{11}[n-z][a-z]{11}[a-f]{12}x"), ""), *other = gate_new(all, STR("[a-z]+ (?:one|other) thing"), "");
	char noise[10000];
	unsigned may = 0, wrong = 0;
	for (unsigned round = 0; round < 400; round++) {
		for (size_t i = 0; i < sizeof(noise); i++)
			noise[i] = (char)('a' + next(23));
		may += gate_may(g, str_n(noise, sizeof(noise)));
		wrong += !gate_may(other, STR("that other thing")) || gate_may(other, STR("another one, things, othe thing"));
	}
	tap_ok(may > 0, "noise is let through when the work is not worth it (%u of 400)", may);
	tap_is_int(wrong, 0, "what noise does to one gate changes no answer of another");
	gates_free(&all);
}

/* Several texts side by side, of any lengths: for each what it is alone. */
static void side_by_side(void)
{
	struct gates *all = gates_new();
	struct gate *g = gate_new(all, STR("(?:[a-z]*\\s?(?:foo|bar|abc|on)\\W{0,3}){2}"), "i");
	unsigned wrong = 0, open = 0, shut = 0;
	struct buf b[20];
	for (size_t i = 0; i < ARRAY_LEN(b); i++)
		buf_init(&b[i], 10000);
	for (unsigned round = 0; round < 2000; round++) {
		struct str texts[ARRAY_LEN(b)];
		bool may[ARRAY_LEN(b)];
		const size_t n = next(ARRAY_LEN(b) + 1);
		for (size_t i = 0; i < n; i++)
			texts[i] = text(&b[i]);
		gate_each(g, texts, n, may);
		for (size_t i = 0; i < n; i++) {
			wrong += may[i] != gate_may(g, texts[i]);
			open += may[i];
			shut += !may[i];
		}
	}
	tap_ok(wrong == 0 && open > 500 && shut > 500, "a gate says of each of several texts what it says of it alone (%u open, %u shut, %u wrong)", open, shut, wrong);
	for (size_t i = 0; i < ARRAY_LEN(b); i++)
		buf_fini(&b[i]);
	gates_free(&all);
}

/* From where to where a match may begin, in texts that have what is required once; -1: nowhere. */
static void narrow(void)
{
	static const struct { const char *pattern, *flags, *text; int from, to; } cases[] = {
		{ "[a-z]+@example", "", "some words, joe@example", 12, 15 },
		{ "[a-z]{2}[0-9]{0,3}xyz", "", "so many words xyz", 9, 14 },
		{ "(?:\\d+|ten)\\s(?:to|for)\\syour\\saccount", "i", "On the second day 17 for\tYour account", 15, 20 },
		{ "(?:\\d+|ten)\\s(?:to|for)\\syour\\saccount", "i", "10 for yours account", -1, -1 },
		{ "^[a-z ]+\\.txt", "m", "one\ntwo three.txt", 4, 4 },
		{ "^[a-z]+\\.txt", "m", "no one.txt", -1, -1 },
		{ "^(?:foo|ba.).{0,5}bar", "", "foo! bar", 0, 0 },
		{ "^(?:foo|ba.).{0,5}bar", "", "something foo bar", -1, -1 },
		{ "(.)\\1[[:digit:]]{2}bcd", "", "12345bcd", 0, 5 },
		{ "(?:[[:xdigit:]]{2}|-){1,4}QQQ", "", "the id is 12-34QQQ", 7, 15 },
		{ "<[^>]*href=", "i", "<b>this</b> <i href=", 3, 15 },
		{ "\\.[^.]*href=", "i", "It. Is. There href=", 3, 14 },
		{ ",[^,\\n]*href=", "i", "one\ntwo, three href=", 4, 15 },
		{ "of+ic+er", "", "an offficcer", 3, 6 },
		{ "of+ic+er", "", "an of ic er", -1, -1 },
		{ "[a-z ]*(?:ba)+r", "", "BA ba babar", 2, 8 },
	};
	struct buf folded;
	buf_init(&folded, 1000);
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct arena *a = arena_new(0);
		struct prefilter *f = prefilter_new(a);
		struct where w = { 0 };
		const struct str t = str_c(cases[i].text);
		struct scan s = { f, t, &w };
		prefilter_add(f, str_c(cases[i].pattern), cases[i].flags);
		prefilter_finish(f);
		buf_reset(&folded);
		prefilter_fold(t, &folded);
		prefilter_scan(f, t, buf_view(&folded), on_hit, &s);
		const int from = w.may ? (int)w.from : -1, to = w.may ? (int)w.to : -1;
		tap_ok(!prefilter_always(f, 0) && from == cases[i].from && to == cases[i].to, "/%s/%s begins from %d to %d in '%s' (%d to %d)", cases[i].pattern,
		       cases[i].flags, cases[i].from, cases[i].to, cases[i].text, from, to);
		arena_free(&a);
	}
	buf_fini(&folded);
}

/* What rx_run_in says is what PCRE2 does, for runs everywhere and nearly long enough ones. */
static void runs(void)
{
	const char *const pattern = "^(?:[^\\r\\n]){40}";
	struct arena *a = arena_new(0);
	const struct rx *x = rx_parse(a, str_c(pattern), "m");
	struct pcre *code = NULL;
	struct err e = { 0 };
	struct rx_run run, none;
	unsigned wrong = 0, there = 0;
	char t[400];
	bool ok = x != NULL && rx_run(x, &run) && run.n == 40 && pcre_compile(str_c(pattern), "", false, &code, &e) == 0;
	pcre_free(&code);
	ok = ok && pcre_compile(STR("[^\\r\\n]{40}"), "", false, &code, &e) == 0;
	for (unsigned round = 0; ok && round < 20000; round++) {
		const size_t n = next(sizeof(t));
		for (size_t i = 0; i < n; i++)
			t[i] = next(30) == 0 ? "\r\n"[next(2)] : 'x';
		const bool does = pcre_match(code, str_n(t, n), NULL, 0, &e) == 1;
		wrong += does != rx_run_in(&run, str_n(t, n));
		there += does;
	}
	tap_ok(ok && wrong == 0 && there > 5000 && there < 18000, "a run is found where there is one (%u of 20000, %u wrong)", there, wrong);
	tap_ok(!rx_run(rx_parse(a, STR("x[a-z]{31}|[a-z]{99}"), ""), &none) && !rx_run(rx_parse(a, STR("(?:ab){50}"), ""), &none), "no run where not every match has one");
	pcre_free(&code);
	arena_free(&a);
}

/* With so many windows that the prefilter goes another way about them. */
static struct prefilter *with_more(struct arena *a)
{
	struct prefilter *f = prefilter_new(a);
	for (size_t i = 0; i < ARRAY_LEN(patterns); i++)
		prefilter_add(f, str_c(patterns[i].text), patterns[i].flags);
	for (unsigned i = 0; i < 26 * 26; i++)
		prefilter_add(f, str_c(arena_printf(a, "[%c][%c-~][a-z][^x]", 'a' + i / 26, 'a' + i % 26)), "i");
	prefilter_finish(f);
	return f;
}

int main(void)
{
	struct arena *a = arena_new(0);
	struct prefilter *f = prefilter_new(a);
	struct pcre *code[ARRAY_LEN(patterns)];
	struct gates *of_all = gates_new();
	struct gate *gates[ARRAY_LEN(patterns)];
	struct buf b, folded;
	struct err e = { 0 };
	unsigned missed = 0, matched = 0, spared = 0, shut = 0, n_gates = 0, elsewhere = 0, narrowed = 0, differ = 0, ungated = 0, all = 0, tried = 0, placed = 0;
	buf_init(&b, 100000);
	buf_init(&folded, 100000);
	for (size_t i = 0; i < ARRAY_LEN(patterns); i++) {
		code[i] = NULL;
		if (pcre_compile(str_c(patterns[i].text), patterns[i].flags, false, &code[i], &e) < 0)
			tap_ok(false, "compiles: %s (%s)", patterns[i].text, e.text);
		prefilter_add(f, str_c(patterns[i].text), patterns[i].flags);
		gates[i] = gate_new(of_all, str_c(patterns[i].text), patterns[i].flags);
		n_gates += gates[i] != NULL;
	}
	prefilter_finish(f);
	struct prefilter *more = with_more(a);
	struct where *hit_more = ARENA_ARRAY(a, struct where, prefilter_count(more));
	for (unsigned round = 0; round < 20000; round++) {
		struct where hit[ARRAY_LEN(patterns)] = { 0 };
		struct str t = text(&b);
		buf_reset(&folded);
		prefilter_fold(t, &folded);
		struct scan s = { f, t, hit }, s_more = { more, t, hit_more };
		prefilter_scan(f, t, folded.n == 0 ? STR("") : buf_view(&folded), on_hit, &s);
		memset(hit_more, 0, prefilter_count(more) * sizeof(*hit_more));
		prefilter_scan(more, t, folded.n == 0 ? STR("") : buf_view(&folded), on_hit, &s_more);
		for (size_t i = 0; i < ARRAY_LEN(patterns); i++) {
			differ += hit[i].may != hit_more[i].may || hit[i].from != hit_more[i].from || hit[i].to != hit_more[i].to;
			bool open = gates[i] == NULL || gate_may(gates[i], t), may = open && (hit[i].may || prefilter_always(f, (unsigned)i));
			bool does = pcre_match(code[i], t, NULL, 0, &e) == 1;
			if (does && !may && missed++ < 10)
				tap_ok(false, "missed: /%s/%s in '%.*s'", patterns[i].text, patterns[i].flags, STR_ARG(t));
			if (hit[i].may && !found_there(code[i], gates[i], t, &hit[i]) && elsewhere++ < 10)
				tap_ok(false, "not at %zu to %zu: /%s/%s in '%.*s'", hit[i].from, hit[i].to, patterns[i].text, patterns[i].flags, STR_ARG(t));
			narrowed += hit[i].may && (hit[i].from > 0 || hit[i].to < t.n);
			const bool tells = gates[i] != NULL;
			if (tells && !found_gated(code[i], gates[i], t, 0, t.n, &tried) && ungated++ < 10)
				tap_ok(false, "not where the gate opens: /%s/%s in '%.*s'", patterns[i].text, patterns[i].flags, STR_ARG(t));
			if (tells && hit[i].may && !found_gated(code[i], gates[i], t, hit[i].from, hit[i].to, &placed) && ungated++ < 10)
				tap_ok(false, "not where the gate opens from %zu to %zu: /%s/%s in '%.*s'", hit[i].from, hit[i].to, patterns[i].text, patterns[i].flags,
				       STR_ARG(t));
			all += tells ? (unsigned)t.n : 0;
			matched += does;
			spared += !may;
			shut += !open;
		}
	}
	tap_is_int(missed, 0, "no match is missed (of %u)", matched);
	tap_is_int(elsewhere, 0, "no match is elsewhere than it may be (of %u places)", narrowed);
	tap_ok(matched > 20000 && spared > 200000, "matches happen (%u) and work is spared (%u)", matched, spared);
	struct prefilter_stats st = prefilter_stats(f), st_more = prefilter_stats(more);
	tap_ok(differ == 0 && st.windows <= 64 && st_more.windows > 600, "many windows find what few find (%u and %u, %u differ)", st.windows, st_more.windows, differ);
	tap_ok(st.literal >= 20 && st.window >= 5 && st.always >= 3, "all ways serve: %u by literals, %u by windows, %u always", st.literal, st.window, st.always);
	tap_ok(ungated == 0 && tried < all / 2 && all > 1000000, "no match is elsewhere than where its gate opens (%u of %u bytes)", tried, all);
	tap_ok(placed > 0 && placed < tried, "a gate that is asked about a place opens for less (%u bytes)", placed);
	tap_ok(n_gates >= 12 && shut > 20000, "gates serve: %u, shut %u times", n_gates, shut);
	for (size_t i = 0; i < ARRAY_LEN(patterns); i++)
		pcre_free(&code[i]);
	tap_ok(gate_new(of_all, STR("x"), "") == NULL && gate_new(of_all, STR("[a-z]*"), "") == NULL && gate_new(of_all, STR("(.)\\1"), "") == NULL,
	       "no gate where it would not help");
	gates_free(&of_all);
	narrow();
	runs();
	hostile();
	side_by_side();
	buf_fini(&b);
	buf_fini(&folded);
	arena_free(&a);
	return tap_done();
}
