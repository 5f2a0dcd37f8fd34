/* The table of the key channel; its rows are key.def. */
#include "ipc/key.h"

#define IPC_DEF "ipc/key.def"
#define IPC_NAME key
#include "ipc/define.h"
