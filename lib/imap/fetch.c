/* The parser of FETCH attributes and section specifications (RFC 3501 section 9: fetch-att, section). Owns names and shape; what an item
 * holds is the session's matter. */
#include "imap/fetch.h"

#include "base/num.h"
#include "imap/out.h"

struct item_row {
	const char *name;
	uint32_t bits;
};
struct whole_row {
	const char *name, *answer;
	enum imap_section_kind kind;
	bool peek;
};

#define FETCH_ITEM(id, name, source)
#define FETCH_WHOLE(name, answer, kind, peek)
#define FETCH_BRACKET(name, answer, peek)
#define FETCH_MACRO(name, items)
#undef FETCH_ITEM
#define FETCH_ITEM(id, name, source) { name, FETCH_BIT(id) },
static const struct item_row items[] = {
#include "imap/fetch.def"
};
#undef FETCH_ITEM
#define FETCH_ITEM(id, name, source)
#undef FETCH_MACRO
#define FETCH_MACRO(name, items) { name, items },
static const struct item_row macros[] = {
#include "imap/fetch.def"
};
#undef FETCH_MACRO
#define FETCH_MACRO(name, items)
#undef FETCH_WHOLE
#define FETCH_WHOLE(name, answer, kind, peek) { name, answer, IMAP_SECTION_##kind, peek },
static const struct whole_row wholes[] = {
#include "imap/fetch.def"
};
#undef FETCH_WHOLE
#define FETCH_WHOLE(name, answer, kind, peek)
#undef FETCH_BRACKET
#define FETCH_BRACKET(name, answer, peek) { name, answer, IMAP_SECTION_ALL, peek },
static const struct whole_row brackets[] = {
#include "imap/fetch.def"
};
#undef FETCH_ITEM
#undef FETCH_WHOLE
#undef FETCH_BRACKET
#undef FETCH_MACRO

static const struct item_row *item_find(const struct item_row *rows, size_t n, struct str name)
{
	for (size_t i = 0; i < n; i++) {
		if (str_case_eq(name, str_c(rows[i].name)))
			return &rows[i];
	}
	return NULL;
}

static const struct whole_row *whole_find(const struct whole_row *rows, size_t n, struct str name)
{
	for (size_t i = 0; i < n; i++) {
		if (str_case_eq(name, str_c(rows[i].name)))
			return &rows[i];
	}
	return NULL;
}

/* Letters, digits and dots: every item's name. */
static struct str take_name(struct imap_lex *l)
{
	const char *start = l->p;

	while (l->p < l->end && (ch_alnum(*l->p) || *l->p == '.'))
		l->p++;
	return str_n(start, (size_t)(l->p - start));
}

/* 1.2.3, and a dot after them when a word follows. */
static int get_path(struct imap_lex *l, struct imap_section *s, struct err *e)
{
	uint32_t path[IMAP_PART_DEPTH_MAX];
	size_t n = 0;

	while (!imap_at_end(l) && ch_digit(*l->p)) {
		uint64_t number;

		if (n == IMAP_PART_DEPTH_MAX)
			return err_set(e, ERR_LIMIT, 0, "part number too deep");
		if (imap_get_number(l, 1, UINT32_MAX, &number, e) < 0)
			return err_set(e, ERR_INPUT, 0, "invalid part number");
		path[n++] = (uint32_t)number;
		if (!imap_try(l, '.'))
			break;
		if (imap_at(l, ']'))
			return err_set(e, ERR_INPUT, 0, "invalid part number");
	}
	s->depth = n;
	if (n == 0)
		return 0;
	s->path = ARENA_ARRAY(l->arena, uint32_t, n);
	if (!s->path)
		return err_set(e, ERR_LIMIT, 0, "command needs too much memory");
	memcpy(s->path, path, n * sizeof(*path));
	return 0;
}

