/* The table of the remote channel; its rows are remote.def. */
#include "ipc/remote.h"

#define IPC_DEF "ipc/remote.def"
#define IPC_NAME remote
#include "ipc/define.h"
