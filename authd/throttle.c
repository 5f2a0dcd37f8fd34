/* The tables behind the limits on failed logins. Each table is an array of buckets of eight entries that doubles
 * until its maximum and then evicts the entry with the smallest penalty of the bucket. Keys are SipHash-2-4 values
 * with a random key, which the snapshot keeps, so that nobody outside can aim at a bucket. */
#include "authd/throttle.h"

#include <stdlib.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/enc.h"
#include "base/ip.h"
#include "base/num.h"

enum kind { K_ADDR4, K_ADDR6, K_NET, K_ACCOUNT, K_PAIR, K_KNOWN, K_SEEN, KINDS };
enum { WAYS = 8, TABLE_MIN = 64, KNOWN_S = 30 * 86400, SEEN_S = 3600, LEVEL_FORGET_S = 86400, LEVEL_MAX = 8,
       KNOWN_PAIR_FACTOR = 4, STRANGER_DELAY_MS = 5000 };

static const struct { char letter; uint32_t max; } kinds[KINDS] = {
	[K_ADDR4] = { '4', THROTTLE_ADDRESSES_MAX },
	[K_ADDR6] = { '6', THROTTLE_ADDRESSES_MAX },
	[K_NET] = { 'n', THROTTLE_NETWORKS_MAX },
	[K_ACCOUNT] = { 'a', THROTTLE_ACCOUNTS_MAX },
	[K_PAIR] = { 'p', THROTTLE_PAIRS_MAX },
	[K_KNOWN] = { 'k', THROTTLE_KNOWN_MAX },
	[K_SEEN] = { 's', THROTTLE_SEEN_MAX },
};

struct ent {
	uint64_t key;		/* 0: free */
	uint32_t since;		/* start of the counting window; K_KNOWN, K_SEEN: last time */
	uint32_t until;		/* refused (guarded) until */
	uint16_t count;
	uint16_t unknown;	/* K_ADDR*: unknown names among them; K_KNOWN: 1: by application passwords alone */
	uint8_t level;		/* refusals so far: each lasts four times longer */
};

struct table {
	struct ent *v;
	uint32_t size;
};

struct throttle {
	struct throttle_limits lim;
	uint64_t seed[2];
	struct table tables[KINDS];
	uint32_t second, in_second;	/* failures of the whole server in the running second */
	uint64_t evicted;
	bool dirty;
};

const struct throttle_limits throttle_defaults = {
	.address_max = 10, .network_max = 50, .pair_max = 5, .account_max = 20, .unknown_max = 20, .server_max = 200,
	.window_s = 900, .refuse_s = 900, .refuse_max_s = 86400,
};

/* --- SipHash-2-4 --- */

static inline uint64_t rotl(uint64_t x, int b)
{
	return (x << b) | (x >> (64 - b));
}

static void sip_round(uint64_t v[4])
{
	v[0] += v[1], v[1] = rotl(v[1], 13) ^ v[0], v[0] = rotl(v[0], 32);
	v[2] += v[3], v[3] = rotl(v[3], 16) ^ v[2];
	v[0] += v[3], v[3] = rotl(v[3], 21) ^ v[0];
	v[2] += v[1], v[1] = rotl(v[1], 17) ^ v[2], v[2] = rotl(v[2], 32);
}

static uint64_t sip(const uint64_t seed[2], const unsigned char *p, size_t n)
{
	uint64_t v[4] = { seed[0] ^ 0x736f6d6570736575, seed[1] ^ 0x646f72616e646f6d, seed[0] ^ 0x6c7967656e657261,
			  seed[1] ^ 0x7465646279746573 };
	uint64_t last = (uint64_t)n << 56;

	for (; n >= 8; n -= 8, p += 8) {
		uint64_t m = get_le64(p);

		v[3] ^= m, sip_round(v), sip_round(v), v[0] ^= m;
	}
	for (size_t i = 0; i < n; i++)
		last |= (uint64_t)p[i] << (8 * i);
	v[3] ^= last, sip_round(v), sip_round(v), v[0] ^= last;
	v[2] ^= 0xff;
	for (int i = 0; i < 4; i++)
		sip_round(v);
	return v[0] ^ v[1] ^ v[2] ^ v[3];
}

