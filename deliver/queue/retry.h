/* When is a message tried again, when is its sender warned, when is it given up; and how hard destinations are pressed. Pure: time comes in as an argument. */
#ifndef DELIVER_RETRY_H
#define DELIVER_RETRY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/err.h"
#include "base/str.h"

enum {
	RETRY_TRIES_MIN = 3,		/* a clock that jumps does not expire mail that was hardly tried */
};

/* Seconds until the next try of a message of that age: its age, between min and max, plus or minus a tenth (random: any 32 bits). */
uint64_t retry_delay(uint64_t age_s, uint64_t min_s, uint64_t max_s, uint32_t random);
bool retry_expired(uint64_t age_s, uint64_t tries, uint64_t lifetime_s);

/* How much one result moves a window: amount, amount/window or amount/sqrt(window). */
struct retry_feedback {
	double amount;
	enum { RETRY_CONSTANT, RETRY_PER_WINDOW, RETRY_PER_ROOT } form;
};
/* "1", "0.5", "1/5", "1/concurrency", "2/sqrt_concurrency". ERR_CONF: none of these, or not between 0 and 1 (a window moves by at most one). */
int retry_feedback_parse(struct str text, struct retry_feedback *out, struct err *e) MUST_CHECK;

struct retry_rules {
	struct retry_feedback positive, negative;
	uint64_t initial, limit;	/* of the window; at least 1 */
	uint64_t cohorts;		/* windows full of failures in a row after which a destination is left alone; 0: never */
	uint64_t backoff_min_s, backoff_max_s;
};

/* A next hop: how many deliveries at once it gets, and whether any. Zeroed: nothing is known yet. */
struct retry_dest {
	double window;		/* 0: the rules' initial one */
	double cohorts;		/* of failures in a row */
	unsigned deaths;	/* in a row */
	int64_t dead_until;	/* wall seconds; 0: alive */
};
/* A delivery ended: reached says whether a server took part in a transaction. */
void retry_dest_result(struct retry_dest *d, const struct retry_rules *r, bool reached, int64_t now);
bool retry_dest_dead(const struct retry_dest *d, int64_t now);
uint64_t retry_dest_window(const struct retry_dest *d, const struct retry_rules *r);	/* at least 1 */
bool retry_dest_blank(const struct retry_dest *d, const struct retry_rules *r);		/* not worth remembering */

#endif
