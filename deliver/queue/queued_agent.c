/* Delivery agents. One agent serves one user and one copy at a time; it is started through spawn with one end of a socket pair, kept a moment for the
 * user's next message, and ended by closing its channel. Copies for a user whose agents are busy start further ones (their syncs run together), up to a
 * limit; beyond the limits copies wait in line. An agent that dies before it answered is replaced once; whatever else goes wrong with it is a
 * temporary failure of its copy. So is silence: an agent is the user's process, who may stop it, and no copy waits for that longer than local_time_limit.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "deliver/queue/queued.h"
#include "ipc/spawn.h"
#include "log/log.h"
#include "os/os.h"

enum { RUNNER_GRACE_S = 30 };	/* for the agent to end a command that runs too long */

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

static void pump(struct queued *q, struct user *u);
static void look(struct queued *q);

size_t agents_count(const struct queued *q)
{
	return q->agents->n;
}

/* --- users --- */

static struct user *user_get(struct queued *q, const struct copy_request *r)
{
	const char kind = r->kind.n > 0 ? (r->runner ? 'A' : 'a') : r->runner ? 'M' : 'm';
	char key[300];
	const int n = snprintf(key, sizeof(key), "%c%.*s", kind, STR_ARG(str_sub(r->user, 0, 255)));
	struct user *u = map_get(q->agents->users, str_n(key, (size_t)n));

	if (u == NULL) {
		u = xzalloc(sizeof(*u));
		u->key = xstrdup(key);
		u->name = u->key + 1;
		list_init(&u->node);
		list_init(&u->agents);
		list_init(&u->line);
		(void)map_set(q->agents->users, str_c(u->key), u);
	}
	return u;
}

static void user_maybe_free(struct queued *q, struct user *u)
{
	if (u->pins > 0 || !list_empty(&u->agents) || !list_empty(&u->line))
		return;
	list_del(&u->node);
	(void)map_del(q->agents->users, str_c(u->key));
	free(u->key);
	free(u);
}

static void user_unpin(struct queued *q, struct user *u)
{
	u->pins--;
	user_maybe_free(q, u);
}

static void user_waits(struct queued *q, struct user *u, bool on)
{
	if (on == u->waits)
		return;
	u->waits = on;
	if (on)
		list_append(&q->agents->waiting, &u->node);
	else
		list_del(&u->node);
}

/* --- the end of a copy --- */

static void copy_free(struct copy *c)
{
	struct queued *q = c->q;
	struct user *u = c->user;

	timer_del(&c->deadline);
	if (c->state == CP_WAITING) {
		list_del(&c->node);
		u->n_line--;
		q->agents->n_line--;
		if (u->n_line == 0)
			user_waits(q, u, false);
	}
	free(c);
	user_maybe_free(q, u);
}

static void copy_end(struct copy *c, enum copy_event ev, const struct copy_result *r)
{
	copy_fn *fn = c->fn;
	void *ctx = c->ctx;

	copy_free(c);
	fn(ctx, ev, r);
}

static void copy_fail(struct copy *c, const char *text)
{
	const struct copy_result r = { .enhanced = STR("4.3.0"), .text = str_c(text) };

	copy_end(c, COPY_FAILED, &r);
}

static void on_deadline(void *ctx);

static void deadline(struct copy *c, bool on)
{
	timer_del(&c->deadline);
	if (on)
		c->deadline = loop_timer(c->q->loop, (c->r.runner ? c->q->conf->command_time_limit + RUNNER_GRACE_S : c->q->conf->local_time_limit) * 1000,
					 on_deadline, c);
}

/* --- agents --- */

static void set_idle(struct agent *a, bool idle)
{
	if (idle == a->idle)
		return;
	a->idle = idle;
	a->user->n_idle += idle ? 1 : (size_t)-1;
	a->q->agents->n_idle += idle ? 1 : (size_t)-1;
	if (idle)
		a->idle_since_ms = clock_mono_ms();
}

static struct str id_key(const uint32_t *id)
{
	return str_n(id, sizeof(*id));
}

