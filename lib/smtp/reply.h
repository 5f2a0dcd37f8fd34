/* SMTP replies, both ways: made by one function that knows code, enhanced code, multi-line form and CRLF, and parsed line by line by the
 * client. Pure.
 *
 *	smtp_reply_put(&b, 550, "5.1.1", STR("User unknown"));		"550 5.1.1 User unknown\r\n"
 */
#ifndef SMTP_REPLY_H
#define SMTP_REPLY_H

#include <stdbool.h>

#include "base/attr.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"

/* RFC 5321 4.5.3.1.5: 512 bytes with CRLF; text is cut there. */
enum { SMTP_REPLY_LINE_MAX = 512, SMTP_REPLY_LINES_MAX = 100 };

/* Append a reply. enhanced may be "" or NULL (RFC 2034: 2xx, 4xx and 5xx only; never in the greeting or to HELO/EHLO). text: lines divided by
 * '\n', each cut to fit; whatever is not printable ASCII becomes '?'. */
void smtp_reply_put(struct buf *out, int code, const char *enhanced, struct str text);

/* One line of a reply, without CRLF. */
struct smtp_reply_line {
	int code;		/* 200..599 */
	bool last;		/* false: "250-", more follow */
	struct str enhanced;	/* "5.1.1", or empty; only of the reply's own class */
	struct str text;	/* what follows, may be empty; borrows line */
};
/* 0, or ERR_INPUT: not a reply. Tolerates a missing text ("550", "550-"). */
int smtp_reply_line_parse(struct str line, struct smtp_reply_line *out, struct err *e) MUST_CHECK;
/* True for "c.s.d" with c one of 2, 4, 5 and s, d of 1 to 3 digits (RFC 3463). */
bool smtp_enhanced_valid(struct str s);
/* What an administrator writes for a refusal, "5.7.1 not to them" or the text alone: the code, or code itself where there is none of its class. *text_out: never empty. */
struct str smtp_enhanced_split(struct str s, const char *code, struct str *text_out);

#endif
