/* The import channel: see import.def for its messages. */
#ifndef IPC_IMPORT_H
#define IPC_IMPORT_H

#define IPC_DEF "ipc/import.def"
#include "ipc/declare.h"
#undef IPC_DEF
extern const struct ipc_proto ipc_import;

#endif
