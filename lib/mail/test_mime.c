/* Trees: type(children)[body] of small messages, with LF and CRLF; and that hostile shapes stay linear and bounded. */
#include "base/arena.h"
#include "base/clock.h"
#include "mail/mime.h"
#include "test/tap.h"

static void show(const struct mime_part *p, struct buf *b)
{
	for (; p != NULL; p = p->next) {
		buf_printf(b, "%.*s/%.*s", STR_ARG(p->type), STR_ARG(p->subtype));
		if (p->children != NULL) {
			buf_ch(b, '(');
			show(p->children, b);
			buf_ch(b, ')');
		} else {
			buf_printf(b, "[%.*s:%zu]", STR_ARG(p->body), p->body_lines);
		}
	}
}

/* Of every part of the tree: line ends, and a last line without one. */
static bool lines_right(const struct mime_part *p)
{
	for (; p != NULL; p = p->next) {
		size_t n = p->body.n > 0 && p->body.p[p->body.n - 1] != '\n';
		for (size_t i = 0; i < p->body.n; i++)
			n += p->body.p[i] == '\n';
		if (n != p->body_lines || !lines_right(p->children))
			return false;
	}
	return true;
}

#define MULTI "Content-Type: multipart/mixed; boundary=b\n\n"

static void trees(void)
{
	static const struct {
		const char *in, *out;
	} cases[] = {
		{ "A: b\n\nhello\n", "text/plain[hello\n:1]" },
		{ "\nhello", "text/plain[hello:1]" },
		{ "", "text/plain[:0]" },
		{ "A: b\n", "text/plain[:0]" },
		{ MULTI "pre\n--b\n\none\n--b\n\ntwo\n--b--\nepi\n", "multipart/mixed(text/plain[one:1]text/plain[two:1])" },
		{ MULTI "--b\n\none\n--b\n\ntwo\n", "multipart/mixed(text/plain[one:1]text/plain[two\n:1])" },
		{ MULTI "--b\n\n--b\n\n--b--\n", "multipart/mixed(text/plain[:0]text/plain[:0])" },
		{ MULTI "--b\nContent-Type: text/html\n--b--\n", "multipart/mixed(text/html[:0])" },
		{ MULTI "--bb\n\none\n--b \n\ntwo\n--b--", "multipart/mixed(text/plain[two:1])" },
		{ MULTI "--b\nContent-Type: multipart/alternative; boundary=bb\n\n--bb\n\nx\n--bb--\n--b\n\ny\n--b--\n",
		  "multipart/mixed(multipart/alternative(text/plain[x:1])text/plain[y:1])" },
		{ MULTI "--b\nContent-Type: multipart/alternative; boundary=c\n\n--c\n\nx\n--b\n\ny\n--b--\n",
		  "multipart/mixed(multipart/alternative(text/plain[x:1])text/plain[y:1])" },
		{ "Content-Type: multipart/digest; boundary=b\n\n--b\n\nSubject: i\n\nin\n--b--\n",
		  "multipart/digest(message/rfc822(text/plain[in:1]))" },
		{ "Content-Type: message/rfc822\n\n" MULTI "--b\n\nx\n--b--\n", "message/rfc822(multipart/mixed(text/plain[x:1]))" },
		{ "Content-Type: message/rfc822\nContent-Transfer-Encoding: base64\n\nQUJD\n", "message/rfc822[QUJD\n:1]" },
		{ "Content-Type: multipart/mixed\n\nno boundary\n", "multipart/mixed[no boundary\n:1]" },
		{ "Content-Type: nonsense\n\nx", "application/octet-stream[x:1]" },
		{ "Content-Type: text\n\nx", "text/plain[x:1]" },
		{ MULTI "--b\nContent-Type: multipart/mixed; boundary=b\n\n--b\n\nx\n--b--\n--b\n\ny\n--b--\n",
		  "multipart/mixed(multipart/mixed(text/plain[x:1])text/plain[y:1])" },
		{ "Content-Type: multipart/mixed; boundary=\"b--\"\n\n--b--\n" MULTI "--b\n\nx\n--b--\n--b--\n\ny\n",
		  "multipart/mixed(multipart/mixed(text/plain[x:1])text/plain[y\n:1])" },
		{ MULTI "--b\n\nx\n\n--b\n\n\n--b\n\n\n\ny\n\nz\n--b--\n", "multipart/mixed(text/plain[x\n:1]text/plain[:0]text/plain[\n\ny\n\nz:5])" },
		{ MULTI "no parts at all\n", "multipart/mixed[no parts at all\n:1]" },
	};
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct arena *a = arena_new(0);
		struct buf b, crlf, shown;
		buf_init(&b, 10000);
		buf_init(&crlf, 10000);
		buf_init(&shown, 10000);
		show(mime_parse(a, str_c(cases[i].in)), &b);
		tap_is_str(b.p, cases[i].out, "tree");
		for (const char *p = cases[i].in; *p != '\0'; p++) {
			if (*p == '\n')
				buf_ch(&crlf, '\r');
			buf_ch(&crlf, *p);
		}
		buf_reset(&b);
		tap_ok(lines_right(mime_parse(a, str_c(cases[i].in))) && lines_right(mime_parse(a, buf_view(&crlf))), "lines of each part");
		show(mime_parse(a, buf_view(&crlf)), &b);
		for (size_t k = 0; k < b.n; k++)
			if (b.p[k] != '\r')
				buf_ch(&shown, b.p[k]);
		tap_is_str(shown.p, cases[i].out, "the same with CRLF");
		buf_fini(&b);
		buf_fini(&crlf);
		buf_fini(&shown);
		arena_free(&a);
	}
}

