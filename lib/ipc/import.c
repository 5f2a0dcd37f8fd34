/* The table of the import channel; its rows are import.def. */
#include "ipc/import.h"

#define IPC_DEF "ipc/import.def"
#define IPC_NAME import
#include "ipc/define.h"
