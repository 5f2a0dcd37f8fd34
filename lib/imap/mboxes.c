/* Mailbox filters. */
#include "imap/mboxes.h"

static const struct {
	const char *word;
	enum imap_mboxes_kind kind;
	bool names;
} kinds[] = {
	{ "selected", IMAP_MBOXES_SELECTED, false },
	{ "selected-delayed", IMAP_MBOXES_SELECTED_DELAYED, false },
	{ "inboxes", IMAP_MBOXES_INBOXES, false },
	{ "personal", IMAP_MBOXES_PERSONAL, false },
	{ "subscribed", IMAP_MBOXES_SUBSCRIBED, false },
	{ "subtree", IMAP_MBOXES_SUBTREE, true },
	{ "subtree-one", IMAP_MBOXES_SUBTREE_ONE, true },
	{ "mailboxes", IMAP_MBOXES_MAILBOXES, true },
};

/* one-or-more-mailbox: mailbox / "(" mailbox *(SP mailbox) ")" */
static int get_names(struct imap_lex *l, struct imap_mboxes *out, struct err *e)
{
	if (imap_get_sp(l, e) < 0)
		return -1;
	if (imap_at(l, '('))
		return imap_get_astring_list(l, false, &out->names, &out->n, e);
	if (!(out->names = ARENA_ARRAY(l->arena, struct str, 1)))
		return err_set(e, ERR_LIMIT, 0, "command needs too much memory");
	out->n = 1;
	return imap_get_mailbox(l, out->names, e);
}

int imap_get_mboxes(struct imap_lex *l, struct imap_mboxes *out, struct err *e)
{
	struct str word;

	*out = (struct imap_mboxes){ 0 };
	if (imap_get_atom(l, &word, e) < 0)
		return -1;
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
		if (!str_case_eq(word, str_c(kinds[i].word)))
			continue;
		out->kind = kinds[i].kind;
		return kinds[i].names ? get_names(l, out, e) : 0;
	}
	return err_set(e, ERR_INPUT, 0, "unknown mailbox filter");
}
