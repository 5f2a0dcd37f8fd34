/* Shared by spf.c (evaluation), spf_parse.c (records to terms) and spf_macro.c (expansion). */
#ifndef AUTHRES_SPF_PRIV_H
#define AUTHRES_SPF_PRIV_H

#include "authres/spf.h"

enum spf_kind { SPF_ALL, SPF_INCLUDE, SPF_A, SPF_MX, SPF_PTR, SPF_IP4, SPF_IP6, SPF_EXISTS };
struct spf_term {
	enum spf_kind kind;
	char qualifier;		/* + - ~ ? */
	struct str text;	/* as written */
	struct str spec;	/* domain-spec, or empty */
	uint8_t addr[16];	/* ip4, ip6: as in spf_query */
	unsigned bits4, bits6;	/* prefix lengths, within 32 and 128 */
};
struct spf_record {
	struct spf_term v[SPF_TERMS_MAX];
	size_t n;
	struct str redirect, exp;	/* p NULL: not there */
};
/* text: after "v=spf1". -1: *why says what is wrong, in a. */
int spf_record_parse(struct arena *a, struct str text, struct spf_record *out, const char **why) MUST_CHECK;
bool spf_macro_valid(struct str s, bool explanation);
bool spf_spec_valid(struct str s);	/* domain-spec (7.1) */

struct spf_run {
	struct arena *a;
	const struct auth_dns *dns;
	const struct spf_query *q;
	struct str local, sender_domain;
	unsigned lookups, voids;
	struct str validated;	/* %{p}, once known; p NULL: not yet */
};
bool spf_is_v4(const uint8_t addr[16]);
bool spf_prefix_match(const uint8_t a[16], const uint8_t b[16], unsigned bits);	/* bits of 128 */
/* s is valid syntax. Expanded text; over DNS_TEXTS_MAX: empty. */
struct str spf_expand(struct spf_run *r, struct str s, struct str domain);
/* The same as a name to ask for: without final dot, left labels cut away beyond 253 bytes (7.3). */
struct str spf_expand_name(struct spf_run *r, struct str spec, struct str domain);
/* The names of the client that lead back to its address (5.5); n_out 0 also when nobody knows. At most SPF_NAMES_MAX. */
void spf_validated_names(struct spf_run *r, struct str *v, size_t *n_out);

#endif
