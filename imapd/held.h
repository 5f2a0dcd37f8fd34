/* APPENDs that are complete and wait for the sync that they share; see held.c. */
#ifndef IMAPD_HELD_H
#define IMAPD_HELD_H

#include "append.h"

enum {
	HELD_MAX = 64,			/* commands */
	HELD_BYTES_MAX = 1 << 20,	/* of messages */
};

/* The command's messages are complete. True: they are held, with the command's tag, and will be answered by held_commit. */
bool held_take(struct client *c, struct append *a);
/* Before anything else is done for this client than reading the next APPEND, and when no more input is at hand. */
void held_commit(struct client *c);

/* The connection is ending: they are stored, nobody is told. */
void held_end(struct client *c);

#endif
