/* Items of an alias value. */
#include "deliver/resolve/aliases.h"

#include "base/buf.h"

enum { ITEM_MAX = 4096, COMMENT_DEPTH_MAX = 8 };

const char *const alias_kind_words[] = { "address", "file", "command", "include" };

void alias_reader_init(struct alias_reader *rd, struct str value)
{
	rd->rest = value;
}

/* Length of a quoted string at the start of s, quotes included; 0: not closed. */
static size_t quoted_length(struct str s)
{
	for (size_t i = 1; i < s.n; i++) {
		if (s.p[i] == '\\')
			i++;
		else if (s.p[i] == '"')
			return i + 1;
	}
	return 0;
}

/* Length of a comment at the start of s, parentheses included; 0: not closed. */
static size_t comment_length(struct str s)
{
	unsigned depth = 0;

	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] == '\\')
			i++;
		else if (s.p[i] == '(' && ++depth > COMMENT_DEPTH_MAX)
			return 0;
		else if (s.p[i] == ')' && --depth == 0)
			return i + 1;
	}
	return 0;
}

/* Up to the next comma outside quotes, into b without comments. -1: something is not closed. */
static int item_text(struct str *rest, struct buf *b, struct err *e)
{
	/* A command or file keeps its parentheses. */
	const struct str head = str_trim(*rest);
	const bool raw = head.n && (head.p[0] == '|' || head.p[0] == '/');
	size_t i = 0;

	while (i < rest->n && rest->p[i] != ',') {
		size_t n = 1;

		if (rest->p[i] == '"')
			n = quoted_length(str_from(*rest, i));
		else if (rest->p[i] == '(' && !raw)
			n = comment_length(str_from(*rest, i));
		else if (rest->p[i] == '\\' && i + 1 < rest->n)
			n = 2;
		if (n == 0)
			return err_set(e, ERR_INPUT, 0, "%s is not closed",
				       rest->p[i] == '"' ? "a quote" : "a comment");
		if (rest->p[i] != '(' || raw)
			buf_str(b, str_sub(*rest, i, n));
		i += n;
	}
	*rest = i < rest->n ? str_from(*rest, i + 1) : (struct str){ 0 };
	return 0;
}

/* "Name <address>" -> address. */
static int angle(struct str *s, struct err *e)
{
	const ptrdiff_t open = s->n && s->p[s->n - 1] == '>' ? str_rchr(*s, '<') : -1;

	if (open >= 0)
		*s = str_trim(str_sub(*s, (size_t)open + 1, s->n - (size_t)open - 2));
	else if (s->n && s->p[0] == '<')
		return err_set(e, ERR_INPUT, 0, "a bracket is not closed");
	return 0;
}

static struct str unquote(struct arena *a, struct str s)
{
	char *p = arena_alloc(a, s.n + 1);
	size_t n = 0;

	for (size_t i = 1; i + 1 < s.n; i++) {
		if (s.p[i] == '\\' && i + 2 < s.n)
			i++;
		p[n++] = s.p[i];
	}
	return str_n(p, n);
}

static int classify_item(struct arena *a, struct str s, struct alias_item *out, struct err *e)
{
	const bool quoted = s.n >= 2 && s.p[0] == '"' && quoted_length(s) == s.n;
	const struct str whole = s;

	*out = (struct alias_item){ .kind = ALIAS_ADDRESS };
	if (quoted)
		s = unquote(a, s);
	if (s.n && s.p[0] == '|') {
		out->kind = ALIAS_COMMAND;
		s = str_trim(str_from(s, 1));
	} else if (s.n && s.p[0] == '/') {
		out->kind = ALIAS_FILE;
	} else if (str_case_starts(s, STR(":include:"))) {
		out->kind = ALIAS_INCLUDE;
		s = str_trim(str_from(s, sizeof(":include:") - 1));
	} else if (s.n && s.p[0] == '\\' && !quoted) {
		out->plain = true;
		s = str_from(s, 1);
	} else if (angle(&s, e) < 0) {
		return -1;
	}
	if (s.n == 0)
		return err_set(e, ERR_INPUT, 0, "an empty item");
	/* A quoted address is a quoted local part: it keeps its quotes. */
	out->text = arena_str(a, quoted && out->kind == ALIAS_ADDRESS ? whole : s);
	return 0;
}

int alias_next(struct alias_reader *rd, struct arena *a, struct alias_item *out, struct err *e)
{
	struct buf b;
	int r = 0;

	buf_init(&b, ITEM_MAX);
	while (r == 0 && rd->rest.n) {
		buf_reset(&b);
		r = item_text(&rd->rest, &b, e);
		if (r == 0)
			r = buf_check(&b, "item", e);
		if (r == 0 && str_trim(buf_view(&b)).n)
			r = classify_item(a, str_trim(buf_view(&b)), out, e) < 0 ? -1 : 1;
	}
	buf_fini(&b);
	if (r < 0)
		rd->rest = (struct str){ 0 };
	return r;
}
