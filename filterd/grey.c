/* See grey.h. */
#include "grey.h"

#include <stdlib.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/map.h"

enum { KEY_MAX = 1200 };

struct entry {
	int64_t first, last;
	bool known;	/* it came back, or one of ours wrote there */
};

struct grey {
	struct map *entries;
	uint64_t delay_s, lifetime_s;
};

struct grey *grey_new(uint64_t delay_s, uint64_t lifetime_s)
{
	struct grey *g = xzalloc(sizeof(*g));
	g->entries = map_new();
	grey_times(g, delay_s, lifetime_s);
	return g;
}

void grey_times(struct grey *g, uint64_t delay_s, uint64_t lifetime_s)
{
	g->delay_s = delay_s;
	g->lifetime_s = lifetime_s;
}

static void forget_all(struct grey *g)
{
	struct str key;
	void *value;
	for (size_t it = 0; map_next(g->entries, &it, &key, &value);)
		free(value);
	map_free(&g->entries);
}

void grey_free(struct grey **g)
{
	if (*g == NULL)
		return;
	forget_all(*g);
	free(*g);
	*g = NULL;
}

size_t grey_count(const struct grey *g)
{
	return map_count(g->entries);
}

static bool is_over(const struct grey *g, const struct entry *x, int64_t now)
{
	return now - x->last > (int64_t)(x->known ? g->lifetime_s : (uint64_t)GREY_RETRY_S);
}

static int by_time(const void *a, const void *b)
{
	const int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
	return x < y ? -1 : x > y;
}

/* The time before which a third of the entries were seen last. */
static int64_t oldest_third(const struct grey *g)
{
	int64_t *v = xmalloc((map_count(g->entries) + 1) * sizeof(*v));
	size_t n = 0;
	struct str key;
	void *value;
	for (size_t it = 0; map_next(g->entries, &it, &key, &value);)
		v[n++] = ((struct entry *)value)->last;
	qsort(v, n, sizeof(*v), by_time);
	const int64_t at = n == 0 ? 0 : v[n / 3];
	free(v);
	return at;
}

/* Into a new map: one must not change while it is walked. */
static void make_room(struct grey *g, int64_t now)
{
	const int64_t before = oldest_third(g);
	struct map *kept = map_new();
	struct str key;
	void *value;
	for (size_t it = 0; map_next(g->entries, &it, &key, &value);) {
		const struct entry *x = value;
		if (is_over(g, x, now) || x->last <= before)
			free(value);
		else
			(void)map_set(kept, key, value);
	}
	map_free(&g->entries);
	g->entries = kept;
}

static struct entry *entry_of(struct grey *g, struct str key, int64_t now)
{
	struct entry *x = map_get(g->entries, key);
	if (x != NULL && is_over(g, x, now))
		*x = (struct entry){ .first = now };
	if (x == NULL) {
		if (map_count(g->entries) >= GREY_ENTRIES_MAX)
			make_room(g, now);
		x = xzalloc(sizeof(*x));
		x->first = now;
		(void)map_set(g->entries, key, x);
	}
	return x;
}

static void put_folded(struct buf *b, struct str s)
{
	for (size_t i = 0; i < s.n; i++)
		buf_ch(b, ch_lower(s.p[i]));
	buf_ch(b, '\0');
}

void grey_wrote(struct grey *g, struct str ours, struct str to, int64_t now)
{
	struct buf b;
	if (ours.n == 0 || to.n == 0)
		return;
	buf_init(&b, KEY_MAX);
	buf_ch(&b, 'w');
	put_folded(&b, to);
	put_folded(&b, ours);
	if (!buf_failed(&b)) {
		struct entry *x = entry_of(g, buf_view(&b), now);
		x->known = true;
		x->last = now;
	}
	buf_fini(&b);
}

static bool has_written(struct grey *g, struct str sender, struct str recipient, int64_t now)
{
	struct buf b;
	buf_init(&b, KEY_MAX);
	buf_ch(&b, 'w');
	put_folded(&b, sender);
	put_folded(&b, recipient);
	const struct entry *x = buf_failed(&b) ? NULL : map_get(g->entries, buf_view(&b));
	buf_fini(&b);
	return x != NULL && x->known && !is_over(g, x, now);
}

uint64_t grey_ask(struct grey *g, const uint8_t client[16], struct str sender, bool vouched, struct str recipient, int64_t now)
{
	static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };
	const bool v4 = memcmp(client, mapped, 12) == 0;
	struct buf b;
	uint64_t wait = 0;
	if (vouched && has_written(g, sender, recipient, now))
		return 0;
	buf_init(&b, KEY_MAX);
	buf_ch(&b, 'g');
	buf_mem(&b, client, v4 ? 15 : 8);	/* its /24, its /64: large senders try again from a neighbour */
	put_folded(&b, sender);
	put_folded(&b, recipient);
	if (!buf_failed(&b)) {
		struct entry *x = entry_of(g, buf_view(&b), now);
		const uint64_t age = now > x->first ? (uint64_t)(now - x->first) : 0;
		x->known |= age >= g->delay_s;
		x->last = now;
		wait = x->known ? 0 : g->delay_s - age;
	}
	buf_fini(&b);
	return wait;
}
