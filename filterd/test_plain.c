/* Messages for which libclamav's parser of mail is not asked: whatever it finds in a message is found without it, or it is asked. With real libclamav, and signatures of
 * which none wants a mail. Run from the top of the tree. */
#include "plain.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/enc.h"
#include "clamav.h"
#include "outcome.h"
#include "scan.h"
#include "test_found.h"
#include "test/tap.h"

static char dir[] = "/tmp/test_plain.XXXXXX";

/* A word anywhere, in HTML and in text as libclamav normalises them; where lines meet; at the start and at the end of a file. */
static const char words[] = "Test.Word:0:*:776f726d776f7264\nTest.Html:3:*:3c623e626f6c643c2f623e776f726d\nTest.Text:7:*:776f726d20696e206c6f7765722063617365\n"
	"Test.Lines:0:*:776f726d0a656e6473\nTest.Paragraph:0:*:776f726d0a0a656e6473\nTest.Start:0:0:737461727420776f726d\nTest.End:0:EOF-9:656e6420776f726d0a\n";

static int write_file(const char *name, const char *text)
{
	char path[100];
	snprintf(path, sizeof(path), "%s/db/%s", dir, name);
	FILE *f = fopen(path, "w");
	return f == NULL || fputs(text, f) < 0 || fclose(f) != 0 ? -1 : 0;
}

static void remove_file(const char *name)
{
	char path[100];
	snprintf(path, sizeof(path), "%s/db/%s", dir, name);
	unlink(path);
}

/* --- messages --- */

#define HEAD "From: a@example.org\r\nTo: b@example.com\r\nSubject: t\r\nMIME-Version: 1.0\r\n"
#define MIXED "Content-Type: multipart/mixed; boundary=\"=_b1\"\r\n\r\n"
#define TEXT "Content-Type: text/plain\r\n"
#define QP "Content-Transfer-Encoding: quoted-printable\r\n"
#define B64 "Content-Transfer-Encoding: base64\r\n"
#define BIT7 "Content-Transfer-Encoding: 7bit\r\n"
#define PART "--=_b1\r\n" TEXT "\r\nsee below\r\n--=_b1\r\n"
#define APP "Content-Type: application/x-y\r\n"
#define END "\r\n--=_b1--\r\n"
#define BOUNDARY_70 "1234567890123456789012345678901234567890123456789012345678901234567890"
#define BOUNDARY_71 BOUNDARY_70 "1"
#define WORD "YSB3b3Jtd29yZCBoZXJl\r\n"	/* "a wormword here" */

enum kind { PLAIN, NOT };

