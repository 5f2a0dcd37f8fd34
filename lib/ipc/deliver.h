/* The deliver channel: see deliver.def for its messages. */
#ifndef IPC_DELIVER_H
#define IPC_DELIVER_H

#define IPC_DEF "ipc/deliver.def"
#include "ipc/declare.h"
#undef IPC_DEF
extern const struct ipc_proto ipc_deliver;

#endif
