/* What is read of a foreign IMAP server's answers: tokens (RFC 3501 section 9) of a whole answer, FETCH and LIST. Items that are not known are
 * skipped, whatever they hold; depth is bounded. */
#include "base/num.h"
#include "admin/import/import_net.h"
#include "imap/lex.h"
#include "imap/utf7.h"

enum { DEPTH_MAX = 50 };

static int bad(struct err *e, const char *what)
{
	return err_set(e, ERR_INPUT, 0, "the server's answer: %s", what);
}

static int quoted(struct str *in, struct arena *a, struct str *out, struct err *e)
{
	char *const p = arena_alloc(a, in->n + 1);
	size_t n = 0, i = 1;

	for (; i < in->n && in->p[i] != '"'; i++) {
		if (in->p[i] == '\\' && ++i == in->n)
			break;
		p[n++] = in->p[i];
	}
	if (i >= in->n)
		return bad(e, "a string without end");
	*out = str_n(p, n);
	*in = str_from(*in, i + 1);
	return 0;
}

static int literal(struct str *in, struct str *out, struct err *e)
{
	struct str s = str_from(*in, 1);
	uint64_t n;

	if (num_take(&s, SIZE_MAX / 2, &n) < 0 || s.n < 3 || memcmp(s.p, "}\r\n", 3) != 0 || n > s.n - 3)
		return bad(e, "a literal that is cut short");
	*out = str_sub(s, 3, (size_t)n);
	*in = str_from(s, 3 + (size_t)n);
	return 0;
}

int reply_next(struct str *in, struct arena *a, struct reply_token *out, struct err *e)
{
	size_t n = 0;
	unsigned brackets = 0;

	while (in->n > 0 && (in->p[0] == ' ' || in->p[0] == '\r' || in->p[0] == '\n'))
		*in = str_from(*in, 1);
	*out = (struct reply_token){ .kind = REPLY_END };
	if (in->n == 0)
		return 0;
	if (in->p[0] == '(' || in->p[0] == ')') {
		out->kind = in->p[0] == '(' ? REPLY_OPEN : REPLY_CLOSE;
		*in = str_from(*in, 1);
		return 0;
	}
	out->kind = REPLY_STRING;
	if (in->p[0] == '"')
		return quoted(in, a, &out->s, e);
	if (in->p[0] == '{')
		return literal(in, &out->s, e);
	/* BODY[HEADER.FIELDS (A B)] is one. */
	for (; n < in->n; n++) {
		const char c = in->p[n];
		brackets += c == '[';
		brackets -= c == ']' && brackets > 0;
		if (brackets == 0 && (c == ' ' || c == '(' || c == ')' || c == '\r' || c == '\n'))
			break;
	}
	if (n == 0)
		return bad(e, "not a token");
	out->kind = REPLY_ATOM;
	out->s = str_sub(*in, 0, n);
	*in = str_from(*in, n);
	return 0;
}

int reply_skip(struct str *in, const struct reply_token *first, struct arena *a, struct err *e)
{
	unsigned depth = first->kind == REPLY_OPEN;
	struct reply_token t;

	while (depth > 0) {
		if (reply_next(in, a, &t, e) < 0)
			return -1;
		if (t.kind == REPLY_END)
			return bad(e, "a list without end");
		depth += t.kind == REPLY_OPEN;
		depth -= t.kind == REPLY_CLOSE;
		if (depth > DEPTH_MAX)
			return bad(e, "lists too deep");
	}
	return 0;
}

bool reply_literal(struct str line, uint64_t *n_out)
{
	const ptrdiff_t open = str_rchr(line, '{');

	if (open < 0 || line.p[line.n - 1] != '}')
		return false;
	struct str s = str_from(line, (size_t)open + 1);
	s.n--;
	if (s.n > 0 && s.p[s.n - 1] == '+')
		s.n--;
	return num_parse(s, 0, UINT64_MAX, n_out) == 0;
}

/* --- FETCH --- */

static void one_flag(struct reply_fetch *f, struct str s)
{
	static const struct { const char *name; uint32_t flag; } known[] = {
		{ "\\Seen", MBOX_SEEN }, { "\\Answered", MBOX_ANSWERED }, { "\\Flagged", MBOX_FLAGGED }, { "\\Deleted", MBOX_DELETED },
		{ "\\Draft", MBOX_DRAFT }, { "$Forwarded", MBOX_FORWARDED },
	};

	for (size_t i = 0; i < ARRAY_LEN(known); i++)
		if (str_case_eq(s, str_c(known[i].name))) {
			f->flags |= known[i].flag;
			return;
		}
	bool ok = s.n > 0 && s.n <= STORE_KEYWORD_NAME_MAX && f->n_keywords < ARRAY_LEN(f->keywords);
	for (size_t i = 0; i < s.n; i++)
		ok &= imap_is_atom_char(s.p[i]);
	if (ok)
		f->keywords[f->n_keywords++] = s;
}

static int flags(struct str *in, const struct reply_token *open, struct arena *a, struct reply_fetch *f, struct err *e)
{
	struct reply_token t;

	if (open->kind != REPLY_OPEN)
		return bad(e, "FLAGS without a list");
	for (;;) {
		if (reply_next(in, a, &t, e) < 0)
			return -1;
		if (t.kind == REPLY_CLOSE)
			return 0;
		if (t.kind != REPLY_ATOM)
			return bad(e, "a flag that is none");
		one_flag(f, t.s);
	}
}

