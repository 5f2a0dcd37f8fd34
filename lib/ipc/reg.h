/* The reg channel: see reg.def for its messages. */
#ifndef IPC_REG_H
#define IPC_REG_H

#define IPC_DEF "ipc/reg.def"
#include "ipc/declare.h"
#undef IPC_DEF
extern const struct ipc_proto ipc_reg;

/* The version that HELLO names: of this channel and of the one of the connections. */
uint64_t reg_version(const struct ipc_proto *of_conns);
/* A daemon's answer to HELLO: 0, and WELCOME was sent. ERR_INPUT: the parent's programs are of another release; the caller says so and closes ch. */
int reg_welcome(struct ipc_chan *ch, const struct ipc_reg_HELLO *m, const struct ipc_proto *of_conns, struct err *e) MUST_CHECK;

#endif
