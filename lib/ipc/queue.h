/* The queue channel: see queue.def for its messages. */
#ifndef IPC_QUEUE_H
#define IPC_QUEUE_H

#define IPC_DEF "ipc/queue.def"
#include "ipc/declare.h"
#undef IPC_DEF
extern const struct ipc_proto ipc_queue;

/* Who refuses, for the log. */
enum queue_refuser {
	REFUSER_US,
	REFUSER_CONTENT,	/* a milter, or the filter for what is in the message */
	REFUSER_PATTERN,	/* header_checks and the like, which have a line of their own */
};

#endif
