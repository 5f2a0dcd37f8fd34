/* The table of the helper channel; its rows are helper.def. */
#include "ipc/helper.h"

#define IPC_DEF "ipc/helper.def"
#define IPC_NAME helper
#include "ipc/define.h"
