/* CATENATE's URLs (RFC 4469): parts of messages that are here already. */
#include "append.h"
#include "fetch.h"
#include "imap/out.h"
#include "imap/url.h"

static enum advance bad_url(struct client *c, struct str text)
{
	struct append *a = c->append;
	struct buf b;

	buf_init(&b, text.n * 2 + 64);
	buf_c(&b, "BADURL ");
	imap_put_string(&b, str_printable(text) ? text : STR("?"));
	const char *code = arena_cstr(c->arena, buf_view(&b));

	buf_fini(&b);
	a->failed = true;
	a->result = command_answer(c, "NO", code, "The URL names nothing here.");
	return ADV_FAILED;
}

/* The bytes of wire form that the URL's PARTIAL leaves, in the arena. */
static struct str part_of(struct client *c, const struct imap_url *u, struct str piece)
{
	const uint64_t size = crlf_size(piece), from = u->from < size ? u->from : size;
	struct crlf cursor;
	struct buf b;

	buf_init(&b, size + 1);
	crlf_start(&cursor, piece);
	crlf_skip(&cursor, from);
	crlf_read(&cursor, &b, u->count && u->count < size - from ? u->count : size - from);
	const struct str s = arena_str(c->arena, buf_view(&b));

	buf_fini(&b);
	return s;
}

static enum advance add(struct client *c, struct str text, const struct imap_url *u, struct mbox_view *v, append_room *room)
{
	const uint32_t seq = mbox_view_seq(v, u->uid);
	struct append *a = c->append;
	enum advance r = ADV_ON;
	struct err quiet = { 0 };
	struct msgfile file;
	struct str piece;

	if (!seq || mbox_view_is_expunged(v, seq) || msgfile_open(&file, v, seq, false, &quiet) < 0)
		return bad_url(c, text);
	if (!section_piece(c->arena, &file, &u->section, &piece))
		r = bad_url(c, text);
	if (r == ADV_ON && u->partial)
		piece = part_of(c, u, piece);
	if (r == ADV_ON)
		r = room(c, u->partial ? piece.n : crlf_size(piece));
	if (r == ADV_ON && mbox_append_data(a->to, piece, &a->e) < 0) {
		a->failed = true;
		a->result = CMD_NO;
		r = ADV_FAILED;
	}
	msgfile_close(&file);
	return r;
}

static enum advance in_mailbox(struct client *c, struct str text, const struct imap_url *u, append_room *room)
{
	struct err quiet = { 0 };
	struct mbox_view *v;
	struct mbox *m;
	enum advance r;

	if (mbox_open(c->user->store, u->mailbox, &m, &quiet) < 0)
		return bad_url(c, text);
	if (u->uidvalidity && mbox_uidvalidity(m) != u->uidvalidity) {
		mbox_close(&m);
		return bad_url(c, text);
	}
	v = mbox_view_peek(m);
	r = add(c, text, u, v, room);
	mbox_view_free(&v);
	mbox_close(&m);
	return r;
}

enum advance append_url(struct client *c, struct str text, append_room *room)
{
	struct imap_url u;

	if (imap_url_parse(c->arena, text, &u, NULL) < 0)
		return bad_url(c, text);
	if (u.mailbox.p && c->guest)	/* only what is selected: that may be read */
		return bad_url(c, text);
	if (u.mailbox.p)
		return in_mailbox(c, text, &u, room);
	return c->folder ? add(c, text, &u, c->view, room) : bad_url(c, text);
}
