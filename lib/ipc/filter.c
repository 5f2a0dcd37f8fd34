/* The table of the filter channel; its rows are filter.def. */
#include "ipc/filter.h"

#define IPC_DEF "ipc/filter.def"
#define IPC_NAME filter
#include "ipc/define.h"