/* --- keys --- */

/* The key of (kind, network part of the address, name, number). A key is never 0. */
static uint64_t key_of(const struct throttle *t, enum kind k, const struct throttle_client *c, unsigned v4_bytes,
		       unsigned v6_bytes, struct str user, uint64_t tag)
{
	unsigned char b[1 + 1 + 16 + 8 + 8] = { (unsigned char)k };

	if (c && c->has_addr) {
		bool v4 = ip_is_v4(c->addr);

		b[1] = v4 ? 4 : 6;
		memcpy(b + 2, v4 ? c->addr + 12 : c->addr, v4 ? v4_bytes : v6_bytes);
	}
	if (user.n)
		put_le64(b + 18, sip(t->seed, (const unsigned char *)user.p, user.n));
	put_le64(b + 26, tag);
	uint64_t h = sip(t->seed, b, sizeof b);
	return h ? h : 1;
}

static uint64_t key_net(const struct throttle *t, enum kind k, const struct throttle_client *c, struct str user)
{
	return key_of(t, k, c, 3, 6, user, 0);
}

static uint64_t key_addr(const struct throttle *t, const struct throttle_client *c)
{
	return key_of(t, K_ADDR4, c, 4, 8, (struct str){ 0 }, 0);
}

static enum kind addr_kind(const struct throttle_client *c)
{
	return ip_is_v4(c->addr) ? K_ADDR4 : K_ADDR6;
}

/* --- tables --- */

static uint32_t age(uint32_t now, uint32_t then)
{
	return now > then ? now - then : 0;
}

/* How much would be lost with this entry; 0: nothing. */
static uint64_t penalty(const struct throttle *t, enum kind k, const struct ent *x, uint32_t now)
{
	if (k == K_KNOWN)
		return age(now, x->since) >= KNOWN_S ? 0 : KNOWN_S - age(now, x->since);
	if (k == K_SEEN)
		return age(now, x->since) >= SEEN_S ? 0 : SEEN_S - age(now, x->since);
	if (x->until > now)
		return 1000000 + (x->until - now);
	if (age(now, x->since) < t->lim.window_s)
		return 100 + x->count;
	return x->level && age(now, x->until) < LEVEL_FORGET_S ? x->level : 0;
}

static struct ent *bucket(const struct table *tb, uint64_t key)
{
	return tb->v + (key & (tb->size / WAYS - 1)) * WAYS;
}

static struct ent *table_find(const struct throttle *t, enum kind k, uint64_t key)
{
	const struct table *tb = &t->tables[k];

	if (!tb->v)
		return NULL;
	struct ent *b = bucket(tb, key);
	for (int i = 0; i < WAYS; i++)
		if (b[i].key == key)
			return &b[i];
	return NULL;
}

static struct ent *free_slot(const struct table *tb, uint64_t key)
{
	struct ent *b = bucket(tb, key);

	for (int i = 0; i < WAYS; i++)
		if (!b[i].key)
			return &b[i];
	return NULL;
}

static struct ent *weakest(struct throttle *t, enum kind k, uint64_t key, uint32_t now)
{
	struct ent *b = bucket(&t->tables[k], key), *best = b;

	for (int i = 1; i < WAYS; i++)
		if (penalty(t, k, &b[i], now) < penalty(t, k, best, now))
			best = &b[i];
	return best;
}

static void table_grow(struct throttle *t, enum kind k)
{
	struct table old = t->tables[k], *tb = &t->tables[k];

	tb->size = old.v ? old.size * 2 : TABLE_MIN;
	tb->v = xzalloc(tb->size * sizeof *tb->v);
	/* A doubled table splits each bucket in two, so every entry finds room. */
	for (uint32_t i = 0; i < old.size; i++)
		if (old.v[i].key)
			*free_slot(tb, old.v[i].key) = old.v[i];
	free(old.v);
}

static struct ent *table_make(struct throttle *t, enum kind k, uint64_t key, uint32_t now)
{
	struct ent *x = table_find(t, k, key);

	if (x)
		return x;
	if (!t->tables[k].v)
		table_grow(t, k);
	while (!(x = free_slot(&t->tables[k], key))) {
		x = weakest(t, k, key, now);
		if (penalty(t, k, x, now) == 0)
			break;
		if (t->tables[k].size >= kinds[k].max) {
			t->evicted++;
			break;
		}
		table_grow(t, k);
	}
	*x = (struct ent){ .key = key, .since = now };
	return x;
}

