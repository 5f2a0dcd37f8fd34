/* Answers by key, for as long as they say, least recently used first out. The dns process has one for all; a client may have one of its own (client.h): there
 * the time that was left of an answer when it came counts, so that it is nowhere used for longer than its record says. */
#ifndef DNS_CACHE_H
#define DNS_CACHE_H

#include "ipc/dns.h"

enum {
	DNS_TTL_MAX = 3600,		/* seconds an answer is kept at most */
	DNS_NEGATIVE_TTL_MAX = 300,
};

struct dns_cache;
struct dns_cache *dns_cache_new(size_t entries_max, size_t bytes_max);
void dns_cache_free(struct dns_cache **c);
void dns_cache_put(struct dns_cache *c, struct str key, const struct ipc_dns_ANSWER *m, uint64_t now_ms);	/* ttl 0: not kept */
/* What is kept for key, its ttl counted down; strings belong to the cache, valid until it changes. */
bool dns_cache_get(struct dns_cache *c, struct str key, uint64_t now_ms, struct ipc_dns_ANSWER *out);
size_t dns_cache_count(const struct dns_cache *c);

#endif