static void names(void)
{
	struct arena *a = arena_new(0);
	struct str out[16];
	const struct mime_part *p = mime_parse(a, STR("Content-Type: application/x; name=\"a.txt\"\n"
						     "Content-Disposition: attachment; filename*0=b.e; filename*1=xe\n\n"));
	size_t n = mime_names(a, p, out, 16);
	tap_ok(n == 2 && str_eq(out[0], STR("b.exe")) && str_eq(out[1], STR("a.txt")), "every name form is found");
	arena_free(&a);
}

static void repeat(struct buf *b, const char *what, size_t times)
{
	for (size_t i = 0; i < times; i++)
		buf_c(b, what);
}

static void hostile(void)
{
	static const struct {
		const char *name, *start, *repeated;
		size_t times;
	} cases[] = {
		{ "boundaries", MULTI, "--b\n", 250000 },
		{ "nested multiparts", "", "Content-Type: multipart/mixed; boundary=b\n\n--b\n", 20000 },
		{ "nested messages", "", "Content-Type: message/rfc822\n\n", 30000 },
		{ "parameters", "Content-Type: text/plain", "; a*1=b", 130000 },
		{ "comments", "Content-Type: ", "((((((((((", 100000 },
		{ "dashes", MULTI, "--\n", 300000 },
		{ "encoded words", "Content-Type: text/plain; name=\"", "=?utf-8?q?x?= ", 60000 },
		{ "continuations", "Content-Type: text/plain", "; n*0*=''%41", 80000 },
		{ "header fields", "", "A: b\n", 200000 },
	};
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct arena *a = arena_new(0);
		struct buf b;
		buf_init(&b, 4 << 20);
		buf_c(&b, cases[i].start);
		repeat(&b, cases[i].repeated, cases[i].times);
		const struct mime_part *p = mime_parse(a, buf_view(&b));
		tap_ok(p != NULL && lines_right(p) && !buf_failed(&b), "hostile %s end", cases[i].name);
		buf_fini(&b);
		arena_free(&a);
	}
}

int main(void)
{
	trees();
	names();
	hostile();
	return tap_done();
}
