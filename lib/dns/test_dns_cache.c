/* The cache: answers live as long as they say, at most an hour, and the least recently used go when it is full. */
#include <stdio.h>

#include "dns/cache.h"
#include "test/tap.h"

static void put(struct dns_cache *c, const char *key, const char *record, uint64_t ttl, uint64_t now)
{
	struct str v[] = { str_c(record) };
	const struct ipc_dns_ANSWER m = { .ttl = ttl, .canonical = str_c(key), .records = { v, record[0] ? 1 : 0 }, .ad = 1 };

	dns_cache_put(c, str_c(key), &m, now);
}

static void is(struct dns_cache *c, const char *key, uint64_t now, const char *want, const char *what)
{
	struct ipc_dns_ANSWER m;
	char text[100] = "none";

	if (dns_cache_get(c, str_c(key), now, &m))
		snprintf(text, sizeof(text), "%.*s %d", STR_ARG(m.records.n ? m.records.v[0] : STR("-")), (int)m.ttl);
	tap_is_str(text, want, "%s", what);
}

int main(void)
{
	struct dns_cache *c = dns_cache_new(3, 1 << 20);

	put(c, "a", "1", 10, 0);
	is(c, "a", 4000, "1 6", "kept, its time counted down");
	is(c, "a", 10000, "none", "not longer than it said");
	put(c, "a", "1", 0, 0);
	is(c, "a", 0, "none", "a TTL of 0 is not kept");
	put(c, "a", "1", 1000000, 0);
	is(c, "a", 0, "1 3600", "at most an hour");
	put(c, "n", "", 1000000, 0);
	is(c, "n", 0, "- 300", "that there is nothing: at most five minutes");
	put(c, "a", "2", 50, 0);
	is(c, "a", 0, "2 50", "a new answer takes the old one's place");
	put(c, "b", "b", 50, 0);
	put(c, "d", "d", 50, 0);
	is(c, "n", 0, "none", "the least recently used goes when it is full");
	is(c, "a", 0, "2 50", "the others stay");
	tap_is_int((long long)dns_cache_count(c), 3, "no more than the limit");
	dns_cache_free(&c);
	c = dns_cache_new(1000, 3000);
	for (int i = 0; i < 1000; i++) {
		char key[20];
		snprintf(key, sizeof(key), "k%d", i);
		put(c, key, "0123456789012345678901234567890123456789", 50, 0);
	}
	tap_ok(dns_cache_count(c) > 1 && dns_cache_count(c) < 20, "bytes are limited too: %zu entries", dns_cache_count(c));
	is(c, "k999", 0, "0123456789012345678901234567890123456789 50", "the newest is there");
	dns_cache_free(&c);
	return tap_done();
}
