/* What other servers get in place of what the queue keeps. */
#ifndef DELIVER_QUEUED_OUTGOING_H
#define DELIVER_QUEUED_OUTGOING_H

#include "deliver/queue/queued.h"

enum { OUTGOING_MAX = 50 };	/* recipients that are asked about together */

struct outgoing {
	struct str senders[OUTGOING_MAX], recipients[OUTGOING_MAX];	/* in: as the record has them; out: as they are sent */
	size_t n;
	struct ipc_strs edits;		/* all of them */
	const char *trouble;		/* NULL: none */
};

bool outgoing_wanted(const struct conf *c);
/* Lives in a's arena, as ctx has to. fn is called from the loop or at once, once. */
typedef void outgoing_fn(void *ctx);
void outgoing_make(struct active *a, struct outgoing *out, outgoing_fn *fn, void *ctx);

#endif
