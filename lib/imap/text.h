/* The text of a message as SEARCH sees it: headers with encoded words decoded, text and message parts without transfer encoding and in UTF-8, all in the
 * collation's form (fold.h), piece by piece: a substring never reaches from one piece into the next. What tests a message and what indexes it walk the same way.
 *
 *	struct imap_text t;
 *	imap_text_init(&t, piece, ctx);
 *	found = imap_text_part(&t, mime_parse(arena, message), true);
 *	imap_text_fini(&t);
 */
#ifndef IMAP_TEXT_H
#define IMAP_TEXT_H

#include <stdbool.h>

#include "base/buf.h"
#include "mail/mime.h"

struct imap_text {
	bool (*piece)(void *ctx, struct str folded);	/* true: seen enough */
	void *ctx;
	/* inside: reused from piece to piece */
	struct arena *a;
	struct buf decoded, utf8, folded;
};

void imap_text_init(struct imap_text *t, bool (*piece)(void *ctx, struct str folded), void *ctx);
void imap_text_fini(struct imap_text *t);
/* True: the piece function has seen enough. One value; values of the fields of that name; names and values of all fields. */
bool imap_text_value(struct imap_text *t, struct str value);
bool imap_text_field(struct imap_text *t, struct str head, struct str name);
bool imap_text_head(struct imap_text *t, struct str head);
/* The part and what is below it; heads: its own header section, too (those of parts below it always). */
bool imap_text_part(struct imap_text *t, const struct mime_part *p, bool heads);

#endif
