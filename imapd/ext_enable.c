/* ENABLE (RFC 5161). Extensions that change what a client is sent are rows here; none exists yet, so nothing is ever enabled. */
#include "session.h"

enum cmd_result cmd_ENABLE(struct client *c, struct imap_lex *l, struct err *e)
{
	struct str name;

	do {
		if (imap_get_sp(l, e) < 0 || imap_get_atom(l, &name, e) < 0)
			return CMD_BAD;
	} while (imap_at(l, ' '));
	if (imap_get_end(l, e) < 0)
		return CMD_BAD;
	resp_untagged(c, "ENABLED");
	return CMD_OK;
}
