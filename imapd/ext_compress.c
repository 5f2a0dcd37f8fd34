/* COMPRESS=DEFLATE (RFC 4978). The tagged answer leaves as it is; what follows it in either direction is deflated, here in the session: the front relays
 * bytes. */
#include "session.h"

enum cmd_result cmd_COMPRESS(struct client *c, struct imap_lex *l, struct err *e)
{
	struct str how;

	if (imap_get_sp(l, e) < 0 || imap_get_atom(l, &how, e) < 0 || imap_get_end(l, e) < 0)
		return CMD_BAD;
	if (!str_case_eq(how, STR("DEFLATE")))
		return err_set(e, ERR_INPUT, 0, "unknown compression"), CMD_BAD;
	if (c->compressed)
		return command_answer(c, "NO", "COMPRESSIONACTIVE", "Compression is active.");
	/* The client waits for the answer before it sends anything else (RFC 4978 section 3). */
	if (c->before.n)
		return err_set(e, ERR_INPUT, 0, "commands behind COMPRESS"), CMD_BAD;
	c->compress = true;
	return command_answer(c, "OK", "", "DEFLATE active.");
}

void compress_begin(struct client *c)
{
	struct err e = { 0 };

	c->compress = false;
	c->compressed = true;
	if (conn_deflate(c->conn, &e) < 0)
		client_end(c, e.text, NULL);
}
