/* The collation i;unicode-casemap (RFC 5051; I18NLEVEL=1, RFC 5255): text is turned into a form in which equal means equal bytes, order is
 * the order of bytes, and a substring is a substring of bytes. Letters lose their case, accents become characters of their own behind
 * their letter. One code point may become several. Not locale dependent; casemap.tab is made by mkcasemap. */
#ifndef IMAP_FOLD_H
#define IMAP_FOLD_H

#include "base/buf.h"
#include "base/str.h"

void imap_fold(struct str utf8, struct buf *out);	/* appends; invalid bytes become U+FFFD */

#endif
