/* Fields, addresses, dates, words, parameters, edits: tables from the RFCs and from the wild. */
#include "base/arena.h"
#include "base/clock.h"
#include "base/enc.h"
#include "mail/edit.h"
#include "mail/head.h"
#include "test/tap.h"

static void addresses(void)
{
	static const struct {
		const char *in, *out;	/* name|local@domain; with ? before the semicolon: doubtful */
	} cases[] = {
		{ "joe@example.com", "|joe@example.com;" },
		{ "Joe Q. Public <john.q.public@example.com>", "Joe Q. Public|john.q.public@example.com;" },
		{ "\"Giant; \\\"Big\\\" Box\" <sysservices@example.net>", "Giant; \"Big\" Box|sysservices@example.net;" },
		{ "Mary Smith <mary@x.test>, jdoe@example.org, Who? <one@y.test>", "Mary Smith|mary@x.test;|jdoe@example.org;Who?|one@y.test;" },
		{ "A Group:Ed Jones <joe@a.test>,joe@where.test;", "|A Group@-;Ed Jones|joe@a.test;|joe@where.test;|-@-;" },
		{ "Undisclosed recipients:;", "|Undisclosed recipients@-;|-@-;" },
		{ "Pete(A nice \\) chap) <pete(his account)@silly.test(his host)>", "Pete|pete@silly.test;" },
		{ "joe@example.com (Joe)", "Joe|joe@example.com;" },
		{ "<@a,@b:joe@example.com>", "|joe@example.com;" },
		{ "\"a b\"@example.com", "|a b@example.com;" },
		{ "joe@[127.0.0.1]", "|joe@[127.0.0.1];" },
		{ "root", "|root@;" },
		{ ",,,", "" },
		{ "", "" },
		{ "<>", "|@;" },
		{ "a@b@c", "|a@c?;" },
		{ "a@@b", "|a@b?;" },
		{ "<a@b@c>", "|a@c?;" },
		{ "a@b.test c@d.test", "|a@b.test;|c@d.test;" },
		{ "a@b.test\n c@d.test, e@f.test", "|a@b.test;|c@d.test;|e@f.test;" },
		{ "a@b.test <c@d.test>", "|a@b.test;|c@d.test;" },
		{ "<a@b.test c@d.test> , x@y.test", "|a@b.test?;|x@y.test;" },
		{ "John Smith@x.test", "|JohnSmith@x.test?;" },
		{ "John Smith", "|JohnSmith@?;" },
		{ "a . b @ c . d", "|a.b@c.d;" },
		{ "\"a\"(x). b@c", "|a.b@c;" },
	};
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct arena *a = arena_new(0);
		struct mail_addr *list = NULL;
		struct err e = { 0 };
		struct buf b;
		buf_init(&b, 10000);
		int r = mail_addr_parse(a, str_c(cases[i].in), &list, &e);
		for (; list != NULL; list = list->next)
			buf_printf(&b, "%.*s|%.*s@%.*s%s;", STR_ARG(list->name),
				   STR_ARG(list->local.p == NULL ? STR("-") : list->local),
				   STR_ARG(list->domain.p == NULL ? STR("-") : list->domain), list->doubtful ? "?" : "");
		tap_ok(r == 0, "addresses parse: %s", cases[i].in);
		tap_is_str(b.p, cases[i].out, "%s", cases[i].in);
		buf_fini(&b);
		arena_free(&a);
	}
}

static void dates(void)
{
	static const struct {
		const char *in, *out;	/* NULL: refused */
	} cases[] = {
		{ "Fri, 21 Nov 1997 09:55:06 -0600", "Fri, 21 Nov 1997 09:55:06 -0600" },
		{ "21 Nov 97 09:55:06 GMT", "Fri, 21 Nov 1997 09:55:06 +0000" },
		{ "Tue, 1 Jul 2003 10:52:37 +0200", "Tue, 01 Jul 2003 10:52:37 +0200" },
		{ "Thu, 13 Feb 1969 23:32 -0330 (Newfoundland Time)", "Thu, 13 Feb 1969 23:32:00 -0330" },
		{ "Mon (Monday), 2 (second) Jan 2006 15:04:05 EST", "Mon, 02 Jan 2006 15:04:05 -0500" },
		{ "29 Feb 2024 00:00:00 +0000", "Thu, 29 Feb 2024 00:00:00 +0000" },
		{ "29 Feb 2023 00:00:00 +0000", NULL },
		{ "31 Nov 2020 00:00:00 +0000", NULL },
		{ "1 Foo 2020 00:00:00 +0000", NULL },
		{ "", NULL },
		{ "yesterday", NULL },
		{ "1 Jan 2020", NULL },
	};
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		int64_t when;
		int zone;
		struct buf b;
		buf_init(&b, 100);
		int r = mail_date_parse(str_c(cases[i].in), &when, &zone);
		if (r == 0)
			mail_date_format(when, zone, &b);
		tap_is_str(r < 0 ? "refused" : b.p, cases[i].out == NULL ? "refused" : cases[i].out, "%s", cases[i].in);
		buf_fini(&b);
	}
}

