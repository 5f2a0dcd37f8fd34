/* MX, A and AAAA for remote, through c-ares on the loop. Answers are bounded and names in them checked before use (RFC 5321 5.1, RFC 7505). */
#include <ares.h>
#include <arpa/inet.h>
#include <arpa/nameser.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "deliver/remote_priv.h"
#include "smtp/addr.h"

enum { DNS_TRIES = 3, DNS_TIMEOUT_MS = 5000, DNS_SOCKETS_MAX = 64 };

struct dns {
	struct loop *loop;
	ares_channel chan;
	struct timer *timer;
	struct {
		ares_socket_t fd;
		struct watch *w;
		struct dns *d;
	} socks[DNS_SOCKETS_MAX];
};

struct query {
	struct dns *d;
	dns_mx_fn *mx;
	dns_addr_fn *addr;
	void *ctx;
	uint16_t port;
};

static void on_timer(void *ctx);

static void arm(struct dns *d)
{
	struct timeval tv, *t = ares_timeout(d->chan, NULL, &tv);

	if (t == NULL || d->loop == NULL)
		return;
	const uint64_t ms = (uint64_t)t->tv_sec * 1000 + (uint64_t)t->tv_usec / 1000 + 1;
	if (d->timer)
		timer_again(d->timer, ms);
	else
		d->timer = loop_timer(d->loop, ms, on_timer, d);
}

static void on_timer(void *ctx)
{
	struct dns *d = ctx;

	timer_del(&d->timer);
	ares_process_fd(d->chan, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
	arm(d);
}

static void on_socket(void *ctx, unsigned events)
{
	struct dns *d = ctx;

	/* Which one it was c-ares finds out by itself: all its sockets are asked, there are few. */
	for (size_t i = 0; i < DNS_SOCKETS_MAX; i++)
		if (d->socks[i].w != NULL)
			ares_process_fd(d->chan, d->socks[i].fd, events & LOOP_WRITE ? d->socks[i].fd : ARES_SOCKET_BAD);
	arm(d);
}

static void socket_state(void *data, ares_socket_t fd, int readable, int writable)
{
	struct dns *d = data;
	const unsigned events = (readable ? LOOP_READ : 0u) | (writable ? LOOP_WRITE : 0u);
	size_t at = DNS_SOCKETS_MAX;

	for (size_t i = 0; i < DNS_SOCKETS_MAX; i++) {
		if (d->socks[i].w != NULL && d->socks[i].fd == fd) {
			if (events == 0)
				watch_del(&d->socks[i].w);
			else
				watch_set(d->socks[i].w, events);
			return;
		}
		if (d->socks[i].w == NULL && at == DNS_SOCKETS_MAX)
			at = i;
	}
	if (events == 0 || at == DNS_SOCKETS_MAX)
		return;
	d->socks[at].fd = fd;
	d->socks[at].w = loop_watch(d->loop, fd, events, on_socket, d);
}

struct dns *dns_new(const struct conf *conf, struct err *e)
{
	struct dns *d = xzalloc(sizeof *d);
	char lookups[] = "b";
	struct ares_options o = { .tries = DNS_TRIES, .timeout = DNS_TIMEOUT_MS, .lookups = lookups, .sock_state_cb = socket_state, .sock_state_cb_data = d };
	struct buf servers;
	int r = ares_library_init(ARES_LIB_INIT_ALL);

	if (r == ARES_SUCCESS)
		r = ares_init_options(&d->chan, &o, ARES_OPT_TRIES | ARES_OPT_TIMEOUTMS | ARES_OPT_LOOKUPS | ARES_OPT_SOCK_STATE_CB);
	buf_init(&servers, 4096);
	for (size_t i = 0; i < conf->dns_servers.n; i++)
		buf_printf(&servers, "%s%s", i ? "," : "", conf->dns_servers.v[i]);
	if (r == ARES_SUCCESS && servers.n > 0)
		r = ares_set_servers_ports_csv(d->chan, servers.p);
	buf_fini(&servers);
	if (r != ARES_SUCCESS) {
		err_set(e, ERR_CONF, 0, "resolver: %s", ares_strerror(r));
		free(d);
		return NULL;
	}
	return d;
}

void dns_attach(struct dns *d, struct loop *l)
{
	d->loop = l;
}

static enum dns_status status_of(int r)
{
	switch (r) {
	case ARES_SUCCESS: return DNS_FOUND;
	case ARES_ENODATA: return DNS_NO_DATA;
	case ARES_ENOTFOUND:
	case ARES_EBADNAME: return DNS_NO_NAME;
	default: return DNS_TEMPORARY;
	}
}

static int by_pref(const void *a, const void *b)
{
	const struct dns_mx *x = a, *y = b;

	return x->pref < y->pref ? -1 : x->pref > y->pref;
}

static void got_mx(void *arg, int r, int timeouts, unsigned char *abuf, int alen)
{
	struct query *q = arg;
	struct ares_mx_reply *list = NULL;
	static struct dns_mx v[REMOTE_RECORDS_MAX];
	size_t n = 0;

	if (r == ARES_SUCCESS)
		r = ares_parse_mx_reply(abuf, alen, &list);
	for (struct ares_mx_reply *m = list; m != NULL && n < REMOTE_RECORDS_MAX; m = m->next) {
		/* RFC 7505: one record with an empty name: no mail. It is handed on as it is. */
		const struct str host = str_c(m->host);
		if (host.n > 0 && !smtp_domain_valid(host))
			continue;
		(void)snprintf(v[n].host, sizeof v[n].host, "%.*s", STR_ARG(host));
		v[n++].pref = m->priority;
	}
	ares_free_data(list);
	/* Equal preferences in random order (RFC 5321 5.1): shuffle, then a stable sort by insertion; n is small. */
	for (size_t i = n; i > 1; i--) {
		const size_t k = (size_t)(random_u64() % i);
		const struct dns_mx t = v[i - 1];
		v[i - 1] = v[k];
		v[k] = t;
	}
	if (n > 1)
		qsort(v, n, sizeof v[0], by_pref);
	const enum dns_status st = r == ARES_SUCCESS && n == 0 ? DNS_TEMPORARY : status_of(r);
	q->mx(q->ctx, st, v, n, r == ARES_SUCCESS ? "Malformed DNS server reply" : ares_strerror(r));
	free(q);
}

void dns_mx(struct dns *d, const char *domain, dns_mx_fn *fn, void *ctx)
{
	struct query *q = xzalloc(sizeof *q);

	*q = (struct query){ .d = d, .mx = fn, .ctx = ctx };
	ares_query(d->chan, domain, ns_c_in, ns_t_mx, got_mx, q);
	arm(d);
}

static void fill(struct dns_addr *a, const struct sockaddr *sa, uint16_t port)
{
	*a = (struct dns_addr){ 0 };
	if (sa->sa_family == AF_INET) {
		struct sockaddr_in *in = (struct sockaddr_in *)&a->sa;
		memcpy(in, sa, sizeof *in);
		in->sin_port = htons(port);
		a->len = sizeof *in;
		(void)inet_ntop(AF_INET, &in->sin_addr, a->text, sizeof a->text);
	} else {
		struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)&a->sa;
		memcpy(in6, sa, sizeof *in6);
		in6->sin6_port = htons(port);
		a->len = sizeof *in6;
		(void)inet_ntop(AF_INET6, &in6->sin6_addr, a->text, sizeof a->text);
	}
}

