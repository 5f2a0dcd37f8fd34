/* ARC (RFC 8617): what those who handed a message on found, sealed by each. Chains of at most 50 sets. */
#ifndef AUTHRES_ARC_H
#define AUTHRES_ARC_H

#include "authres/auth.h"
#include "authres/dkim_sign.h"

enum { ARC_SETS_MAX = 50 };

struct arc_set {
	struct str results;		/* ARC-Authentication-Results after "i=N;" */
	struct str domain, selector;	/* of its seal */
};
struct arc_result {
	enum auth_result result;	/* none pass fail; temperror: nobody answers for a key now */
	unsigned n;			/* sets; 0 also when they cannot be counted (not every one whole, or not 1..n) */
	const struct arc_set *sets;	/* n of them, the oldest first; only of a chain that passes */
	bool ended;			/* the newest seal says cv=fail: nobody adds a set (5.1.2) */
	const char *why;
};
/* Strings live in a or in message. */
struct arc_result arc_verify(struct arena *a, const struct auth_dns *dns, struct str message, int64_t now);

/* Does the oldest set say dmarc=pass for from, and does every sealer stand in trusted? Then what a list or forwarder changed is no fault of the sender's. */
bool arc_vouches(struct arena *a, const struct arc_result *r, struct str from, const char *const *trusted, size_t n_trusted);

/* Add a set: results are those of our Authentication-Results field, cv what arc_verify said of the message as it came. Three fields, to be put above
 * the others in this order (the last at the top). ERR_LIMIT: the chain has ARC_SETS_MAX sets, or a field is too long; ERR_INPUT: it cannot be continued. */
struct arc_seal {
	const struct dkim_letter *letter;
	const struct dkim_signer *signer;
	struct str results;
	enum auth_result cv;
	int64_t now;
};
int arc_seal(struct arena *a, const struct arc_seal *s, struct str out[3], struct err *e) MUST_CHECK;

#endif
