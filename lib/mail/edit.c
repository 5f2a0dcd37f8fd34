/* Header edits (edit.h): checks and applies the envelope's records of changes to a header section. Pure; linear in the header's
 * size times the number of edits, both bounded by the caller. */
#include "mail/edit_priv.h"

#include "base/arena.h"
#include "base/num.h"
#include "mail/head.h"

/* RFC 5322 2.2: printable ASCII but the colon. '#' could not be told from the index, so it is not for "-" and "=". */
static bool name_valid(struct str name)
{
	for (size_t i = 0; i < name.n; i++)
		if (name.p[i] <= ' ' || name.p[i] > '~' || name.p[i] == ':' || name.p[i] == '#')
			return false;
	return name.n > 0 && name.n <= 200;
}

static bool value_valid(struct str v)
{
	for (size_t i = 0; i < v.n; i++) {
		unsigned char c = (unsigned char)v.p[i];
		if (c == '\n' ? (i + 1 >= v.n || !ch_blank(v.p[i + 1])) : (c < 0x20 && c != '\t') || c == 0x7f)
			return false;
	}
	return true;
}

/* The number before an insertion's field: "K Name: value". */
static int take_place(struct str *s, struct mail_edit *out, struct err *e)
{
	const ptrdiff_t blank = str_chr(*s, ' ');

	if (blank < 0 || num_parse(str_sub(*s, 0, (size_t)blank), 1, 100000, &out->index) < 0)
		return err_set(e, ERR_INPUT, 0, "a header insertion needs a place");
	*s = str_from(*s, (size_t)blank + 1);
	return 0;
}

/* "Name#K". */
static int split_index(struct str head, struct mail_edit *out, struct err *e)
{
	const ptrdiff_t hash = str_chr(head, '#');

	if (hash < 0 || num_parse(str_from(head, (size_t)hash + 1), out->op == '=' ? 1 : 0, 100000, &out->index) < 0)
		return err_set(e, ERR_INPUT, 0, "a header edit needs Name#index");
	out->name = str_sub(head, 0, (size_t)hash);
	return 0;
}

int mail_edit_parse(struct str s, struct mail_edit *out, struct err *e)
{
	if (s.n < 2 || memchr("+>-=<", s.p[0], 5) == NULL)
		return err_set(e, ERR_INPUT, 0, "a header edit begins with + > < - or =");
	struct mail_edit ed = { .op = s.p[0] };
	const bool indexed = ed.op == '-' || ed.op == '=';
	s = str_from(s, 1);
	if (ed.op == '<' && take_place(&s, &ed, e) < 0)
		return -1;
	ed.name = s;
	if (ed.op != '-') {
		const ptrdiff_t colon = str_chr(s, ':');
		if (colon < 0)
			return err_set(e, ERR_INPUT, 0, "a header edit has no colon");
		ed.name = str_sub(s, 0, (size_t)colon);
		ed.value = str_from(s, (size_t)colon + 1);
		if (ed.value.n > 0 && ed.value.p[0] == ' ')
			ed.value = str_from(ed.value, 1);
	}
	if (indexed && split_index(ed.name, &ed, e) < 0)
		return -1;
	if (!name_valid(ed.name))
		return err_set(e, ERR_INPUT, 0, "a header edit names no header field");
	if (!value_valid(ed.value))
		return err_set(e, ERR_INPUT, 0, "a header edit's value holds a control byte or a broken fold");
	*out = ed;
	return 0;
}

int mail_edit_check(struct str s, struct err *e)
{
	struct mail_edit ed;
	return mail_edit_parse(s, &ed, e);
}

static void put_field(struct buf *out, const struct mail_edit *ed)
{
	buf_str(out, ed->name);
	buf_c(out, ": ");
	buf_str(out, ed->value);
	buf_ch(out, '\n');
}

/* What is inserted before the at-th field. */
static void put_inserted(struct buf *out, const struct mail_edit *eds, size_t n, uint64_t at)
{
	for (size_t i = 0; i < n; i++)
		if (eds[i].op == '<' && eds[i].index == at)
			put_field(out, &eds[i]);
}

/* What the edits make of the occurrence-th field of that name; *replaced is the last edit that hit it. false: it goes. */
static bool field_fate(const struct mail_edit *eds, size_t n, struct str name, uint64_t occurrence, const struct mail_edit **replaced)
{
	bool keep = true;
	*replaced = NULL;
	for (size_t i = 0; i < n; i++) {
		if ((eds[i].op != '-' && eds[i].op != '=') || !str_case_eq(eds[i].name, name))
			continue;
		if (eds[i].index != 0 && eds[i].index != occurrence)
			continue;
		keep = eds[i].op == '=';
		*replaced = keep ? &eds[i] : NULL;
	}
	return keep;
}

static uint64_t count_fields(struct str head, struct str name)
{
	struct mail_field f;
	uint64_t n = 0;
	while (mail_field_next(&head, &f) == 0)
		n += f.name.n > 0 && str_case_eq(f.name, name);
	return n;
}

int mail_edit_apply(struct str head, const struct str *edits, size_t n, struct buf *out, struct err *e)
{
	if (n == 0) {
		buf_str(out, head);
		return buf_check(out, "the header", e);
	}
	struct mail_edit *eds = xmalloc(n * sizeof(*eds));
	CLEANUP(xfree_p) UNUSED void *owned = eds;
	for (size_t i = 0; i < n; i++)
		if (mail_edit_parse(edits[i], &eds[i], e) < 0)
			return -1;
	for (size_t i = n; i-- > 0;)
		if (eds[i].op == '+')
			put_field(out, &eds[i]);
	struct str rest = head;
	struct mail_field f;
	uint64_t at = 0;
	while (mail_field_next(&rest, &f) == 0) {
		const struct mail_edit *replaced = NULL;
		bool keep = true;
		put_inserted(out, eds, n, ++at);
		for (size_t i = 0; i < n && f.name.n > 0; i++) {
			if ((eds[i].op == '-' || eds[i].op == '=') && str_case_eq(eds[i].name, f.name)) {
				struct str before = str_n(head.p, (size_t)(f.whole.p - head.p));
				keep = field_fate(eds, n, f.name, count_fields(before, f.name) + 1, &replaced);
				break;
			}
		}
		if (replaced != NULL)
			put_field(out, replaced);
		else if (keep)
			buf_str(out, f.whole);
		if (keep && out->n > 0 && out->p[out->n - 1] != '\n')
			buf_ch(out, '\n');
	}
	for (size_t i = 0; i < n; i++)
		if (eds[i].op == '>' || (eds[i].op == '<' && eds[i].index > at) || (eds[i].op == '=' && count_fields(head, eds[i].name) < eds[i].index))
			put_field(out, &eds[i]);
	return buf_check(out, "the header", e);
}

int mail_head_find(struct str in, bool final, size_t *head_n_out, size_t *body_out)
{
	for (size_t at = 0; at < in.n;) {
		size_t eol = in.p[at] == '\r' && at + 1 < in.n ? 1 : 0;
		if (in.p[at + eol] == '\n') {
			*head_n_out = at;
			*body_out = at + eol + 1;
			return 0;
		}
		const char *lf = memchr(in.p + at, '\n', in.n - at);
		if (lf == NULL)
			break;
		at = (size_t)(lf - in.p) + 1;
	}
	if (!final)
		return 1;
	*head_n_out = *body_out = in.n;
	return 0;
}
