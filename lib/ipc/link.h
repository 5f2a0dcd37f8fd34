/* The link channel: see link.def for its messages. */
#ifndef IPC_LINK_H
#define IPC_LINK_H

#define IPC_DEF "ipc/link.def"
#include "ipc/declare.h"
#undef IPC_DEF
extern const struct ipc_proto ipc_link;

#endif
