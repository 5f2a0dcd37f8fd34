/* The one MIME parser (RFC 2045, 2046, 2231, 2183): a message in memory (mapped or read; LF or CRLF) to a tree of parts. Bounded depth and count,
 * linear time; never fails on content: what is beyond a limit or malformed is kept as one opaque part and marked.
 */
#ifndef MAIL_MIME_H
#define MAIL_MIME_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/str.h"
#include "mail/head.h"

enum { MIME_DEPTH_MAX = 100, MIME_PARTS_MAX = 10000, MIME_PARAMS_MAX = 1000 };

struct mime_part {
	struct str head;		/* header section of the part, without the empty line */
	struct str body;		/* encoded body, without the line end before the next boundary */
	struct str type, subtype;	/* as written; default text/plain (message/rfc822 in multipart/digest) */
	struct mail_param *params;	/* of Content-Type */
	struct str encoding;		/* Content-Transfer-Encoding, lower case; "7bit" by default */
	struct str id, description, md5, disposition, language, location;	/* p NULL: absent */
	struct mail_param *disposition_params;
	size_t head_lines, body_lines;
	unsigned depth;
	bool limited;			/* a limit ended the parse below this part */
	struct mime_part *children;	/* of multipart: parts; of message/rfc822: one part, the embedded message */
	struct mime_part *next, *parent;
};

struct mime_part *mime_parse(struct arena *a, struct str message);	/* never NULL */
bool mime_type_is(const struct mime_part *p, const char *type, const char *subtype);	/* case folded; "*" any */
/* Decode the transfer encoding of the body, at most max bytes. Unknown encodings: as they are. */
void mime_body_decode(const struct mime_part *p, struct buf *out);
/* All name forms under which a client may save the part (RFC 2231, 2047, raw, from both fields), for filters. Count bounded by 16. */
size_t mime_names(struct arena *a, const struct mime_part *p, struct str *out, size_t max);

#endif
