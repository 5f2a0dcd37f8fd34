/* policy: the process that speaks with third parties' programs for queued: policy services (the text protocol that greylisting, SPF and rate programs speak) and
 * milters (policy_milter.h). It may open connections; it holds no queue, no map, no key. Files: policy.c the process, policy_service.c one service's connections,
 * policy_text.c the protocol's text (pure), dial.c.
 */
#ifndef DELIVER_POLICY_H
#define DELIVER_POLICY_H

#include <stdbool.h>

#include "conf/conf.h"
#include "deliver/policy/dial.h"
#include "io/loop.h"

enum {
	POLICY_ANSWER_MAX = 8192,	/* bytes of one answer */
	POLICY_SERVICES_MAX = 64,
	POLICY_CONNS_MAX = 50,		/* connections to one service; more questions wait */
	POLICY_WAITING_MAX = 5000,	/* questions to one service */
};

struct policy_env {
	const struct conf *conf;
	int queue_fd, dns_fd;	/* channels; taken */
	bool unconfined;
};
/* The child of queued's supervisor. Does not return. */
void policy_run(void *ctx);

/* --- policy_text.c --- */
/* An answer "action=…\n\n", other names ignored. 0: *action borrows in, *used_out bytes were the answer; 1: need more; -1: malformed, or longer than
 * POLICY_ANSWER_MAX. */
int policy_answer_parse(struct str in, struct str *action, size_t *used_out, struct err *e) MUST_CHECK;

/* --- policy_service.c --- */
struct service;
typedef void policy_fn(void *ctx, struct str action, const char *trouble);	/* trouble NULL: action, valid during the call */
int service_open(struct loop *l, struct dns_client *dns, const struct conf *c, struct str text, struct service **out, struct err *e) MUST_CHECK;
const char *service_fallback(const struct service *s);	/* its default_action; NULL: none of its own */
void service_ask(struct service *s, struct str request, policy_fn *fn, void *ctx);	/* calls from the loop */

#endif
