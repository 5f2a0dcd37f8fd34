/* Files of messages have LF line ends, as a rule; the wire has CRLF. A piece of a message is a struct str in file form; here it is turned into wire form, in
 * pieces, and with an exact length that was counted, not believed. Pure. */
#ifndef IMAP_CRLF_H
#define IMAP_CRLF_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/str.h"

/* Bytes in wire form. */
uint64_t crlf_size(struct str s);
/* A place in a piece, in wire form. */
struct crlf {
	const char *p, *end;
	bool after_cr;		/* the last byte taken was CR */
	bool owe_lf;		/* CR was written for a bare LF, the LF not yet */
};
void crlf_start(struct crlf *c, struct str s);
void crlf_skip(struct crlf *c, uint64_t n);
void crlf_read(struct crlf *c, struct buf *out, uint64_t n);	/* at most n wire bytes; NUL becomes 0x80 */

#endif
