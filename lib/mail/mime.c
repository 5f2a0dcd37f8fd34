/* The MIME parser (mime.h): one pass over the lines of a message in memory. Each line that begins with "--" is looked up among the open boundaries; the innermost match
 * wins, an outer one ends all inner parts. RFC 2045, RFC 2046 5.1. Pure, linear: neither a line nor a count of lines costs more where many boundaries are open. */
#include "mail/mime.h"

#include "base/enc.h"

enum { SLOTS = 256 };	/* at least twice MIME_DEPTH_MAX */

struct scanner {
	struct arena *a;
	struct str in;
	size_t at;		/* start of the next unread line */
	size_t newlines;	/* before that */
	struct str boundary[MIME_DEPTH_MAX];
	unsigned open;		/* boundaries in force */
	/* To find one: its level + 1 by hash. It shadows the same one of an outer level, if there is one (its level + 1). Boundaries go in the opposite order. */
	uint8_t slot[SLOTS], shadowed[MIME_DEPTH_MAX];
	uint64_t lengths[MIME_DEPTH_MAX + 1];	/* a bit for the length of each that is open, with so many open */
	size_t parts;
	/* The boundary line that ended the last body: level in the stack, or -1 at the end of input. */
	int hit;
	bool hit_final;
	size_t stop;		/* where content ended: before the line end that belongs to that boundary line */
	size_t stop_newlines;	/* before that */
};

static size_t line_end(const struct scanner *s, size_t from)
{
	const char *lf = from < s->in.n ? memchr(s->in.p + from, '\n', s->in.n - from) : NULL;
	return lf == NULL ? s->in.n : (size_t)(lf - s->in.p) + 1;
}

/* --- open boundaries --- */

static uint64_t length_bit(size_t n)
{
	return 1ULL << (n < 63 ? n : 63);
}

/* Where this boundary is, or would be. */
static uint8_t *boundary_slot(struct scanner *s, struct str text)
{
	size_t at = str_hash(text) % SLOTS;

	while (s->slot[at] != 0 && !str_eq(s->boundary[s->slot[at] - 1], text))
		at = (at + 1) % SLOTS;
	return &s->slot[at];
}

/* The innermost level that has it; -1: none. */
static int boundary_level(struct scanner *s, struct str text)
{
	return s->lengths[s->open] & length_bit(text.n) ? *boundary_slot(s, text) - 1 : -1;
}

static void boundary_open(struct scanner *s, struct str text)
{
	uint8_t *slot = boundary_slot(s, text);

	s->boundary[s->open] = text;
	s->shadowed[s->open] = *slot;
	s->lengths[s->open + 1] = s->lengths[s->open] | length_bit(text.n);
	*slot = (uint8_t)++s->open;
}

static void boundary_close(struct scanner *s)
{
	*boundary_slot(s, s->boundary[s->open - 1]) = s->shadowed[s->open - 1];
	s->open--;
}

/* RFC 2046 5.1.1: "--" boundary, "--" at the last one, then only blanks. */
static bool boundary_line(struct scanner *s, struct str line)
{
	if (line.n < 2 || line.p[0] != '-' || line.p[1] != '-')
		return false;
	while (line.n > 2 && ch_space(line.p[line.n - 1]))
		line.n--;
	const struct str text = str_from(line, 2);
	const int plain = boundary_level(s, text), final = str_ends(text, STR("--")) ? boundary_level(s, str_sub(text, 0, text.n - 2)) : -1;

	if (plain < 0 && final < 0)
		return false;
	s->hit_final = final > plain;
	s->hit = s->hit_final ? final : plain;
	return true;
}

/* Content before the boundary line at s->at ends before the line end in front of it. */
static void stop_before_line(struct scanner *s, size_t start)
{
	size_t stop = s->at;
	stop -= stop > start && s->in.p[stop - 1] == '\n';
	s->stop_newlines = s->newlines - (s->at - stop);
	stop -= stop > start && stop < s->at && s->in.p[stop - 1] == '\r';
	s->stop = stop;
}

static void stop_at_end(struct scanner *s)
{
	s->hit = -1;
	s->stop = s->in.n;
	s->stop_newlines = s->newlines;
}

static void line_taken(struct scanner *s, size_t end)
{
	s->newlines += s->in.p[end - 1] == '\n';
	s->at = end;
}

/* IMAP's line count: line ends, and a last line without one. newlines: before the body. */
static size_t count_lines(const struct scanner *s, struct str body, size_t newlines)
{
	return body.n == 0 ? 0 : s->stop_newlines - newlines + (body.p[body.n - 1] != '\n');
}

