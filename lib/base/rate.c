/* Counters by key and window: a map of small entries, swept when it is full, at most once a second. */
#include "base/rate.h"

#include <stdlib.h>

#include "base/arena.h"
#include "base/map.h"

enum { SWEEP_EVERY_MS = 1000 };

struct entry {
	uint64_t since_ms, window_ms;
	uint64_t n[RATE_KINDS_MAX];
};

struct rate {
	struct map *entries;
	size_t max;
	uint64_t swept_ms;
};

struct rate *rate_new(size_t keys_max)
{
	struct rate *r = xzalloc(sizeof(*r));

	r->entries = map_new();
	r->max = keys_max;
	return r;
}

static void sweep(struct rate *r, uint64_t now_ms, bool all)
{
	struct map *kept = map_new();
	size_t it = 0;
	struct str key;
	void *v;

	while (map_next(r->entries, &it, &key, &v)) {
		struct entry *e = v;
		if (!all && now_ms - e->since_ms < e->window_ms)
			(void)map_set(kept, key, e);
		else
			free(e);
	}
	map_free(&r->entries);
	r->entries = kept;
	r->swept_ms = now_ms;
}

void rate_free(struct rate **rp)
{
	struct rate *r = *rp;

	*rp = NULL;
	if (r == NULL)
		return;
	sweep(r, 0, true);
	map_free(&r->entries);
	free(r);
}

static struct entry *find(struct rate *r, struct str key, uint64_t now_ms)
{
	struct entry *e = map_get(r->entries, key);

	if (e != NULL)
		return e;
	if (map_count(r->entries) >= r->max && now_ms - r->swept_ms >= SWEEP_EVERY_MS)
		sweep(r, now_ms, false);
	if (map_count(r->entries) >= r->max)
		return NULL;
	e = xzalloc(sizeof(*e));
	(void)map_set(r->entries, key, e);
	return e;
}

uint64_t rate_hit(struct rate *r, struct str key, enum rate_kind kind, uint64_t now_ms, uint64_t window_ms)
{
	struct entry *e = find(r, key, now_ms);

	if (e == NULL)
		return 1;
	if (now_ms - e->since_ms >= e->window_ms)
		*e = (struct entry){ .since_ms = now_ms, .window_ms = window_ms };
	return ++e->n[kind];
}

size_t rate_count(const struct rate *r)
{
	return map_count(r->entries);
}
