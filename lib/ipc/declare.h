/* Included by each channel's header with IPC_DEF set: declares the message structs and type numbers of that .def.
 * No include guard: once per channel. */
#include "ipc/ipc.h"

#define IPC_MSG(chan, msg, num, fd, doc) struct ipc_##chan##_##msg { char unused_;
#define IPC_STR(chan, msg, field, tag, max, need) struct str field;
#define IPC_U64(chan, msg, field, tag, need) uint64_t field;
#define IPC_STRS(chan, msg, field, tag, max, need) struct ipc_strs field;
#define IPC_END(chan, msg) };
#include IPC_DEF
#undef IPC_MSG
#undef IPC_STR
#undef IPC_U64
#undef IPC_STRS
#undef IPC_END

#define IPC_MSG(chan, msg, num, fd, doc) enum { IPC_##chan##_##msg = (num) };
#define IPC_STR(chan, msg, field, tag, max, need)
#define IPC_U64(chan, msg, field, tag, need)
#define IPC_STRS(chan, msg, field, tag, max, need)
#define IPC_END(chan, msg)
#include IPC_DEF
#undef IPC_MSG
#undef IPC_STR
#undef IPC_U64
#undef IPC_STRS
#undef IPC_END
