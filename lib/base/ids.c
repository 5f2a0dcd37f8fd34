/* Numbers for ids: open addressing; a slot holds a number, the id is looked up by it. */
#include "base/ids.h"

#include <stdlib.h>

#include "base/arena.h"
#include "base/clock.h"

static void slots_new(struct ids *t)
{
	t->slots = xzalloc(((size_t)1 << t->bits) * sizeof(*t->slots));
}

void ids_init(struct ids *t, size_t expected)
{
	*t = (struct ids){ .bits = 8, .cap = 128, .add = random_u64(), .times = random_u64() | 1 };
	while (t->bits < 31 && (size_t)1 << t->bits < expected * 2)
		t->bits++;
	if (expected > t->cap)
		t->cap = expected < IDS_MAX ? (uint32_t)expected : IDS_MAX;
	slots_new(t);
	t->v = xzalloc(((size_t)t->cap + 1) * sizeof(*t->v));
}

void ids_fini(struct ids *t)
{
	free(t->slots);
	free(t->v);
	*t = (struct ids){ 0 };
}

/* The slot of id, or the free one where it goes; 2^bits: neither, which only a table of a file can be. */
static size_t slot_of(const struct ids *t, uint64_t id)
{
	const size_t n = (size_t)1 << t->bits;
	size_t at = (size_t)(((id + t->add) * t->times) >> (64 - t->bits));

	for (size_t tried = 0; tried < n; tried++, at = (at + 1) & (n - 1)) {
		if (t->slots[at] == 0 || (t->slots[at] <= t->n && t->v[t->slots[at]] == id))
			return at;
	}
	return n;
}

static void grow(struct ids *t)
{
	free(t->slots);
	t->bits++;
	slots_new(t);
	for (uint32_t i = 1; i <= t->n; i++)
		t->slots[slot_of(t, t->v[i])] = i;
}

uint32_t ids_number(struct ids *t, uint64_t id)
{
	size_t at = slot_of(t, id);

	if (t->slots[at])
		return t->slots[at];
	if (t->n == IDS_MAX)
		return 0;
	if (t->n == t->cap) {
		t->cap *= 2;
		t->v = xrealloc(t->v, ((size_t)t->cap + 1) * sizeof(*t->v));
	}
	t->v[++t->n] = id;
	t->slots[at] = t->n;
	if (t->n > (uint32_t)1 << (t->bits - 1))
		grow(t);
	return t->n;
}

uint32_t ids_find(const struct ids *t, uint64_t id)
{
	const size_t at = t->bits ? slot_of(t, id) : 0;

	return t->bits && at < (size_t)1 << t->bits ? t->slots[at] : 0;
}
