/* spawn: starts exactly one program, the setuid delivery agent, when queued asks (lib/ipc/spawn.def). It reads no mail, no configuration of
 * users and no foreign byte. queued's supervisor starts it in a child of its own.
 */
#ifndef DELIVER_SPAWN_H
#define DELIVER_SPAWN_H

#include <stdbool.h>

#include "conf/conf.h"

enum { SPAWN_AGENTS_MAX = 256 };	/* agents at once; more are refused with a temporary failure */

struct spawn_env {
	const struct conf *conf;
	int queue_fd;			/* SEQPACKET channel to queued; taken */
	const char *agent;		/* absolute path of deliver */
	const char *accounts;		/* accounts.cdb */
	const char *policy;		/* path of deliver's policy (deliver_priv.h) */
	bool programs;			/* this is the one whose agents may execute commands */
	bool idle;			/* programs, and no commands are allowed: it can start nothing */
	bool unconfined;		/* --no-sandbox */
};

/* Runs in the child: confines itself, serves until queued is gone. Does not return. ctx is a struct spawn_env (the shape of super_child.run). */
void spawn_run(void *ctx);

#endif
