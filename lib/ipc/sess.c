/* The table of the sess channel; its rows are sess.def. */
#include "ipc/sess.h"

#define IPC_DEF "ipc/sess.def"
#define IPC_NAME sess
#include "ipc/define.h"
