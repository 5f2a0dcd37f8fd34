/* What libclamav's parser of mail makes of the parts of a plain message (plain.h), byte for byte. */
#include <string.h>

#include "base/enc.h"
#include "plain_priv.h"

bool plain_is_identity(const struct mime_part *p)
{
	return !str_eq(p->encoding, STR("base64")) && !str_eq(p->encoding, STR("quoted-printable"));
}

bool plain_all_of(struct str line, const char *bytes)
{
	for (size_t i = 0; i < line.n; i++)
		if (strchr(bytes, line.p[i]) == NULL)
			return false;
	return line.n > 0;
}

/* --- the lines of a body --- */

/* Those that it keeps. Of empty ones that follow one another it keeps one, but where the message is one text; of those of blanks and semicolons the first until there
 * is another line. Behind the fields of a part the first line follows an empty one. */
struct lines {
	struct str rest;
	bool part, all_empty, was_empty, was_blank, ended;
};

static struct lines lines_of(const struct mime_part *p)
{
	struct plain_fields fields = { 0 };
	const bool part = p->parent != NULL;
	return (struct lines){
		.rest = p->body,
		.part = part,
		.all_empty = !part && plain_head(p, &fields) && fields.types > 0 && mime_type_is(p, "text", "*"),
		.was_empty = part,
		.ended = !part && p->body.n == 0,
	};
}

static bool keeps_blank(struct lines *l, struct str *line)
{
	if (line->n == 0) {
		const bool keep = l->all_empty || !l->was_empty;
		l->was_empty = true;
		return keep;
	}
	size_t n = 0;
	while (n < line->n && ch_blank(line->p[n]))
		n++;
	if (n < line->n && line->p[n] != ';' && line->p[n] != '\v' && line->p[n] != '\f') {
		l->was_blank = l->was_empty = false;
		return true;
	}
	const bool blank = plain_all_of(*line, " \t;");
	if (blank && l->was_blank)
		return false;
	l->was_blank = blank;
	l->was_empty = false;
	if (plain_all_of(*line, " \t\v\f"))
		*line = STR(" ");
	return true;
}

/* Most lines begin with a letter, or what is none of those signs, and are looked at no further. */
static inline bool keeps(struct lines *l, struct str *line)
{
	if (line->n == 0 || line->p[0] <= ' ' || line->p[0] == ';')
		return keeps_blank(l, line);
	l->was_blank = l->was_empty = false;
	return true;
}

/* A part ends with the line whose end belongs to its boundary, be it empty. */
static bool lines_next(struct lines *l, struct str *line)
{
	while (!l->ended) {
		bool more;
		*line = plain_take_line(&l->rest, &more);
		l->ended = !more || (!l->part && l->rest.n == 0);
		if (keeps(l, line))
			return true;
	}
	return false;
}

/* --- decoding --- */

static int nibble(char c)
{
	const int v = ch_xdigit(c);
	return v < 0 ? '=' : v;
}

/* A line of quoted-printable. An "=" that stands before no two digits stands for itself, or with what follows for some byte. true: the line goes on in the next. */
static bool put_qp(struct buf *out, struct str line)
{
	for (size_t i = 0; i < line.n; i++) {
		if (line.p[i] != '=') {
			const char *next = memchr(line.p + i, '=', line.n - i);
			const size_t n = next == NULL ? line.n - i : (size_t)(next - line.p) - i;
			buf_str(out, str_sub(line, i, n));
			i += n - 1;
			continue;
		}
		if (i + 1 == line.n)
			return true;
		const int hi = nibble(line.p[i + 1]);
		if (i + 2 == line.n) {
			buf_ch(out, (char)hi);
			return false;
		}
		buf_ch(out, hi == '=' ? '=' : (char)(hi << 4 | nibble(line.p[i + 2])));
		i += hi == '=' ? 0 : 2;
	}
	return false;
}

/* Runs of digits: nearly all of a line. */
static void put_digits(struct buf *digits, struct str line)
{
	static const bool is_digit[256] = { ['A' ... 'Z'] = true, ['a' ... 'z'] = true, ['0' ... '9'] = true, ['+'] = true, ['/'] = true };
	for (size_t i = 0; i < line.n && line.p[i] != '='; i++) {
		const size_t start = i;
		while (i < line.n && is_digit[(unsigned char)line.p[i]])
			i++;
		buf_mem(digits, line.p + start, i - start);
		if (i < line.n && line.p[i] == '=')
			return;
	}
}

