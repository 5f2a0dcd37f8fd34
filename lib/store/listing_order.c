/* The order of a listing: numbers are sorted, some at a time; names only among those whose numbers are the same. */
#include <stdlib.h>

#include "store/listing.h"
#include "store/store_priv.h"

enum {
	SECS_BITS = 43, USECS_BITS = 20,	/* of a key; later years than 280,000 share one */
	WORK = 1 << 17,				/* numbers that are looked at, or moved, in a step: a millisecond */
};

struct listing_order {
	struct radix run;
	struct radix_item *room;
};

/* Known UIDs below all others. */
uint64_t entry_key(const struct entry *en)
{
	const uint64_t secs_max = (UINT64_C(1) << SECS_BITS) - 1, secs = (uint64_t)en->secs;

	if (en->uid)
		return en->uid;
	return UINT64_C(1) << 63 | (secs < secs_max ? secs << USECS_BITS | en->usecs : secs_max << USECS_BITS);
}

static int entry_cmp(const void *pa, const void *pb)
{
	const struct entry *const a = *(struct entry *const *)pa, *const b = *(struct entry *const *)pb;

	if (a->secs != b->secs)
		return a->secs < b->secs ? -1 : 1;
	if (a->usecs != b->usecs)
		return a->usecs < b->usecs ? -1 : 1;
	const int by_base = str_cmp(entry_base(a), entry_base(b));
	return by_base != 0 ? by_base : strcmp(a->name, b->name);
}

static void order_begin(struct listing *l)
{
	struct listing_order *const o = l->order = xzalloc(sizeof(*o));

	if (l->keys == NULL) {
		l->keys = xmalloc((l->n + 1) * sizeof(*l->keys));
		for (size_t i = 0; i < l->n; i++)
			l->keys[i] = (struct radix_item){ .key = entry_key(l->v[i]), .value = (uintptr_t)l->v[i] };
	}
	o->room = xmalloc((l->n + 1) * sizeof(*o->room));
	radix_begin(&o->run, l->keys, o->room, l->n);
}

static void order_free(struct listing *l)
{
	if (l->order)
		free(l->order->room);
	free(l->order);
	free(l->keys);
	l->order = NULL;
	l->keys = NULL;
}

static void order_end(struct listing *l)
{
	const struct radix_item *const k = l->order->run.v;

	for (size_t i = 0; i < l->n; i++)
		l->v[i] = (struct entry *)(uintptr_t)k[i].value;
	for (size_t i = 0, end; i < l->n; i = end) {
		for (end = i + 1; end < l->n && k[end].key == k[i].key; end++)
			;
		if (end - i > 1)
			qsort(l->v + i, end - i, sizeof(*l->v), entry_cmp);
	}
	order_free(l);
	l->sorted = true;
}

bool listing_sort_step(struct listing *l)
{
	if (l->sorted)
		return false;
	size_t work = WORK;
	if (l->order == NULL)
		order_begin(l);
	else if (radix_step(&l->order->run, &work))
		order_end(l);
	return !l->sorted;
}

void listing_sort(struct listing *l)
{
	while (listing_sort_step(l))
		;
}

void listing_changed(struct listing *l)
{
	order_free(l);
	l->sorted = false;
}
