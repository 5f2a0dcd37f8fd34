/* The filter channel: see filter.def for its messages. */
#ifndef IPC_FILTER_H
#define IPC_FILTER_H

#define IPC_DEF "ipc/filter.def"
#include "ipc/declare.h"
#undef IPC_DEF
extern const struct ipc_proto ipc_filter;

enum filter_sign {		/* bits of SCAN.sign */
	SIGN_DKIM = 1,		/* of our users, networks or programs, or made by us */
	SIGN_ARC = 2,		/* of others, for another server */
	SIGN_ONLY = 4,		/* it was checked before */
};

#endif