/* What is left of the last group is a byte less than its digits; of its last bits it makes another one unless they are 0, or there is but one digit. */
static void put_groups(struct buf *digits, struct buf *out)
{
	const size_t left = digits->n % 4;
	for (size_t i = left; i > 0 && i < 4; i++)
		buf_ch(digits, 'A');
	mail_b64_decode(buf_view(digits), out);
	if (left == 0)
		return;
	buf_cut(out, out->n - (3 - left));
	if (left > 1 && out->p[out->n - 1] == '\0')
		buf_cut(out, out->n - 1);
}

static void put_base64(const struct mime_part *p, struct buf *out)
{
	struct buf digits;
	struct str line;
	buf_init(&digits, p->body.n + 3);
	for (struct lines l = lines_of(p); lines_next(&l, &line);)
		put_digits(&digits, line);
	put_groups(&digits, out);
	buf_fini(&digits);
}

/* --- files --- */

#define BOUNCE "Received: by clamd (bounce)\n"

size_t plain_file_max(const struct mime_part *p)
{
	return p->body.n + p->body.n / PLAIN_LINE_MAX + sizeof(BOUNCE) + 1;
}

static bool names_encoding(struct str line)
{
	return line.n > 0 && ch_lower(line.p[0]) == 'c' && str_case_starts(line, STR("Content-Transfer-Encoding")) && str_find(line, STR("7bit")) < 0;
}

/* A line of a text that names an encoding makes the rest a mail; but it writes and forgets what it takes for an application's file, as all with a disposition and no type. */
static bool may_be_mail_only(const struct mime_part *p)
{
	struct plain_fields fields = { 0 };
	return p->parent == NULL && plain_head(p, &fields) && (fields.types == 0 ? fields.dispositions == 0 : !mime_type_is(p, "application", "*"));
}

static bool has_name_of_encoding(const struct mime_part *p)
{
	struct str line;
	for (struct lines l = lines_of(p); lines_next(&l, &line);)
		if (names_encoding(line))
			return true;
	return false;
}

bool plain_file(const struct mime_part *p, struct buf *out)
{
	const bool qp = str_eq(p->encoding, STR("quoted-printable")), may_be_mail = may_be_mail_only(p);
	struct str line;
	if (str_eq(p->encoding, STR("base64"))) {
		if (may_be_mail && has_name_of_encoding(p))
			return false;
		put_base64(p, out);
		return true;
	}
	for (struct lines l = lines_of(p); lines_next(&l, &line);) {
		if (may_be_mail && names_encoding(line))
			return false;
		if (qp && put_qp(out, line))
			continue;
		if (!qp)
			buf_str(out, line);
		buf_ch(out, '\n');
	}
	return true;
}

/* Whole groups of four, padded at the end alone, with no bits that stand for nothing, and nothing between them but line ends. Of anything else less would have been decoded,
 * but of the two digits that are others' alphabet. */
bool plain_file_is_ours(const struct mime_part *p, struct str decoded)
{
	static const char *const last[] = { NULL, "AEIMQUYcgkosw048", "AQgw" };
	struct str body = p->body;
	size_t pads = 0, ends = 0;
	if (!str_eq(p->encoding, STR("base64")) || str_chr(body, '-') >= 0 || str_chr(body, '_') >= 0)
		return false;
	while (body.n > 0 && ch_space(body.p[body.n - 1]))
		body.n--;
	for (; pads < 2 && body.n > 0 && body.p[body.n - 1] == '='; pads++)
		body.n--;
	if (pads > 0 && (body.n == 0 || strchr(last[pads], body.p[body.n - 1]) == NULL))
		return false;
	for (const char *at = body.p, *end = body.p + body.n; (at = memchr(at, '\n', (size_t)(end - at))) != NULL; at++)
		ends += at > body.p && at[-1] == '\r' ? 2 : 1;
	const size_t n = body.n - ends + pads;
	return n % 4 == 0 && decoded.n == n / 4 * 3 - pads;
}