static void words(void)
{
	static const struct {
		const char *in, *out;
	} cases[] = {
		{ "plain", "plain" },
		{ "=?ISO-8859-1?Q?Andr=E9?= Pirard", "Andr\xc3\xa9 Pirard" },
		{ "=?ISO-8859-1?Q?a?= =?ISO-8859-1?Q?b?=", "ab" },
		{ "=?ISO-8859-1?Q?a_b?=", "a b" },
		{ "=?UTF-8?B?w6k=?=\n =?UTF-8?B?w6k=?=", "\xc3\xa9\xc3\xa9" },
		{ "=?UTF-8?B?4oI=?= =?UTF-8?B?rA==?=", "\xe2\x82\xac" },
		{ "=?no-such?Q?=E9?=", "\xef\xbf\xbd" },
		{ "=?UTF-8?Q?a=0D=0AEvil:_x?=", "a  Evil: x" },
		{ "=?broken?Q?x", "=?broken?Q?x" },
		{ "a =?= b", "a =?= b" },
	};
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct buf b;
		buf_init(&b, 1000);
		mail_words_decode(str_c(cases[i].in), &b);
		tap_is_str(b.p, cases[i].out, "%s", cases[i].in);
		buf_fini(&b);
	}
}

/* By hand as by iconv, which knows the charset by another name. */
static void latin1(void)
{
	char all[3 * 256];
	struct buf own, theirs;

	for (size_t i = 0; i < sizeof(all); i++)
		all[i] = (char)(i < 512 ? i / 2 : i);
	buf_init(&own, 4096);
	buf_init(&theirs, 4096);
	tap_ok(mail_charset_utf8(STR("ISO-8859-1"), str_n(all, sizeof(all)), &own) == 0 && mail_charset_utf8(STR("latin1"), str_n(all, sizeof(all)), &theirs) == 0 &&
	       str_eq(buf_view(&own), buf_view(&theirs)), "every byte of ISO-8859-1");
	buf_fini(&own);
	buf_fini(&theirs);
}

/* RFC 2045 6.7: what stands for itself, what a line's end may lose, what is no code after all. */
static void quoted_printable(void)
{
	static const struct {
		const char *in;
		bool header_q;
		const char *out;
	} cases[] = {
		{ "", false, "" },
		{ "a b  c\td_e", false, "a b  c\td_e" },
		{ "a b  c\td_e", true, "a b  c\td e" },
		{ "end \t\nnext  \r\nlast \t ", false, "end\nnext\r\nlast" },
		{ "a \rb\rc \r", false, "a \rb\rc \r" },
		{ " \n a\n", false, "\n a\n" },
		{ "gr=C3=bc=3D", false, "gr\xc3\xbc=" },
		{ "soft =\nline =\r\n end= \t\n.", false, "soft line  end." },
		{ "x =20\n", false, "x  \n" },
		{ "x=20 \t\r\n=41\r\n \r\n\t", false, "x \r\nA\r\n\r\n" },
		{ "a \r \n b\r\r\n", false, "a \r\n b\r\r\n" },
		{ "blank =\nand  =41 ", false, "blank and  A" },
		{ "=", false, "" },
		{ "=4", false, "=4" },
		{ "=G1 =4G =", false, "=G1 =4G " },
		{ "=", true, "=" },
	};
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct buf b;
		buf_init(&b, 1000);
		mail_qp_decode(str_c(cases[i].in), cases[i].header_q, &b);
		tap_ok(str_eq(buf_view(&b), str_c(cases[i].out)), "quoted-printable %zu: %.*s", i, (int)b.n, b.n ? b.p : "");
		buf_fini(&b);
	}
}

