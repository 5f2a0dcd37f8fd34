/* For fuzz targets that run a whole session: its client, its log, a mail tree. */
#ifndef TEST_FUZZ_SESSION_H
#define TEST_FUZZ_SESSION_H

#include "base/str.h"
#include "io/loop.h"

/* Log lines go to a socket that nobody reads but this function: to be called before each run. */
void fuzz_log_mute(void);

/* A client that says all of input, ends its direction, and reads until the server ends: then done(ctx). Returns the server's end. Segments of the
 * input, FUZZ_SEGMENT between them, go out one by one, when the server has answered (or seems not to). */
enum { FUZZ_SEGMENT = 0x1e };
int fuzz_client(struct loop *l, struct str input, void (*done)(void *ctx), void *ctx);
void fuzz_client_end(void);	/* after the loop has ended */

/* An empty directory for a mail tree, in memory where there is some; what was there is removed. Static. */
const char *fuzz_tree(void);
void fuzz_tree_file(const char *rel, const char *text);

#endif
