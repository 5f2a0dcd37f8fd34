/* Mailbox names: from the wire to the store and the answers when a name or a folder is not usable. */
#include "base/enc.h"
#include "imap/out.h"
#include "imap/utf7.h"
#include "session.h"

enum cmd_result no_cannot(struct client *c, const char *text)
{
	return command_answer(c, "NO", "CANNOT", text);
}

/* What no folder may hold in a level: these would be files or directories of the maildir itself, or leave the tree. */
static bool level_ok(struct str level)
{
	if (level.n == 0 || str_eq(level, STR(".")) || str_eq(level, STR("..")))
		return false;
	for (size_t i = 0; i < level.n; i++) {
		if (ch_ctl(level.p[i]))
			return false;
	}
	return true;
}

enum cmd_result name_take(struct client *c, struct str wire, struct str *out, struct err *e)
{
	struct buf b;
	struct str rest;
	bool ok;

	buf_init(&b, STORE_FOLDER_NAME_MAX + 64);
	if (c->enabled & EN_UTF8)
		buf_str(&b, wire);
	ok = (c->enabled & EN_UTF8 || imap_utf7_decode(wire, &b) == 0) && !buf_failed(&b) && b.n <= STORE_FOLDER_NAME_MAX && utf8_valid(buf_view(&b));
	/* "CREATE a/" means "a" (RFC 3501 6.3.3). */
	if (ok && b.n > 1 && b.p[b.n - 1] == '/')
		buf_cut(&b, b.n - 1);
	/* A guest knows these folders by longer names; others are not here. */
	if (ok && c->guest) {
		ok = str_starts(buf_view(&b), c->prefix) && b.n > c->prefix.n;
		if (ok)
			buf_shift(&b, c->prefix.n);
	}
	rest = buf_view(&b);
	while (ok && rest.p)
		ok = level_ok(str_split(&rest, '/'));
	if (ok && b.n >= 5 && str_case_eq(str_n(b.p, 5), STR("INBOX")) && (b.n == 5 || b.p[5] == '/'))
		memcpy(b.p, "INBOX", 5);
	*out = arena_str(c->arena, buf_view(&b));
	buf_fini(&b);
	(void)e;
	return ok ? CMD_OK : no_cannot(c, "Invalid mailbox name.");
}

enum cmd_result store_no(struct client *c, const struct err *e, bool trycreate)
{
	const char *text = arena_strdup(c->arena, e->text);

	if (e->code == ERR_NOENT && (c->guest || e->sys))	/* a guest the same as of what is hidden; and nobody a file's name */
		text = "No such mailbox.";
	if (e->code == ERR_NOENT)
		return command_answer(c, "NO", trycreate ? "TRYCREATE" : "NONEXISTENT", text ? text : "No such mailbox.");
	if (e->code == ERR_INPUT)
		return no_cannot(c, text ? text : "Invalid mailbox name.");
	return command_answer(c, "NO", err_row(e->code)->imap, text ? text : "Failed.");
}

void client_put_mailbox(struct client *c, struct buf *out, struct str utf8)
{
	const struct arena_mark mark = arena_mark(c->arena);

	if (c->guest)
		utf8 = str_c(arena_printf(c->arena, "%.*s%.*s", STR_ARG(c->prefix), STR_ARG(utf8)));
	if (c->enabled & EN_UTF8)
		imap_put_utf8(out, utf8);
	else
		imap_put_mailbox(out, utf8);
	arena_release(c->arena, mark);
}
