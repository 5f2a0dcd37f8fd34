/* Nearness of words: how many characters must be added, removed or exchanged. */
#include "base/near.h"

#include <stddef.h>

/* Edits that make a of b; both at most NEAR_WORD_MAX bytes. */
static unsigned distance(struct str a, struct str b)
{
	unsigned row[NEAR_WORD_MAX + 1];

	for (unsigned j = 0; j <= b.n; j++)
		row[j] = j;
	for (unsigned i = 1; i <= a.n; i++) {
		unsigned diagonal = row[0];

		row[0] = i;
		for (unsigned j = 1; j <= b.n; j++) {
			const unsigned up = row[j];
			unsigned best = diagonal + (a.p[i - 1] != b.p[j - 1]);

			if (up + 1 < best)
				best = up + 1;
			if (row[j - 1] + 1 < best)
				best = row[j - 1] + 1;
			diagonal = up;
			row[j] = best;
		}
	}
	return row[b.n];
}

void near_init(struct near *n, struct str asked)
{
	const unsigned allowed = asked.n > NEAR_WORD_MAX ? 0 : (unsigned)(asked.n / 3);

	*n = (struct near){ .asked = asked, .edits = (allowed < NEAR_EDITS_MAX ? allowed : NEAR_EDITS_MAX) + 1 };
}

void near_try(struct near *n, const char *word)
{
	const struct str w = str_c(word);

	if (n->asked.n > NEAR_WORD_MAX || w.n > NEAR_WORD_MAX)
		return;
	const unsigned d = distance(n->asked, w);

	if (d < n->edits) {
		n->edits = d;
		n->best = word;
	}
}

const char *near_best(const struct near *n)
{
	return n->best;
}
