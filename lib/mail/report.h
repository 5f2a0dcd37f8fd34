/* A mail from this server to another one's administrator, with a file in it: DMARC aggregate reports (RFC 7489 7.2.1.1), TLS reports (RFC 8460 5.3).
 *
 *	struct report_mail r = { .from = …, .to = …, .subject = …, .message_id = …, .now = …, .text = …, .file_type = STR("application/tlsrpt+gzip"),
 *		.file_name = …, .file = gzipped, .report_type = "tlsrpt", .fields = "TLS-Report-Domain: example.com\n" };
 */
#ifndef MAIL_REPORT_H
#define MAIL_REPORT_H

#include <stdint.h>

#include "base/attr.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"

struct report_mail {
	struct str from, to;		/* addresses */
	struct str subject;		/* ASCII; what is not becomes "?" */
	struct str message_id;		/* with its angle brackets */
	int64_t now;
	struct str text;		/* for people; LF line ends */
	struct str file_type, file_name;	/* media type; ASCII name without quotes */
	struct str file;		/* any bytes: sent as base64 */
	const char *report_type;	/* multipart/report; report-type=…; NULL: multipart/mixed */
	const char *fields;		/* further header fields, each with its "\n"; NULL: none */
};
/* Append the message, LF line ends. -1: ERR_INPUT when an address, the id, a type or the file's name holds a control or a quote, ERR_LIMIT by out's max. */
int report_mail_format(const struct report_mail *r, struct buf *out, struct err *e) MUST_CHECK;

#endif
