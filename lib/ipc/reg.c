/* The table of the reg channel; its rows are reg.def. */
#include "ipc/reg.h"

#define IPC_DEF "ipc/reg.def"
#define IPC_NAME reg
#include "ipc/define.h"
