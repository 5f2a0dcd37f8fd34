/* Header fields and addresses (head.h). RFC 5322 2.2, 3.4, 4; tolerant, bounded, pure. */
#include "mail/head.h"

#include "base/enc.h"

/* End of the line that starts at s: the index after its LF, or s.n. */
static size_t line_end(struct str s, size_t from)
{
	const char *lf = from < s.n ? memchr(s.p + from, '\n', s.n - from) : NULL;
	return lf == NULL ? s.n : (size_t)(lf - s.p) + 1;
}

static bool line_empty(struct str s)
{
	return s.n == 0 || s.p[0] == '\n' || (s.n >= 2 && s.p[0] == '\r' && s.p[1] == '\n');
}

/* Of a field's name: RFC 5322 3.6.8, what is printable but the colon. */
static bool name_char(char c)
{
	static const bool is[256] = { ['!' ... '9'] = true, [';' ... '~'] = true };

	return is[(unsigned char)c];
}

int mail_field_next(struct str *in, struct mail_field *out)
{
	if (in->n == 0)
		return 1;
	if (line_empty(*in)) {
		*in = str_from(*in, line_end(*in, 0));
		return 1;
	}
	size_t end = line_end(*in, 0);
	while (end < in->n && ch_blank(in->p[end]))
		end = line_end(*in, end);
	struct mail_field f = { .whole = str_sub(*in, 0, end) };
	*in = str_from(*in, end);
	size_t i = 0;
	while (i < f.whole.n && name_char(f.whole.p[i]))
		i++;
	size_t name_n = i;
	while (i < f.whole.n && ch_blank(f.whole.p[i]))
		i++;
	if (name_n > 0 && i < f.whole.n && f.whole.p[i] == ':') {
		f.name = str_sub(f.whole, 0, name_n);
		f.value = str_from(f.whole, i + 1);
		while (f.value.n > 0 && (f.value.p[f.value.n - 1] == '\n' || f.value.p[f.value.n - 1] == '\r'))
			f.value.n--;
	}
	*out = f;
	return 0;
}

bool mail_field_find(struct str head, const char *name, struct mail_field *out)
{
	struct mail_field f;
	while (mail_field_next(&head, &f) == 0) {
		if (f.name.n > 0 && str_case_eq(f.name, str_c(name))) {
			*out = f;
			return true;
		}
	}
	return false;
}

struct mail_fields mail_fields_of(struct arena *a, struct str head)
{
	struct mail_fields out = { 0 };
	struct mail_field f;
	size_t cap = 0;

	while (mail_field_next(&head, &f) == 0) {
		if (f.name.n == 0)
			continue;
		if (out.n == cap) {
			struct mail_field *const v = ARENA_ARRAY(a, struct mail_field, cap * 2 + 32);
			if (v == NULL) {
				out.cut = true;
				break;
			}
			if (out.n)
				memcpy(v, out.v, out.n * sizeof(*v));
			out.v = v;
			cap = cap * 2 + 32;
		}
		out.v[out.n++] = f;
	}
	return out;
}

const struct mail_field *mail_fields_find(const struct mail_fields *fields, const char *name)
{
	const struct str wanted = str_c(name);

	for (size_t i = 0; i < fields->n; i++)
		if (fields->v[i].name.n == wanted.n && ch_lower(fields->v[i].name.p[0]) == ch_lower(wanted.p[0]) && str_case_eq(fields->v[i].name, wanted))
			return &fields->v[i];
	return NULL;
}

struct str mail_unfold(struct arena *a, struct str value)
{
	value = str_trim(value);
	if (str_chr(value, '\n') < 0 && str_chr(value, '\r') < 0)
		return value;
	char *p = arena_alloc(a, value.n + 1);
	if (p == NULL)
		return (struct str){ 0 };
	size_t n = 0;
	for (size_t i = 0; i < value.n; i++)
		if (value.p[i] != '\r' && value.p[i] != '\n')
			p[n++] = value.p[i];
	return str_n(p, n);
}

/* --- addresses --- */

struct cursor {
	struct arena *a;
	struct str in;
	struct str comment;	/* last comment seen: old style display name */
	struct mail_addr **tail;
	size_t count;
	bool doubtful;		/* of the address that is being read */
};

/* Is c allowed in an atom, taken widely (RFC 5322 3.2.3 and what is found)? */
static bool atom_char(char c)
{
	static const bool is_not[256] = { [0 ... ' '] = true, ['('] = true, [')'] = true, ['<'] = true, ['>'] = true, ['['] = true, [']'] = true, [':'] = true,
		[';'] = true, ['@'] = true, ['\\'] = true, [','] = true, ['"'] = true, [0x7f] = true };

	return !is_not[(unsigned char)c];
}

