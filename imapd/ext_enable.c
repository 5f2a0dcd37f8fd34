/* ENABLE (RFC 5161): extensions that change what a client is sent. Names that are no such extension are left out of the answer. */
#include "caps.h"
#include "link.h"

static const struct {
	const char *name;
	unsigned bits;
} rows[] = {
	{ "CONDSTORE", EN_CONDSTORE },
	{ "UTF8=ACCEPT", EN_UTF8 },	/* RFC 6855 */
	{ "IMAP4rev2", EN_REV2 | EN_UTF8 },	/* RFC 9051; names are UTF-8 in it */
	{ "QRESYNC", EN_QRESYNC | EN_CONDSTORE },	/* RFC 7162 3.2.3: includes CONDSTORE */
};

static unsigned bits_of(const struct conf *conf, struct str name, const char **known)
{
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		if (str_case_eq(name, str_c(rows[i].name)) && caps_offered(conf, rows[i].name)) {
			*known = rows[i].name;
			return rows[i].bits;
		}
	}
	return 0;
}

static void answer(struct client *c, const bool *asked)
{
	struct buf *out = resp(c);

	buf_c(out, "* ENABLED");
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		if (asked[i])
			buf_printf(out, " %s", rows[i].name);
	}
	buf_c(out, "\r\n");
}

enum cmd_result cmd_ENABLE(struct client *c, struct imap_lex *l, struct err *e)
{
	bool asked[ARRAY_LEN(rows)] = { false };
	unsigned bits = 0;
	struct str name;

	do {
		const char *known = NULL;

		if (imap_get_sp(l, e) < 0 || imap_get_atom(l, &name, e) < 0)
			return CMD_BAD;
		bits |= bits_of(c->user->conf, name, &known);
		for (size_t i = 0; known && i < ARRAY_LEN(rows); i++)
			asked[i] |= rows[i].name == known;
	} while (imap_at(l, ' '));
	if (imap_get_end(l, e) < 0)
		return CMD_BAD;
	answer(c, asked);
	if (bits & EN_CONDSTORE)
		condstore_enable(c);
	c->enabled |= bits;
	links_enable(c);
	return CMD_OK;
}