static int section_word(struct imap_section *s, struct str word, struct err *e)
{
	static const struct {
		const char *name;
		enum imap_section_kind kind;
		bool needs_part;
	} rows[] = {
		{ "HEADER", IMAP_SECTION_HEADER, false },
		{ "HEADER.FIELDS", IMAP_SECTION_FIELDS, false },
		{ "HEADER.FIELDS.NOT", IMAP_SECTION_FIELDS_NOT, false },
		{ "TEXT", IMAP_SECTION_TEXT, false },
		{ "MIME", IMAP_SECTION_MIME, true },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		if (str_case_eq(word, str_c(rows[i].name)) && (!rows[i].needs_part || s->depth)) {
			s->kind = rows[i].kind;
			return 0;
		}
	}
	return err_set(e, ERR_INPUT, 0, "unknown section");
}

/* The client's own spelling, unless it holds what must not be sent in a line: then the same written anew. */
static int make_label(struct imap_lex *l, struct imap_section *s, const char *start, struct str prefix, struct err *e)
{
	const struct str raw = str_n(start, (size_t)(l->p - start));
	struct buf b;

	s->label = raw;
	if (str_printable(raw) && str_chr(raw, '{') < 0)
		return 0;
	buf_init(&b, raw.n * 2 + 64 + s->n_fields * 32);
	buf_str(&b, prefix);
	buf_c(&b, " (");
	for (size_t i = 0; i < s->n_fields; i++) {
		if (i)
			buf_ch(&b, ' ');
		imap_put_astring(&b, s->fields[i]);
	}
	buf_ch(&b, ')');
	s->label = arena_str(l->arena, buf_view(&b));
	const bool failed = buf_failed(&b);

	buf_fini(&b);
	return failed || !s->label.p ? err_set(e, ERR_LIMIT, 0, "command needs too much memory") : 0;
}

int imap_get_section(struct imap_lex *l, struct imap_section *s, struct err *e)
{
	const char *start = l->p;

	if (get_path(l, s, e) < 0)
		return -1;
	if (!imap_at(l, ']') && section_word(s, take_name(l), e) < 0)
		return -1;
	const struct str prefix = str_n(start, (size_t)(l->p - start));

	if (s->kind != IMAP_SECTION_FIELDS && s->kind != IMAP_SECTION_FIELDS_NOT) {
		s->label = prefix;
		return 0;
	}
	if (imap_get_sp(l, e) < 0 || imap_get_astring_list(l, false, &s->fields, &s->n_fields, e) < 0)
		return -1;
	return make_label(l, s, start, prefix, e);
}

static int get_partial(struct imap_lex *l, struct imap_section *s, struct err *e)
{
	if (!imap_try(l, '<'))
		return 0;
	s->partial = true;
	if (imap_get_number(l, 0, UINT32_MAX, &s->from, e) < 0 || imap_get_char(l, '.', e) < 0 ||
	    imap_get_number(l, 1, UINT32_MAX, &s->count, e) < 0 || imap_get_char(l, '>', e) < 0)
		return err_set(e, ERR_INPUT, 0, "invalid partial range");
	return 0;
}

static struct imap_section *section_new(struct imap_lex *l, const struct whole_row *row, struct err *e)
{
	struct imap_section *s = ARENA_NEW(l->arena, struct imap_section);

	if (!s) {
		(void)err_set(e, ERR_LIMIT, 0, "command needs too much memory");
		return NULL;
	}
	s->kind = row->kind;
	s->answer = row->answer;
	s->peek = row->peek;
	return s;
}

static int add_section(struct imap_fetch *f, struct imap_section ***tail, struct imap_section *s, struct err *e)
{
	if (f->n_sections++ == IMAP_SECTIONS_MAX)
		return err_set(e, ERR_LIMIT, 0, "too many sections");
	**tail = s;
	*tail = &s->next;
	return 0;
}

static int get_bracket(struct imap_lex *l, struct str name, struct imap_fetch *f, struct imap_section ***tail, struct err *e)
{
	const struct whole_row *row = whole_find(brackets, ARRAY_LEN(brackets), name);
	struct imap_section *s;

	if (!row)
		return err_set(e, ERR_INPUT, 0, "unknown FETCH item");
	if (!(s = section_new(l, row, e)))
		return -1;
	s->bracket = true;
	s->size = str_eq(str_c(row->answer), STR("BINARY.SIZE"));
	s->binary = s->size || str_eq(str_c(row->answer), STR("BINARY"));
	if (imap_get_char(l, '[', e) < 0 || imap_get_section(l, s, e) < 0 || imap_get_char(l, ']', e) < 0 || get_partial(l, s, e) < 0)
		return -1;
	if (s->binary && (s->kind != IMAP_SECTION_ALL || (s->size && s->partial)))
		return err_set(e, ERR_INPUT, 0, "BINARY takes part numbers only");
	return add_section(f, tail, s, e);
}

