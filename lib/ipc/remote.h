/* The remote channel: see remote.def for its messages. */
#ifndef IPC_REMOTE_H
#define IPC_REMOTE_H

#define IPC_DEF "ipc/remote.def"
#include "ipc/declare.h"
#undef IPC_DEF
extern const struct ipc_proto ipc_remote;

#endif
