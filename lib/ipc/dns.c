/* The table of the dns channel; its rows are dns.def. */
#include "ipc/dns.h"

#define IPC_DEF "ipc/dns.def"
#define IPC_NAME dns
#include "ipc/define.h"
