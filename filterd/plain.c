/* Plain messages (plain.h). Everything is a list of what is allowed: fields that mean one thing only, multipart/mixed and /alternative whose boundaries stand nowhere
 * else, the five transfer encodings written as RFC 2045 has them, and texts in which its parser looks for nothing: it takes uuencoded and yEnc files out of any text,
 * and mails out of the text of a message of one part. Whether what was found in a part is looked at as mail again is for libclamav to say, when it gets the part. */
#include "plain_priv.h"

#include <string.h>

enum {
	FIELD_LINE_MAX = 990,		/* it cuts lines of 1000 */
	MULTIPARTS_MAX = 8,
	CHILDREN_MAX = 100,		/* it has a limit of 1024 */
	DEPTH_MAX = 6,			/* it counts these as nested archives */
	PARAMS_MAX = 20,		/* it has a limit of 256 */
	BOUNDARY_MAX = 70,		/* RFC 2046 5.1.1 */
	ENTITY_DIGITS_MAX = 5,		/* of longer ones the value is not looked at */
};

/* --- fields --- */

static struct str after_blanks(struct str s)
{
	size_t n = 0;
	while (n < s.n && ch_space(s.p[n]))
		n++;
	return str_from(s, n);
}

static struct str take_token(struct str *s)
{
	size_t n = 0;
	while (n < s->n && s->p[n] > ' ' && strchr(";=\"", s->p[n]) == NULL)
		n++;
	struct str token = str_sub(*s, 0, n);
	*s = str_from(*s, n);
	return token;
}

/* A name without anything in it that it takes out, or divides at. */
static bool is_name(struct str s)
{
	for (size_t i = 0; i < s.n; i++)
		if (!ch_alnum(s.p[i]) && s.p[i] != '-' && s.p[i] != '_' && s.p[i] != '.')
			return false;
	return s.n > 0;
}

/* No comments, encoded words, backslashes, RFC 2231, or bytes above 0x7e: it has its own mind about each. */
static bool is_clear(struct str v)
{
	for (size_t i = 0; i < v.n; i++)
		if (v.p[i] > '~' || (v.p[i] < ' ' && !ch_space(v.p[i])) || strchr("()\\*", v.p[i]) != NULL)
			return false;
	return str_find(v, STR("=?")) < 0;
}

/* The value of a parameter, less its quotes; p NULL: not clear. */
static struct str take_value(struct str *s)
{
	if (s->n == 0 || s->p[0] != '"')
		return take_token(s);
	const struct str rest = str_from(*s, 1);
	const ptrdiff_t end = str_chr(rest, '"');
	if (end < 0)
		return (struct str){ 0 };
	const struct str v = str_sub(rest, 0, (size_t)end);
	*s = str_from(rest, (size_t)end + 1);
	return str_chr(v, ';') >= 0 || str_chr(v, '\n') >= 0 ? (struct str){ 0 } : v;
}

/* What is in the parameters of a Content-Type or Content-Disposition. */
struct params {
	unsigned n, boundaries;
	bool named;	/* one that is not known to be no name */
};

static bool read_params(struct str rest, struct params *out)
{
	static const char *const harmless[] = { "charset", "format", "delsp", "boundary" };
	for (rest = after_blanks(rest); rest.n > 0; rest = after_blanks(rest)) {
		if (rest.p[0] != ';')
			return false;
		rest = after_blanks(str_from(rest, 1));
		const struct str name = take_token(&rest);
		if (!is_name(name) || rest.n == 0 || rest.p[0] != '=' || ++out->n > PARAMS_MAX)
			return false;
		rest = str_from(rest, 1);
		if (take_value(&rest).n == 0)
			return false;
		bool known = false;
		for (size_t i = 0; i < ARRAY_LEN(harmless); i++)
			known |= str_case_eq(name, str_c(harmless[i]));
		out->named |= !known;
		out->boundaries += str_case_starts(name, STR("boundary"));
	}
	return true;
}

static bool read_type(struct str v, struct plain_fields *out)
{
	static const char *const known[] = { "text", "application", "image", "audio", "video", "multipart" };
	struct params params = { 0 };
	v = after_blanks(v);
	const struct str token = take_token(&v);
	const ptrdiff_t slash = str_chr(token, '/');
	if (slash <= 0 || (size_t)slash + 1 == token.n || str_chr(str_from(token, (size_t)slash + 1), '/') >= 0)
		return false;
	bool ok = false;
	for (size_t i = 0; i < ARRAY_LEN(known); i++)
		ok |= str_case_eq(str_sub(token, 0, (size_t)slash), str_c(known[i]));
	if (!ok || !read_params(v, &params) || params.boundaries > 1)
		return false;
	out->named |= params.named;
	return ++out->types == 1;
}

