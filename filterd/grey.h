/* Greylisting of suspects, and who writes to whom. A message from outside whose score makes it suspect is refused for now when its client's network,
 * sender and recipient have not been seen together; who tries again later than greylist_delay is let in, and known from then on. Whom our users wrote to is
 * known already, when his domain vouches for him: anybody can write his address into an envelope, or a header. In memory, bounded; who is known is kept in a file
 * too, so that a restart forgets only who waits. Of names a hash is kept. Time is the caller's.
 */
#ifndef FILTERD_GREY_H
#define FILTERD_GREY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/err.h"
#include "base/str.h"

#define GREY_DIR "filter/known"	/* below state_directory */

enum {
	GREY_ENTRIES_MAX = 200000,	/* then the oldest third is forgotten */
	GREY_RETRY_S = 2 * 86400,	/* who does not come back within this begins anew */
	GREY_FILE_MAX = 64 << 20,	/* bytes: then it is written anew */
	GREY_AGAIN_S = 60,		/* after a failure the file is not written again sooner */
	GREY_KEEP_S = 86400,		/* in the file one is not seen again more often than this, or half of lifetime_s */
};

struct grey;

struct grey *grey_new(uint64_t delay_s, uint64_t lifetime_s);	/* owned */
void grey_times(struct grey *g, uint64_t delay_s, uint64_t lifetime_s);	/* from now on; what is known stays */
void grey_free(struct grey **g);
/* Who is known by this file, and from now on who is gets into it; anew after trouble. A line that makes no sense is left out; *bad_out: so many. A time of the
 * future counts, too: the clock may not be set yet. -1: grey_trouble(). Written without a sync: a power cut may lose the last of them. */
int grey_keep(struct grey *g, const char *path, int64_t now, size_t *bad_out) MUST_CHECK;
/* Why somebody who is known is in memory alone; NULL: nobody is. A file that could not be written is tried again by itself, one that could not be read is not. */
const char *grey_trouble(const struct grey *g);
/* One of ours wrote to this address. */
void grey_wrote(struct grey *g, struct str ours, struct str to, int64_t now);
/* A suspect: 0 it may pass; else the seconds that it has to wait yet. vouched: addresses of which it is known that this is from them. */
uint64_t grey_ask(struct grey *g, const uint8_t client[16], struct str sender, const struct str *vouched, size_t n_vouched, struct str recipient, int64_t now);
size_t grey_count(const struct grey *g);

#endif
