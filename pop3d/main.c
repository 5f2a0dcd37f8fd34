/* pop3d: the front. Everything that daemons share is lib/front; a connection is login.c. */
#include "front/front.h"
#include "login.h"

static struct conf_list listeners(const struct conf *c)
{
	return c->pop3_listeners;
}

static const char *user(const struct conf *c)
{
	return c->user_pop3;
}

static const struct front_service service = {
	.name = "pop3",
	.program = "pop3d",
	.log_program = "pop3d",
	.alpn = "pop3",
	.busy_line = "-ERR [SYS/TEMP] Temporary failure, try again later.\r\n",
	.uses_auth = true,
	.listeners = listeners,
	.user = user,
	.session = login_session,
};

int main(int argc, char **argv)
{
	return front_main(argc, argv, &service);
}