/* The agent died with c in hand: a second agent when nothing can have happened yet, else it has failed for now. */
static void settle(struct user *u, struct copy *c, bool untouched, int status)
{
	char text[120];

	c->agent = NULL;
	if (untouched && c->state == CP_SENT && !c->again) {
		c->again = true;
		c->r.attempt = c->r.attempt < 2 ? 2 : c->r.attempt;	/* it may be there already */
		c->state = CP_WAITING;
		list_push(&u->line, &c->node);
		u->n_line++;
		c->q->agents->n_line++;
		return;
	}
	if (WIFSIGNALED(status))
		snprintf(text, sizeof(text), "delivery agent died of signal %d", WTERMSIG(status));
	else
		snprintf(text, sizeof(text), "delivery agent ended with status %d", WEXITSTATUS(status));
	log_warning("user %s: %s", u->name, text);
	copy_fail(c, text);
}

/* Channel closed and exit status known. */
static void agent_gone(struct agent *a)
{
	struct queued *q = a->q;
	struct user *u = a->user;

	u->pins++;
	set_idle(a, false);
	list_del(&a->node);
	u->n_agents--;
	q->agents->n--;
	(void)map_del(q->agents->starts, id_key(&a->start_id));
	if (a->copy)
		settle(u, a->copy, a->answered || a->leaving, a->status);
	free(a);
	pump(q, u);
	user_unpin(q, u);
	look(q);
}

static void agent_close(struct agent *a)
{
	set_idle(a, false);
	a->leaving = true;
	ipc_chan_free(&a->chan);
	if (a->exited)
		agent_gone(a);
}

static void on_agent_closed(void *ctx, struct ipc_chan *ch, const struct err *why)
{
	struct agent *a = ctx;

	set_idle(a, false);
	a->draining = false;
	ipc_chan_free(&a->chan);
	if (a->exited)
		agent_gone(a);	/* else its exit status follows */
}

static void agent_send(struct agent *a, uint16_t type, const void *m, int fd)
{
	struct err e = { 0 };

	if (a->chan && ipc_send(a->chan, type, m, a->copy ? a->copy->id : a->drain_id, fd, &e) < 0) {
		log_error("agent of %s: %s", a->user->name, e.text);
		ipc_chan_free(&a->chan);	/* it ends; the copy is settled with its status */
	}
}

/* "80 95", as much of it as fits. */
static struct str quota_percentages(const struct conf *conf, char *out, size_t max)
{
	size_t n = 0;

	for (size_t i = 0; i < conf->quota_warnings.n; i++) {
		const size_t len = strlen(conf->quota_warnings.v[i]);
		if (len + 1 > max - n)
			break;
		memcpy(out + n, conf->quota_warnings.v[i], len);
		n += len;
		out[n++] = ' ';
	}
	return str_n(out, n > 0 ? n - 1 : 0);
}

static void agent_give(struct agent *a, struct copy *c)
{
	struct ipc_deliver_COPY m = {
		.qid = c->r.qid, .sender = c->r.sender, .recipient = c->r.recipient, .original = c->r.original, .extension = c->r.extension,
		.edits = c->r.edits, .attempt = c->r.attempt, .folder = c->r.folder, .size = c->r.size,
		.commit = c->r.commit, .kind = c->r.kind, .item = c->r.item, .programs = c->r.programs,
		.sync_dirs = strcmp(c->q->conf->sync_directories, "yes") == 0,
		.quota_reject = strcmp(c->q->conf->quota_full_action, "reject") == 0,
		.hostname = str_sub(str_c(c->q->conf->myhostname), 0, 255),
	};
	char percentages[200];

	m.quota_warnings = quota_percentages(c->q->conf, percentages, sizeof(percentages));

	list_del(&c->node);
	a->user->n_line--;
	a->q->agents->n_line--;
	a->copy = c;
	c->agent = a;
	c->state = CP_SENT;
	deadline(c, true);
	c->id = ipc_next_id(a->chan);
	if (c->r.room) {
		const struct ipc_deliver_ROOM room = { .size = c->r.size, .quota_reject = m.quota_reject };
		agent_send(a, IPC_deliver_ROOM, &room, -1);
		return;
	}
	agent_send(a, IPC_deliver_COPY, &m, c->r.fd);
}

