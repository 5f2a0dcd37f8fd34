/* A small set of tags in buckets of eight; a full bucket gives up its oldest. The tag is a keyed hash, so its first bytes are the
 * index, and nobody outside can choose a bucket. */
#include "authd/cache.h"

#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/enc.h"
#include "base/num.h"

enum { WAYS = 8 };

struct entry {
	uint64_t when;		/* 0: free */
	uint8_t tag[CACHE_TAG];
};

struct cache {
	struct cache_stamp stamp;
	struct entry v[CACHE_ENTRIES];
};

void cache_stamp_file(struct cache_stamp *s, unsigned index, const struct stat *st)
{
	uint64_t *v = s->v + index * 6;

	if (!st)
		return;
	v[0] = (uint64_t)st->st_ino + 1;
	v[1] = (uint64_t)st->st_size;
	v[2] = (uint64_t)st->st_mtim.tv_sec;
	v[3] = (uint64_t)st->st_mtim.tv_nsec;
	v[4] = (uint64_t)st->st_ctim.tv_sec;
	v[5] = (uint64_t)st->st_ctim.tv_nsec;
}

struct cache *cache_new(void)
{
	return xzalloc(sizeof(struct cache));
}

void cache_free(struct cache **c)
{
	if (!*c)
		return;
	mem_wipe(*c, sizeof **c);
	free(*c);
	*c = NULL;
}

void cache_flush(struct cache *c)
{
	mem_wipe(c->v, sizeof c->v);
}

static struct entry *bucket(struct cache *c, const uint8_t tag[CACHE_TAG])
{
	return &c->v[(get_le32(tag) % (CACHE_ENTRIES / WAYS)) * WAYS];
}

static void stamp_check(struct cache *c, const struct cache_stamp *stamp)
{
	if (memcmp(&c->stamp, stamp, sizeof *stamp) == 0)
		return;
	cache_flush(c);
	c->stamp = *stamp;
}

bool cache_has(struct cache *c, uint64_t now, uint64_t ttl_ms, const struct cache_stamp *stamp, const uint8_t tag[CACHE_TAG])
{
	stamp_check(c, stamp);
	struct entry *b = bucket(c, tag);
	for (int i = 0; i < WAYS; i++)
		if (b[i].when && mem_equal_ct(b[i].tag, tag, CACHE_TAG))
			return now >= b[i].when && now - b[i].when < ttl_ms;
	return false;
}

void cache_put(struct cache *c, uint64_t now, const struct cache_stamp *stamp, const uint8_t tag[CACHE_TAG])
{
	stamp_check(c, stamp);
	struct entry *b = bucket(c, tag), *to = b;
	for (int i = 0; i < WAYS; i++) {
		if (mem_equal_ct(b[i].tag, tag, CACHE_TAG)) {
			to = &b[i];
			break;
		}
		if (b[i].when < to->when)
			to = &b[i];
	}
	to->when = now ? now : 1;
	memcpy(to->tag, tag, CACHE_TAG);
}
