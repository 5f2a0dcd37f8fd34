/* The policy channel: see policy.def for its messages. */
#ifndef IPC_POLICY_H
#define IPC_POLICY_H

#define IPC_DEF "ipc/policy.def"
#include "ipc/declare.h"
#undef IPC_DEF
extern const struct ipc_proto ipc_policy;

#endif
