/* The syntax of postern.conf: logical lines (a line that starts with white space continues the one before; comments and
 * empty lines may stand between), "name = value". What the values mean is decided elsewhere. */
#include "conf/conf_priv.h"

#include "base/enc.h"

/* One logical line while it is being put together. */
struct logical {
	struct str name;
	struct buf value;
	unsigned line;
	bool open;
};

static bool name_valid(struct str s)
{
	if (s.n == 0 || s.n > 128)
		return false;
	for (size_t i = 0; i < s.n; i++)
		if (!ch_alnum(s.p[i]) && !strchr("_-.", s.p[i]))
			return false;
	return true;
}

static void keep(struct conf *c, struct logical *l, struct trouble *t)
{
	struct conf_private *priv = c->priv;
	const struct str value = str_trim(buf_view(&l->value));

	if (!l->open)
		return;
	l->open = false;
	if (buf_failed(&l->value)) {
		trouble_error(t, l->line, "%.*s: value is longer than %d bytes", STR_ARG(l->name),
			      CONF_VALUE_MAX);
		return;
	}
	const struct param *p = param_find(l->name);
	struct setting *s = p ? conf_setting(c, p) : map_get(priv->own, l->name);

	if (!s) {
		s = ARENA_NEW(priv->arena, struct setting);
		s->name = arena_cstr(priv->arena, l->name);
		map_set(priv->own, l->name, s);
	} else if (s->line) {
		trouble_warning(t, l->line, "%.*s: replaces the value of line %u", STR_ARG(l->name),
				s->line);
	}
	s->text = arena_str(priv->arena, value);
	s->line = l->line;
}

static void begin(struct conf *c, struct logical *l, struct str text, unsigned line,
		  struct trouble *t)
{
	const ptrdiff_t eq = str_chr(text, '=');

	keep(c, l, t);
	buf_reset(&l->value);
	if (eq < 0) {
		trouble_error(t, line, "\"%.*s\": no \"=\" (allowed: name = value)",
			      STR_ARG(str_sub(text, 0, 60)));
		return;
	}
	l->name = str_trim(str_sub(text, 0, (size_t)eq));
	l->line = line;
	if (!name_valid(l->name)) {
		trouble_error(
			t, line,
			"\"%.*s\" is not a parameter's name (allowed: letters, digits, _ - .)",
			STR_ARG(str_sub(l->name, 0, 60)));
		return;
	}
	l->open = true;
	buf_str(&l->value, str_trim(str_from(text, (size_t)eq + 1)));
}

static bool line_sane(struct str text, unsigned line, struct trouble *t)
{
	if (str_chr(text, '\0') >= 0)
		trouble_error(t, line, "holds a NUL byte");
	else if (!utf8_valid(text))
		trouble_error(t, line, "is not valid UTF-8");
	else
		return true;
	return false;
}

void conf_scan(struct conf *c, struct str text, struct trouble *t)
{
	struct logical l = { 0 };
	unsigned number = 0;

	buf_init(&l.value, CONF_VALUE_MAX);
	if (str_starts(text, STR("\xef\xbb\xbf"))) {
		trouble_warning(t, 1, "starts with a byte order mark");
		text = str_from(text, 3);
	}
	while (text.p) {
		const struct str line = str_split(&text, '\n');
		const struct str body = str_trim(line);

		number++;
		if (!line_sane(line, number, t) || body.n == 0 || body.p[0] == '#')
			continue;
		if (!ch_space(line.p[0])) {
			begin(c, &l, body, number, t);
		} else if (l.open) {
			buf_ch(&l.value, ' ');
			buf_str(&l.value, body);
		} else {
			trouble_error(t, number,
				      "continues nothing (a line that starts with a blank belongs "
				      "to the one before it)");
		}
	}
	keep(c, &l, t);
	buf_fini(&l.value);
}