static void on_end(struct agent *a, enum copy_event ev, const struct copy_result *r, bool last);

static void on_ready(struct agent *a)
{
	struct copy *c = a->copy;

	if (c && c->r.room) {
		const struct copy_result fits = { .text = STR("") };
		on_end(a, COPY_DONE, &fits, false);
		return;
	}
	if (c == NULL || (c->state != CP_SENT && c->state != CP_FORWARDED))
		return;
	c->state = CP_READY;
	deadline(c, false);
	c->fn(c->ctx, COPY_READY, NULL);
}

static void on_forward(struct agent *a, const struct ipc_deliver_FORWARD *m)
{
	struct copy *c = a->copy;
	const struct copy_result r = { .recipients = m->recipients, .keep = m->keep != 0, .runner = m->runner != 0 };

	if (c == NULL || c->state != CP_SENT || (r.runner && c->r.runner))
		return;
	c->state = r.keep ? CP_FORWARDED : CP_READY;
	deadline(c, r.keep);
	c->fn(c->ctx, COPY_FORWARD, &r);
}

/* Nobody has answered in time. What the agent did nevertheless is recognised by the next attempt. */
static void on_deadline(void *ctx)
{
	struct ipc_deliver_ABORT m = { 0 };
	struct copy *c = ctx;
	struct queued *q = c->q;
	struct user *u = c->user;
	struct agent *a = c->agent;

	u->pins++;
	if (a) {
		log_warning("user %s: a delivery agent does not answer", u->name);
		if (c->state != CP_DECIDED)
			agent_send(a, IPC_deliver_ABORT, &m, -1);
		a->copy = NULL;
		a->draining = true;
		a->drain_id = c->id;
		c->agent = NULL;
	}
	copy_fail(c, a ? "delivery agent does not answer" : "no delivery agent is free");
	pump(q, u);
	user_unpin(q, u);
}

/* DONE and FAILED end a message, whoever waits for it. */
static void on_end(struct agent *a, enum copy_event ev, const struct copy_result *r, bool last)
{
	struct queued *q = a->q;
	struct copy *c = a->copy;
	struct user *u = a->user;

	u->pins++;
	a->copy = NULL;
	a->draining = false;
	if (last)
		agent_close(a);
	else
		set_idle(a, true);
	if (c) {
		c->agent = NULL;
		copy_end(c, ev, r);
	}
	pump(q, u);
	user_unpin(q, u);
}

static void on_agent(void *ctx, struct ipc_chan *ch, uint16_t type, uint32_t id, void *msg, int fd)
{
	struct agent *a = ctx;
	const uint32_t awaited = a->copy ? a->copy->id : a->drain_id;
	struct copy_result r = { 0 };

	close_fd(&fd);
	a->answered = true;
	if (id != awaited || (a->copy == NULL && !a->draining))
		return;
	switch (type) {
	case IPC_deliver_READY:
		on_ready(a);
		break;
	case IPC_deliver_FORWARD:
		on_forward(a, msg);
		break;
	case IPC_deliver_DONE: {
		const struct ipc_deliver_DONE *m = msg;
		r.text = m->text;
		r.enhanced = STR("2.0.0");
		on_end(a, COPY_DONE, &r, m->last != 0);
		break;
	}
	case IPC_deliver_FAILED: {
		const struct ipc_deliver_FAILED *m = msg;
		r.text = m->text;
		r.enhanced = m->enhanced;
		r.permanent = m->permanent != 0;
		on_end(a, COPY_FAILED, &r, m->last != 0);
		break;
	}
	default:
		break;
	}
}

