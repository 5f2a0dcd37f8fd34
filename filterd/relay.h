/* The monitor's half of questions to the DNS: a worker asks (it has no network), the dns process answers (it has no message). At most WORKER_ASKS_MAX questions of a
 * worker are under way, at most RELAY_ASKS_MAX are passed on for one message that is scanned, RELAY_LIST_ASKS_MAX for one that is scored; more are answered with
 * "trouble".
 */
#ifndef FILTERD_RELAY_H
#define FILTERD_RELAY_H

#include "conf/conf.h"
#include "dns/client.h"
#include "ipc/filter.h"
#include "spam/spam.h"

enum { RELAY_ASKS_MAX = 160, RELAY_LIST_ASKS_MAX = SPAM_QUESTIONS_MAX, WORKER_ASKS_MAX = 32 };	/* of a message that is scanned, scored; of a worker at once */

struct relay;
struct relay_ask {		/* part of who asks; zeroed: nothing under way */
	struct ipc_chan *to;
	uint32_t id;
	struct dns_ask *q;
};
struct relay *relay_new(struct loop *l, const struct conf *conf);	/* connects at the first question, and again when it must */
/* Answer m on "to" with the same id: later, or at once when refused is true. A question that is still under way is forgotten. */
void relay_ask(struct relay *r, struct relay_ask *s, struct ipc_chan *to, uint32_t id, const struct ipc_filter_ASK *m, bool refused);
void relay_forget(struct relay_ask *s);

#endif