static bool read_encoding(struct str v, struct plain_fields *out)
{
	static const char *const known[] = { "7bit", "8bit", "binary", "quoted-printable", "base64" };
	bool ok = false;
	for (size_t i = 0; i < ARRAY_LEN(known); i++)
		ok |= str_case_eq(str_trim(v), str_c(known[i]));
	return ok && ++out->encodings == 1;
}

static bool read_disposition(struct str v, struct plain_fields *out)
{
	struct params params = { 0 };
	v = after_blanks(v);
	if (take_token(&v).n == 0 || !read_params(v, &params) || params.boundaries > 0)
		return false;
	out->named = true;	/* it gives a part a name that has none */
	return ++out->dispositions == 1;
}

static bool read_field(const struct mail_field *f, bool top, struct plain_fields *out)
{
	static const struct {
		const char *name;
		bool (*read)(struct str v, struct plain_fields *out);
	} readers[] = {
		{ "Content-Type", read_type }, { "Content-Transfer-Encoding", read_encoding },
		{ "Content-Disposition", read_disposition },
	};
	if (!is_name(f->name) || f->whole.p[f->name.n] != ':')
		return false;
	/* A field that ends with a semicolon goes on in the next one, to it. */
	if (str_ends(str_trim(f->value), STR(";")) && (!top || str_case_starts(f->name, STR("Content-"))))
		return false;
	out->useful |= str_case_eq(f->name, STR("From")) || str_case_eq(f->name, STR("Received")) || str_case_eq(f->name, STR("Content-Type"));
	for (size_t i = 0; i < ARRAY_LEN(readers); i++)
		if (str_case_eq(f->name, str_c(readers[i].name)))
			return is_clear(f->value) && readers[i].read(f->value, out);
	return true;
}

bool plain_head(const struct mime_part *p, struct plain_fields *out)
{
	struct str head = p->head;
	struct mail_field f;
	bool more;
	/* The fields may end at a line of blanks. */
	while (head.n > 0) {
		const struct str line = plain_take_line(&head, &more);
		if (line.n > FIELD_LINE_MAX || plain_all_of(line, " \t\v\f;"))
			return false;
	}
	head = p->head;
	/* There is an empty line between the fields and the body. */
	if (p->body.p == head.p + head.n)
		return false;
	while (mail_field_next(&head, &f) == 0)
		if (!read_field(&f, p->parent == NULL, out))
			return false;
	return true;
}

/* --- lines --- */

/* A multipart that is open somewhere in the message. */
struct border {
	char text[BOUNDARY_MAX];	/* its boundary in lower case, */
	size_t length;			/* and of that */
	size_t lines;		/* that may be one, and */
	size_t wanted;		/* those that are */
};

struct borders {
	struct border v[MULTIPARTS_MAX];
	size_t n;
};

/* Is text in the line, with other bytes between, perhaps? What the library takes out of the line are comments and backslashes. */
static bool is_strewn(const char *line, size_t n, const struct border *b)
{
	size_t found = 0;
	for (size_t i = 0; i < n && found < b->length; i++)
		found += line[i] == b->text[found];
	return found == b->length;
}

static void lower(char *to, struct str s)
{
	for (size_t i = 0; i < s.n; i++)
		to[i] = ch_lower(s.p[i]);
}

/* memmem is linear, whatever the lines and boundaries are. */
static void count_borders(struct str line, struct borders *b)
{
	const bool changed = str_chr(line, '(') >= 0;
	char low[PLAIN_LINE_MAX];
	lower(low, line);
	for (size_t i = 0; i < b->n; i++)
		b->v[i].lines += changed ? is_strewn(low, line.n, &b->v[i]) : memmem(low, line.n, b->v[i].text, b->v[i].length) != NULL;
}

static bool line_is_plain(struct str line, struct borders *b)
{
	if (line.n > 0 && (line.p[0] == '-' || line.p[0] == '('))
		count_borders(line, b);
	return !plain_begins_file(line);
}

