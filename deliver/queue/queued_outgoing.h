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

/* What a table of smtp_…_checks wants of a line. */
enum outgoing_action { OUTGOING_KEEP, OUTGOING_REMOVE, OUTGOING_REPLACE, OUTGOING_PREPEND };
/* Told in the log. where: header body. -1: not possible here, or without what it needs. */
int outgoing_action(const struct active *a, const char *where, struct str line, struct str action, enum outgoing_action *out, struct str *text_out, struct err *e) MUST_CHECK;

bool outgoing_wanted(const struct conf *c);
/* Lives in a's arena, as ctx has to. fn is called from the loop or at once, once. */
typedef void outgoing_fn(void *ctx);
void outgoing_make(struct active *a, struct outgoing *out, outgoing_fn *fn, void *ctx);

/* queued_outbody.c: the message with its body changed into a->out_fd, when something of it changes. trouble NULL: none; else
 * it may not be sent: now, or, where the text begins with a status of class 5, ever. */
bool outbody_wanted(const struct conf *c);
typedef void outbody_fn(void *ctx, const char *trouble);
void outbody_make(struct active *a, outbody_fn *fn, void *ctx);

#endif
