/* Inside lib/io: work that runs once at the end of a dispatch round, without an allocation per use. */
#ifndef IO_LOOP_PRIV_H
#define IO_LOOP_PRIV_H

#include <stddef.h>

#include "base/list.h"
#include "io/loop.h"

/* Embedded in its owner. Zeroed is "not posted". */
struct loop_task {
	struct list node;
	timer_fn *fn;
	void *ctx;
};

void loop_task_init(struct loop_task *t, timer_fn *fn, void *ctx);
void loop_task_post(struct loop *l, struct loop_task *t); /* once; again is no more than once */
void loop_task_cancel(struct loop_task *t);

/* A read buffer that all connections of the loop share; its contents are valid within one callback. */
enum { LOOP_SCRATCH = 65536 };
char *loop_scratch(struct loop *l);

/* The count of connections in conn_finish(), for conn_when_finished(): true when it has been told that none is left. */
bool loop_finishing(struct loop *l, int delta);
void loop_when_finished(struct loop *l, timer_fn *fn, void *ctx);

#endif
