/* Report mails are read back by our own parser: header, parts, the file byte for byte; what may not be in a field is refused. */
#include "mail/report.h"

#include "base/arena.h"
#include "mail/edit.h"
#include "mail/head.h"
#include "mail/mime.h"
#include "test/tap.h"

static const unsigned char file[] = { 0x1f, 0x8b, 0, '\r', '\n', 0xff, '.', '\n', 'x' };

static struct report_mail sample(void)
{
	return (struct report_mail){ .from = STR("postmaster@a.test"), .to = STR("rua@b.test"), .subject = STR("Report Domain: b.test\r\nX: 1"),
		.message_id = STR("<1@a.test>"), .now = 1700000000, .text = STR("A report.\n--=_\n"), .file_type = STR("application/gzip"),
		.file_name = STR("a.test!b.test!1!2.xml.gz"), .file = str_n(file, sizeof(file)) };
}

static void reads_back(const char *type, const char *subtype)
{
	struct arena *a = arena_new(0);
	struct report_mail r = sample();
	struct buf out;
	struct err e = { 0 };
	struct mail_field f;
	r.report_type = type;
	r.fields = type ? "TLS-Report-Domain: b.test\n" : NULL;
	buf_init(&out, 100000);
	tap_is_int(report_mail_format(&r, &out, &e), 0, "report: %s is written", subtype);
	tap_ok(mail_field_find(buf_view(&out), "Content-Type", &f) && str_case_find(f.value, str_c(subtype)) >= 0, "report: it is %s", subtype);
	tap_ok(mail_field_find(buf_view(&out), "TLS-Report-Domain", &f) == (type != NULL), "report: %s: further fields", subtype);
	tap_ok(!mail_field_find(buf_view(&out), "X", &f), "report: %s: a subject makes no field", subtype);
	const struct mime_part *p = mime_parse(a, buf_view(&out));
	tap_ok(p->children && p->children->next && !p->children->next->next, "report: %s has two parts", subtype);
	struct buf got;
	buf_init(&got, 1000);
	if (p->children && p->children->next)
		mime_body_decode(p->children->next, &got);
	tap_is_mem(buf_view(&got), r.file, "report: %s: the file comes back", subtype);
	buf_fini(&got);
	buf_fini(&out);
	arena_free(&a);
}

int main(void)
{
	struct buf out;
	struct err e = { 0 };
	reads_back(NULL, "multipart/mixed");
	reads_back("tlsrpt", "multipart/report");
	buf_init(&out, 100000);
	struct report_mail bad = sample();
	bad.to = STR("x@b.test\nBcc: y@c.test");
	tap_is_int(report_mail_format(&bad, &out, &e), -1, "report: an address with a line end");
	bad = sample();
	bad.file_name = STR("a\"; x=\"");
	tap_is_int(report_mail_format(&bad, &out, &e), -1, "report: a file name with quotes");
	buf_fini(&out);
	return tap_done();
}
