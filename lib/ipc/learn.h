/* The learn channel: see learn.def for its messages. */
#ifndef IPC_LEARN_H
#define IPC_LEARN_H

#define IPC_DEF "ipc/learn.def"
#include "ipc/declare.h"
#undef IPC_DEF
extern const struct ipc_proto ipc_learn;

#endif
