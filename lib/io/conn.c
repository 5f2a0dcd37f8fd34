/* Buffered connections over a stack of filters. Owns deadlines, the order of events and the life of a connection;
 * conn_in.c and conn_out.c have the two buffers, relay.c ties two connections together, tls.c and deflate.c are filters.
 *
 * Input is read into the loop's shared buffer and given to the callback there; only what the callback leaves behind is
 * kept in memory of the connection. Output is kept until the end of the dispatch round, when a task writes it at once.
 * So an idle connection has no buffers, and a request costs one read and one write.
 */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "io/conn_priv.h"

enum {
	DISCARD_MAX = 1 << 20, /* input thrown away while closing */
};

static void on_task(void *ctx);
static void on_event(void *ctx, unsigned events);
static void arm(struct conn *c);

/* --- the lowest filter: the descriptor --- */

static struct conn *owner(struct filter *f)
{
	return list_of(f, struct conn, fd_filter);
}

static ssize_t fd_result(ssize_t r, const char *what, struct err *e)
{
	if (r >= 0)
		return r;
	if (errno == EAGAIN)
		return FILTER_AGAIN;
	err_set(e, ERR_CLOSED, errno, "%s", what);
	return FILTER_ERROR;
}

static ssize_t fd_read(struct filter *f, void *p, size_t n, struct err *e)
{
	ssize_t r;

	do
		r = read(owner(f)->fd, p, n);
	while (r < 0 && errno == EINTR);
	return fd_result(r, "read", e);
}

static ssize_t fd_write(struct filter *f, const void *p, size_t n, bool more, struct err *e)
{
	const struct conn *c = owner(f);
	ssize_t r;

	do
		r = c->sock ? send(c->fd, p, n, MSG_NOSIGNAL | (more ? MSG_MORE : 0))
			    : write(c->fd, p, n);
	while (r < 0 && errno == EINTR);
	return fd_result(r, "write", e);
}

static const struct filter_ops fd_ops = { .read = fd_read, .write = fd_write };

/* --- life --- */

struct conn *conn_new(struct loop *l, int fd, const struct conn_limits *lim, conn_fn *fn, void *ctx)
{
	struct conn *c = xzalloc(sizeof(*c));
	const int one = 1;
	int fl = fcntl(fd, F_GETFL), type;
	socklen_t len = sizeof(type);

	if (fl >= 0 && !(fl & O_NONBLOCK))
		(void)fcntl(fd, F_SETFL, fl | O_NONBLOCK);
	c->sock = getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) == 0;
	if (c->sock) /* refused by sockets that are not TCP, which need it not */
		(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	c->l = l;
	c->fd = fd;
	c->lim = *lim;
	c->fn = fn;
	c->ctx = ctx;
	c->segs_end = &c->segs;
	c->fd_filter.ops = &fd_ops;
	c->top = &c->fd_filter;
	loop_task_init(&c->task, on_task, c);
	c->w = loop_watch(l, fd, LOOP_READ, on_event, c);
	return c;
}

static void free_filters(struct filter *f)
{
	while (f) {
		struct filter *below = f->below;

		if (f->ops->free)
			f->ops->free(f);
		f = below;
	}
}

/* All but the descriptor. Memory that a running callback may still look at lives to the end of the round. */
static void let_go(struct conn *c)
{
	const bool last = c->finishing && loop_finishing(c->l, -1);

	c->dead = true;
	c->fn = NULL;
	watch_del(&c->w);
	timer_del(&c->timer);
	loop_task_cancel(&c->task);
	if (last)	/* the process ends */
		return;
	free_filters(c->next);
	free_filters(c->top);
	c->top = &c->fd_filter;
	c->next = NULL;
	conn_drop_output(c);
	loop_free_later(c->l, c->in.own);
	loop_free_later(c->l, c->error);
	loop_free_later(c->l, c);
}

void conn_free(struct conn **cp)
{
	struct conn *c = *cp;

	if (!c)
		return;
	*cp = NULL;
	if (c->dead)
		return;
	let_go(c);
	close(c->fd);
}

int conn_detach(struct conn **cp, struct buf *leftover)
{
	struct conn *c = *cp;

	*cp = NULL;
	buf_mem(leftover, c->in.p, c->in.n);
	let_go(c);
	return c->fd;
}

void conn_post(struct conn *c)
{
	if (!c->dead)
		loop_task_post(c->l, &c->task);
}

void conn_fail(struct conn *c, const char *text)
{
	if (c->failed)
		return;
	c->failed = true;
	c->error = xstrdup(text);
	conn_post(c);
}

const char *conn_error(const struct conn *c)
{
	return c->error ? c->error : "";
}

