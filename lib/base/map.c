/* Hash map: open addressing with linear probing and backward-shift deletion, load under 3/4. Keys are owned copies. */
#include "base/map.h"

#include <stdlib.h>
#include <string.h>

#include "base/arena.h"

struct slot {
	uint64_t hash;
	char *key;	/* NULL: free */
	size_t key_n;
	void *value;
};

struct map {
	struct slot *slots;
	size_t cap, count;	/* cap is 0 or a power of two */
	struct str_hash_key key;	/* the process' when the first entry came: a process that was forked since looks up what its parent filled in */
};

struct map *map_new(void)
{
	return xzalloc(sizeof(struct map));
}

void map_free(struct map **m)
{
	if (*m == NULL)
		return;
	for (size_t i = 0; i < (*m)->cap; i++)
		free((*m)->slots[i].key);
	free((*m)->slots);
	free(*m);
	*m = NULL;
}

size_t map_count(const struct map *m)
{
	return m->count;
}

/* The slot of key, or the free slot where it would go. cap is not 0. */
static size_t locate(const struct map *m, struct str key, uint64_t h)
{
	size_t i = h & (m->cap - 1);
	while (m->slots[i].key != NULL &&
	       !(m->slots[i].hash == h && str_eq(str_n(m->slots[i].key, m->slots[i].key_n), key)))
		i = (i + 1) & (m->cap - 1);
	return i;
}

void *map_get(const struct map *m, struct str key)
{
	if (m->count == 0)
		return NULL;
	const struct slot *s = &m->slots[locate(m, key, str_hash_by(&m->key, key))];
	return s->key == NULL ? NULL : s->value;
}

static void grow(struct map *m)
{
	struct slot *old = m->slots;
	size_t old_cap = m->cap;
	if (old_cap == 0)
		m->key = str_hash_key();
	m->cap = old_cap == 0 ? 16 : old_cap * 2;
	m->slots = xzalloc(m->cap * sizeof(*m->slots));
	for (size_t i = 0; i < old_cap; i++) {
		if (old[i].key == NULL)
			continue;
		size_t at = old[i].hash & (m->cap - 1);
		while (m->slots[at].key != NULL)
			at = (at + 1) & (m->cap - 1);
		m->slots[at] = old[i];
	}
	free(old);
}

void *map_set(struct map *m, struct str key, void *value)
{
	if ((m->count + 1) * 4 > m->cap * 3)
		grow(m);
	uint64_t h = str_hash_by(&m->key, key);
	struct slot *s = &m->slots[locate(m, key, h)];
	if (s->key != NULL) {
		void *before = s->value;
		s->value = value;
		return before;
	}
	*s = (struct slot){ .hash = h, .key = xstrndup(key.n == 0 ? "" : key.p, key.n), .key_n = key.n, .value = value };
	m->count++;
	return NULL;
}

void *map_del(struct map *m, struct str key)
{
	if (m->count == 0)
		return NULL;
	size_t mask = m->cap - 1, hole = locate(m, key, str_hash_by(&m->key, key));
	if (m->slots[hole].key == NULL)
		return NULL;
	void *value = m->slots[hole].value;
	free(m->slots[hole].key);
	/* Backward shift: an entry moves into the hole unless its home lies cyclically between hole and itself. */
	for (size_t i = (hole + 1) & mask; m->slots[i].key != NULL; i = (i + 1) & mask) {
		size_t home = m->slots[i].hash & mask;
		if (((i - home) & mask) >= ((i - hole) & mask)) {
			m->slots[hole] = m->slots[i];
			hole = i;
		}
	}
	m->slots[hole] = (struct slot){ 0 };
	m->count--;
	return value;
}

bool map_next(const struct map *m, size_t *it, struct str *k, void **value)
{
	for (; *it < m->cap; (*it)++) {
		const struct slot *s = &m->slots[*it];
		if (s->key == NULL)
			continue;
		*k = str_n(s->key, s->key_n);
		*value = s->value;
		(*it)++;
		return true;
	}
	return false;
}