/* --- the rules --- */

struct throttle *throttle_new(const struct throttle_limits *lim)
{
	struct throttle *t = xzalloc(sizeof *t);

	t->lim = *lim;
	random_bytes(t->seed, sizeof t->seed);
	return t;
}

void throttle_free(struct throttle **tp)
{
	if (!*tp)
		return;
	for (int k = 0; k < KINDS; k++)
		free((*tp)->tables[k].v);
	free(*tp);
	*tp = NULL;
}

void throttle_limits_set(struct throttle *t, const struct throttle_limits *lim)
{
	t->lim = *lim;
}

static bool refused(const struct throttle *t, enum kind k, uint64_t key, uint32_t now)
{
	const struct ent *x = table_find(t, k, key);

	return x && x->until > now;
}

enum acquaintance { STRANGER, KNOWN_BY_APP, KNOWN };

static enum acquaintance known(const struct throttle *t, const struct throttle_client *c, struct str user, uint32_t now)
{
	const struct ent *x = table_find(t, K_KNOWN, key_net(t, K_KNOWN, c, user));

	if (!x || age(now, x->since) >= KNOWN_S)
		return STRANGER;
	return x->unknown ? KNOWN_BY_APP : KNOWN;
}

bool throttle_knows(const struct throttle *t, uint32_t now, const struct throttle_client *c, struct str user)
{
	return !c->exempt && known(t, c, user, now) != STRANGER;
}

static bool place_refused(const struct throttle *t, const struct throttle_client *c, uint32_t now)
{
	return c->has_addr && (refused(t, addr_kind(c), key_addr(t, c), now) ||
			       refused(t, K_NET, key_net(t, K_NET, c, (struct str){ 0 }), now));
}

enum throttle_answer throttle_ask_client(struct throttle *t, uint32_t now, const struct throttle_client *c)
{
	if (c->exempt || known(t, c, (struct str){ 0 }, now) != STRANGER)
		return THROTTLE_PASS;
	return place_refused(t, c, now) ? THROTTLE_REFUSED : THROTTLE_PASS;
}

enum throttle_answer throttle_ask(struct throttle *t, uint32_t now, const struct throttle_client *c, struct str user)
{
	if (c->exempt)
		return THROTTLE_PASS;
	if (refused(t, K_PAIR, key_net(t, K_PAIR, c, user), now))
		return THROTTLE_REFUSED;
	const enum acquaintance who = known(t, c, user, now);
	if (who == KNOWN)
		return THROTTLE_PASS;
	if (who == STRANGER && place_refused(t, c, now))
		return THROTTLE_REFUSED;
	if (refused(t, K_ACCOUNT, key_of(t, K_ACCOUNT, NULL, 0, 0, user, 0), now))
		return THROTTLE_GUARDED;
	return THROTTLE_PASS;
}

static uint32_t refusal_s(const struct throttle *t, const struct ent *x)
{
	uint64_t s = t->lim.refuse_s;

	for (int i = 0; i < x->level && s < t->lim.refuse_max_s; i++)
		s *= 4;
	return (uint32_t)(s < t->lim.refuse_max_s ? s : t->lim.refuse_max_s);
}

/* Count one failure; at max the entry is refused. growing: each refusal lasts longer. Returns the count that was reached. */
static uint32_t bump(const struct throttle *t, struct ent *x, uint32_t max, bool growing, uint32_t now)
{
	if (age(now, x->since) >= t->lim.window_s || x->since > now) {
		x->since = now;
		x->count = x->unknown = 0;
	}
	if (x->level && age(now, x->until) >= LEVEL_FORGET_S)
		x->level = 0;
	if (x->count < UINT16_MAX)
		x->count++;
	uint32_t reached = x->count;
	if (reached >= max) {
		x->until = now + (growing ? refusal_s(t, x) : t->lim.refuse_s);
		if (growing && x->level < LEVEL_MAX)
			x->level++;
		x->since = now;
		x->count = x->unknown = 0;
	}
	return reached;
}

