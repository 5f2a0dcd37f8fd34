/* A channel: a SOCK_SEQPACKET descriptor on the loop, with a bounded queue of packets that the socket does not take yet.
 * The callback may free the channel, send on it, or change what is allowed. Whatever goes wrong ends in one place,
 * chan_fail(), which closes the descriptor at once and calls closed() once. */
#include "ipc/ipc.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/enc.h"
#include "base/list.h"
#include "ipc/packet.h"

enum {
	QUEUE_PACKETS_MAX = 256,
	QUEUE_BYTES_MAX = 16 << 20,
	ROUND_PACKETS_MAX = 32, /* read from one channel before others get their turn */
};

struct queued {
	struct list node;
	size_t n;
	struct ipc_fds fds;
	unsigned char bytes[];
};

struct ipc_chan {
	struct loop *loop;
	const struct ipc_proto *proto;
	struct watch *watch;
	struct timer *
		fail_timer; /* a send failed: tell the owner from the loop, not from inside ipc_send */
	ipc_fn *fn;
	ipc_closed_fn *closed;
	void *ctx;
	struct ipc_allow allow;
	bool allow_set, freed, held, bursts, alone;
	int fd; /* -1 when closed */
	uint32_t last_id;
	struct ipc_fds more; /* of the message that is being handled */
	struct list queue;
	size_t queue_packets, queue_bytes, waiting_max;
	struct err why; /* of the failed send */
};

/* One of each per process: the loop is never re-entered, and blocking.c has its own. */
static unsigned char in_packet[IPC_PACKET_MAX], out_packet[IPC_PACKET_MAX];
static struct arena *decoded; /* what lies beside in_packet of the message that is being handled */

static void queue_drop(struct ipc_chan *ch, struct queued *q)
{
	list_del(&q->node);
	ch->queue_packets--;
	ch->queue_bytes -= q->n;
	packet_close(&q->fds);
	mem_wipe(q->bytes, q->n);
	free(q);
}

static void chan_shut(struct ipc_chan *ch)
{
	watch_del(&ch->watch);
	timer_del(&ch->fail_timer);
	if (ch->fd >= 0)
		close(ch->fd);
	ch->fd = -1;
	list_each_safe (it, &ch->queue)
		queue_drop(ch, list_of(it, struct queued, node));
}

static void chan_fail(struct ipc_chan *ch, const struct err *why)
{
	const struct err copy = *why;

	if (ch->fd < 0)
		return;
	chan_shut(ch);
	if (ch->closed)
		ch->closed(ch->ctx, ch, &copy);
}

static bool may_send(const struct ipc_chan *ch, uint16_t type)
{
	if (!ch->allow_set)
		return true;
	for (size_t i = 0; i < ch->allow.n; i++)
		if (ch->allow.types[i] == type)
			return true;
	return false;
}

/* Decode and hand over one packet. false when the channel has failed (or was freed by its owner). */
static bool chan_packet(struct ipc_chan *ch, size_t n, struct ipc_fds *fds)
{
	struct err e = { 0 };
	uint16_t type;
	uint32_t id;
	void *msg;

	if (!decoded)
		decoded = arena_new(0);
	int r = ipc_decode(ch->proto, str_n(in_packet, n), fds->n, decoded, &type, &id, &msg, &e);

	if (r == 0 && !may_send(ch, type))
		r = err_set(&e, ERR_INPUT, 0, "%s: message %u is not allowed now", ch->proto->name,
			    type);
	if (r == 0) {
		for (size_t i = 1; i < fds->n; i++)
			ch->more.v[ch->more.n++] = fds->v[i];
		ch->fn(ch->ctx, ch, type, id, msg, fds->n > 0 ? fds->v[0] : -1);
		packet_close(&ch->more);
	} else {
		packet_close(fds);
		chan_fail(ch, &e);
	}
	mem_wipe(in_packet, n);
	arena_reset(decoded);
	return ch->fd >= 0;
}

