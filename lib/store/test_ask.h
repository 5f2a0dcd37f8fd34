/* For tests and fuzzers, which serve nobody meanwhile: a question to the search index at once. */
#ifndef STORE_TEST_ASK_H
#define STORE_TEST_ASK_H

#include "store/search.h"

static inline struct mbox_candidates *ask_at_once(struct mbox_view *v, enum mbox_search_kind kind, struct str needle, struct arena *a)
{
	struct mbox_candidates *const c = mbox_search_ask_begin(v, kind, &needle, 1, a);

	while (c && mbox_search_ask_step(v, c))
		;
	return c;
}

#endif
