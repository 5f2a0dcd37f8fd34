/* The source text of maps: logical lines (a line that starts with a blank continues the one before; # at a line's start
 * comments), and the key and value of each. Used by postmap, postalias, texthash: and pcre:. Pure. */
#ifndef MAP_SOURCE_H
#define MAP_SOURCE_H

#include <stdbool.h>

#include "base/attr.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"

enum { SOURCE_LINE_MAX = 1 << 20, SOURCE_FILE_MAX = 256 << 20, SOURCE_KEY_MAX = 1000 };

struct source {
	struct str rest;	/* not yet read */
	unsigned number;	/* of the last physical line read */
	unsigned line;		/* where the logical line that was returned starts */
	struct buf text;
};

void source_init(struct source *s, struct str text);
void source_fini(struct source *s);
/* 1: *line (borrows until the next call) starts at line number s->line; 0: the end; -1: ERR_CONF: a NUL, CR or byte order mark, invalid UTF-8, a
 * line that is too long, or a continuation of nothing, at s->line. After an error the next call goes on behind it. */
int source_next(struct source *s, struct str *line, struct err *e) MUST_CHECK;

/* "key value" of postmap. Quoted keys may hold blanks. colon_ok: a colon at the key's end is dropped. ERR_CONF: no value; or a colon at
 * the key's end, which aliases(5) has and postmap(1) does not. */
int source_pair(struct str line, bool colon_ok, struct str *key, struct str *value, struct err *e) MUST_CHECK;
/* "name: value" of aliases(5); blanks before the colon are legal; the name may be quoted (unquoted here, in a buffer of SOURCE_KEY_MAX
 * that *key then borrows). ERR_CONF: no colon, an empty name or value, an open quote. */
int source_alias(struct str line, struct buf *key_space, struct str *key, struct str *value, struct err *e) MUST_CHECK;

#endif
