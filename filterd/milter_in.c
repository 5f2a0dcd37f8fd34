/* See milter_in.h. */
#include "milter_in.h"

#include <string.h>

#include "base/num.h"

static uint32_t be32(const char *p)
{
	return (uint32_t)get_be16(p) << 16 | get_be16(p + 2);
}

/* All strings up to the end, each with its NUL. */
static int strings(struct str data, struct milter_command *c, struct err *e)
{
	while (data.n > 0) {
		const ptrdiff_t nul = str_chr(data, '\0');
		if (nul < 0)
			return err_set(e, ERR_INPUT, 0, "command %c: a string without its end", c->command);
		if (c->n < MILTER_STRINGS_MAX)
			c->v[c->n++] = str_sub(data, 0, (size_t)nul);
		data = str_from(data, (size_t)nul + 1);
	}
	return 0;
}

static int at_least(struct milter_command *c, size_t n, struct err *e)
{
	return c->n >= n ? 0 : err_set(e, ERR_INPUT, 0, "command %c: %zu strings, not %zu", c->command, c->n, n);
}

static int options(struct str data, struct milter_command *c, struct err *e)
{
	if (data.n < 12)
		return err_set(e, ERR_INPUT, 0, "options too short");
	c->version = be32(data.p);
	c->actions = be32(data.p + 4);
	c->protocol = be32(data.p + 8);
	return 0;
}

static int connect_(struct str data, struct milter_command *c, struct err *e)
{
	const ptrdiff_t nul = str_chr(data, '\0');
	if (nul < 0 || (size_t)nul + 2 > data.n)
		return err_set(e, ERR_INPUT, 0, "command C: too short");
	c->v[c->n++] = str_sub(data, 0, (size_t)nul);
	c->family = data.p[nul + 1];
	data = str_from(data, (size_t)nul + 2);
	if (c->family == 'U')
		return 0;
	if (data.n < 3)
		return err_set(e, ERR_INPUT, 0, "command C: no address");
	c->port = get_be16(data.p);
	return strings(str_from(data, 2), c, e) < 0 ? -1 : at_least(c, 2, e);
}

int milter_command_get(char command, struct str data, struct milter_command *out, struct err *e)
{
	*out = (struct milter_command){ .command = command };
	switch (command) {
	case 'O':
		return options(data, out, e);
	case 'C':
		return connect_(data, out, e);
	case 'D':
		if (data.n < 1)
			return err_set(e, ERR_INPUT, 0, "command D: empty");
		out->stage = data.p[0];
		return strings(str_from(data, 1), out, e);
	case 'H': case 'M': case 'R':
		return strings(data, out, e) < 0 ? -1 : at_least(out, 1, e);
	case 'L':
		return strings(data, out, e) < 0 ? -1 : at_least(out, 2, e);
	case 'U':
		return strings(data, out, e);
	case 'B': case 'E':
		out->bytes = data;
		return 0;
	case 'T': case 'N': case 'A': case 'Q': case 'K':
		return 0;
	default:
		return err_set(e, ERR_INPUT, 0, "unknown command 0x%02x", (unsigned char)command);
	}
}

struct str milter_macro(const struct milter_command *c, const char *name)
{
	for (size_t i = 0; i + 1 < c->n; i += 2) {
		struct str k = c->v[i];
		if (k.n > 2 && k.p[0] == '{' && k.p[k.n - 1] == '}')
			k = str_sub(k, 1, k.n - 2);
		if (str_eq(k, str_c(name)))
			return c->v[i + 1];
	}
	return (struct str){ 0 };
}
