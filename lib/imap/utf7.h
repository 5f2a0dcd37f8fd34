/* Mailbox names on the wire and names of directories: modified UTF-7 (RFC 3501 section 5.1.3) to UTF-8 and back. Strict: what has a second spelling (printable
 * ASCII inside a shifted run, two runs in a row, spare bits, an unterminated run, a lone surrogate) and control characters are refused, so that
 * a name has one form only. */
#ifndef IMAP_UTF7_H
#define IMAP_UTF7_H

#include "base/attr.h"
#include "base/buf.h"
#include "base/str.h"

int imap_utf7_decode(struct str in, struct buf *out) MUST_CHECK;	/* appends UTF-8; -1: not modified UTF-7, or no room */
/* One level of a Maildir++ directory: there a run may also hold a dot, which would separate levels, and control characters but NUL. */
int imap_utf7_decode_level(struct str in, struct buf *out) MUST_CHECK;
void imap_utf7_encode(struct str utf8, struct buf *out);		/* invalid UTF-8 bytes become U+FFFD */

#endif
