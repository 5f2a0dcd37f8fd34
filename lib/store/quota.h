/* How much a user's mail may be, as Maildir++ has it: the file maildirsize in the root says the limits and the sum, and every change appends a line. It is
 * the same file that Dovecot and Courier read and write, so that they may work beside us or after us.
 *
 *	struct quota limits = { .bytes = 1 << 30 };	a count of 0: no limit
 *	quota_check(rootfd, &limits, &(struct quota){ size, 1 }, &e);	ERR_QUOTA: it does not fit
 *	quota_add(rootfd, &limits, size, 1);		after it is there
 *
 * Nothing is listed as long as the file can be believed; quota.c says when it cannot.
 */
#ifndef STORE_QUOTA_H
#define STORE_QUOTA_H

#include <stdbool.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/err.h"
#include "base/str.h"

struct quota {
	uint64_t bytes, count;
};
/* One maildirsize, as text. lines: with the first sum. */
struct quota_file {
	struct quota limits;
	int64_t bytes, count;
	uint32_t lines;
};
enum {
	QUOTA_FILE_MAX = 5120,	/* bytes of maildirsize; then it is written anew */
	QUOTA_LEVELS_MAX = 16,	/* percentages at which users are warned */
};

static inline bool quota_is_set(const struct quota *limits) { return limits->bytes > 0 || limits->count > 0; }
/* Pure. -1: not a maildirsize, or cut short. */
int quota_parse(struct str text, struct quota_file *out) MUST_CHECK;
/* What is used now. */
int quota_use(int rootfd, const struct quota *limits, struct quota *use_out, struct err *e) MUST_CHECK;
/* Would this much more fit? ERR_QUOTA: no. Counts once more before it says so, unless it just did. */
int quota_check(int rootfd, const struct quota *limits, const struct quota *more, struct err *e) MUST_CHECK;
void quota_add(int rootfd, const struct quota *limits, int64_t bytes, int64_t count);	/* best effort: what fails is counted anew */
void quota_forget(int rootfd);		/* others changed the mail: count at the next question */
/* The highest of levels (percent, any order) that is reached and that the user has not been warned of; 0: none. Remembered: asked again it says 0, until
 * the use has sunk below that level. */
int quota_warn_level(int rootfd, const struct quota *limits, const unsigned *levels, unsigned n_levels, unsigned *level_out, struct err *e) MUST_CHECK;

#endif
