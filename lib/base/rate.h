/* How often something happened for a key (a client's address) in a window of time. A fixed number of keys; a full table forgets what is over first, and what it
 * cannot hold is not counted, so that no number of clients makes it grow. Pure: the caller brings the clock.
 *
 *	if (rate_hit(r, key, RATE_MAIL, now, 60000) > limit) …
 */
#ifndef BASE_RATE_H
#define BASE_RATE_H

#include <stdint.h>

#include "base/str.h"

enum rate_kind { RATE_CONNECT, RATE_MAIL, RATE_RCPT, RATE_AUTH, RATE_TLS, RATE_KINDS_MAX };

struct rate;
struct rate *rate_new(size_t keys_max);	/* returns owned */
void rate_free(struct rate **r);
/* One more; how many there were in the key's window, this one included. A window begins with the key's first event after the last one was over. */
uint64_t rate_hit(struct rate *r, struct str key, enum rate_kind kind, uint64_t now_ms, uint64_t window_ms);
size_t rate_count(const struct rate *r);	/* keys held */

#endif