bool plain_file_of_base64(const struct mime_part *p, struct buf *out)
{
	struct plain_fields fields = { 0 };
	if (!str_eq(p->encoding, STR("7bit")) || !plain_head(p, &fields))
		return false;
	if (!fields.named && (fields.encodings == 0 || (p->parent != NULL && mime_type_is(p, "text", "plain"))))
		return false;
	put_base64(p, out);
	return true;
}

bool plain_mail(const struct mime_part *p, struct buf *out)
{
	struct str line;
	bool found = false;
	if (p->parent != NULL)
		return false;
	for (struct lines l = lines_of(p); lines_next(&l, &line);) {
		if (!found && names_encoding(line)) {
			buf_c(out, BOUNCE);
			found = true;
		}
		if (found) {
			buf_str(out, line);
			buf_ch(out, '\n');
		}
	}
	return found;
}

/* --- mails and files in texts --- */

bool plain_begins_file(struct str line)
{
	if (line.n < 7 || (line.p[0] != 'b' && line.p[0] != '='))
		return false;
	if (line.p[0] == '=')
		return str_starts(line, STR("=ybegin"));
	return str_case_starts(line, STR("begin ")) && line.n >= 10 && ch_digit(line.p[6]) && ch_digit(line.p[7]) && ch_digit(line.p[8]) && line.p[9] == ' ';
}

/* Their first lines are fields by which mail is known, up to 71 bytes each, of which one says that it is more than text. */
static bool may_begin(struct str line)
{
	return line.n >= 6 && line.n <= 72 && (ch_alpha(line.p[0]) || line.p[0] == '>') && !str_case_starts(line, STR("Content-"));
}

static bool says_more_than_text(struct str line)
{
	return ch_lower(line.p[0]) == 'c' && str_case_starts(line, STR("Content-Type:")) && str_case_find(line, STR("text/plain")) < 0 && str_case_find(line, STR("text/html")) < 0;
}

/* What it takes for a line of the text. */
struct seen {
	bool begun, found;
	bool encoding, received;	/* a text with an encoding and a line of a mail server is looked at from that line on, or is not */
};

static void see_line(struct seen *s, struct str line)
{
	if (line.n == 0 || line.p[0] == '\n')
		s->begun = false;
	else if (s->begun)
		s->found |= says_more_than_text(line);
	else
		s->begun = may_begin(line);
}

static struct str before_nul(struct str s)
{
	const ptrdiff_t nul = str_chr(s, '\0');
	return nul < 0 ? s : str_sub(s, 0, (size_t)nul);
}

static bool has_more_in_lines(const struct mime_part *p)
{
	const bool qp = str_eq(p->encoding, STR("quoted-printable"));
	struct seen s = { 0 };
	struct str line;
	struct buf decoded;
	size_t n = 0;
	buf_init(&decoded, p->body.n + 1);
	for (struct lines l = lines_of(p); !s.found && lines_next(&l, &line);) {
		s.found = plain_begins_file(line) || ++n > PLAIN_LINES_MAX;
		s.encoding |= names_encoding(line);
		s.received |= line.n > 0 && ch_lower(line.p[0]) == 'r' && str_case_starts(line, STR("Received: "));
		if (qp && str_chr(line, '=') >= 0) {
			buf_reset(&decoded);
			(void)put_qp(&decoded, line);
			line = before_nul(buf_view(&decoded));
		}
		see_line(&s, line);
	}
	buf_fini(&decoded);
	return s.found || (s.encoding && s.received);
}

/* Of base64 it takes what a line stands for as a line. */
static bool has_bounce_in_base64(const struct mime_part *p)
{
	struct buf decoded;
	buf_init(&decoded, p->body.n + 1);
	put_base64(p, &decoded);
	const bool found = str_case_find(buf_view(&decoded), STR("Content-Type:")) >= 0;
	buf_fini(&decoded);
	return found;
}

bool plain_holds_more(const struct mime_part *p)
{
	return has_more_in_lines(p) || (str_eq(p->encoding, STR("base64")) && has_bounce_in_base64(p));
}
