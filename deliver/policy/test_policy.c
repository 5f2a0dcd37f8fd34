/* The policy protocol's answers, whole, cut and malformed; how services are named. */
#include <stdio.h>
#include <stdlib.h>

#include "deliver/policy/policy.h"
#include "deliver/policy/policy_settings.h"
#include "test/tap.h"

static void test_answers(void)
{
	static const struct {
		const char *name, *in;
		int r;
		const char *action;
	} t[] = {
		{ "an action", "action=DUNNO\n\n", 0, "DUNNO" },
		{ "with a text", "action=DEFER_IF_PERMIT come back\n\n", 0, "DEFER_IF_PERMIT come back" },
		{ "other names are passed over", "foo=bar\naction=OK\nx=\n\n", 0, "OK" },
		{ "CRLF", "action=OK\r\n\r\n", 0, "OK" },
		{ "the name in capitals", "ACTION=OK\n\n", 0, "OK" },
		{ "cut in the line", "action=DU", 1, "" },
		{ "cut before the empty line", "action=DUNNO\n", 1, "" },
		{ "nothing", "", 1, "" },
		{ "no action", "foo=bar\n\n", -1, "" },
		{ "an empty action", "action=\n\n", -1, "" },
		{ "two actions", "action=OK\naction=REJECT\n\n", -1, "" },
		{ "no name", "OK\n\n", -1, "" },
		{ "only an empty line", "\n", -1, "" },
	};

	for (size_t i = 0; i < ARRAY_LEN(t); i++) {
		struct str action = { 0 };
		struct err e = { 0 };
		size_t used = 0;
		tap_is_int(policy_answer_parse(str_c(t[i].in), &action, &used, &e), t[i].r, "%s (%s)", t[i].name, e.text);
		tap_is_mem(action, str_c(t[i].action), "%s: its action", t[i].name);
		for (size_t n = 0; t[i].r == 0 && n < strlen(t[i].in); n++)
			if (policy_answer_parse(str_n(t[i].in, n), &action, &used, &e) != 1)
				tap_ok(false, "%s: cut at %zu is not whole", t[i].name, n);
	}
	char *big = malloc(POLICY_ANSWER_MAX + 10);
	struct str action;
	struct err e = { 0 };
	size_t used;
	memset(big, 'a', POLICY_ANSWER_MAX + 10);
	tap_is_int(policy_answer_parse(str_n(big, POLICY_ANSWER_MAX), &action, &used, &e), 1, "a long answer is waited for");
	tap_is_int(policy_answer_parse(str_n(big, POLICY_ANSWER_MAX + 1), &action, &used, &e), -1, "an endless one is not");
	tap_is_int(e.code, ERR_LIMIT, "it is a limit");
	free(big);
}

static void test_names(void)
{
	static const struct {
		const char *in, *want;
	} t[] = {
		{ "inet:127.0.0.1:10023", "127.0.0.1 10023 " }, { "inet:[::1]:10023", "::1 10023 " }, { "inet:pol.example.com:1", "pol.example.com 1 " }, { "unix:/run/x", " 0 /run/x" },
		{ "{ inet:localhost:1, timeout=10s, default_action = { 451 4.3.5 x } }", "localhost 1  timeout=10s default_action=451 4.3.5 x" },
		{ "unix:private/x", "no" }, { "inet:host", "no" }, { "inet::1", "no" }, { "inet:h:0", "no" }, { "inet:h:65536", "no" }, { "{ inet:h:1", "no" }, { "{ inet:h:1, x }", "no" }, { "{}", "no" },
		{ "", "no" },
	};

	for (size_t i = 0; i < ARRAY_LEN(t); i++) {
		struct service_text s;
		struct dial_target d;
		struct err e = { 0 };
		char got[300] = "no";
		if (service_parse(str_c(t[i].in), &s, &e) == 0 && dial_parse(s.target, &d, &e) == 0) {
			int n = snprintf(got, sizeof(got), "%s %u %s", d.host, d.port, d.path);
			for (size_t k = 0; k < s.n; k++)
				n += snprintf(got + n, sizeof(got) - (size_t)n, " %.*s=%.*s", STR_ARG(s.v[k].name), STR_ARG(s.v[k].value));
		}
		tap_is_str(got, t[i].want, "service \"%s\"", t[i].in);
	}
}

static void test_settings(void)
{
	static const struct {
		const char *in, *want;
	} t[] = {
		{ "inet:h:1", "100000 300000 1000000 1000 2 7 [any] -" },
		{ "{ inet:h:1, timeout=10s, max_idle=20, max_ttl=30s, retry_delay=4s, try_limit=5, request_limit=6, policy_context = mx in, default_action={ DEFER x } }",
		  "10000 20000 30000 4000 5 6 [mx in] DEFER x" },
		{ "{ inet:h:1, policy_context={ a, b } }", "no" }, { "{ inet:h:1, policy_context= }", "100000 300000 1000000 1000 2 7 [] -" },
		{ "{ inet:h:1, timeout=0s }", "no" }, { "{ inet:h:1, timeout=1h }", "no" }, { "{ inet:h:1, try_limit=101 }", "no" }, { "{ inet:h:1, request_limit=-1 }", "no" },
		{ "{ inet:h:1, time_out=1s }", "no" }, { "{ h, timeout=1s }", "no" },
	};
	struct conf *c = NULL;
	struct err e = { 0 };

	tap_is_int(conf_parse(STR("smtpd_policy_service_request_limit = 7\nsmtpd_policy_service_policy_context = any\n"), "x.conf", &c, NULL, &e), 0, "a configuration");
	for (size_t i = 0; i < ARRAY_LEN(t); i++) {
		struct policy_settings s;
		char got[300] = "no";
		if (policy_settings_parse(c, str_c(t[i].in), &s, &e) == 0)
			snprintf(got, sizeof(got), "%llu %llu %llu %llu %llu %llu [%.*s] %.*s", (unsigned long long)s.timeout_ms, (unsigned long long)s.max_idle_ms,
				 (unsigned long long)s.max_ttl_ms, (unsigned long long)s.retry_ms, (unsigned long long)s.tries_max, (unsigned long long)s.requests_max,
				 STR_ARG(s.context), STR_ARG(s.fallback.p ? s.fallback : STR("-")));
		tap_is_str(got, t[i].want, "settings of \"%s\"", t[i].in);
	}
	conf_free(&c);
}

int main(void)
{
	test_answers();
	test_settings();
	test_names();
	return tap_done();
}
