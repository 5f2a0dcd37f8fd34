/* When is a message tried again, when is its sender warned, when is it given up; and what is known of destinations. Pure: time comes in as an argument. */
#ifndef DELIVER_RETRY_H
#define DELIVER_RETRY_H

#include <stdbool.h>
#include <stdint.h>

enum {
	RETRY_TRIES_MIN = 3,		/* a clock that jumps does not expire mail that was hardly tried (security.md D32) */
	RETRY_DEST_FAILURES = 2,	/* connection failures in a row after which a destination is left alone */
};

/* Seconds until the next try of a message of that age: its age, between min and max, plus or minus a tenth (random: any 32 bits). */
uint64_t retry_delay(uint64_t age_s, uint64_t min_s, uint64_t max_s, uint32_t random);
bool retry_expired(uint64_t age_s, uint64_t tries, uint64_t lifetime_s);

/* A next hop. */
struct retry_dest {
	unsigned failures;	/* connection failures in a row */
	int64_t dead_until;	/* wall seconds; 0: alive */
};
/* A delivery ended: reached says whether the destination answered at all. */
void retry_dest_result(struct retry_dest *d, bool reached, int64_t now, uint64_t min_s, uint64_t max_s);
bool retry_dest_dead(const struct retry_dest *d, int64_t now);

#endif