static const struct {
	const char *message, *found;	/* NULL: nothing by either way */
	enum kind kind;
} cases[] = {
	/* Plain. */
	{ HEAD "\r\na wormword here\r\n", "Test.Word", PLAIN },
	{ HEAD TEXT "\r\nnothing\r\n", NULL, PLAIN },
	{ HEAD TEXT QP "\r\na worm=\r\nword here\r\n", "Test.Word", PLAIN },
	{ HEAD TEXT QP "\r\na =77ormword here\r\n", "Test.Word", PLAIN },
	{ HEAD APP B64 "\r\n" WORD, "Test.Word", PLAIN },
	{ HEAD TEXT B64 "\r\nYSB3b3Jtd29y!\r\nZCBoZXJl\r\n", "Test.Word", PLAIN },
	{ HEAD TEXT B64 "\r\nY-SB_3b-3J_td29yZCBoZXJl\r\n", "Test.Word", PLAIN },	/* digits to us, and none to it */
	{ HEAD MIXED PART APP B64 "\r\n" WORD END, "Test.Word", PLAIN },
	{ HEAD MIXED PART "Content-Type: application/x-y; name=\"a.b\"\r\n" B64 "Content-Disposition: attachment;\r\n\tfilename=\"a.b\"\r\n\r\n" WORD END, "Test.Word", PLAIN },
	{ HEAD MIXED "--=_b1\r\nContent-Type: multipart/alternative; boundary=\"=_b2\"\r\n\r\n--=_b2\r\n" TEXT "\r\nx\r\n--=_b2\r\nContent-Type: text/html\r\n" QP
	  "\r\n<html><P>a <B>bo=\r\nld</B>Worm</html>\r\n--=_b2--\r\n\r\n--=_b1\r\n" APP B64 "\r\nbm90aGluZw==\r\n" END, "Test.Html", PLAIN },
	{ HEAD MIXED "This is a multi-part message.\r\n\r\n" PART TEXT "\r\na Worm  in Lower case\r\n" END, "Test.Text", PLAIN },
	{ HEAD "Content-Type: multipart/mixed; boundary=" BOUNDARY_70 "\r\n\r\n--" BOUNDARY_70 "\r\n" TEXT "\r\na wormword here\r\n--" BOUNDARY_70 "--\r\n", "Test.Word", PLAIN },
	/* It writes lines with LF; of empty ones it keeps one, but in a text by itself; of such of blanks, the first. */
	{ HEAD MIXED PART TEXT "\r\na worm\r\nends\r\n" END, "Test.Lines", PLAIN },
	{ HEAD MIXED PART "Content-Type: text/plain; name=x.txt\r\n\r\na worm\r\nends\r\n" END, "Test.Lines", PLAIN },
	{ HEAD MIXED PART TEXT "\r\na worm\r\n\r\n\r\n\r\nends\r\n" END, "Test.Paragraph", PLAIN },
	{ HEAD "\r\na worm\r\n\r\n\r\nends\r\n", "Test.Paragraph", PLAIN },
	{ HEAD TEXT "\r\na worm\r\n\r\n\r\nends\r\n", NULL, PLAIN },
	{ HEAD MIXED PART TEXT "\r\n \r\nworm\r\n;\r\n \r\n;\r\n\r\nends\r\n" END, NULL, PLAIN },
	{ HEAD MIXED PART TEXT "\r\n \r\nx\r\n \r\nx\r\nstart worm\r\n" END, NULL, PLAIN },
	{ HEAD MIXED PART TEXT "\r\n\r\n\r\nstart worm\r\n" END, "Test.Start", PLAIN },
	{ HEAD MIXED PART TEXT "\r\nthe end worm" END, "Test.End", PLAIN },
	{ HEAD TEXT "\r\nthe end worm", "Test.End", PLAIN },
	/* "7bit" and a name, HTML, or the only part: base64 to it, too. */
	{ HEAD MIXED PART "Content-Type: application/x-y; name=a\r\n\r\n" WORD END, "Test.Word", PLAIN },
	{ HEAD MIXED PART APP BIT7 "Content-Disposition: attachment\r\n\r\n" WORD END, "Test.Word", PLAIN },
	{ HEAD MIXED PART "Content-Type: text/html\r\n" BIT7 "\r\n" WORD END, "Test.Word", PLAIN },
	{ HEAD TEXT BIT7 "\r\n" WORD, "Test.Word", PLAIN },
	{ HEAD MIXED PART TEXT BIT7 "\r\n" WORD END, NULL, PLAIN },
	{ HEAD MIXED PART "Content-Type: application/x-y; name=a\r\nContent-Transfer-Encoding: 8bit\r\n\r\n" WORD END, NULL, PLAIN },
	/* Quoted-printable that is none, and the field behind which a text is a mail. */
	{ HEAD TEXT QP "\r\n=ZZ =worm=\r\nword =\r\n", "Test.Word", PLAIN },
	{ HEAD TEXT "\r\nIt came back:\r\n\r\n--x\r\n" B64 "\r\n" WORD, "Test.Word", PLAIN },
	{ HEAD TEXT "\r\nIt came back:\r\n\r\n--x\r\n" QP "\r\nnothing\r\n\r\n" B64 "Content-Disposition: attachment; filename=x\r\n\r\n" WORD, "Test.Word", PLAIN },
	{ HEAD TEXT "\r\nIt came back:\r\n\r\n--x\r\n" QP "Content-Type: message/rfc822\r\n\r\nFrom: a\r\n" B64 "\r\n" WORD, "Test.Word", PLAIN },
	/* What it alone takes for a file, or a part: it is asked. */
	{ HEAD TEXT "\r\nsee\r\n\r\nbegin 644 x\r\n182!W;W)M=V]R9\"!H97)E#0H \r\n`\r\nend\r\n", "Test.Word", NOT },
	{ HEAD MIXED PART TEXT "\r\nbegin 644 x\r\n182!W;W)M=V]R9\"!H97)E#0H \r\n`\r\nend\r\n" END, "Test.Word", NOT },
	{ HEAD MIXED PART TEXT QP "\r\n=ybegin line=128 size=15 name=x\r\n\x8b\x4a\xa1\x99\x9c\x97\xa1\x99\x9c\x8e\x4a\x92\x8f\x9c\x8f\r\n=yend size=15\r\n" END, "Test.Word", NOT },
	{ HEAD TEXT "\r\nIt came back:\r\n\r\nReceived: from a by b\r\nMIME-Version: 1.0\r\nContent-Type: application/x-y\r\n" B64 "\r\n" WORD, "Test.Word", NOT },
	{ HEAD TEXT "\r\nIt came back:\r\n\r\nFrom: b\r\nContent-Type: application/x-y; name=x\r\n\r\n" WORD, "Test.Word", NOT },
	{ HEAD TEXT QP "\r\nFrom: b\r\n=43ontent-Type: application/x-y; name=x\r\n\r\n" WORD, "Test.Word", NOT },
	{ HEAD MIXED PART APP B64 "\r\nbm90aGluZw==\r\n---=_b1\r\n" APP B64 "\r\n" WORD END, "Test.Word", NOT },
	{ HEAD MIXED PART APP "\r\nnothing\r\n->=_b1\r\n" APP B64 "\r\n" WORD END, "Test.Word", NOT },
	{ HEAD MIXED PART APP "\r\nnothing\r\n--=(x)_b1\r\n" APP B64 "\r\n" WORD END, "Test.Word", NOT },
	{ HEAD MIXED PART APP "\r\nnothing\r\n--=_B1--\r\n" B64 "\r\n" WORD END, NULL, NOT },
	{ HEAD MIXED PART APP "\r\nnothing\r\n--=_B1\r\n" APP B64 "\r\n" WORD END, "Test.Word", NOT },
	{ HEAD MIXED PART APP "\r\nnothing" END "\r\nstart worm\r\n", "Test.Start", NOT },
	{ HEAD MIXED PART APP "\r\nContent-Transfer-Encoding: base64\r\n\r\n" WORD END, "Test.Word", NOT },
	{ HEAD MIXED PART "\r\n" APP B64 "\r\n" WORD END, "Test.Word", NOT },
	{ HEAD MIXED PART APP "\r\nX-Encoding: base64\r\n\r\n" WORD END, "Test.Word", NOT },
	{ HEAD MIXED PART APP "X-Y: z;\r\nid=1\r\n" B64 "\r\n" WORD END, "Test.Word", NOT },
	{ HEAD MIXED PART APP "Content-Transfer-Encoding: base64 (x)\r\n\r\n" WORD END, "Test.Word", NOT },
	{ HEAD MIXED PART APP "Content-Transfer-Encoding: bas64\r\n\r\n" WORD END, "Test.Word", NOT },
	{ HEAD MIXED PART APP "Content-Transfer-Encoding: x-y\r\n\r\n" WORD END, NULL, NOT },
	{ HEAD MIXED PART APP "Content-Transfer-Encoding: =?us-ascii?Q?base64?=\r\n\r\n" WORD END, "Test.Word", NOT },
	{ HEAD MIXED PART APP BIT7 B64 "\r\n" WORD END, "Test.Word", NOT },
	{ HEAD MIXED PART APP "Cont\\ent-Transfer-Encoding: base64 (x)\r\n\r\n" WORD END, "Test.Word", NOT },
	{ HEAD MIXED PART "Content-Type: application/x-y; name*=us-ascii''a\r\n\r\n" WORD END, "Test.Word", NOT },
	{ HEAD "Content-Type: multipart/mixed;\r\nboundary=\"=_b1\"\r\n\r\n" PART APP B64 "\r\n" WORD END, "Test.Word", NOT },
	{ HEAD "Content-Type: multipart/mixed; boundary=(x)=_b1\r\n\r\n" PART APP B64 "\r\n" WORD END, "Test.Word", NOT },
	{ HEAD "Content-Type: multipart/related; boundary=\"=_b1\"\r\n\r\n" PART APP B64 "\r\n" WORD END, "Test.Word", NOT },
	{ HEAD MIXED PART "Content-Type: message/rfc822\r\n\r\n" HEAD APP B64 "\r\n" WORD END, "Test.Word", NOT },
	{ HEAD " \r\n" MIXED PART APP B64 "\r\n" WORD END, "Test.Word", NOT },
	{ "X-One: 1\r\nFrom a b\r\n" HEAD MIXED PART APP B64 "\r\n" WORD END, "Test.Word", NOT },
	{ HEAD APP B64 "\r\nYSB3b3Jt\rd29yZCBoZXJl\r\n", "Test.Word", NOT },
	{ HEAD "Content-Type: multipart/mixed; boundary=" BOUNDARY_71 "\r\n\r\n--" BOUNDARY_71 "\r\n" TEXT "\r\na wormword here\r\n--" BOUNDARY_71 "--\r\n", "Test.Word", NOT },
	/* What it takes for fields where a part's first line looks like one, and be it a boundary's. */
	{ HEAD MIXED PART "Content-Type: multipart/mixed; boundary=\"=_b2\"\r\n\r\nContents\r\nCont()ent-Type: application/x-y\r\nCont()ent-Transfer-Encoding: base64\r\n\r\n"
	  WORD "--=_b2\r\n" TEXT "\r\nx\r\n--=_b2--\r\n" END, "Test.Word", NOT },
	{ HEAD "Content-Type: multipart/mixed; boundary=to-base64\r\n\r\n--to-base64\r\n" APP "\r\n\r\n--to-base64\r\n" TEXT "\r\n" WORD "--to-base64--\r\n", "Test.Word", NOT },
	/* Lines of quoted-printable end at a NUL to it, where it looks for mails in a text. */
	{ HEAD TEXT QP "\r\nsee\r\n\r\nSubject: x=00 and more of this line, so that all of it is too long to be the first of a mail\r\nContent-Type: application/x-y; name=3Dz\r\n\r\n" WORD, "Test.Word", NOT },
	{ HEAD TEXT QP "\r\nsee\r\n\r\nSubject: x\r\nContent-Type: application/x-y; name=3Dz=00text/plain\r\n\r\n" WORD, "Test.Word", NOT },
};

