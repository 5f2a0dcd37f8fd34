/* Folders that must be looked at as a whole before anything can be said of them (no journal yet, or changed by another program): they are opened in slices, and others have
 * their turn. Several connections may wait for the same folder. */
#ifndef IMAPD_OPENING_H
#define IMAPD_OPENING_H

#include "session.h"

/* For a step that needs the folder. *m is NULL before the first call, else as the last one left it. 1: call again, in the next step. 0: it is open, and stays so while *m is held,
 * for mbox_open and its like, which take no time then. -1: *m is NULL. Close *m, whatever was returned. */
int opening_step(struct client *c, struct str name, struct mbox **m, struct err *e) MUST_CHECK;

/* The same for who only puts messages there (folder_target): what is new in it is not looked for. */
int opening_target_step(struct client *c, struct str name, struct mbox **m, struct err *e) MUST_CHECK;

/* For a handler that needs the folder: returns what then returns, or CMD_MORE, and then goes on where it is open. trycreate: as store_no says, when it cannot be. name and ctx
 * live on the command's arena. */
typedef enum cmd_result opened_fn(struct client *c, struct str name, void *ctx, struct err *e);
enum cmd_result opening(struct client *c, struct str name, bool trycreate, opened_fn *then, void *ctx, struct err *e);

#endif
