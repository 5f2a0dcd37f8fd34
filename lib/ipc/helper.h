/* The helper channel: see helper.def for its messages. */
#ifndef IPC_HELPER_H
#define IPC_HELPER_H

#define IPC_DEF "ipc/helper.def"
#include "ipc/declare.h"
#undef IPC_DEF
extern const struct ipc_proto ipc_helper;

#endif