bool conn_tls_own_fault(const struct conn *c)
{
	return c->own_fault;
}

int conn_fd(const struct conn *c)
{
	return c->fd;
}

void conn_deliver(struct conn *c, enum conn_event ev)
{
	if (c->fn && !c->dead)
		c->fn(c->ctx, c, ev);
}

/* --- filters --- */

void conn_install(struct conn *c)
{
	c->next->below = c->top;
	c->top = c->next;
	c->next = NULL;
	c->setup = c->top->ops->setup != NULL;
	if (c->setup && c->top->setup_ms)
		c->setup_at = clock_mono_ms() + c->top->setup_ms;
	c->more = !c->setup && c->top->ops->pending && c->top->ops->pending(c->top);
	arm(c);
}

void conn_push(struct conn *c, struct filter *f)
{
	free_filters(c->next);
	c->next = f;
	f->below = NULL;
	conn_seal_output(c);
	conn_post(c);
}

static void run_setup(struct conn *c)
{
	struct err e = { 0 };
	int r = c->top->ops->setup(c->top, &e);

	if (r == FILTER_AGAIN)
		return;
	c->setup_at = 0;
	if (r == FILTER_ERROR) {
		c->own_fault = e.code == ERR_TEMP;
		conn_fail(c, e.text);
		return;
	}
	c->setup = false;
	/* Input that came with the end of the handshake; the descriptor will not announce it. */
	c->more = c->top->ops->pending && c->top->ops->pending(c->top);
	conn_post(c);
	conn_deliver(c, CONN_EV_SECURED);
}

static const struct filter *secure_layer(const struct conn *c)
{
	for (const struct filter *f = c->top; f; f = f->below) {
		if (f->ops->tls && !(f == c->top && c->setup))
			return f;
	}
	return NULL;
}

bool conn_secure(const struct conn *c)
{
	return secure_layer(c) != NULL;
}

const char *conn_tls_version(const struct conn *c)
{
	const struct filter *f = secure_layer(c);

	return f ? f->ops->tls->version(f) : "";
}

const char *conn_tls_cipher(const struct conn *c)
{
	const struct filter *f = secure_layer(c);

	return f ? f->ops->tls->cipher(f) : "";
}

int conn_tls_bits(const struct conn *c)
{
	const struct filter *f = secure_layer(c);

	return f ? f->ops->tls->bits(f) : 0;
}

const char *conn_tls_trust(const struct conn *c)
{
	const struct filter *f = secure_layer(c);

	return f ? f->ops->tls->trust(f) : "";
}

const char *conn_tls_name(const struct conn *c)
{
	const struct filter *f = secure_layer(c);

	return f ? f->ops->tls->name(f) : "";
}

int conn_tls_binding(const struct conn *c, unsigned char out[32])
{
	const struct filter *f = secure_layer(c);

	return f ? f->ops->tls->binding(f, out) : -1;
}

int conn_tls_fingerprints(const struct conn *c, unsigned char cert[32], unsigned char key[32])
{
	const struct filter *f = secure_layer(c);

	return f ? f->ops->tls->fingerprints(f, cert, key) : -1;
}

int conn_tls_cert(const struct conn *c, const char *digest, struct tls_cert_facts *out)
{
	const struct filter *f = secure_layer(c);

	return f ? f->ops->tls->cert(f, digest, out) : -1;
}

/* --- events --- */

/* What the kernel shall tell. A hung-up descriptor that we do not want to read is not watched: it would be reported
 * for ever. */
static void update(struct conn *c)
{
	unsigned events = c->blocked ? LOOP_WRITE : 0u;

	if (c->failed)
		events = 0;
	else if (c->setup || c->top->want)
		events |= c->top->want ? c->top->want : LOOP_READ;
	if (conn_wants_input(c) || c->linger)
		events |= LOOP_READ;
	if (!c->w && events)
		c->w = loop_watch(c->l, c->fd, events, on_event, c);
	else if (c->w)
		watch_set(c->w, events);
	if (c->more && conn_wants_input(c))
		conn_post(c);
}

/* The end of conn_finish: wait for the peer's end, so that the kernel does not turn our last words into a reset. */
static bool discard_to_end(struct conn *c)
{
	char *p = loop_scratch(c->l);
	ssize_t n = read(c->fd, p, LOOP_SCRATCH);

	if (n > 0)
		c->discarded += (size_t)n;
	return n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR) || c->discarded > DISCARD_MAX;
}

static void step_finish(struct conn *c)
{
	int left = c->linger ? 0 : conn_push_end(c);

	if (!left)
		c->linger = true;
	if (c->failed || c->deadline_at == 0 || (c->linger && discard_to_end(c)))
		conn_free(&(struct conn *){ c });
	else
		update(c);
}