static bool is_plain(struct str message)
{
	struct arena *a = arena_new(0);
	const bool plain = mail_is_plain(message, mime_parse(a, message));
	arena_free(&a);
	return plain;
}

/* With libclamav's own parser alone. */
static int alone(const struct filter_rules *rules, struct str message, struct found *found)
{
	struct err e = { 0 };
	const char *name = "";
	const int r = clamav_scan_mem(rules->clamav, message, &name, &e);
	if (r < 0)
		tap_diag("%s", e.text);
	snprintf(found->name, sizeof(found->name), "%s", r == 1 ? name : "");
	return r;
}

static void test_cases(const struct filter_rules *rules)
{
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		const struct str message = str_c(cases[i].message);
		struct found ours, theirs;
		const int r = virus_found(rules, message, &ours), its = alone(rules, message, &theirs);
		const struct str name = str_c(ours.name);
		tap_ok(is_plain(message) == (cases[i].kind == PLAIN), "case %zu is %splain", i, cases[i].kind == PLAIN ? "" : "not ");
		tap_ok(r >= 0 && its >= 0 && (its == 0 || r == 1), "what libclamav finds in case %zu is found", i);
		tap_ok(cases[i].found == NULL ? name.n == 0 : str_starts(name, str_c(cases[i].found)), "case %zu: %s", i, ours.name);
	}
}

