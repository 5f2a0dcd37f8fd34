/* Writing values into responses so that no byte of a message, a name or a keyword can pass for protocol: a string is sent quoted when all of
 * it may stand between quotes, else as a literal. NUL (impossible in both) becomes 0x80. */
#ifndef IMAP_OUT_H
#define IMAP_OUT_H

#include <stdint.h>

#include "base/buf.h"
#include "base/str.h"

enum { IMAP_QUOTED_MAX = 1000 };	/* longer strings go as literals */

void imap_put_string(struct buf *out, struct str s);	/* "" for the empty string, never {0} */
void imap_put_nstring(struct buf *out, struct str s);	/* NIL when s.p is NULL */
void imap_put_astring(struct buf *out, struct str s);	/* an atom when it can be one */
void imap_put_utf8(struct buf *out, struct str s);	/* as astring; quoted when it is UTF-8 (RFC 6855) */
void imap_put_mailbox(struct buf *out, struct str utf8);	/* modified UTF-7, as astring */
/* Human text of a response: CR, LF, NUL and bytes outside printable ASCII become "?". */
void imap_put_text(struct buf *out, struct str s);
void imap_put_internaldate(struct buf *out, int64_t when);	/* "\"17-Jul-1996 02:44:25 +0000\"" */

#endif