/* Read lines up to a boundary of any open level or the end of the input. */
static struct str take_body(struct scanner *s)
{
	size_t start = s->at;
	while (s->at < s->in.n) {
		size_t end = line_end(s, s->at);
		if (s->open > 0 && boundary_line(s, str_n(s->in.p + s->at, end - s->at))) {
			stop_before_line(s, start);
			line_taken(s, end);
			return str_n(s->in.p + start, s->stop - start);
		}
		line_taken(s, end);
	}
	stop_at_end(s);
	return str_n(s->in.p + start, s->at - start);
}

/* The header section at s->at; a boundary line ends it (a part without a body): then true. */
static bool take_head(struct scanner *s, struct mime_part *p)
{
	size_t start = s->at;
	while (s->at < s->in.n) {
		size_t end = line_end(s, s->at);
		struct str line = str_n(s->in.p + s->at, end - s->at);
		if (s->open > 0 && boundary_line(s, line)) {
			p->head = str_n(s->in.p + start, s->at - start);
			s->stop = s->at;
			s->stop_newlines = s->newlines;
			line_taken(s, end);
			return true;
		}
		if (line.p[0] == '\n' || (line.n >= 2 && line.p[0] == '\r' && line.p[1] == '\n')) {
			p->head = str_n(s->in.p + start, s->at - start);
			line_taken(s, end);
			return false;
		}
		p->head_lines++;
		line_taken(s, end);
	}
	p->head = str_n(s->in.p + start, s->at - start);
	stop_at_end(s);
	return true;
}

static struct str lower(struct arena *a, struct str s)
{
	struct str v = arena_str(a, s);
	char *p = arena_cstr(a, v);
	for (size_t i = 0; p != NULL && i < v.n; i++)
		p[i] = ch_lower(p[i]);
	return str_n(p, v.n);
}

static void content_type(struct scanner *s, struct mime_part *p, struct str value)
{
	struct str token;
	if (mail_params_parse(s->a, value, &token, &p->params) < 0)
		return;
	ptrdiff_t slash = str_chr(token, '/');
	if (slash <= 0 || (size_t)slash + 1 >= token.n) {
		if (str_case_eq(token, STR("text")))	/* RFC 1049 leftovers */
			return;
		p->type = STR("application");
		p->subtype = STR("octet-stream");
		return;
	}
	p->type = str_sub(token, 0, (size_t)slash);
	p->subtype = str_from(token, (size_t)slash + 1);
}

/* First field of each name counts (RFC 2045 says one; two are a trick, and clients use the first). */
static void read_fields(struct scanner *s, struct mime_part *p, bool in_digest)
{
	p->type = in_digest ? STR("message") : STR("text");
	p->subtype = in_digest ? STR("rfc822") : STR("plain");
	p->encoding = STR("7bit");
	bool typed = false, encoded = false;
	struct str head = p->head;
	struct mail_field f;
	while (mail_field_next(&head, &f) == 0) {
		struct { const char *name; struct str *to; } plain[] = {
			{ "Content-ID", &p->id }, { "Content-Description", &p->description }, { "Content-MD5", &p->md5 },
			{ "Content-Language", &p->language }, { "Content-Location", &p->location },
		};
		if (f.name.n < 10 || !str_case_starts(f.name, STR("Content-")))
			continue;
		if (!typed && str_case_eq(f.name, STR("Content-Type"))) {
			content_type(s, p, f.value);
			typed = true;
		} else if (!encoded && str_case_eq(f.name, STR("Content-Transfer-Encoding"))) {
			struct str token;
			struct mail_param *none;
			if (mail_params_parse(s->a, f.value, &token, &none) == 0)
				p->encoding = lower(s->a, token);
			encoded = true;
		} else if (p->disposition.p == NULL && str_case_eq(f.name, STR("Content-Disposition"))) {
			struct str token;
			if (mail_params_parse(s->a, f.value, &token, &p->disposition_params) == 0)
				p->disposition = token;
		}
		for (size_t i = 0; i < ARRAY_LEN(plain); i++)
			if (plain[i].to->p == NULL && str_case_eq(f.name, str_c(plain[i].name)))
				*plain[i].to = mail_unfold(s->a, f.value);
	}
}

static struct str param(const struct mail_param *list, const char *name)
{
	for (; list != NULL; list = list->next)
		if (str_case_eq(list->name, str_c(name)))
			return list->value;
	return (struct str){ 0 };
}

bool mime_type_is(const struct mime_part *p, const char *type, const char *subtype)
{
	return (strcmp(type, "*") == 0 || str_case_eq(p->type, str_c(type))) &&
	       (strcmp(subtype, "*") == 0 || str_case_eq(p->subtype, str_c(subtype)));
}

static struct mime_part *part_new(struct scanner *s, struct mime_part *parent)
{
	if (s->parts >= MIME_PARTS_MAX)
		return NULL;
	struct mime_part *p = ARENA_NEW(s->a, struct mime_part);
	if (p == NULL)
		return NULL;
	s->parts++;
	p->parent = parent;
	p->depth = parent == NULL ? 0 : parent->depth + 1;
	return p;
}

