/* ID after login (RFC 2971): logged, and answered with our name only. */
#include "base/enc.h"
#include "log/log.h"
#include "session.h"

enum { PAIRS_MAX = 30, KEY_MAX = 30, VALUE_MAX = 1024 };

static int pairs(struct imap_lex *l, struct buf *text, struct err *e)
{
	if (imap_try_word(l, "NIL"))
		return 0;
	if (imap_get_char(l, '(', e) < 0)
		return -1;
	for (unsigned n = 0; !imap_try(l, ')'); n++) {
		struct str key, value;

		if (imap_get_string(l, &key, e) < 0 || imap_get_sp(l, e) < 0 || imap_get_nstring(l, &value, e) < 0)
			return -1;
		if (n == PAIRS_MAX || key.n > KEY_MAX || value.n > VALUE_MAX)
			return err_set(e, ERR_LIMIT, 0, "ID beyond the limits of RFC 2971");
		if (text->n)
			buf_c(text, ", ");
		text_neutral(text, key, KEY_MAX, true);
		buf_ch(text, '=');
		text_neutral(text, value, 100, true);
		if (!imap_at(l, ')') && imap_get_sp(l, e) < 0)
			return -1;
	}
	return 0;
}

enum cmd_result cmd_ID(struct client *c, struct imap_lex *l, struct err *e)
{
	struct buf text;
	int r = -1;

	buf_init(&text, 1024);
	if (imap_get_sp(l, e) == 0 && pairs(l, &text, e) == 0 && imap_get_end(l, e) == 0)
		r = 0;
	if (r == 0) {
		if (text.n)
			log_as("dovecot", LOG_LV_INFO, "imap(%s): ID sent: %s, rip=%s", c->user->name, text.p, c->rip);
		resp_untagged(c, "ID (\"name\" \"%s\")", c->user->conf->mail_name);
	}
	buf_fini(&text);
	return r < 0 ? CMD_BAD : CMD_OK;
}
