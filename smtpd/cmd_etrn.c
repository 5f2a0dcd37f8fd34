/* ETRN (RFC 1985): queued decides whether the domain is served, and starts. */
#include <stdio.h>

#include "smtp/addr.h"
#include "smtpd/peers.h"

static void answered(struct session *s, const struct ipc_queue_REPLY *r)
{
	char enhanced[16];

	(void)snprintf(enhanced, sizeof enhanced, "%.*s", STR_ARG(r->enhanced));
	if (r->code >= 400)
		session_log_reject(s, "ETRN", (int)r->code, enhanced, r->text, (struct str){ 0 });
	session_reply_str(s, (int)r->code, enhanced, r->text);
}

void cmd_etrn(struct session *s, struct str args)
{
	const struct str name = args.n > 0 && args.p[0] == '@' ? str_from(args, 1) : args;

	if (!session_offers(s, EXT_ETRN))
		session_reply(s, 502, "5.5.1", "Error: command not implemented");
	else if (s->state & ST_TRANS)
		session_reply(s, 503, "5.5.1", "Error: MAIL transaction in progress");
	else if (s->state == ST_START && s->conf->smtpd_helo_required)
		session_reply(s, 503, "5.5.1", "Error: send HELO/EHLO first");
	else if (args.n == 0)
		session_reply(s, 501, "5.5.4", "Syntax: ETRN domain");
	else if (args.n > 0 && args.p[0] == '#')
		session_reply(s, 501, "5.5.4", "Error: queues have no names here");
	else if (!smtp_domain_valid(name))
		session_reply(s, 501, "5.5.4", "Error: invalid parameter syntax");
	else
		peers_etrn(s, args, answered);
}
