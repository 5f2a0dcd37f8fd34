/* Workers of the zygotes, one attempt each at a time. A check worker that reads a client's own messages (SCRAM), or runs the code of others (PAM), serves one attempt
 * and ends. One that compares a password with the suite's own file does what a hash function does and nothing else; it may serve WORKER_USES_MAX attempts, because a
 * fork and the exit for each cost more than all else in such a login. A sasl worker may serve as many, all of one user at one address: it is kept after a login that
 * was right, and wipes itself. So no process sees the passwords of two. Whoever speaks out of turn is dropped, and so is whoever could not tell. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "authd/monitor.h"
#include "base/arena.h"
#include "base/clock.h"
#include "log/log.h"
#include "os/os.h"

enum {
	WORKER_USES_MAX = 64,
	WORKER_IDLE_MS = 5000,
	WORKER_LIFE_MS = 60000,	/* after which no attempt begins */
	WORKERS_IDLE_MAX = 64,	/* of all kinds */
	KILL_LATER_MS = 1000,
};

struct worker {
	struct list node;		/* of the idle ones, or of none */
	struct workers *pool;
	struct ipc_chan *chan;
	const struct worker_ops *ops;	/* NULL: idle */
	void *ctx;
	enum worker_kind kind;
	struct worker_owner owner;	/* WORKER_SASL that may serve again */
	bool again;			/* it may serve further attempts */
	uint32_t uses;
	unsigned generation;
	uint64_t born_ms, idle_since_ms;
};

struct workers {
	struct monitor *m;
	struct list idle;		/* the longest first */
	size_t n_idle;
	struct timer *timer;
	unsigned generation;		/* of the zygote */
};

static void leave_idle(struct worker *w)
{
	w->pool->n_idle -= list_empty(&w->node) ? 0 : 1;
	list_del(&w->node);
}

static void dismiss(struct worker *w)
{
	leave_idle(w);
	ipc_chan_free(&w->chan);
	loop_free_later(w->pool->m->loop, w);
}

/* --- idle ones --- */

static void on_idle_timer(void *ctx)
{
	struct workers *p = ctx;
	const uint64_t now = clock_mono_ms();

	list_each_safe(it, &p->idle) {
		struct worker *w = list_of(it, struct worker, node);
		if (now - w->idle_since_ms < WORKER_IDLE_MS) {
			timer_again(p->timer, w->idle_since_ms + WORKER_IDLE_MS - now);
			return;
		}
		dismiss(w);
	}
}

