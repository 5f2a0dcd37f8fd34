/* The sess channel: see sess.def for its messages. */
#ifndef IPC_SESS_H
#define IPC_SESS_H

#define IPC_DEF "ipc/sess.def"
#include "ipc/declare.h"
#undef IPC_DEF
extern const struct ipc_proto ipc_sess;

#endif
