/* Any bytes as an address, and as the maps that it meets: line 1 the address, then "v" or "a", a key, a
 * blank, a value per line. The answer always has a class, lists of equal length, and is within the limits.
 * There are no accounts: trouble is met too, and logged (libFuzzer: -close_fd_mask=2). */
#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "deliver/resolve/resolve.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { INPUT_MAX = 4096 };

/* What would end the inline table early is left out. */
static void put_clean(struct buf *b, struct str s)
{
	for (size_t i = 0; i < s.n; i++)
		if ((unsigned char)s.p[i] >= 0x20 && !strchr("{}$=", s.p[i]))
			buf_ch(b, s.p[i]);
}

static void put_maps(struct buf *conf, const char *name, char kind, struct str lines)
{
	buf_printf(conf, "%s = inline:{{x = y}", name);
	while (lines.p) {
		struct str line = str_split(&lines, '\n'), key;

		if (line.n < 4 || line.p[0] != kind)
			continue;
		line = str_from(line, 1);
		key = str_split(&line, ' ');
		if (key.n == 0 || line.n == 0)
			continue;
		buf_c(conf, " {");
		put_clean(conf, key);
		buf_ch(conf, '=');
		put_clean(conf, line);
		buf_ch(conf, '}');
	}
	buf_c(conf, "}\n");
}

static void check(const struct ipc_resolve_RESULT *r)
{
	assert(r->class.n > 0);
	assert(r->kinds.n == r->addresses.n && r->kinds.n == r->users.n && r->kinds.n == r->extensions.n);
	assert(r->kinds.n <= 1000);
	assert(r->code == 0 || r->kinds.n == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct conf *c = NULL;
	struct resolver *r = NULL;
	struct ipc_resolve_RESULT res;
	struct str rest = str_n(data, size);
	struct err e = { 0 };
	struct buf text;

	if (size > INPUT_MAX || size == 0)
		return 0;
	const struct str address = str_split(&rest, '\n');

	buf_init(&text, 65536);
	buf_c(&text, "myhostname = mx.example\nmydestination = mx.example local.example\nvirtual_mailbox_domains = box.example\n"
		     "state_directory = /nonexistent\n");
	put_maps(&text, "virtual_alias_maps", 'v', rest);
	put_maps(&text, "alias_maps", 'a', rest);
	if (conf_parse(buf_view(&text), "fuzz.conf", &c, NULL, &e) == 0 && resolver_new(c, &r, &e) == 0) {
		struct arena *a = arena_new(0);

		resolver_answer(r, a, address, false, &res);
		check(&res);
		resolver_answer(r, a, address, true, &res);
		check(&res);
		arena_free(&a);
	}
	if (r)
		resolver_free(&r);
	conf_free(&c);
	buf_fini(&text);
	return 0;
}
