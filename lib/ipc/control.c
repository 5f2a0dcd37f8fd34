/* The table of the control channel; its rows are control.def. */
#include "ipc/control.h"

#define IPC_DEF "ipc/control.def"
#define IPC_NAME control
#include "ipc/define.h"
