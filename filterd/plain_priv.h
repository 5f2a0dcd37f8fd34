/* What plain.c (is a message plain?) and plain_files.c (which files are in it?) share. */
#ifndef FILTERD_PLAIN_PRIV_H
#define FILTERD_PLAIN_PRIV_H

#include <string.h>

#include "plain.h"

enum { PLAIN_LINES_MAX = 200000 };	/* it has a limit of 262144 lines that begin with a blank */

/* Of the fields that libclamav's parser reads. */
struct plain_fields {
	unsigned types, encodings, dispositions;	/* how many there are */
	bool useful;	/* one by which it knows that this is mail */
	bool named;	/* it has a name for the part, or makes one */
};
/* false: there is something that it may read in another way. */
bool plain_head(const struct mime_part *p, struct plain_fields *out);
bool plain_is_identity(const struct mime_part *p);	/* neither base64 nor quoted-printable */
/* It reads so many bytes of a line at most, with a CR, and then as many of the rest. */
enum { PLAIN_LINE_MAX = 999 };
/* The next line as it reads it, without its line end. more: another follows, though it be empty. */
static inline struct str plain_take_line(struct str *s, bool *more)
{
	const char *lf = s->n == 0 ? NULL : memchr(s->p, '\n', s->n <= PLAIN_LINE_MAX ? s->n : PLAIN_LINE_MAX + 1);
	struct str line = { s->p, lf == NULL ? s->n : (size_t)(lf - s->p) };
	size_t taken = line.n + (lf != NULL);
	line.n -= lf != NULL && line.n > 0 && line.p[line.n - 1] == '\r';
	if (line.n >= PLAIN_LINE_MAX)
		taken = line.n = PLAIN_LINE_MAX;
	*more = lf != NULL || line.n == PLAIN_LINE_MAX;
	*s = str_from(*s, taken);
	return line;
}
bool plain_all_of(struct str line, const char *bytes);	/* only these bytes, but some */
/* A uuencoded file, or one in yEnc, begins here. */
bool plain_begins_file(struct str line);
/* The text of a message of one part, without NUL: perhaps there is a file in it, or a mail that begins with its own fields. Of quoted-printable its parser looks at
 * what is before a NUL. */
bool plain_holds_more(const struct mime_part *p);

#endif
