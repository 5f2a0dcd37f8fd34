/* The table of the learn channel; its rows are learn.def. */
#include "ipc/learn.h"

#define IPC_DEF "ipc/learn.def"
#define IPC_NAME learn
#include "ipc/define.h"
