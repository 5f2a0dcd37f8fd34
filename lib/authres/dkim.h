/* DKIM (RFC 6376, 8301, 8463): what the signatures of a message are worth. rsa-sha256 (1024 to 8192 bits) and ed25519-sha256; rsa-sha1 never passes. A
 * signature that covers only a part of the body (l=) is "policy", not "pass": anybody could have added the rest.
 */
#ifndef AUTHRES_DKIM_H
#define AUTHRES_DKIM_H

#include "authres/auth.h"
#include "authres/sigcheck.h"

enum {
	DKIM_SIGNATURES_MAX = 10,	/* checked, from the top; more are not looked at */
	DKIM_NAMES_MAX = 200,		/* of h= */
	DKIM_FIELDS_MAX = 2000,		/* of the message: with more no signature is checked */
	DKIM_FIELD_MAX = 16384,		/* bytes of a DKIM-Signature field */
	DKIM_FUTURE_SECONDS = 3600,	/* clocks differ */
};

struct dkim_result {
	enum auth_result result;	/* neutral pass fail policy temperror permerror */
	struct str domain, selector, identity;	/* d= s= i=, as written; empty when they could not be read */
	struct str algorithm;
	struct str b;			/* first bytes of b=, to tell signatures apart (RFC 6008) */
	const char *why;
};
/* Check the signatures of message (LF or CRLF). Returns how many are in out. Strings live in a or in message. */
size_t dkim_verify(struct arena *a, const struct auth_dns *dns, struct str message, int64_t now, struct dkim_result out[DKIM_SIGNATURES_MAX]);

/* A key record (3.6.1). p is decoded; -1: *why says what is wrong. */
struct dkim_key {
	enum sig_kind kind;
	struct str p;		/* empty: revoked */
	bool testing, strict;	/* t=y, t=s */
};
int dkim_key_parse(struct arena *a, struct str record, struct dkim_key *out, const char **why) MUST_CHECK;

#endif
