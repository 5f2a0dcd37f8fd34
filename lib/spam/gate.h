/* Whether a pattern can match a text at all, by an automaton that reads each byte once whatever the text is: for patterns that PCRE2 must try at nearly every
 * byte, and whose required texts are everywhere. States are made when texts first need them and are kept; how much memory those of all gates take, and how much
 * work goes into them for each byte of text, is bounded. What cannot be told within that may match. Never misses, as the prefilter.
 */
#ifndef SPAM_GATE_H
#define SPAM_GATE_H

#include <stdbool.h>

#include "base/str.h"

struct gate;
struct gates;

/* Gates of one thread: they share memory for what texts make of them. It reserves 16 MB of addresses and takes of them what it uses. */
struct gates *gates_new(void);
void gates_free(struct gates **all);		/* and every gate of them */
/* Valid until gates_free(). NULL: a pattern that is not understood, too large, that may match an empty text, or that PCRE2 is quick with: one that begins with rare bytes or
 * at the text's start. */
struct gate *gate_new(struct gates *all, struct str pattern, const char *flags);
bool gate_may(struct gate *g, struct str text);
void gate_each(struct gate *g, const struct str *texts, size_t n, bool *may_out);	/* the same for n texts, in less time */
/* The next bytes from *from to last where a match may begin: sets *from to the first and *to_out to the last of them, which may be after `last`. False: there are
 * none. Reads on after `last` only until nothing is begun. */
bool gate_next(struct gate *g, struct str text, size_t *from, size_t last, size_t *to_out);

#endif
