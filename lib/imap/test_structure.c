/* The step from LF to CRLF, cut at every place, and the texts of ENVELOPE and BODYSTRUCTURE. */
#include <string.h>

#include "imap/crlf.h"
#include "imap/out.h"
#include "imap/structure.h"
#include "test/tap.h"

static void wire_form(void)
{
	static const struct {
		const char *in, *want;
	} cases[] = {
		{ "", "" }, { "a", "a" }, { "\n", "\r\n" }, { "a\nb\n", "a\r\nb\r\n" }, { "a\r\nb\n", "a\r\nb\r\n" }, { "\r\r\n", "\r\r\n" }, { "a\rb", "a\rb" },
		{ "\n\n\r\n\n", "\r\n\r\n\r\n\r\n" }, { "x\r", "x\r" },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		const struct str in = str_c(cases[i].in), want = str_c(cases[i].want);
		bool ok = crlf_size(in) == want.n;

		for (size_t from = 0; from <= want.n; from++) {
			for (size_t n = 1; n <= want.n + 1; n++) {
				struct crlf c;
				struct buf b;

				buf_init(&b, 1000);
				crlf_start(&c, in);
				crlf_skip(&c, from);
				/* In pieces of n bytes to the end. */
				for (size_t k = 0; k <= want.n; k++)
					crlf_read(&c, &b, n);
				ok = ok && str_eq(buf_view(&b), str_from(want, from));
				buf_fini(&b);
			}
		}
		tap_ok(ok, "wire form %zu, from every place in every piece", i);
	}
	struct crlf c;
	struct buf b;

	buf_init(&b, 100);
	crlf_start(&c, str_n("a\0b\0", 4));
	crlf_read(&c, &b, 100);
	tap_is_mem(buf_view(&b), str_n("a\x80" "b\x80", 4), "NUL never leaves, and the length stays");
	buf_fini(&b);
}

static void envelopes(void)
{
	static const struct {
		const char *name, *head, *want;
	} cases[] = {
		{ "an empty header", "", "(NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL)" },
		{ "sender and reply-to default to from", "From: a@b\n", "(NIL NIL ((NIL NIL \"a\" \"b\")) ((NIL NIL \"a\" \"b\")) ((NIL NIL \"a\" \"b\")) NIL NIL NIL NIL NIL)" },
		{ "an empty sender defaults too", "From: a@b\nSender:\n", "(NIL NIL ((NIL NIL \"a\" \"b\")) ((NIL NIL \"a\" \"b\")) ((NIL NIL \"a\" \"b\")) NIL NIL NIL NIL NIL)" },
		{ "folds are removed", "Subject: a\n b\n", "(NIL \"a b\" NIL NIL NIL NIL NIL NIL NIL NIL)" },
		{ "quotes are escaped", "Subject: \"a\\\"\n", "(NIL \"\\\"a\\\\\\\"\" NIL NIL NIL NIL NIL NIL NIL NIL)" },
	};
	struct arena *a = arena_new(0);

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct buf b;

		buf_init(&b, 10000);
		envelope_put(&b, a, str_c(cases[i].head));
		tap_is_mem(buf_view(&b), str_c(cases[i].want), "%s", cases[i].name);
		buf_fini(&b);
	}
	arena_free(&a);
}

static void structures(void)
{
	static const struct {
		const char *name, *message, *want;	/* want: what the text must hold */
	} cases[] = {
		{ "a multipart without parts has one", "Content-Type: multipart/mixed; boundary=x\n\nnothing\n", "(\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 0 0)" },
		{ "a file name that is not ASCII", "Content-Disposition: attachment; filename*=utf-8''%C3%A4.txt\n\nx\n", "(\"filename*\" \"UTF-8''%C3%A4.txt\")" },
		{ "languages are a list", "Content-Language: de, en\n\nx\n", "(\"de\" \"en\")" },
		{ "sizes are those of the wire", "\na\nb\n", "\"7bit\" 6 2 " },
	};
	struct arena *a = arena_new(0);

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct buf b;

		buf_init(&b, 10000);
		body_put(&b, a, mime_parse(a, str_c(cases[i].message)), true);
		if (!tap_ok(str_find(buf_view(&b), str_c(cases[i].want)) >= 0, "%s", cases[i].name))
			tap_diag("%s", b.p);
		buf_fini(&b);
	}
	arena_free(&a);
}

int main(void)
{
	wire_form();
	envelopes();
	structures();
	return tap_done();
}
