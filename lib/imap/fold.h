/* Case folding for substring search: one code point to one, for Latin, Greek, Cyrillic, Armenian and full-width letters (the simple foldings of
 * Unicode's CaseFolding, by range). Not locale dependent. */
#ifndef IMAP_FOLD_H
#define IMAP_FOLD_H

#include <stdint.h>

#include "base/buf.h"
#include "base/str.h"

uint32_t imap_fold_char(uint32_t cp);
void imap_fold(struct str utf8, struct buf *out);	/* appends; invalid bytes become U+FFFD */

#endif
