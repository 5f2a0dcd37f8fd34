/* How milters are named in the configuration. Pure. What they say is smtp/milter.h. */
#ifndef DELIVER_MILTER_WIRE_H
#define DELIVER_MILTER_WIRE_H

#include "deliver/policy/dial.h"
#include "smtp/milter.h"

enum { MILTERS_MAX = 16 };	/* of one list */

enum milter_fallback { MILTER_TEMPFAIL, MILTER_REJECT, MILTER_ACCEPT, MILTER_QUARANTINE };
struct milter_setting {
	struct dial_target target;
	enum milter_fallback fallback;	/* when it fails */
	uint32_t protocol;
	uint64_t connect_ms, command_ms, content_ms;
};
int milter_fallback_parse(struct str s, enum milter_fallback *out, struct err *e) MUST_CHECK;
/* The next of a list "inet:host:port, { unix:/path, default_action=accept }". false: no more. */
bool milter_list_next(struct str *list, struct str *one);
/* *s holds the defaults. */
int milter_setting_parse(struct str one, struct milter_setting *s, struct err *e) MUST_CHECK;

#endif
