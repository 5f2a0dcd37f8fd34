/* Radix sort, least significant byte first. Few items are inserted one by one. */
#include "base/radix.h"

#include <stdlib.h>
#include <string.h>

#include "base/arena.h"

enum { BYTES = 8, VALUES = 256, FEW = 32 };

static void insert_each(struct radix_item *v, size_t n)
{
	for (size_t i = 1; i < n; i++) {
		const struct radix_item it = v[i];
		size_t k = i;

		for (; k > 0 && v[k - 1].key > it.key; k--)
			v[k] = v[k - 1];
		v[k] = it;
	}
}

static void pass(const struct radix_item *from, struct radix_item *to, size_t n, const size_t count[VALUES], unsigned shift)
{
	size_t at[VALUES], sum = 0;

	for (unsigned b = 0; b < VALUES; b++) {
		at[b] = sum;
		sum += count[b];
	}
	for (size_t i = 0; i < n; i++)
		to[at[from[i].key >> shift & 0xff]++] = from[i];
}

void radix_sort_with(struct radix_item *v, struct radix_item *room, size_t n)
{
	size_t count[BYTES][VALUES] = { 0 };

	if (n <= FEW) {
		insert_each(v, n);
		return;
	}
	for (size_t i = 0; i < n; i++)
		for (unsigned b = 0; b < BYTES; b++)
			count[b][v[i].key >> 8 * b & 0xff]++;
	struct radix_item *from = v, *to = room;
	for (unsigned b = 0; b < BYTES; b++) {
		if (count[b][v[0].key >> 8 * b & 0xff] == n)	/* the same in all */
			continue;
		pass(from, to, n, count[b], 8 * b);
		struct radix_item *const t = from;
		from = to;
		to = t;
	}
	if (from != v)
		memcpy(v, from, n * sizeof(*v));
}

void radix_sort(struct radix_item *v, size_t n)
{
	struct radix_item *const room = n <= FEW ? NULL : xmalloc(n * sizeof(*room));

	radix_sort_with(v, room, n);
	free(room);
}
