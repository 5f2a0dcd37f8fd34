/* LIST patterns (RFC 3501 section 6.3.8): "*" any run of bytes, "%" any run without the separator. Linear in the name for a given pattern: the
 * pattern is run as a set of states, so that no number of wildcards makes it slow. */
#ifndef IMAP_MATCH_H
#define IMAP_MATCH_H

#include "base/arena.h"
#include "base/str.h"

enum { IMAP_PATTERN_MAX = 2000 };	/* bytes of a compiled pattern; longer ones match nothing */

struct imap_pattern {
	struct str text;	/* runs of wildcards joined */
	char sep;
};

/* Returns the compiled pattern in a; INBOX at the start (alone or before a separator) is upper-cased, as names are. */
struct imap_pattern imap_pattern_new(struct arena *a, struct str pattern, char sep);
bool imap_pattern_match(const struct imap_pattern *p, struct str name);

#endif
