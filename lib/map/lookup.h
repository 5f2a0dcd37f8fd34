/* Lookup tables "type:name" as they stand in postern.conf:
 *	cdb:/file  hash:/file (the same: /file.cdb, made by postmap from /file)
 *	texthash:/file	the source itself, read into memory
 *	pcre:/file	"/pattern/flags value" lines; the first that matches wins; $1 … in the value
 *	cidr:/file	"10.0.0.0/8 value" lines; the first network that holds the address wins
 *	static:value	every key has this value
 *	inline:{key=value, key=value}
 * A table that cannot be read is trouble of each lookup (ERR_TEMP), never "no such key"; it is tried again when asked to.
 */
#ifndef MAP_LOOKUP_H
#define MAP_LOOKUP_H

#include <stdbool.h>

#include "base/attr.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"

struct lookup;

enum { LOOKUP_VALUE_MAX = 1 << 20 };

/* Parse the name and try to read the file. ERR_CONF: no such type, bad syntax of the name. A missing or bad file is not an error here:
 * see lookup_trouble(). Returns owned. */
int lookup_open(const char *spec, struct lookup **out, struct err *e) MUST_CHECK;
void lookup_close(struct lookup **l);
/* 0: the value is appended to *out, *line_out (may be NULL) is the source line that decided, 0 where the type cannot tell;
 * 1: no such key; -1: ERR_TEMP. Keys are folded to lower case (ASCII), but for pcre:. */
int lookup_get(struct lookup *l, struct str key, struct buf *out, unsigned *line_out, struct err *e) MUST_CHECK;
/* Read again what was replaced or rewritten since (st_ino, st_mtime, st_size), or could not be read. True when something changed. */
bool lookup_refresh(struct lookup *l);
void lookup_reload(struct lookup *l);	/* the same, changed or not */
/* Why the table cannot be used; NULL when it can. */
const struct err *lookup_trouble(const struct lookup *l);
const char *lookup_spec(const struct lookup *l);	/* as given */
const char *lookup_file(const struct lookup *l);	/* file that is read ("/file.cdb"), or NULL */
const char *lookup_source(const struct lookup *l);	/* file that the administrator edits, or NULL */
/* True for types that match whole keys by pattern (pcre:, cidr:, static:): callers do not try parts of an address on them. */
bool lookup_is_pattern(const struct lookup *l);
/* Every pair of a table with keys, in file order; line is 0 where the type cannot tell. fn returns non-zero to stop. */
int lookup_each(struct lookup *l, int (*fn)(void *ctx, struct str key, struct str value, unsigned line), void *ctx, struct err *e) MUST_CHECK;

#endif