static void got_addrs(void *arg, int r, int timeouts, struct ares_addrinfo *res)
{
	struct query *q = arg;
	static struct dns_addr v[REMOTE_ADDRS_MAX];
	size_t n = 0;

	/* IPv6 first: where there is no route, connect() says so at once. */
	for (int pass = 0; pass < 2 && r == ARES_SUCCESS; pass++)
		for (struct ares_addrinfo_node *a = res->nodes; a != NULL && n < REMOTE_ADDRS_MAX; a = a->ai_next)
			if (a->ai_family == (pass == 0 ? AF_INET6 : AF_INET))
				fill(&v[n++], a->ai_addr, q->port);
	if (res != NULL)
		ares_freeaddrinfo(res);
	q->addr(q->ctx, r == ARES_SUCCESS && n == 0 ? DNS_NO_DATA : status_of(r), v, n, ares_strerror(r));
	free(q);
}

int dns_numeric(const char *host, uint16_t port, struct dns_addr *out)
{
	struct sockaddr_in in = { .sin_family = AF_INET };
	struct sockaddr_in6 in6 = { .sin6_family = AF_INET6 };

	if (str_case_starts(str_c(host), STR("IPv6:")))
		host += 5;
	if (inet_pton(AF_INET, host, &in.sin_addr) == 1)
		fill(out, (struct sockaddr *)&in, port);
	else if (inet_pton(AF_INET6, host, &in6.sin6_addr) == 1)
		fill(out, (struct sockaddr *)&in6, port);
	else
		return -1;
	return 0;
}

void dns_addrs(struct dns *d, const char *host, uint16_t port, dns_addr_fn *fn, void *ctx)
{
	struct ares_addrinfo_hints hints = { .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = ARES_AI_NOSORT };
	struct dns_addr a[2];

	if (dns_numeric(host, port, &a[0]) == 0) {
		fn(ctx, DNS_FOUND, a, 1, "");
		return;
	}
	if (str_case_eq(str_c(host), STR("localhost"))) {	/* RFC 6761 6.3 */
		const bool ok = dns_numeric("::1", port, &a[0]) == 0 && dns_numeric("127.0.0.1", port, &a[1]) == 0;
		fn(ctx, ok ? DNS_FOUND : DNS_TEMPORARY, a, ok ? 2 : 0, "");
		return;
	}
	struct query *q = xzalloc(sizeof *q);
	*q = (struct query){ .d = d, .addr = fn, .ctx = ctx, .port = port };
	ares_getaddrinfo(d->chan, host, NULL, &hints, got_addrs, q);
	arm(d);
}
