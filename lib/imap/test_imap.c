/* The lexer's elements, sequence sets, modified UTF-7, output quoting, LIST patterns, FETCH and SEARCH grammar: tables of text and outcome. */
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "imap/fetch.h"
#include "imap/fold.h"
#include "imap/match.h"
#include "imap/out.h"
#include "imap/search.h"
#include "imap/seqset.h"
#include "imap/utf7.h"
#include "test/tap.h"

static struct arena *arena;

static struct imap_lex lex(const char *text)
{
	return (struct imap_lex){ .p = text, .end = text + strlen(text), .arena = arena };
}

/* Test names are one line. */
static const char *show(const char *text)
{
	static char line[200];

	snprintf(line, sizeof(line), "%s", text);
	for (char *c = line; *c; c++) {
		if (ch_ctl(*c))
			*c = '.';
	}
	return line;
}

static void strings(void)
{
	static const struct {
		const char *in, *want;	/* NULL: refused */
	} cases[] = {
		{ "atom", "atom" }, { "a]b", "a]b" }, { "\"\"", "" }, { "\"a b\"", "a b" }, { "\"a\\\"b\\\\c\"", "a\"b\\c" },
		{ "\"a\\bc\"", NULL }, { "\"abc", NULL }, { "\"a\\", NULL }, { "\"a\rb\"", NULL }, { "{3}\r\na\rb", "a\rb" },
		{ "{3+}\r\nabc", "abc" }, { "{0}\r\n", "" }, { "{4}\r\nabc", NULL }, { "{18446744073709551616}\r\n", NULL },
		{ "{-1}\r\n", NULL }, { "{+1}\r\nx", NULL }, { "{1\r\nx", NULL }, { "{ 1}\r\nx", NULL }, { "", NULL }, { "(", NULL },
		{ "\"\\\\\"", "\\" }, { "\"{3}\"", "{3}" },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct imap_lex l = lex(cases[i].in);
		struct str s = { 0 };
		const int r = imap_get_astring(&l, &s, NULL);

		if (cases[i].want)
			tap_ok(r == 0 && str_eq(s, str_c(cases[i].want)) && imap_at_end(&l), "astring %s", show(cases[i].in));
		else
			tap_ok(r < 0 || !imap_at_end(&l), "no astring: %s", show(cases[i].in));
	}
}

static void tags_and_flags(void)
{
	static const struct {
		const char *in;
		bool ok;
	} tags[] = { { "a1", true }, { "A.1-x]", true }, { "+", false }, { "a+b", false }, { "", false }, { "a{b", false }, { "\xc3\xa9", false }, { "a\"", false } };
	static const struct {
		const char *in;
		bool bare, ok;
		uint32_t system;
		size_t n;
	} flags[] = {
		{ "()", false, true, 0, 0 },
		{ "(\\Seen \\DELETED)", false, true, 1u << IMAP_FLAG_SEEN | 1u << IMAP_FLAG_DELETED, 0 },
		{ "(\\Seen $Forwarded foo)", false, true, 1u << IMAP_FLAG_SEEN, 2 },
		{ "\\Seen \\Draft", true, true, 1u << IMAP_FLAG_SEEN | 1u << IMAP_FLAG_DRAFT, 0 },
		{ "\\Seen", false, false, 0, 0 }, { "(\\Recent)", false, false, 0, 0 }, { "(\\*)", false, false, 0, 0 },
		{ "(a b", false, false, 0, 0 }, { "", true, false, 0, 0 }, { "(\"a\")", false, false, 0, 0 }, { "(a\xc3)", false, false, 0, 0 },
	};

	for (size_t i = 0; i < ARRAY_LEN(tags); i++) {
		struct imap_lex l = lex(tags[i].in);
		struct str s;

		tap_is_int(imap_get_tag(&l, &s, NULL), tags[i].ok ? 0 : -1, "tag %s", tags[i].in);
	}
	for (size_t i = 0; i < ARRAY_LEN(flags); i++) {
		struct imap_lex l = lex(flags[i].in);
		struct imap_flags f = { 0 };
		const int r = imap_get_flags(&l, flags[i].bare, &f, NULL);

		tap_ok(r == (flags[i].ok ? 0 : -1) && f.system == flags[i].system && f.n == flags[i].n, "flags %s", flags[i].in);
	}
}