/* One of a few characters, or the NUL behind them. */
static bool stops(const char *stop, char c)
{
	while (*stop != c && *stop != '\0')
		stop++;
	return *stop == c;
}

static void skip_comment(struct cursor *c)
{
	struct str s = c->in;
	size_t i = 1, depth = 1, start = 1;
	for (; i < s.n && depth > 0; i++) {
		if (s.p[i] == '\\' && i + 1 < s.n)
			i++;
		else if (s.p[i] == '(' && depth < MAIL_COMMENT_DEPTH_MAX)
			depth++;
		else if (s.p[i] == ')')
			depth--;
	}
	size_t end = depth == 0 ? i - 1 : i;
	c->comment = str_sub(s, start, end - start);
	c->in = str_from(s, i);
}

static void skip_cfws(struct cursor *c)
{
	while (c->in.n > 0) {
		if (ch_space(c->in.p[0]))
			c->in = str_from(c->in, 1);
		else if (c->in.p[0] == '(')
			skip_comment(c);
		else
			return;
	}
}

bool mail_results_claim(struct arena *a, struct str value, const char *hostname)
{
	struct cursor c = { .in = mail_unfold(a, value) };
	char id[256];	/* with a dot at the end: who compares host names takes it for the same */
	size_t n = 0;

	skip_cfws(&c);
	const struct str v = c.in;
	const bool quoted = v.n > 0 && v.p[0] == '"';
	for (size_t i = quoted; i < v.n; i++) {
		if (quoted ? v.p[i] == '"' : ch_blank(v.p[i]) || v.p[i] == ';' || v.p[i] == '(')
			break;
		if (quoted && v.p[i] == '\\' && i + 1 < v.n)
			i++;
		if (n == sizeof(id))
			return false;
		id[n++] = v.p[i];
	}
	if (n > 0 && id[n - 1] == '.')
		n--;
	return str_case_eq(str_n(id, n), str_c(hostname));
}

/* Quoted string at c->in: unquoted into buf. */
static void take_quoted(struct cursor *c, struct buf *out)
{
	size_t i = 1;
	for (; i < c->in.n && c->in.p[i] != '"'; i++) {
		if (c->in.p[i] == '\\' && i + 1 < c->in.n)
			i++;
		if (c->in.p[i] != '\r' && c->in.p[i] != '\n')
			buf_ch(out, c->in.p[i]);
	}
	c->in = str_from(c->in, i + 1);
}

static struct mail_addr *add(struct cursor *c)
{
	struct mail_addr *m = c->count < MAIL_ADDR_MAX ? ARENA_NEW(c->a, struct mail_addr) : NULL;
	if (m == NULL)
		return NULL;
	c->count++;
	*c->tail = m;
	c->tail = &m->next;
	return m;
}

/* Is there a blank between what was taken and what comes that an address cannot have? It may stand around dots alone (RFC 5322 4.4). left: what was left before it. */
static bool parted(const struct cursor *c, const struct buf *taken, size_t left)
{
	return taken->n > 0 && c->in.n < left && c->in.n > 0 && c->in.p[0] != '.' && taken->p[taken->n - 1] != '.';
}

enum words { PHRASE, LOCAL_PART, DOMAIN };

/* Words up to a delimiter: atoms, dots and quoted strings. Those of a phrase are separated by one blank, others joined. What cannot start a word is skipped. */
static void take_words(struct cursor *c, struct buf *out, enum words kind, const char *stop)
{
	const bool spaced = kind == PHRASE;
	bool gap = false;
	size_t left = 0;
	for (skip_cfws(c); c->in.n > 0 && !stops(stop, c->in.p[0]); left = c->in.n, skip_cfws(c)) {
		if (kind == DOMAIN && parted(c, out, left))
			return;		/* the next address begins, without a comma */
		c->doubtful |= kind == LOCAL_PART && parted(c, out, left);
		size_t before = out->n;
		if (spaced && gap)
			buf_ch(out, ' ');
		if (c->in.p[0] == '"') {
			take_quoted(c, out);
		} else {
			size_t n = 0;
			while (n < c->in.n && atom_char(c->in.p[n]))
				n++;
			if (n == 0) {
				c->in = str_from(c->in, 1);
				buf_cut(out, before);
				continue;
			}
			buf_mem(out, c->in.p, n);
			c->in = str_from(c->in, n);
		}
		gap = true;
		if (out->failed)
			return;
	}
}

static void take_domain(struct cursor *c, struct buf *out)
{
	skip_cfws(c);
	if (c->in.n > 0 && c->in.p[0] == '[') {
		size_t n = 0;
		while (n < c->in.n && c->in.p[n] != ']' && c->in.p[n] != '\n')
			n++;
		n += n < c->in.n && c->in.p[n] == ']';
		buf_mem(out, c->in.p, n);
		c->in = str_from(c->in, n);
		skip_cfws(c);
		return;
	}
	take_words(c, out, DOMAIN, ",;>:<@(");
}

