/* The table of the policy channel; its rows are policy.def. */
#include "ipc/policy.h"

#define IPC_DEF "ipc/policy.def"
#define IPC_NAME policy
#include "ipc/define.h"
