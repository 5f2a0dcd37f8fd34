/* What search.c and search_prepare.c share. */
#ifndef IMAPD_SEARCH_PRIV_H
#define IMAPD_SEARCH_PRIV_H

#include "search.h"

struct matcher_preparing {
	struct matcher *m;
	int (*resolve)(void *ctx, struct imap_seqset *set, bool uid, struct err *e);
	void *ctx;
	struct err *e;
};
/* The keys of m, and what it says of their kinds: as matcher_init, which calls it. */
int matcher_prepare(const struct matcher_preparing *p) MUST_CHECK;

#endif