/* Read what is there, at most max packets. few: nearly always there is one, an answer or a question, and to look for a second one costs a system call
 * each time, while the loop comes back for it. Descriptors come in bursts, and the kernel limits how many are under way: those are all taken, but where it is known that
 * they come alone. */
static void chan_read(struct ipc_chan *ch, unsigned max, bool few)
{
	while (max-- > 0 && !ch->held) {
		struct err e = { 0 };
		struct ipc_fds fds;
		size_t n;
		const int r = packet_recv(ch->fd, in_packet, &n, &fds, false, &e);

		if (r == 1)
			return;
		if (r < 0) {
			err_wrap(&e, "%s", ch->proto->name);
			chan_fail(ch, &e);
			return;
		}
		const bool last = few && (ch->alone || fds.n == 0);
		if (!chan_packet(ch, n, &fds) || last)
			return;
	}
}

/* A send failed. What the peer sent before it went is still delivered. */
static void on_fail_timer(void *ctx)
{
	struct ipc_chan *ch = ctx;
	const struct err why = ch->why;

	chan_read(ch, QUEUE_PACKETS_MAX, false);
	if (ch->fd >= 0)
		chan_fail(ch, &why);
}

static void fail_later(struct ipc_chan *ch, const struct err *why)
{
	if (ch->fail_timer)
		return;
	ch->why = *why;
	ch->fail_timer = loop_timer(ch->loop, 0, on_fail_timer, ch);
}

static unsigned may_read(const struct ipc_chan *ch)
{
	return ch->held ? 0 : LOOP_READ;
}

static void chan_flush(struct ipc_chan *ch)
{
	while (!list_empty(&ch->queue)) {
		struct queued *q = list_of(ch->queue.next, struct queued, node);
		struct err e = { 0 };
		const int r = packet_send(ch->fd, q->bytes, q->n, &q->fds, false, &e);

		if (r == 1)
			return;
		if (r < 0) {
			err_wrap(&e, "%s", ch->proto->name);
			fail_later(ch, &e);
			break;
		}
		queue_drop(ch, q);
	}
	watch_set(ch->watch, may_read(ch));
}

static void on_watch(void *ctx, unsigned events)
{
	struct ipc_chan *ch = ctx;

	if ((events & LOOP_WRITE) && ch->fd >= 0)
		chan_flush(ch);
	if (ch->held && (events & LOOP_HUP))	/* nobody waits for what it said last */
		ch->held = false;
	if ((events & (LOOP_READ | LOOP_HUP)) && ch->fd >= 0)
		chan_read(ch, ROUND_PACKETS_MAX, !ch->bursts);
}

struct ipc_chan *ipc_chan_new(struct loop *l, int fd, const struct ipc_proto *p, ipc_fn *fn,
			      ipc_closed_fn *closed, void *ctx)
{
	struct ipc_chan *ch = xzalloc(sizeof(*ch));

	ch->loop = l;
	ch->proto = p;
	ch->fn = fn;
	ch->closed = closed;
	ch->ctx = ctx;
	ch->fd = fd;
	ch->waiting_max = QUEUE_PACKETS_MAX;
	list_init(&ch->queue);
	ch->watch = loop_watch(l, fd, LOOP_READ, on_watch, ch);
	return ch;
}

void ipc_chan_free(struct ipc_chan **chp)
{
	struct ipc_chan *ch = *chp;

	*chp = NULL;
	if (!ch || ch->freed)
		return;
	ch->freed = true;
	chan_shut(ch);
	loop_free_later(ch->loop, ch);
}

void ipc_chan_bursts(struct ipc_chan *ch)
{
	ch->bursts = true;
}

void ipc_chan_alone(struct ipc_chan *ch)
{
	ch->alone = true;
}

void ipc_chan_hold(struct ipc_chan *ch, bool hold)
{
	if (ch->held == hold || ch->fd < 0)
		return;
	ch->held = hold;
	watch_set(ch->watch, may_read(ch) | (list_empty(&ch->queue) ? 0 : LOOP_WRITE));
}

