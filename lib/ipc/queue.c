/* The table of the queue channel; its rows are queue.def. */
#include "ipc/queue.h"

#define IPC_DEF "ipc/queue.def"
#define IPC_NAME queue
#include "ipc/define.h"
