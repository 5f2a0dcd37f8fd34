/* PREVIEW (RFC 8970): the beginning of what a person would read of a message. Pure; fuzzed with the structure. */
#ifndef IMAP_PREVIEW_H
#define IMAP_PREVIEW_H

#include "base/buf.h"
#include "mail/mime.h"

enum {
	IMAP_PREVIEW_MAX = 200,			/* characters (RFC 8970 3.1) */
	IMAP_PREVIEW_TEXT_MAX = 1 << 16,	/* bytes of text that are looked at */
};
/* Appends valid UTF-8 on one line: the first text part (plain before HTML in an alternative), without quoted lines and markup. Nothing: there is no text. */
void imap_preview(const struct mime_part *root, struct buf *out);

#endif