/* --- messages that are nearly those --- */

enum { ROUNDS = 20, CHANGES_MAX = 3 };

static uint64_t state = 0x9e3779b97f4a7c15;

static size_t below(size_t n)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return (size_t)(state >> 11) % n;
}

static const char *const pieces[] = {
	"\r\n", "\n", "\r", "\r\n\r\n", " ", "\t", " \r\n", ";\r\n", ";", "(", ")", "(x)", "\\", "\"", "=", "=\r\n", "=20", "=3D", "=0D=0A", "=4", ":", "-", "--", "---",
	"--=_b1\r\n", "--=_b1--\r\n", "---=_b1\r\n", "--=_b2\r\n", "--=_b2--\r\n", "=_b1", "=_B1", " boundary=\"=_b2\"", "boundary==_b1\r\n", "Content-", "Content-Type: ",
	TEXT, APP, QP, B64, BIT7, WORD, "Content-Type: text/html\r\n", "Content-Type: message/rfc822\r\n", "Content-Type: multipart/mixed; boundary=\"=_b2\"\r\n",
	"Content-Disposition: attachment; filename=x\r\n", "Content-Disposition: inline\r\n", "; name=x", "; name*=us-ascii''x", "From: x\r\n", "Received: from x\r\n",
	"From x Mon Jan  1 10:10:10 2020 +0100 1 2\r\n", "Date: x\r\n", "Message-Id: x\r\n", "begin 644 x\r\n", "182!W;W)M=V]R9\"!H97)E#0H \r\n`\r\nend\r\n",
	"=ybegin line=128 size=3 name=x\r\n",
	"(This file must be converted with BinHex 4.0)\r\n", "base64", "worm", "wormword", "ends", "7bit", "8bit", "=?us-ascii?Q?x?=", "text/plain", "application/x-y",
};

