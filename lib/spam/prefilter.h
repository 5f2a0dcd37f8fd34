/* Which of many patterns can match a text at all, in one pass over it. Each pattern takes part with what it requires (regex.h): literals, found by a
 * table of three-byte sequences and then compared; or, without literals, windows of byte classes, those that begin with the same two bytes tested at once. Patterns
 * that require nothing are always candidates. Never misses: a pattern that is not reported does not match.
 */
#ifndef SPAM_PREFILTER_H
#define SPAM_PREFILTER_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/str.h"

struct prefilter;

struct prefilter_stats { unsigned literal, window, always, literals, windows; };

/* Patterns are numbered from 0 in the order they are added. */
struct prefilter *prefilter_new(struct arena *a);
unsigned prefilter_add(struct prefilter *f, struct str pattern, const char *flags);
void prefilter_finish(struct prefilter *f);
unsigned prefilter_count(const struct prefilter *f);
bool prefilter_always(const struct prefilter *f, unsigned number);
struct prefilter_stats prefilter_stats(const struct prefilter *f);
/* Something that the pattern requires is here. */
typedef void prefilter_hit_fn(void *ctx, unsigned number, size_t at);
/* text may be anything; folded: the same with rx_fold on each byte. hit is called for all that candidates which are not "always" require, for each mostly from left
 * to right. */
void prefilter_scan(const struct prefilter *f, struct str text, struct str folded, prefilter_hit_fn *hit, void *ctx);
/* From *from to *to there are places that hit was told. Makes of them where a match may begin that they belong to, from floor on; false: nowhere. */
bool prefilter_place(const struct prefilter *f, unsigned number, struct str text, size_t floor, size_t *from, size_t *to);
void prefilter_fold(struct str text, struct buf *out);

#endif
