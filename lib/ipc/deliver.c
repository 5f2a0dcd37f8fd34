/* The table of the deliver channel; its rows are deliver.def. */
#include "ipc/deliver.h"

#define IPC_DEF "ipc/deliver.def"
#define IPC_NAME deliver
#include "ipc/define.h"
