/* How many connections there are, in all and of one address (IPv6: one /64, which is what a customer has). */
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/ip.h"
#include "base/list.h"
#include "base/map.h"
#include "base/rate.h"
#include "front/front_priv.h"

struct address {
	uint8_t key[16];
	uint64_t n;
};

struct counted {
	uint64_t conn;
	struct address *address;	/* NULL: of none */
	const void *owner;
	struct list node;
};

enum { RATE_CLIENTS_MAX = 65536 };

struct limits {
	struct rate *rate;	/* NULL: never asked */
	struct map *conns;	/* conn -> struct counted */
	struct list all;
	struct map *addresses;
};

struct limits *limits_new(void)
{
	struct limits *l = xzalloc(sizeof(*l));
	l->conns = map_new();
	l->addresses = map_new();
	list_init(&l->all);
	return l;
}

size_t limits_total(const struct limits *l)
{
	return map_count(l->conns);
}

static void count(struct limits *l, const void *owner, uint64_t conn, struct address *a)
{
	struct counted *c = xzalloc(sizeof(*c));
	*c = (struct counted){ .conn = conn, .address = a, .owner = owner };
	list_append(&l->all, &c->node);
	(void)map_set(l->conns, str_n(&conn, sizeof(conn)), c);
}

bool limits_take(struct limits *l, const void *owner, uint64_t conn, const uint8_t addr[16], uint64_t per_address_max, uint64_t total_max)
{
	uint8_t key[16];
	if (map_count(l->conns) >= total_max)
		return false;
	ip_customer(addr, key);
	struct address *a = map_get(l->addresses, str_n(key, sizeof(key)));
	if (a && a->n >= per_address_max)
		return false;
	if (!a) {
		a = xzalloc(sizeof(*a));
		memcpy(a->key, key, sizeof(key));
		(void)map_set(l->addresses, str_n(key, sizeof(key)), a);
	}
	a->n++;
	count(l, owner, conn, a);
	return true;
}

void limits_linger(struct limits *l, const void *owner, uint64_t conn)
{
	if (!map_get(l->conns, str_n(&conn, sizeof(conn))))
		count(l, owner, conn, NULL);
}

uint64_t limits_rate(struct limits *l, const uint8_t addr[16], uint64_t now_ms, uint64_t window_ms)
{
	uint8_t key[16];

	if (l->rate == NULL)
		l->rate = rate_new(RATE_CLIENTS_MAX);
	ip_customer(addr, key);
	return rate_hit(l->rate, str_n(key, sizeof(key)), RATE_CONNECT, now_ms, window_ms);
}

uint64_t limits_of(const struct limits *l, const uint8_t addr[16])
{
	uint8_t key[16];

	ip_customer(addr, key);
	const struct address *a = map_get(l->addresses, str_n(key, sizeof(key)));
	return a ? a->n : 0;
}

void limits_give(struct limits *l, uint64_t conn)
{
	struct counted *c = map_del(l->conns, str_n(&conn, sizeof(conn)));
	if (!c)
		return;
	struct address *a = c->address;
	list_del(&c->node);
	free(c);
	if (!a || --a->n > 0)
		return;
	(void)map_del(l->addresses, str_n(a->key, sizeof(a->key)));
	free(a);
}

void limits_give_all(struct limits *l, const void *owner)
{
	list_each_safe(it, &l->all)
	{
		const struct counted *c = list_of(it, struct counted, node);
		if (c->owner == owner)
			limits_give(l, c->conn);
	}
}
