/* The table of the spawn channel; its rows are spawn.def. */
#include "ipc/spawn.h"

#define IPC_DEF "ipc/spawn.def"
#define IPC_NAME spawn
#include "ipc/define.h"