/* Any byte at any place among digits: the same as with a line end behind each, where no two stand together. */
static void base64_strange(void)
{
	static const char digits[] = "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVphYmNk";
	struct buf whole, apart, apart_text;
	unsigned different = 0;
	buf_init(&whole, 100);
	buf_init(&apart, 100);
	buf_init(&apart_text, 100);
	for (unsigned i = 0; i < 256 * (sizeof(digits) - 1); i++) {
		char text[sizeof(digits)];
		memcpy(text, digits, sizeof(digits));
		text[i / 256] = (char)(i % 256);
		buf_reset(&whole);
		buf_reset(&apart);
		buf_reset(&apart_text);
		for (size_t k = 0; k < sizeof(digits) - 1; k++) {
			buf_ch(&apart_text, text[k]);
			buf_ch(&apart_text, '\n');
		}
		mail_b64_decode(str_n(text, sizeof(digits) - 1), &whole);
		mail_b64_decode(buf_view(&apart_text), &apart);
		different += !str_eq(buf_view(&whole), buf_view(&apart));
	}
	tap_is_int((int)different, 0, "base64 with any byte at any place");
	buf_fini(&whole);
	buf_fini(&apart);
	buf_fini(&apart_text);
}

/* RFC 2045 6.8, and what is no character of it, at each place of a group; file names' alphabet too. */
static void base64(void)
{
	static const struct {
		const char *in, *out;
	} cases[] = {
		{ "", "" },
		{ "YWJjZGVm", "abcdef" },
		{ "YWJjZA==", "abcd" },
		{ "YWJjZGU=\r\n", "abcde" },
		{ "YW\r\nJj\r\nZG.Vm", "abcdef" },
		{ "Y\x80W J(jZ\xffGV\nm", "abcdef" },
		{ "YQ==YmM=ZGVm", "abcdef" },
		{ "Y=YWJj", "abc" },
		{ "YWJjZ", "abc" },
		{ "Pz8/Pj4+Pz8_Pj4-", "??\?>>>??\?>>>" },
		{ "====", "" },
	};
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct buf b;
		buf_init(&b, 1000);
		mail_b64_decode(str_c(cases[i].in), &b);
		tap_ok(str_eq(buf_view(&b), str_c(cases[i].out)), "base64 %zu: %.*s", i, (int)b.n, b.n ? b.p : "");
		buf_fini(&b);
	}
	base64_strange();
	/* All bytes, in lines of any length, with as much room as they need and less. */
	struct buf bytes, text, lines, out;
	buf_init(&bytes, 4000);
	buf_init(&text, 8000);
	for (unsigned i = 0; i < 3000; i++)
		buf_ch(&bytes, (char)(i * 7 + i / 256));
	base64_encode(&text, buf_view(&bytes));
	for (size_t width = 1; width < 90; width++) {
		buf_init(&lines, 16000);
		for (struct str rest = buf_view(&text); rest.n > 0; rest = str_from(rest, width)) {
			buf_str(&lines, str_sub(rest, 0, width));
			buf_c(&lines, "\r\n");
		}
		buf_init(&out, bytes.n);
		mail_b64_decode(buf_view(&lines), &out);
		tap_ok(!buf_failed(&out) && str_eq(buf_view(&out), buf_view(&bytes)), "base64 in lines of %zu", width);
		buf_fini(&out);
		buf_init(&out, bytes.n - 1);
		mail_b64_decode(buf_view(&lines), &out);
		tap_ok(buf_failed(&out), "base64 into less room");
		buf_fini(&out);
		buf_fini(&lines);
	}
	buf_fini(&bytes);
	buf_fini(&text);
}

