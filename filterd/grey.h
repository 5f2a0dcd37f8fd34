/* Greylisting of suspects, and who writes to whom. A message from outside whose score makes it suspect is refused for now when its client's network,
 * sender and recipient have not been seen together; who tries again later than greylist_delay is let in, and known from then on. Whom our users wrote to is
 * known already, when his domain vouches for the client (SPF): anybody can write his address into an envelope. In memory, bounded: after a restart a suspect
 * waits once more. Time is the caller's.
 */
#ifndef FILTERD_GREY_H
#define FILTERD_GREY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/str.h"

enum {
	GREY_ENTRIES_MAX = 200000,	/* then the oldest third is forgotten */
	GREY_RETRY_S = 2 * 86400,	/* who does not come back within this begins anew */
};

struct grey;

struct grey *grey_new(uint64_t delay_s, uint64_t lifetime_s);	/* owned */
void grey_times(struct grey *g, uint64_t delay_s, uint64_t lifetime_s);	/* from now on; what is known stays */
void grey_free(struct grey **g);
/* One of ours wrote to this address. */
void grey_wrote(struct grey *g, struct str ours, struct str to, int64_t now);
/* A suspect: 0 it may pass; else the seconds that it has to wait yet. vouched: the sender's domain says that this client sends for it. */
uint64_t grey_ask(struct grey *g, const uint8_t client[16], struct str sender, bool vouched, struct str recipient, int64_t now);
size_t grey_count(const struct grey *g);

#endif
