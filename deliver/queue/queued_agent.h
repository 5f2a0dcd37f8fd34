/* What queued_agent.c (one agent, and the copy that it writes) and queued_lines.c (who waits for one) share. */
#ifndef DELIVER_QUEUED_AGENT_H
#define DELIVER_QUEUED_AGENT_H

#include "deliver/queue/queued.h"
#include "ipc/spawn.h"

struct user;

enum copy_state {
	CP_WAITING,	/* in line, no agent */
	CP_SENT,	/* COPY is out */
	CP_FORWARDED,	/* FORWARD came, no READY yet */
	CP_READY,	/* READY (or FORWARD without a copy): the caller decides */
	CP_DECIDED,	/* COMMIT is out */
};

struct copy {
	struct list node;	/* of the user's line */
	struct queued *q;
	struct user *user;
	struct agent *agent;
	enum copy_state state;
	struct copy_request r;
	copy_fn *fn;
	void *ctx;
	uint32_t id;
	bool again;		/* second agent already */
	struct timer *deadline;	/* set while it waits for somebody else than the caller */
};

struct agent {
	struct list node;	/* of the user's agents */
	struct queued *q;
	struct user *user;
	struct ipc_chan *chan;	/* NULL: closed, waiting for its exit status */
	struct copy *copy;	/* NULL: idle, or draining */
	bool draining;		/* a copy was aborted: its last answer is awaited */
	bool idle;		/* open and free; counted */
	bool answered;		/* said something in its life */
	bool leaving;		/* closed for idleness, or said that it ends */
	bool exited;		/* its exit status came before the end of its channel */
	int status;
	uint32_t start_id;
	uint32_t drain_id;
	uint64_t idle_since_ms;
};

struct user {
	struct list node;	/* of all users that wait */
	char *key;		/* who starts its agents, and what the name is: 'm' mailbox or 'a' alias, upper case with programs; then the name */
	const char *name;	/* in key */
	struct list agents, line;
	size_t n_agents, n_line, n_idle;
	unsigned pins;		/* functions that still use it */
	bool waits;		/* is on agents.waiting */
};

struct agents {
	struct ipc_chan *spawn, *programs;
	struct map *users;
	struct map *starts;	/* start id -> agent */
	struct list waiting;	/* users whose line is to be looked at */
	size_t n, n_line, n_idle;
	uint32_t last_start;
	bool look_due;
	struct timer *reaper;
};

/* --- queued_agent.c --- */
void copy_fail(struct copy *c, const char *text);	/* for now; c is gone */
void copy_deadline(struct copy *c, bool on);	/* of whom it waits for, who is not the caller */
void agent_set_idle(struct agent *a, bool idle);	/* it is counted */
struct str agent_start_key(const uint32_t *id);	/* of agents.starts; borrows *id */
void agent_gone(struct agent *a);	/* channel and exit status have ended: what becomes of its copy, and it */
void agent_close(struct agent *a);	/* its channel: it ends */
void agent_closed(void *ctx, struct ipc_chan *ch, const struct err *why);	/* of a channel, ctx its agent */
void agent_give(struct agent *a, struct copy *c);	/* the copy is its next */
void agent_message(void *ctx, struct ipc_chan *ch, uint16_t type, uint32_t id, void *msg, int fd);	/* the same */

/* --- queued_lines.c --- */
void user_maybe_free(struct queued *q, struct user *u);	/* when nothing of it is left */
void user_unpin(struct queued *q, struct user *u);
void user_waits(struct queued *q, struct user *u, bool on);	/* its line is to be looked at */
void agents_pump(struct queued *q, struct user *u);	/* agents for its line, as far as they are to be had */
void agents_look(struct queued *q);	/* at the lines of all who wait, from the loop */

#endif