static void dates(void)
{
	static const struct {
		const char *in;
		int64_t want;	/* -1: refused */
	} days[] = {
		{ "1-Jan-1970", 0 }, { "01-jan-1970", 0 }, { "29-Feb-2000", 11016 }, { "29-Feb-1900", -1 }, { "31-Feb-2020", -1 },
		{ "1-Jan-0000", -1 }, { "0-Jan-2020", -1 }, { "32-Jan-2020", -1 }, { "1-Foo-2020", -1 }, { "1-Jan-20", -1 }, { "1-Jan-20200", -1 }, { "", -1 },
		{ "17-Jul-1996", 9694 },
	}, times[] = {
		{ "17-Jul-1996 02:44:25 -0700", 837596665 }, { " 1-Jan-1970 00:00:00 +0000", 0 }, { "1-Jan-1970 00:00:00 +0000", 0 },
		{ "01-Jan-1970 24:00:00 +0000", -1 }, { "01-Jan-1970 00:60:00 +0000", -1 }, { "01-Jan-1970 00:00:00", -1 }, { "01-Jan-1970 00:00:00 0000", -1 },
		{ "01-Jan-1970 00:00:00 +9999", -1 }, { "", -1 }, { " ", -1 },
	};

	for (size_t i = 0; i < ARRAY_LEN(days); i++) {
		int64_t d = -1;

		tap_ok(imap_date_parse(str_c(days[i].in), &d) == (days[i].want < 0 ? -1 : 0) && d == days[i].want, "date %s", days[i].in);
	}
	for (size_t i = 0; i < ARRAY_LEN(times); i++) {
		int64_t t = -1;

		tap_ok(imap_date_time_parse(str_c(times[i].in), &t) == (times[i].want < 0 ? -1 : 0) && t == times[i].want, "date-time %s", times[i].in);
	}
	for (int64_t t = -62135596800; t < 253402300799; t += 7777777777) {
		struct buf b;
		int64_t back = 0;

		buf_init(&b, 100);
		imap_put_internaldate(&b, t);
		const bool ok = imap_date_time_parse(str_sub(buf_view(&b), 1, b.n - 2), &back) == 0 && back == t;

		if (!ok || t < -62135596800 + 7777777777)
			tap_ok(ok, "date-time there and back: %lld %s", (long long)t, b.p);
		buf_fini(&b);
	}
}

static void sets(void)
{
	static const struct {
		const char *in, *want;	/* resolved with max 10; NULL: refused */
		uint64_t count;
	} cases[] = {
		{ "1", "1", 1 }, { "1:3", "1:3", 3 }, { "3:1", "1:3", 3 }, { "*", "10", 1 }, { "*:1", "1:10", 10 }, { "1:*", "1:10", 10 },
		{ "5,1:3,2:4", "1:5", 5 }, { "1,1,1,1", "1", 1 }, { "4294967295:*", "10:4294967295", 4294967286 }, { "7,3,9:*,8", "3,7:10", 5 },
		{ "0", NULL, 0 }, { "1:0", NULL, 0 }, { "4294967296", NULL, 0 }, { "", NULL, 0 }, { "1,", NULL, 0 }, { ",1", NULL, 0 }, { "1:", NULL, 0 },
		{ "1::2", NULL, 0 }, { "a", NULL, 0 }, { "1 2", NULL, 0 }, { "-1", NULL, 0 }, { "1:4294967295", "1:4294967295", 4294967295u },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct imap_seqset s = { 0 };
		struct buf b;
		const int r = imap_seqset_parse(arena, str_c(cases[i].in), &s, NULL);

		buf_init(&b, 1000);
		if (r == 0) {
			imap_seqset_resolve(&s, 10);
			imap_seqset_format(&s, &b);
		}
		tap_ok(cases[i].want ? r == 0 && str_eq(buf_view(&b), str_c(cases[i].want)) && imap_seqset_count(&s) == cases[i].count : r < 0,
		       "set %s gives %s", cases[i].in, b.p ? b.p : "");
		buf_fini(&b);
	}
	struct imap_seqset s = { 0 };

	tap_ok(imap_seqset_parse(arena, STR("1:*,*"), &s, NULL) == 0 && (imap_seqset_resolve(&s, 0), s.n == 0), "* in an empty folder is nothing");
	tap_ok(imap_seqset_parse(arena, STR("2:4,7,9:11"), &s, NULL) == 0 && (imap_seqset_resolve(&s, 0), imap_seqset_has(&s, 3)) &&
	       imap_seqset_has(&s, 2) && imap_seqset_has(&s, 11) && !imap_seqset_has(&s, 1) && !imap_seqset_has(&s, 5) && !imap_seqset_has(&s, 12),
	       "membership");
	/* 1,1,1,… of 1 MiB stays one range. */
	struct buf big;

	buf_init(&big, 1 << 21);
	for (int i = 0; i < 1 << 19; i++)
		buf_c(&big, "1,");
	buf_c(&big, "1");
	tap_ok(imap_seqset_parse(arena, buf_view(&big), &s, NULL) == 0 && s.n == 1, "a mebibyte of the same number is one range");
	buf_fini(&big);
}

