/* The one place that talks to queued: "connection n is user U". The connection is made when first needed and again after queued went; a
 * request that is not acknowledged in time fails, and the login with it: a client that believes it may send must be able to. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "authd/monitor.h"
#include "base/arena.h"
#include "ipc/queue.h"
#include "log/log.h"
#include "os/os.h"

enum { TELL_MS = 5000 };

struct queue_tell {
	struct list node;
	struct monitor *m;
	uint32_t id;
	struct timer *timer;
	queue_told_fn *fn;
	void *ctx;
	bool ok;
};

struct queue_peer {
	struct ipc_chan *ch;
	struct list waiting;
};

void queue_peer_init(struct monitor *m)
{
	m->queue = xzalloc(sizeof *m->queue);
	list_init(&m->queue->waiting);
}

static void tell_free(struct queue_tell *t)
{
	timer_del(&t->timer);
	list_del(&t->node);
	loop_free_later(t->m->loop, t);
}

void queue_tell_cancel(struct queue_tell **t)
{
	if (*t)
		tell_free(*t);
	*t = NULL;
}

static void on_end(void *ctx)
{
	struct queue_tell *t = ctx;

	t->fn(t->ctx, t->ok);
	tell_free(t);
}

static void end_soon(struct queue_tell *t, bool ok)
{
	t->ok = ok;
	t->id = 0;
	timer_del(&t->timer);
	t->timer = loop_timer(t->m->loop, 0, on_end, t);
}

static void on_message(void *ctx, struct ipc_chan *ch, uint16_t type, uint32_t id, void *msg, int fd)
{
	struct monitor *m = ctx;

	list_each_safe(it, &m->queue->waiting) {
		struct queue_tell *t = list_of(it, struct queue_tell, node);

		if (t->id == id) {
			end_soon(t, true);
			return;
		}
	}
}

static void on_closed(void *ctx, struct ipc_chan *ch, const struct err *why)
{
	struct monitor *m = ctx;

	log_debug("queued: %s", why->text);
	ipc_chan_free(&m->queue->ch);
	list_each_safe(it, &m->queue->waiting) {
		struct queue_tell *t = list_of(it, struct queue_tell, node);

		if (t->id)
			end_soon(t, false);
	}
}

static void on_timeout(void *ctx)
{
	struct queue_tell *t = ctx;

	log_error("queued does not acknowledge a login in %d ms", TELL_MS);
	end_soon(t, false);
}

static int connect_queue(struct monitor *m, struct err *e)
{
	static const uint16_t allowed[] = { IPC_queue_USER_OK };
	char path[1100];

	snprintf(path, sizeof path, "%s/queue/auth", m->conf->run_directory);
	const int fd = sock_unix_connect(path, SOCK_SEQPACKET, e);
	if (fd < 0)
		return -1;
	m->queue->ch = ipc_chan_new(m->loop, fd, &ipc_queue, on_message, on_closed, m);
	ipc_chan_allow(m->queue->ch, (struct ipc_allow){ allowed, ARRAY_LEN(allowed) });
	return 0;
}

struct queue_tell *queue_tell_user(struct monitor *m, uint64_t conn, const char *user, queue_told_fn *fn, void *ctx)
{
	struct queue_tell *t = xzalloc(sizeof *t);
	const struct ipc_queue_USER msg = { .conn = conn, .user = str_c(user), .rights = STR("submit") };
	struct err e = { 0 };

	*t = (struct queue_tell){ .m = m, .fn = fn, .ctx = ctx };
	list_append(&m->queue->waiting, &t->node);
	if (!m->queue->ch && connect_queue(m, &e) < 0) {
		log_error("queued cannot be told of a login: %s", e.text);
		end_soon(t, false);
		return t;
	}
	t->id = ipc_next_id(m->queue->ch);
	t->timer = loop_timer(m->loop, TELL_MS, on_timeout, t);
	if (ipc_send(m->queue->ch, IPC_queue_USER, &msg, t->id, -1, &e) < 0)
		end_soon(t, false);
	return t;
}
