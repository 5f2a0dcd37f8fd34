/* The monitor: takes SCAN requests from queued, gives each to an idle worker, and answers for workers that die or overrun. */
#ifndef FILTERD_MONITOR_H
#define FILTERD_MONITOR_H

#include <sys/types.h>

#include "authres/dkim_table.h"
#include "worker.h"

enum {
	MONITOR_WAITING_MAX = 512,	/* messages that wait for a worker; above it: tempfail */
	MONITOR_CLIENTS_MAX = 16,
	MONITOR_DOORS_MAX = 4,
	MONITOR_DRAINING_MAX = 12,	/* doors that were replaced, and wait for their last connection */
	MONITOR_ASKING_FACTOR = 8,	/* as many times filter_workers, when they wait for the DNS */
	MONITOR_ATTEMPTS = 2,		/* workers that one message may cost */
	MONITOR_SIGNS_MAX = DKIM_KEYS_PER_DOMAIN_MAX,	/* signatures that a worker may ask for one message; an ARC set takes two */
};

/* listener: bound SEQPACKET socket. start_template forks a template of these values (the child never returns) and returns its socket, or -1. ready is called once the first
 * template is. Returns 0 after SIGTERM, -1 when a door's template has ended. conf is that of the start: it lives on, and what only a restart changes is read from it. */
struct monitor_hooks {
	int (*start_template)(void *ctx, enum stage_kind kind, const struct conf *conf);
	void (*ready)(void *ctx);
	int (*start_door)(void *ctx, size_t which, const struct conf *conf);	/* forks that door (door.h), returns its socket, or -1 */
	bool (*may_teach)(void *ctx, size_t which);	/* may that door's clients say what is spam? */
	size_t n_doors;
	const int *door_templates;	/* sockets to who forks each; -1, or NULL: nobody */
	void *ctx, *doors_ctx;	/* of the first two; of the last two functions */
};
int monitor_run(const struct conf *conf, int listener, uid_t queue_uid, const struct monitor_hooks *hooks, struct err *e) MUST_CHECK;

#endif