static bool seen_before(struct throttle *t, struct str user, uint64_t tag, uint32_t now)
{
	if (!tag)
		return false;
	uint64_t key = key_of(t, K_SEEN, NULL, 0, 0, user, tag);
	struct ent *x = table_find(t, K_SEEN, key);
	if (x && age(now, x->since) < SEEN_S)
		return true;
	x = table_make(t, K_SEEN, key, now);
	x->since = now;
	return false;
}

static uint32_t delay_for(uint32_t failures)
{
	static const uint32_t steps[] = { 2000, 2000, 4000, 8000, 15000 };

	return steps[failures < ARRAY_LEN(steps) ? failures : ARRAY_LEN(steps) - 1];
}

static uint32_t count_all(struct throttle *t, uint32_t now, const struct throttle_client *c, struct str user, bool exists)
{
	const struct throttle_limits *l = &t->lim;
	uint32_t pair_max = known(t, c, user, now) == KNOWN ? l->pair_max * KNOWN_PAIR_FACTOR : l->pair_max;
	uint32_t n = bump(t, table_make(t, K_PAIR, key_net(t, K_PAIR, c, user), now), pair_max, false, now);
	uint32_t delay = 0;

	if (exists)
		bump(t, table_make(t, K_ACCOUNT, key_of(t, K_ACCOUNT, NULL, 0, 0, user, 0), now), l->account_max, false, now);
	if (c->has_addr) {
		struct ent *x = table_make(t, addr_kind(c), key_addr(t, c), now);
		uint16_t unknown = age(now, x->since) < l->window_s ? x->unknown : 0;
		bool dictionary = !exists && unknown + 1u >= l->unknown_max;

		n = bump(t, x, dictionary ? 1 : l->address_max, true, now);
		if (!exists && x->count)
			x->unknown = (uint16_t)(unknown + 1);
		x = table_make(t, K_NET, key_net(t, K_NET, c, (struct str){ 0 }), now);
		if (bump(t, x, l->network_max, true, now) > l->network_max / 2)
			delay = STRANGER_DELAY_MS;
	}
	return delay > delay_for(n) ? delay : delay_for(n);
}

uint32_t throttle_fail(struct throttle *t, uint32_t now, const struct throttle_client *c, struct str user, bool exists, uint64_t tag)
{
	uint32_t delay;

	if (c->exempt)
		return 0;
	t->dirty = true;
	t->in_second = t->second == now ? t->in_second + 1 : 1;
	t->second = now;
	if (seen_before(t, user, tag, now))
		delay = delay_for(throttle_count(t, now, c));
	else
		delay = count_all(t, now, c, user, exists);
	if (t->in_second > t->lim.server_max && delay < STRANGER_DELAY_MS && known(t, c, (struct str){ 0 }, now) == STRANGER)
		delay = STRANGER_DELAY_MS;
	return delay;
}

void throttle_success(struct throttle *t, uint32_t now, const struct throttle_client *c, struct str user, bool main)
{
	const bool met = known(t, c, user, now) != STRANGER;
	const struct str names[] = { user, { 0 } };	/* known to this account, and known at all */

	for (int i = 0; i < 2; i++) {
		uint64_t key = key_net(t, K_KNOWN, c, names[i]);
		struct ent *x = table_find(t, K_KNOWN, key);

		if (!x || age(now, x->since) > 3600 || (main && x->unknown))	/* the snapshot need not follow every login */
			t->dirty = true;
		if (!x)
			x = table_make(t, K_KNOWN, key, now);
		x->since = now;
		x->unknown = !main && (!met || x->unknown);
	}
	struct ent *pair = table_find(t, K_PAIR, key_net(t, K_PAIR, c, user));
	if (pair && main)
		pair->count = 0;
}

uint32_t throttle_count(struct throttle *t, uint32_t now, const struct throttle_client *c)
{
	if (!c->has_addr)
		return 0;
	const struct ent *x = table_find(t, addr_kind(c), key_addr(t, c));
	return x && age(now, x->since) < t->lim.window_s ? x->count : 0;
}

/* --- snapshot --- */

