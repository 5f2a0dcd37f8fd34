/* Messages of which libclamav's parser of mail and ours make the same parts: there its parser, the dearer one by far, would find nothing that is not handed over.
 * Written from what its parser does (mbox.c and message.c of ClamAV 1.4): all that it reads as something else than the standards say makes a message not plain, or is
 * done here as it does it.
 */
#ifndef FILTERD_PLAIN_H
#define FILTERD_PLAIN_H

#include "base/arena.h"
#include "base/buf.h"
#include "mail/mime.h"

/* Is this so for a version of the library, "1.4.3"? */
bool plain_knows(const char *version);
/* root: the parsed message. Pure, linear. */
bool mail_is_plain(struct str message, const struct mime_part *root);
/* Lines that end with LF or CRLF, nothing of it elsewhere, no NUL. */
bool plain_is_lines(struct str s);
/* How long each of these files may be, at most: it ends each piece of a long line. */
size_t plain_file_max(const struct mime_part *p);
/* What its parser writes into files of a part of a plain message that has no parts of its own. false: nothing of this kind, whatever is in out. */
bool plain_file(const struct mime_part *p, struct buf *out);	/* decoded line by line, with LF */
/* That is of base64, and surely the same: decoded by mime_body_decode(). */
bool plain_file_is_ours(const struct mime_part *p, struct str decoded);
/* Decoded from base64, where the sender says "7bit", or nothing of a part with a name. */
bool plain_file_of_base64(const struct mime_part *p, struct buf *out);
/* Where a line of a text names an encoding: a mail that begins with this line, but for a field before it. */
bool plain_mail(const struct mime_part *p, struct buf *out);

#endif
