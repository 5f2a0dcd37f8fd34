/* The worker's half of questions to the DNS and for signatures: each waited for, no longer in all for one message than parameters allow. Those about DNS lists are
 * under way together. */
#ifndef FILTERD_ASKER_H
#define FILTERD_ASKER_H

#include "authres/auth.h"
#include "spam/spam.h"
#include "base/buf.h"
#include "base/err.h"

struct asker {
	int sock;		/* to the monitor */
	uint32_t id;		/* of the last question; grows, so that a late answer is known as such */
	uint64_t until_ms;
	uint64_t lists_ms;	/* that DNS lists may take, of one message */
	uint64_t lists_until_ms, lists_silent_until_ms;	/* 0: not asked yet; after nothing but silence of lists none is asked for a while */
};
struct auth_answer asker_ask(void *ctx, struct arena *a, struct str name, unsigned type);	/* ctx: struct asker; for struct auth_dns */

/* ctx: struct asker; a spam_ask_fn. Questions that nobody answers in time have no records. n: SPAM_QUESTIONS_MAX at most. */
enum { ASKER_SILENT_MS = 60000 };
void asker_ask_lists(void *ctx, struct arena *a, struct spam_question *q, size_t n);

/* ctx: struct asker; for struct sign_hand. */
enum { ASKER_SIGN_MS = 10000 };
int asker_sign(void *ctx, struct str domain, struct str selector, const unsigned char hash[32], struct buf *out, struct err *e) MUST_CHECK;

#endif
