/* Compiling the sources of maps: what postmap, postalias, newaliases and `postern check` share. */
#ifndef ADMIN_POSTMAP_H
#define ADMIN_POSTMAP_H

#include <stdbool.h>

#include "base/attr.h"
#include "base/err.h"
#include "base/str.h"

struct build {
	bool alias;		/* aliases(5), else "key value" */
	bool keep_case;		/* do not fold keys */
	bool colon_ok;		/* postmap: drop a colon after a key */
	bool strict;		/* every warning is an error */
	bool dup_replace;	/* the last of equal keys wins */
	bool dup_silent;
	bool files;		/* postmap -F: a value is a list of files, whose content is stored in base64 */
	bool check_only;	/* write nothing */
	/* One line of text for a mistake, or a warning: "FILE:LINE: …". */
	void (*tell)(void *ctx, const char *text);
	void *ctx;
	/* results */
	unsigned entries, skipped, warnings, errors;
};

/* Read source, check all of it, write source.cdb beside it (atomically, with the source's owner and read rights). 0; -1: mistakes were told, or *e is
 * set (code not ERR_NONE); the old map stays. As root the files are opened as the source's owner. */
int map_build(struct build *b, const char *source, struct err *e) MUST_CHECK;

#endif
