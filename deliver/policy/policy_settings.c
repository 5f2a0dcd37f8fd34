/* What a check_policy_service says of its service beside the address: pure, for whoever asks the service, and for whoever checks the configuration. */
#include "deliver/policy/policy_settings.h"

#include "base/num.h"

static int seconds(struct str v, uint64_t *ms_out, struct err *e)
{
	uint64_t n;

	if (v.n > 1 && v.p[v.n - 1] == 's')
		v.n--;
	if (num_parse(v, 1, 86400, &n) < 0)
		return err_set(e, ERR_CONF, 0, "\"%.*s\" (allowed: 1s to 86400s)", STR_ARG(v));
	*ms_out = n * 1000;
	return 0;
}

static int setting(struct policy_settings *s, const struct service_setting *x, struct err *e)
{
	if (str_eq(x->name, STR("default_action")))
		s->fallback = x->value;
	else if (str_eq(x->name, STR("policy_context")))
		s->context = x->value;
	else if (str_eq(x->name, STR("timeout")))
		return seconds(x->value, &s->timeout_ms, e);
	else if (str_eq(x->name, STR("max_idle")))
		return seconds(x->value, &s->max_idle_ms, e);
	else if (str_eq(x->name, STR("max_ttl")))
		return seconds(x->value, &s->max_ttl_ms, e);
	else if (str_eq(x->name, STR("retry_delay")))
		return seconds(x->value, &s->retry_ms, e);
	else if (str_eq(x->name, STR("try_limit")))
		return num_parse(x->value, 1, 100, &s->tries_max) < 0 ? err_set(e, ERR_CONF, 0, "try_limit (allowed: 1 to 100)") : 0;
	else if (str_eq(x->name, STR("request_limit")))
		return num_parse(x->value, 0, 1000000, &s->requests_max) < 0 ? err_set(e, ERR_CONF, 0, "request_limit (allowed: 0 to 1000000)") : 0;
	else
		return err_set(e, ERR_CONF, 0, "%.*s: no such setting of a policy service", STR_ARG(x->name));
	return 0;
}

int policy_settings_parse(const struct conf *c, struct str text, struct policy_settings *out, struct err *e)
{
	struct service_text t;

	*out = (struct policy_settings){
		.context = str_c(c->smtpd_policy_service_policy_context), .timeout_ms = c->smtpd_policy_service_timeout * 1000,
		.max_idle_ms = c->smtpd_policy_service_max_idle * 1000, .max_ttl_ms = c->smtpd_policy_service_max_ttl * 1000,
		.retry_ms = c->smtpd_policy_service_retry_delay * 1000, .tries_max = c->smtpd_policy_service_try_limit,
		.requests_max = c->smtpd_policy_service_request_limit,
	};
	if (service_parse(text, &t, e) < 0 || dial_parse(t.target, &out->target, e) < 0)
		return -1;
	for (size_t i = 0; i < t.n; i++)
		if (setting(out, &t.v[i], e) < 0)
			return -1;
	return 0;
}
