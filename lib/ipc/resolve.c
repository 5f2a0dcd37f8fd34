/* The table of the resolve channel; its rows are resolve.def. */
#include "ipc/resolve.h"

#define IPC_DEF "ipc/resolve.def"
#define IPC_NAME resolve
#include "ipc/define.h"
