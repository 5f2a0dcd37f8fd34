/* Radix sort, least significant byte first. Few items are inserted one by one. */
#include "base/radix.h"

#include <stdlib.h>
#include <string.h>

#include "base/arena.h"

enum { FEW = 32 };

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

void radix_begin(struct radix *r, struct radix_item *v, struct radix_item *room, size_t n)
{
	*r = (struct radix){ .v = v, .to = room, .n = n };
}

static size_t piece_end(const struct radix *r, size_t *work)
{
	const size_t n = r->n - r->at < *work ? r->n - r->at : *work;

	*work -= n;
	return r->at + n;
}

/* All bytes at once: the items are read one time more than they are moved. */
static bool count_some(struct radix *r, size_t *work)
{
	const size_t end = piece_end(r, work);

	for (size_t i = r->at; i < end; i++) {
		const uint64_t key = r->v[i].key;

		for (unsigned b = 0; b < RADIX_BYTES; b++)
			r->count[b][key >> 8 * b & 0xff]++;
	}
	r->at = end;
	if (end < r->n)
		return false;
	r->at = 0;
	return true;
}

static void counts_to_places(size_t count[RADIX_VALUES])
{
	size_t sum = 0;

	for (unsigned b = 0; b < RADIX_VALUES; b++) {
		const size_t n = count[b];

		count[b] = sum;
		sum += n;
	}
}

/* True: this pass is over, or was not needed. */
static bool pass_some(struct radix *r, size_t *work)
{
	const struct radix_item *const from = r->v;
	struct radix_item *const to = r->to;
	size_t *const place = r->count[r->byte];
	const unsigned shift = 8 * r->byte;

	if (r->at == 0 && place[from[0].key >> shift & 0xff] == r->n)	/* the same in all */
		return true;
	if (*work == 0)
		return false;
	if (r->at == 0)
		counts_to_places(place);
	const size_t end = piece_end(r, work);

	for (size_t i = r->at; i < end; i++)
		to[place[from[i].key >> shift & 0xff]++] = from[i];
	r->at = end;
	if (end < r->n)
		return false;
	r->at = 0;
	r->to = r->v;
	r->v = to;
	return true;
}

bool radix_step(struct radix *r, size_t *work)
{
	if (r->n <= FEW) {
		insert_each(r->v, r->n);
		return true;
	}
	if (!r->counted && !(r->counted = count_some(r, work)))
		return false;
	for (; r->byte < RADIX_BYTES; r->byte++)
		if (!pass_some(r, work))
			return false;
	return true;
}

void radix_sort(struct radix_item *v, size_t n)
{
	struct radix_item *const room = n <= FEW ? NULL : xmalloc(n * sizeof(*room));
	size_t work = SIZE_MAX;
	struct radix r;

	radix_begin(&r, v, room, n);
	while (!radix_step(&r, &work))
		work = SIZE_MAX;
	if (r.v != v)
		memcpy(v, r.v, n * sizeof(*v));
	free(room);
}