static void utf7(void)
{
	static const struct {
		const char *wire, *utf8;	/* utf8 NULL: refused */
	} cases[] = {
		{ "INBOX", "INBOX" }, { "~peter/mail/&U,BTFw-/&ZeVnLIqe-", "~peter/mail/\xe5\x8f\xb0\xe5\x8c\x97/\xe6\x97\xa5\xe6\x9c\xac\xe8\xaa\x9e" },
		{ "&-", "&" }, { "a&-b", "a&b" }, { "R&AOk-union", "R\xc3\xa9union" }, { "&2D3eAA-", "\xf0\x9f\x98\x80" },
		{ "&", NULL }, { "&AOk", NULL }, { "&AGE-", NULL }, { "&AC8-", NULL }, { "&AOk-&AOk-", NULL }, { "&AOkA-", NULL }, { "&2D0-", NULL },
		{ "&3gA-", NULL }, { "&AAA-", NULL }, { "&AOl-", NULL }, { "a\tb", NULL }, { "\xc3\xa9", NULL }, { "&AO/-", NULL }, { "&A-", NULL },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct buf b, back;

		buf_init(&b, 1000);
		buf_init(&back, 1000);
		const int r = imap_utf7_decode(str_c(cases[i].wire), &b);

		if (cases[i].utf8) {
			imap_utf7_encode(buf_view(&b), &back);
			tap_ok(r == 0 && str_eq(buf_view(&b), str_c(cases[i].utf8)) && str_eq(buf_view(&back), str_c(cases[i].wire)), "UTF-7 %s", cases[i].wire);
		} else {
			tap_is_int(r, -1, "not UTF-7: %s", show(cases[i].wire));
		}
		buf_fini(&b);
		buf_fini(&back);
	}
}

/* A directory's level holds dots and control characters, which names on the wire may not. */
static void utf7_level(void)
{
	static const struct {
		const char *dir, *utf8;
	} cases[] = {
		{ "a&AC4-b", "a.b" }, { "a&AAk-b", "a\tb" }, { "&AIU-", "\xc2\x85" }, { "&-", "&" }, { "R&AOk-union", "R\xc3\xa9union" },
		{ "&AC8-", NULL }, { "&AGE-", NULL }, { "&AAA-", NULL }, { "&2D0-", NULL }, { "&AOk-&AC4-", NULL }, { "&AC4", NULL },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct buf b;

		buf_init(&b, 1000);
		const int r = imap_utf7_decode_level(str_c(cases[i].dir), &b);
		if (cases[i].utf8)
			tap_ok(r == 0 && str_eq(buf_view(&b), str_c(cases[i].utf8)), "level %s", cases[i].dir);
		else
			tap_is_int(r, -1, "not a level: %s", cases[i].dir);
		buf_fini(&b);
	}
	struct buf wire;
	buf_init(&wire, 1000);
	tap_ok(imap_utf7_decode(STR("a&AC4-b"), &wire) < 0 && imap_utf7_decode(STR("a&AAk-b"), &wire) < 0, "neither stands in a name on the wire");
	buf_fini(&wire);
	buf_init(&wire, 3);
	tap_is_int(imap_utf7_decode(STR("abcd"), &wire), -1, "no room is an error");
	buf_fini(&wire);
}

