/* The HTML tokenizer (html.h): as lenient as browsers were when the rules were written, and as the parser that the rules were tuned with. Pure, one pass;
 * quotes that never end give way. */
#include "spam/html.h"

#include "base/enc.h"

static const struct named { struct str name; unsigned cp; bool open; } entities[] = {
#define ENTITY(name, cp, open) { { name, sizeof(name) - 1 }, cp, open },
#include "spam/entities.def"
#undef ENTITY
};

/* Mostly the first letters tell. */
static int compare(struct str entity, struct str name)
{
	const int c = (unsigned char)entity.p[0] - (unsigned char)name.p[0];
	return c != 0 ? c : str_cmp(entity, name);
}

/* By binary search: entities.def is sorted by bytes. */
static unsigned entity(struct str name, bool semicolon)
{
	size_t low = 0, high = name.n == 0 ? 0 : ARRAY_LEN(entities);
	while (low < high) {
		size_t mid = (low + high) / 2;
		int c = compare(entities[mid].name, name);
		if (c == 0)
			return entities[mid].open || semicolon ? entities[mid].cp : 0;
		if (c < 0)
			low = mid + 1;
		else
			high = mid;
	}
	return 0;
}

/* "#123" "#x1f" at s, which follows '&': the length, 0 none. */
static size_t numeric(struct str s, unsigned *cp)
{
	size_t i = 1;
	bool hex = i < s.n && (s.p[i] == 'x' || s.p[i] == 'X');
	i += hex;
	size_t start = i;
	unsigned long v = 0;
	for (; i < s.n && (hex ? ch_xdigit(s.p[i]) >= 0 : ch_digit(s.p[i])); i++)
		v = v > 0x110000 ? v : v * (hex ? 16 : 10) + (unsigned long)ch_xdigit(s.p[i]);
	if (i == start)
		return 0;
	*cp = v == 0 || v > 0x10ffff || (v >= 0xd800 && v < 0xe000) ? 0xfffd : (unsigned)v;
	return i;
}

static size_t named(struct str s, bool prefixes, unsigned *cp)
{
	size_t n = 0;
	while (n < s.n && n < 40 && ch_alnum(s.p[n]))
		n++;
	*cp = entity(str_sub(s, 0, n), n < s.n && s.p[n] == ';');
	for (size_t k = n; *cp == 0 && prefixes && k > 2;)
		if ((*cp = entity(str_sub(s, 0, --k), false)) != 0)
			n = k;
	return *cp == 0 ? 0 : n;
}

static void put_entities(struct buf *b, struct str text, bool prefixes)
{
	for (size_t i = 0; i < text.n;) {
		struct str rest = str_from(text, i + 1);
		unsigned cp = 0;
		size_t n = text.p[i] != '&' || rest.n == 0 ? 0 : rest.p[0] == '#' ? numeric(rest, &cp) : named(rest, prefixes, &cp);
		if (n == 0) {
			const ptrdiff_t next = str_chr(rest, '&');
			buf_mem(b, text.p + i, next < 0 ? text.n - i : (size_t)next + 1);
			i += next < 0 ? text.n - i : (size_t)next + 1;
			continue;
		}
		utf8_put(b, cp);
		i += 1 + n;
		i += i < text.n && text.p[i] == ';';
	}
}

struct str html_entities(struct arena *a, struct str text, bool prefixes)
{
	if (str_chr(text, '&') < 0)
		return text;
	struct buf b;
	buf_init(&b, text.n * 2 + 16);
	put_entities(&b, text, prefixes);
	struct str s = arena_str(a, buf_view(&b));
	buf_fini(&b);
	return s.p == NULL ? STR("") : s;
}

/* --- tokens --- */

struct tokens {
	struct arena *a;
	const struct html_events *ev;
	struct str in;
	size_t at;
	struct html_attr attrs[HTML_ATTRS_MAX];
	bool plain_end;		/* an unfinished comment: it ends at the next '>' */
	struct buf decoded;
};

static bool name_first(char c) { return ch_alpha(c) || c == '_' || c == ':'; }
static bool space(char c) { return c == ' ' || (c >= 9 && c <= 13); }
static char peek(const struct tokens *t, size_t i) { return i < t->in.n ? t->in.p[i] : '\0'; }

static size_t skip_space(const struct tokens *t, size_t i)
{
	while (i < t->in.n && space(t->in.p[i]))
		i++;
	return i;
}