static void params(void)
{
	static const struct {
		const char *in, *name, *out;	/* NULL: absent */
	} cases[] = {
		{ "text/plain; charset=us-ascii", "charset", "us-ascii" },
		{ "text/plain; charset=\"us ascii\" (x)", "charset", "us ascii" },
		{ "application/x; name*0=a.e; name*1=xe", "name", "a.exe" },
		{ "application/x; name*1=xe; name*0=a.e", "name", "a.exe" },
		{ "application/x; name*=UTF-8'en'%c3%a9.exe", "name", "\xc3\xa9.exe" },
		{ "application/x; name*0*=UTF-8''%c3; name*1*=%a9; name*2=\".exe\"", "name", "\xc3\xa9.exe" },
		{ "attachment; filename=\"=?utf-8?Q?a.exe?=\"", "filename", "a.exe" },
		{ "attachment; filename=my file.exe", "filename", "my file.exe" },
		{ "attachment; filename=\"C:\\dir\\x.exe\"", "filename", "C:\\dir\\x.exe" },
		{ "attachment;;; filename=x", "filename", "x" },
		{ "attachment; junk; filename=x", "filename", "x" },
		{ "attachment; filename=\"unclosed", "filename", "unclosed" },
		{ "attachment", "filename", NULL },
	};
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct arena *a = arena_new(0);
		struct mail_param *list = NULL;
		struct str token;
		const char *got = NULL;
		int r = mail_params_parse(a, str_c(cases[i].in), &token, &list);
		for (; list != NULL && got == NULL; list = list->next)
			if (str_case_eq(list->name, str_c(cases[i].name)))
				got = arena_cstr(a, list->value);
		tap_ok(r == 0, "has a token: %s", cases[i].in);
		tap_is_str(got == NULL ? "(none)" : got, cases[i].out == NULL ? "(none)" : cases[i].out, "%s", cases[i].in);
		arena_free(&a);
	}
}

static void edits(void)
{
	static const char head[] = "Received: a\nSubject: x\n y\nReceived: b\nTo: z\n";
	static const struct {
		const char *edit, *out;	/* NULL: refused */
	} cases[] = {
		{ "+X-A: 1", "X-A: 1\nReceived: a\nSubject: x\n y\nReceived: b\nTo: z\n" },
		{ ">X-A: 1", "Received: a\nSubject: x\n y\nReceived: b\nTo: z\nX-A: 1\n" },
		{ "-Received#1", "Subject: x\n y\nReceived: b\nTo: z\n" },
		{ "-received#2", "Received: a\nSubject: x\n y\nTo: z\n" },
		{ "-Received#0", "Subject: x\n y\nTo: z\n" },
		{ "-None#0", "Received: a\nSubject: x\n y\nReceived: b\nTo: z\n" },
		{ "=Subject#1: new", "Received: a\nSubject: new\nReceived: b\nTo: z\n" },
		{ "=Cc#1: c", "Received: a\nSubject: x\n y\nReceived: b\nTo: z\nCc: c\n" },
		{ "+X: a\n b", "X: a\n b\nReceived: a\nSubject: x\n y\nReceived: b\nTo: z\n" },
		{ "+X: a\nEvil: b", NULL },
		{ "+X: a\n", NULL },
		{ "+X y: a", NULL },
		{ "+: a", NULL },
		{ "X: a", NULL },
		{ "-X", NULL },
		{ "=X#0: a", NULL },
		{ "", NULL },
	};
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct err e = { 0 };
		struct buf b;
		buf_init(&b, 1000);
		struct str list[1] = { str_c(cases[i].edit) };
		int r = mail_edit_apply(STR(head), list, 1, &b, &e);
		tap_is_str(r < 0 ? "refused" : b.p, cases[i].out == NULL ? "refused" : cases[i].out, "%s", cases[i].edit);
		buf_fini(&b);
	}
	struct err e = { 0 };
	struct buf b;
	buf_init(&b, 1000);
	struct str two[] = { STR("+A: 1"), STR("+B: 2") };
	tap_ok(mail_edit_apply(STR("C: 3"), two, 2, &b, &e) == 0, "a header without final line end");
	tap_is_str(b.p, "B: 2\nA: 1\nC: 3\n", "a later insertion goes above; the last line is completed");
	buf_fini(&b);
}

static void head_ends(void)
{
	size_t head, body;
	tap_ok(mail_head_find(STR("A: b\n\nbody"), false, &head, &body) == 0 && head == 5 && body == 6, "LF header");
	tap_ok(mail_head_find(STR("A: b\r\n\r\nbody"), false, &head, &body) == 0 && head == 6 && body == 8, "CRLF header");
	tap_ok(mail_head_find(STR("A: b\n"), false, &head, &body) == 1, "need more");
	tap_ok(mail_head_find(STR("A: b\n"), true, &head, &body) == 0 && head == 5 && body == 5, "only a header");
	tap_ok(mail_head_find(STR("\nbody"), true, &head, &body) == 0 && head == 0 && body == 1, "no header");
}

int main(void)
{
	addresses();
	dates();
	words();
	latin1();
	quoted_printable();
	base64();
	params();
	edits();
	head_ends();
	return tap_done();
}
