/* The small commands: NOOP, QUIT, VRFY, EXPN, HELP. */
#include "smtpd/session.h"

void cmd_noop(struct session *s, struct str args)
{
	session_reply_str(s, 250, "2.0.0", STR("Ok"));
}

void cmd_quit(struct session *s, struct str args)
{
	session_reply_str(s, 221, "2.0.0", STR("Bye"));
	s->finish_after = s->quit = true;
}

/* No oracle: the same answer for every address (RFC 5321 3.5.3). */
void cmd_vrfy(struct session *s, struct str args)
{
	if (!session_offers(s, EXT_VRFY))
		session_reply(s, 502, "5.5.1", "VRFY command is disabled");
	else if (args.n == 0)
		session_reply(s, 501, "5.5.4", "Syntax: VRFY address");
	else
		session_reply_str(s, 252, "2.0.0", STR("Send some mail, I will try my best"));
}

void cmd_expn(struct session *s, struct str args)
{
	session_reply(s, 502, "5.5.1", "Error: command not implemented");
}

void cmd_help(struct session *s, struct str args)
{
	struct buf text;

	buf_init(&text, 2048);
	buf_c(&text, "Commands:");
	for (size_t i = 0; i < CMD_UNKNOWN; i++) {
		if (commands[i].flags & (s->profile->lmtp ? F_SMTP : F_LMTP))
			continue;
		buf_ch(&text, '\n');
		buf_c(&text, commands[i].help);
	}
	session_reply_str(s, 214, "2.0.0", buf_view(&text));
	buf_fini(&text);
}
