/* What the questions of queued_ask.c and queued_filter.c share. */
#ifndef DELIVER_QUEUED_ASK_H
#define DELIVER_QUEUED_ASK_H

#include "deliver/queue/queued.h"

enum ask_kind { ASK_RESOLVE, ASK_LOOKUP, ASK_CHECK, ASK_PARTS, ASK_POLICY, ASK_MILTER, ASK_FILTER, ASK_LISTS };

struct ask {
	struct list node;		/* of the channel's waiting or pending questions */
	struct queued *q;
	enum ask_kind kind;
	uint32_t id;
	struct timer *deadline;
	resolved_fn *resolved;
	struct known *known;		/* the answer, which only has to be told */
	char *address;			/* else it is remembered for that */
	uint64_t generation;
	rewritten_fn *rewritten;
	routed_fn *routed;
	size_t n_routes;
	looked_fn *looked;
	matched_fn *matched;
	size_t n_lines;
	parts_fn *parts;
	acted_fn *acted;
	milted_fn *milted;
	scanned_fn *scanned;
	counted_fn *counted;
	void *ctx;
	/* filter, while it waits for a connection */
	struct ipc_filter_SCAN scan;
	struct ipc_filter_LISTS lists;
	int fd;
	struct filter_outcomes *outcomes;	/* in arena: some of several verdicts; NULL: none yet */
	struct arena *arena;
};

void ask_free(struct ask *a);
struct ask *ask_new(struct queued *q, enum ask_kind kind, uint64_t ms, void *ctx);
struct ask *ask_find(struct list *l, uint32_t id);
void ask_answer_none(struct ask *a);
void ask_fail_all(struct list *l);
void ask_fail_later(struct ask *a);	/* from the loop */

#endif
