/* filterd's processes below the monitor. */
#ifndef FILTERD_WORKER_H
#define FILTERD_WORKER_H

#include <stdint.h>

#include "conf/conf.h"
#include "scan.h"

enum {
	WORKER_MESSAGES_MAX = 1000,	/* then the worker is replaced; its canary is checked before */
	WORKER_MEMORY_MAX_MB = 2048,
	WORKER_IDLE_MS = 1000,		/* without a message: then the memory that messages took goes back */
	WORKER_KEEPS_BYTES = 8 << 20,	/* of what libclamav took for a message: it asks for 260 KB for each stream of a PDF */
};

struct filter_dirs {
	char share[1024];	/* shipped signatures and lists */
	char tmp[1024];		/* below it one directory a worker */
};

/* Load, answer READY or BROKEN on sock, then fork confined workers on request until sock closes. Does not return. */
void template_run(enum stage_kind kind, const struct conf *conf, const struct filter_dirs *dirs, int sock, bool unconfined) __attribute__((noreturn));
/* Serve SCAN requests on sock, one at a time, until it closes. Does not return. */
void worker_run(const struct filter_rules *rules, int sock) __attribute__((noreturn));

#endif
