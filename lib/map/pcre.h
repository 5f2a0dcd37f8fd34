/* Regular expressions from administrators' files (PCRE2), bounded: match, heap and depth limits (a pattern that exceeds them is an error of
 * that match, never a hang). Compiled once, before confinement; the just-in-time compiler is used only when asked for (it needs executable
 * memory). Case folding and other flags as in Perl's /…/ims form.
 */
#ifndef MAP_PCRE_H
#define MAP_PCRE_H

#include <stdbool.h>

#include "base/attr.h"
#include "base/err.h"
#include "base/str.h"

struct pcre;

enum { PCRE_MATCH_LIMIT = 1000000, PCRE_HEAP_LIMIT_KIB = 16384, PCRE_DEPTH_LIMIT = 1000, PCRE_GROUPS_MAX = 32 };

/* pattern: without delimiters; flags: letters of "imsxUnJAEX" ("" none; n: only named groups capture, J: names may repeat, A: at the start
 * alone, E: $ only at the very end). ERR_CONF with PCRE2's text
 * and offset. Returns owned. */
int pcre_compile(struct str pattern, const char *flags, bool jit, struct pcre **out, struct err *e) MUST_CHECK;
/* "/pattern/flags" or any other punctuation as delimiter; *rest what follows. */
int pcre_parse(struct str in, bool jit, struct pcre **out, struct str *rest, struct err *e) MUST_CHECK;
void pcre_free(struct pcre **p);
/* 1 match, 0 none, -1 ERR_LIMIT (a limit was exceeded) or ERR_BUG. groups (may be NULL): up to n captured views, group 0 the whole; unset ones empty. */
int pcre_match(const struct pcre *p, struct str subject, struct str *groups, size_t n, struct err *e) MUST_CHECK;
/* The first match that begins at from or after, and at to or before (SIZE_MAX: anywhere), as offsets into subject: results as above. All of subject is seen: by
 * lookbehinds and \b before from, by the match itself after to. */
int pcre_find(const struct pcre *p, struct str subject, size_t from, size_t to, size_t *start_out, size_t *end_out, struct err *e) MUST_CHECK;
/* Take the right to write from all machine code made so far: no pattern may be compiled or freed with jit after it in this process. 0, or -1 when
 * writable code is left. */
int pcre_seal(struct err *e) MUST_CHECK;
/* Replace $1, ${1}, $(1), $$ in template by captured groups (Postfix's pcre_table(5)). */
struct buf;
int pcre_expand(struct str template, const struct str *groups, size_t n, struct buf *out, struct err *e) MUST_CHECK;

#endif
