/* What /proc says of other processes. */
#ifndef ADMIN_PROC_FILES_H
#define ADMIN_PROC_FILES_H

#include <stdbool.h>
#include <sys/types.h>

#include "base/buf.h"
#include "base/str.h"

enum { PROC_FILE_MAX = 65536 };

/* /proc/PID/name, as much as PROC_FILE_MAX of it, in b (made with at least that); empty when it cannot be read. */
struct str proc_file(pid_t pid, const char *name, struct buf *b);
/* The program that it runs; "" when that cannot be seen. Returns out. */
const char *proc_program(pid_t pid, char *out, size_t size);
/* Does that program stand in dir? */
bool proc_stands_in(pid_t pid, const char *dir);
/* Each process: fn(ctx, pid). */
typedef void proc_fn(void *ctx, pid_t pid);
void proc_each(proc_fn *fn, void *ctx);

#endif
