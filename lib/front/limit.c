/* How many connections there are, in all and of one address (IPv6: one /64, which is what a customer has). */
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/map.h"
#include "front/front_priv.h"

struct address {
	uint8_t key[16];
	uint64_t n;
};

struct limits {
	struct map *conns;	/* conn -> struct address */
	struct map *addresses;
};

struct limits *limits_new(void)
{
	struct limits *l = xzalloc(sizeof(*l));
	l->conns = map_new();
	l->addresses = map_new();
	return l;
}

size_t limits_total(const struct limits *l)
{
	return map_count(l->conns);
}

static void make_key(const uint8_t addr[16], uint8_t key_out[16])
{
	static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };
	memcpy(key_out, addr, 16);
	if (memcmp(addr, mapped, sizeof(mapped)) != 0)
		memset(key_out + 8, 0, 8);
}

bool limits_take(struct limits *l, uint64_t conn, const uint8_t addr[16], uint64_t per_address_max, uint64_t total_max)
{
	uint8_t key[16];
	if (map_count(l->conns) >= total_max)
		return false;
	make_key(addr, key);
	struct address *a = map_get(l->addresses, str_n(key, sizeof(key)));
	if (a && a->n >= per_address_max)
		return false;
	if (!a) {
		a = xzalloc(sizeof(*a));
		memcpy(a->key, key, sizeof(key));
		(void)map_set(l->addresses, str_n(key, sizeof(key)), a);
	}
	a->n++;
	(void)map_set(l->conns, str_n(&conn, sizeof(conn)), a);
	return true;
}

void limits_give(struct limits *l, uint64_t conn)
{
	struct address *a = map_del(l->conns, str_n(&conn, sizeof(conn)));
	if (!a || --a->n > 0)
		return;
	(void)map_del(l->addresses, str_n(a->key, sizeof(a->key)));
	free(a);
}
