/* smtpd: receives mail. The frame (lib/front) accepts, forks and confines; a connection is session.c. */
#include "front/front.h"
#include "smtpd/session.h"

static struct conf_list listeners(const struct conf *c)
{
	return c->smtp_listeners;
}

static const char *user(const struct conf *c)
{
	return c->user_smtp;
}

int main(int argc, char **argv)
{
	static const struct front_service service = {
		.name = "smtp",
		.program = "smtpd",
		.log_program = "smtpd",
		.alpn = "",
		.busy_line = "421 4.3.2 Service not available, try again later\r\n",
		.uses_queue = true,
		.uses_auth = true,
		.seldom_profile = "smtp",
		.listeners = listeners,
		.user = user,
		.session = session_start,
	};

	return front_main(argc, argv, &service);
}