static bool drop(struct throttle *t, enum kind k, uint64_t key, uint32_t now)
{
	struct ent *x = table_find(t, k, key);
	const bool was = x && x->until > now;

	if (!x)
		return false;
	*x = (struct ent){ 0 };
	t->dirty = true;
	return was;
}

bool throttle_forgive(struct throttle *t, uint32_t now, const struct throttle_client *c, struct str user)
{
	bool was = drop(t, K_PAIR, key_net(t, K_PAIR, c, user), now);

	was |= drop(t, K_ACCOUNT, key_of(t, K_ACCOUNT, NULL, 0, 0, user, 0), now);
	was |= drop(t, addr_kind(c), key_addr(t, c), now);
	was |= drop(t, K_NET, key_net(t, K_NET, c, (struct str){ 0 }), now);
	return was;
}

bool throttle_dirty(const struct throttle *t)
{
	return t->dirty;
}

void throttle_clean(struct throttle *t)
{
	t->dirty = false;
}

uint64_t throttle_evicted(const struct throttle *t)
{
	return t->evicted;
}

size_t throttle_bytes(const struct throttle *t)
{
	size_t n = sizeof *t;

	for (int k = 0; k < KINDS; k++)
		n += t->tables[k].size * sizeof(struct ent);
	return n;
}

void throttle_save(struct throttle *t, uint32_t now, struct buf *out)
{
	buf_printf(out, "postern-throttle 1 %016llx%016llx\n", (unsigned long long)t->seed[0], (unsigned long long)t->seed[1]);
	for (int k = 0; k < KINDS; k++) {
		for (uint32_t i = 0; i < t->tables[k].size; i++) {
			const struct ent *x = &t->tables[k].v[i];

			if (x->key && penalty(t, (enum kind)k, x, now))
				buf_printf(out, "%c %llx %u %u %u %u %u\n", kinds[k].letter, (unsigned long long)x->key, x->since,
					   x->until, x->count, x->unknown, x->level);
		}
	}
	buf_c(out, "end\n");
	t->dirty = false;
}

static int load_line(struct throttle *t, struct str line)
{
	struct str f[7];
	uint64_t key, v[5];
	static const uint64_t most[5] = { UINT32_MAX, UINT32_MAX, UINT16_MAX, UINT16_MAX, LEVEL_MAX };
	int k = 0;

	for (int i = 0; i < 7; i++)
		f[i] = str_split(&line, ' ');
	if (line.p || f[0].n != 1)
		return -1;
	while (k < KINDS && kinds[k].letter != f[0].p[0])
		k++;
	if (k == KINDS || num_parse_hex(f[1], UINT64_MAX, &key) < 0 || key == 0)
		return -1;
	for (int i = 0; i < 5; i++)
		if (num_parse(f[2 + i], 0, most[i], &v[i]) < 0)
			return -1;
	struct ent *x = table_make(t, (enum kind)k, key, (uint32_t)v[0]);
	*x = (struct ent){ .key = key, .since = (uint32_t)v[0], .until = (uint32_t)v[1], .count = (uint16_t)v[2],
			   .unknown = (uint16_t)v[3], .level = (uint8_t)v[4] };
	return 0;
}

static int load_all(struct throttle *t, struct str s)
{
	struct str head = str_split(&s, '\n');

	if (!str_starts(head, STR("postern-throttle 1 ")) || head.n != 19 + 32)
		return -1;
	if (num_parse_hex(str_sub(head, 19, 16), UINT64_MAX, &t->seed[0]) < 0 ||
	    num_parse_hex(str_sub(head, 35, 16), UINT64_MAX, &t->seed[1]) < 0)
		return -1;
	while (s.p) {
		struct str line = str_split(&s, '\n');

		if (str_eq(line, STR("end")))
			return 0;
		if (load_line(t, line) < 0)
			return -1;
	}
	return -1;	/* cut short */
}

int throttle_load(struct throttle *t, struct str snapshot, struct err *e)
{
	struct throttle *fresh = throttle_new(&t->lim);

	if (load_all(fresh, snapshot) < 0) {
		throttle_free(&fresh);
		return err_set(e, ERR_INPUT, 0, "not a whole snapshot of the login limits");
	}
	struct throttle old = *t;
	*t = *fresh;
	*fresh = old;
	throttle_free(&fresh);
	t->dirty = false;
	return 0;
}
