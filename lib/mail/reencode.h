/* A message with other transfer encodings, for who cannot take it as it is. Example:
 *	mail_reencode(message, MAIL_TO_7BIT, mail_sink_buf, &out, &e);
 */
#ifndef MAIL_REENCODE_H
#define MAIL_REENCODE_H

#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"

enum mail_reencode {
	MAIL_TO_7BIT,		/* message with LF: text with 8-bit bytes becomes quoted-printable, other parts base64 (RFC 6152 3) */
	MAIL_WITHOUT_BINARY,	/* LF or CRLF: parts labelled binary become base64 of the bytes as they stand (RFC 3516 4.4) */
};

/* Takes the next piece: borrowed, valid during the call. -1 with *e ends the conversion. */
typedef int mail_sink(void *ctx, struct str piece, struct err *e);
int mail_sink_buf(void *ctx /* struct buf * */, struct str piece, struct err *e);

/* Hand the converted message to sink, in pieces; lines that this writes end in LF. -1: with the sink's error, or ERR_LIMIT for want of memory. */
int mail_reencode(struct str message, enum mail_reencode what, mail_sink *sink, void *ctx, struct err *e) MUST_CHECK;

#endif
