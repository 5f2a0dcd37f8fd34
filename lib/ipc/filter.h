/* The filter channel: see filter.def for its messages. */
#ifndef IPC_FILTER_H
#define IPC_FILTER_H

#define IPC_DEF "ipc/filter.def"
#include "ipc/declare.h"
#undef IPC_DEF
extern const struct ipc_proto ipc_filter;

#endif
