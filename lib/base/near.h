/* The word that somebody meant who mistyped it: for messages.
 *
 *	struct near n;
 *
 *	near_init(&n, STR("quene"));
 *	for (...)
 *		near_try(&n, words[i].name);
 *	near_best(&n);			"queue", or NULL
 */
#ifndef BASE_NEAR_H
#define BASE_NEAR_H

#include "base/str.h"

enum { NEAR_WORD_MAX = 64, NEAR_EDITS_MAX = 3 };	/* longer words are near to none */

struct near {
	struct str asked;
	const char *best;
	unsigned edits;		/* that make best of asked; before there is one, more than are near */
};

/* Borrows asked. Near is what one edit for each three characters reaches, and never more than NEAR_EDITS_MAX. */
void near_init(struct near *n, struct str asked);
/* Borrows word. The first of several that are as near stays. */
void near_try(struct near *n, const char *word);
const char *near_best(const struct near *n);	/* NULL: none is near */

#endif
