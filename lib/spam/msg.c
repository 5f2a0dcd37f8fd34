/* A message's header section as rules see it: fields with their decoded and raw values, and what was odd about it (msg.h). */
#include "spam/msg.h"

#include "base/enc.h"

static struct str line_at(struct str in)
{
	const char *lf = memchr(in.p, '\n', in.n);
	return str_n(in.p, lf == NULL ? in.n : (size_t)(lf - in.p) + 1);
}

/* Printable name, blanks, colon. */
static bool field_start(struct str line)
{
	size_t i = 0;
	while (i < line.n && line.p[i] > ' ' && line.p[i] < 0x7f && line.p[i] != ':')
		i++;
	size_t name = i;
	while (i < line.n && ch_blank(line.p[i]))
		i++;
	return name > 0 && i < line.n && line.p[i] == ':';
}

static void field_add(struct arena *a, struct fields *f, struct str whole, unsigned *flags)
{
	ptrdiff_t colon = str_chr(whole, ':');
	if (colon < 0)
		return;
	struct str name = str_sub(whole, 0, (size_t)colon), raw = str_from(whole, (size_t)colon + 1);
	while (name.n > 0 && ch_blank(name.p[name.n - 1]))
		name.n--;
	if (name.n > MSG_FIELD_NAME_MAX || raw.n > MSG_FIELD_VALUE_MAX)
		*flags |= MSG_TRUNCATED_HEAD;
	name.n = name.n > MSG_FIELD_NAME_MAX ? MSG_FIELD_NAME_MAX : name.n;
	raw.n = raw.n > MSG_FIELD_VALUE_MAX ? MSG_FIELD_VALUE_MAX : raw.n;
	if (f->n == f->cap) {
		size_t cap = f->cap == 0 ? 16 : f->cap * 2;
		struct field *grown = ARENA_ARRAY(a, struct field, cap);
		if (f->n > 0)
			memcpy(grown, f->v, f->n * sizeof(*grown));
		f->v = grown;
		f->cap = cap;
	}
	f->v[f->n++] = (struct field){ .name = name, .key = str_lower_copy(a, name), .raw = raw };
}

/* A message's own header survives three lines that are no fields; a part's ends at the first. */
size_t fields_parse(struct arena *a, struct str in, bool of_message, struct fields *out, unsigned *flags)
{
	size_t at = 0, field = SIZE_MAX;
	unsigned bad = 0;
	while (at < in.n) {
		struct str line = line_at(str_from(in, at));
		bool empty = line.n == 1 && line.p[0] == '\n';
		if (ch_blank(line.p[0]) && (of_message || field != SIZE_MAX)) {
			field = field == SIZE_MAX ? at : field;
			at += line.n;
			continue;
		}
		if (field != SIZE_MAX)
			field_add(a, out, str_sub(in, field, at - field), flags);
		field = SIZE_MAX;
		if (empty)
			return at + 1;
		bool ok = field_start(line);
		if ((of_message && str_starts(line, STR("--"))) || (!ok && (!of_message || ++bad > 3))) {
			*flags |= of_message ? MSG_NO_HEAD_END : MSG_NO_PART_HEAD_END;
			return at;
		}
		field = at;
		at += line.n;
	}
	if (field != SIZE_MAX)
		field_add(a, out, str_from(in, field), flags);
	if (of_message)
		*flags |= MSG_NO_HEAD_END;
	return in.n;
}

struct str field_value(struct arena *a, struct field *f)
{
	if (f->decoded)
		return f->value;
	char *p = arena_alloc(a, f->raw.n + 1);
	size_t n = 0;
	for (size_t i = 0; i < f->raw.n; i++) {
		p[n++] = f->raw.p[i];
		if (f->raw.p[i] != '\n' || i + 1 >= f->raw.n || !ch_blank(f->raw.p[i + 1]))
			continue;
		p[n - 1] = ' ';
		while (i + 1 < f->raw.n && ch_blank(f->raw.p[i + 1]))
			i++;
	}
	f->value = decode_field(a, sp_trim(str_n(p, n)), f->key);
	f->decoded = true;
	return f->value;
}

const struct field *field_last(struct arena *a, const struct fields *f, const char *key)
{
	const struct str k = str_c(key);
	for (size_t i = f->n; i-- > 0;) {
		if (f->v[i].key.n == k.n && str_eq(f->v[i].key, k)) {
			field_value(a, &f->v[i]);
			return &f->v[i];
		}
	}
	return NULL;
}

/* LF line ends; when the first or the last line has CRLF all have. */
static struct str to_lf(struct arena *a, struct str in)
{
	const char *lf = in.n == 0 ? NULL : memchr(in.p, '\n', in.n);
	bool crlf = (lf != NULL && lf > in.p && lf[-1] == '\r') || str_ends(in, STR("\r\n"));
	if (!crlf)
		return in;
	char *p = arena_alloc(a, in.n + 1);
	return str_n(p, text_to_lf(p, in));
}

/* "From x" of an mbox, but not a field "From :". */
static struct str skip_mbox_line(struct str in)
{
	if (!str_starts(in, STR("From ")) && !str_starts(in, STR("From\t")))
		return in;
	size_t i = 4;
	while (i < in.n && ch_blank(in.p[i]))
		i++;
	return i < in.n && in.p[i] == ':' ? in : str_from(in, line_at(in).n);
}

static bool blank_line(struct str line)
{
	return sp_trim(line).n == 0;
}

/* Longer runs of empty lines are shortened: they hide what stands below. */
static struct str squeeze_blank_lines(struct arena *a, struct str body)
{
	char *p = NULL;
	size_t n = 0, run = 0;
	for (size_t at = 0; at < body.n;) {
		struct str line = line_at(str_from(body, at));
		run = blank_line(line) ? run + 1 : 0;
		if (run > MSG_BLANK_LINES_MAX && p == NULL) {
			p = arena_alloc(a, body.n + 1);
			memcpy(p, body.p, at);
			n = at;
		}
		if (p != NULL && run <= MSG_BLANK_LINES_MAX) {
			memcpy(p + n, line.p, line.n);
			n += line.n;
		}
		at += line.n;
	}
	return p == NULL ? body : str_n(p, n);
}

void msg_init(struct msg *m, struct arena *a, const struct set *s, const struct spam_facts *facts, struct str message, unsigned want)
{
	static const struct spam_facts nothing;
	*m = (struct msg){ .a = a, .s = s, .facts = facts == NULL ? &nothing : facts, .want = want };
	if (message.n == 0)
		message = STR("\n");
	struct str text = to_lf(a, message), rest = skip_mbox_line(text);
	m->whole = str_from(message, line_at(message).n * (rest.n != text.n));
	size_t head = fields_parse(a, rest, true, &m->fields, &m->flags);
	m->head = str_sub(rest, 0, head);
	m->body_length = rest.n - head;
	m->body = squeeze_blank_lines(a, str_from(rest, head));
	m->heads = ARENA_ARRAY(a, struct head_value, s->n_heads + 1);
	m->values = ARENA_ARRAY(a, double, s->n + 1);
	m->known = arena_alloc(a, s->n + 1);
	if (want & SPAM_WANT_MATCHED)
		m->matched = ARENA_ARRAY(a, struct str, s->n + 1);
	m->bayes = -1;
}
