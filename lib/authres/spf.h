/* SPF (RFC 7208): may this client send for this domain? All mechanisms, modifiers and macros; at most SPF_LOOKUPS_MAX terms that ask, SPF_VOIDS_MAX
 * answers without records, SPF_NAMES_MAX names of an MX or PTR answer (4.6.4).
 *
 *	struct spf_query q = { .addr = addr, .helo = helo, .sender = sender, .receiver = STR("mx.example.org"), .now = now };
 *	struct spf_result r = spf_check(arena, &dns, &q);
 */
#ifndef AUTHRES_SPF_H
#define AUTHRES_SPF_H

#include "authres/auth.h"

enum { SPF_LOOKUPS_MAX = 10, SPF_VOIDS_MAX = 2, SPF_NAMES_MAX = 10, SPF_TERMS_MAX = 500, SPF_EXPLANATION_MAX = 300 };

struct spf_query {
	uint8_t addr[16];	/* IPv4 as ::ffff:a.b.c.d */
	struct str helo;
	struct str sender;	/* envelope sender without brackets; empty: HELO is asked about (2.4) */
	struct str receiver;	/* our host name, for %{r} */
	int64_t now;
};
struct spf_result {
	enum auth_result result;	/* none neutral pass fail softfail temperror permerror */
	bool helo;			/* the identity was HELO */
	struct str domain;		/* that was asked about */
	const char *why;		/* the term that decided, or the fault */
	const char *explanation;	/* of "fail": the domain's own words (printable ASCII), or NULL */
};
/* Strings live in a. */
struct spf_result spf_check(struct arena *a, const struct auth_dns *dns, const struct spf_query *q);

#endif
