/* Views of a header section (edit_view.h). Linear in the number of fields, times the number of edits. Pure. */
#include "mail/edit_view.h"

#include <stdio.h>
#include <string.h>

#include "mail/edit_priv.h"
#include "mail/head.h"

enum { EDIT_BYTES_MAX = 1 << 24 };

/* --- making one --- */

static int append(struct mail_view *w, const struct mail_view_field *f, struct err *e)
{
	if (w->n == w->cap) {
		const size_t cap = w->cap ? w->cap * 2 : 64;
		struct mail_view_field *v = w->n < MAIL_VIEW_FIELDS_MAX ? ARENA_ARRAY(w->a, struct mail_view_field, cap) : NULL;
		if (v == NULL)
			return err_set(e, ERR_LIMIT, 0, "too many header fields");
		if (w->n > 0)
			memcpy(v, w->v, w->n * sizeof(*v));
		w->v = v;
		w->cap = cap;
	}
	w->v[w->n++] = *f;
	return 0;
}

static int add_edit(struct mail_view *w, const struct mail_edit *ed, bool own, struct err *e)
{
	/* The blank that stands behind the colon in the header. */
	char *p = arena_alloc(w->a, ed->value.n + 2);

	if (p == NULL)
		return err_set(e, ERR_LIMIT, 0, "header too long");
	p[0] = ' ';
	if (ed->value.n > 0)
		memcpy(p + 1, ed->value.p, ed->value.n);
	const struct mail_view_field f = { .name = arena_str(w->a, ed->name), .value = str_n(p, ed->value.n + 1), .own = own };
	return append(w, &f, e);
}

/* The last edit that decides about the message's own field; NULL: none does. */
static const struct mail_edit *decider(const struct mail_edit *eds, size_t n, const struct mail_view_origin *o)
{
	for (size_t i = n; i-- > 0;)
		if ((eds[i].op == '-' || eds[i].op == '=') && (eds[i].index == 0 || eds[i].index == o->number) && o->name.n > 0 && str_case_eq(eds[i].name, o->name))
			return &eds[i];
	return NULL;
}

static int add_original(struct mail_view *w, const struct mail_field *f, const struct mail_edit *eds, size_t n, struct err *e)
{
	struct mail_view_origin *o = &w->origins[w->n_origins++];

	*o = (struct mail_view_origin){ .name = f->name, .number = 1 };
	for (size_t i = 0; f->name.n > 0 && i + 1 < w->n_origins; i++)
		o->number += str_case_eq(w->origins[i].name, f->name);
	const struct mail_edit *d = decider(eds, n, o);
	if (d && d->op == '-') {
		o->gone = true;
		return 0;
	}
	if (d) {
		if (add_edit(w, d, false, e) < 0)
			return -1;
		w->v[w->n - 1].origin = w->n_origins;
		w->v[w->n - 1].changed = true;
		return 0;
	}
	const struct mail_view_field own = { .name = f->name, .value = f->value, .origin = w->n_origins };
	return append(w, &own, e);
}

static unsigned originals_of(const struct mail_view *w, struct str name)
{
	unsigned n = 0;

	for (size_t i = 0; i < w->n_origins; i++)
		n += w->origins[i].name.n > 0 && str_case_eq(w->origins[i].name, name);
	return n;
}

static int add_inserted(struct mail_view *w, const struct mail_edit *eds, size_t n, size_t at, struct err *e)
{
	for (size_t i = 0; i < n; i++)
		if (eds[i].op == '<' && eds[i].index == at && add_edit(w, &eds[i], false, e) < 0)
			return -1;
	return 0;
}

static size_t count_lines(struct str head)
{
	struct mail_field f;
	size_t n = 0;

	while (mail_field_next(&head, &f) == 0)
		n++;
	return n;
}

static int fill(struct mail_view *w, struct str head, const struct mail_edit *eds, size_t n, struct err *e)
{
	struct mail_field f;
	size_t own = n;

	/* A later "+" goes above an earlier one; the first Received is this server's. */
	for (size_t i = n; i-- > 0;)
		if (eds[i].op == '+' && str_case_eq(eds[i].name, STR("Received")))
			own = i;
	for (size_t i = n; i-- > 0;)
		if (eds[i].op == '+' && add_edit(w, &eds[i], i == own, e) < 0)
			return -1;
	while (mail_field_next(&head, &f) == 0)
		if (add_inserted(w, eds, n, w->n_origins + 1, e) < 0 || add_original(w, &f, eds, n, e) < 0)
			return -1;
	for (size_t i = 0; i < n; i++)
		if ((eds[i].op == '>' || (eds[i].op == '<' && eds[i].index > w->n_origins) || (eds[i].op == '=' && originals_of(w, eds[i].name) < eds[i].index)) &&
		    add_edit(w, &eds[i], false, e) < 0)
			return -1;
	return 0;
}

int mail_view_make(struct mail_view *out, struct arena *a, struct str head, const struct str *edits, size_t n, struct err *e)
{
	const size_t lines = count_lines(head);
	struct mail_view w = { .a = a, .origins = ARENA_ARRAY(a, struct mail_view_origin, lines + 1) };
	struct mail_edit *eds = ARENA_ARRAY(a, struct mail_edit, n + 1);

	if (lines > MAIL_VIEW_FIELDS_MAX || w.origins == NULL || eds == NULL)
		return err_set(e, ERR_LIMIT, 0, "too many header fields");
	for (size_t i = 0; i < n; i++)
		if (mail_edit_parse(edits[i], &eds[i], e) < 0)
			return -1;
	if (fill(&w, head, eds, n, e) < 0)
		return -1;
	*out = w;
	return 0;
}

