/* A hash map from bytes to a pointer. Keys are copied; values are borrowed. Keyed hash: no peer can choose
 * collisions; it stays the map's when the process gets another (str_hash_reseed). Not for more than 2^31 entries. */
#ifndef BASE_MAP_H
#define BASE_MAP_H

#include <stdbool.h>
#include <stddef.h>

#include "base/str.h"

struct map;

struct map *map_new(void);		/* returns owned */
void map_free(struct map **m);		/* not the values */
size_t map_count(const struct map *m);
void *map_get(const struct map *m, struct str key);	/* NULL: none */
void *map_set(struct map *m, struct str key, void *value);	/* returns the value it replaces, or NULL */
void *map_del(struct map *m, struct str key);		/* returns the value, or NULL */
/* Walk: *it starts at 0; false at the end. The map must not change meanwhile, map_del included (collect keys first). */
bool map_next(const struct map *m, size_t *it, struct str *key, void **value);

#endif
