/* imapd: the front. Everything that daemons share is lib/front; a connection is login.c. */
#include "front/front.h"
#include "login.h"

static struct conf_list listeners(const struct conf *c)
{
	return c->imap_listeners;
}

static const char *user(const struct conf *c)
{
	return c->user_imap;
}

static const struct front_service service = {
	.name = "imap",
	.program = "imapd",
	.log_program = "imapd",
	.alpn = "imap",
	.busy_line = "* BYE Temporary failure, try again later.\r\n",
	.uses_auth = true,
	.listeners = listeners,
	.user = user,
	.session = login_session,
};

int main(int argc, char **argv)
{
	return front_main(argc, argv, &service);
}
