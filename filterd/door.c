/* See door.h. */
#include "door.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/list.h"
#include "log/log.h"
#include "os/os.h"

enum { IN_MAX = 256 << 10, OUT_HIGH = 256 << 10, HEAD_KEPT_MAX = 1 << 20, LINGER_MS = 2000, ACCEPT_PAUSE_MS = 100 };

struct door_entry {
	struct list node;
	struct door_conn c;
	bool ended;		/* its client sends no more, and may still read */
};

struct door {
	struct loop *loop;
	const struct conf *conf;
	const struct door_protocol *protocol;
	struct ipc_chan *monitor;
	struct list conns;
	size_t n;
	uint64_t bytes;		/* of all messages held */
	uint64_t seq;
	struct watch *accepting[DOOR_LISTENERS_MAX];
	bool draining;
	struct timer *end;
};

struct door_listener {
	struct door *door;
	int fd;
	bool teach;
	struct watch **watch;
	struct timer *pause;
};

const char *door_name(const struct door_protocol *p)
{
	return p->name;
}

/* --- listeners --- */

static int listen_one(const char *where, gid_t gid, int *fd_out, struct err *e)
{
	struct str s = str_c(where);
	char host[CONF_HOST_MAX];
	uint16_t port;
	if (str_starts(s, STR("unix:"))) {
		*fd_out = sock_unix_listen(where + 5, SOCK_STREAM, 0660, 0, gid, e);
		return *fd_out < 0 ? -1 : 0;
	}
	if (str_starts(s, STR("inet:")))
		s = str_from(s, 5);
	if (conf_host_port(s, host, &port, e) < 0)
		return -1;
	return sock_tcp_listen(host, port, fd_out, e);
}

int door_listen(struct conf_list where, gid_t gid, struct door_set *out, struct err *e)
{
	if (where.n > DOOR_LISTENERS_MAX - out->n)
		return err_set(e, ERR_CONF, 0, "more than %d addresses", DOOR_LISTENERS_MAX);
	for (size_t i = 0; i < where.n; i++, out->n++)
		if (listen_one(where.v[i], gid, &out->fds[out->n], e) < 0)
			return -1;
	return 0;
}

bool door_is_at(int fd, const char *where)
{
	struct str s = str_c(where);
	char host[CONF_HOST_MAX];
	struct sockaddr_un un = { 0 };
	socklen_t n = sizeof(un);
	uint16_t port;

	if (str_starts(s, STR("unix:")))
		return getsockname(fd, (struct sockaddr *)&un, &n) == 0 && un.sun_family == AF_UNIX && strncmp(un.sun_path, where + 5, sizeof(un.sun_path)) == 0;
	if (str_starts(s, STR("inet:")))
		s = str_from(s, 5);
	return conf_host_port(s, host, &port, NULL) == 0 && sock_is_at(fd, host, port);
}

static bool is_at_any(int fd, struct conf_list where)
{
	for (size_t i = 0; i < where.n; i++)
		if (door_is_at(fd, where.v[i]))
			return true;
	return false;
}

void door_passed(struct conf_list where, struct door_set *out, void (*missing)(const char *param, const char *where), const char *param)
{
	size_t kept = 0;

	for (size_t i = 0; i < where.n; i++) {
		bool there = false;
		for (size_t k = 0; k < out->n; k++)
			there |= door_is_at(out->fds[k], where.v[i]);
		if (!there)
			missing(param, where.v[i]);
	}
	for (size_t k = 0; k < out->n; k++) {
		if (is_at_any(out->fds[k], where))
			out->fds[kept++] = out->fds[k];
		else
			close(out->fds[k]);
	}
	out->n = kept;
}

/* --- the message --- */

static void head_reset(struct door_conn *c)
{
	buf_fini(&c->head);
	buf_init(&c->head, HEAD_KEPT_MAX);
}

void door_message_reset(struct door_conn *c)
{
	c->door->bytes -= c->size;
	c->size = 0;
	c->full = false;
	close_fd(&c->fd);
	head_reset(c);
}

