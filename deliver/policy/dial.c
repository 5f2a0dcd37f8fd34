/* One attempt to reach a service: its addresses one after the other, within one deadline. */
#include "deliver/policy/dial.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "os/os.h"

enum { ADDRESSES_MAX = 8 };

union address {
	struct sockaddr any;
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;
	struct sockaddr_un un;
};

struct dial {
	struct loop *loop;
	struct dns_client *dns;
	struct dial_target target;
	union address v[ADDRESSES_MAX];
	socklen_t len[ADDRESSES_MAX];
	size_t n, next;
	struct dns_ask *ask;
	unsigned asked;			/* record type */
	int fd;
	struct watch *watch;
	struct timer *timer, *soon;
	char why[200];
	dialled_fn *fn;
	void *ctx;
};

/* --- the attempt --- */

static void try_next(struct dial *d);

static void stop(struct dial *d)
{
	watch_del(&d->watch);
	close_fd(&d->fd);
}

void dial_cancel(struct dial **dp)
{
	struct dial *d = *dp;

	*dp = NULL;
	if (d == NULL)
		return;
	stop(d);
	dns_forget(&d->ask);
	timer_del(&d->timer);
	timer_del(&d->soon);
	free(d);
}

static void end(struct dial *d, int fd)
{
	dialled_fn *fn = d->fn;
	void *ctx = d->ctx;
	char why[sizeof(d->why)];

	memcpy(why, d->why, sizeof(why));
	dial_cancel(&d);
	fn(ctx, fd, fd < 0 ? why : NULL);
}

static void on_writable(void *ctx, unsigned events)
{
	struct dial *d = ctx;
	int error = 0;
	socklen_t n = sizeof(error);

	watch_del(&d->watch);
	if (getsockopt(d->fd, SOL_SOCKET, SO_ERROR, &error, &n) < 0)
		error = errno;
	if (error == 0) {
		const int fd = d->fd;
		d->fd = -1;
		end(d, fd);
		return;
	}
	snprintf(d->why, sizeof(d->why), "connect: %s", strerror(error));
	close_fd(&d->fd);
	try_next(d);
}

static void try_next(struct dial *d)
{
	while (d->next < d->n) {
		const size_t i = d->next++;
		d->fd = socket(d->v[i].any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
		if (d->fd >= 0 && (connect(d->fd, &d->v[i].any, d->len[i]) == 0 || errno == EINPROGRESS)) {
			d->watch = loop_watch(d->loop, d->fd, LOOP_WRITE, on_writable, d);
			return;
		}
		snprintf(d->why, sizeof(d->why), "connect: %s", strerror(errno));
		close_fd(&d->fd);
	}
	end(d, -1);
}

static bool add(struct dial *d, const char *text)
{
	union address a = { 0 };
	socklen_t len = 0;

	if (inet_pton(AF_INET, text, &a.v4.sin_addr) == 1) {
		a.v4.sin_family = AF_INET;
		a.v4.sin_port = htons(d->target.port);
		len = sizeof(a.v4);
	} else if (inet_pton(AF_INET6, text, &a.v6.sin6_addr) == 1) {
		a.v6.sin6_family = AF_INET6;
		a.v6.sin6_port = htons(d->target.port);
		len = sizeof(a.v6);
	}
	if (len == 0 || d->n == ADDRESSES_MAX)
		return false;
	d->v[d->n] = a;
	d->len[d->n++] = len;
	return true;
}

static void on_names(void *ctx, const struct dns_answer *a)
{
	struct dial *d = ctx;
	char text[64];

	d->ask = NULL;
	for (size_t i = 0; a->result == DNS_HAS && i < a->n; i++) {
		snprintf(text, sizeof(text), "%.*s", STR_ARG(a->v[i]));
		(void)add(d, text);
	}
	if (a->result == DNS_TROUBLE)
		snprintf(d->why, sizeof(d->why), "%s: %.*s", d->target.host, STR_ARG(a->why));
	if (d->asked == DNS_A) {
		d->asked = DNS_AAAA;
		d->ask = dns_ask(d->dns, str_c(d->target.host), DNS_AAAA, on_names, d);
		return;
	}
	try_next(d);
}

static void on_soon(void *ctx)
{
	struct dial *d = ctx;

	timer_del(&d->soon);
	try_next(d);
}

static void on_timeout(void *ctx)
{
	struct dial *d = ctx;

	snprintf(d->why, sizeof(d->why), "connect: timed out");
	end(d, -1);
}

struct dial *dial(struct loop *l, struct dns_client *dns, const struct dial_target *t, uint64_t ms, dialled_fn *fn, void *ctx)
{
	struct dial *d = xzalloc(sizeof(*d));

	d->loop = l;
	d->dns = dns;
	d->target = *t;
	d->fd = -1;
	d->fn = fn;
	d->ctx = ctx;
	d->timer = loop_timer(l, ms, on_timeout, d);
	snprintf(d->why, sizeof(d->why), "no address of %s", t->host[0] ? t->host : t->path);
	if (t->host[0] == '\0') {
		d->v[0].un.sun_family = AF_UNIX;
		memcpy(d->v[0].un.sun_path, t->path, sizeof(t->path));
		d->len[0] = sizeof(d->v[0].un);
		d->n = 1;
	} else if (!add(d, t->host)) {
		d->asked = DNS_A;
		d->ask = dns_ask(dns, str_c(t->host), DNS_A, on_names, d);
		return d;
	}
	d->soon = loop_timer(l, 0, on_soon, d);
	return d;
}
