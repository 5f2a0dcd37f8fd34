/* What a content is by its first bytes, whatever name and type it was given. */
#ifndef FILTERD_CONTENT_H
#define FILTERD_CONTENT_H

#include "base/attr.h"
#include "base/str.h"

enum { CONTENT_HEAD = 40960 };	/* bytes after which the class is certain: a CD image says what it is behind 32 KiB */

enum content_kind {
	CONTENT_OTHER,
	CONTENT_ARCHIVE,	/* holds members */
	CONTENT_PACKED,		/* one compressed file, perhaps an archive */
	CONTENT_TNEF,		/* what Outlook puts attachments into */
};
struct content {
	const char *name;	/* with a leading dot, ".exe-ms", ".zip" …; "" when unknown */
	enum content_kind kind;
};
struct content content_of(struct str head);

#endif
