/* The process "log: metrics": HTTP/1.0 enough for a scraper: one GET, one answer, closed. It holds listeners and the counters' page and nothing else. */
#include "log/main_metrics.h"

#include <grp.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/clock.h"
#include "io/loop.h"
#include "os/os.h"

enum { HEAD_MAX = 4096, CLIENTS_MAX = 32, CLIENT_MS = 5000, TEXT_MAX = 65536 };

struct server {
	struct loop *loop;
	const struct counters *counters;
	const struct gauges *gauges;
	unsigned clients;
};

struct client {
	struct server *s;
	int fd;
	struct watch *watch;
	struct timer *deadline;
	struct buf out;
	size_t n, sent;
	bool answered;		/* what still comes is not looked at */
	char head[HEAD_MAX];
};

struct entrance {
	struct server *s;
	int fd;
};

/* --- the text --- */

enum { GAUGES_OLD_S = 900 };	/* a very large queue is counted every few minutes */

static void put_gauge(struct buf *out, const char *name, const char *what, uint64_t value)
{
	buf_printf(out, "# HELP postern_%s %s\n# TYPE postern_%s gauge\npostern_%s %llu\n", name, what, name, name, (unsigned long long)value);
}

static void gauges_text(const struct gauges *g, int64_t now, struct buf *out)
{
	uint64_t values[GA_MAX_];
	const int64_t at = gauges_get(g, values);

	if (at == 0 || at < now - GAUGES_OLD_S)
		return;
	for (int i = 0; i < GA_MAX_; i++)
		put_gauge(out, gauge_name((enum gauge)i), gauge_what((enum gauge)i), values[i]);
	const uint64_t oldest = values[GA_queue_oldest_arrival_seconds];
	put_gauge(out, "queue_oldest_age_seconds", "how long that one has been here", oldest == 0 || (uint64_t)now < oldest ? 0 : (uint64_t)now - oldest);
	put_gauge(out, "queue_counted_seconds", "when the queue was counted", (uint64_t)at);
}

void metrics_text(const struct counters *c, const struct gauges *g, int64_t now, struct buf *out)
{
	buf_printf(out, "# HELP postern_build_info The running version.\n# TYPE postern_build_info gauge\npostern_build_info{version=\"%s\"} 1\n", POSTERN_VERSION);
	buf_printf(out, "# HELP postern_counting_since_seconds When the counters were zero.\n# TYPE postern_counting_since_seconds gauge\n"
			"postern_counting_since_seconds %lld\n", (long long)counters_since(c));
	for (int i = 0; i < EV_MAX_; i++)
		buf_printf(out, "# HELP postern_%s_total %s\n# TYPE postern_%s_total counter\npostern_%s_total %llu\n", event_name((enum event)i), event_what((enum event)i),
			   event_name((enum event)i), event_name((enum event)i), (unsigned long long)counter_total(c, (enum event)i));
	if (g)
		gauges_text(g, now, out);
}

unsigned metrics_request(struct str head)
{
	struct str rest = head, line, method, path;

	if (str_find(head, STR("\r\n\r\n")) < 0 && str_find(head, STR("\n\n")) < 0)
		return head.n >= HEAD_MAX ? 400 : 0;
	line = str_trim(str_split(&rest, '\n'));
	method = str_split(&line, ' ');
	path = str_split(&line, ' ');
	if (path.n == 0 || path.p[0] != '/' || !str_starts(line, STR("HTTP/1.")))
		return 400;
	if (!str_eq(method, STR("GET")))
		return 405;
	return str_eq(path, STR("/metrics")) || str_eq(path, STR("/")) ? 200 : 404;
}

static void put_answer(struct client *c, unsigned status)
{
	struct buf text;

	buf_init(&text, TEXT_MAX);
	if (status == 200)
		metrics_text(c->s->counters, c->s->gauges, clock_wall(), &text);
	else
		buf_printf(&text, "%u\n", status);
	buf_printf(&c->out, "HTTP/1.0 %u %s\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\nContent-Length: %zu\r\nConnection: close\r\n\r\n", status,
		   status == 200 ? "OK" : status == 404 ? "Not Found" : status == 405 ? "Method Not Allowed" : "Bad Request", text.n);
	buf_str(&c->out, buf_view(&text));
	buf_fini(&text);
}

/* --- clients --- */

static void client_end(struct client *c)
{
	watch_del(&c->watch);
	timer_del(&c->deadline);
	close_fd(&c->fd);
	buf_fini(&c->out);
	c->s->clients--;
	loop_free_later(c->s->loop, c);
}

static void on_deadline(void *ctx)
{
	client_end(ctx);
}

static bool client_read(struct client *c)
{
	const ssize_t n = recv(c->fd, c->head + (c->answered ? 0 : c->n), c->answered ? sizeof(c->head) : sizeof(c->head) - c->n, MSG_DONTWAIT);

	if (n <= 0)
		return false;
	if (c->answered)
		return true;
	c->n += (size_t)n;
	const unsigned status = metrics_request(str_n(c->head, c->n));

	if (status) {
		put_answer(c, status);
		watch_set(c->watch, LOOP_WRITE);
	}
	return true;
}

static bool client_write(struct client *c)
{
	const ssize_t n = send(c->fd, c->out.p + c->sent, c->out.n - c->sent, MSG_DONTWAIT | MSG_NOSIGNAL);

	if (n <= 0)
		return false;
	c->sent += (size_t)n;
	if (c->sent < c->out.n)
		return true;
	/* Closing with bytes unread would reset the connection, answer and all. */
	c->answered = true;
	watch_set(c->watch, LOOP_READ);
	return shutdown(c->fd, SHUT_WR) == 0;
}