static void output(void)
{
	static const struct {
		const char *in, *string, *astring;
	} cases[] = {
		{ "", "\"\"", "\"\"" }, { "abc", "\"abc\"", "abc" }, { "a b", "\"a b\"", "\"a b\"" }, { "a\"b\\", "\"a\\\"b\\\\\"", "\"a\\\"b\\\\\"" },
		{ "a\r\nb OK", "{7}\r\na\r\nb OK", "{7}\r\na\r\nb OK" }, { "\xc3\xa9", "{2}\r\n\xc3\xa9", "{2}\r\n\xc3\xa9" }, { "NIL", "\"NIL\"", "\"NIL\"" },
		{ "a*", "\"a*\"", "\"a*\"" },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct buf b;

		buf_init(&b, 1000);
		imap_put_string(&b, str_c(cases[i].in));
		tap_is_mem(buf_view(&b), str_c(cases[i].string), "string %s", show(cases[i].in));
		buf_reset(&b);
		imap_put_astring(&b, str_c(cases[i].in));
		tap_is_mem(buf_view(&b), str_c(cases[i].astring), "astring %s", show(cases[i].in));
		buf_fini(&b);
	}
	struct buf b;

	buf_init(&b, 1000);
	imap_put_string(&b, str_n("a\0b", 3));
	tap_is_mem(buf_view(&b), STR("{3}\r\na\x80" "b"), "NUL never leaves");
	buf_reset(&b);
	imap_put_nstring(&b, (struct str){ 0 });
	tap_is_mem(buf_view(&b), STR("NIL"), "absent is NIL");
	buf_fini(&b);
}

static void patterns(void)
{
	static const struct {
		const char *pattern, *name;
		bool want;
	} cases[] = {
		{ "*", "a/b", true }, { "%", "a/b", false }, { "%", "a", true }, { "a/%", "a/b", true }, { "a/%", "a/b/c", false }, { "a*", "a/b/c", true },
		{ "%/%", "a/b", true }, { "*b", "a/b", true }, { "*c", "a/b", false }, { "", "", true }, { "", "a", false }, { "inbox", "INBOX", true },
		{ "INBOX/%", "INBOX/x", true }, { "inbox/%", "INBOX/x", true }, { "inboxes", "INBOXES", false }, { "a%b*c", "axxb/y/c", true },
		{ "%*%", "a/b", true }, { "a", "ab", false }, { "ab", "a", false },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		const struct imap_pattern p = imap_pattern_new(arena, str_c(cases[i].pattern), '/');

		tap_ok(imap_pattern_match(&p, str_c(cases[i].name)) == cases[i].want, "%s and %s", cases[i].pattern, cases[i].name);
	}
	struct buf b;

	buf_init(&b, 1 << 20);
	for (int i = 0; i < 10000; i++)
		buf_c(&b, "*%");
	buf_c(&b, "x");
	const struct imap_pattern p = imap_pattern_new(arena, buf_view(&b), '/');

	tap_ok(p.text.n == 2 && !imap_pattern_match(&p, STR("aaaaaaaaaaaaaaaaaaaaaaaaaaaa")), "ten thousand wildcards are one");
	buf_fini(&b);
}

static void fetch(void)
{
	static const struct {
		const char *in;
		int want;	/* sections, -1: refused */
		uint32_t items;
		const char *label;	/* of the first section */
	} cases[] = {
		{ "ALL", 0, FETCH_BIT(FLAGS) | FETCH_BIT(INTERNALDATE) | FETCH_BIT(RFC822_SIZE) | FETCH_BIT(ENVELOPE), NULL },
		{ "(UID FLAGS)", 0, FETCH_BIT(UID) | FETCH_BIT(FLAGS), NULL },
		{ "(uid rfc822.size body.peek[])", 1, FETCH_BIT(UID) | FETCH_BIT(RFC822_SIZE), "" },
		{ "BODY", 0, FETCH_BIT(BODY), NULL },
		{ "BODY[HEADER.FIELDS (From  to)]", 1, 0, "HEADER.FIELDS (From  to)" },
		{ "BODY[header.fields.not (\"From\")]", 1, 0, "header.fields.not (\"From\")" },
		{ "BODY[HEADER.FIELDS ({4}\r\nFrom)]", 1, 0, "HEADER.FIELDS (From)" },
		{ "BODY[1.2.MIME]", 1, 0, "1.2.MIME" }, { "BODY[1.HEADER]<0.10>", 1, 0, "1.HEADER" }, { "RFC822.PEEK", 1, 0, "" },
		{ "(BODY[] BODY[TEXT])", 2, 0, "" }, { "BODY[]<4294967295.4294967295>", 1, 0, "" },
		{ "BODY[MIME]", -1, 0, NULL }, { "BODY[1.]", -1, 0, NULL }, { "BODY[0]", -1, 0, NULL }, { "BODY[.1]", -1, 0, NULL }, { "BODY[]<0.0>", -1, 0, NULL },
		{ "BODY[]<0>", -1, 0, NULL }, { "BODY[", -1, 0, NULL }, { "()", -1, 0, NULL }, { "", -1, 0, NULL }, { "(FLAGS", -1, 0, NULL }, { "FOO", -1, 0, NULL },
		{ "BODY[HEADER.FIELDS ()]", -1, 0, NULL }, { "BODY[HEADER.FIELDS]", -1, 0, NULL }, { "FLAGS[]", -1, 0, NULL }, { "BODY[1.FOO]", -1, 0, NULL },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct imap_lex l = lex(cases[i].in);
		struct imap_fetch f = { 0 };
		int r = imap_get_fetch(&l, &f, NULL);

		if (r == 0 && imap_get_end(&l, NULL) < 0)
			r = -1;
		tap_ok(cases[i].want < 0 ? r < 0 : r == 0 && f.n_sections == (size_t)cases[i].want && f.items == cases[i].items &&
		       (!cases[i].label || str_eq(f.sections->label, str_c(cases[i].label))), "FETCH %s", show(cases[i].in));
	}
}

