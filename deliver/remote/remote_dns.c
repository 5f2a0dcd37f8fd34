/* Next hops' names: MX, A, AAAA and TLSA, asked of the dns process (lib/dns/client.h). Names in answers are checked before use (RFC 5321 5.1, RFC 7505). */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/enc.h"
#include "base/num.h"
#include "deliver/remote/remote_priv.h"
#include "dns/client.h"
#include "smtp/addr.h"

struct names {
	struct dns_client *dns;
	bool v4_first, v4, v6;
};

struct names *names_new(const struct conf *conf, struct loop *l, int dns_fd)
{
	struct names *d = xzalloc(sizeof *d);

	d->dns = dns_client_new(l, dns_fd, NULL, NULL);
	d->v4_first = str_eq(str_c(conf->smtp_address_preference), STR("ipv4"));
	d->v4 = conf_protocol(conf, AF_INET);
	d->v6 = conf_protocol(conf, AF_INET6);
	return d;
}

static enum names_status status_of(const struct dns_answer *a)
{
	switch (a->result) {
	case DNS_HAS: return NAMES_FOUND;
	case DNS_HAS_NONE: return NAMES_NO_DATA;
	case DNS_NO_SUCH: return NAMES_NO_NAME;
	default: return NAMES_TEMPORARY;
	}
}

/* For a log line. */
static const char *why_of(const struct dns_answer *a, char out[200])
{
	(void)snprintf(out, 200, "%.*s", STR_ARG(a->why));
	return out;
}

/* --- MX --- */

struct mx_query {
	mx_fn *fn;
	void *ctx;
};

static int by_pref(const void *a, const void *b)
{
	const struct mx *x = a, *y = b;

	return x->pref < y->pref ? -1 : x->pref > y->pref;
}

/* "10 mx.example.com"; "0 ." is the null MX (RFC 7505), which is handed on as an empty name. -1: no name that can be used. */
static int take_mx(struct str text, struct mx *out)
{
	uint64_t pref;
	struct str host = text;
	const struct str number = str_split(&host, ' ');

	if (num_parse(number, 0, UINT16_MAX, &pref) < 0 || host.n > 255)
		return -1;
	if (str_eq(host, STR(".")))
		host = STR("");
	else if (!smtp_domain_valid(host))
		return -1;
	out->pref = (uint16_t)pref;
	(void)snprintf(out->host, sizeof out->host, "%.*s", STR_ARG(host));
	return 0;
}

static void got_mx(void *ctx, const struct dns_answer *a)
{
	static struct mx v[NAMES_MX_MAX];
	struct mx_query *q = ctx;
	const enum names_status st = status_of(a);
	char why[200];
	size_t n = 0;

	for (size_t i = 0; st == NAMES_FOUND && i < a->n && n < NAMES_MX_MAX; i++)
		n += take_mx(a->v[i], &v[n]) == 0;
	/* Equal preferences in random order (RFC 5321 5.1): shuffle, then sort; equals end up in any order. */
	for (size_t i = n; i > 1; i--) {
		const size_t k = (size_t)(random_u64() % i);
		const struct mx t = v[i - 1];
		v[i - 1] = v[k];
		v[k] = t;
	}
	if (n > 1)
		qsort(v, n, sizeof v[0], by_pref);
	const bool useless = st == NAMES_FOUND && n == 0;
	q->fn(q->ctx, useless ? NAMES_TEMPORARY : st, v, n, a->ad, useless ? "no usable name in the MX records" : why_of(a, why));
	free(q);
}

void names_mx(struct names *d, const char *domain, mx_fn *fn, void *ctx)
{
	struct mx_query *q = xzalloc(sizeof *q);

	*q = (struct mx_query){ .fn = fn, .ctx = ctx };
	(void)dns_ask(d->dns, str_c(domain), DNS_MX, got_mx, q);
}

/* --- addresses: A and AAAA together, as inet_protocols says --- */

