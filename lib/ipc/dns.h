/* The dns channel: see dns.def for its messages. */
#ifndef IPC_DNS_H
#define IPC_DNS_H

#define IPC_DEF "ipc/dns.def"
#include "ipc/declare.h"
#undef IPC_DEF
extern const struct ipc_proto ipc_dns;

#endif
