/* Last uses of application passwords: what is noted, what is refused, the file and back, and that the table is bounded. */
#include "authd/uses.h"

#include <stdio.h>

#include "base/arena.h"
#include "test/tap.h"

#define PHONE "0123456789abcdef"

static const struct { const char *name, *id, *client; uint64_t when; bool ok; } cases[] = {
	{ "an IPv4 client", PHONE, "192.0.2.7", 1000, true },
	{ "an IPv6 client", PHONE, "2001:db8::7", 1001, true },
	{ "no client", "fedcba9876543210", "", 1002, true },
	{ "no id", "", "192.0.2.7", 1003, false },
	{ "an id too short", "0123", "192.0.2.7", 1003, false },
	{ "an id with other letters", "0123456789abcdeg", "192.0.2.7", 1003, false },
	{ "a client with a line end", PHONE, "192.0.2.7\nx", 1003, false },
	{ "a client too long", PHONE, "0123456789012345678901234567890123456789012345678901234567890123456789", 1003, false },
	{ "no time", PHONE, "192.0.2.7", 0, false },
};

static void check(const struct uses *u, const char *when)
{
	char client[USES_CLIENT_MAX + 1];

	tap_is_int((long long)uses_last(u, STR(PHONE), client), 1001, "%s: the last time", when);
	tap_is_str(client, "2001:db8::7", "%s: and from where", when);
	tap_is_int((long long)uses_last(u, STR("fedcba9876543210"), client), 1002, "%s: without an address", when);
	tap_is_str(client, "", "%s: there is none", when);
	tap_is_int((long long)uses_last(u, STR("0000000000000000"), client), 0, "%s: never", when);
}

static void test_bound(void)
{
	struct uses *u = uses_new();
	char id[17], client[USES_CLIENT_MAX + 1];

	for (unsigned i = 0; i <= USES_MAX; i++) {
		snprintf(id, sizeof id, "%016x", i);
		(void)uses_note(u, str_c(id), i + 10, STR("192.0.2.1"));
	}
	tap_is_int((long long)uses_last(u, STR("0000000000000000"), client), 0, "when it is full the one longest not used goes");
	tap_is_int((long long)uses_last(u, STR("0000000000000001"), client), 11, "and no other");
	tap_is_int((long long)uses_last(u, str_c(id), client), USES_MAX + 10, "the new one is there");
	uses_free(&u);
}

int main(void)
{
	struct uses *u = uses_new(), *again = uses_new();
	struct buf b;

	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		tap_is_int(uses_note(u, str_c(cases[i].id), cases[i].when, str_c(cases[i].client)), cases[i].ok, "%s", cases[i].name);
	check(u, "as noted");
	buf_init(&b, USES_FILE_MAX);
	uses_format(u, &b);
	buf_c(&b, "\nx\n0000000000000000 x 192.0.2.1\n0000000000000000 5\n0000000000000000 5 a b\n");
	uses_parse(again, buf_view(&b));
	check(again, "from the file");
	uses_parse(again, STR("2\n" PHONE " 5000 -\n"));
	check(again, "a file of another version is not read");
	test_bound();
	buf_fini(&b);
	uses_free(&u);
	uses_free(&again);
	return tap_done();
}
