/* Commands that touch no mailbox: CAPABILITY, NOOP, CHECK, LOGOUT (RFC 3501 sections 6.1, 6.4.1), NAMESPACE (RFC 2342). */
#include "caps.h"
#include "imap/out.h"
#include "imap/utf7.h"
#include "spaces.h"

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

static void put_space(struct client *c, struct buf *out, enum space s)
{
	const struct str name = str_c(space_name(c->user->conf, s));
	struct buf b;

	if (!space_on(c, s)) {
		buf_c(out, " NIL");
		return;
	}
	buf_init(&b, 8 * STORE_FOLDER_NAME_MAX);
	if (c->enabled & EN_UTF8)
		buf_str(&b, name);
	else
		imap_utf7_encode(name, &b);
	buf_ch(&b, '/');
	buf_c(out, " ((");
	imap_put_string(out, buf_view(&b));
	buf_c(out, " \"/\"))");
	buf_fini(&b);
}

enum cmd_result cmd_NAMESPACE(struct client *c, struct imap_lex *l, struct err *e)
{
	if (imap_get_end(l, e) < 0)
		return CMD_BAD;
	struct buf *out = resp(c);

	buf_c(out, "* NAMESPACE ((\"\" \"/\"))");
	put_space(c, out, SPACE_OTHER);
	put_space(c, out, SPACE_SHARED);
	buf_c(out, "\r\n");
	return CMD_OK;
}
