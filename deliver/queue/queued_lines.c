/* Copies that wait for an agent. One agent serves one user and one copy at a time; it is started through spawn with one end of a socket pair, kept a moment for the
 * user's next message, and ended by closing its channel. Copies for a user whose agents are busy start further ones (their syncs run together), up to a
 * limit; beyond the limits copies wait in line.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/format.h"
#include "deliver/queue/queued_agent.h"
#include "log/log.h"
#include "os/os.h"

/* --- users --- */

static struct user *user_get(struct queued *q, const struct copy_request *r)
{
	const char kind = r->kind.n > 0 ? (r->runner ? 'A' : 'a') : r->runner ? 'M' : 'm';
	char key[300];
	const int n = text_format(key, sizeof(key), "%c%.*s", kind, STR_ARG(str_sub(r->user, 0, 255)));
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

void user_maybe_free(struct queued *q, struct user *u)
{
	if (u->pins > 0 || !list_empty(&u->agents) || !list_empty(&u->line))
		return;
	list_del(&u->node);
	(void)map_del(q->agents->users, str_c(u->key));
	free(u->key);
	free(u);
}

void user_unpin(struct queued *q, struct user *u)
{
	u->pins--;
	user_maybe_free(q, u);
}

void user_waits(struct queued *q, struct user *u, bool on)
{
	if (on == u->waits)
		return;
	u->waits = on;
	if (on)
		list_append(&q->agents->waiting, &u->node);
	else
		list_del(&u->node);
}

/* --- agents for those who wait --- */

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
	a->chan = ipc_chan_new(q->loop, fds[0], &ipc_deliver, agent_message, agent_closed, a);
	ipc_chan_allow(a->chan, (struct ipc_allow){ types, ARRAY_LEN(types) });
	(void)map_set(as->starts, agent_start_key(&a->start_id), a);
	list_append(&u->agents, &a->node);
	u->n_agents++;
	as->n++;
	agent_set_idle(a, true);
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
void agents_pump(struct queued *q, struct user *u)
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
		agent_set_idle(a, false);
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
		agents_pump(q, u);	/* it comes back to the end when it must wait */
	}
}

/* Look at the waiting users' lines after this round of the loop. */
void agents_look(struct queued *q)
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
	struct agent *a = map_get(q->agents->starts, agent_start_key(&id));

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

size_t agents_count(const struct queued *q)
{
	return q->agents->n;
}

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
	copy_deadline(c, true);
	if (q->agents->n == 0)
		timer_again(q->agents->reaper, QUEUED_AGENT_IDLE_MS / 2);
	user_waits(q, c->user, true);
	agents_look(q);	/* not now: no call back before we return */
	return c;
}
