/* Lines, keys and values of map sources. */
#include "map/source.h"

#include "base/enc.h"

void source_init(struct source *s, struct str text)
{
	*s = (struct source){ .rest = text };
	buf_init(&s->text, SOURCE_LINE_MAX);
}

void source_fini(struct source *s)
{
	buf_fini(&s->text);
}

/* The next physical line, checked. */
static int physical(struct source *s, struct str *out, struct err *e)
{
	*out = str_split(&s->rest, '\n');
	s->number++;
	if (s->number == 1 && str_starts(*out, STR("\xef\xbb\xbf")))
		return err_set(e, ERR_CONF, 0, "starts with a byte order mark");
	if (out->n > SOURCE_LINE_MAX)
		return err_set(e, ERR_CONF, 0, "longer than %d bytes", SOURCE_LINE_MAX);
	if (str_chr(*out, '\0') >= 0)
		return err_set(e, ERR_CONF, 0, "holds a NUL byte");
	if (str_chr(*out, '\r') >= 0)
		return err_set(e, ERR_CONF, 0, "holds a CR (made on another system?)");
	if (!utf8_valid(*out))
		return err_set(e, ERR_CONF, 0, "is not valid UTF-8");
	return 0;
}

static bool ignorable(struct str line)
{
	const struct str body = str_trim(line);

	return body.n == 0 || body.p[0] == '#';
}

/* Append the lines that continue what is in s->text. */
static int continuations(struct source *s, struct err *e)
{
	while (s->rest.p) {
		struct str peek = s->rest, line = str_split(&peek, '\n');

		if (!ignorable(line) && !ch_blank(line.p[0]))
			return 0;
		if (physical(s, &line, e) < 0) {
			s->line = s->number;
			return -1;
		}
		if (ignorable(line))
			continue;
		buf_ch(&s->text, ' ');
		buf_str(&s->text, str_trim(line));
	}
	return 0;
}

int source_next(struct source *s, struct str *line, struct err *e)
{
	struct str first;

	do {
		if (!s->rest.p)
			return 0;
		const int r = physical(s, &first, e);

		s->line = s->number;
		if (r < 0)
			return -1;
	} while (ignorable(first));
	if (ch_blank(first.p[0]))
		return err_set(e, ERR_CONF, 0,
			       "continues nothing (a line that starts with a blank belongs to the "
			       "one before it)");
	buf_reset(&s->text);
	buf_str(&s->text, str_trim(first));
	if (continuations(s, e) < 0)
		return -1;
	if (buf_check(&s->text, "logical line", e) < 0) {
		if (e)
			e->code = ERR_CONF;
		return -1;
	}
	*line = buf_view(&s->text);
	return 1;
}

/* Bytes of the key at the start of line: up to a blank outside quotes. */
static size_t key_length(struct str line)
{
	bool quoted = false;
	size_t i = 0;

	for (; i < line.n && (quoted || !ch_blank(line.p[i])); i++) {
		if (line.p[i] == '"')
			quoted = !quoted;
		else if (line.p[i] == '\\' && quoted && i + 1 < line.n)
			i++;
	}
	return i < line.n ? i : line.n;
}

int source_pair(struct str line, bool colon_ok, struct str *key, struct str *value, struct err *e)
{
	struct str k = str_sub(line, 0, key_length(line)), v = str_trim(str_from(line, k.n));
	/* "joe : x" as well as "joe: x". A lone colon is a value (transport_maps: nothing special). */
	const bool apart = v.n > 1 && v.p[0] == ':' && ch_blank(v.p[1]),
		   attached = k.n > 1 && k.p[k.n - 1] == ':';

	if ((apart || attached) && !colon_ok)
		return err_set(
			e, ERR_CONF, 0,
			"\"%.*s\": a colon after the key, as in an aliases file; this key would "
			"never match (take the colon away, or compile with --colon-ok)",
			STR_ARG(str_sub(k, 0, 60)));
	if (attached)
		k.n--;
	else if (apart)
		v = str_trim(str_from(v, 1));
	if (k.n > SOURCE_KEY_MAX)
		return err_set(e, ERR_CONF, 0, "key longer than %d bytes", SOURCE_KEY_MAX);
	if (v.n == 0)
		return err_set(e, ERR_CONF, 0, "\"%.*s\": no value after the key",
			       STR_ARG(str_sub(k, 0, 60)));
	*key = k;
	*value = v;
	return 0;
}

/* A quoted name at the start of *rest: unquoted into space. */
static int unquote(struct str *rest, struct buf *space, struct err *e)
{
	size_t i = 1;

	for (; i < rest->n && rest->p[i] != '"'; i++) {
		if (rest->p[i] == '\\' && i + 1 < rest->n)
			i++;
		buf_ch(space, rest->p[i]);
	}
	if (i >= rest->n)
		return err_set(e, ERR_CONF, 0, "the quote is not closed");
	*rest = str_from(*rest, i + 1);
	return 0;
}

int source_alias(struct str line, struct buf *key_space, struct str *key, struct str *value,
		 struct err *e)
{
	struct str rest = line, k;

	buf_reset(key_space);
	if (rest.n && rest.p[0] == '"') {
		if (unquote(&rest, key_space, e) < 0)
			return -1;
		rest = str_trim(rest);
		if (rest.n == 0 || rest.p[0] != ':')
			return err_set(e, ERR_CONF, 0,
				       "\"%s\": no colon after the name (need name: value)",
				       key_space->p);
		k = buf_view(key_space);
	} else {
		const ptrdiff_t colon = str_chr(rest, ':');

		/* A blank inside what stands before the colon: the colon belongs to the value, as in "joe  :include:/x". */
		k = str_trim(str_sub(rest, 0, colon < 0 ? 0 : (size_t)colon));
		if (colon < 0 || str_chr(k, ' ') >= 0 || str_chr(k, '\t') >= 0) {
			k = str_sub(rest, 0, key_length(rest));
			return err_set(e, ERR_CONF, 0,
				       "\"%.*s\": no colon after the name (need name: value)",
				       STR_ARG(str_sub(k, 0, 60)));
		}
		rest = str_from(rest, (size_t)colon);
	}
	if (buf_failed(key_space) || k.n > SOURCE_KEY_MAX)
		return err_set(e, ERR_CONF, 0, "name longer than %d bytes", SOURCE_KEY_MAX);
	const struct str v = str_trim(str_from(rest, 1));

	if (k.n == 0)
		return err_set(e, ERR_CONF, 0, "no name before the colon");
	if (v.n == 0)
		return err_set(e, ERR_CONF, 0, "\"%.*s\": no value after the colon",
			       STR_ARG(str_sub(k, 0, 60)));
	*key = k;
	*value = v;
	return 0;
}
