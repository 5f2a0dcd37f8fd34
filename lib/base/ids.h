/* Numbers for 64-bit ids that are hashes of something: 1, 2, 3 … in the order in which they are first seen. Anybody can make things whose hashes lie close:
 * where an id stands in the table is chosen by secret numbers.
 *
 *	struct ids t;
 *	ids_init(&t, 1000);
 *	const uint32_t n = ids_number(&t, id);		the same for the same id
 *	ids_fini(&t);
 *
 * The table is two arrays of numbers, so that it can be kept in a file and looked up where it is mapped: slots and v are then not the table's own
 * (only ids_find), and whatever they hold leads nowhere else. */
#ifndef BASE_IDS_H
#define BASE_IDS_H

#include <stddef.h>
#include <stdint.h>

enum { IDS_MAX = 1 << 30 };

struct ids {
	uint64_t *v;			/* by number; v[0] is none */
	uint32_t *slots;		/* numbers, 0: free; 2^bits of them, not more than half of them used */
	unsigned bits;
	uint32_t n, cap;		/* numbers given; room for */
	uint64_t add, times;		/* the secret; times is odd */
};
void ids_init(struct ids *t, size_t expected);
void ids_fini(struct ids *t);
uint32_t ids_number(struct ids *t, uint64_t id);	/* 0: there are IDS_MAX of them */
uint32_t ids_find(const struct ids *t, uint64_t id);	/* 0: not seen */

#endif
