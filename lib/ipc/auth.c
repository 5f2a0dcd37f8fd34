/* The table of the auth channel; its rows are auth.def. */
#include "ipc/auth.h"

#define IPC_DEF "ipc/auth.def"
#define IPC_NAME auth
#include "ipc/define.h"