int mail_view_copy(struct mail_view *out, const struct mail_view *w, struct err *e)
{
	struct mail_view c = *w;

	c.cap = w->n + 16;
	c.v = ARENA_ARRAY(w->a, struct mail_view_field, c.cap);
	c.origins = ARENA_ARRAY(w->a, struct mail_view_origin, w->n_origins + 1);
	if (c.v == NULL || c.origins == NULL)
		return err_set(e, ERR_LIMIT, 0, "too many header fields");
	if (w->n > 0)
		memcpy(c.v, w->v, w->n * sizeof(*w->v));
	if (w->n_origins > 0)
		memcpy(c.origins, w->origins, w->n_origins * sizeof(*w->origins));
	*out = c;
	return 0;
}

/* --- changing --- */

static struct str value_of(const struct mail_view_field *f)
{
	return f->value.n > 0 && f->value.p[0] == ' ' ? str_from(f->value, 1) : f->value;
}

static struct str edit_text(struct arena *a, const char *start, struct str name, const char *end, struct str value)
{
	struct buf b;

	buf_init(&b, EDIT_BYTES_MAX);
	buf_c(&b, start);
	buf_str(&b, name);
	buf_c(&b, end);
	buf_str(&b, value);
	const struct str s = buf_failed(&b) ? (struct str){ 0 } : arena_str(a, buf_view(&b));
	buf_fini(&b);
	return s;
}

/* May an edit have these? */
static int valid(struct mail_view *w, struct str name, struct str value, struct err *e)
{
	const struct str s = edit_text(w->a, "+", name, ": ", value);

	if (str_chr(name, ':') >= 0)
		return err_set(e, ERR_INPUT, 0, "a colon in a header field's name");
	return s.p == NULL ? err_set(e, ERR_LIMIT, 0, "header too long") : mail_edit_check(s, e);
}

int mail_view_insert(struct mail_view *w, size_t at, struct str name, struct str value, struct err *e)
{
	const struct mail_edit ed = { .name = name, .value = value };

	if (valid(w, name, value, e) < 0 || add_edit(w, &ed, false, e) < 0)
		return -1;
	const struct mail_view_field f = w->v[w->n - 1];
	if (at + 1 < w->n) {
		memmove(&w->v[at + 1], &w->v[at], (w->n - 1 - at) * sizeof(f));
		w->v[at] = f;
	}
	return 0;
}

static int no_such_place(const struct mail_view *w, size_t at, struct err *e)
{
	return err_set(e, ERR_INPUT, 0, "no header field at place %zu of %zu", at, w->n);
}

int mail_view_change(struct mail_view *w, size_t at, struct str value, struct err *e)
{
	if (at >= w->n)
		return no_such_place(w, at, e);
	const struct mail_edit ed = { .name = w->v[at].name, .value = value };

	if (valid(w, ed.name, value, e) < 0 || add_edit(w, &ed, false, e) < 0)
		return -1;
	w->v[at].value = w->v[--w->n].value;
	w->v[at].changed = true;
	return 0;
}

int mail_view_remove(struct mail_view *w, size_t at, struct err *e)
{
	if (at >= w->n)
		return no_such_place(w, at, e);
	if (valid(w, w->v[at].name, STR(""), e) < 0)
		return -1;
	if (w->v[at].origin)
		w->origins[w->v[at].origin - 1].gone = true;
	memmove(&w->v[at], &w->v[at + 1], (w->n - 1 - at) * sizeof(*w->v));
	w->n--;
	return 0;
}

/* --- back to edits --- */

struct edits {
	struct arena *a;
	struct str *v;
	size_t n, max;
};

static void put(struct edits *o, const char *start, struct str name, const char *end, struct str value)
{
	if (o->n < o->max)
		o->v[o->n] = edit_text(o->a, start, name, end, value);
	o->n++;
}

static void put_originals(const struct mail_view *w, struct edits *o)
{
	char number[24];

	for (size_t i = 0; i < w->n_origins; i++)
		if (w->origins[i].gone) {
			snprintf(number, sizeof(number), "#%u", w->origins[i].number);
			put(o, "-", w->origins[i].name, number, STR(""));
		}
	for (size_t i = 0; i < w->n; i++)
		if (w->v[i].origin && w->v[i].changed) {
			snprintf(number, sizeof(number), "#%u: ", w->origins[w->v[i].origin - 1].number);
			put(o, "=", w->v[i].name, number, value_of(&w->v[i]));
		}
}

static void put_added(const struct mail_view *w, struct edits *o)
{
	size_t first = 0, next = 0;
	char start[24];

	while (first < w->n && w->v[first].origin == 0)
		first++;
	for (size_t i = first; i-- > 0;)
		put(o, "+", w->v[i].name, ": ", value_of(&w->v[i]));
	for (size_t i = first; i < w->n; i++) {
		if (w->v[i].origin)
			continue;
		for (next = i + 1; next < w->n && w->v[next].origin == 0;)
			next++;
		snprintf(start, sizeof(start), "<%zu ", next < w->n ? w->v[next].origin : 0);
		put(o, next < w->n ? start : ">", w->v[i].name, ": ", value_of(&w->v[i]));
	}
}

int mail_view_edits(const struct mail_view *w, struct str **out, size_t *n_out, size_t max, struct err *e)
{
	struct edits o = { w->a, ARENA_ARRAY(w->a, struct str, max + 1), 0, max };

	if (o.v == NULL)
		return err_set(e, ERR_LIMIT, 0, "too many header edits");
	put_originals(w, &o);
	put_added(w, &o);
	if (o.n > max)
		return err_set(e, ERR_LIMIT, 0, "too many header edits");
	for (size_t i = 0; i < o.n; i++)
		if (o.v[i].p == NULL)
			return err_set(e, ERR_LIMIT, 0, "header edits too long");
	*out = o.v;
	*n_out = o.n;
	return 0;
}
