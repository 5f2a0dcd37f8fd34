/* The text of a .forward file. */
#ifndef DELIVER_FORWARD_H
#define DELIVER_FORWARD_H

#include <stdbool.h>

#include "base/arena.h"
#include "base/attr.h"
#include "base/err.h"
#include "base/str.h"

enum { FORWARD_FILE_MAX = 65536, FORWARD_RCPT_MAX = 100 };

struct forward {
	struct str v[FORWARD_RCPT_MAX];	/* addresses */
	size_t n;
	bool keep;			/* a local copy as well: "\user", or the user's own name */
};

/* Addresses separated by commas or line ends, in quotes or angle brackets, '#' comments at a line's start; "\user" and the user's own name mean the mailbox.
 * Commands, files and :include: are ERR_DENIED (security.md 175). An empty file: n = 0 and keep. Strings borrow text. */
int forward_parse(struct str text, struct str user, struct forward *out, struct err *e) MUST_CHECK;

#endif