/* To the start of a line mostly: that is where fields, boundaries and files begin. */
static size_t place(const struct buf *b)
{
	size_t at = below(b->n + 1);
	while (below(8) < 6 && at > 0 && b->p[at - 1] != '\n')
		at--;
	return at;
}

static size_t line_end(const struct buf *b, size_t at)
{
	while (at < b->n && b->p[at] != '\n')
		at++;
	return at + (at < b->n);
}

/* A piece put in or, for some bytes, in their place; a line left out, or twice. */
static void change(struct buf *b, struct buf *out)
{
	const size_t at = place(b), end = line_end(b, at), kind = below(5), skip = kind == 1 ? below(4) : kind == 2 ? end - at : 0;
	const size_t cut = at + skip < b->n ? at + skip : b->n;
	buf_reset(out);
	buf_mem(out, b->p, at);
	if (kind == 4)
		buf_mem(out, b->p + at, end - at);
	else if (kind != 2)
		buf_c(out, pieces[below(ARRAY_LEN(pieces))]);
	buf_mem(out, b->p + cut, b->n - cut);
	buf_reset(b);
	buf_str(b, buf_view(out));
}

static void test_changed(const struct filter_rules *rules)
{
	struct buf message, room;
	unsigned n = 0, plain = 0, found = 0, missed = 0;
	buf_init(&message, 1 << 16);
	buf_init(&room, 1 << 16);
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		for (unsigned round = 0; round < ROUNDS; round++, n++) {
			struct found ours, theirs;
			buf_reset(&message);
			buf_c(&message, cases[i].message);
			for (size_t k = 1 + below(CHANGES_MAX); k > 0; k--)
				change(&message, &room);
			const int its = alone(rules, buf_view(&message), &theirs);
			const bool miss = its == 1 && virus_found(rules, buf_view(&message), &ours) != 1;
			plain += is_plain(buf_view(&message));
			found += its == 1;
			missed += miss;
			if (miss)
				tap_diag("%s is missed in\n%s", theirs.name, message.p);
		}
	}
	tap_is_int(missed, 0, "nothing that libclamav finds in a changed message is missed");
	tap_ok(plain > n / 10 && found > n / 4, "of %u changed messages %u are plain, and in %u something is found", n, plain, found);
	buf_fini(&message);
	buf_fini(&room);
}

/* --- */

/* Mails in a text, each within the one before: first those that are taken apart here, then those that are left to libclamav. */
static void test_nested(const struct filter_rules *rules)
{
	struct buf b;
	struct found found;
	buf_init(&b, 1 << 16);
	for (unsigned depth = 1; depth < 24; depth++) {
		buf_reset(&b);
		buf_c(&b, HEAD TEXT "\r\nsee\r\n");
		for (unsigned i = 1; i < depth; i++)
			buf_c(&b, QP "\r\nsome=20text\r\n");
		buf_c(&b, B64 "\r\n" WORD);
		tap_ok(is_plain(buf_view(&b)) && virus_found(rules, buf_view(&b), &found) == 1, "a mail in a text, %u deep: %s", depth, found.name);
	}
	buf_fini(&b);
}