/* To the next '>' outside of quotes that follow a blank or '='. */
static size_t until_gt(const struct tokens *t, size_t i)
{
	char quote = '\0', before = ' ';
	for (; i < t->in.n; before = t->in.p[i++]) {
		char c = t->in.p[i];
		if (quote == '\0' && c == '>')
			return i;
		if (c != '"' && c != '\'')
			continue;
		if (c == quote)
			quote = '\0';
		else if (quote == '\0' && (before == ' ' || before == '='))
			quote = c;
	}
	return t->in.n;
}

static void say_text(struct tokens *t, size_t from, size_t to, bool raw)
{
	struct str text = str_sub(t->in, from, to - from);
	if (to <= from)
		return;
	if (!raw && str_chr(text, '&') >= 0) {
		buf_reset(&t->decoded);
		put_entities(&t->decoded, text, true);
		text = t->decoded.n == 0 ? STR("") : arena_str(t->a, buf_view(&t->decoded));
	}
	t->ev->text(t->ev->ctx, text);
}

static const char *const raw_elements[] = { "script", "style", "xmp", "iframe", "plaintext", "title", "textarea" };
enum { RAW_ENTITIES = 5, RAW_MIN = 3 };	/* from here on entities are decoded; the shortest name */

/* The end of the content of a raw element from t->at on: through its end tag. */
static void raw_content(struct tokens *t, size_t which)
{
	struct str name = str_c(raw_elements[which]);
	bool quotes = which < 2, escaped = false;
	char quote = '\0';
	size_t i = t->at;
	for (; i < t->in.n; i++) {
		char c = t->in.p[i];
		if (c == '<' && quote == '\0') {
			size_t k = i + 2 + name.n;
			if (peek(t, i + 1) == '/' && which != 4 && str_case_starts(str_from(t->in, i + 2), name) && peek(t, skip_space(t, k)) == '>') {
				say_text(t, t->at, i, which < RAW_ENTITIES);
				t->ev->tag(t->ev->ctx, name, NULL, 0, true);
				t->at = skip_space(t, k) + 1;
				return;
			}
		}
		if (!quotes)
			continue;
		if (escaped)
			escaped = false;
		else if (c == '\\')
			escaped = true;
		else if ((quote != '\0' && c == quote) || c == '\r' || c == '\n')
			quote = '\0';
		else if (quote == '\0' && (c == '"' || c == '\''))
			quote = c;
	}
	say_text(t, t->at, t->in.n, which < RAW_ENTITIES);
	t->at = t->in.n;
}

/* One attribute at i; the index after it, or SIZE_MAX when a quote never ends. */
static size_t attribute(struct tokens *t, size_t i, struct html_attr *out)
{
	size_t start = i++;
	while (i < t->in.n && !space(t->in.p[i]) && t->in.p[i] != '>' && t->in.p[i] != '=')
		i++;
	out->name = str_lower_copy(t->a, str_sub(t->in, start, i - start));
	out->value = out->name;
	i = skip_space(t, i);
	if (peek(t, i) != '=' || i >= t->in.n)
		return i;
	i = skip_space(t, i + 1);
	char q = peek(t, i);
	if (q == '>') {
		out->value = STR("");
		return i;
	}
	start = i;
	if (q == '"' || q == '\'') {
		ptrdiff_t end = str_chr(str_from(t->in, i + 1), q);
		if (end < 0)
			return SIZE_MAX;
		out->value = html_entities(t->a, str_sub(t->in, i + 1, (size_t)end), false);
		i += (size_t)end + 2;
	} else {
		while (i < t->in.n && !space(t->in.p[i]) && t->in.p[i] != '>')
			i++;
		out->value = html_entities(t->a, str_sub(t->in, start, i - start), false);
	}
	return skip_space(t, i);
}