static void on_client(void *ctx, unsigned events)
{
	struct client *c = ctx;

	if (c->out.n && !c->answered ? !client_write(c) : !client_read(c))
		client_end(c);
}

static void on_entrance(void *ctx, unsigned events)
{
	struct entrance *en = ctx;
	const int fd = accept4(en->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (fd < 0)
		return;
	if (en->s->clients == CLIENTS_MAX) {
		close(fd);
		return;
	}
	struct client *c = xzalloc(sizeof(*c));

	c->s = en->s;
	c->fd = fd;
	c->s->clients++;
	buf_init(&c->out, TEXT_MAX + 1024);
	c->watch = loop_watch(c->s->loop, fd, LOOP_READ, on_client, c);
	c->deadline = loop_timer(c->s->loop, CLIENT_MS, on_deadline, c);
}

static void on_signal(void *ctx, int signo)
{
	if (signo == SIGTERM)
		loop_stop(ctx);
}

void metrics_serve(const struct counters *counters, const struct gauges *gauges, const struct metrics_listener *l, size_t n)
{
	struct server s = { .loop = loop_new(), .counters = counters, .gauges = gauges };
	struct entrance entrances[METRICS_LISTENERS_MAX];

	loop_signal(s.loop, SIGTERM, on_signal, s.loop);
	loop_signal(s.loop, SIGHUP, on_signal, s.loop);
	for (size_t i = 0; i < n; i++) {
		entrances[i] = (struct entrance){ &s, l[i].fd };
		loop_watch(s.loop, l[i].fd, LOOP_READ, on_entrance, &entrances[i]);
	}
	loop_run(s.loop);
	loop_free(&s.loop);
}

/* --- listeners --- */

/* "127.0.0.1:9154", "[::1]:9154". */
static int parse_tcp(const char *text, char name[CONF_HOST_MAX], uint16_t *port_out, struct err *e)
{
	uint8_t addr[16];
	struct cidr v4, v6;

	if (conf_host_port(str_c(text), name, port_out, e) < 0)
		return err_wrap(e, "metrics_listeners");
	if (cidr_parse(STR("127.0.0.0/8"), &v4, e) < 0 || cidr_parse(STR("[::1]/128"), &v6, e) < 0)
		return -1;
	if (addr_parse(str_c(name), addr) < 0 || (!cidr_match(&v4, 1, addr) && !cidr_match(&v6, 1, addr)))
		return err_set(e, ERR_CONF, 0, "metrics_listeners: \"%s\": not a loopback address", text);
	return 0;
}

struct passed {
	struct listen_fd v[METRICS_LISTENERS_MAX];
	size_t n;
};

/* Takes the one at this address; -1: there is none. */
static int take_passed(struct passed *p, const char *host, uint16_t port)
{
	for (size_t i = 0; i < p->n; i++)
		if (p->v[i].fd >= 0 && sock_is_at(p->v[i].fd, host, port)) {
			const int fd = p->v[i].fd;
			p->v[i].fd = -1;
			return fd;
		}
	return -1;
}

/* passed NULL: bound here. *fd_out stays -1 when the service manager has none. */
static int listen_tcp(const char *text, struct passed *passed, int *fd_out, struct err *e)
{
	char host[CONF_HOST_MAX];
	uint16_t port;

	if (parse_tcp(text, host, &port, e) < 0)
		return -1;
	if (!passed)
		return sock_tcp_listen(host, port, fd_out, e);
	*fd_out = take_passed(passed, host, port);
	if (*fd_out < 0)
		dprintf(2, "log: metrics_listeners: the service manager has passed no socket of %s; systemctl daemon-reload, then systemctl restart postern.target\n", text);
	return 0;
}

static int listen_unix(const struct conf *c, int *fd_out, struct err *e)
{
	const struct group *gr = c->metrics_group[0] ? getgrnam(c->metrics_group) : NULL;
	char path[PATH_MAX];

	if (c->metrics_group[0] && !gr)
		return err_set(e, ERR_CONF, 0, "metrics_group: no group \"%s\"", c->metrics_group);
	(void)snprintf(path, sizeof(path), "%s/log/metrics", c->run_directory);
	*fd_out = sock_unix_listen(path, SOCK_STREAM, gr ? 0660 : 0600, gr ? 0 : (uid_t)-1, gr ? gr->gr_gid : (gid_t)-1, e);
	return *fd_out < 0 ? -1 : 0;
}

int metrics_listen(const struct conf *c, bool passed_only, struct metrics_listener out[METRICS_LISTENERS_MAX], size_t *n_out, struct err *e)
{
	struct passed passed = { .n = 0 };

	*n_out = 0;
	if (c->metrics_listeners.n >= METRICS_LISTENERS_MAX)
		return err_set(e, ERR_CONF, 0, "metrics_listeners: at most %d", METRICS_LISTENERS_MAX - 1);
	if (listen_unix(c, &out[0].fd, e) < 0 || listen_fds(passed.v, METRICS_LISTENERS_MAX, &passed.n, e) < 0)
		return -1;
	*n_out = 1;
	for (size_t i = 0; i < c->metrics_listeners.n; i++) {
		int fd = -1;
		if (listen_tcp(c->metrics_listeners.v[i], passed_only ? &passed : NULL, &fd, e) < 0)
			return -1;
		if (fd >= 0)
			out[(*n_out)++].fd = fd;
	}
	for (size_t i = 0; i < passed.n; i++)
		close_fd(&passed.v[i].fd);	/* of no address that is configured */
	return 0;
}