void ipc_chan_take(struct ipc_chan *ch)
{
	const bool held = ch->held;

	ch->held = false;
	if (ch->fd >= 0)
		chan_read(ch, ROUND_PACKETS_MAX, !ch->bursts);
	ch->held = held;
}

bool ipc_chan_pass(struct ipc_chan *ch, ipc_fn *fn, ipc_closed_fn *closed, void *ctx)
{
	if (ch->fd < 0 || ch->fail_timer || !list_empty(&ch->queue))
		return false;
	ch->fn = fn;
	ch->closed = closed;
	ch->ctx = ctx;
	return true;
}

void ipc_chan_allow(struct ipc_chan *ch, struct ipc_allow allow)
{
	ch->allow = allow;
	ch->allow_set = true;
}

void ipc_chan_waiting_max(struct ipc_chan *ch, size_t packets)
{
	ch->waiting_max = packets;
}

size_t ipc_chan_waiting(const struct ipc_chan *ch)
{
	return ch->queue_packets;
}

int ipc_chan_fd(const struct ipc_chan *ch)
{
	return ch->fd;
}

uint32_t ipc_next_id(struct ipc_chan *ch)
{
	if (++ch->last_id == 0)
		ch->last_id = 1;
	return ch->last_id;
}

/* Their own copies, or none. */
static bool duplicate(const struct ipc_fds *fds, struct ipc_fds *out)
{
	out->n = 0;
	for (size_t i = 0; i < fds->n; i++) {
		const int copy = fcntl(fds->v[i], F_DUPFD_CLOEXEC, 3);

		if (copy < 0) {
			const int why = errno;

			packet_close(out);
			errno = why;
			return false;
		}
		out->v[out->n++] = copy;
	}
	return true;
}

static void enqueue(struct ipc_chan *ch, size_t n, const struct ipc_fds *fds)
{
	struct err e = { 0 };

	if (ch->queue_packets >= ch->waiting_max || ch->queue_bytes + n > QUEUE_BYTES_MAX) {
		err_set(&e, ERR_LIMIT, 0, "%s: the peer does not read: %zu packets wait",
			ch->proto->name, ch->queue_packets);
		fail_later(ch, &e);
		return;
	}
	struct ipc_fds copies;

	if (!duplicate(fds, &copies)) {
		err_set(&e, ERR_LIMIT, errno, "%s: no descriptor for a waiting packet",
			ch->proto->name);
		fail_later(ch, &e);
		return;
	}
	struct queued *q = xmalloc(sizeof(*q) + n);

	q->n = n;
	q->fds = copies;
	memcpy(q->bytes, out_packet, n);
	list_append(&ch->queue, &q->node);
	ch->queue_packets++;
	ch->queue_bytes += n;
	watch_set(ch->watch, may_read(ch) | LOOP_WRITE);
}

int ipc_send(struct ipc_chan *ch, uint16_t type, const void *msg, uint32_t id, int fd,
	     struct err *e)
{
	return ipc_send_fds(ch, type, msg, id, &(struct ipc_fds){ { fd }, fd >= 0 ? 1 : 0 }, e);
}

struct ipc_fds ipc_more_fds(struct ipc_chan *ch)
{
	const struct ipc_fds more = ch->more;

	ch->more.n = 0;
	return more;
}

int ipc_send_fds(struct ipc_chan *ch, uint16_t type, const void *msg, uint32_t id,
		 const struct ipc_fds *fds, struct err *e)
{
	struct err why = { 0 };
	size_t n;
	int r = 1;

	if (ipc_encode(ch->proto, type, msg, id, out_packet, sizeof(out_packet), &n, e) < 0)
		return -1;
	if (ch->fd >= 0 && !ch->fail_timer) {
		if (list_empty(&ch->queue))
			r = packet_send(ch->fd, out_packet, n, fds, false, &why);
		if (r == 1)
			enqueue(ch, n, fds);
		else if (r < 0)
			fail_later(ch, &why);
	}
	mem_wipe(out_packet, n);
	return 0;
}
