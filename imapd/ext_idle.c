/* IDLE (RFC 2177). While a connection idles, folder.c tells it each change at once; a keep-alive keeps NATs and clients awake. Whatever the client sends
 * ends it: DONE as it should, anything else with BAD. */
#include "session.h"

static void on_keepalive(void *ctx)
{
	struct client *c = ctx;

	if (!c->run.step) {		/* else it hears something anyway */
		resp_untagged(c, "OK Still here");
		resp_flush(c);
	}
	timer_again(c->keepalive, c->user->conf->imap_idle_notify_interval * 1000);
}

void idle_stop(struct client *c)
{
	c->idling = false;
	timer_del(&c->keepalive);
}

enum cmd_result cmd_IDLE(struct client *c, struct imap_lex *l, struct err *e)
{
	if (imap_get_end(l, e) < 0)
		return CMD_BAD;
	/* Said before "+ idling": clients look at what came before too. Where it is very much the rest comes behind it. */
	const int r = c->folder ? folder_sync(c, true, true, e) : 0;

	if (r < 0)
		return CMD_NO;
	buf_c(resp(c), "+ idling\r\n");
	c->idling = true;
	if (r > 0)
		folder_push_later(c);
	c->keepalive = loop_timer(c->user->loop, c->user->conf->imap_idle_notify_interval * 1000, on_keepalive, c);
	return CMD_WAIT;
}

void idle_line(struct client *c, struct str line)
{
	struct err e = { 0 };
	const bool done = c->scan.error == IMAP_SCAN_OK && str_case_eq(line, STR("DONE"));

	idle_stop(c);
	if (!done)
		(void)err_set(&e, ERR_INPUT, 0, "expected DONE");
	command_finish(c, done ? CMD_OK : CMD_BAD, &e);
}
