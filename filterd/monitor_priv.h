/* What the parts of the monitor share: monitor.c (clients, doors), jobs.c (messages and workers), generations.c (templates). */
#ifndef FILTERD_MONITOR_PRIV_H
#define FILTERD_MONITOR_PRIV_H

#include "base/list.h"
#include "io/loop.h"
#include "ipc/filter.h"
#include "keys.h"
#include "monitor.h"
#include "relay.h"

enum { WATCH_SIGNATURES_MS = 30000, RESTART_MS = 1000 };

struct client {
	struct list node;
	struct monitor *m;
	struct ipc_chan *chan;	/* NULL: gone, its jobs end unanswered */
	unsigned jobs;
	struct door *door;	/* what it is; NULL: queued */
	bool draining;		/* a door that another one has replaced: it ends with its last connection */
};

/* A process of ours that takes messages by another protocol. */
struct door {
	struct monitor *m;
	size_t which;
	struct timer *restart;
	struct watch *of_template;	/* NULL: it has none */
};

struct job {
	struct list node;	/* on waiting, or on its own while a worker has it */
	struct client *client;
	struct arena *a;
	struct ipc_filter_SCAN scan;
	uint32_t id;
	int fd;
	unsigned attempts, asked, signs;
	bool lists;		/* no message: it is asked how many lists the recipients of scan have */
	enum stage_kind kind;	/* of the worker it needs */
	struct ipc_strs edits;	/* what scanning wants of a message that is scored now */
	struct filter_outcomes outcomes;	/* that came from its worker so far */
	uint64_t since_ms;
};

struct worker {
	struct list node;
	struct monitor *m;
	struct template *from;
	enum stage_kind kind;
	struct ipc_chan *chan;
	struct job *job;	/* NULL: idle */
	bool learns;		/* as its template */
	struct timer *deadline;
	struct relay_ask asks[WORKER_ASKS_MAX];
	struct keys_ask sign;
};

struct template {
	struct monitor *m;
	enum stage_kind kind;
	struct ipc_chan *chan;
	bool ready;
	bool learns;		/* its rules wish that mail is learned of itself */
};

struct monitor {
	struct loop *loop;
	const struct conf *first;	/* the start's */
	const struct conf *conf;	/* first, or ours */
	struct conf *fresh;		/* ours: after a reload, until every template of it is ready; NULL: none */
	const struct monitor_hooks *hooks;
	int listener;
	uid_t queue_uid;
	struct list clients, waiting[STAGE_KINDS], workers;
	size_t n_clients, n_draining, n_waiting, n_workers[STAGE_KINDS];
	struct template *now[STAGE_KINDS], *next[STAGE_KINDS];	/* next: loading */
	uint64_t fingerprint[STAGE_KINDS];
	unsigned long long seq;
	struct door doors[MONITOR_DOORS_MAX];
	bool announced;
	bool door_template_ended;
	bool broken[STAGE_KINDS];	/* the last template could not load: who asks is answered at once */
	struct timer *watch, *restart;
	struct relay *relay;
	struct keys *keys;
	struct dmarc_data *dmarc;
	struct suspects *suspects;
	bool learn_told;	/* the log knows that what is to be learned cannot be kept */
};

/* --- jobs.c --- */
void job_take(struct client *c, uint32_t id, const struct ipc_filter_SCAN *scan, int fd);	/* takes fd */
void job_take_lists(struct client *c, uint32_t id, const struct ipc_filter_LISTS *q);
void dispatch(struct monitor *m);		/* give workers what waits */
/* Nobody can be served: those who wait hear it now, not when their patience ends. */
void refuse_waiting(struct monitor *m, enum stage_kind kind);
/* Idle workers of an old generation end now, busy ones after their message. */
void workers_retire(struct monitor *m);

/* --- monitor.c --- */
void doors_renew(struct monitor *m);		/* by the configuration that is in force now */

/* --- generations.c --- */
bool kind_used(const struct conf *conf, enum stage_kind kind);
void templates_start(struct monitor *m);
void generation_reload(struct monitor *m);	/* the configuration anew */
void generation_watch(void *ctx);		/* of the timer m->watch: have signatures or rules changed? */

#endif
