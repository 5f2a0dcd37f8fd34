/* Loops over all bytes of a text, sixteen at a time where they can be. Each writes to room for in.n bytes and returns how many it wrote. Pure. */
#ifndef SPAM_SPANS_H
#define SPAM_SPANS_H

#include <stdbool.h>

#include "base/str.h"

/* Each run of white space becomes a blank. */
size_t span_blanks(struct str in, char *out);
/* A run of white space that holds two line ends becomes a line end, with a blank before it and after it where there was more, any other a blank; NUL becomes a line
 * end. wide: Unicode's white space too. */
size_t span_paragraphs(struct str in, bool wide, char *out);
/* Copies what comes before the first '&', '<' or byte 0xe2. */
size_t span_text(struct str in, char *out);
/* Bytes before the first that is one of these. */
size_t span_until(struct str in, char a, char b, char c);
/* ASCII at the start of it: its length; *blanks_out: how much of that is white space. */
size_t span_ascii(struct str in, size_t *blanks_out);

#endif