/* What an entity in a link stands for, to libclamav: of a number that ends with a semicolon the low byte, whatever that is in Unicode. */
enum entity { ENTITY_OTHER, ENTITY_QUOTE, ENTITY_MAYBE };

static enum entity entity_of_number(struct str s)
{
	unsigned value = 0;
	size_t n = 0;
	for (; n < s.n && n < ENTITY_DIGITS_MAX && ch_digit(s.p[n]); n++)
		value = value * 10 + (unsigned)(s.p[n] - '0');
	if (n == 0 || n == s.n || s.p[n] != ';')
		return ENTITY_MAYBE;
	return strchr("dDaAtT:\"'`\\ \t\r\n", (int)(value & 0xff)) != NULL ? ENTITY_MAYBE : ENTITY_OTHER;
}

/* Behind "&": one that stands for something that is surely no letter of "data:", or none, which is the characters that it is written with. */
static enum entity entity_at(struct str s)
{
	static const char *const others[] = { "amp;", "lt;", "gt;", "nbsp;" };
	size_t n = 0;
	if (s.n > 0 && s.p[0] == '#')
		return entity_of_number(str_from(s, 1));
	if (str_starts(s, STR("quot;")))
		return ENTITY_QUOTE;
	for (size_t i = 0; i < ARRAY_LEN(others); i++)
		if (str_starts(s, str_c(others[i])))
			return ENTITY_OTHER;
	while (n < s.n && (ch_alnum(s.p[n]) || strchr("_:-", s.p[n]) != NULL))
		n++;
	return n == s.n || s.p[n] == ';' ? ENTITY_MAYBE : ENTITY_OTHER;
}

/* What it skips between letters of "data:", or may. */
static bool is_skipped(char c)
{
	return (unsigned char)c <= ' ' || (unsigned char)c > '~' || c == '"' || c == '\'' || c == '`' || c == '\\';
}

/* An attribute's value from here on: "data:", with what may stand between its letters, or something in its place that stands for a letter. */
static bool may_be_data(struct str s)
{
	static const char data[] = "data:";
	size_t n = 0;
	for (size_t i = 0; i < s.n; i++) {
		const char c = s.p[i];
		if (c == '&') {
			const enum entity what = entity_at(str_from(s, i + 1));
			if (what != ENTITY_QUOTE)
				return what == ENTITY_MAYBE;
			i += sizeof("quot;") - 1;
			continue;
		}
		if (c == '%' && (i + 2 >= s.n || ch_xdigit(s.p[i + 1]) >= 3))
			return true;
		if (c == '%' && ch_xdigit(s.p[i + 2]) >= 0)	/* a blank, or what may be taken for one */
			i += 2;
		else if (ch_lower(c) == data[n]) {
			if (data[++n] == '\0')
				return true;
		} else if (!is_skipped(c)) {
			return false;	/* it may keep bytes of other scripts back until a letter comes that is no entity */
		}
	}
	return false;
}

/* What a link of HTML holds becomes a mail to it, of which its parser gets the file; and HTML goes on, to it, where a part ends. */
static bool has_data_links(struct str s)
{
	for (const char *at = s.p, *end = s.p + s.n; (at = memchr(at, '=', (size_t)(end - at))) != NULL;) {
		at++;
		if (may_be_data(str_n(at, (size_t)(end - at))))
			return true;
	}
	return false;
}

bool plain_is_lines(struct str s)
{
	if (memchr(s.p, '\0', s.n) != NULL)
		return false;
	for (const char *at = s.p, *end = s.p + s.n; (at = memchr(at, '\r', (size_t)(end - at))) != NULL; at++)
		if (at + 1 == end || at[1] != '\n')
			return false;
	return true;
}

/* Of a message of one part its lines have been looked at, by plain_holds_more(). */
static bool lines_are_plain(struct str message, struct borders *b)
{
	bool more;
	for (size_t n = 0; b->n > 0 && message.n > 0; n++)
		if (n == PLAIN_LINES_MAX || !line_is_plain(plain_take_line(&message, &more), b))
			return false;
	for (size_t i = 0; i < b->n; i++)
		if (b->v[i].lines != b->v[i].wanted)
			return false;
	return true;
}

/* --- parts --- */

static struct str first_line(struct str body)
{
	struct str line = { 0 };
	bool more;
	while (body.n > 0 && line.n == 0)
		line = plain_take_line(&body, &more);
	return line;
}

