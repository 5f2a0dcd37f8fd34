/* Commands that touch no mailbox: CAPABILITY, NOOP, CHECK, LOGOUT (RFC 3501 sections 6.1, 6.4.1), NAMESPACE (RFC 2342). */
#include "caps.h"
#include "session.h"

enum cmd_result cmd_CAPABILITY(struct client *c, struct imap_lex *l, struct err *e)
{
	if (imap_get_end(l, e) < 0)
		return CMD_BAD;
	struct buf *out = resp(c);

	buf_c(out, "* CAPABILITY ");
	caps_put(out, CAP_POST | (c->compressed ? 0u : CAP_CANCOMPRESS), c->user->conf, false);
	buf_c(out, "\r\n");
	return CMD_OK;
}

enum cmd_result cmd_NOOP(struct client *c, struct imap_lex *l, struct err *e)
{
	(void)c;
	return imap_get_end(l, e) < 0 ? CMD_BAD : CMD_OK;
}

enum cmd_result cmd_CHECK(struct client *c, struct imap_lex *l, struct err *e)
{
	/* Every acknowledged change is durable already. */
	(void)c;
	return imap_get_end(l, e) < 0 ? CMD_BAD : CMD_OK;
}

enum cmd_result cmd_LOGOUT(struct client *c, struct imap_lex *l, struct err *e)
{
	if (imap_get_end(l, e) < 0)
		return CMD_BAD;
	resp_untagged(c, "BYE Logging out");
	c->why = "Logged out";
	return CMD_OK;
}

enum cmd_result cmd_NAMESPACE(struct client *c, struct imap_lex *l, struct err *e)
{
	if (imap_get_end(l, e) < 0)
		return CMD_BAD;
	resp_untagged(c, "NAMESPACE ((\"\" \"/\")) NIL NIL");
	return CMD_OK;
}
