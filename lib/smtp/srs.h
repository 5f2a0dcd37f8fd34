/* Sender rewriting for forwarded mail (SRS): the envelope sender becomes an address of ours that SPF lets us use, from which the true one can be told when a bounce
 * comes back. SRS0=HASH=DAY=DOMAIN=LOCAL, and for a sender that another forwarder has rewritten SRS1=HASH=FORWARDER=REST, so that it never grows by more than one
 * hop. HASH: 8 characters of an HMAC, with our key, of the form and what follows, in letters that survive a change
 * of case. Such an address is for bounces alone: whoever takes mail for one checks that the sender is null. Pure.
 */
#ifndef SMTP_SRS_H
#define SMTP_SRS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/attr.h"
#include "base/err.h"
#include "base/str.h"

enum { SRS_KEY_BYTES = 32, SRS_DAYS_MAX = 21 };	/* how long a bounce may take */

struct srs {
	unsigned char key[SRS_KEY_BYTES];
	struct str domain;	/* of rewritten senders; empty: nothing is rewritten */
};

/* local@domain to its rewritten form, on a. day: days since 1970. ERR_LIMIT: the result would be too long (RFC 5321 4.5.3.1: local part 64). */
int srs_forward(const struct srs *s, struct str sender, int64_t day, struct arena *a, struct str *out, struct err *e) MUST_CHECK;
bool srs_is(const struct srs *s, struct str local, struct str domain);	/* has the form of one of ours */
/* The sender that it stands for. ERR_INPUT: not ours, changed on its way, or too old. */
int srs_reverse(const struct srs *s, struct str local, int64_t day, struct arena *a, struct str *out, struct err *e) MUST_CHECK;

#endif
