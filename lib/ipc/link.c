/* The table of the link channel; its rows are link.def. */
#include "ipc/link.h"

#define IPC_DEF "ipc/link.def"
#define IPC_NAME link
#include "ipc/define.h"
