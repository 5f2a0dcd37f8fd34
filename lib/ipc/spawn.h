/* The spawn channel: see spawn.def for its messages. */
#ifndef IPC_SPAWN_H
#define IPC_SPAWN_H

#define IPC_DEF "ipc/spawn.def"
#include "ipc/declare.h"
#undef IPC_DEF
extern const struct ipc_proto ipc_spawn;

#endif
