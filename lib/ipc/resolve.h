/* The resolve channel: see resolve.def for its messages. */
#ifndef IPC_RESOLVE_H
#define IPC_RESOLVE_H

#define IPC_DEF "ipc/resolve.def"
#include "ipc/declare.h"
#undef IPC_DEF
extern const struct ipc_proto ipc_resolve;

#endif
