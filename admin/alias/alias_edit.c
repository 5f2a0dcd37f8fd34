/* Entries are found by the readers that compile them (lib/map/source.c, deliver/resolve/aliases.c); what is changed are physical lines: a target is put behind
 * the last line of its entry, an entry that loses some of its targets becomes one line, an entry that goes takes its lines with it and leaves the
 * comments between them. What comes out is read again before anybody gets it, so that no name and no target can smuggle in a line.
 */
#include "admin/alias/alias_edit.h"

#include "base/arena.h"
#include "deliver/resolve/aliases.h"
#include "map/source.h"

/* Where an entry is: a walk over logical lines that knows their first byte. */
struct walk {
	struct str text;
	enum alias_form form;
	struct source source;
	struct buf key_space;
	size_t at;		/* first byte of line number */
	unsigned number;
	struct alias_entry entry;
};

static void walk_init(struct walk *w, struct str text, enum alias_form form)
{
	*w = (struct walk){ .text = text, .form = form, .number = 1 };
	source_init(&w->source, text);
	buf_init(&w->key_space, SOURCE_KEY_MAX);
}

static void walk_fini(struct walk *w)
{
	source_fini(&w->source);
	buf_fini(&w->key_space);
}

static size_t line_end(struct str text, size_t at)
{
	const ptrdiff_t nl = str_chr(str_from(text, at), '\n');

	return nl < 0 ? text.n : at + (size_t)nl;
}

static int parse(struct walk *w, struct str line, struct err *e)
{
	struct alias_entry *x = &w->entry;

	return w->form == ALIAS_FORM_COLON ? source_alias(line, &w->key_space, &x->name, &x->value, e) : source_pair(line, false, &x->name, &x->value, e);
}

/* The next entry that can be read; w->at is its first byte. */
static bool walk_next(struct walk *w)
{
	struct err ignored = { 0 };
	struct str line;
	int r;

	while ((r = source_next(&w->source, &line, &ignored)) != 0) {
		if (r < 0 || parse(w, line, &ignored) < 0)
			continue;	/* who compiles it is told */
		w->entry.line = w->source.line;
		for (; w->number < w->entry.line; w->number++)
			w->at = line_end(w->text, w->at) + 1;
		return true;
	}
	return false;
}

static bool ignorable(struct str line)
{
	const struct str body = str_trim(line);

	return body.n == 0 || body.p[0] == '#';
}

/* The line of an entry's that follows the one at from: its first byte; text.n: there is none. */
static size_t next_line(struct str text, size_t from)
{
	size_t at = line_end(text, from) + 1;

	while (at < text.n) {
		const struct str line = str_sub(text, at, line_end(text, at) - at);
		if (!ignorable(line))
			return ch_blank(line.p[0]) ? at : text.n;
		at += line.n + 1;
	}
	return text.n;
}

bool alias_edit_item(struct str *value, struct str *item_out)
{
	struct arena *a = arena_new(0);
	struct alias_reader rd;
	struct alias_item item;
	struct err ignored = { 0 };

	alias_reader_init(&rd, *value);
	const int r = alias_next(&rd, a, &item, &ignored);
	if (r > 0) {
		struct str raw = str_sub(*value, 0, value->n - rd.rest.n);
		while (raw.n > 0 && (ch_blank(raw.p[0]) || raw.p[0] == ','))
			raw = str_from(raw, 1);
		while (raw.n > 0 && (ch_blank(raw.p[raw.n - 1]) || raw.p[raw.n - 1] == ','))
			raw.n--;
		*item_out = raw;
		*value = rd.rest;
	}
	arena_free(&a);
	return r > 0;
}

/* Do two items say the same? */
static bool same_item(struct str a, struct str b)
{
	struct arena *arena = arena_new(0);
	struct alias_reader ra, rb;
	struct alias_item x, y;
	struct err ignored = { 0 };

	alias_reader_init(&ra, a);
	alias_reader_init(&rb, b);
	const bool r = alias_next(&ra, arena, &x, &ignored) > 0 && alias_next(&rb, arena, &y, &ignored) > 0 && x.kind == y.kind && x.plain == y.plain &&
		       (x.kind == ALIAS_ADDRESS ? str_case_eq(x.text, y.text) : str_eq(x.text, y.text));
	arena_free(&arena);
	return r;
}

static bool among(struct str item, const struct str *all, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (same_item(item, all[i]))
			return true;
	return false;
}

static bool leads_to(struct str value, struct str target)
{
	struct str item;

	while (alias_edit_item(&value, &item))
		if (same_item(item, target))
			return true;
	return false;
}

void alias_edit_each(struct str text, enum alias_form form, alias_entry_fn *fn, void *ctx)
{
	struct walk w;

	walk_init(&w, text, form);
	while (walk_next(&w))
		fn(ctx, &w.entry);
	walk_fini(&w);
}

/* --- what is written --- */

/* A name of aliases(5), in quotes where it needs them. */
static void put_name(struct buf *b, enum alias_form form, struct str name)
{
	bool plain = name.n > 0 && name.p[0] != '#' && name.p[0] != '"';

	for (size_t i = 0; i < name.n; i++)
		plain = plain && !ch_blank(name.p[i]) && name.p[i] != ':';
	if (plain || form == ALIAS_FORM_PAIR) {
		buf_str(b, name);
	} else {
		buf_ch(b, '"');
		for (size_t i = 0; i < name.n; i++) {
			if (name.p[i] == '"' || name.p[i] == '\\')
				buf_ch(b, '\\');
			buf_ch(b, name.p[i]);
		}
		buf_ch(b, '"');
	}
	buf_str(b, form == ALIAS_FORM_COLON ? STR(": ") : STR(" "));
}