/* [SP "(" "LAZY" ")"] (RFC 8970 section 3.1). Whatever else follows a blank is the next item. */
static int get_lazy(struct imap_lex *l, struct imap_fetch *f, struct err *e)
{
	if (l->end - l->p < 2 || l->p[0] != ' ' || l->p[1] != '(')
		return 0;
	l->p += 2;
	if (!imap_try_word(l, "LAZY"))
		return err_set(e, ERR_INPUT, 0, "unknown PREVIEW modifier");
	f->lazy = true;
	return imap_get_char(l, ')', e);
}

static int get_item(struct imap_lex *l, bool macro_ok, struct imap_fetch *f, struct imap_section ***tail, struct err *e)
{
	const struct str name = take_name(l);
	const struct item_row *item = item_find(items, ARRAY_LEN(items), name);
	const struct whole_row *whole;
	struct imap_section *s;

	if (imap_at(l, '['))
		return get_bracket(l, name, f, tail, e);
	if (!item && macro_ok)
		item = item_find(macros, ARRAY_LEN(macros), name);
	if (item) {
		f->items |= item->bits;
		return item->bits == FETCH_BIT(PREVIEW) ? get_lazy(l, f, e) : 0;
	}
	if (!(whole = whole_find(wholes, ARRAY_LEN(wholes), name)))
		return err_set(e, ERR_INPUT, 0, "unknown FETCH item");
	if (!(s = section_new(l, whole, e)))
		return -1;
	return add_section(f, tail, s, e);
}

int imap_get_fetch(struct imap_lex *l, struct imap_fetch *out, struct err *e)
{
	struct imap_fetch f = { 0 };
	struct imap_section **tail = &f.sections;

	if (!imap_try(l, '(')) {
		if (get_item(l, true, &f, &tail, e) < 0)
			return -1;
		*out = f;
		return 0;
	}
	do {
		while (imap_try(l, ' '))
			;
		/* Macros inside a list are wrong by the grammar, but Outlook and others send them. */
		if (get_item(l, true, &f, &tail, e) < 0)
			return -1;
	} while (imap_at(l, ' '));
	if (imap_get_char(l, ')', e) < 0)
		return -1;
	*out = f;
	return 0;
}

static int get_modifier(struct imap_lex *l, struct imap_fetch *out, struct err *e)
{
	if (imap_try_word(l, "VANISHED")) {
		if (out->vanished)
			return err_set(e, ERR_INPUT, 0, "VANISHED twice");
		out->vanished = true;
		return 0;
	}
	if (imap_try_word(l, "PARTIAL")) {
		if (out->part)
			return err_set(e, ERR_INPUT, 0, "PARTIAL twice");
		out->part = true;
		return imap_get_sp(l, e) < 0 ? -1 : imap_get_partial(l, &out->partial, e);
	}
	if (!imap_try_word(l, "CHANGEDSINCE"))
		return err_set(e, ERR_INPUT, 0, "unknown FETCH modifier");
	if (out->changed)
		return err_set(e, ERR_INPUT, 0, "CHANGEDSINCE twice");
	out->changed = true;
	/* 0 is sent by iOS after a server has gained mod-sequences. */
	if (imap_get_sp(l, e) < 0 || imap_get_number(l, 0, INT64_MAX, &out->changedsince, e) < 0)
		return -1;
	return 0;
}

int imap_get_fetch_modifiers(struct imap_lex *l, struct imap_fetch *out, struct err *e)
{
	if (!imap_at(l, ' '))
		return 0;
	if (imap_get_sp(l, e) < 0 || imap_get_char(l, '(', e) < 0)
		return -1;
	do {
		while (imap_try(l, ' '))
			;
		if (get_modifier(l, out, e) < 0)
			return -1;
	} while (imap_at(l, ' '));
	if (out->vanished && !out->changed)
		return err_set(e, ERR_INPUT, 0, "VANISHED needs CHANGEDSINCE");
	return imap_get_char(l, ')', e);
}
