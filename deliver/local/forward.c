/* .forward files and include lists: items of aliases(5), one or more a line. What the items may do is decided by who delivers (deliver_plan.c). Pure.
 */
#include "deliver/local/forward.h"

static int check_address(struct str item, struct err *e)
{
	bool quoted = false;

	if (item.n > FORWARD_ADDRESS_MAX)
		return err_set(e, ERR_INPUT, 0, "address of %zu bytes", item.n);
	for (size_t i = 0; i < item.n; i++) {
		quoted ^= item.p[i] == '"' && (i == 0 || item.p[i - 1] != '\\');
		if (ch_ctl(item.p[i]) || (ch_blank(item.p[i]) && !quoted))
			return err_set(e, ERR_INPUT, 0, "no address: %.*s", (int)(item.n > 100 ? 100 : item.n), item.p);
	}
	return 0;
}

static int add_line(struct str line, struct arena *a, struct forward *f, struct err *e)
{
	struct alias_reader rd;
	struct alias_item item;
	int r;

	alias_reader_init(&rd, line);
	while ((r = alias_next(&rd, a, &item, e)) > 0) {
		if (item.kind == ALIAS_ADDRESS && check_address(item.text, e) < 0)
			return -1;
		if (f->n == FORWARD_ITEMS_MAX)
			return err_set(e, ERR_LIMIT, 0, "more than %d items", FORWARD_ITEMS_MAX);
		f->v[f->n++] = item;
	}
	return r;
}

int forward_parse(struct str text, struct arena *a, struct forward *out, struct err *e)
{
	struct forward f = { .v = ARENA_ARRAY(a, struct alias_item, FORWARD_ITEMS_MAX) };

	while (text.p) {
		const struct str line = str_trim(str_split(&text, '\n'));
		if (line.n > 0 && line.p[0] != '#' && add_line(line, a, &f, e) < 0)
			return -1;
	}
	*out = f;
	return 0;
}
