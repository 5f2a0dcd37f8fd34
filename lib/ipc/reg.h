/* The reg channel: see reg.def for its messages. */
#ifndef IPC_REG_H
#define IPC_REG_H

#define IPC_DEF "ipc/reg.def"
#include "ipc/declare.h"
#undef IPC_DEF
extern const struct ipc_proto ipc_reg;

#endif
