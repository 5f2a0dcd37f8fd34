/* The handover channel: see handover.def for its messages. */
#ifndef FRONT_HANDOVER_H
#define FRONT_HANDOVER_H

#define IPC_DEF "front/handover.def"
#include "ipc/declare.h"
#undef IPC_DEF
extern const struct ipc_proto ipc_handover;

#endif
