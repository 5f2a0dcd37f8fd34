/* Responses. The only module that puts bytes on a connection: they are gathered in one buffer of the process and handed over when a step ends or
 * the buffer is large, so that a thousand FETCH responses are one write. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "imap/out.h"
#include "session.h"

enum { FLUSH_AT = 65536 };

struct buf *resp(struct client *c)
{
	struct user *u = c->user;

	if (u->out.n && (u->out_client != c || u->out.n >= FLUSH_AT))
		resp_flush(u->out_client);
	u->out_client = c;
	return &u->out;
}

void resp_flush(struct client *c)
{
	struct buf *out = &c->user->out;

	if (c->user->out_client != c)
		return;
	if (out->n && c->conn) {
		c->out_bytes += out->n;
		conn_write(c->conn, buf_view(out));
	}
	if (out->cap > 2 * FLUSH_AT)
		buf_fini(out);
	else
		buf_reset(out);
}

bool resp_full(struct client *c)
{
	const size_t here = c->user->out_client == c ? c->user->out.n : 0;

	return !c->conn || here + conn_out_pending(c->conn) >= CLIENT_OUT_HIGH;
}

void resp_untagged(struct client *c, const char *fmt, ...)
{
	struct buf *out = resp(c);
	char line[1024];
	va_list ap;

	va_start(ap, fmt);
	const int n = vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	buf_c(out, "* ");
	buf_mem(out, line, n < 0 ? 0 : (size_t)n < sizeof(line) ? (size_t)n : sizeof(line) - 1);
	buf_c(out, "\r\n");
}

void resp_tagged(struct client *c, const char *status, const char *code, const char *text)
{
	struct buf *out = resp(c);

	if (c->run.tag.n)
		buf_str(out, c->run.tag);
	else
		buf_ch(out, '*');
	buf_ch(out, ' ');
	buf_c(out, status);
	buf_ch(out, ' ');
	if (code && *code) {
		buf_ch(out, '[');
		buf_c(out, code);
		buf_c(out, "] ");
	}
	imap_put_text(out, str_c(text));
	buf_c(out, "\r\n");
}

/* --- flags --- */

enum { SYSTEM_FLAGS = 128 };	/* combinations of them */

static const struct {
	uint32_t bit;
	const char *name;
} system_flags[] = {
	{ MBOX_ANSWERED, "\\Answered" }, { MBOX_FLAGGED, "\\Flagged" }, { MBOX_DELETED, "\\Deleted" },
	{ MBOX_SEEN, "\\Seen" },	 { MBOX_DRAFT, "\\Draft" },	{ MBOX_RECENT, "\\Recent" },
	{ MBOX_FORWARDED, "$Forwarded" },
};

/* "(" and their names, for each combination: made once. Returns how many bytes. */
static size_t put_system_flags(struct buf *out, uint32_t flags)
{
	static struct { char text[63]; unsigned char n; } made[SYSTEM_FLAGS];
	struct buf b;

	flags &= SYSTEM_FLAGS - 1;
	if (made[flags].n == 0) {
		buf_init(&b, sizeof(made->text));
		buf_ch(&b, '(');
		for (size_t i = 0; i < ARRAY_LEN(system_flags); i++) {
			if (flags & system_flags[i].bit) {
				buf_c(&b, b.n > 1 ? " " : "");
				buf_c(&b, system_flags[i].name);
			}
		}
		memcpy(made[flags].text, b.p, b.n);
		made[flags].n = (unsigned char)b.n;
		buf_fini(&b);
	}
	/* All of the row: for few bytes, but not a number that it knows, the compiler makes an instruction that takes 20 ns to begin. */
	char *const room = buf_room(out, sizeof(made->text));

	if (room) {
		memcpy(room, made[flags].text, sizeof(made->text));
		buf_added(out, made[flags].n);
	}
	return made[flags].n;
}