/* Long lines are several to it. */
static void test_long_lines(const struct filter_rules *rules)
{
	struct buf b;
	struct found ours, theirs;
	buf_init(&b, 1 << 16);
	for (size_t n = 990; n < 1010; n++) {
		buf_reset(&b);
		buf_c(&b, HEAD MIXED PART "Content-Type: text/plain; name=x\r\n" QP "\r\n");
		for (size_t i = 0; i < n; i++)
			buf_ch(&b, i + 1 < n ? 'x' : '=');
		buf_c(&b, "77ormword\r\n\r\n");
		for (size_t i = 0; i < n; i++)
			buf_ch(&b, 'y');
		buf_c(&b, "--=_b1\r\n" APP B64 "\r\n" WORD END);
		const int its = alone(rules, buf_view(&b), &theirs);
		tap_ok(its >= 0 && virus_found(rules, buf_view(&b), &ours) >= its, "lines of %zu bytes: %s, %s", n, theirs.name, ours.name);
	}
	buf_fini(&b);
}

/* A file in a link, that is no HTML without the part before it: in a message that is no mail to libclamav, for its fields begin with long ones of others, all is HTML. */
static void test_link(const struct filter_rules *rules)
{
	enum { FIELDS = 100 };
	static const struct {
		const char *data;	/* as it is written */
		bool link;	/* is it one to libclamav? */
	} forms[] = {
		{ "\"data:", true }, { "\"&#100;ata:", true }, { "\"&#x64;ata:", true }, { "\"&#00100;ata:", true }, { "\"&#356;ata:", true }, { "\"d&#65889;ta:", true },
		{ "\"data&colon;", true }, { "\"data&#58;", true }, { "&#34;data:", true }, { "&quot;data:", true }, { "&quot;d&#97;ta:", true }, { "&#100;ata:", true },
		{ "&#8212;data:", false }, { "&nbsp;data:", false }, { "\"&amp;data:", false }, { "\"&#151;data:", false }, { "&eacute;data:", false }, { "&#32;data:", false },
		{ "'\303\251&#100;&#97;&#116;&#97;&#58;", true }, { "'\303\251data:", false },
	};
	struct buf b;
	struct found ours, theirs;
	buf_init(&b, 1 << 16);
	for (size_t i = 0; i < ARRAY_LEN(forms); i++) {
		buf_reset(&b);
		for (unsigned k = 0; k < FIELDS; k++)
			buf_c(&b, "X-One: and all that somebody says of it\r\n");
		buf_c(&b, "From: a@example.org\r\n" MIXED "--=_b1\r\nContent-Type: text/html\r\n\r\n<html><body>x</body></html>\r\n--=_b1\r\nContent-Type: text/html\r\n\r\nx\r\n");
		buf_printf(&b, "<video src=%sapplication/x-y;base64,YSB3b3Jtd29yZCBoZXJl\">\r\n" END, forms[i].data);
		const int its = alone(rules, buf_view(&b), &theirs), r = virus_found(rules, buf_view(&b), &ours);
		tap_ok(its == forms[i].link && r == its && (its == 0 || !is_plain(buf_view(&b))), "a file in a link, form %zu: %s, %s", i, theirs.name, ours.name);
	}
	buf_fini(&b);
}

/* Where a link may hold a file, however it is written; queries of others are no reason. */
static void test_links(void)
{
	static const struct {
		const char *link;
		bool plain;
	} links[] = {
		{ "http://x.example/?a=&b=%20c&d=%2Fe", true }, { "http://x.example/?a=&amp;b=&lt;&gt;", true }, { "data", true }, { "data:x", false }, { "&#100;ata:x", false },
		{ "d&#x61;ta:x", false }, { "data&colon;x", false }, { "%64ata:x", false }, { " D A\\TA:x", false }, { "%09%20data:x", false },
		{ " &#151;x", true }, { "&#8220;x&#8221;", true }, { "&nbsp;&nbsp;", true }, { "&quot;x&quot;", true }, { "&quot;data:x", false }, { "&#356;ata:x", false },
	};
	struct buf b;
	buf_init(&b, 1 << 12);
	for (size_t i = 0; i < ARRAY_LEN(links); i++) {
		buf_reset(&b);
		buf_printf(&b, HEAD MIXED PART "Content-Type: text/html\r\n\r\n<a href=\"%s\">x</a>\r\n" END, links[i].link);
		tap_ok(is_plain(buf_view(&b)) == links[i].plain, "a link to %s", links[i].link);
	}
	buf_fini(&b);
}

