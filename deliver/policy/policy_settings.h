/* A policy service as a restriction list names it: "inet:127.0.0.1:10023", or "{ inet:127.0.0.1:10023, timeout=10s, policy_context=x }"; what it does not say, the
 * smtpd_policy_service_ parameters do. */
#ifndef DELIVER_POLICY_SETTINGS_H
#define DELIVER_POLICY_SETTINGS_H

#include "conf/conf.h"
#include "deliver/policy/dial.h"

struct policy_settings {
	struct dial_target target;
	struct str fallback;		/* default_action; p NULL: none of its own */
	struct str context;		/* policy_context */
	uint64_t timeout_ms, max_idle_ms, max_ttl_ms, retry_ms, tries_max;
	uint64_t requests_max;		/* over one connection; 0: any number */
};

/* out borrows text and c. ERR_CONF says what is wrong. */
int policy_settings_parse(const struct conf *c, struct str text, struct policy_settings *out, struct err *e) MUST_CHECK;

#endif
