/* The control channel: see control.def for its messages. */
#ifndef IPC_CONTROL_H
#define IPC_CONTROL_H

#define IPC_DEF "ipc/control.def"
#include "ipc/declare.h"
#undef IPC_DEF
extern const struct ipc_proto ipc_control;

#endif