/* It ends a line behind each piece, so its file is the longer the more of them there are. */
static void test_many_pieces(const struct filter_rules *rules)
{
	enum { PIECE = 999, PIECES = 100, WORD_BYTES = 4 };
	struct buf b;
	struct found ours, theirs;
	buf_init(&b, 1 << 18);
	buf_c(&b, HEAD MIXED PART APP "\r\n");
	for (size_t i = 0; i < PIECES * PIECE - WORD_BYTES; i++)
		buf_ch(&b, 'x');
	buf_c(&b, "wormends" END);
	const int its = alone(rules, buf_view(&b), &theirs), r = virus_found(rules, buf_view(&b), &ours);
	tap_ok(is_plain(buf_view(&b)) && its == 1 && r == 1, "a line of %d pieces: %s, %s", PIECES, theirs.name, ours.name);
	buf_fini(&b);
}

/* Parts are handed over, the message is looked at as bytes. */
static void test_plain_scans(const struct filter_rules *rules)
{
	static const char message[] = HEAD MIXED PART APP B64 "\r\nbm90aGluZw==\r\n" END;
	struct found found;
	const uint64_t before = clamav_scans(rules->clamav);
	tap_ok(!clamav_wants_mail(rules->clamav) && is_plain(str_c(message)), "no signature wants a mail, and the message is plain");
	tap_ok(virus_found(rules, str_c(message), &found) == 0, "it is clean");
	tap_is_int((int)(clamav_scans(rules->clamav) - before), 3, "the message and its two parts are looked at");
}

static void test_versions(void)
{
	tap_ok(plain_knows("1.4.6") && plain_knows("1.4.0"), "what libclamav 1.4 does is known");
	tap_ok(!plain_knows("1.5.0") && !plain_knows("1.40.0") && !plain_knows("1.3.2") && !plain_knows(""), "of others it is not");
}

static int databases(char *canary, size_t n)
{
	char path[100];
	FILE *f = fopen("etc/share/clamav/postern-test.ndb", "r");
	const bool read = f != NULL && fgets(canary, (int)n, f) != NULL;
	if (f != NULL)
		fclose(f);
	if (!read || mkdtemp(dir) == NULL)
		return -1;
	snprintf(path, sizeof(path), "%s/db", dir);
	return mkdir(path, 0700);
}

static void test_scans(struct filter_rules *rules)
{
	struct err e = { 0 };
	if (!tap_ok(clamav_load(rules->conf, "etc/share/clamav", dir, &rules->clamav, &e) == 0, "signatures load: %s", e.text))
		return;
	if (!plain_knows(clamav_version())) {
		tap_skip(1, "this libclamav has a parser that is not known");
		return;
	}
	test_cases(rules);
	test_plain_scans(rules);
	test_nested(rules);
	test_long_lines(rules);
	test_many_pieces(rules);
	test_link(rules);
	test_links();
	test_changed(rules);
}

int main(void)
{
	struct filter_rules rules = { 0 };
	struct conf *conf = NULL;
	struct err e = { 0 };
	char canary[400], text[100], db[100];
	test_versions();
	if (!tap_ok(databases(canary, sizeof(canary)) == 0, "a directory of signatures"))
		return tap_done();
	snprintf(db, sizeof(db), "%s/db", dir);
	snprintf(text, sizeof(text), "virus_database_directory = %s\n", db);
	tap_ok(write_file("canary.ndb", canary) == 0 && write_file("words.ndb", words) == 0, "signatures are written");
	if (tap_ok(conf_parse(str_c(text), "test", &conf, NULL, &e) == 0, "configuration: %s", e.text)) {
		rules.conf = conf;
		if (tap_ok(policies_load(conf, &rules.policies, &e) == 0, "policies load: %s", e.text))
			test_scans(&rules);
	}
	filter_rules_free(&rules);
	conf_free(&conf);
	remove_file("canary.ndb");
	remove_file("words.ndb");
	tap_ok(rmdir(db) == 0 && rmdir(dir) == 0, "nothing is left of what was unpacked");
	return tap_done();
}
