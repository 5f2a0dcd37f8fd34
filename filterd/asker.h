/* The worker's half of questions to the DNS and for signatures: one at a time, each waited for, no longer than dns_time in all for one message. */
#ifndef FILTERD_ASKER_H
#define FILTERD_ASKER_H

#include "authres/auth.h"
#include "base/buf.h"
#include "base/err.h"

struct asker {
	int sock;		/* to the monitor */
	uint32_t id;		/* of the last question; grows, so that a late answer is known as such */
	uint64_t until_ms;
};
struct auth_answer asker_ask(void *ctx, struct arena *a, struct str name, unsigned type);	/* ctx: struct asker; for struct auth_dns */

/* ctx: struct asker; for struct sign_hand. */
enum { ASKER_SIGN_MS = 10000 };
int asker_sign(void *ctx, struct str domain, struct str selector, const unsigned char hash[32], struct buf *out, struct err *e) MUST_CHECK;

#endif