static int item(struct str *in, struct str name, struct arena *a, struct reply_fetch *f, struct err *e)
{
	struct reply_token t;
	uint64_t v;

	if (reply_next(in, a, &t, e) < 0)
		return -1;
	if (t.kind == REPLY_END || t.kind == REPLY_CLOSE)
		return bad(e, "an item without a value");
	if (str_case_eq(name, STR("FLAGS")))
		return flags(in, &t, a, f, e);
	if (str_case_eq(name, STR("UID"))) {
		if (num_parse(t.s, 1, UINT32_MAX - 1, &v) < 0)
			return bad(e, "a UID that is none");
		f->uid = (uint32_t)v;
	} else if (str_case_eq(name, STR("INTERNALDATE"))) {
		if (imap_date_time_parse(t.s, &f->date) < 0)
			f->date = 0;
	} else if (str_case_eq(name, STR("BODY[]")) && t.kind != REPLY_OPEN) {
		f->body = t.s;
		f->has_body = t.kind == REPLY_STRING;	/* NIL: none */
	}
	return reply_skip(in, &t, a, e);
}

int reply_fetch(struct str in, struct arena *a, struct reply_fetch *out, struct err *e)
{
	struct reply_token t[4];

	*out = (struct reply_fetch){ 0 };
	for (size_t i = 0; i < ARRAY_LEN(t); i++)
		if (reply_next(&in, a, &t[i], e) < 0)
			return -1;
		else if (i == 2 && !(t[2].kind == REPLY_ATOM && str_case_eq(t[2].s, STR("FETCH"))))
			return 1;
	if (t[3].kind != REPLY_OPEN)
		return bad(e, "FETCH without a list");
	for (struct reply_token name;;) {
		if (reply_next(&in, a, &name, e) < 0)
			return -1;
		if (name.kind == REPLY_CLOSE)
			return 0;
		if (name.kind != REPLY_ATOM)
			return bad(e, "FETCH: not an item");
		if (item(&in, name.s, a, out, e) < 0)
			return -1;
	}
}

/* --- LIST --- */

static const char *const special_names[] = { "\\Drafts", "\\Sent", "\\Junk", "\\Trash", "\\Archive", "\\All", "\\Flagged" };

static int attributes(struct str *in, struct arena *a, struct remote_folder *f, bool *noselect, struct err *e)
{
	struct reply_token t;

	if (reply_next(in, a, &t, e) < 0)
		return -1;
	if (t.kind != REPLY_OPEN)
		return bad(e, "LIST without attributes");
	for (;;) {
		if (reply_next(in, a, &t, e) < 0)
			return -1;
		if (t.kind == REPLY_CLOSE)
			return 0;
		if (t.kind != REPLY_ATOM)
			return bad(e, "LIST: not an attribute");
		*noselect |= str_case_eq(t.s, STR("\\Noselect")) || str_case_eq(t.s, STR("\\NonExistent"));
		for (size_t i = 0; i < ARRAY_LEN(special_names); i++)
			if (str_case_eq(t.s, str_c(special_names[i])))
				f->special = str_c(special_names[i]);
	}
}

/* The server's name in UTF-8, with '/' between levels. What cannot be decoded is kept as it is. */
static struct str local_name(struct arena *a, struct str raw, char separator)
{
	struct buf b;
	struct str out;

	buf_init(&b, STORE_FOLDER_NAME_MAX + 1);
	if (imap_utf7_decode(raw, &b) < 0) {
		buf_reset(&b);
		buf_str(&b, raw);
	}
	for (size_t i = 0; i < b.n; i++) {
		if (separator && b.p[i] == separator)
			b.p[i] = '/';
		else if (b.p[i] == '/')
			b.p[i] = '_';
	}
	out = arena_str(a, buf_view(&b));
	buf_fini(&b);
	return out;
}

int reply_list(struct str in, const char *word, struct arena *a, struct remote_folder *out, char *separator_out, bool *noselect_out, struct err *e)
{
	struct reply_token t;
	char separator = '\0';
	bool noselect = false;

	*out = (struct remote_folder){ 0 };
	if (reply_next(&in, a, &t, e) < 0 || reply_next(&in, a, &t, e) < 0)
		return -1;
	if (t.kind != REPLY_ATOM || !str_case_eq(t.s, str_c(word)))
		return 1;
	if (attributes(&in, a, out, &noselect, e) < 0 || reply_next(&in, a, &t, e) < 0)
		return -1;
	if (t.kind == REPLY_STRING && t.s.n == 1)
		separator = t.s.p[0];
	if (reply_next(&in, a, &t, e) < 0)
		return -1;
	if ((t.kind != REPLY_ATOM && t.kind != REPLY_STRING) || t.s.n == 0 || t.s.n > STORE_FOLDER_NAME_MAX || str_chr(t.s, '\0') >= 0)
		return bad(e, "LIST without a name");
	out->raw = arena_str(a, t.s);
	out->name = str_case_eq(t.s, STR("INBOX")) ? STR("INBOX") : local_name(a, t.s, separator);
	*separator_out = separator;
	*noselect_out = noselect;
	return 0;
}