/* Start an agent for u. false: not now. */
static bool agent_start(struct queued *q, struct user *u)
{
	static const uint16_t types[] = { IPC_deliver_READY, IPC_deliver_DONE, IPC_deliver_FAILED, IPC_deliver_FORWARD };
	struct agents *as = q->agents;
	struct ipc_chan *spawn = ch_lower_p(u->key[0]) ? as->spawn : as->programs;
	struct ipc_spawn_START m = { .user = str_c(u->name), .alias = u->key[0] == 'a' || u->key[0] == 'A' };
	struct err e = { 0 };
	int fds[2];

	if (spawn == NULL)
		return false;
	if (sock_pair(SOCK_SEQPACKET, fds, &e) < 0) {
		log_error("agent: %s", e.text);
		return false;
	}
	struct agent *a = xzalloc(sizeof(*a));
	a->q = q;
	a->user = u;
	a->start_id = ++as->last_start;
	const int r = ipc_send(spawn, IPC_spawn_START, &m, a->start_id, fds[1], &e);
	close(fds[1]);
	if (r < 0) {
		log_error("spawn: %s", e.text);
		close(fds[0]);
		free(a);
		return false;
	}
	a->chan = ipc_chan_new(q->loop, fds[0], &ipc_deliver, on_agent, on_agent_closed, a);
	ipc_chan_allow(a->chan, (struct ipc_allow){ types, ARRAY_LEN(types) });
	(void)map_set(as->starts, id_key(&a->start_id), a);
	list_append(&u->agents, &a->node);
	u->n_agents++;
	as->n++;
	set_idle(a, true);
	return true;
}

static struct agent *idle_agent(struct user *u)
{
	list_each(n, &u->agents) {
		struct agent *a = list_of(n, struct agent, node);
		if (a->idle)
			return a;
	}
	return NULL;
}

/* Somebody else's idle agent makes room. */
static bool evict_idle(struct queued *q)
{
	size_t it = 0;
	struct str key;
	void *v;

	if (q->agents->n_idle == 0)
		return false;
	while (map_next(q->agents->users, &it, &key, &v)) {
		struct agent *a = idle_agent(v);
		if (a) {
			agent_close(a);
			return true;
		}
	}
	return false;
}

/* One more agent for u, if there may be one. 0: idle_agent() has it; 1: later; -1: it cannot be started. */
static int more_agents(struct queued *q, struct user *u)
{
	if (u->n_agents >= QUEUED_AGENTS_PER_USER_MAX)
		return 1;		/* one of them will be free */
	if (q->agents->n >= QUEUED_AGENTS_MAX) {
		(void)evict_idle(q);	/* its exit makes the room */
		user_waits(q, u, true);
		return 1;
	}
	return agent_start(q, u) ? 0 : -1;
}

/* Give waiting copies of u to agents, as far as there are any. The caller keeps u alive. */
static void pump(struct queued *q, struct user *u)
{
	u->pins++;
	while (u->n_line > 0) {
		struct copy *c = list_of(u->line.next, struct copy, node);
		struct agent *a = u->n_idle > 0 ? idle_agent(u) : NULL;
		const int r = a ? 0 : more_agents(q, u);
		if (r > 0)
			break;
		if (r < 0) {
			copy_fail(c, "no delivery agent can be started");
			continue;
		}
		if (a == NULL)
			a = idle_agent(u);
		set_idle(a, false);
		agent_give(a, c);
	}
	user_unpin(q, u);
}

static void look_now(void *ctx)
{
	struct queued *q = ctx;
	size_t n = 0;

	q->agents->look_due = false;
	list_each(it, &q->agents->waiting)
		n++;
	for (; n > 0 && !list_empty(&q->agents->waiting); n--) {
		struct user *u = list_of(q->agents->waiting.next, struct user, node);
		user_waits(q, u, false);
		pump(q, u);	/* it comes back to the end when it must wait */
	}
}

/* Look at the waiting users' lines after this round of the loop. */
static void look(struct queued *q)
{
	if (q->agents->look_due || list_empty(&q->agents->waiting))
		return;
	q->agents->look_due = true;
	loop_later(q->loop, look_now, q);
}

