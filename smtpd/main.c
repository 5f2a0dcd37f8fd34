/* smtpd: receives mail. The frame (lib/front) accepts, forks and confines; a connection is session.c. */
#include "front/front.h"
#include "smtpd/session.h"
#include "smtpd/tables.h"

static struct conf_list listeners(const struct conf *c)
{
	return c->smtp_listeners;
}

static const char *user(const struct conf *c)
{
	return c->user_smtp;
}

static void client_limits(const struct conf *c, struct front_client_limits *out)
{
	*out = (struct front_client_limits){
		.at_once = c->smtpd_client_connection_count_limit,
		.per_window = c->smtpd_client_connection_rate_limit,
		.window_ms = c->anvil_rate_time_unit * 1000,
		.exceptions = c->smtpd_client_event_limit_exceptions,
	};
}

static bool may_log_in(const struct conf *c, const char *profile)
{
	return c->smtpd_sasl_auth_enable && profile_find(profile)->offer_auth;
}

static int prepare(struct front_env *env, struct err *e)
{
	return tables_open(env, e) < 0 ? -1 : ccert_open(env, e);
}

int main(int argc, char **argv)
{
	static const struct front_service service = {
		.name = "smtp",
		.program = "smtpd",
		.log_program = "smtpd",
		.alpn = "",
		.busy_line = "421 4.3.2 Service not available, try again later\r\n",
		.limited_line = "421 4.7.0 Error: too many connections from your address\r\n",
		.client_limits = client_limits,
		.uses_queue = true,
		.uses_auth = true,
		.may_log_in = may_log_in,
		.seldom_profile = "smtp",
		.listeners = listeners,
		.user = user,
		.prepare = prepare,
		.session = session_start,
	};

	return front_main(argc, argv, &service);
}