static void parse_part(struct scanner *s, struct mime_part *p, bool in_digest);

/* The body from start to where content ended. newlines: before start. */
static void set_body(struct scanner *s, struct mime_part *p, size_t start, size_t newlines)
{
	p->body = str_n(s->in.p + start, s->stop > start ? s->stop - start : 0);
	p->body_lines = count_lines(s, p->body, newlines);
}

static void parse_multipart(struct scanner *s, struct mime_part *p, struct str boundary)
{
	const unsigned level = s->open;
	const size_t start = s->at, newlines = s->newlines;
	boundary_open(s, boundary);
	take_body(s);	/* preamble */
	bool digest = mime_type_is(p, "multipart", "digest");
	struct mime_part **tail = &p->children;
	while (s->hit == (int)level && !s->hit_final) {
		struct mime_part *child = part_new(s, p);
		if (child == NULL) {
			p->limited = true;
			break;
		}
		*tail = child;
		tail = &child->next;
		parse_part(s, child, digest);
	}
	boundary_close(s);
	if (s->hit >= (int)level)
		take_body(s);	/* epilogue, or all that is above the part limit */
	set_body(s, p, start, newlines);
}

static bool identity_encoding(const struct mime_part *p)
{
	return str_eq(p->encoding, STR("7bit")) || str_eq(p->encoding, STR("8bit")) || str_eq(p->encoding, STR("binary"));
}

static void parse_part(struct scanner *s, struct mime_part *p, bool in_digest)
{
	bool ended = take_head(s, p);
	read_fields(s, p, in_digest);
	if (ended) {
		p->body = str_n(p->head.p + p->head.n, 0);
		return;
	}
	struct str boundary = param(p->params, "boundary");
	bool multi = mime_type_is(p, "multipart", "*") && boundary.n > 0;
	bool message = mime_type_is(p, "message", "rfc822") || mime_type_is(p, "message", "global");
	bool deep = p->depth + 1 >= MIME_DEPTH_MAX || s->open >= MIME_DEPTH_MAX;
	if ((multi || message) && deep)
		p->limited = true;
	if (multi && !deep) {
		parse_multipart(s, p, boundary);
		return;
	}
	struct mime_part *inner = message && !deep && identity_encoding(p) ? part_new(s, p) : NULL;
	if (inner != NULL) {
		const size_t start = s->at, newlines = s->newlines;
		parse_part(s, inner, false);
		p->children = inner;
		set_body(s, p, start, newlines);
		return;
	}
	const size_t newlines = s->newlines;
	p->body = take_body(s);
	p->body_lines = count_lines(s, p->body, newlines);
}

struct mime_part *mime_parse(struct arena *a, struct str message)
{
	struct scanner *s = ARENA_NEW(a, struct scanner);
	static struct mime_part nothing;
	if (s == NULL)
		return &nothing;
	s->a = a;
	s->in = message.p == NULL ? STR("") : message;
	s->hit = -1;
	struct mime_part *root = part_new(s, NULL);
	if (root == NULL)
		return &nothing;
	parse_part(s, root, false);
	return root;
}

void mime_body_decode(const struct mime_part *p, struct buf *out)
{
	if (str_eq(p->encoding, STR("base64")))
		mail_b64_decode(p->body, out);
	else if (str_eq(p->encoding, STR("quoted-printable")))
		mail_qp_decode(p->body, false, out);
	else
		buf_str(out, p->body);
}

static size_t add_name(struct arena *a, struct str v, struct str *out, size_t n, size_t max)
{
	v = str_trim(v);
	if (v.n == 0 || n >= max)
		return n;
	for (size_t i = 0; i < n; i++)
		if (str_eq(out[i], v))
			return n;
	out[n] = arena_str(a, v);
	return n + 1;
}

/* The value, and the value with encoded words decoded: both are what some client shows. */
static size_t add_forms(struct arena *a, const struct mail_param *list, const char *name, struct str *out, size_t n, size_t max)
{
	for (; list != NULL; list = list->next) {
		if (!str_case_eq(list->name, str_c(name)))
			continue;
		n = add_name(a, list->value, out, n, max);
		struct buf words;
		buf_init(&words, 65536);
		mail_words_decode(list->value, &words);
		n = add_name(a, buf_view(&words), out, n, max);
		buf_fini(&words);
	}
	return n;
}

size_t mime_names(struct arena *a, const struct mime_part *p, struct str *out, size_t max)
{
	if (max > 16)
		max = 16;
	size_t n = add_forms(a, p->disposition_params, "filename", out, 0, max);
	n = add_forms(a, p->params, "name", out, n, max);
	return add_forms(a, p->params, "filename", out, n, max);
}