static void on_spawn(void *ctx, struct ipc_chan *ch, uint16_t type, uint32_t id, void *msg, int fd)
{
	struct queued *q = ctx;
	const struct ipc_spawn_EXITED *m = msg;
	struct agent *a = map_get(q->agents->starts, id_key(&id));

	close_fd(&fd);
	if (a == NULL)
		return;
	a->exited = true;
	a->status = (int)m->status;
	if (a->chan == NULL)
		agent_gone(a);	/* else what it said before it ended is read first */
}

static void on_spawn_closed(void *ctx, struct ipc_chan *ch, const struct err *why)
{
	struct queued *q = ctx;

	log_warning("spawn: %s", why->text);
	ipc_chan_free(ch == q->agents->spawn ? &q->agents->spawn : &q->agents->programs);
	queued_leave(q);	/* the group starts again, and finds a new one */
}

static void reap_idle(void *ctx)
{
	struct queued *q = ctx;
	const uint64_t now = clock_mono_ms();
	struct str key;
	size_t it = 0;
	void *v;

	while (q->agents->n_idle > 0 && map_next(q->agents->users, &it, &key, &v)) {
		struct user *u = v;
		u->pins++;
		list_each_safe(n, &u->agents) {
			struct agent *a = list_of(n, struct agent, node);
			if (a->idle && now - a->idle_since_ms > QUEUED_AGENT_IDLE_MS)
				agent_close(a);	/* waits for its exit status */
		}
		user_unpin(q, u);
	}
	timer_again(q->agents->reaper, q->agents->n > 0 ? QUEUED_AGENT_IDLE_MS / 2 : 60000);
}

static struct ipc_chan *spawn_channel(struct queued *q, int fd)
{
	static const uint16_t types[] = { IPC_spawn_EXITED };
	struct ipc_chan *ch = ipc_chan_new(q->loop, fd, &ipc_spawn, on_spawn, on_spawn_closed, q);

	ipc_chan_allow(ch, (struct ipc_allow){ types, ARRAY_LEN(types) });
	return ch;
}

void agents_start(struct queued *q, int spawn_fd, int programs_fd)
{
	struct agents *as = xzalloc(sizeof(*as));

	q->agents = as;
	as->users = map_new();
	as->starts = map_new();
	list_init(&as->waiting);
	as->spawn = spawn_channel(q, spawn_fd);
	as->programs = spawn_channel(q, programs_fd);
	as->reaper = loop_timer(q->loop, 60000, reap_idle, q);
}

/* --- for callers --- */

struct copy *copy_start(struct queued *q, const struct copy_request *r, copy_fn *fn, void *ctx)
{
	struct copy *c = xzalloc(sizeof(*c));

	c->q = q;
	c->r = *r;
	c->fn = fn;
	c->ctx = ctx;
	c->state = CP_WAITING;
	c->user = user_get(q, r);
	list_append(&c->user->line, &c->node);
	c->user->n_line++;
	q->agents->n_line++;
	deadline(c, true);
	if (q->agents->n == 0)
		timer_again(q->agents->reaper, QUEUED_AGENT_IDLE_MS / 2);
	user_waits(q, c->user, true);
	look(q);	/* not now: no call back before we return */
	return c;
}

void copy_commit(struct copy *c)
{
	struct ipc_deliver_COMMIT m = { 0 };

	c->state = CP_DECIDED;
	deadline(c, true);
	agent_send(c->agent, IPC_deliver_COMMIT, &m, -1);
}

void copy_abort(struct copy **cp)
{
	struct ipc_deliver_ABORT m = { 0 };
	struct copy *c = *cp;

	if (c == NULL)
		return;
	*cp = NULL;
	struct agent *a = c->agent;
	if (a) {
		if (c->state != CP_DECIDED)
			agent_send(a, IPC_deliver_ABORT, &m, -1);
		a->copy = NULL;
		a->draining = true;
		a->drain_id = c->id;
	}
	copy_free(c);
}
