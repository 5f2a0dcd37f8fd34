/* The client's half of lib/ipc/dns.def. A question waits in one of two lists: waiting (there is no channel yet) and pending (sent). */
#include "dns/client.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/list.h"
#include "base/map.h"
#include "dns/cache.h"
#include "ipc/dns.h"

enum { KNOWN_KEY_MAX = 300 };

struct dns_ask {
	struct list node;
	struct dns_client *d;
	uint32_t id;		/* 0: not sent */
	struct timer *deadline;
	char *name;
	unsigned type;
	dns_fn *fn;
	void *ctx;
};

struct dns_client {
	struct loop *loop;
	struct ipc_chan *chan;
	dns_open_fn *open;
	void *ctx;
	bool opening;
	struct list waiting;
	struct map *pending;	/* id -> struct dns_ask */
	size_t n;
	struct dns_cache *known;	/* NULL: nothing is remembered */
};

static struct str key(const uint32_t *id)
{
	return str_n(id, sizeof(*id));
}

/* As the caller spells the name: another spelling is another question. 0: not to be remembered. */
static size_t known_key(char *out, size_t size, struct str name, unsigned type)
{
	const int n = snprintf(out, size, "%u %.*s", type, STR_ARG(name));

	return n < 0 || (size_t)n >= size || memchr(name.p ? name.p : "", '\0', name.n) ? 0 : (size_t)n;
}

static void ask_free(struct dns_ask *q)
{
	list_del(&q->node);
	if (q->id)
		(void)map_del(q->d->pending, key(&q->id));
	q->d->n--;
	timer_del(&q->deadline);
	free(q->name);
	free(q);
}

void dns_forget(struct dns_ask **q)
{
	if (*q)
		ask_free(*q);
	*q = NULL;
}

static void answer_trouble(struct dns_ask *q, const char *why)
{
	const struct dns_answer a = { .result = DNS_TROUBLE, .why = str_c(why) };
	dns_fn *fn = q->fn;
	void *ctx = q->ctx;

	ask_free(q);
	fn(ctx, &a);
}

static void on_deadline(void *ctx)
{
	answer_trouble(ctx, "the dns process does not answer");
}

static void on_refused(void *ctx)
{
	answer_trouble(ctx, "the dns process cannot be asked");
}

/* Not from inside the caller's call. */
static void refuse_later(struct dns_ask *q)
{
	timer_del(&q->deadline);
	q->deadline = loop_timer(q->d->loop, 0, on_refused, q);
}

static struct dns_answer meaning(const struct ipc_dns_ANSWER *m)
{
	struct dns_answer a = { .ad = m->ad != 0, .ttl = (uint32_t)m->ttl, .canonical = m->canonical, .v = m->records.v, .n = m->records.n, .why = m->trouble };

	if (m->trouble.n > 0 || (m->rcode != DNS_RCODE_OK && m->rcode != DNS_RCODE_NO_NAME))
		return (struct dns_answer){ .result = DNS_TROUBLE, .why = m->trouble.n > 0 ? m->trouble : STR("the name server failed") };
	a.result = a.n > 0 ? DNS_HAS : m->rcode == DNS_RCODE_NO_NAME ? DNS_NO_SUCH : DNS_HAS_NONE;
	return a;
}

static void on_answer(void *ctx, struct ipc_chan *ch, uint16_t type, uint32_t id, void *msg, int fd)
{
	struct dns_client *d = ctx;
	const struct ipc_dns_ANSWER *m = msg;
	struct dns_ask *q = map_get(d->pending, key(&id));
	char text[KNOWN_KEY_MAX];
	size_t n;

	if (q == NULL)
		return;		/* forgotten meanwhile */
	const struct dns_answer a = meaning(m);
	if (d->known && a.result != DNS_TROUBLE && (n = known_key(text, sizeof(text), str_c(q->name), q->type)) > 0)
		dns_cache_put(d->known, str_n(text, n), m, clock_mono_ms());
	dns_fn *fn = q->fn;
	void *fn_ctx = q->ctx;
	ask_free(q);
	fn(fn_ctx, &a);
}

/* Callbacks may ask again or free other questions: the list is looked at anew each time, and what they add waits for a new channel. */
static void fail_list(struct dns_client *d, struct list *l)
{
	struct list own;

	list_init(&own);
	while (!list_empty(l)) {
		struct list *n = l->next;
		list_del(n);
		list_append(&own, n);
	}
	while (!list_empty(&own))
		answer_trouble(list_of(own.next, struct dns_ask, node), "the dns process has ended");
}

