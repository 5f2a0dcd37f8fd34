/* .forward files: a list of addresses. What other servers also run from there (commands, files, include lists) is refused, said aloud, and the mail waits:
 * nothing of a user's file is ever executed. Pure.
 */
#include "deliver/forward.h"

/* Next item of one line, separated by commas outside of quotes. */
static struct str next_item(struct str *line)
{
	bool quoted = false;
	size_t i = 0;

	for (; i < line->n; i++) {
		const char c = line->p[i];
		if (c == '\\' && quoted && i + 1 < line->n)
			i++;
		else if (c == '"')
			quoted = !quoted;
		else if (c == ',' && !quoted)
			break;
	}
	const struct str item = str_trim(str_sub(*line, 0, i));
	*line = i < line->n ? str_from(*line, i + 1) : (struct str){ NULL, 0 };
	return item;
}

static struct str unwrap(struct str s)
{
	const bool bare = str_chr(s, '@') < 0 || s.p[s.n - 1] == '"';

	if (s.n >= 2 && s.p[0] == '"' && s.p[s.n - 1] == '"' && bare)
		return str_sub(s, 1, s.n - 2);
	if (s.n >= 2 && s.p[0] == '<' && s.p[s.n - 1] == '>')
		return str_sub(s, 1, s.n - 2);
	return s;
}

static int add(struct str item, struct str user, struct forward *out, struct err *e)
{
	item = unwrap(item);
	if (item.n == 0)
		return 0;
	if (item.p[0] == '|' || item.p[0] == '/' || item.p[0] == '~' || str_case_starts(item, STR(":include:")))
		return err_set(e, ERR_DENIED, 0, ".forward: commands, files and includes are not allowed by configuration");
	if (item.p[0] == '\\' || str_case_eq(item, user)) {
		out->keep = true;
		return 0;
	}
	for (size_t i = 0; i < item.n; i++)
		if (ch_ctl(item.p[i]) || ch_blank(item.p[i]))
			return err_set(e, ERR_INPUT, 0, ".forward: no address: %.*s", (int)(item.n > 100 ? 100 : item.n), item.p);
	if (item.n > 320)
		return err_set(e, ERR_INPUT, 0, ".forward: address of %zu bytes", item.n);
	if (out->n == FORWARD_RCPT_MAX)
		return err_set(e, ERR_LIMIT, 0, ".forward: more than %d addresses", FORWARD_RCPT_MAX);
	out->v[out->n++] = item;
	return 0;
}

int forward_parse(struct str text, struct str user, struct forward *out, struct err *e)
{
	struct forward f = { 0 };

	while (text.p) {
		struct str line = str_trim(str_split(&text, '\n'));
		if (line.n > 0 && line.p[0] == '#')
			continue;
		while (line.p)
			if (add(next_item(&line), user, &f, e) < 0)
				return -1;
	}
	if (f.n == 0)
		f.keep = true;
	*out = f;
	return 0;
}
