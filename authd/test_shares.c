/* Who shares with whom: what is told, who is meant, the file and back. */
#include "authd/shares.h"

#include <stdio.h>

#include "base/arena.h"
#include "test/tap.h"

static const char *owners(const struct shares *s, const char *user)
{
	static char text[300];
	struct str v[8];
	const size_t n = shares_owners(s, str_c(user), v, ARRAY_LEN(v));
	size_t at = 0;

	text[0] = '\0';
	for (size_t i = 0; i < n; i++)
		at += (size_t)snprintf(text + at, sizeof text - at, "%s%.*s", i ? " " : "", STR_ARG(v[i]));
	return text;
}

static const struct {
	const char *owner, *user;
	bool open;
} cases[] = {
	{ "alice@example.com", "bob@example.com", true },
	{ "alice@example.com", "BOB@example.com", true },
	{ "alice@example.com", "eve@example.com", false },
	{ "alice@example.com", "", false },
	{ "alice@example.com", "alice@example.com", false },
	{ "_postern_public", "eve@example.com", true },
	{ "_postern_public", "_postern_public", false },
	{ "nobody", "bob@example.com", false },
	{ "../../etc", "bob@example.com", false },
};

static void check(const struct shares *s, const char *when)
{
	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		tap_is_int(shares_open(s, str_c(cases[i].owner), str_c(cases[i].user)), cases[i].open, "%s: %s to %s", when, cases[i].owner, cases[i].user);
	tap_is_str(owners(s, "bob@example.com"), "_postern_public alice@example.com", "%s: bob's", when);
	tap_is_str(owners(s, "eve@example.com"), "_postern_public", "%s: eve's", when);
}

int main(void)
{
	struct shares *s = shares_new(), *again = shares_new();
	struct buf b;

	tap_ok(shares_set(s, STR("alice@example.com"), STR("bob@example.com\nx y\n../z\n\n")), "told");
	tap_ok(!shares_set(s, STR("alice@example.com"), STR("bob@example.com\n")), "told again, without what is no name: nothing new");
	tap_ok(shares_set(s, STR("_postern_public"), STR("anyone\n")), "public folders");
	tap_ok(!shares_set(s, STR("../../etc"), STR("bob@example.com\n")), "no name of an owner");
	check(s, "as told");
	buf_init(&b, 1 << 20);
	shares_format(s, &b);
	buf_c(&b, "\n/x y\nz");
	shares_parse(again, buf_view(&b));
	check(again, "from the file");
	tap_ok(shares_set(again, STR("alice@example.com"), STR("")), "no more");
	tap_ok(!shares_open(again, STR("alice@example.com"), STR("bob@example.com")), "is no more");
	tap_ok(!shares_set(again, STR("alice@example.com"), STR("")), "nothing new");
	buf_fini(&b);
	shares_free(&s);
	shares_free(&again);
	return tap_done();
}
