/* The auth channel: see auth.def for its messages. */
#ifndef IPC_AUTH_H
#define IPC_AUTH_H

#define IPC_DEF "ipc/auth.def"
#include "ipc/declare.h"
#undef IPC_DEF
extern const struct ipc_proto ipc_auth;

#endif
