/* dns: the process that asks name servers for the others (lib/ipc/dns.def; the client's half is lib/dns/client.h). It knows no mail, no map and no key: what a
 * hostile answer could make of it is a liar about names. Questions run in parallel, equal ones are asked once, answers are kept for as long
 * as they say. Files: dns.c channels and questions, dns_cache.c, dns_ares.c (c-ares on the loop).
 */
#ifndef DELIVER_DNS_H
#define DELIVER_DNS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/err.h"
#include "conf/conf.h"
#include "io/loop.h"
#include "ipc/dns.h"

enum {
	DNS_CLIENTS_MAX = 64,		/* channels */
	DNS_QUESTIONS_MAX = 5000,	/* under way at once */
	DNS_WAITERS_MAX = 4000,		/* unanswered questions of one channel */
	DNS_CACHE_ENTRIES_MAX = 20000,
	DNS_CACHE_BYTES_MAX = 8 << 20,
	DNS_TTL_MAX = 3600,		/* seconds an answer is kept at most */
	DNS_NEGATIVE_TTL_MAX = 300,
};

enum { DNS_PAIRS = 4 };		/* members of the group with a channel of their own: queued, remote, policy, sts */

struct dns_env {
	const struct conf *conf;
	int fds[DNS_PAIRS];	/* channels; taken */
	int listen_fd;		/* run_directory/dns/sock; kept by the parent */
	bool unconfined;
};

/* The child of queued's supervisor: reads the resolver's configuration, confines itself, serves until all channels of the group have ended. Does not return. */
void dns_run(void *ctx);

/* --- dns_cache.c: answers by key, least recently used first out --- */
struct dns_cache;
struct dns_cache *dns_cache_new(size_t entries_max, size_t bytes_max);
void dns_cache_free(struct dns_cache **c);
void dns_cache_put(struct dns_cache *c, struct str key, const struct ipc_dns_ANSWER *m, uint64_t now_ms);	/* ttl 0: not kept */
/* What is kept for key, its ttl counted down; strings belong to the cache, valid until it changes. */
bool dns_cache_get(struct dns_cache *c, struct str key, uint64_t now_ms, struct ipc_dns_ANSWER *out);
size_t dns_cache_count(const struct dns_cache *c);

/* --- dns_ares.c --- */
struct resolver_ares;
/* packet.p NULL: nobody answered, why says it. Once; may come before the return. */
typedef void resolver_ares_fn(void *ctx, struct str packet, const char *why);
int resolver_ares_open(const struct conf *conf, struct resolver_ares **out, struct err *e) MUST_CHECK;	/* reads /etc/resolv.conf: before confinement */
void resolver_ares_attach(struct resolver_ares *r, struct loop *l);
void resolver_ares_ask(struct resolver_ares *r, struct str query, resolver_ares_fn *fn, void *ctx);

#endif
