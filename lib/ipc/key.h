/* The key channel: see key.def for its messages. */
#ifndef IPC_KEY_H
#define IPC_KEY_H

enum { KEY_KNOWN_MAX = 1000, KEY_CERT_BYTES = 32 };	/* certificates that KNOWN asks about at most, and what names one */

#define IPC_DEF "ipc/key.def"
#include "ipc/declare.h"
#undef IPC_DEF
extern const struct ipc_proto ipc_key;

#endif
