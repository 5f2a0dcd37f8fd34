/* c-ares on the loop: which server, which port, again, over TCP when an answer was cut. Queries are ours (with EDNS and the AD bit), and so is the reading of
 * answers: of c-ares' own parsers only those that it needs itself see foreign bytes. */
#include <ares.h>
#include <stdlib.h>

#include "base/arena.h"
#include "base/buf.h"
#include "deliver/dns/dns.h"

enum { TRIES = 3, FIRST_TIMEOUT_MS = 2000, SOCKETS_MAX = 64 };

struct resolver_ares {
	struct loop *loop;
	ares_channel chan;
	struct timer *timer;
	struct {
		ares_socket_t fd;
		struct watch *w;
	} socks[SOCKETS_MAX];
};

struct ares_job {
	resolver_ares_fn *fn;
	void *ctx;
};

static void on_timer(void *ctx);

static void arm(struct resolver_ares *r)
{
	struct timeval tv, *t = ares_timeout(r->chan, NULL, &tv);

	if (t == NULL || r->loop == NULL)
		return;
	const uint64_t ms = (uint64_t)t->tv_sec * 1000 + (uint64_t)t->tv_usec / 1000 + 1;
	if (r->timer)
		timer_again(r->timer, ms);
	else
		r->timer = loop_timer(r->loop, ms, on_timer, r);
}

static void on_timer(void *ctx)
{
	struct resolver_ares *r = ctx;

	timer_del(&r->timer);
	ares_process_fd(r->chan, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
	arm(r);
}

static void on_socket(void *ctx, unsigned events)
{
	struct resolver_ares *r = ctx;

	/* Which one it was c-ares finds out by itself: all its sockets are asked, there are few. */
	for (size_t i = 0; i < SOCKETS_MAX; i++)
		if (r->socks[i].w != NULL)
			ares_process_fd(r->chan, r->socks[i].fd, events & LOOP_WRITE ? r->socks[i].fd : ARES_SOCKET_BAD);
	arm(r);
}

static void socket_state(void *data, ares_socket_t fd, int readable, int writable)
{
	struct resolver_ares *r = data;
	const unsigned events = (readable ? LOOP_READ : 0u) | (writable ? LOOP_WRITE : 0u);
	size_t at = SOCKETS_MAX;

	for (size_t i = 0; i < SOCKETS_MAX; i++) {
		if (r->socks[i].w != NULL && r->socks[i].fd == fd) {
			if (events == 0)
				watch_del(&r->socks[i].w);
			else
				watch_set(r->socks[i].w, events);
			return;
		}
		if (r->socks[i].w == NULL && at == SOCKETS_MAX)
			at = i;
	}
	if (events == 0 || at == SOCKETS_MAX)
		return;
	r->socks[at].fd = fd;
	r->socks[at].w = loop_watch(r->loop, fd, events, on_socket, r);
}

static int set_servers(struct resolver_ares *r, const struct conf *conf)
{
	struct buf servers;
	int status = ARES_SUCCESS;

	buf_init(&servers, 4096);
	for (size_t i = 0; i < conf->dns_servers.n; i++)
		buf_printf(&servers, "%s%s", i ? "," : "", conf->dns_servers.v[i]);
	if (servers.n > 0)
		status = ares_set_servers_ports_csv(r->chan, servers.p);
	buf_fini(&servers);
	return status;
}

int resolver_ares_open(const struct conf *conf, struct resolver_ares **out, struct err *e)
{
	struct resolver_ares *r = xzalloc(sizeof(*r));
	char lookups[] = "b";
	struct ares_options o = {
		.flags = ARES_FLAG_EDNS, .tries = TRIES, .timeout = FIRST_TIMEOUT_MS, .lookups = lookups, .sock_state_cb = socket_state, .sock_state_cb_data = r,
	};
	int status = ares_library_init(ARES_LIB_INIT_ALL);

	if (status == ARES_SUCCESS)
		status = ares_init_options(&r->chan, &o, ARES_OPT_FLAGS | ARES_OPT_TRIES | ARES_OPT_TIMEOUTMS | ARES_OPT_LOOKUPS | ARES_OPT_SOCK_STATE_CB);
	if (status == ARES_SUCCESS)
		status = set_servers(r, conf);
	if (status != ARES_SUCCESS) {
		free(r);
		return err_set(e, ERR_CONF, 0, "dns_servers: %s", ares_strerror(status));
	}
	*out = r;
	return 0;
}

void resolver_ares_attach(struct resolver_ares *r, struct loop *l)
{
	r->loop = l;
}

static void on_answer(void *arg, int status, int timeouts, unsigned char *packet, int n)
{
	struct ares_job *j = arg;
	const struct ares_job own = *j;

	free(j);
	if (status == ARES_SUCCESS && n > 0)
		own.fn(own.ctx, str_n(packet, (size_t)n), NULL);
	else
		own.fn(own.ctx, (struct str){ 0 }, status == ARES_SUCCESS ? "empty answer" : ares_strerror(status));
}

void resolver_ares_ask(struct resolver_ares *r, struct str query, resolver_ares_fn *fn, void *ctx)
{
	struct ares_job *j = xzalloc(sizeof(*j));
	const void *bytes = query.p;

	j->fn = fn;
	j->ctx = ctx;
	ares_send(r->chan, bytes, (int)query.n, on_answer, j);
	arm(r);
}