void door_message_add(struct door_conn *c, struct str bytes)
{
	struct door *d = c->door;
	if (c->full || bytes.n == 0)
		return;
	if (c->fd < 0)
		c->fd = memfd_create("message", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	const uint64_t max = d->conf->message_size_limit;
	struct err e = { 0 };
	if (c->fd < 0 || bytes.n > max - c->size || bytes.n > max * DOOR_BYTES_FACTOR - d->bytes || write_all(c->fd, bytes.p, bytes.n, &e) < 0) {
		c->full = true;
		return;
	}
	c->size += bytes.n;
	d->bytes += bytes.n;
	if (c->head.n < HEAD_KEPT_MAX)
		buf_str(&c->head, str_sub(bytes, 0, HEAD_KEPT_MAX - 1 - c->head.n));
}

static struct door_entry *find(struct door *d, uint32_t id)
{
	list_each(it, &d->conns) {
		struct door_entry *x = list_of(it, struct door_entry, node);
		if (x->c.asked == id)
			return x;
	}
	return NULL;
}

void door_ask(struct door_conn *c, struct ipc_filter_SCAN *m)
{
	struct door *d = c->door;
	struct err e = { 0 };
	char qid[24];
	if (m->qid.n == 0) {
		snprintf(qid, sizeof(qid), "%s%llu", d->protocol->name, (unsigned long long)++d->seq);
		m->qid = str_c(qid);
	}
	m->size = c->size;
	c->n_asked = m->recipients.n;
	c->outcomes.n = 0;
	arena_reset(c->of_outcomes);
	c->asked = ipc_next_id(d->monitor);
	if (c->fd < 0)
		c->fd = memfd_create("message", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	/* A worker maps it: nobody may change it any more, and we could not either. */
	if (c->fd < 0 || fcntl(c->fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL) < 0 ||
	    ipc_send(d->monitor, IPC_filter_SCAN, m, c->asked, c->fd, &e) < 0) {
		log_error("%s: %s", d->protocol->name, e.code != 0 ? e.text : strerror(errno));
		c->asked = 0;
		d->protocol->verdict(c, NULL);
	}
}

bool door_count(struct door_conn *c, const struct ipc_filter_LISTS *m)
{
	struct door *d = c->door;
	struct err e = { 0 };
	const uint32_t id = ipc_next_id(d->monitor);
	if (ipc_send(d->monitor, IPC_filter_LISTS, m, id, -1, &e) < 0) {
		log_error("%s: %s", d->protocol->name, e.text);
		return false;
	}
	c->asked = id;
	c->counting = true;
	return true;
}

static void on_end(void *ctx)
{
	(void)ctx;
	_exit(0);
}

/* What was written last still leaves. */
static void end_when_drained(struct door *d)
{
	if (d->draining && d->n == 0 && d->end == NULL)
		d->end = loop_timer(d->loop, LINGER_MS, on_end, NULL);
}

static void drain(struct door *d)
{
	d->draining = true;
	for (size_t i = 0; i < ARRAY_LEN(d->accepting); i++)
		watch_del(&d->accepting[i]);
	end_when_drained(d);
}

/* After an answer: what came meanwhile. */
static void go_on(struct door_entry *x)
{
	if (x->c.conn != NULL && x->c.asked == 0)
		x->c.door->protocol->data(&x->c);
	if (x->c.conn != NULL && x->c.asked == 0 && x->ended)
		door_close(&x->c);
}

static void on_verdict(void *ctx, struct ipc_chan *ch, uint16_t type, uint32_t id, void *msg, int fd)
{
	struct door *d = ctx;
	(void)ch;
	close_fd(&fd);
	if (type == IPC_filter_DRAIN) {
		drain(d);
		return;
	}
	struct door_entry *x = id == 0 ? NULL : find(d, id);
	struct err e = { 0 };
	if (x == NULL || x->c.counting != (type == IPC_filter_COUNT))
		return;		/* its client has gone */
	if (x->c.counting) {
		x->c.counting = false;
		x->c.asked = 0;
		d->protocol->counted(&x->c, ((const struct ipc_filter_COUNT *)msg)->lists);
		go_on(x);
		return;
	}
	const int r = filter_outcomes_add(&x->c.outcomes, x->c.of_outcomes, x->c.n_asked, msg, &e);
	if (r > 0)
		return;
	if (r < 0)
		log_error("%s: %s", d->protocol->name, e.text);
	x->c.asked = 0;
	d->protocol->verdict(&x->c, r < 0 ? NULL : &x->c.outcomes);
	go_on(x);
}

static void on_monitor_closed(void *ctx, struct ipc_chan *ch, const struct err *why)
{
	(void)ctx;
	(void)ch;
	(void)why;
	_exit(0);
}

/* --- connections --- */

static void entry_end(struct door_entry *x)
{
	struct door *d = x->c.door;
	list_del(&x->node);
	d->n--;
	d->protocol->end(&x->c);
	door_message_reset(&x->c);
	buf_fini(&x->c.head);
	arena_free(&x->c.of_outcomes);
	loop_free_later(d->loop, x->c.state);	/* the protocol may be at work with it */
	loop_free_later(d->loop, x);
	end_when_drained(d);
}

void door_close(struct door_conn *c)
{
	struct door_entry *x = (struct door_entry *)(void *)((char *)c - offsetof(struct door_entry, c));
	if (c->conn == NULL)
		return;
	conn_finish(&c->conn, LINGER_MS);
	entry_end(x);
}

static void on_event(void *ctx, struct conn *conn, enum conn_event ev)
{
	struct door_entry *x = ctx;
	(void)conn;
	switch (ev) {
	case CONN_EV_DATA:
		if (x->c.asked == 0)
			x->c.door->protocol->data(&x->c);
		break;
	case CONN_EV_DRAINED:
	case CONN_EV_SECURED:
		break;
	case CONN_EV_CLOSED:
		x->ended = true;
		if (x->c.asked == 0)
			x->c.door->protocol->data(&x->c);
		if (x->c.conn != NULL && x->c.asked == 0 && x->c.door->protocol->closed != NULL)
			x->c.door->protocol->closed(&x->c);
		if (x->c.conn != NULL && x->c.asked == 0)
			door_close(&x->c);
		break;
	case CONN_EV_TIMEOUT:
	case CONN_EV_ERROR:
		conn_free(&x->c.conn);
		entry_end(x);
		break;
	}
}

/* A UNIX socket's peer is whom its mode lets in. */
static bool may_enter(const struct door *d, int fd, char peer[46])
{
	uint8_t addr[16];
	uint16_t port;
	peer[0] = '\0';
	if (sock_peer_addr(fd, addr, peer, &port) < 0)
		return true;
	return conf_networks_have(d->conf->filter_clients, addr);
}

static void enter(const struct door_listener *l, int fd)
{
	struct door *d = l->door;
	static const struct conn_limits limits = { .in_max = IN_MAX, .out_high = OUT_HIGH };
	struct door_entry *x = xzalloc(sizeof(*x));
	if (!may_enter(d, fd, x->c.peer) || d->n >= DOOR_CONNS_MAX) {
		log_warning("%s: %s was refused: %s", d->protocol->name, x->c.peer, d->n >= DOOR_CONNS_MAX ? "too many connections" : "it is not in filter_clients");
		close(fd);
		free(x);
		return;
	}
	struct conn_limits lim = limits;
	lim.out_max = (size_t)(d->conf->message_size_limit * 2 + (1 << 20));
	x->c.door = d;
	x->c.teach = l->teach;
	x->c.conf = d->conf;
	x->c.fd = -1;
	x->c.of_outcomes = arena_new(DOOR_OUTCOMES_BYTES_MAX);
	x->c.state = xzalloc(d->protocol->state_size);
	buf_init(&x->c.head, HEAD_KEPT_MAX);
	list_append(&d->conns, &x->node);
	d->n++;
	x->c.conn = conn_new(d->loop, fd, &lim, on_event, x);
	conn_idle(x->c.conn, DOOR_IDLE_MS);
	if (d->protocol->begin != NULL)
		d->protocol->begin(&x->c);
}

static void on_pause_over(void *ctx)
{
	struct door_listener *l = ctx;
	timer_del(&l->pause);
	if (*l->watch != NULL)
		watch_set(*l->watch, LOOP_READ);
}

static void on_accept(void *ctx, unsigned events)
{
	struct door_listener *l = ctx;
	(void)events;
	const int fd = accept4(l->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (fd >= 0) {
		enter(l, fd);
	} else if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED) {
		log_error("%s: accept: %s", l->door->protocol->name, strerror(errno));
		watch_set(*l->watch, 0);
		if (l->pause == NULL)
			l->pause = loop_timer(l->door->loop, ACCEPT_PAUSE_MS, on_pause_over, l);
	}
}

void door_run(const struct conf *conf, const struct door_set *set, int sock)
{
	static const uint16_t may[] = { IPC_filter_VERDICT, IPC_filter_COUNT, IPC_filter_DRAIN };
	static struct door_listener listeners[DOOR_LISTENERS_MAX];
	struct door d = { .loop = loop_new(), .conf = conf, .protocol = set->protocol };
	list_init(&d.conns);
	d.monitor = ipc_chan_new(d.loop, sock, &ipc_filter, on_verdict, on_monitor_closed, &d);
	ipc_chan_allow(d.monitor, (struct ipc_allow){ may, ARRAY_LEN(may) });
	for (size_t i = 0; i < set->n; i++) {
		listeners[i] = (struct door_listener){ .door = &d, .fd = set->fds[i], .teach = set->teach[i], .watch = &d.accepting[i] };
		d.accepting[i] = loop_watch(d.loop, set->fds[i], LOOP_READ, on_accept, &listeners[i]);
	}
	loop_run(d.loop);
	_exit(0);
}
