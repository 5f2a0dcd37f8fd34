/* Any bytes as a policy service's answer, and as the name of a service with settings. */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>

#include "deliver/policy/policy.h"
#include "deliver/policy/policy_settings.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct str in = str_n(data, size);
	struct service_text t;
	struct dial_target target;
	struct err e = { 0 };
	struct str action;
	size_t used;

	if (policy_answer_parse(in, &action, &used, &e) == 0) {
		assert(used <= size && used <= POLICY_ANSWER_MAX && action.n > 0 && action.p >= in.p && action.p + action.n <= in.p + used);
		assert(memchr(action.p, '\n', action.n) == NULL && memchr(action.p, '\0', action.n) == NULL);
	}
	static struct conf *conf;
	struct policy_settings set;
	if (conf == NULL && conf_parse(STR("smtpd_policy_service_policy_context = x\n"), "x.conf", &conf, NULL, &e) < 0)
		abort();
	if (policy_settings_parse(conf, in, &set, &e) == 0)
		assert(set.timeout_ms > 0 && set.tries_max > 0 && (set.context.p == NULL || set.context.n <= size + 1));
	if (service_parse(in, &t, &e) == 0 && dial_parse(t.target, &target, &e) == 0)
		assert(t.n <= SERVICE_SETTINGS_MAX && (target.host[0] ? target.port > 0 : target.path[0] == '/'));
	return 0;
}
