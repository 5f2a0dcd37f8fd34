/* See report.h. */
#include "mail/report.h"

#include <stdio.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/enc.h"
#include "mail/head.h"

enum { SUBJECT_MAX = 800, BASE64_LINE = 57 };	/* 57 bytes: 76 characters */

static int plain(struct str s, const char *what, struct err *e)
{
	for (size_t i = 0; i < s.n; i++)
		if (ch_ctl(s.p[i]) || s.p[i] == '"' || (unsigned char)s.p[i] > 0x7e)
			return err_set(e, ERR_INPUT, 0, "%s: a character that may not be there", what);
	return s.n == 0 ? err_set(e, ERR_INPUT, 0, "%s: missing", what) : 0;
}

static void put_head(const struct report_mail *r, const char *boundary, struct buf *out)
{
	buf_printf(out, "From: %.*s\nTo: %.*s\nSubject: ", STR_ARG(r->from), STR_ARG(r->to));
	text_neutral(out, r->subject, SUBJECT_MAX, true);
	buf_c(out, "\nDate: ");
	mail_date_format(r->now, 0, out);
	buf_printf(out, "\nMessage-ID: %.*s\nAuto-Submitted: auto-generated\n%sMIME-Version: 1.0\n", STR_ARG(r->message_id), r->fields ? r->fields : "");
	if (r->report_type)
		buf_printf(out, "Content-Type: multipart/report; report-type=\"%s\";\n\tboundary=\"%s\"\n\n", r->report_type, boundary);
	else
		buf_printf(out, "Content-Type: multipart/mixed; boundary=\"%s\"\n\n", boundary);
}

static void put_file(const struct report_mail *r, struct buf *out)
{
	buf_printf(out, "Content-Type: %.*s; name=\"%.*s\"\nContent-Disposition: attachment; filename=\"%.*s\"\nContent-Transfer-Encoding: base64\n\n",
		   STR_ARG(r->file_type), STR_ARG(r->file_name), STR_ARG(r->file_name));
	for (size_t i = 0; i < r->file.n; i += BASE64_LINE) {
		base64_encode(out, str_sub(r->file, i, BASE64_LINE));
		buf_ch(out, '\n');
	}
}

int report_mail_format(const struct report_mail *r, struct buf *out, struct err *e)
{
	char boundary[40];
	if (plain(r->from, "From", e) < 0 || plain(r->to, "To", e) < 0 || plain(r->message_id, "Message-ID", e) < 0 || plain(r->file_type, "file type", e) < 0 ||
	    plain(r->file_name, "file name", e) < 0)
		return -1;
	/* "=_" is in no base64 and in no quoted-printable text (RFC 2045 6.7); the number is for texts that quote reports. */
	snprintf(boundary, sizeof(boundary), "=_%016llx", (unsigned long long)random_u64());
	put_head(r, boundary, out);
	buf_printf(out, "--%s\nContent-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n\n", boundary);
	buf_str(out, r->text);
	buf_printf(out, "\n--%s\n", boundary);
	put_file(r, out);
	buf_printf(out, "\n--%s--\n", boundary);
	return buf_check(out, "report", e);
}
