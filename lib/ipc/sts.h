/* The sts channel: see sts.def for its messages. */
#ifndef IPC_STS_H
#define IPC_STS_H

#define IPC_DEF "ipc/sts.def"
#include "ipc/declare.h"
#undef IPC_DEF
extern const struct ipc_proto ipc_sts;

#endif
