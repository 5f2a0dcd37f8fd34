/* Stable sorting of many numbers in linear time: one pass per byte in which they differ.
 *
 *	struct radix_item v[n] = { { .key = seconds, .value = index } … };
 *	radix_sort(v, n);
 */
#ifndef BASE_RADIX_H
#define BASE_RADIX_H

#include <stddef.h>
#include <stdint.h>

struct radix_item {
	uint64_t key, value;
};

/* Ascending by key; those of one key keep their order. */
void radix_sort(struct radix_item *v, size_t n);
/* The same for who has memory for n items more; what is in it afterwards is nothing. */
void radix_sort_with(struct radix_item *v, struct radix_item *room, size_t n);

#endif