static void on_closed(void *ctx, struct ipc_chan *ch, const struct err *why)
{
	struct dns_client *d = ctx;
	struct list sent;
	struct str k;
	size_t it = 0;
	void *v;

	ipc_chan_free(&d->chan);
	list_init(&sent);
	while (map_next(d->pending, &it, &k, &v))
		list_append(&sent, &((struct dns_ask *)v)->node);
	fail_list(d, &sent);
}

static void send_one(struct dns_client *d, struct dns_ask *q)
{
	struct ipc_dns_QUERY m = { .name = str_c(q->name), .type = q->type };
	struct err e = { 0 };

	list_del(&q->node);
	q->id = ipc_next_id(d->chan);
	if (map_get(d->pending, key(&q->id)) || ipc_send(d->chan, IPC_dns_QUERY, &m, q->id, -1, &e) < 0) {
		q->id = 0;
		refuse_later(q);
	} else {
		(void)map_set(d->pending, key(&q->id), q);
	}
}

void dns_client_attach(struct dns_client *d, int fd)
{
	static const uint16_t types[] = { IPC_dns_ANSWER };

	d->opening = false;
	if (fd < 0) {
		fail_list(d, &d->waiting);
		return;
	}
	ipc_chan_free(&d->chan);
	d->chan = ipc_chan_new(d->loop, fd, &ipc_dns, on_answer, on_closed, d);
	ipc_chan_waiting_max(d->chan, IPC_GROUP_WAITING_MAX);
	ipc_chan_allow(d->chan, (struct ipc_allow){ types, ARRAY_LEN(types) });
	while (!list_empty(&d->waiting))
		send_one(d, list_of(d->waiting.next, struct dns_ask, node));
}

struct dns_client *dns_client_new(struct loop *l, int fd, dns_open_fn *open, void *ctx)
{
	struct dns_client *d = xzalloc(sizeof(*d));

	d->loop = l;
	d->open = open;
	d->ctx = ctx;
	d->pending = map_new();
	list_init(&d->waiting);
	if (fd >= 0)
		dns_client_attach(d, fd);
	return d;
}

void dns_client_free(struct dns_client **dp)
{
	struct dns_client *d = *dp;
	struct str k;
	void *v;

	*dp = NULL;
	if (d == NULL)
		return;
	ipc_chan_free(&d->chan);
	for (size_t it = 0; map_next(d->pending, &it, &k, &v); it = 0)
		ask_free(v);
	while (!list_empty(&d->waiting))
		ask_free(list_of(d->waiting.next, struct dns_ask, node));
	map_free(&d->pending);
	dns_cache_free(&d->known);
	free(d);
}

void dns_client_remember(struct dns_client *d, size_t entries_max, size_t bytes_max)
{
	d->known = dns_cache_new(entries_max, bytes_max);
}

bool dns_known(struct dns_client *d, struct str name, unsigned type, struct dns_answer *out)
{
	struct ipc_dns_ANSWER m;
	char text[KNOWN_KEY_MAX];
	const size_t n = d->known ? known_key(text, sizeof(text), name, type) : 0;

	if (n == 0 || !dns_cache_get(d->known, str_n(text, n), clock_mono_ms(), &m))
		return false;
	*out = meaning(&m);
	return true;
}

/* There is a channel, or one is on its way. */
static bool reachable(struct dns_client *d)
{
	int fd = -1;

	if (d->chan || d->opening)
		return true;
	if (d->open == NULL || d->open(d->ctx, &fd) < 0)
		return false;
	d->opening = true;
	if (fd >= 0)
		dns_client_attach(d, fd);
	return true;
}

struct dns_ask *dns_ask(struct dns_client *d, struct str name, unsigned type, dns_fn *fn, void *ctx)
{
	struct dns_ask *q = xzalloc(sizeof(*q));

	q->d = d;
	q->name = xstrndup(name.p ? name.p : "", name.n);
	q->type = type;
	q->fn = fn;
	q->ctx = ctx;
	list_init(&q->node);
	q->deadline = loop_timer(d->loop, DNS_ASK_MS, on_deadline, q);
	if (++d->n > DNS_ASKS_MAX || !reachable(d))
		refuse_later(q);
	else if (d->chan)
		send_one(d, q);
	else
		list_append(&d->waiting, &q->node);
	return q;
}
