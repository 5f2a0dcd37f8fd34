/* Transfer encodings made anew: to 7 bits, and without binary. */
#include "mail/mime.h"
#include "mail/reencode.h"
#include "test/tap.h"

#define MP "Content-Type: multipart/mixed; boundary=b\nContent-Transfer-Encoding: 8bit\nMIME-Version: 1.0\n\n"

static const struct {
	const char *name, *in, *want;
} conversions[] = {
	{ "a text part", "MIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n\nGr\xc3\xbc\xc3\x9f" "e =\n",
	  "MIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: quoted-printable\n\nGr=C3=BC=C3=9Fe =3D\n" },
	{ "blanks at a line's end", "MIME-Version: 1.0\n\n\xff \n\t\n", "MIME-Version: 1.0\nContent-Transfer-Encoding: quoted-printable\n\n=FF=20\n=09\n" },
	{ "no MIME at all", "Subject: x\n\n\xe4\n",
	  "Subject: x\nMIME-Version: 1.0\nContent-Type: text/plain; charset=unknown-8bit\nContent-Transfer-Encoding: quoted-printable\n\n=E4\n" },
	{ "something other than text", "MIME-Version: 1.0\nContent-Type: image/x\ncontent-transfer-encoding: 8bit\n\n\xff\n",
	  "MIME-Version: 1.0\nContent-Type: image/x\nContent-Transfer-Encoding: base64\n\n/w0K\n" },
	{ "one part of several", MP "pre\n--b\n\nplain\n--b\nContent-Transfer-Encoding: 8bit\n\n\xe4\n--b--\npost\n",
	  "Content-Type: multipart/mixed; boundary=b\nMIME-Version: 1.0\nContent-Transfer-Encoding: 7bit\n\npre\n--b\n\nplain\n--b\nContent-Transfer-Encoding: "
	  "quoted-printable\n\n=E4\n--b--\npost\n" },
	{ "a message in a message", "MIME-Version: 1.0\nContent-Type: message/rfc822\nContent-Transfer-Encoding: 8bit\n\nMIME-Version: 1.0\nContent-Transfer-Encoding: "
	  "8bit\n\n\xe4\n",
	  "MIME-Version: 1.0\nContent-Type: message/rfc822\nContent-Transfer-Encoding: 7bit\n\nMIME-Version: 1.0\nContent-Transfer-Encoding: quoted-printable\n\n=E4\n" },
	{ "a message with a header in UTF-8", "MIME-Version: 1.0\nContent-Type: message/global\nContent-Transfer-Encoding: 8bit\n\nSubject: \xc3\xa4\n\nx\n",
	  "MIME-Version: 1.0\nContent-Type: message/global\nContent-Transfer-Encoding: base64\n\nU3ViamVjdDogw6QNCg0KeA0K\n" },
	{ "one of that type with a plain header", "MIME-Version: 1.0\nContent-Type: message/global\nContent-Transfer-Encoding: 8bit\n\nMIME-Version: 1.0\n\n\xe4\n",
	  "MIME-Version: 1.0\nContent-Type: message/global\nContent-Transfer-Encoding: 7bit\n\nMIME-Version: 1.0\nContent-Transfer-Encoding: quoted-printable\n\n=E4\n" },
	{ "the header alone, of a report", "MIME-Version: 1.0\nContent-Type: message/global-headers\nContent-Transfer-Encoding: 8bit\n\nSubject: \xc3\xa4\n",
	  "MIME-Version: 1.0\nContent-Type: message/global-headers\nContent-Transfer-Encoding: base64\n\nU3ViamVjdDogw6QNCg==\n" },
	{ "a folded label", "MIME-Version: 1.0\nContent-Transfer-Encoding:\n 8bit\nX: y\n\n\xe4\n", "MIME-Version: 1.0\nX: y\nContent-Transfer-Encoding: quoted-printable\n\n=E4\n" },
};

