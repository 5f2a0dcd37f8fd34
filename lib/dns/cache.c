/* Answers that may still be given. One block of memory per answer; the list holds them from most to least recently used. */
#include "dns/cache.h"

#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/list.h"
#include "base/map.h"

struct entry {
	struct list node;
	uint64_t until_ms;
	size_t bytes, key_n;
	struct ipc_dns_ANSWER m;
	char *key;		/* inside data */
	char data[];
};

struct dns_cache {
	struct map *map;
	struct list used;
	size_t entries_max, bytes_max, bytes;
};

struct dns_cache *dns_cache_new(size_t entries_max, size_t bytes_max)
{
	struct dns_cache *c = xzalloc(sizeof(*c));

	c->map = map_new();
	list_init(&c->used);
	c->entries_max = entries_max;
	c->bytes_max = bytes_max;
	return c;
}

static void drop(struct dns_cache *c, struct entry *n)
{
	list_del(&n->node);
	(void)map_del(c->map, str_n(n->key, n->key_n));
	c->bytes -= n->bytes;
	free(n->m.records.v);
	free(n);
}

void dns_cache_free(struct dns_cache **cp)
{
	struct dns_cache *c = *cp;

	*cp = NULL;
	if (c == NULL)
		return;
	while (!list_empty(&c->used))
		drop(c, list_of(c->used.next, struct entry, node));
	map_free(&c->map);
	free(c);
}

static struct str keep(char **at, struct str s)
{
	const struct str r = { *at, s.n };

	if (s.n > 0)
		memcpy(*at, s.p, s.n);
	*at += s.n;
	return r;
}

static struct entry *entry_new(struct str key, const struct ipc_dns_ANSWER *m)
{
	size_t n = key.n + m->canonical.n;

	for (size_t i = 0; i < m->records.n; i++)
		n += m->records.v[i].n;
	struct entry *x = xzalloc(sizeof(*x) + n);
	char *at = x->data;
	x->m = *m;
	x->key_n = key.n;
	x->key = at;
	(void)keep(&at, key);
	x->m.canonical = keep(&at, m->canonical);
	x->m.records.v = xmalloc((m->records.n + 1) * sizeof(struct str));
	for (size_t i = 0; i < m->records.n; i++)
		x->m.records.v[i] = keep(&at, m->records.v[i]);
	x->bytes = sizeof(*x) + n + (m->records.n + 1) * sizeof(struct str) + key.n + 64;	/* with the map's part */
	return x;
}

void dns_cache_put(struct dns_cache *c, struct str key, const struct ipc_dns_ANSWER *m, uint64_t now_ms)
{
	struct entry *old = map_get(c->map, key);
	const uint64_t max = m->records.n > 0 ? DNS_TTL_MAX : DNS_NEGATIVE_TTL_MAX;

	if (old)
		drop(c, old);
	if (m->ttl == 0 || m->trouble.n > 0)
		return;
	struct entry *x = entry_new(key, m);
	x->until_ms = now_ms + (m->ttl < max ? m->ttl : max) * 1000;
	c->bytes += x->bytes;
	list_push(&c->used, &x->node);
	(void)map_set(c->map, str_n(x->key, x->key_n), x);
	while (c->bytes > c->bytes_max || map_count(c->map) > c->entries_max)
		drop(c, list_of(c->used.prev, struct entry, node));
}

bool dns_cache_get(struct dns_cache *c, struct str key, uint64_t now_ms, struct ipc_dns_ANSWER *out)
{
	struct entry *x = map_get(c->map, key);

	if (x == NULL)
		return false;
	if (now_ms >= x->until_ms) {
		drop(c, x);
		return false;
	}
	list_del(&x->node);
	list_push(&c->used, &x->node);
	*out = x->m;
	out->ttl = (x->until_ms - now_ms + 999) / 1000;
	return true;
}

size_t dns_cache_count(const struct dns_cache *c)
{
	return map_count(c->map);
}
