/* Back-off: a message waits about as long as it is old, so tries get rarer by doubling; jitter keeps messages that failed together from returning together. */
#include "deliver/retry.h"

uint64_t retry_delay(uint64_t age_s, uint64_t min_s, uint64_t max_s, uint32_t random)
{
	uint64_t d = age_s < min_s ? min_s : age_s;

	if (d > max_s)
		d = max_s;
	const uint64_t tenth = d / 10;
	return d - tenth + (tenth > 0 ? random % (2 * tenth + 1) : 0);
}

bool retry_expired(uint64_t age_s, uint64_t tries, uint64_t lifetime_s)
{
	/* lifetime 0: one try, then it is returned. */
	return lifetime_s == 0 ? tries > 0 : age_s > lifetime_s && tries >= RETRY_TRIES_MIN;
}

void retry_dest_result(struct retry_dest *d, bool reached, int64_t now, uint64_t min_s, uint64_t max_s)
{
	if (reached) {
		*d = (struct retry_dest){ 0 };
		return;
	}
	if (++d->failures < RETRY_DEST_FAILURES)
		return;
	uint64_t wait = min_s;
	for (unsigned i = RETRY_DEST_FAILURES; i < d->failures && wait < max_s; i++)
		wait *= 2;
	d->dead_until = now + (int64_t)(wait < max_s ? wait : max_s);
}

bool retry_dest_dead(const struct retry_dest *d, int64_t now)
{
	/* A clock that went back must not keep a destination dead for longer than the longest wait: the caller's messages are tried then anyway. */
	return d->dead_until > now;
}