static struct str keep(struct cursor *c, struct buf *b)
{
	struct str s = arena_str(c->a, buf_view(b));
	if (s.p != NULL && b->n == 0)
		s = str_n(s.p, 0);
	buf_reset(b);
	return s;
}

/* "@" and a domain; of several the last. */
static struct str take_domains(struct cursor *c, struct buf *b)
{
	struct str domain = STR("");

	for (int n = 0; c->in.n > 0 && c->in.p[0] == '@'; n++) {
		c->doubtful |= n > 0;
		c->in = str_from(c->in, 1);
		take_domain(c, b);
		domain = keep(c, b);
	}
	return domain;
}

/* "<" route ":" addr-spec ">" at c->in. */
static void take_angle(struct cursor *c, struct buf *b, struct str name)
{
	struct mail_addr *m = add(c);
	c->in = str_from(c->in, 1);
	c->doubtful = false;
	skip_cfws(c);
	struct str route = { 0 };
	if (c->in.n > 0 && c->in.p[0] == '@') {
		ptrdiff_t colon = str_chr(c->in, ':'), close = str_chr(c->in, '>');
		if (colon > 0 && (close < 0 || colon < close)) {
			route = str_sub(c->in, 0, (size_t)colon);
			c->in = str_from(c->in, (size_t)colon + 1);
		}
	}
	take_words(c, b, LOCAL_PART, "@>,;<");
	struct str local = keep(c, b), domain = take_domains(c, b);
	c->doubtful |= c->in.n > 0 && c->in.p[0] != '>';
	ptrdiff_t close = str_chr(c->in, '>');
	ptrdiff_t comma = str_chr(c->in, ',');
	if (close >= 0 && (comma < 0 || close < comma))
		c->in = str_from(c->in, (size_t)close + 1);
	if (m != NULL)
		*m = (struct mail_addr){ .name = name, .route = route, .local = local, .domain = domain, .doubtful = c->doubtful, .next = m->next };
	skip_cfws(c);
}

/* addr-spec without brackets whose local part is in b; a comment after it is the display name. */
static void take_bare(struct cursor *c, struct buf *b)
{
	struct str local = keep(c, b);
	c->comment = (struct str){ 0 };
	struct str domain = take_domains(c, b);
	struct mail_addr *m = add(c);
	if (m != NULL)
		*m = (struct mail_addr){ .local = local, .domain = domain, .name = c->comment, .doubtful = c->doubtful };
}

int mail_addr_parse(struct arena *a, struct str value, struct mail_addr **list_out, struct err *e)
{
	struct mail_addr *list = NULL;
	struct cursor c = { .a = a, .in = value, .tail = &list };
	struct buf b;
	buf_init(&b, 65536);
	bool group = false;
	for (skip_cfws(&c); c.in.n > 0 && c.count < MAIL_ADDR_MAX && !buf_failed(&b); skip_cfws(&c)) {
		if (c.in.p[0] == ',') {
			c.in = str_from(c.in, 1);
			continue;
		}
		if (c.in.p[0] == ';') {
			c.in = str_from(c.in, 1);
			if (group)
				add(&c);
			group = false;
			continue;
		}
		c.comment = (struct str){ 0 };
		size_t before = c.in.n;
		struct str start = c.in;
		take_words(&c, &b, PHRASE, "@<,;:");
		if (c.in.n > 0 && c.in.p[0] == '<') {
			take_angle(&c, &b, b.n > 0 ? keep(&c, &b) : (struct str){ 0 });
		} else if (c.in.n > 0 && c.in.p[0] == ':' && !group) {
			c.in = str_from(c.in, 1);
			struct str name = keep(&c, &b);
			struct mail_addr *m = add(&c);
			if (m != NULL)
				m->local = name.p == NULL ? STR("") : name;
			group = true;
		} else if (b.n > 0 || (c.in.n > 0 && c.in.p[0] == '@')) {
			/* A local part may not hold blanks: read it again, joined. */
			buf_reset(&b);
			c.in = start;
			c.doubtful = false;
			take_words(&c, &b, LOCAL_PART, "@<,;:");
			take_bare(&c, &b);
		}
		if (c.in.n == before)
			c.in = str_from(c.in, 1);
	}
	if (group && c.count < MAIL_ADDR_MAX)
		add(&c);
	bool failed = buf_failed(&b);
	buf_fini(&b);
	if (failed)
		return err_set(e, ERR_LIMIT, 0, "an address is longer than 65536 bytes");
	*list_out = list;
	return 0;
}
