/* imapd: the front. Everything that daemons share is lib/front; a connection is login.c. */
#include "caps.h"
#include "front/front.h"
#include "log/log.h"
#include "login.h"

static struct conf_list listeners(const struct conf *c)
{
	return c->imap_listeners;
}

static const char *user(const struct conf *c)
{
	return c->user_imap;
}

/* Words that name nothing are no reason not to serve: another version may know them. */
static int prepare(struct front_env *env, struct err *e)
{
	const char *word;

	(void)e;
	for (size_t at = 0; (word = caps_unknown(env->conf, &at)) != NULL;)
		log_warning("imap_discard_capabilities: there is no capability %s", word);
	return 0;
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
	.prepare = prepare,
	.session = login_session,
};

int main(int argc, char **argv)
{
	return front_main(argc, argv, &service);
}