/* "<name …>" at t->at. False: it never ends. */
static bool start_tag(struct tokens *t)
{
	size_t i = t->at + 2, n = 0;
	while (i < t->in.n && !space(t->in.p[i]) && t->in.p[i] != '>')
		i++;
	struct str name = str_lower_copy(t->a, str_sub(t->in, t->at + 1, i - t->at - 1));
	for (i = skip_space(t, i); i < t->in.n && t->in.p[i] != '>';) {
		struct html_attr one;
		i = attribute(t, i, &one);
		if (i == SIZE_MAX)
			return false;
		if (n < HTML_ATTRS_MAX)
			t->attrs[n++] = one;
	}
	if (i >= t->in.n)
		return false;
	t->at = i + 1;
	t->ev->tag(t->ev->ctx, name, t->attrs, n, false);
	for (size_t k = 0; name.n >= RAW_MIN && k < ARRAY_LEN(raw_elements); k++) {
		if (str_eq(name, str_c(raw_elements[k]))) {
			raw_content(t, k);
			break;
		}
	}
	return true;
}

static bool end_tag(struct tokens *t)
{
	size_t start = t->at + 2, i = start;
	if (!name_first(peek(t, start))) {
		size_t gt = until_gt(t, start);
		if (gt >= t->in.n)
			return false;
		t->ev->comment(t->ev->ctx, str_sub(t->in, t->at, gt + 1 - t->at));
		t->at = gt + 1;
		return true;
	}
	while (i < t->in.n && !space(t->in.p[i]) && t->in.p[i] != '>')
		i++;
	struct str name = str_lower_copy(t->a, str_sub(t->in, start, i - start));
	size_t gt = until_gt(t, i);
	if (gt >= t->in.n)
		return false;
	t->at = gt + 1;
	t->ev->tag(t->ev->ctx, name, NULL, 0, true);
	return true;
}

/* "--" blanks ">" ends a comment. */
static size_t comment_end(const struct tokens *t, size_t i)
{
	for (; i < t->in.n; i++) {
		if (t->plain_end && t->in.p[i] == '>')
			return i + 1;
		if (t->in.p[i] != '-' || peek(t, i + 1) != '-')
			continue;
		size_t k = skip_space(t, i + 2);
		if (k < t->in.n && t->in.p[k] == '>')
			return k + 1;
	}
	return SIZE_MAX;
}

static bool declaration(struct tokens *t)
{
	char c = peek(t, t->at + 2);
	size_t end;
	bool decl = ch_alpha(c);
	if (c == '-' && peek(t, t->at + 3) == '-')
		end = comment_end(t, t->at + 4);
	else
		end = until_gt(t, t->at + 2) + 1;
	if (end == SIZE_MAX || end > t->in.n)
		return false;
	struct str whole = str_sub(t->in, t->at, end - t->at);
	(decl ? t->ev->declaration : t->ev->comment)(t->ev->ctx, whole);
	t->at = end;
	return true;
}

/* 1 taken, 0 no markup after all, -1 markup that never ends. */
static int markup(struct tokens *t)
{
	char c = peek(t, t->at + 1);
	if (name_first(c))
		return start_tag(t) ? 1 : -1;
	if (c == '/')
		return end_tag(t) ? 1 : -1;
	if (c == '!')
		return declaration(t) ? 1 : -1;
	if (c != '?')
		return 0;
	ptrdiff_t gt = str_chr(str_from(t->in, t->at), '>');
	t->at += gt < 0 ? 0 : (size_t)gt + 1;
	return gt < 0 ? -1 : 1;
}

static void tokenize(struct tokens *t)
{
	const struct str text = t->in;
	const struct html_events *ev = t->ev;
	for (size_t from = 0; t->at < text.n;) {
		const char *lt = memchr(text.p + t->at, '<', text.n - t->at);
		size_t i = lt == NULL ? text.n : (size_t)(lt - text.p);
		if (i > from) {
			/* Text from an earlier '<' that was none goes with what follows it. */
			say_text(t, from, i, false);
			from = i;
		}
		t->at = i;
		if (i >= text.n)
			break;
		int r = markup(t);
		if (r < 0 && !t->plain_end && peek(t, i + 1) == '!') {
			t->plain_end = true;	/* once more, taking any '>' */
			r = markup(t);
		}
		if (r < 0) {
			ev->comment(ev->ctx, str_from(text, i));
			return;
		}
		t->at += r == 0;
		from = r == 0 ? i : t->at;
	}
}

void html_tokenize(struct arena *a, struct str text, const struct html_events *ev)
{
	struct tokens *t = ARENA_NEW(a, struct tokens);
	t->a = a;
	t->ev = ev;
	t->in = text;
	buf_init(&t->decoded, text.n * 2 + 16);
	tokenize(t);
	buf_fini(&t->decoded);
}
