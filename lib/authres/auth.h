/* What the checks of a sender's authenticity share: the results (RFC 8601 2.7) and the question to the DNS.
 *
 * The checks are plain functions that call ask() whenever they need records and go on with its answer: a test answers from a table, a filterd worker
 * asks its monitor. They bound how often they ask; whoever answers may say AUTH_TROUBLE at any time.
 */
#ifndef AUTHRES_AUTH_H
#define AUTHRES_AUTH_H

#include "base/arena.h"
#include "base/str.h"
#include "dns/wire.h"

enum auth_result { AUTH_NONE, AUTH_NEUTRAL, AUTH_PASS, AUTH_FAIL, AUTH_SOFTFAIL, AUTH_POLICY, AUTH_TEMPERROR, AUTH_PERMERROR };
const char *auth_result_name(enum auth_result r);	/* "none" … */

enum auth_known { AUTH_HAS, AUTH_HAS_NONE, AUTH_NO_SUCH, AUTH_TROUBLE };
struct auth_answer {
	enum auth_known known;
	const struct str *v;	/* as lib/dns/wire.h writes them */
	size_t n;
};
struct auth_dns {
	struct auth_answer (*ask)(void *ctx, struct arena *a, struct str name, unsigned type);	/* the answer lives in a */
	void *ctx;
};
/* A name that cannot be asked for (label or name too long, empty label) does not exist. */
struct auth_answer auth_ask(const struct auth_dns *d, struct arena *a, struct str name, unsigned type);
bool auth_name_valid(struct str name);	/* labels of 1..63 bytes, 253 in all; no final dot */

/* "tag=value; tag=value" (RFC 6376 3.2), also of DMARC records: values trimmed, folds kept. -1: syntax, a tag twice, or more than AUTH_TAGS_MAX. */
enum { AUTH_TAGS_MAX = 40 };
struct auth_tag { struct str name, value; };
struct auth_tags { struct auth_tag v[AUTH_TAGS_MAX]; size_t n; };
int auth_tags_parse(struct str in, struct auth_tags *out) MUST_CHECK;
bool auth_tag(const struct auth_tags *t, const char *name, struct str *value_out);	/* false: not there */

#endif
