/* The filter channel: see filter.def for its messages. */
#ifndef IPC_FILTER_H
#define IPC_FILTER_H

#include <stdbool.h>

#define IPC_DEF "ipc/filter.def"
#include "ipc/declare.h"
#undef IPC_DEF
extern const struct ipc_proto ipc_filter;

enum {
	FILTER_OUTCOMES_MAX = 64,	/* verdicts on one message: more are a temporary refusal */
	FILTER_LISTS_MAX = 32,		/* lists of forbidden attachments that recipients named by a client may have */
	FILTER_LISTS_COPIES = 8,	/* kept for blind copies, which come when no RCPT can be refused any more */
};

enum filter_sign {		/* bits of SCAN.sign */
	SIGN_DKIM = 1,		/* of our users, networks or programs, or made by us */
	SIGN_ARC = 2,		/* of others, for another server */
	SIGN_ONLY = 4,		/* it was checked before */
};

/* What is to be done with one message: a verdict, or one for each outcome where recipients have policies of their own. Zeroed to begin. */
struct filter_outcomes {
	const struct ipc_filter_VERDICT *v[FILTER_OUTCOMES_MAX];
	size_t n;
};
/* Takes the next one that came: a copy in a, but of a single verdict nothing: that lives as long as v. 0: that was the last, and each of so many recipients has
 * exactly one; 1: more come; -1: they make no sense. */
int filter_outcomes_add(struct filter_outcomes *o, struct arena *a, size_t recipients, const struct ipc_filter_VERDICT *v, struct err *e) MUST_CHECK;
bool filter_outcome_has(const struct ipc_filter_VERDICT *v, size_t recipient);

#endif