static void fill(struct address *a, const struct sockaddr *sa, uint16_t port)
{
	*a = (struct address){ 0 };
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

int names_numeric(const char *host, uint16_t port, struct address *out)
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

struct address_query {
	address_fn *fn;
	void *ctx;
	uint16_t port;
	bool v4_first;
	struct address v4[REMOTE_ADDRS_MAX], v6[REMOTE_ADDRS_MAX];
	size_t n4, n6, waiting;
	bool secure, temporary, exists;
	char why[200];
};

/* Alternating, so that a family without a route costs one attempt; where there is no route at all, connect() says so at once. */
static size_t merge(const struct address_query *q, struct address *out)
{
	const struct address *first = q->v4_first ? q->v4 : q->v6, *second = q->v4_first ? q->v6 : q->v4;
	const size_t n1 = q->v4_first ? q->n4 : q->n6, n2 = q->v4_first ? q->n6 : q->n4;
	size_t n = 0;

	for (size_t i = 0; (i < n1 || i < n2) && n < REMOTE_ADDRS_MAX; i++) {
		if (i < n1)
			out[n++] = first[i];
		if (i < n2 && n < REMOTE_ADDRS_MAX)
			out[n++] = second[i];
	}
	return n;
}

static void one_family(struct address_query *q, const struct dns_answer *a, int family, struct address *v, size_t *n)
{
	struct address all[REMOTE_ADDRS_MAX];
	enum names_status st = status_of(a);
	char host[64];

	for (size_t i = 0; st == NAMES_FOUND && i < a->n && *n < REMOTE_ADDRS_MAX; i++) {
		(void)snprintf(host, sizeof host, "%.*s", STR_ARG(a->v[i]));
		*n += names_numeric(host, q->port, &v[*n]) == 0 && v[*n].sa.ss_family == family;
	}
	if (st == NAMES_FOUND)
		q->secure = q->secure && a->ad;
	q->temporary |= st == NAMES_TEMPORARY;
	q->exists |= st != NAMES_NO_NAME;
	if (st != NAMES_FOUND)
		(void)why_of(a, q->why);
	if (--q->waiting > 0)
		return;
	const size_t total = merge(q, all);
	st = total > 0 ? NAMES_FOUND : q->temporary ? NAMES_TEMPORARY : q->exists ? NAMES_NO_DATA : NAMES_NO_NAME;
	q->fn(q->ctx, st, all, total, q->secure && total > 0, q->why);
	free(q);
}

static void got_a(void *ctx, const struct dns_answer *a)
{
	struct address_query *q = ctx;

	one_family(q, a, AF_INET, q->v4, &q->n4);
}

static void got_aaaa(void *ctx, const struct dns_answer *a)
{
	struct address_query *q = ctx;

	one_family(q, a, AF_INET6, q->v6, &q->n6);
}

void names_addresses(struct names *d, const char *host, uint16_t port, address_fn *fn, void *ctx)
{
	struct address a[2];

	if (names_numeric(host, port, &a[0]) == 0) {
		fn(ctx, NAMES_FOUND, a, 1, false, "");
		return;
	}
	if (str_case_eq(str_c(host), STR("localhost"))) {	/* RFC 6761 6.3 */
		size_t n = 0;
		n += d->v6 && names_numeric("::1", port, &a[n]) == 0;
		n += d->v4 && names_numeric("127.0.0.1", port, &a[n]) == 0;
		fn(ctx, NAMES_FOUND, a, n, false, "");
		return;
	}
	struct address_query *q = xzalloc(sizeof *q);
	*q = (struct address_query){ .fn = fn, .ctx = ctx, .port = port, .v4_first = d->v4_first, .waiting = (size_t)d->v4 + d->v6, .secure = true };
	if (d->v4)
		(void)dns_ask(d->dns, str_c(host), DNS_A, got_a, q);
	if (d->v6)
		(void)dns_ask(d->dns, str_c(host), DNS_AAAA, got_aaaa, q);
}

/* --- TLSA (RFC 7672 2.2) --- */

struct tlsa_query {
	tlsa_fn *fn;
	void *ctx;
};

/* "usage selector matching hex" */
static int take_tlsa(struct str text, struct tls_tlsa *out)
{
	uint64_t numbers[3];
	struct str rest = text;
	struct buf data;

	for (size_t i = 0; i < ARRAY_LEN(numbers); i++)
		if (num_parse(str_split(&rest, ' '), 0, UINT8_MAX, &numbers[i]) < 0)
			return -1;
	*out = (struct tls_tlsa){ .usage = (uint8_t)numbers[0], .selector = (uint8_t)numbers[1], .matching = (uint8_t)numbers[2] };
	buf_init(&data, TLS_TLSA_MAX);
	const int r = hex_decode(&data, rest);
	if (r == 0 && data.n > 0) {
		memcpy(out->data, data.p, data.n);
		out->n = data.n;
	}
	buf_fini(&data);
	return r == 0 && out->n > 0 ? 0 : -1;
}

static void got_tlsa(void *ctx, const struct dns_answer *a)
{
	struct tlsa_query *q = ctx;
	static struct tls_tlsa v[REMOTE_TLSA_MAX];
	size_t n = 0;

	for (size_t i = 0; a->result == DNS_HAS && i < a->n && n < REMOTE_TLSA_MAX; i++)
		n += take_tlsa(a->v[i], &v[n]) == 0;
	q->fn(q->ctx, status_of(a), v, n, a->ad);
	free(q);
}

void names_tlsa(struct names *d, const char *host, uint16_t port, tlsa_fn *fn, void *ctx)
{
	struct tlsa_query *q = xzalloc(sizeof *q);
	char name[300];

	*q = (struct tlsa_query){ .fn = fn, .ctx = ctx };
	(void)snprintf(name, sizeof name, "_%u._tcp.%s", port, host);
	(void)dns_ask(d->dns, str_c(name), DNS_TLSA, got_tlsa, q);
}
