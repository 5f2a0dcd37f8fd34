/* spawn: starts exactly one program, the setuid delivery agent, when queued asks (lib/ipc/spawn.def). It reads no mail, no configuration of
 * users and no foreign byte. queued's supervisor starts it in a child of its own; where spawn is a service of its own (spawn_main.c) that connects to it.
 */
#ifndef DELIVER_SPAWN_H
#define DELIVER_SPAWN_H

#include <stdbool.h>

#include "base/attr.h"
#include "base/err.h"
#include "conf/conf.h"

enum { SPAWN_AGENTS_MAX = 256 };	/* agents at once; more are refused with a temporary failure */

struct spawn_env {
	const struct conf *conf;
	int queue_fd;			/* SEQPACKET channel to queued; taken */
	char agent[1100];		/* absolute path of deliver */
	char accounts[1100];		/* accounts.cdb */
	char policy[1100];		/* path of deliver's policy (deliver_priv.h) */
	bool programs;			/* this is the one whose agents may execute commands */
	bool idle;			/* programs, and no commands are allowed: it can start nothing */
	bool unconfined;		/* --no-sandbox */
};

/* Where the service listens, below run_directory. */
#define SPAWN_DOOR_AGENTS "spawn/agents"
#define SPAWN_DOOR_PROGRAMS "spawn/programs"

/* All but queue_fd. conf: borrowed as long as env is used. */
void spawn_env_init(struct spawn_env *env, const struct conf *conf, bool programs, bool unconfined);
/* The agent must be root's, setuid, and executable by spawn's group alone: else no local mail is delivered, which is better said at the start. */
int spawn_check_agent(const struct conf *conf, bool unconfined, struct err *e) MUST_CHECK;

/* Runs in the child: confines itself, serves until queued is gone. Does not return. ctx is a struct spawn_env (the shape of super_child.run). */
void spawn_run(void *ctx);

#endif