static void search(void)
{
	static const struct {
		const char *in;
		bool ok;
	} cases[] = {
		{ "ALL", true }, { "UNSEEN SINCE 1-Feb-1994 NOT FROM \"Smith\"", true }, { "OR (FROM a TO b) NOT (1:5 UID 7)", true }, { "1:*", true },
		{ "HEADER Message-ID {3}\r\n<a>", true }, { "KEYWORD $Forwarded LARGER 100", true }, { "TEXT \"\"", true }, { "*", true },
		{ "", false }, { "NOT", false }, { "OR ALL", false }, { "(ALL", false }, { "ALL)", false }, { "FOO", false }, { "KEYWORD \"\"", false },
		{ "SINCE 31-Feb-2020", false }, { "LARGER -1", false }, { "ALL  ALL", true }, { "HEADER a", false }, { "0", false },
	};
	struct buf b;

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct imap_lex l = lex(cases[i].in);
		struct imap_search_key *k;
		int r = imap_get_search(&l, &k, NULL);

		if (r == 0 && imap_get_end(&l, NULL) < 0)
			r = -1;
		tap_is_int(r, cases[i].ok ? 0 : -1, "SEARCH %s", show(cases[i].in));
	}
	for (int depth = 98; depth < 102; depth += 3) {
		struct imap_lex l;
		struct imap_search_key *k;

		buf_init(&b, 1000);
		for (int i = 0; i < depth; i++)
			buf_c(&b, "NOT ");
		buf_c(&b, "ALL");
		l = lex(b.p);
		tap_is_int(imap_get_search(&l, &k, NULL), depth < 100 ? 0 : -1, "NOT %d deep", depth);
		buf_fini(&b);
	}
}

static void folding(void)
{
	struct buf b;

	buf_init(&b, 1000);
	imap_fold(str_c("AbC \xc3\x84\xc3\x96\xc3\x97 \xce\x91\xce\xa3\xcf\x82 \xd0\x96\xd0\x81 \xc5\xbb"), &b);
	tap_is_mem(buf_view(&b), str_c("ABC A\xcc\x88O\xcc\x88\xc3\x97 \xce\x91\xce\xa3\xce\xa3 \xd0\x96\xd0\x95\xcc\x88 Z\xcc\x87"), "Latin, Greek, Cyrillic");
	buf_reset(&b);
	/* RFC 5051 section 2: U+01C4, by way of its titlecase U+01C5; U+FDFA is the longest; invalid bytes. */
	imap_fold(str_c("\xc7\x84 \xe2\x81\x97 \xe6\xbc\xa2 \xff"), &b);
	tap_is_mem(buf_view(&b), str_c("Dz\xcc\x8c \xe2\x80\xb2\xe2\x80\xb2\xe2\x80\xb2\xe2\x80\xb2 \xe6\xbc\xa2 \xef\xbf\xbd"), "decomposition");
	buf_fini(&b);
}

int main(void)
{
	arena = arena_new(0);
	strings();
	tags_and_flags();
	dates();
	sets();
	utf7();
	utf7_level();
	output();
	patterns();
	fetch();
	search();
	folding();
	arena_free(&arena);
	return tap_done();
}
