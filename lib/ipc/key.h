/* The key channel: see key.def for its messages. */
#ifndef IPC_KEY_H
#define IPC_KEY_H

#define IPC_DEF "ipc/key.def"
#include "ipc/declare.h"
#undef IPC_DEF
extern const struct ipc_proto ipc_key;

#endif
