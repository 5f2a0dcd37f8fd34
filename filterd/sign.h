/* The last step with a message that is accepted: DKIM signatures for mail of ours, an ARC set for mail of others that goes on to another server. It sees the message as
 * it will leave: the edits of the envelope and those of the verdict applied. Keys are in authd's key worker, which is asked through the monitor.
 */
#ifndef FILTERD_SIGN_H
#define FILTERD_SIGN_H

#include "scan.h"

/* Whom to ask for signatures; a worker's is asker.h's. */
struct sign_hand {
	int (*sign)(void *ctx, struct str domain, struct str selector, const unsigned char hash[32], struct buf *out, struct err *e);
	void *ctx;
};
/* Adds its edits to the verdict. Without a key for the domain there is nothing to do. A DKIM signature that cannot be made is trouble (-1: a temporary refusal):
 * mail must not leave unsigned because a process is being restarted. An ARC set that cannot be made is logged and left out. */
int sign_message(struct scan *s, const struct sign_hand *hand, struct err *e) MUST_CHECK;

#endif