/* Name and targets, as one entry, are read as what they are; nothing else is in there. */
static int check(enum alias_form form, struct str name, const struct str *targets, size_t n, struct err *e)
{
	struct buf b;
	struct walk w;
	struct str rest, item;
	size_t k = 0;
	bool good;

	buf_init(&b, SOURCE_LINE_MAX);
	put_name(&b, form, name);
	for (size_t i = 0; i < n; i++)
		buf_printf(&b, "%s%.*s", i > 0 ? ", " : "", STR_ARG(targets[i]));
	buf_str(&b, n > 0 ? STR("\n") : STR("x\n"));
	walk_init(&w, buf_view(&b), form);
	good = !buf_failed(&b) && walk_next(&w) && str_eq(w.entry.name, name);
	for (rest = good ? w.entry.value : STR(""); good && n > 0 && alias_edit_item(&rest, &item); k++)
		good = k < n && str_eq(item, targets[k]);
	good = good && k == n && !walk_next(&w) && w.source.number <= 2;
	walk_fini(&w);
	buf_fini(&b);
	return good ? 0 : err_set(e, ERR_INPUT, 0, "this name or target cannot stand in such a file (one target each; quotes and brackets closed)");
}

static void put_targets(struct buf *out, struct str value, bool first, const struct str *targets, size_t n, size_t *changed)
{
	for (size_t i = 0; i < n; i++) {
		if (leads_to(value, targets[i]) || among(targets[i], targets, i))
			continue;
		buf_str(out, first ? STR("") : STR(", "));
		buf_str(out, targets[i]);
		first = false;
		++*changed;
	}
}

static bool find(struct walk *w, struct str name)
{
	while (walk_next(w))
		if (str_case_eq(w->entry.name, name))
			return true;
	return false;
}

/* Behind the last line of the entry at w->at, and all around it as it was. */
static void add_to(const struct walk *w, const struct str *targets, size_t n, struct buf *out, size_t *changed)
{
	const struct str text = w->text;
	size_t last = w->at, end;

	for (size_t next; (next = next_line(text, last)) < text.n;)
		last = next;
	end = line_end(text, last);
	while (end > last && (ch_blank(text.p[end - 1]) || text.p[end - 1] == ','))
		end--;
	buf_str(out, str_sub(text, 0, end));
	put_targets(out, w->entry.value, false, targets, n, changed);
	buf_str(out, str_from(text, line_end(text, last)));
}

int alias_edit_add(struct str text, enum alias_form form, struct str name, const struct str *targets, size_t n, struct buf *out, size_t *changed_out,
		   struct err *e)
{
	struct walk w;
	size_t changed = 0;

	if (n == 0 || check(form, name, targets, n, e) < 0)
		return n > 0 ? -1 : err_set(e, ERR_INPUT, 0, "no target");
	walk_init(&w, text, form);
	if (find(&w, name)) {
		add_to(&w, targets, n, out, &changed);
	} else {
		buf_str(out, text);
		if (text.n > 0 && text.p[text.n - 1] != '\n')
			buf_ch(out, '\n');
		put_name(out, form, name);
		put_targets(out, STR(""), true, targets, n, &changed);
		buf_ch(out, '\n');
	}
	walk_fini(&w);
	if (buf_check(out, "the file", e) < 0)
		return -1;
	*changed_out = changed;
	return 0;
}

/* The entry at w->at without these targets: one line, or nothing when none is left. */
static size_t rewrite(const struct walk *w, const struct str *targets, size_t n, struct buf *out)
{
	struct str rest = w->entry.value, item;
	size_t kept = 0, gone = 0;

	while (alias_edit_item(&rest, &item)) {
		if (n == 0 || among(item, targets, n)) {
			gone++;
			continue;
		}
		if (kept++ == 0)
			put_name(out, w->form, w->entry.name);
		else
			buf_str(out, STR(", "));
		buf_str(out, item);
	}
	if (kept > 0)
		buf_ch(out, '\n');
	return gone;
}

/* From *copied on: what is before the entry, what is left of it, the comments between its lines. */
static size_t take_from(const struct walk *w, const struct str *targets, size_t n, struct buf *out, size_t *copied)
{
	const struct str text = w->text;
	size_t line = w->at;

	buf_str(out, str_sub(text, *copied, w->at - *copied));
	const size_t lost = rewrite(w, targets, n, out), gone = n == 0 ? 1 : lost;
	for (;;) {
		const size_t end = line_end(text, line), next = next_line(text, line);
		*copied = end < text.n ? end + 1 : text.n;
		if (next >= text.n)
			return gone;
		buf_str(out, str_sub(text, *copied, next - *copied));
		line = next;
	}
}

int alias_edit_del(struct str text, enum alias_form form, struct str name, const struct str *targets, size_t n, struct buf *out, size_t *changed_out,
		   struct err *e)
{
	struct walk w;
	size_t copied = 0, changed = 0;
	bool found = false;

	if (check(form, name, targets, n, e) < 0)
		return -1;
	walk_init(&w, text, form);
	while (find(&w, name)) {
		found = true;
		changed += take_from(&w, targets, n, out, &copied);
	}
	walk_fini(&w);
	if (!found)
		return err_set(e, ERR_NOENT, 0, "no such alias");
	buf_str(out, str_from(text, copied));
	if (buf_check(out, "the file", e) < 0)
		return -1;
	*changed_out = changed;
	return 0;
}