static void test_7bit(void)
{
	struct buf out, body;
	struct err e = { 0 };
	char longest[400];

	for (size_t i = 0; i < ARRAY_LEN(conversions); i++) {
		buf_init(&out, 1 << 20);
		tap_ok(mail_reencode(str_c(conversions[i].in), MAIL_TO_7BIT, mail_sink_buf, &out, &e) == 0 && !str_has_8bit(buf_view(&out)), "%s: seven bits", conversions[i].name);
		tap_is_mem(buf_view(&out), str_c(conversions[i].want), "%s", conversions[i].name);
		buf_fini(&out);
	}
	/* Long lines, and back again. */
	struct arena *a = arena_new(0);
	memset(longest, 0xfc, sizeof longest);
	struct str in = str_c(arena_printf(a, "MIME-Version: 1.0\nContent-Type: text/plain\nContent-Transfer-Encoding: 8bit\n\n%.*s\n", (int)sizeof longest, longest));
	buf_init(&out, 1 << 20);
	buf_init(&body, 1 << 20);
	bool fits = mail_reencode(in, MAIL_TO_7BIT, mail_sink_buf, &out, &e) == 0;
	struct str rest = buf_view(&out);
	while (rest.n > 0)
		fits = fits && str_split(&rest, '\n').n <= 76;
	mime_body_decode(mime_parse(a, buf_view(&out)), &body);
	tap_ok(fits && body.n == sizeof longest + 1 && memcmp(body.p, longest, sizeof longest) == 0, "lines of at most 76, and the same text again");
	buf_fini(&out);
	buf_fini(&body);
	arena_free(&a);
}

/* --- without binary --- */

#define BINARY "Content-Transfer-Encoding: binary\r\n"
#define BASE64 "Content-Transfer-Encoding: base64\n"

/* in may hold NUL. */
static const struct {
	const char *name;
	struct str in, want;
} binaries[] = {
	{ "bytes as they stand", STR("Content-Type: application/x\r\n" BINARY "\r\n\0\n\r\xff\r\n"), STR("Content-Type: application/x\r\n" BASE64 "\nAAoN/w0K\n") },
	{ "a text, too", STR(BINARY "\r\nab\r\n"), STR(BASE64 "\nYWINCg==\n") },
	{ "no label: as it is", STR("Content-Type: application/x\r\n\r\n\xff\r\n"), STR("Content-Type: application/x\r\n\r\n\xff\r\n") },
	{ "a part among others", STR("Content-Type: multipart/mixed; boundary=b\r\n" BINARY "\r\n--b\r\n\r\nx\r\n--b\r\n" BINARY "\r\n\0\1\2\r\n--b--\r\n"),
	  STR("Content-Type: multipart/mixed; boundary=b\r\nContent-Transfer-Encoding: 8bit\n\n--b\r\n\r\nx\r\n--b\r\n" BASE64 "\nAAEC\n\r\n--b--\r\n") },
	{ "a message in a message", STR("Content-Type: message/rfc822\r\n\r\n" BINARY "\r\n\0"),
	  STR("Content-Type: message/rfc822\r\nContent-Transfer-Encoding: 8bit\n\n" BASE64 "\nAA==\n") },
};

static int refuse(void *ctx, struct str piece, struct err *e)
{
	size_t *n = ctx;

	(void)piece;
	return ++*n < 3 ? 0 : err_set(e, ERR_LIMIT, 0, "full");
}

static void test_binary(void)
{
	struct err e = { 0 };
	struct buf out;

	for (size_t i = 0; i < ARRAY_LEN(binaries); i++) {
		buf_init(&out, 1 << 20);
		tap_ok(mail_reencode(binaries[i].in, MAIL_WITHOUT_BINARY, mail_sink_buf, &out, &e) == 0, "%s", binaries[i].name);
		tap_is_mem(buf_view(&out), binaries[i].want, "%s", binaries[i].name);
		buf_fini(&out);
	}
	/* In pieces, and the same bytes again; a sink that refuses ends it. */
	const size_t n = 1000003;
	struct arena *a = arena_new(0);
	struct buf in, body;
	buf_init(&in, 2 * n);
	buf_init(&out, 2 * n);
	buf_init(&body, 2 * n);
	buf_c(&in, BINARY "\r\n");
	const size_t head = in.n;
	for (size_t i = 0; i < n; i++)
		buf_ch(&in, (char)(i * i >> 3));
	tap_ok(mail_reencode(buf_view(&in), MAIL_WITHOUT_BINARY, mail_sink_buf, &out, &e) == 0, "a large one");
	mime_body_decode(mime_parse(a, buf_view(&out)), &body);
	tap_ok(str_eq(buf_view(&body), str_from(buf_view(&in), head)), "is the same");
	size_t calls = 0;
	tap_ok(mail_reencode(buf_view(&in), MAIL_WITHOUT_BINARY, refuse, &calls, &e) < 0 && calls == 3 && e.code == ERR_LIMIT, "the sink's error ends it");
	buf_fini(&in);
	buf_fini(&out);
	buf_fini(&body);
	arena_free(&a);
}

int main(void)
{
	test_7bit();
	test_binary();
	return tap_done();
}
