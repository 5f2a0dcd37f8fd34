/* The table of the handover channel; its rows are handover.def. */
#include "front/handover.h"

#define IPC_DEF "front/handover.def"
#define IPC_NAME handover
#include "ipc/define.h"