/* Alive, and has said nothing that nobody asked: its end may not have been seen yet. */
static bool is_silent(const struct worker *w)
{
	char byte;

	return recv(ipc_chan_fd(w->chan), &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 && errno == EAGAIN;
}

static bool serves(const struct worker *w, enum worker_kind kind, const struct worker_owner *owner)
{
	return w->kind == kind && (kind == WORKER_FILE || (owner && memcmp(w->owner.addr, owner->addr, sizeof owner->addr) == 0 &&
							   strcmp(w->owner.user, owner->user) == 0));
}

static struct worker *idle_one(struct workers *p, enum worker_kind kind, const struct worker_owner *owner)
{
	const uint64_t now = clock_mono_ms();

	/* The last used: the others may grow old. */
	for (struct list *it = p->idle.prev, *next; it != &p->idle; it = next) {
		struct worker *w = list_of(it, struct worker, node);

		next = it->prev;
		if (!serves(w, kind, owner))
			continue;
		if (now - w->born_ms < WORKER_LIFE_MS && is_silent(w))
			return w;
		dismiss(w);
	}
	return NULL;
}

void workers_renew(struct monitor *m)
{
	m->workers->generation++;
	list_each_safe(it, &m->workers->idle)
		dismiss(list_of(it, struct worker, node));
}

void workers_init(struct monitor *m)
{
	m->workers = xzalloc(sizeof *m->workers);
	m->workers->m = m;
	list_init(&m->workers->idle);
	m->workers->timer = loop_timer(m->loop, UINT32_MAX, on_idle_timer, m->workers);
}

/* --- what they say --- */

static void on_message(void *ctx, struct ipc_chan *ch, uint16_t type, uint32_t id, void *msg, int fd)
{
	struct worker *w = ctx;

	if (w->ops == NULL || id != w->uses) {
		log_error("a login worker spoke out of turn");
		close_fd(&fd);
		if (w->ops)
			w->ops->gone(w->ctx, "protocol");
		else
			dismiss(w);
		return;
	}
	w->ops->said(w->ctx, type, msg, fd);
}

static void on_closed(void *ctx, struct ipc_chan *ch, const struct err *why)
{
	struct worker *w = ctx;

	if (w->ops)
		w->ops->gone(w->ctx, why->text);
	else
		dismiss(w);
}

/* --- for attempts --- */

/* What each kind may say. */
static struct ipc_allow may_say(enum worker_kind kind)
{
	static const uint16_t password[] = { IPC_helper_RESULT };
	static const uint16_t scram[] = { IPC_helper_RESULT, IPC_helper_NAME, IPC_helper_CHALLENGE };
	static const uint16_t sasl[] = { IPC_helper_DONE, IPC_helper_CREDS, IPC_helper_CHALLENGE };

	switch (kind) {
	case WORKER_SASL: return (struct ipc_allow){ sasl, ARRAY_LEN(sasl) };
	case WORKER_SCRAM: return (struct ipc_allow){ scram, ARRAY_LEN(scram) };
	default: return (struct ipc_allow){ password, ARRAY_LEN(password) };
	}
}

static struct worker *make(struct monitor *m, enum worker_kind kind, const struct worker_owner *owner, uint64_t life_ms, struct err *e)
{
	const bool again = kind == WORKER_FILE || (kind == WORKER_SASL && owner);
	int fd;

	if (helpers_worker(m, kind == WORKER_SASL ? HELPER_SASL : HELPER_CHECK, life_ms + KILL_LATER_MS + (again ? WORKER_LIFE_MS : 0), &fd, e) < 0)
		return NULL;
	struct worker *w = xzalloc(sizeof *w);
	*w = (struct worker){ .pool = m->workers, .kind = kind, .again = again, .born_ms = clock_mono_ms(), .generation = m->workers->generation };
	if (owner)
		w->owner = *owner;
	list_init(&w->node);
	w->chan = ipc_chan_new(m->loop, fd, &ipc_helper, on_message, on_closed, w);
	ipc_chan_allow(w->chan, may_say(kind));
	return w;
}

struct worker *worker_take(struct monitor *m, enum worker_kind kind, const struct worker_owner *owner, uint64_t life_ms, const struct worker_ops *ops, void *ctx,
			   struct err *e)
{
	struct worker *w = idle_one(m->workers, kind, owner);

	if (w)
		leave_idle(w);
	else if ((w = make(m, kind, owner, life_ms, e)) == NULL)
		return NULL;
	w->uses++;
	w->ops = ops;
	w->ctx = ctx;
	return w;
}

int worker_send(struct worker *w, uint16_t type, const void *msg, int fd, struct err *e)
{
	return ipc_send(w->chan, type, msg, w->uses, fd, e);
}

void worker_release(struct worker **cp, bool sound)
{
	struct worker *w = *cp;

	*cp = NULL;
	if (w == NULL)
		return;
	struct workers *p = w->pool;
	w->ops = NULL;
	if (!sound || !w->again || w->uses >= WORKER_USES_MAX || w->generation != p->generation) {
		dismiss(w);
		return;
	}
	if (p->n_idle == WORKERS_IDLE_MAX)
		dismiss(list_of(p->idle.next, struct worker, node));
	w->idle_since_ms = clock_mono_ms();
	if (list_empty(&p->idle))
		timer_again(p->timer, WORKER_IDLE_MS);
	list_append(&p->idle, &w->node);
	p->n_idle++;
}
