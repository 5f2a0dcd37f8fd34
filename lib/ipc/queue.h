/* The queue channel: see queue.def for its messages. */
#ifndef IPC_QUEUE_H
#define IPC_QUEUE_H

#define IPC_DEF "ipc/queue.def"
#include "ipc/declare.h"
#undef IPC_DEF
extern const struct ipc_proto ipc_queue;

#endif
