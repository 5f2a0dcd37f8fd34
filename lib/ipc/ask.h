/* A tool's request to a daemon's control socket (control.def). */
#ifndef IPC_ASK_H
#define IPC_ASK_H

#include "base/attr.h"
#include "base/buf.h"
#include "base/err.h"
#include "ipc/control.h"

typedef void control_line_fn(void *ctx, const struct ipc_control_LINE *line);

/* Ask run/which ("queue/control") for word; fn (or NULL) gets each row, in as many pages as there are. 0: done, its closing text (if any) is in *text_out (may be
 * NULL). 1: the daemon refuses, *e says why. -1: it cannot be asked. */
int control_ask(const char *run, const char *which, const char *word, const struct str *args, size_t n, control_line_fn *fn, void *ctx, struct buf *text_out,
		struct err *e) MUST_CHECK;
/* A row's value; empty, 0: it has none. */
struct str control_value(const struct ipc_control_LINE *l, const char *key);
uint64_t control_number(const struct ipc_control_LINE *l, const char *key);

#endif