static bool drained(struct conn *c, int left)
{
	bool due = left ? c->over_mark && conn_out_pending(c) <= c->lim.out_high / 2 : c->wrote;

	if (due)
		c->over_mark = false;
	if (!left)
		c->wrote = false;
	return due;
}

/* Once per round for each connection that something happened to. */
static void on_task(void *ctx)
{
	struct conn *c = ctx;

	if (c->finishing) {
		step_finish(c);
		return;
	}
	int left = c->failed ? 1 : c->shut ? conn_push_end(c) : conn_push_out(c);
	if (c->failed) {
		update(c);
		if (!c->told) {
			c->told = true;
			conn_deliver(c, CONN_EV_ERROR);
		}
		return;
	}
	if (drained(c, left))
		conn_deliver(c, CONN_EV_DRAINED);
	if (c->dead)
		return;
	if (c->starved && !conn_above_mark(c))
		c->redeliver = true;
	if (c->redeliver && !c->paused && !c->setup && !c->next) {
		c->redeliver = c->starved = false;
		if (c->in.n)
			conn_deliver(c, CONN_EV_DATA);
	}
	if (!c->dead && c->setup)
		run_setup(c);
	else if (!c->dead && c->more && conn_wants_input(c))
		conn_read(c);
	if (c->dead)
		return;
	conn_settle(c);
	update(c);
}

static void on_event(void *ctx, unsigned events)
{
	struct conn *c = ctx;

	if (c->finishing || c->failed) {
		conn_post(c);
	} else if (c->setup) {
		run_setup(c);
	} else {
		/* What waits for room to write does so in the task. */
		if (c->blocked || c->top->want)
			conn_post(c);
		c->top->want = 0; /* the next read or write says it anew */
		if (conn_wants_input(c))
			conn_read(c);
		else if (events & LOOP_HUP)
			watch_del(&c->w);
	}
	if (c->dead)
		return;
	if (c->failed && c->w)
		watch_del(&c->w);
	if (!c->finishing && c->w)
		update(c);
}

/* --- time --- */

static uint64_t soonest(const struct conn *c)
{
	uint64_t at = UINT64_MAX;

	if (c->idle_at)
		at = c->idle_at;
	if (c->deadline_at && c->deadline_at < at)
		at = c->deadline_at;
	if (c->setup_at && c->setup_at < at)
		at = c->setup_at;
	return at;
}

static void on_timer(void *ctx)
{
	struct conn *c = ctx;
	uint64_t now = loop_now(c->l);

	c->timer_at = 0;
	if (c->setup_at && c->setup_at <= now) {
		c->setup_at = 0;
		conn_fail(c, "TLS handshake timed out");
	}
	bool late = c->deadline_at && c->deadline_at <= now;
	bool idle = c->idle_at && c->idle_at <= now;
	if (late)
		c->deadline_at = 0;
	if (idle)
		c->idle_at = 0;
	if (late && c->finishing) {
		conn_free(&c);
		return;
	}
	if ((late || idle) && !c->failed)
		conn_deliver(c, CONN_EV_TIMEOUT);
	if (!c->dead)
		arm(c);
}

/* Input moves idle_at without touching the timer: it fires early, looks, and is armed again. */
static void arm(struct conn *c)
{
	uint64_t at = soonest(c), now = clock_mono_ms();

	if (at == UINT64_MAX || (c->timer_at && c->timer_at <= at))
		return;
	c->timer_at = at;
	uint64_t after = at > now ? at - now : 0;
	if (c->timer)
		timer_again(c->timer, after);
	else
		c->timer = loop_timer(c->l, after, on_timer, c);
}

void conn_idle(struct conn *c, uint64_t ms)
{
	c->idle_ms = ms;
	c->idle_at = ms ? clock_mono_ms() + ms : 0;
	arm(c);
}

void conn_deadline(struct conn *c, uint64_t ms)
{
	c->deadline_at = ms ? clock_mono_ms() + ms : 0;
	arm(c);
}

void conn_finish(struct conn **cp, uint64_t linger_ms)
{
	struct conn *c = *cp;

	if (!c)
		return;
	*cp = NULL;
	if (c->dead)
		return;
	if (c->failed) {
		conn_free(&c);
		return;
	}
	c->fn = NULL;
	c->in.n = 0;
	c->idle_ms = c->idle_at = 0;
	free_filters(c->next); /* a layer that nobody will use */
	c->next = NULL;
	c->finishing = c->shut = true;
	(void)loop_finishing(c->l, 1);
	conn_deadline(c, linger_ms);
	conn_post(c);
}

void conn_when_finished(struct loop *l, timer_fn *fn, void *ctx)
{
	loop_when_finished(l, fn, ctx);
}
