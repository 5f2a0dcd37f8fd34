/* The table of the sts channel; its rows are sts.def. */
#include "ipc/sts.h"

#define IPC_DEF "ipc/sts.def"
#define IPC_NAME sts
#include "ipc/define.h"