void resp_flags(struct client *c, struct buf *out, const struct mbox_msg *m)
{
	const char *sep = put_system_flags(out, c->enabled & EN_REV2 ? m->flags & ~(uint32_t)MBOX_RECENT : m->flags) > 1 ? " " : "";
	size_t n;
	const char *const *names;

	names = mbox_keywords(c->folder->mbox, &n);
	for (size_t w = 0; w < ARRAY_LEN(m->keywords) && w * 64 < n; w++) {
		for (uint64_t bits = m->keywords[w]; bits; bits &= bits - 1) {
			const size_t k = w * 64 + (size_t)__builtin_ctzll(bits);

			if (k >= n)
				break;
			buf_c(out, sep);
			buf_c(out, names[k]);
			sep = " ";
		}
	}
	buf_ch(out, ')');
}

/* Those that may be changed with these rights. */
static void put_flag_names(struct client *c, struct buf *out, uint32_t rights)
{
	const char *sep = rights & ACL_W ? " " : "";
	size_t n;
	const char *const *names = mbox_keywords(c->folder->mbox, &n);

	if (rights & ACL_W)
		buf_c(out, "\\Answered \\Flagged");
	if (rights & ACL_T) {
		buf_printf(out, "%s\\Deleted", sep);
		sep = " ";
	}
	if (rights & ACL_S)
		buf_printf(out, "%s\\Seen", sep);
	if (rights & ACL_W)
		buf_c(out, " \\Draft $Forwarded");
	for (size_t i = 0; (rights & ACL_W) && i < n; i++) {
		if (mbox_keyword_hidden(names[i]))
			continue;
		buf_ch(out, ' ');
		buf_c(out, names[i]);
	}
}

void resp_known_flags(struct client *c)
{
	struct buf *out = resp(c);

	buf_c(out, "* FLAGS (");
	put_flag_names(c, out, ACL_ALL);
	buf_c(out, ")\r\n* OK [PERMANENTFLAGS (");
	if (!c->readonly) {
		put_flag_names(c, out, c->rights);
		buf_c(out, c->rights & ACL_W ? " \\*" : "");
	}
	buf_c(out, c->readonly ? ")] Read-only mailbox.\r\n" : ")] Flags permitted.\r\n");
	(void)mbox_keywords(c->folder->mbox, &c->keywords_told);
}

void resp_new_keywords(struct client *c)
{
	const size_t told = c->keywords_told;
	size_t n;
	const char *const *names = mbox_keywords(c->folder->mbox, &n);
	bool news = n < told;

	for (size_t i = told; !news && i < n; i++)
		news = !mbox_keyword_hidden(names[i]);
	if (news)
		resp_known_flags(c);
	else
		c->keywords_told = n;
}

void resp_flags_response(struct client *c, uint32_t seq, const struct mbox_msg *m)
{
	struct buf *out;

	resp_new_keywords(c);
	out = resp(c);
	buf_c(out, "* ");
	buf_u64(out, seq);
	buf_c(out, " FETCH (");
	if (c->run.uid || (c->enabled & EN_QRESYNC) || notify_immediate(c)) {	/* RFC 3501 6.4.8, RFC 7162 3.2.4, RFC 5465 5.1 */
		buf_c(out, "UID ");
		buf_u64(out, m->uid);
		buf_ch(out, ' ');
	}
	buf_c(out, "FLAGS ");
	resp_flags(c, out, m);
	if (c->enabled & EN_CONDSTORE)
		buf_printf(out, " MODSEQ (%llu)", (unsigned long long)m->modseq);
	buf_c(out, ")\r\n");
}

uint32_t flags_of(struct imap_flags *f)
{
	static const uint32_t bits[IMAP_FLAG_MAX_] = {
		[IMAP_FLAG_ANSWERED] = MBOX_ANSWERED, [IMAP_FLAG_FLAGGED] = MBOX_FLAGGED, [IMAP_FLAG_DELETED] = MBOX_DELETED,
		[IMAP_FLAG_SEEN] = MBOX_SEEN,	      [IMAP_FLAG_DRAFT] = MBOX_DRAFT,
	};
	uint32_t out = 0;
	size_t n = 0;

	for (unsigned i = 0; i < IMAP_FLAG_MAX_; i++)
		out |= f->system & 1u << i ? bits[i] : 0;
	for (size_t i = 0; i < f->n; i++) {
		if (str_case_eq(f->keywords[i], STR("$Forwarded")))
			out |= MBOX_FORWARDED;
		else
			f->keywords[n++] = f->keywords[i];
	}
	f->n = n;
	return out;
}
