/* Base64 (RFC 4648 section 4, strict), hexadecimal, UTF-8 validation, and the one function that neutralises
 * peer text for logs and headers. */
#ifndef BASE_ENC_H
#define BASE_ENC_H

#include <stdbool.h>

#include "base/attr.h"
#include "base/buf.h"
#include "base/str.h"

void base64_encode(struct buf *out, struct str in);
/* Strict: no white space, right padding, unused bits zero. 0, or -1 (out holds rubbish). */
int base64_decode(struct buf *out, struct str in) MUST_CHECK;
void hex_encode(struct buf *out, struct str in);	/* lower case */
int hex_decode(struct buf *out, struct str in) MUST_CHECK;

/* RFC 3629: no overlong forms, no surrogates, nothing above U+10FFFF, no NUL. */
bool utf8_valid(struct str s);
/* Next code point at *s, which advances; an invalid byte gives U+FFFD and advances by one. *s not empty. */
uint32_t utf8_next(struct str *s);
void utf8_put(struct buf *out, uint32_t cp);
/* The text less each CR that stands before an LF, in to, which has room for all of it and may be in.p. Returns its length. */
size_t text_to_lf(char *to, struct str in);
size_t ascii_plain(struct str s);	/* bytes from 0x20 to 0x7e at its start: what most text is, to be taken at once */

/* Text for a log line, a header or a helper: controls, DEL, invalid UTF-8 and (when ascii) all non-ASCII become
 * '?'; at most max bytes, then "…" as "...". */
void text_neutral(struct buf *out, struct str in, size_t max, bool ascii);

/* Constant-time comparison of n bytes. */
bool mem_equal_ct(const void *a, const void *b, size_t n);
/* Overwrite memory so that the compiler keeps it. */
void mem_wipe(void *p, size_t n);

#endif