/* The body of a message of one part: it takes a first line like these for fields, and looks for mails in the text. */
static bool only_part_is_plain(const struct mime_part *p)
{
	const struct str line = first_line(p->body);
	return !str_starts(line, STR("Date: ")) && !str_starts(line, STR("Message-Id: ")) && !plain_holds_more(p);
}

/* A part of a multipart, that may be one itself: it goes on reading fields where the first line looks like one. */
static bool one_part_is_plain(const struct mime_part *p)
{
	const struct str line = first_line(p->body);
	return !str_case_starts(line, STR("content")) && !str_case_starts(line, STR("filename=")) && str_case_find(line, STR("base64")) < 0;
}

/* Between parts: line ends, the boundary line, and one line end, or where it was the last, any number of them. */
static bool border_is_plain(struct str between, struct str boundary, bool last)
{
	while (between.n > 0 && (between.p[0] == '\r' || between.p[0] == '\n'))
		between = str_from(between, 1);
	if (!str_starts(between, STR("--")) || !str_starts(str_from(between, 2), boundary))
		return false;
	between = str_from(between, 2 + boundary.n);
	if (!last)
		return str_eq(between, STR("\n")) || str_eq(between, STR("\r\n"));
	if (!str_starts(between, STR("--")))
		return false;
	between = str_from(between, 2);
	return between.n == 0 || plain_all_of(between, "\r\n");
}

static bool preamble_is_plain(struct str text, struct str boundary)
{
	const struct str all = text;
	struct str line = { 0 };
	bool more;
	if (str_find(text, STR("BinHex")) >= 0)
		return false;
	while (text.n > 0) {
		line = plain_take_line(&text, &more);
		if (str_case_starts(line, STR("content-")))
			return false;
	}
	return line.n > 0 && border_is_plain(str_from(all, (size_t)(line.p - all.p)), boundary, false);
}

static bool part_is_plain(const struct mime_part *p, struct borders *b);

/* Its line is the first behind the fields of a part with an empty body. */
static bool is_boundary(struct str s)
{
	for (size_t i = 0; i < s.n; i++)
		if (s.p[i] <= ' ')
			return false;
	return s.n > 0 && s.n <= BOUNDARY_MAX && str_case_find(s, STR("base64")) < 0;
}

static bool multipart_is_plain(const struct mime_part *p, struct borders *b)
{
	struct str boundary = { 0 };
	const char *at = p->body.p;
	size_t n = 0;
	for (const struct mail_param *q = p->params; q != NULL; q = q->next)
		if (str_case_eq(q->name, STR("boundary")))
			boundary = q->value;
	if (!is_boundary(boundary) || b->n == MULTIPARTS_MAX || p->depth >= DEPTH_MAX || !plain_is_identity(p) ||
	    !(mime_type_is(p, "multipart", "mixed") || mime_type_is(p, "multipart", "alternative")))
		return false;
	struct border *border = &b->v[b->n++];
	for (const struct mime_part *c = p->children; c != NULL; c = c->next) {
		const struct str between = str_n(at, (size_t)(c->head.p - at));
		if (++n > CHILDREN_MAX || !(c == p->children ? preamble_is_plain(between, boundary) : border_is_plain(between, boundary, false)) || !part_is_plain(c, b))
			return false;
		at = c->body.p + c->body.n;
	}
	*border = (struct border){ .length = boundary.n, .wanted = n + 1 };
	lower(border->text, boundary);
	return n > 0 && border_is_plain(str_n(at, (size_t)(p->body.p + p->body.n - at)), boundary, true);
}

static bool part_is_plain(const struct mime_part *p, struct borders *b)
{
	struct plain_fields fields = { 0 };
	const bool multipart = mime_type_is(p, "multipart", "*");
	if (!plain_head(p, &fields) || p->limited || multipart != (p->children != NULL) || (p->parent == NULL ? !fields.useful : fields.types == 0))
		return false;
	if (multipart)
		return (p->parent == NULL || one_part_is_plain(p)) && multipart_is_plain(p, b);
	return p->parent == NULL ? only_part_is_plain(p) : one_part_is_plain(p);
}

bool mail_is_plain(struct str message, const struct mime_part *root)
{
	struct borders b = { 0 };
	return plain_is_lines(message) && part_is_plain(root, &b) && lines_are_plain(message, &b) && !has_data_links(message);
}

/* Of others nobody has looked whether they read mail in the same way. */
bool plain_knows(const char *version)
{
	return str_starts(str_c(version), STR("1.4."));
}
