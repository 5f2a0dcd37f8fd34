/* The table of signing keys: what is read and refused, and which keys sign for whom. */
#include "authres/dkim_table.h"
#include "test/tap.h"

static const char table[] = "# keys\n"
			    "Example.com 2026a rsa retired 1\n"
			    "example.com 2026b rsa active 2 # now\n"
			    "example.com e2026b ed25519 active 2\n"
			    "example.com 2027a rsa new 3\n"
			    "sub.example.com s1 ed25519 active 2\n"
			    "new.example.com n1 rsa new 2\n";

static const struct {
	const char *domain, *selectors;
} signers[] = {
	{ "example.com", "2026b e2026b " },
	{ "EXAMPLE.com", "2026b e2026b " },
	{ "other.example.com", "2026b e2026b " },
	{ "sub.example.com", "s1 " },
	{ "x.sub.example.com", "s1 " },
	{ "new.example.com", "2026b e2026b " },
	{ "notexample.com", "" },
	{ "com", "" },
	{ "", "" },
};

static const struct {
	const char *text, *why;
} bad[] = {
	{ "example.com 2026a rsa active\n", "line 1: five words" },
	{ "\n\nexample.com 2026a rsa active 1 2\n", "line 3: more than" },
	{ "example.com ../../x rsa active 1\n", "line 1: domain or selector" },
	{ "example/com x rsa active 1\n", "line 1: domain or selector" },
	{ "example.com x dsa active 1\n", "line 1: unknown kind" },
	{ "example.com x rsa lost 1\n", "line 1: unknown state" },
	{ "example.com x rsa active -1\n", "line 1: the time" },
};

int main(void)
{
	struct arena *a = arena_new(0);
	struct dkim_table t, again;
	struct err e = { 0 };
	struct buf text;
	tap_is_int(dkim_table_parse(a, STR(table), &t, &e), 0, "table: is read");
	tap_is_int((long long)t.n, 6, "table: all rows");
	for (size_t i = 0; i < ARRAY_LEN(signers); i++) {
		const struct dkim_row *v[DKIM_KEYS_PER_DOMAIN_MAX];
		struct buf got;
		buf_init(&got, 1000);
		const size_t n = dkim_table_signers(&t, str_c(signers[i].domain), v);
		for (size_t k = 0; k < n; k++)
			buf_printf(&got, "%.*s ", STR_ARG(v[k]->selector));
		tap_is_mem(buf_view(&got), str_c(signers[i].selectors), "table: who signs for \"%s\"", signers[i].domain);
		buf_fini(&got);
	}
	buf_init(&text, 10000);
	dkim_table_format(&t, &text);
	tap_ok(dkim_table_parse(a, buf_view(&text), &again, &e) == 0 && again.n == t.n && again.v[1].since == 2 && again.v[3].state == DKIM_NEW &&
		       str_eq(again.v[0].domain, STR("example.com")), "table: written and read again it is the same");
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		tap_is_int(dkim_table_parse(a, str_c(bad[i].text), &again, &e), -1, "table: %s is refused", bad[i].why);
		tap_ok(str_find(str_c(e.text), str_c(bad[i].why)) >= 0, "table: told as \"%s\"", bad[i].why);
	}
	for (unsigned s = DKIM_NEW; s <= DKIM_RETIRED; s++)
		tap_ok(dkim_state_name((enum dkim_state)s)[0] != '\0', "table: state %u has a word (NEW ACTIVE RETIRED)", s);
	buf_fini(&text);
	arena_free(&a);
	return tap_done();
}
